//! TCP through the tunnel: transfers compared bit by bit, and connections that must outlive an outage.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::Namespace;

/// A transfer or an echo that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `len` bytes from one host to another and compares them there. The time it took.
pub(crate) fn transfer(from: &Namespace, to: &Namespace, address: Ipv4Addr, len: usize) -> Duration {
    let sent = noise(len);
    let listener = listen(to);
    let target = SocketAddr::new(address.into(), listener.local_addr().unwrap().port());
    let start = Instant::now();
    let received = thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = Vec::with_capacity(len);
            stream.read_to_end(&mut received).unwrap_or_else(|e| panic!("after {} of {len} bytes: {e}", received.len()));
            received
        });
        let mut stream = connect(from, target);
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&sent).unwrap();
        drop(stream);
        receiving.join().unwrap()
    });
    assert!(received == sent, "{} of {len} bytes came, and not the same", received.len());
    start.elapsed()
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

/// Bytes in which no run repeats, so that a lost or swapped segment is seen (xorshift64).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}
