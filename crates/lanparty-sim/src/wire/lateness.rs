//! How late a wire was served, and whether a measurement over it may be believed.

use std::fmt;
use std::time::Duration;

/// Bucket i counts frames that were late by 2^i - 1 up to 2^(i+1) - 2 microseconds; the last one everything above 8 s.
const BUCKETS: usize = 24;

/// A histogram of lateness in powers of two of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lateness {
    buckets: [u64; BUCKETS],
}

impl Lateness {
    /// A frame later than this counts as late.
    pub const LATE: Duration = Duration::from_millis(1);
    /// With a larger share of late frames the machine was too busy to be a wire, and a figure measured over it means nothing.
    pub const LATE_SHARE_MAX: f64 = 0.01;

    /// Counts one frame.
    pub fn record(&mut self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX - 1);
        let bucket = (micros + 1).ilog2() as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
    }

    /// Frames counted.
    pub fn frames(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The share (0 to 1) of frames later than `limit`, with the limit moved to the next bucket's edge (1 ms is 1,023 us).
    pub fn share_above(&self, limit: Duration) -> f64 {
        let bucket = limit.as_micros().max(1).ilog2() as usize + usize::from(!limit.as_micros().is_power_of_two());
        let above: u64 = self.buckets.iter().skip(bucket).sum();
        above as f64 / self.frames().max(1) as f64
    }

    /// May a figure measured over this wire be believed?
    pub fn is_conclusive(&self) -> bool {
        self.share_above(Self::LATE) <= Self::LATE_SHARE_MAX
    }

    /// Adds another wire's frames.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |micros| self.share_above(Duration::from_micros(micros)) * 100.0;
        let (frames, a, b, c, d) = (self.frames(), percent(64), percent(512), percent(1_000), percent(4_096));
        write!(f, "{frames} frames, late by > 64 us {a:.2} %, > 512 us {b:.2} %, > 1 ms {c:.2} %, > 4 ms {d:.2} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_frame_in_a_hundred_is_still_conclusive_and_two_are_not() {
        let mut lateness = Lateness::default();
        assert!(lateness.is_conclusive());
        for _ in 0..98 {
            lateness.record(Duration::from_micros(900));
        }
        lateness.record(Duration::from_millis(2));
        lateness.record(Duration::ZERO);
        assert_eq!(lateness.frames(), 100);
        assert!((lateness.share_above(Lateness::LATE) - 0.01).abs() < 1e-9, "{lateness}");
        assert!(lateness.is_conclusive());
        lateness.record(Duration::from_secs(100));
        assert!(!lateness.is_conclusive(), "{lateness}");
    }
}
