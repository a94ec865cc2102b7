//! One UDP socket that asks a relay's probe service, and matches answers to questions.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use lanparty_nic::{Fragmentation, route_mtu, set_fragmentation};
use lanparty_proto::{PROBE_LEN_MAX, PROBE_LEN_MIN, ProbeAnswer, ProbeCookie, ProbeQuestion};
use rustix::io::Errno;
use tokio::net::UdpSocket;

use crate::uplink;

/// Between two questions of one round: two directions at once are some 3 Mbit/s, so that a slow line's queue is not measured
/// instead of sizes.
const PACE: Duration = Duration::from_millis(5);

/// One question of a round: both lengths in bytes of UDP payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    pub(super) len: usize,
    pub(super) answer_len: usize,
}

impl Ask {
    /// A short question for a short answer.
    pub(super) const SHORT: Self = Self { len: PROBE_LEN_MIN, answer_len: PROBE_LEN_MIN };
}

/// What became of a question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Answered, after this time.
    Answered(ProbeAnswer, Duration),
    /// This host refused to send it.
    Refused,
    /// No answer.
    Lost,
}

/// A socket toward one port of the probe service.
pub(super) struct Asker {
    socket: UdpSocket,
    sequence: u32,
    cookie: ProbeCookie,
    answers_may_fragment: bool,
    /// Whether ICMP said of a packet of this socket that it is too big.
    pub(super) heard_too_big: bool,
    /// Whether ICMP said that nobody listens.
    pub(super) heard_refused: bool,
}

impl Asker {
    /// A socket connected to `port`, bound to `uplink`, whose packets and answers are fragmented or not.
    pub(super) fn open(port: SocketAddr, uplink: Option<&str>, fragmentation: Fragmentation) -> io::Result<Self> {
        let socket = bound(port, uplink)?;
        socket.connect(port)?;
        set_fragmentation(&socket, fragmentation)?;
        let answers_may_fragment = fragmentation == Fragmentation::Allowed;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { socket, sequence: 0, cookie: [0; 16], answers_may_fragment, heard_too_big: false, heard_refused: false })
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// IP MTU of the route to the relay as this system knows it, in bytes.
    pub(super) fn route_mtu(&self) -> Option<u32> {
        route_mtu(self.socket.peer_addr().ok()?).ok()
    }

    /// IP and UDP headers around the payload, in bytes.
    pub(super) fn headers(&self) -> usize {
        if self.socket.peer_addr().is_ok_and(|peer| peer.is_ipv6()) { 48 } else { 28 }
    }

    /// Asks every question once, at an even pace, and waits `patience` after the last for answers. In the order asked.
    pub(super) async fn round(&mut self, asks: &[Ask], pace: Option<Duration>, patience: Duration) -> io::Result<Vec<Fate>> {
        let mut fates = vec![Fate::Lost; asks.len()];
        let mut open = HashMap::new();
        let mut due = Instant::now();
        for (index, ask) in asks.iter().enumerate() {
            self.collect(&mut fates, &mut open, due).await;
            tokio::time::sleep_until(due.into()).await;
            due = Instant::now().max(due) + pace.unwrap_or(PACE);
            self.sequence = self.sequence.wrapping_add(1);
            open.insert(self.sequence, (index, Instant::now()));
            if !self.send(*ask)? {
                open.remove(&self.sequence);
                fates[index] = Fate::Refused;
            }
        }
        self.collect(&mut fates, &mut open, Instant::now() + patience).await;
        Ok(fates)
    }

    /// One short question, asked again until it is answered or `tries` have failed.
    pub(super) async fn knock(&mut self, tries: u32, patience: Duration) -> io::Result<Option<(ProbeAnswer, Duration)>> {
        for _ in 0..tries {
            if let [Fate::Answered(answer, rtt)] = self.round(&[Ask::SHORT], None, patience).await?[..] {
                return Ok(Some((answer, rtt)));
            }
            if self.heard_refused {
                break;
            }
        }
        Ok(None)
    }

    /// Whether this host sent it.
    fn send(&mut self, ask: Ask) -> io::Result<bool> {
        let answer_len = u16::try_from(ask.answer_len).unwrap_or(u16::MAX);
        let question = ProbeQuestion { sequence: self.sequence, answer_len, may_fragment: self.answers_may_fragment, cookie: self.cookie };
        let bytes = question.encode(ask.len);
        let Err(first) = self.socket.try_send(&bytes) else { return Ok(true) };
        // An error that ICMP left behind is told to whoever sends next, and is gone with that: only what stays is about this.
        match self.socket.try_send(&bytes) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::MSGSIZE) => return Ok(false),
            // A full queue of this host loses the packet, as any other queue would.
            _ => self.note(&first),
        }
        Ok(true)
    }

    /// Takes answers until `deadline`, or until none is missing.
    async fn collect(&mut self, fates: &mut [Fate], open: &mut HashMap<u32, (usize, Instant)>, deadline: Instant) {
        let mut buffer = [0; PROBE_LEN_MAX + 1];
        while !open.is_empty() {
            let Ok(received) = tokio::time::timeout_at(deadline.into(), self.socket.recv(&mut buffer)).await else { return };
            match received {
                Ok(len) => self.take(&buffer[..len], fates, open),
                Err(e) => self.note(&e),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], fates: &mut [Fate], open: &mut HashMap<u32, (usize, Instant)>) {
        let Some(answer) = ProbeAnswer::decode(bytes) else { return };
        let Some((index, sent)) = open.remove(&answer.sequence) else { return };
        self.cookie = answer.cookie;
        if let Some(fate) = fates.get_mut(index) {
            *fate = Fate::Answered(answer, sent.elapsed());
        }
    }

    /// What ICMP says of earlier packets reaches a connected socket as errors (udp(7)).
    fn note(&mut self, e: &io::Error) {
        match Errno::from_io_error(e) {
            Some(Errno::MSGSIZE) => self.heard_too_big = true,
            Some(Errno::CONNREFUSED) => self.heard_refused = true,
            // No route for now, or a firewall of this host: the questions count as lost.
            _ => {}
        }
    }
}

/// A UDP socket for remotes of `remote`'s address family.
pub(crate) fn bound(remote: SocketAddr, uplink: Option<&str>) -> io::Result<std::net::UdpSocket> {
    let any: SocketAddr = if remote.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    if let Some(uplink) = uplink {
        uplink::bind(&socket, uplink);
    }
    Ok(socket)
}
