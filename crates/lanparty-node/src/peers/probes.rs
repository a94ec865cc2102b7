//! How much this host may be made to send to addresses that others have named (THREATS A18): a member can name a victim's.

use std::time::{Duration, Instant};

use lanparty_core::{INTRODUCTIONS_MAX, Rate, TokenBucket};
use lanparty_proto::CANDIDATES_MAX;

/// Tries of one member: when it comes, and when it roams.
const TRIES_BURST: u64 = 4;
const TRY_INTERVAL: Duration = Duration::from_secs(10);
/// Addresses of all members together: a full room at once, and then as many as are tried again in vain for ever.
const ADDRESSES: Rate = Rate { per_second: 2, burst: (INTRODUCTIONS_MAX * CANDIDATES_MAX) as u64 };

/// What one member may cost.
pub(super) struct Tries(TokenBucket);

impl Tries {
    pub(super) fn new(now: Instant) -> Self {
        Self(TokenBucket::new(Rate { per_second: 1, burst: TRIES_BURST * TRY_INTERVAL.as_secs() }, now))
    }
}

/// What all members may cost.
pub(super) struct Probes(TokenBucket);

impl Probes {
    pub(super) fn new(now: Instant) -> Self {
        Self(TokenBucket::new(ADDRESSES, now))
    }

    /// Whether a member may be tried at so many addresses now.
    pub(super) fn allow(&mut self, member: &mut Tries, addresses: usize, now: Instant) -> bool {
        member.0.take(TRY_INTERVAL.as_secs(), now) && self.0.take(addresses as u64, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_addresses_without_end_is_tried_a_few_times() {
        let now = Instant::now();
        let (mut probes, mut tries) = (Probes::new(now), Tries::new(now));
        let allowed = (0..1000).filter(|_| probes.allow(&mut tries, CANDIDATES_MAX, now)).count();
        assert_eq!(allowed as u64, TRIES_BURST);
        assert!(probes.allow(&mut tries, CANDIDATES_MAX, now + TRY_INTERVAL));
        assert!(!probes.allow(&mut tries, CANDIDATES_MAX, now + TRY_INTERVAL));
        assert!(probes.allow(&mut Tries::new(now), CANDIDATES_MAX, now), "others are tried as ever");
    }

    #[test]
    fn members_without_end_are_not_all_tried() {
        let now = Instant::now();
        let mut probes = Probes::new(now);
        let allowed = (0..1000).filter(|_| probes.allow(&mut Tries::new(now), CANDIDATES_MAX, now)).count();
        assert_eq!(allowed, INTRODUCTIONS_MAX);
        let later = now + Duration::from_secs(60);
        let allowed = (0..1000).filter(|_| probes.allow(&mut Tries::new(later), CANDIDATES_MAX, later)).count();
        assert_eq!(allowed as u64, 60 * ADDRESSES.per_second / CANDIDATES_MAX as u64);
    }
}
