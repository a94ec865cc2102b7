//! Sends what a connection has: what comes alone at once, and full bursts when they are as long as they get.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::UdpSocket;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use noq::UdpSender;
use noq::udp::{Transmit, is_msg_size_err};
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::warn;

use super::burst::{Burst, datagrams, may_go_on};
use super::turn::count_sent;
use super::{Shared, watch};

/// A socket that fails says so once in this time.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

/// So many datagrams of a connection leave one by one. While its handshake is on the stack must not put any together: behind a short one of
/// the handshake the next would have to be as short, and noq-proto 1.4 writes what it asks of acknowledgements into that first packet of the
/// connection proper without a look whether it fits, which ends the program.
const ALONE_FIRST: usize = 32;

/// One task's way to send.
///
/// The stack makes room for as many datagrams as it may put together before the first of them, and keeps it: ten for each of many
/// connections that send one now and then. So it may put together as many as it had for one of its turns so far.
pub(super) struct Sender {
    lane: Arc<Lane>,
    /// Datagrams sent in this turn of the stack, which begins with its question how many it may put together.
    turn: AtomicUsize,
    /// As many as it had for a turn, once the first are out.
    turn_max: AtomicUsize,
    /// How many of the first are not out.
    alone_left: usize,
    /// Sends what the connection left in the burst; there from the first full one on.
    flusher: Option<JoinHandle<()>>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let lane = Arc::new(Lane { shared, filled: Notify::new(), state: Mutex::default() });
        Self { lane, turn: AtomicUsize::new(0), turn_max: AtomicUsize::new(1), alone_left: ALONE_FIRST, flusher: None }
    }

    /// The stack had these, too, for its turn.
    fn count(&mut self, transmit: &Transmit<'_>) {
        let (count, turn) = (datagrams(transmit), self.turn.get_mut());
        count_sent(count);
        *turn += count;
        if self.alone_left > 0 {
            self.alone_left = self.alone_left.saturating_sub(count);
            return;
        }
        *self.turn_max.get_mut() = (*self.turn_max.get_mut()).max(*turn);
    }

    /// Lets what is in the burst leave behind what the connection adds now.
    fn leave_to_flusher(&mut self) {
        self.flusher.get_or_insert_with(|| tokio::spawn(flush(Arc::clone(&self.lane))));
        self.lane.filled.notify_one();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lane.shared.fmt(f)
    }
}

impl UdpSender for Sender {
    fn poll_send(self: Pin<&mut Self>, transmit: &Transmit<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sender = self.get_mut();
        let lane = &*sender.lane;
        let mut state = lane.state();
        if !state.burst.takes(transmit, lane.segments_max()) {
            lane.send(&mut state);
        }
        if state.is_blocked {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let goes_on = may_go_on(transmit);
        if state.burst.is_empty() && !goes_on && lane.send_alone(&mut state, transmit) {
            drop(state);
            sender.count(transmit);
            return Poll::Ready(Ok(()));
        }
        state.burst.push(transmit);
        state.pushes += 1;
        if !goes_on {
            lane.send(&mut state);
        }
        let is_left = !state.burst.is_empty();
        drop(state);
        sender.count(transmit);
        if is_left {
            sender.leave_to_flusher();
        }
        Poll::Ready(Ok(()))
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        self.turn.store(0, Ordering::Relaxed);
        let turn_max = NonZeroUsize::new(self.turn_max.load(Ordering::Relaxed)).unwrap_or(NonZeroUsize::MIN);
        self.lane.shared.state.max_gso_segments().min(turn_max)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(flusher) = &self.flusher {
            flusher.abort();
        }
        self.lane.send(&mut self.lane.state());
    }
}

/// What a sender and its flusher share.
struct Lane {
    shared: Arc<Shared>,
    /// There is something in the burst.
    filled: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    burst: Burst,
    /// How often something was put into it.
    pushes: u64,
    /// The kernel had no room for the burst.
    is_blocked: bool,
    /// Who wants to send more then.
    waiting: Option<Waker>,
    told_trouble: Option<Instant>,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_max(&self) -> usize {
        self.shared.state.max_gso_segments().get()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.shared.state.try_send((&self.shared.socket).into(), transmit)
    }

    /// Sends the burst. It stays when the kernel has no room for it.
    fn send(&self, state: &mut State) {
        let Some(burst) = state.burst.transmit() else { return };
        let mut sent = self.try_send(&burst);
        // A device that cannot cut a burst up says so at the first; then the stack gives no more of them (`max_gso_segments`).
        if sent.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock) && self.segments_max() == 1 {
            sent = state.burst.datagrams().try_for_each(|datagram| self.try_send(&datagram));
        }
        match sent {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => state.is_blocked = true,
            sent => {
                state.burst.clear();
                state.is_blocked = false;
                sent.unwrap_or_else(|e| state.say(&e));
            }
        }
    }

    /// Sends the burst when nothing was added to it since the last look, which was after `seen`.
    fn flush(&self, seen: &mut Option<u64>) -> Left {
        let mut state = self.state();
        let is_growing = seen.replace(state.pushes) != Some(state.pushes);
        if is_growing && !state.is_blocked && !state.burst.is_empty() {
            return Left::Growing;
        }
        self.send(&mut state);
        if state.is_blocked {
            return Left::Blocked;
        }
        state.waiting.take().inspect(Waker::wake_by_ref);
        Left::Nothing
    }

    /// Sends it without a copy; `false` when the kernel has no room for it.
    fn send_alone(&self, state: &mut State, transmit: &Transmit<'_>) -> bool {
        match self.try_send(transmit) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Err(e) => state.say(&e),
            Ok(()) => {}
        }
        true
    }
}

impl State {
    /// What cannot be sent is lost, as on the way: QUIC deals with that. Probes for the path's size are meant to fail.
    fn say(&mut self, error: &io::Error) {
        let now = Instant::now();
        let is_told = self.told_trouble.is_some_and(|told| now.saturating_duration_since(told) < TROUBLE_INTERVAL);
        if !is_msg_size_err(error) && !is_told {
            self.told_trouble = Some(now);
            warn!("the system does not send: {error}");
        }
    }
}

/// What there is to do before the burst can leave.
enum Left {
    Nothing,
    /// The connection may go on adding to it.
    Growing,
    /// The kernel has no room.
    Blocked,
}

/// Sends bursts that the connection has stopped adding to.
async fn flush(lane: Arc<Lane>) {
    loop {
        lane.filled.notified().await;
        let mut pushes = None;
        loop {
            match lane.flush(&mut pushes) {
                Left::Nothing => break,
                // The connection runs once more before this does when it has more to send.
                Left::Growing => behind_others().await,
                Left::Blocked => room(&lane.shared.socket).await,
            }
        }
    }
}

/// Lets all tasks run that are ready to.
async fn behind_others() {
    let mut is_behind = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until the kernel has room. Watched only as long: a watched socket wakes us after all that it sent.
async fn room(socket: &UdpSocket) {
    let watched = socket.try_clone().and_then(|socket| watch(socket, Interest::WRITABLE));
    match &watched {
        Ok(watched) => drop(watched.writable().await),
        // Out of descriptors: the kernel has room again soon.
        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
    }
}
