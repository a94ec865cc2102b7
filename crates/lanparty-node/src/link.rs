//! A link: one QUIC connection, as something that takes and gives datagrams in batches.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lanparty_core::PathFacts;
use lanparty_proto::{DatagramBudget, IdentityId, end_of_way, is_end_of_way, is_padding, padding};
use noq::{Connection, ConnectionError, PathId, SendDatagramError, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use crate::endpoint::UDP_PAYLOAD_MAX;
use crate::sizing::PACKET_OVERHEAD;
use crate::tls::identity_of;
use packing::Packing;

mod draining;
mod packing;

pub use draining::Draining;

/// A link that was silent for three heartbeats is dead.
pub const LINK_DEAD_AFTER: Duration = Duration::from_secs(3);
/// The stack's own queue of outgoing datagrams, in bytes of memory: two super-frames. It drops the oldest in silence
/// when it overflows, so we never let it (see [`Link::send_now`]).
pub(crate) const DATAGRAM_BUFFER_LEN: usize = 160 * 1024;
/// Time between datagrams that help a search along.
const HELP_INTERVAL: Duration = Duration::from_millis(5);
/// How often the end of a way is said: a datagram may be lost.
const ENDS: usize = 3;
/// The largest budget that the search can find.
const DATAGRAM_BUDGET_MAX: DatagramBudget = DatagramBudget(UDP_PAYLOAD_MAX - PACKET_OVERHEAD);
/// What the stack counts for a queued datagram besides its bytes.
const DATAGRAM_OVERHEAD: usize = size_of::<Bytes>();

/// A connection ended.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct LinkEnded {
    /// Why, in words.
    pub reason: String,
    /// Whether the other side is there and ended it on purpose.
    pub by_peer: bool,
}

impl From<ConnectionError> for LinkEnded {
    fn from(error: ConnectionError) -> Self {
        let (reason, by_peer) = match &error {
            ConnectionError::TimedOut => (format!("nothing heard for {} s", LINK_DEAD_AFTER.as_secs()), false),
            ConnectionError::Reset => ("the other side restarted".to_owned(), false),
            ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => ("closed by the other side".to_owned(), true),
            ConnectionError::ApplicationClosed(close) => (String::from_utf8_lossy(&close.reason).into_owned(), true),
            ConnectionError::LocallyClosed => ("closed here".to_owned(), false),
            other => (other.to_string(), false),
        };
        Self { reason, by_peer }
    }
}

/// What became of datagrams offered to a link.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SendOutcome {
    /// How many were taken from the front, the refused ones among them.
    pub taken: usize,
    /// Those that the path has become too small for since its budget was asked.
    pub refused: Vec<Bytes>,
}

/// One QUIC connection.
#[derive(Clone)]
pub struct Link {
    connection: Connection,
    /// Larger datagrams are not used, though the path may take them.
    budget_max: Option<DatagramBudget>,
    /// Datagrams handed to the stack, less those it sent or gave up: how many it holds.
    handed_over: Arc<AtomicU64>,
    /// Datagrams the stack gave up in silence because the path shrank under them.
    discarded: Arc<AtomicU64>,
    packing: Arc<Mutex<Packing>>,
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
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            budget_max: None,
            handed_over: Arc::default(),
            discarded: Arc::default(),
            packing: Arc::default(),
            inbound_end: Arc::default(),
        }
    }

    /// A link over an accepted connection, and whose it is. An error when the peer proved no identity.
    pub(crate) fn accepted(connection: Connection) -> Result<(Self, IdentityId), LinkEnded> {
        let unknown = || LinkEnded { reason: "the member proved no identity".into(), by_peer: false };
        let certificates = connection.peer_identity().and_then(|i| i.downcast::<Vec<CertificateDer<'static>>>().ok());
        let identity = certificates.as_ref().and_then(|c| c.first()).and_then(|c| identity_of(c).ok()).ok_or_else(unknown)?;
        Ok((Self::new(connection), identity))
    }

    /// This link, used for datagrams of at most `budget_max`, whatever its path takes.
    pub(crate) const fn limited_to(mut self, budget_max: Option<DatagramBudget>) -> Self {
        self.budget_max = budget_max;
        self
    }

    /// The largest datagram the path takes now, and its owner wants to use.
    #[must_use]
    pub fn budget(&self) -> DatagramBudget {
        let found = self.found_budget();
        self.budget_max.map_or(found, |max| max.min(found))
    }

    /// The largest datagram the path takes now, as path MTU discovery found (RFC 8899).
    #[must_use]
    pub fn found_budget(&self) -> DatagramBudget {
        let bytes = self.connection.max_datagram_size().unwrap_or(0);
        DatagramBudget(u16::try_from(bytes).unwrap_or(u16::MAX))
    }

    /// Whether the search for the path's size can find nothing larger, or there is none.
    pub(crate) fn is_at_most(&self) -> bool {
        self.budget() == self.budget_max.unwrap_or(DATAGRAM_BUDGET_MAX) || self.found_budget() >= DATAGRAM_BUDGET_MAX
    }

    /// Sends a datagram that carries nothing and waits a moment: while the path is silent, the stack sees only after a
    /// time-out which of its probes was lost.
    pub async fn help_search(&self) {
        // When the stack takes no more there is traffic enough, and when the link has ended its owner hears so anyway.
        let _ = self.send_now(&[Bytes::from(padding(1))]);
        tokio::time::sleep(HELP_INTERVAL).await;
    }

    /// What a [`PathSense`](lanparty_core::PathSense) looks at.
    pub(crate) fn path_facts(&self) -> PathFacts {
        let stats = self.connection.path_stats(PathId::ZERO);
        let sent_packets = stats.as_ref().map_or(0, |s| s.sent_packets);
        let lost_packets = stats.as_ref().map_or(0, |s| s.lost_packets.saturating_sub(s.lost_plpmtud_probes));
        PathFacts { sent_packets, lost_packets, budget: self.budget(), rtt: self.rtt().unwrap_or_default() }
    }

    /// Smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.connection.rtt(PathId::ZERO)
    }

    /// Packets sent and found lost on the path.
    #[must_use]
    pub fn packets(&self) -> (u64, u64) {
        self.connection.path_stats(PathId::ZERO).map_or((0, 0), |s| (s.sent_packets, s.lost_packets))
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
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
            let count = self.connection.read_many_datagrams(into).await?;
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

    /// Stations 4 and 8, send: hands over as many datagrams of the front of `datagrams` as the stack takes without dropping older ones,
    /// and without putting a small one where a smaller path would lose it. Datagrams above the path's budget must have been sorted
    /// out before.
    ///
    /// # Errors
    /// When the connection ended.
    pub fn send_now(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        let mut space = self.buffer_space();
        let fits = datagrams
            .iter()
            .take_while(|d| {
                let cost = d.len() + DATAGRAM_OVERHEAD;
                let ok = cost <= space;
                space = space.saturating_sub(cost);
                ok
            })
            .count();
        let fits = self.packing().admit(datagrams.get(..fits).unwrap_or_default(), self.found_budget().0.into());
        let Some(front) = datagrams.get(..fits).filter(|f| !f.is_empty()) else { return Ok(SendOutcome::default()) };
        let refused = match self.connection.send_many_datagrams(front) {
            Ok(_) => vec![],
            // The path shrank between the caller's look and now.
            Err(SendDatagramError::TooLarge) => {
                front.iter().filter(|d| self.connection.send_datagram((*d).clone()).is_err()).cloned().collect()
            }
            Err(SendDatagramError::ConnectionLost(e)) => return Err(e.into()),
            Err(e) => return Err(LinkEnded { reason: e.to_string(), by_peer: false }),
        };
        self.handed_over.fetch_add((front.len() - refused.len()) as u64, Ordering::Relaxed);
        Ok(SendOutcome { taken: front.len(), refused })
    }

    /// Sends the front of `queue`, waiting until the stack takes at least one datagram.
    ///
    /// Cancel-safe: a datagram leaves the queue when the stack has it.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn send_some(&self, queue: &mut VecDeque<Bytes>) -> Result<SendOutcome, LinkEnded> {
        if queue.is_empty() {
            return Ok(SendOutcome::default());
        }
        // The stack sends what it has while others run, unless the path takes no more; then there is nothing to wait for.
        tokio::task::yield_now().await;
        let Some(first) = queue.front() else { return Ok(SendOutcome::default()) };
        let waited = self.connection.send_datagram_wait(first.clone()).await;
        self.buffer_space();
        self.packing().force(first, self.found_budget().0.into());
        let first = queue.pop_front();
        let refused_first = match waited {
            Ok(()) => {
                self.handed_over.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(SendDatagramError::ConnectionLost(e)) => return Err(e.into()),
            Err(_) => first,
        };
        let mut outcome = self.send_now(queue.make_contiguous())?;
        queue.drain(..outcome.taken);
        outcome.taken += 1;
        outcome.refused.extend(refused_first);
        Ok(outcome)
    }

    /// Datagrams that the stack has given up since the last call, without a word: they were queued when the path shrank.
    #[must_use]
    pub fn take_discarded(&self) -> u64 {
        self.buffer_space();
        self.discarded.swap(0, Ordering::Relaxed)
    }

    /// Bytes of memory left in the stack's queue, counted as the stack counts them.
    fn buffer_space(&self) -> usize {
        let free = self.connection.datagram_send_buffer_space();
        let payload = (DATAGRAM_BUFFER_LEN - DATAGRAM_OVERHEAD).saturating_sub(free);
        let sent = self.connection.path_stats(PathId::ZERO).map_or(0, |s| s.frame_tx.datagram);
        let queued = self.handed_over.load(Ordering::Relaxed).saturating_sub(sent);
        if payload == 0 {
            // Nothing is queued, so what was handed over and not sent is gone.
            self.handed_over.store(sent, Ordering::Relaxed);
            self.discarded.fetch_add(queued, Ordering::Relaxed);
            *self.packing() = Packing::default();
            return DATAGRAM_BUFFER_LEN;
        }
        let overhead = usize::try_from(queued).unwrap_or(usize::MAX).saturating_mul(DATAGRAM_OVERHEAD);
        DATAGRAM_BUFFER_LEN.saturating_sub(payload).saturating_sub(overhead)
    }

    fn packing(&self) -> MutexGuard<'_, Packing> {
        // Whole after every call.
        self.packing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that frames take another way from now on, behind those that are on their way in this one.
    pub async fn end_way(&self) {
        for _ in 0..ENDS {
            // A connection that has ended needs no end.
            let _ = self.connection.send_datagram_wait(Bytes::from(end_of_way())).await;
        }
    }

    /// Resolves when the other side sends no more frames this way and those that came have been dealt with.
    pub(crate) async fn drained(&self) {
        // The sender lives as long as this link does.
        let _ = self.inbound_end.drained.subscribe().wait_for(|drained| *drained).await;
    }

    /// Ends the connection with words for the other side.
    pub fn close(&self, reason: &str) {
        self.connection.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Resolves when the connection has ended.
    pub async fn ended(&self) -> LinkEnded {
        let closed = self.connection.on_closed().await;
        closed.reason.into()
    }
}

/// Moves the frames to the front, in order. How many they are.
fn remove_padding(datagrams: &mut [Bytes]) -> usize {
    let mut kept = 0;
    for at in 0..datagrams.len() {
        if datagrams.get(at).is_some_and(|d| !is_padding(d) && !is_end_of_way(d)) {
            datagrams.swap(kept, at);
            kept += 1;
        }
    }
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
        assert_eq!(remove_padding(&mut [pad()]), 0);
    }
}
