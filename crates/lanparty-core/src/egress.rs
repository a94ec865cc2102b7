//! The queue toward one member when its path takes no more: bounded in frames and in age, oldest dropped first,
//! because a late game frame is worth less than a fresh one (THREATS A19).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Most frames queued toward one member: 1,024 of 1,400 bytes are 1.4 MiB, inside the 2 MiB that one stalled member may cost.
pub const EGRESS_FRAMES_MAX: usize = 1024;
/// A frame that waited longer than this is dropped instead of delivered late.
pub const EGRESS_AGE_MAX: Duration = Duration::from_millis(100);

/// Datagrams waiting for a path, in order.
#[derive(Default)]
pub struct Egress {
    queue: VecDeque<(Instant, Bytes)>,
    /// Since when the datagram that was popped last had waited.
    popped: Option<Instant>,
}

impl Egress {
    /// Appends a datagram. Returns how many old ones made room for it.
    pub fn push(&mut self, datagram: Bytes, now: Instant) -> u64 {
        let full = self.queue.len() >= EGRESS_FRAMES_MAX;
        if full {
            self.queue.pop_front();
        }
        self.queue.push_back((now, datagram));
        u64::from(full)
    }

    /// The oldest datagram that is still worth sending, and how many stale ones were dropped before it.
    pub fn pop(&mut self, now: Instant) -> (Option<Bytes>, u64) {
        let mut stale = 0;
        while let Some((at, datagram)) = self.queue.pop_front() {
            if now.saturating_duration_since(at) <= EGRESS_AGE_MAX {
                self.popped = Some(at);
                return (Some(datagram), stale);
            }
            stale += 1;
        }
        (None, stale)
    }

    /// Puts back what [`Self::pop`] gave last and the path did not take. It grows no younger by it.
    pub fn unpop(&mut self, datagram: Bytes, now: Instant) {
        self.queue.push_front((self.popped.take().unwrap_or(now), datagram));
    }

    /// Datagrams waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_the_oldest_makes_room() {
        let (mut egress, now) = (Egress::default(), Instant::now());
        let dropped: u64 = (0..EGRESS_FRAMES_MAX + 10).map(|i| egress.push(Bytes::from(i.to_be_bytes().to_vec()), now)).sum();
        assert_eq!((dropped, egress.len()), (10, EGRESS_FRAMES_MAX));
        assert_eq!(egress.pop(now).0.unwrap(), 10usize.to_be_bytes()[..]);
    }

    #[test]
    fn a_stale_frame_is_dropped_not_delivered_late() {
        let (mut egress, start) = (Egress::default(), Instant::now());
        egress.push(Bytes::from_static(b"old"), start);
        egress.push(Bytes::from_static(b"new"), start + EGRESS_AGE_MAX);
        let (datagram, stale) = egress.pop(start + EGRESS_AGE_MAX + Duration::from_millis(1));
        assert_eq!((datagram.unwrap(), stale), (Bytes::from_static(b"new"), 1));
    }

    #[test]
    fn a_frame_that_was_put_back_grows_no_younger() {
        let (mut egress, start) = (Egress::default(), Instant::now());
        egress.push(Bytes::from_static(b"old"), start);
        for ms in [40, 80] {
            let now = start + Duration::from_millis(ms);
            let (datagram, _) = egress.pop(now);
            egress.unpop(datagram.unwrap(), now);
        }
        assert_eq!(egress.pop(start + Duration::from_millis(120)), (None, 1));
    }
}
