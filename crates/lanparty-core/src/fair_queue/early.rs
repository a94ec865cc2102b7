//! An early word to who fills the queue: one datagram lost in time, so that its sender slows down before there is no room at all.
//!
//! On a fast path the queue is full before a datagram has waited for [`super::CODEL_TARGET`], so CoDel says nothing; and what then makes room
//! is a burst of losses, each of which is sent again. One loss slows a TCP sender down as much as sixty-four.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Words follow each other no faster: each costs a look at all flows.
const PAUSE: Duration = Duration::from_millis(1);

/// Who was told lately.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Flows, and until when each has its time to answer; the oldest first.
    told: VecDeque<(u16, Instant)>,
    next: Option<Instant>,
}

impl Early {
    /// Whether somebody may be told now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|at| now < at) {
            return false;
        }
        self.next = Some(now + PAUSE);
        while self.told.pop_front_if(|(_, until)| *until <= now).is_some() {}
        true
    }

    /// Whether a flow still has its time to answer.
    pub(super) fn was_told(&self, place: u16) -> bool {
        self.told.iter().any(|(told, _)| *told == place)
    }

    /// A flow was told, and answers within `interval`.
    pub(super) fn tell(&mut self, place: u16, interval: Duration, now: Instant) {
        self.told.push_back((place, now + interval));
    }
}
