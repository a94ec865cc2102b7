//! How often senders are told that a packet is too large: in all, and about each path.
//!
//! Who sends to whom has a bucket of its own, because that is what a host remembers a path's MTU by: its next packet to the
//! same destination has the same answer. MAC addresses would not do, since all hosts behind a router of the LAN share one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::limiter::{Rate, TokenBucket};

/// All answers together: a busy LAN starts some dozens of flows in a moment, and a flood of frames that are too large must
/// not become a flood of answers (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
const RATE: Rate = Rate { per_second: 200, burst: 100 };
/// About one path: every connection on it has the news within a moment, and a lost answer is repeated soon. A host that
/// ignores answers and floods a room of 16 takes less than half of them all.
const PATH_RATE: Rate = Rate { per_second: 5, burst: 10 };
/// Paths that are remembered at a time, so many that those forgotten for others have a full bucket, which is as good as a
/// new one: with `k` answers each, they take `k / 5` seconds to fill, and in that time there are `100 + 40 k` answers, for at
/// most 140 paths.
const PATHS_MAX: usize = 256;
const _: () = assert!(PATHS_MAX as u64 > RATE.burst + RATE.per_second / PATH_RATE.per_second);

/// Source and destination of a packet.
pub(super) type Path = (IpAddr, IpAddr);

/// The buckets.
#[derive(Default)]
pub(super) struct AnswerLimiter {
    all: Option<TokenBucket>,
    paths: BTreeMap<Path, TokenBucket>,
}

impl AnswerLimiter {
    /// Whether the sender at the start of `path` may be answered. Takes a token of all and one of the path's, or none.
    pub(super) fn admits(&mut self, path: Path, now: Instant) -> bool {
        let all = self.all.get_or_insert_with(|| TokenBucket::new(RATE, now));
        // First, so that it takes nothing from the path when there is none, and a flood from ever new addresses costs no more.
        if all.tokens(now) == 0 {
            return false;
        }
        if self.paths.len() >= PATHS_MAX && !self.paths.contains_key(&path) {
            forget_one(&mut self.paths, now);
        }
        let own = self.paths.entry(path).or_insert_with(|| TokenBucket::new(PATH_RATE, now));
        own.take(1, now) && all.take(1, now)
    }
}

/// The one with the fullest bucket, which was left alone for longest.
fn forget_one(paths: &mut BTreeMap<Path, TokenBucket>, now: Instant) {
    if let Some(idlest) = paths.iter().max_by_key(|(_, bucket)| bucket.tokens(now)).map(|(path, _)| *path) {
        paths.remove(&idlest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn path(from: u32, to: u32) -> Path {
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        (address(from), address(to))
    }

    #[test]
    fn a_flood_on_one_path_takes_only_that_paths_answers() {
        let (mut limiter, start, mut answers) = (AnswerLimiter::default(), Instant::now(), 0);
        for ms in 1..=10_000 {
            let now = start + Duration::from_millis(ms);
            answers += u32::from(limiter.admits(path(1, 2), now));
            if ms % 250 == 0 {
                assert!(limiter.admits(path(3, 2), now) && limiter.admits(path(1, 4), now), "after {ms} ms");
            }
        }
        assert_eq!(answers, 10 + 10 * 5 - 1, "the burst, and five for each of not quite ten seconds");
    }

    #[test]
    fn a_flood_from_ever_new_addresses_neither_fills_the_table_nor_locks_it() {
        let (mut limiter, start, mut answers) = (AnswerLimiter::default(), Instant::now(), 0);
        for n in 1..=200_000 {
            answers += u32::from(limiter.admits(path(n, 2), start + n * Duration::from_micros(50)));
            assert!(limiter.paths.len() <= PATHS_MAX);
        }
        assert_eq!(answers, 100 + 200 * 10 - 1, "the burst, and two hundred for each of not quite ten seconds");
        assert!(limiter.admits(path(3, 4), start + Duration::from_millis(10_100)), "the flood is over, and everybody is heard again");
    }

    #[test]
    fn nothing_is_taken_from_a_path_while_all_answers_are_used_up() {
        let (mut limiter, now) = (AnswerLimiter::default(), Instant::now());
        for n in 0..RATE.burst as u32 {
            assert!(limiter.admits(path(n, 2), now));
        }
        assert!((0..50).all(|_| !limiter.admits(path(1000, 2), now)));
        let now = now + Duration::from_millis(100);
        assert_eq!((0..50).filter(|_| limiter.admits(path(1000, 2), now)).count(), 10, "its whole burst");
    }

    #[test]
    fn a_path_in_use_keeps_its_count_when_others_are_forgotten_for_a_new_one() {
        let (mut limiter, start) = (AnswerLimiter::default(), Instant::now());
        for n in 1..PATHS_MAX as u32 {
            assert!(limiter.admits(path(n, 2), start + n * Duration::from_secs(1)), "the {n}th");
        }
        let now = start + Duration::from_secs(1000);
        assert_eq!((0..20).filter(|_| limiter.admits(path(0, 2), now)).count(), 10);
        assert!((1000..1080).all(|n| limiter.admits(path(n, 2), now)), "newcomers take the place of the idle");
        assert!(!limiter.admits(path(0, 2), now) && limiter.paths.len() == PATHS_MAX);
    }
}
