//! One frame of one size, and what its sender and its receiver see of it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu, ipv6_mtu, set_ip_mtu_discover, set_ipv6_mtu_discover};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use super::{ETHERNET_HEADER_LEN, Traffic};
use crate::flow::noise;
use crate::namespace::Namespace;

/// How long a frame, or the answer to it, may take.
const SILENCE: Duration = Duration::from_millis(700);
/// On a busy machine one frame may be lost: that is forgiven when as many after it agree on something else.
const AGREEING: usize = 3;
/// UDP and ICMP echo have headers of the same length.
const HEADER_LEN: usize = 8;
/// An echo request; the kernel fills in checksum and identifier (RFC 792).
const ECHO_REQUEST: [u8; HEADER_LEN] = [8, 0, 0, 0, 0, 0, 0, 1];
/// Who may ask for echoes with a socket of this kind: every group.
const PING_GROUPS: &str = "0 2147483647";

/// What its sender saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The bytes arrived.
    Whole,
    /// The sender's kernel says that it is too large, and that this is the path's MTU.
    Told(u32),
    /// Nothing came, on either end.
    Silent,
}

/// Sends frames of one kind, but for TCP.
pub struct Probe<'a> {
    /// What is sent.
    pub traffic: Traffic,
    /// Who sends.
    pub from: &'a Namespace,
    /// Who receives.
    pub to: &'a Namespace,
    /// The receiver's address.
    pub target: IpAddr,
}

/// The sockets of one probe.
struct Ends {
    sender: UdpSocket,
    /// An echo comes back to its sender.
    receiver: Option<UdpSocket>,
}

impl Probe<'_> {
    /// Whether the IP and UDP headers leave room for anything.
    pub(super) fn can_be(&self, frame_len: usize) -> bool {
        self.payload_len(frame_len).is_some_and(|len| len > 0)
    }

    /// Sends a frame of this length. One that nothing came of is sent again, a few times, and each time the same must come of it.
    pub fn send(&self, frame_len: usize) -> Result<Fate> {
        let first = self.send_once(frame_len)?;
        if first != Fate::Silent {
            return Ok(first);
        }
        let again: Vec<Fate> = (0..AGREEING).map(|_| self.send_once(frame_len)).collect::<Result<_>>()?;
        Ok(again.first().copied().filter(|fate| again.iter().all(|other| other == fate)).unwrap_or(Fate::Silent))
    }

    /// Sends a frame of this length once. The sender has forgotten what it was told before, where its kernel can.
    pub(super) fn send_once(&self, frame_len: usize) -> Result<Fate> {
        let len = self.payload_len(frame_len).with_context(|| format!("no {} in {frame_len} bytes", self.traffic.title()))?;
        self.from.sysctl("net/ipv4/route/flush", "1")?;
        let payload = noise(len);
        let ends = self.open()?;
        let sent = match self.traffic {
            Traffic::Echo => ends.sender.send(&[&ECHO_REQUEST[..], &payload].concat()),
            _ => ends.sender.send(&payload),
        };
        match sent {
            Err(error) if is_too_big(&error) => return self.told(&ends.sender),
            // A neighbour that does not answer yet is silence, and tried again.
            Err(_) => return Ok(Fate::Silent),
            Ok(_) => {}
        }
        self.listen(&ends, &payload)
    }

    fn payload_len(&self, frame_len: usize) -> Option<usize> {
        let ip = if self.traffic.is_v6() { 40 } else { 20 };
        frame_len.checked_sub(ETHERNET_HEADER_LEN + ip + HEADER_LEN)
    }

    fn open(&self) -> Result<Ends> {
        if self.traffic == Traffic::Echo {
            self.from.sysctl("net/ipv4/ping_group_range", PING_GROUPS)?;
            let sender = self.from.enter(|| socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)))?;
            let sender = UdpSocket::from(sender.context("open a socket for echoes")?);
            return self.ends(sender, None, 0);
        }
        let any: IpAddr = if self.traffic.is_v6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let bind = |host: &Namespace| host.enter(|| UdpSocket::bind((any, 0)))?.context("open a UDP socket");
        let receiver = bind(self.to)?;
        let port = receiver.local_addr()?.port();
        self.ends(bind(self.from)?, Some(receiver), port)
    }

    /// Connected, so that the kernel says what it was told about this path; and never waiting.
    fn ends(&self, sender: UdpSocket, receiver: Option<UdpSocket>, port: u16) -> Result<Ends> {
        match self.traffic {
            Traffic::UdpV6 | Traffic::TcpV6 => set_ipv6_mtu_discover(&sender, Ipv6PathMtuDiscovery::DO)?,
            Traffic::Udp => set_ip_mtu_discover(&sender, Ipv4PathMtuDiscovery::DONT)?,
            Traffic::UdpDf | Traffic::Echo | Traffic::Tcp => set_ip_mtu_discover(&sender, Ipv4PathMtuDiscovery::DO)?,
        }
        sender.connect(SocketAddr::new(self.target, port)).context("connect a UDP socket")?;
        sender.set_nonblocking(true)?;
        if let Some(receiver) = &receiver {
            receiver.set_nonblocking(true)?;
        }
        Ok(Ends { sender, receiver })
    }

    fn listen(&self, ends: &Ends, payload: &[u8]) -> Result<Fate> {
        let deadline = Instant::now() + SILENCE;
        let mut buffer = vec![0; payload.len() + HEADER_LEN + 1];
        loop {
            match ends.sender.recv(&mut buffer) {
                // The identifier of an echo is the kernel's; what was asked to come back follows the header.
                Ok(len) if buffer.get(HEADER_LEN..len) == Some(payload) => return Ok(Fate::Whole),
                Err(error) if is_too_big(&error) => return self.told(&ends.sender),
                _ => {}
            }
            if let Some(receiver) = &ends.receiver
                && receiver.recv(&mut buffer).is_ok_and(|len| buffer.get(..len) == Some(payload))
            {
                return Ok(Fate::Whole);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Fate::Silent);
            }
            let mut fds: Vec<PollFd<'_>> = [Some(&ends.sender), ends.receiver.as_ref()]
                .into_iter()
                .flatten()
                .map(|socket| PollFd::new(socket, PollFlags::IN))
                .collect();
            poll(&mut fds, Some(&Timespec::try_from(left)?)).context("wait for a frame")?;
        }
    }

    fn told(&self, sender: &UdpSocket) -> Result<Fate> {
        let mtu = if self.traffic.is_v6() { ipv6_mtu(sender) } else { ip_mtu(sender) };
        Ok(Fate::Told(mtu.context("ask for the path's MTU")?))
    }
}

fn is_too_big(error: &io::Error) -> bool {
    error.kind() != ErrorKind::WouldBlock && error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error())
}
