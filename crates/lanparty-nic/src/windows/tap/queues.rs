//! Frames between the adapter's two threads and whoever drives the device. No system calls: the same on every platform.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lanparty_proto::DropReason;

use crate::device::DeviceStats;

/// Frames that wait to be driven outbound: more than a batch, and about 100 ms of a fast download.
const INBOX_FRAMES_MAX: usize = 1024;
/// Frames that wait to enter the adapter.
const OUTBOX_FRAMES_MAX: usize = 256;
/// Frames that did not enter it and nobody has asked about yet.
const UNSENT_FRAMES_MAX: usize = 256;

/// Both queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    state: Mutex<State>,
    outbox_filled: Condvar,
    media_changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inbox: VecDeque<Bytes>,
    outbox: VecDeque<Bytes>,
    unsent: Vec<(Bytes, DropReason)>,
    waker: Option<Waker>,
    stats: DeviceStats,
    media: bool,
    /// How often the cable was pulled.
    pulls: u64,
    is_gone: bool,
    is_closed: bool,
}

/// A time in which the cable is plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plugged(u64);

impl Queues {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the reading thread. A full queue loses the newest, as the driver's own does.
    pub(super) fn push_inbox(&self, frame: Bytes) {
        let mut state = self.state();
        if state.inbox.len() >= INBOX_FRAMES_MAX {
            state.stats.kernel_drops += 1;
            return;
        }
        state.inbox.push_back(frame);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A read that brought no frame.
    pub(super) fn count_unreadable(&self) {
        self.state().stats.unreadable += 1;
    }

    pub(super) fn poll_inbox(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.inbox.is_empty() || state.is_gone {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn take_inbox(&self, frames_max: usize, bytes_max: usize) -> Vec<Bytes> {
        let mut state = self.state();
        let (mut taken, mut bytes) = (vec![], 0);
        while taken.len() < frames_max && bytes < bytes_max {
            let Some(frame) = state.inbox.pop_front() else { break };
            bytes += frame.len();
            taken.push(frame);
        }
        taken
    }

    /// How many of the frames, from the front, had room.
    pub(super) fn offer_outbox(&self, frames: &[Bytes]) -> usize {
        let mut state = self.state();
        let room = OUTBOX_FRAMES_MAX.saturating_sub(state.outbox.len()).min(frames.len());
        state.outbox.extend(frames[..room].iter().cloned());
        drop(state);
        self.outbox_filled.notify_one();
        room
    }

    /// For the writing thread: the next frame, or nothing when the device is closed.
    pub(super) fn wait_outbox(&self) -> Option<Bytes> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(frame) = state.outbox.pop_front() {
                return Some(frame);
            }
            state = self.outbox_filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn count_sent(&self) {
        self.state().stats.sent += 1;
    }

    /// A frame that did not enter the adapter.
    pub(super) fn give_back(&self, frame: Bytes, reason: DropReason) {
        let mut state = self.state();
        state.stats.refused += 1;
        if state.unsent.len() < UNSENT_FRAMES_MAX {
            state.unsent.push((frame, reason));
        }
    }

    pub(super) fn take_unsent(&self) -> Vec<(Bytes, DropReason)> {
        std::mem::take(&mut self.state().unsent)
    }

    /// Whether the cable is plugged in, as far as this process has said so.
    pub(super) fn set_media(&self, up: bool) {
        let mut state = self.state();
        state.media = up;
        state.pulls += u64::from(!up);
        drop(state);
        self.media_changed.notify_all();
    }

    /// For the reading thread: waits until the cable is plugged in, and tells it from other times; nothing when the device is closed.
    pub(super) fn wait_media(&self) -> Option<Plugged> {
        let mut state = self.state();
        while !state.media && !state.is_closed {
            state = self.media_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.is_closed).then_some(Plugged(state.pulls))
    }

    /// Whether the cable was pulled since, even if it is plugged in again.
    pub(super) fn was_pulled(&self, since: Plugged) -> bool {
        self.state().pulls != since.0
    }

    /// The adapter was removed, disabled or restarted.
    pub(super) fn set_gone(&self) {
        let mut state = self.state();
        state.is_gone = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state().is_gone
    }

    pub(super) fn stats(&self) -> DeviceStats {
        self.state().stats
    }

    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.outbox_filled.notify_all();
        self.media_changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8) -> Bytes {
        Bytes::from(vec![n; 60])
    }

    #[test]
    fn a_full_inbox_loses_the_newest_and_counts_it() {
        let queues = Queues::default();
        for n in 0..INBOX_FRAMES_MAX + 3 {
            queues.push_inbox(frame(n as u8));
        }
        assert_eq!(queues.stats().kernel_drops, 3);
        assert_eq!(queues.take_inbox(2, usize::MAX), [frame(0), frame(1)]);
        assert_eq!(queues.take_inbox(usize::MAX, 100).len(), 2, "bytes are a limit too");
    }

    #[test]
    fn a_full_outbox_takes_no_more_and_a_closed_one_gives_no_more() {
        let queues = Queues::default();
        let frames = vec![frame(1); OUTBOX_FRAMES_MAX + 9];
        assert_eq!(queues.offer_outbox(&frames), OUTBOX_FRAMES_MAX);
        assert_eq!(queues.offer_outbox(&frames), 0);
        assert_eq!(queues.wait_outbox(), Some(frame(1)));
        assert_eq!(queues.offer_outbox(&frames), 1);
        queues.close();
        assert_eq!(queues.wait_outbox(), None);
        assert_eq!(queues.wait_media(), None);
    }

    #[test]
    fn a_cable_that_is_plugged_in_again_at_once_was_pulled_all_the_same() {
        let queues = Queues::default();
        queues.set_media(true);
        let plugged = queues.wait_media().unwrap();
        assert!(!queues.was_pulled(plugged));
        queues.set_media(false);
        queues.set_media(true);
        assert!(queues.was_pulled(plugged) && !queues.was_pulled(queues.wait_media().unwrap()));
    }

    #[test]
    fn a_frame_and_a_lost_adapter_both_wake_who_waits() {
        let queues = Queues::default();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(queues.poll_inbox(&mut context), Poll::Pending);
        queues.push_inbox(frame(1));
        assert_eq!(queues.poll_inbox(&mut context), Poll::Ready(()));
        queues.take_inbox(9, usize::MAX);
        queues.set_gone();
        assert_eq!(queues.poll_inbox(&mut context), Poll::Ready(()));
        queues.give_back(frame(7), DropReason::DeviceError);
        assert_eq!(queues.take_unsent(), [(frame(7), DropReason::DeviceError)]);
        assert!(queues.take_unsent().is_empty());
    }
}
