//! Where the relay takes streams: TLS on a TCP port, and plain WebSocket behind a server that ends TLS.

use std::net::SocketAddr;

use lanparty_node::{Fault, ServerTls, StreamIncoming, StreamListener};
use tracing::{info, warn};

use crate::RelayArgs;
use crate::args::ListenTls;

/// The listeners, of which there may be none.
#[derive(Default)]
pub(crate) struct Streams {
    tls: Option<StreamListener>,
    plain: Option<StreamListener>,
}

impl Streams {
    /// Listens as `args` say; `udp` is where QUIC is taken.
    pub(crate) fn listen(args: &RelayArgs, udp: SocketAddr, tls: &ServerTls) -> Result<Self, Fault> {
        let tls = match args.listen_tls {
            Some(ListenTls::Off) => None,
            Some(ListenTls::At(addr)) => Some(StreamListener::listen(addr, tls, &args.public_name)?),
            // Nobody asked for this port: what holds it may well be meant to.
            None => StreamListener::listen(udp, tls, &args.public_name)
                .map_err(|fault| warn!("no streams are taken, so members behind networks without UDP stay out: {fault}"))
                .ok(),
        };
        let plain = args.listen_plain.map(|addr| StreamListener::listen_plain(addr, &args.public_name)).transpose()?;
        let streams = Self { tls, plain };
        if let Some(at) = address(streams.tls.as_ref()) {
            info!("lanparty-relay takes streams on {at}/tcp");
        }
        if let Some(at) = address(streams.plain.as_ref()) {
            info!("lanparty-relay takes streams without TLS on {at}/tcp, for a server in front");
        }
        Ok(streams)
    }

    /// The next attempt; never when nobody listens. Cancel-safe.
    pub(crate) async fn accept(&self) -> StreamIncoming {
        tokio::select! {
            incoming = next(self.tls.as_ref()) => incoming,
            incoming = next(self.plain.as_ref()) => incoming,
        }
    }

    pub(crate) fn open_handshakes(&self) -> usize {
        self.both().map(StreamListener::open_handshakes).sum()
    }

    pub(crate) async fn close(&self, reason: &str) {
        for listener in self.both() {
            listener.close(reason).await;
        }
    }

    /// For `lanparty status`.
    pub(crate) fn report(&self) -> Option<String> {
        address(self.tls.as_ref()).map(|at| at.to_string())
    }

    fn both(&self) -> impl Iterator<Item = &StreamListener> {
        self.tls.iter().chain(&self.plain)
    }
}

fn address(listener: Option<&StreamListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

async fn next(listener: Option<&StreamListener>) -> StreamIncoming {
    if let Some(listener) = listener
        && let Some(incoming) = listener.accept().await
    {
        return incoming;
    }
    std::future::pending().await
}
