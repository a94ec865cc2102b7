//! CoDel (RFC 8289 §5) for one flow: whether the datagram at its head is to be dropped, by how long datagrams have waited lately.

use std::time::{Duration, Instant};

/// The wait that is acceptable for good: a queue that stays above it does not carry a burst, it stands (RFC 8289 §4.3). Also what a
/// path's own queue may hold, so that both together stay near 10 ms.
pub const CODEL_TARGET: Duration = Duration::from_millis(5);
/// For how long: about the longest round trip of the flows, so that their senders had time to answer (RFC 8289 §4.2).
pub const CODEL_INTERVAL: Duration = Duration::from_millis(100);
/// Whoever must drop again within so many intervals goes on nearly as often as it did before (RFC 8289 §5.6).
const MEMORY_INTERVALS: u32 = 16;

/// The longest round trip that is reckoned with.
const RTT_MAX: Duration = Duration::from_secs(1);
/// The target is this share of the interval (RFC 8289 §4.3), in percent.
const TARGET_PERCENT: u32 = 5;

/// What is acceptable on a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    target: Duration,
    /// What senders take to notice.
    pub(super) interval: Duration,
    /// The longest wait of what is still delivered.
    pub(super) age: Duration,
}

impl Limits {
    pub(super) fn of(rtt: Duration) -> Self {
        let interval = rtt.clamp(CODEL_INTERVAL, RTT_MAX);
        let target = (interval * TARGET_PERCENT / 100).max(CODEL_TARGET);
        Self { target, interval, age: rtt.clamp(super::EGRESS_AGE_MAX, RTT_MAX) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(CODEL_INTERVAL)
    }
}

/// What CoDel remembers of a flow.
#[derive(Debug, Default)]
pub(super) struct CoDel {
    /// When the wait will have been too long for an interval.
    first_above: Option<Instant>,
    /// When the next one is to be dropped; the last such time while nothing is.
    drop_next: Option<Instant>,
    /// Dropped since dropping began.
    count: u32,
    /// The same when it began.
    last_count: u32,
    dropping: bool,
}

impl CoDel {
    /// Whether to drop the datagram that was just taken off a flow's head after `wait`, with `left` bytes behind it; `small` bytes are
    /// always left alone: one full datagram. To be asked again with the next one when the answer was yes.
    pub(super) fn drops(&mut self, wait: Duration, left: usize, small: usize, limits: &Limits, now: Instant) -> bool {
        let is_above = self.is_above(wait, left, small, limits, now);
        if !is_above {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            self.begin(limits, now);
            return true;
        }
        let Some(at) = self.drop_next.filter(|at| now >= *at) else { return false };
        self.count = self.count.saturating_add(1);
        self.drop_next = Some(control_law(limits, at, self.count));
        true
    }

    /// Nothing is left of the flow.
    pub(super) const fn emptied(&mut self) {
        self.first_above = None;
        self.dropping = false;
    }

    /// RFC 8289 §5.5: above the target for a whole interval.
    fn is_above(&mut self, wait: Duration, left: usize, small: usize, limits: &Limits, now: Instant) -> bool {
        if wait < limits.target || left <= small {
            self.first_above = None;
            return false;
        }
        match self.first_above {
            Some(at) => now >= at,
            None => {
                self.first_above = Some(now + limits.interval);
                false
            }
        }
    }

    /// RFC 8289 §5.6: the first drop, and when the next one is due.
    fn begin(&mut self, limits: &Limits, now: Instant) {
        let delta = self.count.saturating_sub(self.last_count);
        let recently = self.drop_next.is_some_and(|at| now.saturating_duration_since(at) < limits.interval * MEMORY_INTERVALS);
        self.count = if delta > 1 && recently { delta } else { 1 };
        self.last_count = self.count;
        self.drop_next = Some(control_law(limits, now, self.count));
        self.dropping = true;
    }
}

/// RFC 8289 §5.4: drops come closer to each other with the square root of their number, which makes TCP's rate fall linearly.
fn control_law(limits: &Limits, at: Instant, count: u32) -> Instant {
    at + limits.interval.div_f64(f64::from(count.max(1)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 1514;
    const LONG: Duration = Duration::from_millis(50);

    /// Milliseconds after the start at which a standing queue loses datagrams, looked at every 100 µs.
    fn drops_until(codel: &mut CoDel, start: Instant, from_ms: u64, until_ms: u64) -> Vec<u64> {
        let times = (from_ms * 10..until_ms * 10).map(|tick| Duration::from_micros(tick * 100));
        let dropped = times.filter(|at| {
            let now = start + *at;
            let first = codel.drops(LONG, 100_000, SMALL, &Limits::default(), now);
            first && !codel.drops(LONG, 100_000, SMALL, &Limits::default(), now)
        });
        dropped.map(|at| u64::try_from(at.as_millis()).unwrap()).collect()
    }

    #[test]
    fn drops_begin_after_an_interval_and_come_closer_by_the_square_root() {
        let dropped = drops_until(&mut CoDel::default(), Instant::now(), 0, 460);
        // 100, + 100, + 100 / √2, + 100 / √3, …
        assert_eq!(dropped, [100, 200, 270, 328, 378, 423]);
    }

    #[test]
    fn who_starts_again_soon_goes_on_nearly_as_often_as_before() {
        let (mut codel, start) = (CoDel::default(), Instant::now());
        drops_until(&mut codel, start, 0, 1000);
        let before = codel.count;
        assert!(
            !codel.drops(Duration::from_millis(1), 100_000, SMALL, &Limits::default(), start + Duration::from_secs(1)) && !codel.dropping
        );
        let again = drops_until(&mut codel, start, 1000, 1101);
        assert_eq!((again.len(), codel.count), (1, before - 1));
        codel.emptied();
        drops_until(&mut codel, start, 9000, 9101);
        assert_eq!(codel.count, 1, "and after a long peace anew");
    }

    #[test]
    fn a_short_wait_or_a_last_datagram_is_never_dropped() {
        let (mut codel, start) = (CoDel::default(), Instant::now());
        for ms in 0..2000 {
            let now = start + Duration::from_millis(ms);
            assert!(!codel.drops(CODEL_TARGET / 2, 100_000, SMALL, &Limits::default(), now));
        }
        for ms in 2000..4000 {
            assert!(!codel.drops(LONG, SMALL, SMALL, &Limits::default(), start + Duration::from_millis(ms)));
        }
    }
}
