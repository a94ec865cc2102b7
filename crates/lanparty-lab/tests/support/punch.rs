//! Plain UDP sockets that find out what a NAT does, and make holes in it.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::Namespace;

/// A packet that has not come by then does not come: everything is on one machine.
const PATIENCE: Duration = Duration::from_millis(150);
/// Questions to a third party, whose neighbours may have to find each other first.
const QUESTIONS: u32 = 5;
/// Packets that each side sends to the other.
const PUNCHES: u32 = 12;
/// Between two of them, listening included.
const PUNCH_INTERVAL: Duration = Duration::from_millis(20);

/// A socket for both address families on a host.
pub(crate) struct Socket(UdpSocket);

impl Socket {
    pub(crate) fn open(host: &Namespace) -> Self {
        Self(host.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).unwrap().unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Sends something. That nobody is there is no error of ours.
    pub(crate) fn send(&self, to: SocketAddr) {
        let _ = self.0.send_to(b"hello", mapped(to));
    }

    /// Whom the next packet is from, if one comes.
    pub(crate) fn hears(&self) -> Option<SocketAddr> {
        self.receive(PATIENCE).map(|(_, from)| from)
    }

    /// What a third party sees this socket as.
    pub(crate) fn external(&self, third: SocketAddr) -> Option<SocketAddr> {
        (0..QUESTIONS).find_map(|_| {
            self.send(third);
            let (said, from) = self.receive(PATIENCE)?;
            if from == third { said.parse().ok() } else { None }
        })
    }

    /// The next packet within `patience`. An error is an earlier packet that nobody wanted.
    fn receive(&self, patience: Duration) -> Option<(String, SocketAddr)> {
        let deadline = Instant::now() + patience;
        let mut bytes = [0; 100];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.0.set_read_timeout(Some(left)).unwrap();
            if let Ok((len, from)) = self.0.recv_from(&mut bytes) {
                return Some((String::from_utf8_lossy(&bytes[..len]).into_owned(), canonical(from)));
            }
        }
    }
}

/// A third party: says to everybody what it sees them as.
pub(crate) struct Reflector {
    pub(crate) host: Namespace,
    pub(crate) port: u16,
    socket: Socket,
}

impl Reflector {
    pub(crate) fn start(host: &Namespace) -> Self {
        let socket = Socket::open(host);
        let answering = socket.0.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 100];
            // Ends with the test's process: an error is an answer that nobody wanted.
            loop {
                if let Ok((_, from)) = answering.recv_from(&mut bytes) {
                    let _ = answering.send_to(canonical(from).to_string().as_bytes(), from);
                }
            }
        });
        Self { host: host.clone(), port: socket.port(), socket }
    }

    /// Sends something unasked.
    pub(crate) fn send(&self, to: SocketAddr) {
        self.socket.send(to);
    }
}

/// Do two hosts hear each other when both send to the external address that a third party saw, and then to where they hear from?
pub(crate) fn punch(a: &Namespace, b: &Namespace, third: SocketAddr) -> bool {
    let sockets = [a, b].map(Socket::open);
    let external = [0, 1].map(|side| sockets[side].external(third).unwrap());
    let mut targets = [external[1], external[0]];
    let mut heard = [false; 2];
    for _ in 0..PUNCHES {
        for side in 0..2 {
            sockets[side].send(targets[side]);
        }
        for side in 0..2 {
            if let Some((_, from)) = sockets[side].receive(PUNCH_INTERVAL / 2).filter(|(_, from)| *from != third) {
                (targets[side], heard[side]) = (from, true);
            }
        }
        if heard == [true; 2] {
            return true;
        }
    }
    false
}

/// How a socket for both families wants an address.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => address,
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}
