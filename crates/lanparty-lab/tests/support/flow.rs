//! TCP through the tunnel: transfers compared bit by bit, and connections that must outlive an outage.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::Namespace;

/// An echo that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `len` bytes from one host to another and compares them there. The time it took.
pub(crate) fn transfer(from: &Namespace, to: &Namespace, address: Ipv4Addr, len: usize) -> Duration {
    lanparty_lab::transfer(from, to, address.into(), len).unwrap()
}

/// An open connection whose far end sends everything back, on a thread that ends with the connection or when nothing comes for long.
pub(crate) struct Echo {
    stream: TcpStream,
}

impl Echo {
    /// Connects `from` to a new echo server on `to`.
    pub(crate) fn open(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Self {
        let listener = listen(to);
        let target = SocketAddr::new(address.into(), listener.local_addr().unwrap().port());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = [0; 1024];
            while let Ok(len @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..len]).unwrap();
            }
        });
        Self { stream: connect(from, target) }
    }

    /// Says something now, without waiting for the answer.
    pub(crate) fn say(&mut self, words: &str) {
        self.stream.write_all(words.as_bytes()).unwrap();
    }

    /// Waits for the answer to all that was said: `words`. How long it took.
    pub(crate) fn hear(&mut self, words: &str) -> Duration {
        let start = Instant::now();
        let mut heard = vec![0; words.len()];
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.stream.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), words);
        start.elapsed()
    }
}

fn listen(host: &Namespace) -> TcpListener {
    host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap()
}

fn connect(from: &Namespace, target: SocketAddr) -> TcpStream {
    from.enter(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap().unwrap()
}
