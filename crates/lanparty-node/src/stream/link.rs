//! A link over a stream, as its owner sees it: the same verbs as [`crate::Link`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::Flight;
use lanparty_core::{Discarded, FairQueue};
use lanparty_proto::{Control, DatagramBudget, LanMtu, control_to_json};
use tokio::sync::Notify;

use super::clock::LinkClock;
use super::inbox::Inbox;
use super::pump;
use super::queue::SendQueue;
use super::socket::WebSocket;
use crate::{LinkEnded, SendOutcome};

/// A stream takes every frame that a LAN can have, whatever the path takes: TCP cuts and joins as it needs.
const BUDGET: DatagramBudget = DatagramBudget::for_lan_mtu(LanMtu::MAX);
/// What a stream is taken to carry in a round trip, in bytes, and how long one is taken to last.
const WINDOW_ASSUMED: f64 = 262_144.0;
const RTT_ASSUMED: Duration = Duration::from_millis(50);
const RTT_LEAST: Duration = Duration::from_millis(1);
/// Datagrams taken from a queue in one turn.
const SEND_BATCH: usize = 64;
/// Bytes of control messages that may wait to be sent; whoever has more waits.
const CONTROL_LEN_MAX: usize = 256 * 1024;

/// A TLS stream with WebSocket framing.
///
/// One task reads and one writes, until the link ends or its last handle is dropped.
#[derive(Clone)]
pub struct StreamLink {
    handle: Arc<Handle>,
}

/// All handles of the owner: the tasks do not hold it, so that they end when it goes.
struct Handle {
    shared: Arc<Shared>,
    remote: SocketAddr,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close("");
    }
}

impl StreamLink {
    pub(super) fn start(socket: WebSocket, remote: SocketAddr) -> Self {
        let shared = Arc::new(Shared::new(socket.get_ref().clock()));
        pump::start(socket, &shared);
        Self { handle: Arc::new(Handle { shared, remote }) }
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// For whoever ends many links at once, without keeping them alive.
    pub(super) fn downgrade(&self) -> std::sync::Weak<Shared> {
        Arc::downgrade(&self.handle.shared)
    }

    /// Where the other side is: for a member that uses a proxy, the proxy; for a relay behind a proxy, the member.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.handle.remote
    }

    /// The largest datagram: always what the largest LAN MTU needs.
    #[must_use]
    pub const fn budget(&self) -> DatagramBudget {
        BUDGET
    }

    /// Smoothed round-trip time (RFC 6298 §2), our own queues in it; nothing before the first heartbeat came back.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        *lock(&self.shared().rtt)
    }

    /// Stations 5 and 9, receive: waits for datagrams and fills `into` from the front. Returns how many arrived.
    ///
    /// Padding goes no further. Cancel-safe: no frame is taken from the link until the future resolves.
    ///
    /// # Errors
    /// When the link ended, and what came before that was taken.
    pub async fn recv(&self, into: &mut [Bytes]) -> Result<usize, LinkEnded> {
        let shared = self.shared();
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let arrived = shared.datagrams_arrived.notified();
            let frames = shared.take_datagrams(into);
            if frames > 0 {
                return Ok(frames);
            }
            shared.not_ended()?;
            arrived.await;
        }
    }

    /// Stations 4 and 8, send: takes all of `datagrams`. Whatever waits too long or is too much is dropped, oldest first, and
    /// counted (see [`Self::take_discarded`]).
    ///
    /// # Errors
    /// When the link ended.
    pub fn send_now(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        let shared = self.shared();
        shared.not_ended()?;
        let fits = |d: &&Bytes| !d.is_empty() && d.len() <= usize::from(BUDGET.0);
        let refused: Vec<_> = datagrams.iter().filter(|d| !fits(d)).cloned().collect();
        shared.outgoing().datagrams.extend(datagrams.iter().filter(fits), Instant::now());
        shared.outgoing_waits.notify_one();
        Ok(SendOutcome { taken: datagrams.len(), refused })
    }

    /// Sends all of `queue`. Never waits for the other side, but lets others run.
    ///
    /// Cancel-safe: a datagram leaves the queue when the link has it.
    ///
    /// # Errors
    /// When the link ended.
    pub async fn send_some(&self, queue: &mut VecDeque<Bytes>) -> Result<SendOutcome, LinkEnded> {
        if queue.is_empty() {
            return Ok(SendOutcome::default());
        }
        tokio::task::yield_now().await;
        let outcome = self.send_now(queue.make_contiguous())?;
        queue.drain(..outcome.taken);
        Ok(outcome)
    }

    /// Lets others run. Never waits for the other side. Cancel-safe.
    ///
    /// # Errors
    /// When the link ended.
    pub(crate) async fn ready(&self) -> Result<(), LinkEnded> {
        tokio::task::yield_now().await;
        self.shared().not_ended()
    }

    /// Some of `queue`, for [`Self::send_now`].
    pub(crate) fn take_from(&self, queue: &mut FairQueue, now: Instant, discarded: &mut Vec<Discarded>) -> Vec<Bytes> {
        let next = || {
            let (datagram, dropped) = queue.pop(now);
            discarded.extend(dropped);
            datagram
        };
        std::iter::from_fn(next).take(SEND_BATCH).collect()
    }

    /// Datagrams dropped since the last call, because the stream did not take them in time.
    #[must_use]
    pub fn take_discarded(&self) -> u64 {
        self.shared().outgoing().datagrams.take_discarded()
    }

    /// Datagrams that arrived and were dropped since the last call, because nobody called [`Self::recv`].
    #[must_use]
    pub fn take_overrun(&self) -> u64 {
        self.shared().inbox().take_overrun()
    }

    /// The next control message. Cancel-safe.
    ///
    /// # Errors
    /// When the link ended, and what came before that was taken.
    pub async fn next_control(&self) -> Result<Control, LinkEnded> {
        let shared = self.shared();
        loop {
            let arrived = shared.control_arrived.notified();
            if let Some(message) = shared.take_control() {
                return Ok(message);
            }
            shared.not_ended()?;
            arrived.await;
        }
    }

    /// Sends a control message: before all datagrams, and never dropped while the link lives. Waits while too many wait.
    /// Cancel-safe: it is queued when the future resolves, and not before.
    ///
    /// # Errors
    /// When the link ended.
    pub async fn send_control(&self, message: &Control) -> Result<(), LinkEnded> {
        let (shared, json) = (self.shared(), control_to_json(message));
        loop {
            let room = shared.control_sent.notified();
            shared.not_ended()?;
            if shared.outgoing().takes_control() {
                shared.outgoing().push_control(json);
                shared.outgoing_waits.notify_one();
                return Ok(());
            }
            room.await;
        }
    }

    /// Ends the link with words for the other side, behind the control messages that wait. Datagrams that wait are dropped.
    pub fn close(&self, reason: &str) {
        self.shared().close(reason);
    }

    /// Resolves when the link has ended.
    pub async fn ended(&self) -> LinkEnded {
        self.shared().ended().await
    }

    /// Resolves when nothing of an ended link is left: its farewell was sent, or took too long.
    pub async fn wait_idle(&self) {
        self.shared().idle().await;
    }

    /// Messages that are answered, or followed by a ping that is, and signs of life: TCP keeps its own to itself.
    pub(crate) fn answerable(&self) -> (u64, u64) {
        self.shared().clock.answerable()
    }

    /// About how many bytes were on the wire, both ways.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.shared().clock.wire_bytes()
    }

    /// What TCP may have in flight is its own secret: a window that every system allows, for each round trip.
    pub(crate) fn flight(&self) -> Flight {
        let rtt = self.rtt().unwrap_or(RTT_ASSUMED).max(RTT_LEAST);
        let rate_bytes_per_s = (WINDOW_ASSUMED / rtt.as_secs_f64()) as u64;
        Flight { rtt, min_rtt: rtt, rate_bytes_per_s, window: WINDOW_ASSUMED as u64, in_flight: 0, queued: self.queued() }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.shared().outgoing().datagrams.len()
    }
}

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) datagrams: SendQueue,
    control: VecDeque<String>,
    control_len: usize,
    /// A farewell to be sent when no control message waits.
    pub(super) farewell: Option<String>,
}

impl Outgoing {
    const fn takes_control(&self) -> bool {
        self.control_len < CONTROL_LEN_MAX
    }

    fn push_control(&mut self, json: String) {
        self.control_len += json.len();
        self.control.push_back(json);
    }

    pub(super) fn take_control(&mut self) -> Option<String> {
        let json = self.control.pop_front()?;
        self.control_len -= json.len();
        Some(json)
    }
}

/// What the owner and the two tasks share.
pub(super) struct Shared {
    pub(super) clock: Arc<LinkClock>,
    pub(super) rtt: Mutex<Option<Duration>>,
    outgoing: Mutex<Outgoing>,
    /// Something to send.
    pub(super) outgoing_waits: Notify,
    /// Room for control messages to be sent.
    pub(super) control_sent: Notify,
    inbox: Mutex<Inbox>,
    pub(super) datagrams_arrived: Notify,
    pub(super) control_arrived: Notify,
    /// Room for control messages to be read.
    pub(super) control_taken: Notify,
    ended: OnceLock<LinkEnded>,
    has_ended: Notify,
    /// Tasks that still run, as whoever starts them counts them.
    tasks: Mutex<usize>,
    task_ended: Notify,
}

/// A task of a link runs as long as this lives.
pub(super) struct TaskGuard(Arc<Shared>);

impl TaskGuard {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        *lock(&self.0.tasks) -= 1;
        self.0.task_ended.notify_waiters();
    }
}

impl Shared {
    fn new(clock: Arc<LinkClock>) -> Self {
        Self {
            clock,
            rtt: Mutex::default(),
            outgoing: Mutex::default(),
            outgoing_waits: Notify::new(),
            control_sent: Notify::new(),
            inbox: Mutex::default(),
            datagrams_arrived: Notify::new(),
            control_arrived: Notify::new(),
            control_taken: Notify::new(),
            ended: OnceLock::new(),
            has_ended: Notify::new(),
            tasks: Mutex::new(0),
            task_ended: Notify::new(),
        }
    }

    pub(super) fn task(self: &Arc<Self>) -> TaskGuard {
        *lock(&self.tasks) += 1;
        TaskGuard(Arc::clone(self))
    }

    pub(super) fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        lock(&self.outgoing)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    fn take_datagrams(&self, into: &mut [Bytes]) -> usize {
        let mut inbox = self.inbox();
        let frames = inbox.take_datagrams(into);
        if inbox.has_datagrams() {
            // For a second reader: whoever was woken did not take all.
            self.datagrams_arrived.notify_one();
        }
        frames
    }

    fn take_control(&self) -> Option<Control> {
        let mut inbox = self.inbox();
        let message = inbox.take_control();
        if inbox.has_control() {
            self.control_arrived.notify_one();
        }
        self.control_taken.notify_one();
        message
    }

    fn not_ended(&self) -> Result<(), LinkEnded> {
        self.ended.get().map_or(Ok(()), |ended| Err(ended.clone()))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    pub(super) fn close(&self, reason: &str) {
        self.say_farewell(reason, LinkEnded { reason: "closed here".into(), by_peer: false });
    }

    /// Ends the link, for a reason of ours that the other side should hear.
    pub(super) fn say_farewell(&self, reason: &str, ended: LinkEnded) {
        if !self.has_ended() {
            self.outgoing().farewell = Some(reason.to_owned());
        }
        self.end(ended);
    }

    /// Ends the link, unless it has ended.
    pub(super) fn end(&self, ended: LinkEnded) {
        if self.ended.set(ended).is_err() {
            return;
        }
        self.outgoing().datagrams.clear();
        for waiting in [&self.has_ended, &self.datagrams_arrived, &self.control_arrived, &self.control_sent, &self.control_taken] {
            waiting.notify_waiters();
        }
        self.outgoing_waits.notify_one();
    }

    pub(super) async fn ended(&self) -> LinkEnded {
        loop {
            let now = self.has_ended.notified();
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            now.await;
        }
    }

    pub(super) async fn idle(&self) {
        loop {
            let now = self.task_ended.notified();
            if *lock(&self.tasks) == 0 {
                return;
            }
            now.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every call, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
