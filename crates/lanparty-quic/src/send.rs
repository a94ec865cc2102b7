//! Sends what a connection has: full bursts in one system call each (UDP_SEGMENT, udp(7)), and what comes alone at once.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use noq_udp::{Transmit, is_msg_size_err};
use quinn_proto::EcnCodepoint;
use tracing::warn;

use crate::connection::State;
use crate::socket::Socket;

/// So many datagrams of a connection leave one by one. While its handshake is on the stack must not put any together: behind a short one of
/// the handshake the next would have to be as short, and quinn-proto 0.11 writes what it asks of acknowledgements into that first packet of the
/// connection proper without a look whether it fits, which ends the program.
pub(crate) const ALONE_FIRST: usize = 32;
/// What one UDP packet over IPv4 may carry, and so the kernel's limit of a burst (RFC 768).
const BURST_LEN_MAX: usize = 65_507;
/// A connection's turn ends after so many datagrams.
const TURN_MAX: usize = 160;
/// A machine whose system does not send says so once in this time.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

thread_local! {
    /// Where packets are made: each is sent before the next one is, so that all connections of a thread share it.
    static BURST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// All that may leave.
    All,
    /// Not what is left behind full bursts and makes none: more may come to fill it.
    FullBursts,
}

/// How far a connection came in its turn.
pub(crate) enum Sent {
    /// Nothing may leave any more.
    All,
    /// There may be more.
    Enough,
    /// The kernel has no room.
    Blocked,
}

/// A burst that the kernel had no room for.
pub(crate) struct Unsent {
    transmit: quinn_proto::Transmit,
    bytes: Vec<u8>,
}

impl State {
    /// Sends what path and kernel take.
    pub(crate) fn transmit(&mut self, share: Share, now: Instant) -> Sent {
        if let Some(unsent) = &self.unsent
            && !send(&self.socket, &unsent.transmit, &unsent.bytes)
        {
            return Sent::Blocked;
        }
        self.unsent = None;
        BURST.with_borrow_mut(|burst| self.transmit_by(burst, share, now))
    }

    fn transmit_by(&mut self, burst: &mut Vec<u8>, share: Share, now: Instant) -> Sent {
        let mut sent = 0;
        while sent < TURN_MAX {
            let full = self.segments_max();
            let has_full = full > NonZeroUsize::MIN && sent >= full.get();
            if share == Share::FullBursts && has_full && self.has_less_than(full) {
                return Sent::Enough;
            }
            burst.clear();
            let Some(transmit) = self.proto.poll_transmit(now, full.get(), burst) else { return Sent::All };
            let count = transmit.segment_size.map_or(1, |size| transmit.size.div_ceil(size));
            self.alone_left = self.alone_left.saturating_sub(count);
            sent += count;
            if !send(&self.socket, &transmit, burst) {
                self.unsent = Some(Unsent { transmit, bytes: burst.clone() });
                return Sent::Blocked;
            }
        }
        Sent::Enough
    }

    /// Whether datagrams wait, and make no burst of that many.
    fn has_less_than(&mut self, full: NonZeroUsize) -> bool {
        let space = self.proto.datagrams().send_buffer_space();
        self.space_max = self.space_max.max(space);
        let waiting = self.space_max - space;
        waiting > 0 && waiting < full.get() * usize::from(self.proto.current_mtu())
    }

    /// As many datagrams as may be put together.
    fn segments_max(&self) -> NonZeroUsize {
        if self.alone_left > 0 {
            return NonZeroUsize::MIN;
        }
        let fit = BURST_LEN_MAX / usize::from(self.proto.current_mtu()).max(1);
        self.socket.segments_max().min(NonZeroUsize::new(fit).unwrap_or(NonZeroUsize::MIN))
    }
}

/// `false` when the kernel has no room. What cannot be sent for another reason is lost, as on the way: QUIC deals with that.
pub(crate) fn send(socket: &Socket, transmit: &quinn_proto::Transmit, bytes: &[u8]) -> bool {
    let whole = Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn.map(ecn),
        contents: bytes.get(..transmit.size).unwrap_or(bytes),
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    };
    let mut sent = socket.try_send(&whole);
    // A device that cannot cut a burst up says so at the first; from then on there are none.
    if let (Err(e), Some(segment)) = (&sent, whole.segment_size)
        && e.kind() != io::ErrorKind::WouldBlock
        && socket.segments_max() == NonZeroUsize::MIN
    {
        let alone = |contents| Transmit { contents, segment_size: None, ..whole.clone() };
        sent = whole.contents.chunks(segment).try_for_each(|contents| socket.try_send(&alone(contents)));
    }
    match sent {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
        Err(e) => say(&e),
        Ok(()) => {}
    }
    true
}

const fn ecn(mark: EcnCodepoint) -> noq_udp::EcnCodepoint {
    match mark {
        EcnCodepoint::Ect0 => noq_udp::EcnCodepoint::Ect0,
        EcnCodepoint::Ect1 => noq_udp::EcnCodepoint::Ect1,
        EcnCodepoint::Ce => noq_udp::EcnCodepoint::Ce,
    }
}

/// Probes for the path's size are meant to fail.
fn say(error: &io::Error) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    if is_msg_size_err(error) {
        return;
    }
    let (now, mut told) = (Instant::now(), TOLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    if told.is_none_or(|told| now.saturating_duration_since(told) >= TROUBLE_INTERVAL) {
        *told = Some(now);
        warn!("the system does not send: {error}");
    }
}
