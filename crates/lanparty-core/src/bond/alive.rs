//! Whether a path carries anything: something came back for what was sent. A carrier says so at once, a silent death never does.

use std::time::{Duration, Instant};

/// A path is dead when nothing has been answered for so long …
pub const DEAD_AFTER_MIN: Duration = Duration::from_millis(200);
/// … and for so many round trips.
const DEAD_AFTER_RTTS: u32 = 4;

/// Watches one path.
#[derive(Debug)]
pub struct Liveness {
    answers: u64,
    sent_at_answer: u64,
    unanswered: Option<Instant>,
    is_alive: bool,
}

impl Liveness {
    /// A path that has just answered: `sent` packets, `answers` so far.
    #[must_use]
    pub const fn new(sent: u64, answers: u64) -> Self {
        Self { answers, sent_at_answer: sent, unanswered: None, is_alive: true }
    }

    /// Looks at what was sent and answered so far. Whether the path is alive.
    pub fn look(&mut self, sent: u64, answers: u64, rtt: Duration, now: Instant) -> bool {
        if answers != self.answers {
            (self.answers, self.sent_at_answer, self.unanswered, self.is_alive) = (answers, sent, None, true);
        } else if sent > self.sent_at_answer {
            let since = *self.unanswered.get_or_insert(now);
            if now.saturating_duration_since(since) >= DEAD_AFTER_MIN.max(rtt * DEAD_AFTER_RTTS) {
                self.is_alive = false;
            }
        }
        self.is_alive
    }

    /// It is dead, as others say, until it answers.
    pub const fn expect_answer(&mut self) {
        self.is_alive = false;
    }

    /// Whether it was alive when it was looked at.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.is_alive
    }

    /// Whether something is without an answer: it should be looked at again soon.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.unanswered.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_dies_when_nothing_is_answered_and_lives_when_something_is() {
        let (mut path, start, rtt) = (Liveness::new(5, 3), Instant::now(), Duration::from_millis(20));
        let at = |ms| start + Duration::from_millis(ms);
        assert!(path.look(6, 3, rtt, at(0)) && path.look(9, 3, rtt, at(199)));
        assert!(!path.look(9, 3, rtt, at(200)) && !path.look(9, 3, rtt, at(1000)));
        assert!(path.look(9, 4, rtt, at(1001)) && !path.is_waiting());
        assert!(path.look(9, 4, rtt, at(9000)), "where nothing is sent, nothing is missed");
    }

    #[test]
    fn a_slow_path_has_four_round_trips() {
        let (mut path, start, rtt) = (Liveness::new(0, 0), Instant::now(), Duration::from_millis(600));
        assert!(path.look(1, 0, rtt, start) && path.look(1, 0, rtt, start + rtt * 4 - Duration::from_millis(1)));
        assert!(!path.look(1, 0, rtt, start + rtt * 4));
    }
}
