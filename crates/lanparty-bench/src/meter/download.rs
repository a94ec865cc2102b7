//! A download of a known size over one TCP stream: it arrives whole, or it is seen to hang.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use lanparty_lab::Namespace;
use serde::Serialize;

const PORT: u16 = 5_202;
/// Bytes a call: more than one super-frame brings.
const CHUNK: usize = 128 << 10;
/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A stream without a byte for so long hangs: by then TCP has sent the lost segment six times, and waits ever longer.
const STALL: Duration = Duration::from_secs(15);
/// A stream that crawls is as good as one that hangs.
const CRAWL: Duration = Duration::from_secs(60);

/// What became of a download.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Download {
    /// All of it arrived.
    pub(crate) completed: bool,
    /// How much did.
    pub(crate) bytes: u64,
    /// From the connection to the last byte that arrived.
    pub(crate) seconds: f64,
}

impl Download {
    pub(crate) fn mbit_s(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.seconds
    }
}

/// `by` fetches `bytes` from `at`, whose address is `from`.
pub(crate) fn run(by: &Namespace, at: &Namespace, from: Ipv4Addr, bytes: u64) -> Result<Download> {
    let server = SocketAddr::from((from, PORT));
    let listener = at.enter(|| TcpListener::bind(server))?.with_context(|| format!("listen on {server}"))?;
    // The kernel answers in the listener's place, so that nobody has to be waiting for the connection yet.
    let mut stream = by.enter(|| TcpStream::connect_timeout(&server, CONNECT_PATIENCE))?.with_context(|| format!("connect to {server}"))?;
    let (mut served, _) = listener.accept().context("take the connection")?;
    served.set_write_timeout(Some(STALL)).context("the server's timeout")?;
    stream.set_read_timeout(Some(STALL)).context("the client's timeout")?;
    thread::scope(|scope| {
        // It fails when the client has given up; what the client got is the result.
        let server = scope.spawn(move || serve(&mut served, bytes));
        let download = fetch(&mut stream, bytes);
        let _ = stream.shutdown(Shutdown::Both);
        drop(stream);
        let _ = server.join().map_err(|_| anyhow!("the server panicked"))?;
        Ok(download)
    })
}

fn serve(stream: &mut TcpStream, bytes: u64) -> std::io::Result<()> {
    let chunk = vec![0x5a; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let len = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        stream.write_all(&chunk[..len])?;
        left -= len as u64;
    }
    stream.shutdown(Shutdown::Write)
}

/// Reads until everything is there, or the stream ends, hangs or crawls.
fn fetch(stream: &mut TcpStream, bytes: u64) -> Download {
    let (started, mut chunk) = (Instant::now(), vec![0; CHUNK]);
    let mut download = Download { completed: false, bytes: 0, seconds: 0.0 };
    while download.bytes < bytes && started.elapsed() < CRAWL {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(len) => {
                download = Download { completed: false, bytes: download.bytes + len as u64, seconds: started.elapsed().as_secs_f64() }
            }
        }
    }
    Download { completed: download.bytes == bytes, ..download }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[test]
    fn what_arrives_whole_is_complete() {
        let (mut server, mut client) = pair();
        let bytes = 3 * CHUNK as u64 + 1;
        let download = thread::scope(|scope| {
            scope.spawn(move || serve(&mut server, bytes).unwrap());
            fetch(&mut client, bytes)
        });
        assert!(download.completed && download.seconds > 0.0, "{download:?}");
        assert_eq!(download.bytes, bytes);
    }

    #[test]
    fn what_stops_half_way_is_not() {
        let (mut server, mut client) = pair();
        serve(&mut server, 1_000).unwrap();
        // As long as it lives the stream does not end.
        let _hangs = server.try_clone().unwrap();
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let download = fetch(&mut client, 2_000);
        assert_eq!((download.completed, download.bytes), (false, 1_000));
    }
}
