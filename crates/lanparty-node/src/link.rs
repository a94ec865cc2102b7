//! A link: one connection, as something that takes and gives datagrams in batches, whatever carries it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lanparty_core::{Carrier, Drops, Flight, PathFacts};
use lanparty_proto::{DatagramBudget, DropReason, IdentityId, end_of_way, is_end_of_way, is_padding, padding};
use lanparty_quic::{Connection, ConnectionError};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use crate::control::{self, ControlReader, ControlWriter};
use crate::endpoint::{UDP_PAYLOAD_MAX, canonical};
use crate::sizing::PACKET_OVERHEAD;
use crate::tls::identity_of;
use crate::{BondLink, DeviceLimit, StreamLink};
use quic::Quic;

mod delay;
mod draining;
mod fair;
mod outbox;
mod packing;
mod quic;
mod watched;

pub(crate) use delay::DelayConfig;
pub use draining::Draining;
pub(crate) use fair::FRONTS_MAX;
pub use fair::fair_queue;
pub use outbox::Outbox;
pub(crate) use quic::DATAGRAM_BUFFER_LEN;
pub(crate) use watched::Watching;

/// Datagrams that are taken from a link at once: some super-frames of 64 KiB.
pub const RECV_BATCH: usize = 256;
/// A link that was silent for three heartbeats is dead.
pub const LINK_DEAD_AFTER: Duration = Duration::from_secs(3);
/// A stream's answer comes after a ping that is sent every 200 ms: it is given this long at least, and so 600 ms before it is missed.
const STREAM_ANSWER_MIN: Duration = Duration::from_millis(150);
/// Time between datagrams that help a search along.
const HELP_INTERVAL: Duration = Duration::from_millis(5);
/// How often the end of a way is said: a datagram may be lost.
const ENDS: usize = 3;
/// The largest budget that the search can find.
const DATAGRAM_BUDGET_MAX: DatagramBudget = DatagramBudget(UDP_PAYLOAD_MAX - PACKET_OVERHEAD);

/// A connection ended.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct LinkEnded {
    /// Why, in words.
    pub reason: String,
    /// Whether the other side is there and ended it on purpose.
    pub by_peer: bool,
}

/// What became of datagrams offered to a link.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SendOutcome {
    /// How many were taken from the front, the refused ones among them.
    pub taken: usize,
    /// Those that the path has become too small for since its budget was asked.
    pub refused: Vec<Bytes>,
}

/// What carries a link.
#[derive(Clone)]
enum Way {
    Quic(Quic),
    Stream(StreamLink),
    Bond(BondLink),
}

/// One connection.
#[derive(Clone)]
pub struct Link {
    way: Way,
    /// Larger datagrams are not used, though the path may take them.
    budget_max: Option<DatagramBudget>,
    device_limit: DeviceLimit,
    inbound_end: Arc<InboundEnd>,
}

/// Whether the other side has said that it sends no more frames this way.
#[derive(Default)]
struct InboundEnd {
    /// The last frames are handed out.
    said: AtomicBool,
    /// They have been dealt with, because more was asked for.
    drained: watch::Sender<bool>,
}

impl Link {
    /// A link over QUIC.
    pub(crate) fn new(connection: Connection) -> Self {
        Self { way: Way::Quic(Quic::new(connection)), budget_max: None, device_limit: DeviceLimit::default(), inbound_end: Arc::default() }
    }

    /// This link, whose socket others may come in by.
    pub(crate) fn dialled_from(self, socket: lanparty_quic::Endpoint) -> Self {
        let way = if let Way::Quic(quic) = self.way { Way::Quic(quic.dialled_from(socket)) } else { self.way };
        Self { way, ..self }
    }

    /// The socket that it was dialled from.
    pub(crate) fn socket(&self) -> Option<lanparty_quic::Endpoint> {
        let Way::Quic(quic) = &self.way else { return None };
        quic.socket().cloned()
    }

    /// A link over TLS.
    #[must_use]
    pub fn over(stream: StreamLink) -> Self {
        Self { way: Way::Stream(stream), budget_max: None, device_limit: DeviceLimit::default(), inbound_end: Arc::default() }
    }

    /// A link over several connections.
    #[must_use]
    pub fn bonded(bond: BondLink) -> Self {
        Self { way: Way::Bond(bond), budget_max: None, device_limit: DeviceLimit::default(), inbound_end: Arc::default() }
    }

    /// The bond that it is, when it is one.
    #[must_use]
    pub const fn bond(&self) -> Option<&BondLink> {
        match &self.way {
            Way::Bond(bond) => Some(bond),
            Way::Quic(_) | Way::Stream(_) => None,
        }
    }

    /// What carries it.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match &self.way {
            Way::Quic(_) => Carrier::Quic,
            Way::Stream(_) => Carrier::Stream,
            Way::Bond(_) => Carrier::Bond,
        }
    }

    /// A link over an accepted connection, and whose it is. An error when the peer proved no identity.
    pub(crate) fn accepted(connection: Connection) -> Result<(Self, IdentityId), LinkEnded> {
        let unknown = || LinkEnded { reason: "the member proved no identity".into(), by_peer: false };
        let certificates = connection.peer_identity().and_then(|i| i.downcast::<Vec<CertificateDer<'static>>>().ok());
        let identity = certificates.as_ref().and_then(|c| c.first()).and_then(|c| identity_of(c).ok()).ok_or_else(unknown)?;
        Ok((Self::new(connection), identity))
    }

    /// This link, used for datagrams of at most `budget_max` and what the device takes, whatever its path does.
    pub(crate) fn limited_to(mut self, budget_max: Option<DatagramBudget>, device_limit: DeviceLimit) -> Self {
        (self.budget_max, self.device_limit) = (budget_max, device_limit);
        self
    }

    /// The largest datagram the path takes now, its owner wants to use, and its device takes.
    #[must_use]
    pub fn budget(&self) -> DatagramBudget {
        let found = self.found_budget();
        self.largest().map_or(found, |max| max.min(found))
    }

    fn largest(&self) -> Option<DatagramBudget> {
        [self.budget_max, self.device_limit.budget()].into_iter().flatten().min()
    }

    /// The largest datagram the path takes now.
    #[must_use]
    pub fn found_budget(&self) -> DatagramBudget {
        match &self.way {
            Way::Quic(quic) => quic.budget(),
            Way::Stream(stream) => stream.budget(),
            Way::Bond(bond) => bond.budget(),
        }
    }

    /// Whether the search for the path's size can find nothing larger, or there is none.
    pub(crate) fn is_at_most(&self) -> bool {
        match &self.way {
            Way::Stream(_) | Way::Bond(_) => true,
            Way::Quic(_) => self.budget() == self.largest().unwrap_or(DATAGRAM_BUDGET_MAX) || self.found_budget() >= DATAGRAM_BUDGET_MAX,
        }
    }

    /// Sends a datagram that carries nothing and waits a moment: while the path is silent, the stack sees only after a
    /// time-out which of its probes was lost.
    pub async fn help_search(&self) {
        match &self.way {
            // When the stack takes no more there is traffic enough, and when the link has ended its owner hears so anyway.
            Way::Quic(_) => drop(self.send_now(&[Bytes::from(padding(1))])),
            Way::Bond(bond) => bond.help_search(),
            Way::Stream(_) => {}
        }
        // Whatever carries it: who asks for more than there ever is must not keep others from running.
        tokio::time::sleep(HELP_INTERVAL).await;
    }

    /// What a [`PathSense`](lanparty_core::PathSense) looks at.
    pub(crate) fn path_facts(&self) -> PathFacts {
        match &self.way {
            Way::Quic(quic) => quic.path_facts(self.budget()),
            Way::Stream(stream) => {
                PathFacts { sent_packets: 0, lost_packets: 0, budget: self.budget(), rtt: stream.rtt().unwrap_or_default() }
            }
            // Each path has a watch of its own.
            Way::Bond(bond) => PathFacts { sent_packets: 0, lost_packets: 0, budget: self.budget(), rtt: bond.rtt().unwrap_or_default() },
        }
    }

    /// What the path does at this moment, for who shares frames out between several. Of a stream only the round trip is known.
    pub(crate) fn flight(&self) -> Flight {
        match &self.way {
            Way::Quic(quic) => quic.flight(),
            Way::Stream(stream) => stream.flight(),
            Way::Bond(_) => Flight::default(),
        }
    }

    /// Where the other side is now.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        match &self.way {
            Way::Quic(quic) => Some(canonical(quic.remote_address())),
            Way::Stream(stream) => Some(stream.remote_address()),
            Way::Bond(bond) => bond.remote_address(),
        }
    }

    /// Smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        match &self.way {
            Way::Quic(quic) => Some(quic.rtt()),
            Way::Stream(stream) => stream.rtt(),
            Way::Bond(bond) => bond.rtt(),
        }
    }

    /// Packets sent and found lost on the path; a stream's are the system's.
    #[must_use]
    pub fn packets(&self) -> (u64, u64) {
        match &self.way {
            Way::Quic(quic) => quic.packets(),
            Way::Stream(_) => (0, 0),
            Way::Bond(bond) => bond.packets(),
        }
    }

    /// Datagrams that went out; unlike an acknowledgement, each is answered.
    pub(crate) fn datagrams_sent(&self) -> u64 {
        match &self.way {
            Way::Quic(quic) => quic.datagrams_sent(),
            Way::Stream(_) | Way::Bond(_) => 0,
        }
    }

    /// Packets sent that the other side answers, and answers that came.
    pub(crate) fn answerable(&self) -> (u64, u64) {
        match &self.way {
            Way::Quic(quic) => quic.answerable(),
            Way::Stream(stream) => stream.answerable(),
            Way::Bond(_) => (0, 0),
        }
    }

    /// Bytes on the wire so far, both ways, with their IP and UDP or TCP headers.
    pub(crate) fn wire_bytes(&self) -> u64 {
        match &self.way {
            Way::Quic(quic) => quic.wire_bytes(),
            Way::Stream(stream) => stream.wire_bytes(),
            Way::Bond(_) => 0,
        }
    }

    /// How long an answer may take on a good path: of a stream only pings are answered, behind what waits before them.
    pub(crate) fn answer_time(&self) -> Duration {
        let rtt = self.rtt().unwrap_or_default();
        if self.carrier() == Carrier::Stream { rtt.max(STREAM_ANSWER_MIN) } else { rtt }
    }

    /// Packets received.
    #[must_use]
    pub fn received_packets(&self) -> u64 {
        match &self.way {
            Way::Quic(quic) => quic.received_packets(),
            Way::Stream(_) => 0,
            Way::Bond(bond) => bond.received_packets(),
        }
    }

    /// Stations 5 and 9, receive: waits for datagrams and fills `into` from the front. Returns how many arrived.
    ///
    /// Padding has done its work when it arrived, and goes no further.
    ///
    /// Cancel-safe: no frame is taken from the link until the future resolves.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn recv(&self, into: &mut [Bytes]) -> Result<usize, LinkEnded> {
        if self.inbound_end.said.load(Ordering::Relaxed) {
            self.inbound_end.drained.send_replace(true);
        }
        loop {
            let received = match &self.way {
                Way::Quic(quic) => quic.recv(into).await,
                Way::Stream(stream) => stream.recv(into).await,
                Way::Bond(bond) => bond.recv(into).await,
            };
            let count = received.inspect_err(|_| self.read_no_more())?;
            let received = into.get_mut(..count).unwrap_or_default();
            let is_last = received.iter().any(|datagram| is_end_of_way(datagram));
            let frames = remove_padding(received);
            if is_last {
                self.inbound_end.said.store(true, Ordering::Relaxed);
                self.inbound_end.drained.send_if_modified(|drained| frames == 0 && !std::mem::replace(drained, true));
            }
            if frames > 0 {
                return Ok(frames);
            }
        }
    }

    /// Stations 4 and 8, send: hands over as many datagrams of the front of `datagrams` as are taken without dropping older ones.
    /// Datagrams above the path's budget must have been sorted out before.
    ///
    /// # Errors
    /// When the connection ended.
    pub fn send_now(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        match &self.way {
            Way::Quic(quic) => quic.send_now(datagrams),
            Way::Stream(stream) => stream.send_now(datagrams),
            Way::Bond(bond) => bond.send_now(datagrams),
        }
    }

    /// Sends the front of `queue`, waiting until at least one datagram is taken.
    ///
    /// Cancel-safe: a datagram leaves the queue when the way has it.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn send_some(&self, queue: &mut VecDeque<Bytes>) -> Result<SendOutcome, LinkEnded> {
        match &self.way {
            Way::Quic(quic) => quic.send_some(queue).await,
            Way::Stream(stream) => stream.send_some(queue).await,
            Way::Bond(bond) => bond.send_some(queue).await,
        }
    }

    /// After [`Self::ready`]: as [`Self::send_now`], at least one datagram.
    pub(crate) fn send_ready(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        match &self.way {
            Way::Quic(quic) => quic.send_ready(datagrams),
            Way::Stream(_) | Way::Bond(_) => self.send_now(datagrams),
        }
    }

    /// Datagrams that the way has taken and given up since the last call: the path shrank under them, or fell behind.
    #[must_use]
    pub fn take_discarded(&self) -> Drops {
        match &self.way {
            Way::Quic(quic) => Drops::of(DropReason::DatagramBudget, quic.take_discarded()),
            Way::Stream(stream) => Drops::of(DropReason::QueueFull, stream.take_discarded()),
            Way::Bond(bond) => bond.take_discarded(),
        }
    }

    /// After the link's end: datagrams that the way had taken and will never send, and those of [`Self::take_discarded`]. Of a bond only these:
    /// what one of its paths has not sent another one may have.
    #[must_use]
    pub fn take_left(&self) -> Drops {
        let mut left = self.take_discarded();
        if let Way::Quic(quic) = &self.way {
            left.add_all(&Drops::of(DropReason::LinkDown, quic.take_left()));
        }
        left
    }

    /// Says that frames take another way from now on, behind those that are on their way in this one.
    pub async fn end_way(&self) {
        let end = || Bytes::from(end_of_way());
        match &self.way {
            Way::Quic(quic) => {
                for _ in 0..ENDS {
                    quic.send_last(end()).await;
                }
            }
            // A link that has ended needs no end.
            Way::Stream(stream) => drop(stream.send_now(&[end()])),
            // A bond changes its paths, and is not moved from.
            Way::Bond(_) => {}
        }
    }

    /// Nobody reads this link any more: who waits for it to be drained waits in vain.
    pub fn read_no_more(&self) {
        self.inbound_end.drained.send_replace(true);
    }

    /// Resolves when the other side sends no more frames this way, or the link has ended, and those that came have been dealt with.
    pub(crate) async fn drained(&self) {
        // The sender lives as long as this link does.
        let _ = self.inbound_end.drained.subscribe().wait_for(|drained| *drained).await;
    }

    /// Ends the connection with words for the other side.
    pub fn close(&self, reason: &str) {
        match &self.way {
            Way::Quic(quic) => quic.close(reason),
            Way::Stream(stream) => stream.close(reason),
            Way::Bond(bond) => bond.close(reason),
        }
    }

    /// After [`Self::close`]: resolves when a stream's farewell is sent. QUIC's is its endpoint's business.
    pub(crate) async fn wait_idle(&self) {
        match &self.way {
            Way::Stream(stream) => stream.wait_idle().await,
            Way::Bond(bond) => bond.wait_idle().await,
            Way::Quic(_) => {}
        }
    }

    /// How QUIC puts it that the connection has ended.
    pub(crate) fn close_reason(&self) -> Option<ConnectionError> {
        match &self.way {
            Way::Quic(quic) => quic.connection().close_reason(),
            Way::Stream(_) | Way::Bond(_) => None,
        }
    }

    /// Resolves when the connection has ended.
    pub async fn ended(&self) -> LinkEnded {
        match &self.way {
            Way::Quic(quic) => quic.ended().await,
            Way::Stream(stream) => stream.ended().await,
            Way::Bond(bond) => bond.ended().await,
        }
    }

    /// Opens the control stream, as the member does.
    ///
    /// # Errors
    /// When the connection ended first.
    pub(crate) async fn open_control(&self) -> Result<(ControlReader, ControlWriter), LinkEnded> {
        match &self.way {
            Way::Quic(quic) => control::open(quic.connection()).await,
            Way::Stream(stream) => Ok(control::of_stream(stream)),
            Way::Bond(bond) => Ok(bond.control()),
        }
    }

    /// Waits for the member's control stream, as the relay does.
    ///
    /// # Errors
    /// When the connection ended first.
    pub async fn accept_control(&self) -> Result<(ControlReader, ControlWriter), LinkEnded> {
        match &self.way {
            Way::Quic(quic) => control::accept(quic.connection()).await,
            Way::Stream(stream) => Ok(control::of_stream(stream)),
            Way::Bond(bond) => Ok(bond.control()),
        }
    }
}

/// Moves the frames to the front, in order. How many they are. The others are let go: each keeps all that came with it in memory.
fn remove_padding(datagrams: &mut [Bytes]) -> usize {
    let mut kept = 0;
    for at in 0..datagrams.len() {
        if datagrams.get(at).is_some_and(|d| !is_padding(d) && !is_end_of_way(d)) {
            datagrams.swap(kept, at);
            kept += 1;
        }
    }
    datagrams.iter_mut().skip(kept).for_each(|other| *other = Bytes::new());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stay_in_order_when_padding_is_taken_out() {
        let (frame, pad) = (|n: u8| Bytes::from(vec![0x10, 0, n]), || Bytes::from(padding(9)));
        let mut datagrams = [pad(), frame(1), frame(2), pad(), pad(), frame(3)];
        assert_eq!(remove_padding(&mut datagrams), 3);
        assert_eq!(datagrams[..3], [frame(1), frame(2), frame(3)]);
        assert!(datagrams[3..].iter().all(Bytes::is_empty), "padding keeps no memory");
        assert_eq!(remove_padding(&mut [pad()]), 0);
    }
}
