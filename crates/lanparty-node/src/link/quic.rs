//! A link over QUIC: frames are its datagrams (RFC 9221).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Discarded, FairQueue, Flight, PathFacts};
use lanparty_proto::DatagramBudget;
use lanparty_quic::{Connection, ConnectionError, SendDatagramError, VarInt};

use super::packing::Packing;
use super::watched::{Gauge, gauge_of, queue_max};
use super::{LINK_DEAD_AFTER, LinkEnded, SendOutcome};

/// The stack's own queue of outgoing datagrams, in bytes of memory: four super-frames. It drops the oldest in silence when it overflows, so
/// we never let it (see [`Quic::send_now`]).
pub(crate) const DATAGRAM_BUFFER_LEN: usize = 288 * 1024;
/// What the stack counts for a queued datagram besides its bytes.
const DATAGRAM_OVERHEAD: usize = size_of::<Bytes>();
/// Who waits for the stack to send looks again after this long, whatever it was told: the connection may have ended, or moved.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Bytes that the stack counts for a queued datagram.
fn cost_of(datagram: &Bytes) -> usize {
    datagram.len() + DATAGRAM_OVERHEAD
}

/// As many from the front as fit into `space`.
fn fitting(datagrams: &[Bytes], mut space: usize) -> &[Bytes] {
    let takes = |datagram: &&Bytes| {
        let cost = cost_of(datagram);
        let fits = cost <= space;
        space = space.saturating_sub(cost);
        fits
    };
    let count = datagrams.iter().take_while(takes).count();
    datagrams.get(..count).unwrap_or_default()
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

/// Headers of IP and UDP before each of the stack's packets.
const HEADERS_LEN: (u64, u64) = (20 + 8, 40 + 8);

/// One QUIC connection.
#[derive(Clone)]
pub(crate) struct Quic {
    connection: Connection,
    /// What it was dialled from, when others may come in there as well.
    socket: Option<lanparty_quic::Endpoint>,
    /// Datagrams handed to the stack, less those it sent or gave up: how many it holds.
    handed_over: Arc<AtomicU64>,
    /// Datagrams the stack gave up in silence because the path shrank under them.
    discarded: Arc<AtomicU64>,
    packing: Arc<Mutex<Packing>>,
    gauge: Arc<Mutex<Arc<Gauge>>>,
}

impl Quic {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            socket: None,
            handed_over: Arc::default(),
            discarded: Arc::default(),
            packing: Arc::default(),
            gauge: Arc::default(),
        }
    }

    /// Remembers the socket that it was dialled from.
    pub(super) fn dialled_from(mut self, socket: lanparty_quic::Endpoint) -> Self {
        self.socket = Some(socket);
        self
    }

    pub(super) const fn socket(&self) -> Option<&lanparty_quic::Endpoint> {
        self.socket.as_ref()
    }

    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The largest datagram the path takes now, as path MTU discovery found (RFC 8899).
    pub(super) fn budget(&self) -> DatagramBudget {
        let bytes = self.connection.max_datagram_size().unwrap_or(0);
        DatagramBudget(u16::try_from(bytes).unwrap_or(u16::MAX))
    }

    /// What the path did so far; `budget` is what its owner uses of it.
    pub(super) fn path_facts(&self, budget: DatagramBudget) -> PathFacts {
        let (sent_packets, lost_packets) = self.packets();
        PathFacts { sent_packets, lost_packets, budget, rtt: self.rtt() }
    }

    pub(super) fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    pub(super) fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    pub(super) fn packets(&self) -> (u64, u64) {
        let path = self.connection.stats().path;
        (path.sent_packets, path.lost_packets)
    }

    /// Datagrams that went out: unlike an acknowledgement, each is answered.
    pub(super) fn datagrams_sent(&self) -> u64 {
        self.connection.stats().frame_tx.datagram
    }

    /// Packets sent, and how many of them because a time-out had passed without an acknowledgement (RFC 9002 §6.2).
    #[cfg(test)]
    pub(super) fn probes(&self) -> (u64, u64) {
        let stats = self.connection.stats();
        (stats.path.sent_packets, stats.frame_tx.immediate_ack)
    }

    /// Packets sent that are acknowledged for themselves, and acknowledgements that came.
    pub(super) fn answerable(&self) -> (u64, u64) {
        let stats = self.connection.stats();
        (stats.frame_tx.datagram + stats.frame_tx.ping, stats.frame_rx.acks)
    }

    pub(super) fn received_packets(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Bytes of packets both ways, headers in them.
    pub(super) fn wire_bytes(&self) -> u64 {
        let stats = self.connection.stats();
        let is_ipv6 = super::canonical(self.remote_address()).is_ipv6();
        let headers = if is_ipv6 { HEADERS_LEN.1 } else { HEADERS_LEN.0 };
        [stats.udp_tx, stats.udp_rx].iter().map(|udp| udp.bytes + udp.datagrams * headers).sum()
    }

    pub(super) async fn recv(&self, into: &mut [Bytes]) -> Result<usize, LinkEnded> {
        let count = self.connection.read_datagrams(into).await?;
        self.gauge().hear();
        Ok(count)
    }

    /// What the path does at this moment.
    pub(super) fn flight(&self) -> Flight {
        self.gauge().flight(self.queued().0)
    }

    /// Never more than the stack may hold, which is less than makes it drop older ones; and no small one where a smaller path would
    /// lose it with a large one.
    pub(super) fn send_now(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        // Which may begin the packing anew.
        let space = self.buffer_space();
        let fits = self.packing().admit(fitting(datagrams, space), self.budget().0.into());
        self.hand_over(datagrams.get(..fits).unwrap_or_default())
    }

    /// As much of `queue` as the stack may hold now, for [`Self::hand_over`]. The first is taken whatever it travels with: the stack
    /// had its time to send what was before it.
    pub(super) fn take_from(&self, queue: &mut FairQueue, now: Instant, discarded: &mut Vec<Discarded>) -> Vec<Bytes> {
        let (mut space, budget, waiting) = (self.buffer_space(), self.budget().0.into(), queue.len());
        let (mut packing, mut batch) = (self.packing(), vec![]);
        let flight = self.flight();
        queue.set_rtt(flight.least_rtt());
        queue.set_rate(flight.rate_bytes_per_s);
        loop {
            let (datagram, dropped) = queue.pop(now);
            discarded.extend(dropped);
            let Some(datagram) = datagram else { return batch };
            let cost = cost_of(&datagram);
            let fits = cost <= space && (batch.is_empty() || packing.admits_one(&datagram, budget, waiting));
            if !fits {
                queue.unpop(datagram, now);
                return batch;
            }
            if batch.is_empty() {
                packing.force(&datagram, budget);
            }
            space -= cost;
            batch.push(datagram);
        }
    }

    /// Gives the stack what it has room for.
    pub(super) fn hand_over(&self, front: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        if front.is_empty() {
            return Ok(SendOutcome::default());
        }
        let refused = match self.connection.send_datagrams(front) {
            Ok(()) => vec![],
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

    pub(super) async fn send_some(&self, queue: &mut VecDeque<Bytes>) -> Result<SendOutcome, LinkEnded> {
        if queue.is_empty() {
            return Ok(SendOutcome::default());
        }
        self.ready().await?;
        let outcome = self.send_ready(queue.make_contiguous())?;
        queue.drain(..outcome.taken);
        Ok(outcome)
    }

    /// After [`Self::ready`]: as [`Self::send_now`], and the first whatever it travels with.
    pub(super) fn send_ready(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        let Some((first, rest)) = datagrams.split_first() else { return Ok(SendOutcome::default()) };
        let (space, budget) = (self.buffer_space().saturating_sub(cost_of(first)), self.budget().0.into());
        let fits = {
            let mut packing = self.packing();
            packing.force(first, budget);
            packing.admit(fitting(rest, space), budget)
        };
        self.hand_over(datagrams.get(..=fits).unwrap_or_default())
    }

    pub(super) fn take_discarded(&self) -> u64 {
        self.buffer_space();
        self.discarded.swap(0, Ordering::Relaxed)
    }

    /// After the connection's end: datagrams that the stack has not sent, nor ever will.
    pub(super) fn take_left(&self) -> u64 {
        let sent = self.datagrams_sent();
        self.handed_over.swap(sent, Ordering::Relaxed).saturating_sub(sent)
    }

    /// Waits until the stack may hold another datagram. Cancel-safe.
    pub(super) async fn ready(&self) -> Result<(), LinkEnded> {
        // What was left behind a burst leaves while others run; unless the path takes no more there is nothing to wait for then.
        tokio::task::yield_now().await;
        loop {
            if let Some(ended) = self.connection.close_reason() {
                return Err(ended.into());
            }
            let gauge = self.gauge();
            if self.buffer_space() >= usize::from(self.budget().0) + DATAGRAM_OVERHEAD {
                return Ok(());
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, gauge.sent.notified()).await;
        }
    }

    /// Bytes that the stack may take on, counted as the stack counts them.
    fn buffer_space(&self) -> usize {
        let (payload, sent) = self.queued();
        let queue_max = queue_max(&self.gauge().flight(payload));
        if payload == 0 {
            // Nothing is queued, so what was handed over and not sent is gone.
            let gone = self.handed_over.swap(sent, Ordering::Relaxed).saturating_sub(sent);
            self.discarded.fetch_add(gone, Ordering::Relaxed);
            *self.packing() = Packing::default();
            return queue_max;
        }
        // More than there are bytes for when it gave some up.
        let count = self.handed_over.load(Ordering::Relaxed).saturating_sub(sent);
        let overhead = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(DATAGRAM_OVERHEAD);
        queue_max.saturating_sub(payload).min(DATAGRAM_BUFFER_LEN.saturating_sub(payload).saturating_sub(overhead))
    }

    /// Bytes of the datagrams that the stack holds, and how many datagrams it has sent.
    fn queued(&self) -> (usize, u64) {
        let (free, sent) = self.connection.datagrams_out();
        ((DATAGRAM_BUFFER_LEN - DATAGRAM_OVERHEAD).saturating_sub(free), sent)
    }

    /// The gauge of the controller in use: there is another one after the other side has moved to another address.
    fn gauge(&self) -> Arc<Gauge> {
        // Whole after every call.
        let mut gauge = self.gauge.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&gauge) == 1
            && let Some(now) = gauge_of(self.connection.congestion_state())
        {
            *gauge = now;
        }
        Arc::clone(&gauge)
    }

    fn packing(&self) -> MutexGuard<'_, Packing> {
        // Whole after every call.
        self.packing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the stack takes this datagram, too.
    pub(super) async fn send_last(&self, datagram: Bytes) {
        // A connection that has ended needs no last word.
        let _ = self.connection.send_datagram_wait(datagram).await;
    }

    pub(super) fn close(&self, reason: &str) {
        self.connection.close(VarInt::from_u32(0), reason.as_bytes());
    }

    pub(super) async fn ended(&self) -> LinkEnded {
        self.connection.ended().await.into()
    }
}
