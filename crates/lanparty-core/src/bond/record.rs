//! What a path has shown over some time: how much it carries when it is asked for all, and how much it loses.

use std::time::{Duration, Instant};

use crate::Flight;

/// A window that was full for so many round trips, and so long, has found what the path carries.
const FULL_ROUNDS: u32 = 8;
const FULL_MIN: Duration = Duration::from_millis(400);
/// In flight up to this below the window is full: what is left takes no datagram, or hardly one.
const FULL_SLACK: u64 = 4 * 1500;
/// Loss is a share of at least so many packets, and each look weighs this part.
const LOSS_PACKETS: u64 = 100;
const LOSS_WEIGHT: f64 = 0.25;

/// The record of one path.
#[derive(Debug, Default)]
pub struct PathRecord {
    full_since: Option<Instant>,
    full_last: Option<Instant>,
    capacity: Option<u64>,
    packets: (u64, u64),
    loss: f64,
}

impl PathRecord {
    /// Packets sent and lost so far.
    pub fn count(&mut self, packets: (u64, u64)) {
        let (sent, lost) = (packets.0.saturating_sub(self.packets.0), packets.1.saturating_sub(self.packets.1));
        if sent >= LOSS_PACKETS {
            let share = (lost as f64 / sent as f64).min(1.0);
            self.loss += (share - self.loss) * LOSS_WEIGHT;
            self.packets = packets;
        }
    }

    /// What the path does now.
    pub fn look(&mut self, flight: &Flight, now: Instant) {
        let patience = flight.least_rtt().max(Duration::from_millis(10)) * 2;
        if flight.in_flight + FULL_SLACK >= flight.window {
            self.full_last = Some(now);
            let since = *self.full_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= FULL_MIN.max(flight.least_rtt() * FULL_ROUNDS) {
                self.capacity = Some(flight.rate_bytes_per_s.max(1));
            }
        } else if self.full_last.is_none_or(|last| now.saturating_duration_since(last) > patience) {
            self.full_since = None;
        }
    }

    /// Bytes per second that it carries, when it was asked for all of it for long enough.
    #[must_use]
    pub const fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// The share of packets that it loses.
    #[must_use]
    pub const fn loss(&self) -> f64 {
        self.loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    fn flight(in_flight: u64, rate_bytes_per_s: u64) -> Flight {
        Flight { in_flight, window: 50_000, rate_bytes_per_s, rtt: RTT, min_rtt: RTT, queued: 0 }
    }

    #[test]
    fn only_a_path_that_was_full_for_long_is_known() {
        let (mut record, start) = (PathRecord::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for ms in (0..390).step_by(10) {
            record.look(&flight(48_000, 1_000_000), at(ms));
        }
        assert_eq!(record.capacity(), None);
        record.look(&flight(48_000, 2_000_000), at(400));
        assert_eq!(record.capacity(), Some(2_000_000));
        // Little is asked: nothing is learnt.
        record.look(&flight(1_000, 10), at(1000));
        record.look(&flight(48_000, 10), at(1010));
        assert_eq!(record.capacity(), Some(2_000_000));
    }

    #[test]
    fn loss_is_a_share_of_many() {
        let mut record = PathRecord::default();
        record.count((50, 50));
        assert!(record.loss() == 0.0, "fifty say nothing");
        for n in 1..20 {
            record.count((n * 1000, n * 10));
        }
        assert!((0.008..=0.0101).contains(&record.loss()), "{}", record.loss());
    }
}
