//! Numbers for a graph over TCP, for those who ask for it: nothing else is answered there.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

use super::http::{Answer, TEXT, metrics, whole};
use super::server::{Desk, converse};
use crate::{ExitCode, Fault};

/// Connections at once: Prometheus keeps one.
const CONNECTIONS_MAX: usize = 8;

/// `ADDR:PORT`, or `PORT` of this machine's own address.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let own = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let parsed = text.parse().or_else(|_| text.parse().map(own)).ok().filter(|at: &SocketAddr| at.port() != 0);
    parsed.ok_or_else(|| format!("`{text}` is neither PORT nor ADDR:PORT, as in 9464 or 0.0.0.0:9464"))
}

/// Takes the port.
///
/// # Errors
/// When it is not free.
pub(super) fn bind(at: SocketAddr) -> Result<TcpListener, Fault> {
    let bound = std::net::TcpListener::bind(at).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    bound
        .map_err(|e| Fault::new(ExitCode::Configuration, format!("cannot give metrics on {at}: {e}"), "choose another port with --metrics"))
}

pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The asker went again, or there are no more files; the next one may have more luck.
            Err(e) => {
                warn!("metrics: {e}");
                tokio::time::sleep(super::server::ERROR_PAUSE).await;
                continue;
            }
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            converse(stream, service_fn(|request| answer(request, Arc::clone(&desk)))).await;
            drop(seat);
        });
    }
}

async fn answer(request: Request<Incoming>, desk: Arc<Desk>) -> Result<Response<Answer>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => metrics(&desk).await,
        _ => whole(StatusCode::NOT_FOUND, TEXT, "GET /metrics is all that there is here\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_this_machines_own() {
        assert_eq!(parse_address("9464").unwrap().to_string(), "127.0.0.1:9464");
        assert_eq!(parse_address("0.0.0.0:9464").unwrap().to_string(), "0.0.0.0:9464");
        assert_eq!(parse_address("[::1]:9464").unwrap().to_string(), "[::1]:9464");
        for bad in ["", "0", "host:9464", "70000", "1.2.3.4"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
