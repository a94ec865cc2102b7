//! When a member that lost a part of its path's size looks for it on a fresh connection.
//!
//! The QUIC stack searches for a path's size once after it fell, and then once a minute. When the search ran while the path was small
//! for a moment, the room would be small for that minute. A fresh connection searches at once, and the member moves to it when it
//! finds more.

use std::time::{Duration, Instant};

use lanparty_proto::DatagramBudget;

use crate::PathSize;

/// Time between two tries while the room has not yet followed the fall.
const TRY_INTERVAL: Duration = Duration::from_millis(600);
/// Tries at that pace; then the fall is no moment's, and the pace halves each time.
const QUICK_TRIES: u32 = 5;
/// Slowest pace: that of the stack's own search.
const SLOWEST: Duration = Duration::from_secs(60);

/// Watches one connection's size.
#[derive(Debug)]
pub struct Climb {
    best: DatagramBudget,
    tries: u32,
    next: Option<Instant>,
}

impl Climb {
    /// A connection that takes `budget`.
    #[must_use]
    pub const fn new(budget: DatagramBudget) -> Self {
        Self { best: budget, tries: 0, next: None }
    }

    /// The connection takes `size` now. Whether to try a fresh one.
    pub fn look(&mut self, size: PathSize, now: Instant) -> bool {
        if size.budget >= self.best {
            (self.best, self.tries, self.next) = (size.budget, 0, None);
            return false;
        }
        // While the stack searches there is nothing to gain.
        if !size.settled || self.next.is_some_and(|at| now < at) {
            return false;
        }
        let pause = TRY_INTERVAL.saturating_mul(1 << self.tries.saturating_sub(QUICK_TRIES).min(16));
        self.tries += 1;
        self.next = Some(now + pause.min(SLOWEST));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: DatagramBudget = DatagramBudget(1434);
    const LESS: DatagramBudget = DatagramBudget(1214);

    /// The tries of a watch that looks every 100 ms for `span`.
    fn tries(climb: &mut Climb, from: Instant, span: Duration, size: PathSize) -> Vec<Duration> {
        let looks = (0..).map(|n| Duration::from_millis(100 * n)).take_while(|at| *at < span);
        looks.filter(|at| climb.look(size, from + *at)).collect()
    }

    #[test]
    fn a_path_that_did_not_fall_is_left_alone() {
        let (mut climb, start) = (Climb::new(LESS), Instant::now());
        assert!(tries(&mut climb, start, Duration::from_secs(600), PathSize::settled(LESS)).is_empty());
        assert!(tries(&mut climb, start, Duration::from_secs(600), PathSize::settled(FULL)).is_empty());
    }

    #[test]
    fn a_fall_is_looked_into_soon_and_then_rarely() {
        let (mut climb, start) = (Climb::new(FULL), Instant::now());
        assert!(tries(&mut climb, start, Duration::from_secs(2), PathSize { budget: LESS, settled: false }).is_empty());
        let tries = tries(&mut climb, start, Duration::from_secs(3600), PathSize::settled(LESS));
        assert_eq!(tries[..3], [0, 600, 1200].map(Duration::from_millis));
        assert!((60..80).contains(&tries.len()), "{}", tries.len());
    }

    #[test]
    fn a_path_that_is_back_starts_anew() {
        let (mut climb, start) = (Climb::new(FULL), Instant::now());
        assert!(climb.look(PathSize::settled(LESS), start));
        assert!(!climb.look(PathSize::settled(FULL), start));
        assert!(climb.look(PathSize::settled(LESS), start), "the next fall is another one");
    }
}
