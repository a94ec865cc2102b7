//! What connections want of the task that drives them: another turn, a timer, room in the kernel.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, EndpointEvent};

use crate::connection::Inner;

/// Locked last of all, and never while something else is locked within.
#[derive(Default)]
pub(crate) struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    /// Connections that want a turn.
    due: Vec<Arc<Inner>>,
    /// Connections whose socket had no room.
    blocked: Vec<Arc<Inner>>,
    /// What connections tell their endpoint.
    events: Vec<(ConnectionHandle, EndpointEvent)>,
    timers: BinaryHeap<Reverse<Timer>>,
    /// The task, while it rests.
    resting: Option<Rest>,
}

struct Rest {
    waker: Waker,
    until: Option<Instant>,
}

/// When a connection wants a turn. It may want it later by then, or have another, earlier one.
struct Timer {
    at: Instant,
    connection: Arc<Inner>,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, put: impl FnOnce(&mut State)) {
        let mut state = self.state();
        put(&mut state);
        let resting = state.resting.take();
        drop(state);
        if let Some(rest) = resting {
            rest.waker.wake();
        }
    }

    /// Gives `connection` a turn.
    pub(crate) fn push_due(&self, connection: Arc<Inner>) {
        self.put(|state| state.due.push(connection));
    }

    /// Gives `connection` a turn when its socket has room.
    pub(crate) fn push_blocked(&self, connection: Arc<Inner>) {
        self.put(|state| state.blocked.push(connection));
    }

    pub(crate) fn push_event(&self, of: ConnectionHandle, event: EndpointEvent) {
        self.put(|state| state.events.push((of, event)));
    }

    /// Has the task look at everything.
    pub(crate) fn wake(&self) {
        self.put(|_| ());
    }

    /// Gives `connection` a turn at that time.
    pub(crate) fn push_timer(&self, at: Instant, connection: Arc<Inner>) {
        let mut state = self.state();
        state.timers.push(Reverse(Timer { at, connection }));
        let is_earlier = state.resting.as_ref().is_some_and(|rest| rest.until.is_none_or(|until| at < until));
        let resting = if is_earlier { state.resting.take() } else { None };
        drop(state);
        if let Some(rest) = resting {
            rest.waker.wake();
        }
    }

    /// The task runs: nobody needs to wake it.
    pub(crate) fn begin(&self) {
        self.state().resting = None;
    }

    /// Moves those that want a turn, now or because of `now`, to the end of `due`.
    pub(crate) fn take_due(&self, now: Instant, due: &mut Vec<Arc<Inner>>) {
        let mut state = self.state();
        due.append(&mut state.due);
        while state.timers.peek().is_some_and(|Reverse(timer)| timer.at <= now) {
            due.extend(state.timers.pop().map(|Reverse(timer)| timer.connection));
        }
    }

    pub(crate) fn take_events(&self, events: &mut Vec<(ConnectionHandle, EndpointEvent)>) {
        events.append(&mut self.state().events);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        !self.state().blocked.is_empty()
    }

    /// There is room: those that waited for it.
    pub(crate) fn take_blocked(&self) -> Vec<Arc<Inner>> {
        std::mem::take(&mut self.state().blocked)
    }

    /// The task rests until somebody puts something here, or until the time that is returned. An error when there is something to do.
    pub(crate) fn rest(&self, waker: &Waker) -> Result<Option<Instant>, ()> {
        let mut state = self.state();
        if !state.due.is_empty() || !state.events.is_empty() {
            return Err(());
        }
        let until = state.timers.peek().map(|Reverse(timer)| timer.at);
        state.resting = Some(Rest { waker: waker.clone(), until });
        Ok(until)
    }

    /// Forgets everything: the task has ended.
    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut *self.state());
        drop(gone);
    }
}
