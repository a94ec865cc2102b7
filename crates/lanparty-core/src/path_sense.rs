//! Notices soon that a path has become smaller (RFC 8899 §4.3), whatever traffic it carries.
//!
//! The QUIC stack takes a path for a black hole when several separate losses hit large packets only. Sparse traffic
//! takes seconds to give it those, a retransmitting TCP even longer, and a congested line gives it false ones. So when
//! anything was lost, a few full-size datagrams of padding are sent between small ones: if the full-size ones arrive,
//! the losses were congestion and the stack knows it; if only the small ones do, it has its evidence at once. While
//! it then searches for the new size, small padding lets it see at once which of its probes were lost.

use std::time::{Duration, Instant};

use lanparty_proto::DatagramBudget;

/// How often a path is looked at that carries nothing but its heartbeat, and so can lose nothing else.
const QUIET_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often a path is looked at that carries traffic.
const BUSY_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Packets between two looks that are no more than the heartbeat and its acknowledgements.
const QUIET_PACKETS: u64 = 3;
/// Time between two rounds of padding, and between two small ones during a search.
const ROUND_INTERVAL: Duration = Duration::from_millis(20);
/// Rounds of full-size padding after a loss. The stack wants four separate losses; two more may be lost by chance.
const ROUNDS: u8 = 6;
/// A lossy path is asked again only after this long: 9 kB/s of padding at most.
const REST: Duration = Duration::from_secs(1);
/// A search that takes longer than this goes on without help.
const SEARCH_MAX: Duration = Duration::from_secs(3);
/// A budget that has not moved for this long, or for four round trips, is what the path takes.
const SETTLED_AFTER: Duration = Duration::from_millis(300);
/// How long a path that fell to its smallest size rests there before its search begins.
pub const FALLEN_REST: Duration = Duration::from_secs(1);

/// What the stack knows of a path.
#[derive(Clone, Copy, Debug)]
pub struct PathFacts {
    /// Packets sent so far.
    pub sent_packets: u64,
    /// Packets lost so far, those apart that probed for a larger size.
    pub lost_packets: u64,
    /// Largest datagram it takes now.
    pub budget: DatagramBudget,
    /// Smoothed round-trip time.
    pub rtt: Duration,
}

/// Datagrams that carry nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Padding {
    /// As large as the budget.
    Full,
    /// As small as can be.
    Small,
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sensed {
    /// Send these.
    pub padding: &'static [Padding],
    /// Look again after this long.
    pub look_again: Duration,
    /// Whether the budget is what the path takes, not a step of a search.
    pub settled: bool,
}

/// Watches one path.
#[derive(Debug)]
pub struct PathSense {
    sent_seen: u64,
    lost_seen: Option<u64>,
    rounds_left: u8,
    rest_until: Instant,
    budget: DatagramBudget,
    moved: Instant,
    /// What it rests at this budget before its search goes on.
    rest: Duration,
    search_until: Instant,
}

impl PathSense {
    /// A path that was joined over just now.
    #[must_use]
    pub const fn new(budget: DatagramBudget, now: Instant) -> Self {
        Self { sent_seen: 0, lost_seen: None, rounds_left: 0, rest_until: now, budget, moved: now, rest: Duration::ZERO, search_until: now }
    }

    /// Looks at the path.
    pub fn look(&mut self, facts: PathFacts, now: Instant) -> Sensed {
        if facts.budget < self.budget {
            self.search_until = now + FALLEN_REST + SEARCH_MAX;
            self.rounds_left = 0;
        }
        if facts.budget != self.budget {
            self.rest = if facts.budget < self.budget { FALLEN_REST } else { Duration::ZERO };
            self.budget = facts.budget;
            self.moved = now;
        }
        let lost = self.lost_seen.replace(facts.lost_packets).is_some_and(|before| facts.lost_packets > before);
        let settled = now.saturating_duration_since(self.moved) >= self.rest + SETTLED_AFTER.max(4 * facts.rtt);
        if lost && self.rounds_left == 0 && now >= self.rest_until && now >= self.search_until {
            self.rounds_left = ROUNDS;
            self.rest_until = now + REST;
        }
        let busy = facts.sent_packets.saturating_sub(self.sent_seen) > QUIET_PACKETS;
        self.sent_seen = facts.sent_packets;
        let (padding, look_again): (&[Padding], _) = if self.rounds_left > 0 {
            self.rounds_left -= 1;
            (&[Padding::Full, Padding::Small], ROUND_INTERVAL)
        } else if now < self.search_until && !settled {
            (&[Padding::Small], ROUND_INTERVAL)
        } else {
            (&[], if busy { BUSY_LOOK_INTERVAL } else { QUIET_LOOK_INTERVAL })
        };
        Sensed { padding, look_again, settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: DatagramBudget = DatagramBudget(1434);
    const FALLEN: DatagramBudget = DatagramBudget(1162);
    const FOUND: DatagramBudget = DatagramBudget(1214);

    /// A path seen every time it asks for, from `from` for `span`; what was padded, and whether it ended settled.
    fn watch(
        sense: &mut PathSense,
        start: Instant,
        span: Duration,
        facts: impl Fn(Duration) -> (u64, DatagramBudget),
    ) -> (Vec<Padding>, bool) {
        let (mut at, mut padding, mut settled) = (Duration::ZERO, vec![], false);
        while at < span {
            let (lost_packets, budget) = facts(at);
            let sensed = sense
                .look(PathFacts { sent_packets: at.as_millis() as u64, lost_packets, budget, rtt: Duration::from_millis(10) }, start + at);
            padding.extend_from_slice(sensed.padding);
            (at, settled) = (at + sensed.look_again, sensed.settled);
        }
        (padding, settled)
    }

    fn new() -> (Instant, PathSense) {
        let start = Instant::now();
        (start, PathSense::new(FULL, start))
    }

    fn full(padding: &[Padding]) -> usize {
        padding.iter().filter(|p| **p == Padding::Full).count()
    }

    #[test]
    fn a_path_that_loses_nothing_carries_no_padding() {
        let (start, mut sense) = new();
        let (padding, settled) = watch(&mut sense, start, Duration::from_secs(60), |_| (7, FULL));
        assert!(padding.is_empty() && settled);
    }

    #[test]
    fn one_loss_is_asked_about_once() {
        let (start, mut sense) = new();
        let (padding, _) = watch(&mut sense, start, Duration::from_secs(60), |at| (u64::from(at > Duration::from_secs(1)), FULL));
        assert_eq!((full(&padding), padding.len()), (6, 12));
    }

    #[test]
    fn a_path_that_always_loses_is_asked_once_a_second() {
        let (start, mut sense) = new();
        let (padding, _) = watch(&mut sense, start, Duration::from_secs(30), |at| (at.as_millis() as u64, FULL));
        assert!((150..=180).contains(&full(&padding)), "{}", full(&padding));
    }

    #[test]
    fn a_search_is_helped_until_it_has_settled() {
        let (start, mut sense) = new();
        watch(&mut sense, start, Duration::from_secs(2), |_| (0, FULL));
        let found = |at| (0, if at < Duration::from_millis(400) { FALLEN } else { FOUND });
        let (padding, settled) = watch(&mut sense, start + Duration::from_secs(2), Duration::from_secs(5), found);
        assert!(settled && full(&padding) == 0, "no full-size padding while it is known to be lost");
        assert!((25..=40).contains(&padding.len()), "400 ms of search and 300 ms until it has settled: {}", padding.len());
    }
}
