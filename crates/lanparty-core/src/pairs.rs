//! Which uplinks of two members are worth a path of their direct link, and whether the link does as much as the way by the relay.
//!
//! Of n and m uplinks there are n times m pairs. All of them would be that many controllers on a few lines; what is wanted is that
//! every uplink of both has a path, spread evenly.

use std::net::SocketAddr;
use std::time::Duration;

/// Uplinks of one member: their numbers are below this. So a pair of them fits into the number of a path.
pub const UPLINKS_MAX: u8 = 8;
/// While a direct link is so young, an uplink that has a path waits for one that has none on the other side as well.
const SPREAD_TIME: Duration = Duration::from_secs(3);

/// An uplink of this member and one of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Ours.
    pub own: u8,
    /// The other member's.
    pub theirs: u8,
}

impl Pair {
    /// The pair, when there may be such uplinks.
    #[must_use]
    pub const fn new(own: u8, theirs: u8) -> Option<Self> {
        if own < UPLINKS_MAX && theirs < UPLINKS_MAX { Some(Self { own, theirs }) } else { None }
    }

    /// The number of its path, which is the same at both members; `leads` is true at one of them.
    #[must_use]
    pub const fn path(self, leads: bool) -> u8 {
        let (leader, follower) = if leads { (self.own, self.theirs) } else { (self.theirs, self.own) };
        leader * UPLINKS_MAX + follower
    }

    /// The pair whose path has this number.
    #[must_use]
    pub const fn of_path(path: u8, leads: bool) -> Self {
        let (leader, follower) = (path / UPLINKS_MAX, path % UPLINKS_MAX);
        if leads { Self { own: leader, theirs: follower } } else { Self { own: follower, theirs: leader } }
    }
}

/// The paths of a direct link that live, and the lines that both members have.
#[derive(Clone, Copy, Debug)]
pub struct PairUse<'a> {
    /// A pair for each living path.
    pub alive: &'a [Pair],
    /// So many lines carry our frames to the relay.
    pub own_lines: u8,
    /// The same of the other member, as it says.
    pub their_lines: u8,
}

impl PairUse<'_> {
    /// Whether another path by this pair is worth it, in a link of that age.
    #[must_use]
    pub fn wants(&self, pair: Pair, age: Duration) -> bool {
        let own_is_free = self.alive.iter().all(|used| used.own != pair.own);
        let theirs_is_free = self.alive.iter().all(|used| used.theirs != pair.theirs);
        let may_share = self.own_lines.min(self.their_lines) <= 1 || age >= SPREAD_TIME;
        (own_is_free && theirs_is_free) || ((own_is_free || theirs_is_free) && may_share)
    }

    /// Whether frames that go directly have every line that they would have by the relay. Without a relay anything is enough.
    #[must_use]
    pub fn covers(&self) -> bool {
        let has_ours = count(self.alive.iter().map(|pair| pair.own)) >= self.own_lines;
        !self.alive.is_empty() && (self.own_lines == 0 || (has_ours && self.has_theirs()))
    }

    fn has_theirs(&self) -> bool {
        count(self.alive.iter().map(|pair| pair.theirs)) >= self.their_lines
    }

    /// Whether nothing is left to try: each of these uplinks of ours has a path, and as many of theirs as they have lines.
    #[must_use]
    pub fn is_complete(&self, uplinks: impl IntoIterator<Item = u8>) -> bool {
        self.has_theirs() && !self.alive.is_empty() && uplinks.into_iter().all(|uplink| self.alive.iter().any(|pair| pair.own == uplink))
    }
}

/// Different ones among numbers of uplinks.
fn count(uplinks: impl Iterator<Item = u8>) -> u8 {
    let seen = uplinks.fold(0_u8, |seen, uplink| seen | 1_u8.checked_shl(uplink.into()).unwrap_or(0));
    u8::try_from(seen.count_ones()).unwrap_or(UPLINKS_MAX)
}

/// The tries of one round: a socket's place and an address each, at most `most`. Every socket and every address comes in early; the next
/// round begins where this one may have ended.
pub fn tries_of_round(
    sockets: usize,
    addresses: &[SocketAddr],
    round: usize,
    most: usize,
    fits: impl Fn(usize, SocketAddr) -> bool,
) -> Vec<(usize, SocketAddr)> {
    let diagonals = addresses.len();
    let all = (0..diagonals).flat_map(|diagonal| (0..sockets).map(move |socket| (socket, diagonal)));
    let of = |(socket, diagonal): (usize, usize)| {
        let at = (socket + diagonal + round.wrapping_mul(most / sockets.max(1))) % diagonals.max(1);
        addresses.get(at).map(|address| (socket, *address))
    };
    all.filter_map(of).filter(|(socket, address)| fits(*socket, *address)).take(most).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(own: u8, theirs: u8) -> Pair {
        Pair::new(own, theirs).unwrap()
    }

    fn with(alive: &[Pair], own_lines: u8, their_lines: u8) -> PairUse<'_> {
        PairUse { alive, own_lines, their_lines }
    }

    #[test]
    fn two_lines_to_one_are_two_paths_at_once() {
        assert!(with(&[], 2, 1).wants(pair(0, 0), Duration::ZERO));
        assert!(with(&[pair(0, 0)], 2, 1).wants(pair(1, 0), Duration::ZERO));
        assert!(!with(&[pair(0, 0), pair(1, 0)], 2, 1).wants(pair(1, 0), Duration::MAX));
    }

    #[test]
    fn two_lines_to_two_are_spread_before_they_share() {
        let one = [pair(0, 0)];
        assert!(!with(&one, 2, 2).wants(pair(1, 0), Duration::ZERO), "the other's second line may come");
        assert!(with(&one, 2, 2).wants(pair(1, 1), Duration::ZERO));
        assert!(with(&one, 2, 2).wants(pair(1, 0), SPREAD_TIME), "it did not come");
        let both = [pair(0, 0), pair(1, 1)];
        assert!(!with(&both, 2, 2).wants(pair(1, 0), SPREAD_TIME) && !with(&both, 2, 2).wants(pair(0, 1), SPREAD_TIME));
    }

    #[test]
    fn a_link_with_fewer_lines_than_the_way_by_the_relay_is_not_enough() {
        assert!(with(&[pair(0, 0)], 1, 1).covers() && with(&[pair(0, 0)], 0, 2).covers(), "without a relay anything is");
        assert!(!with(&[], 0, 0).covers());
        assert!(!with(&[pair(0, 0)], 2, 1).covers() && !with(&[pair(0, 0)], 1, 2).covers());
        assert!(!with(&[pair(0, 0), pair(1, 0)], 2, 2).covers() && with(&[pair(0, 0), pair(1, 1)], 2, 2).covers());
        assert!(with(&[pair(0, 0)], 1, 1).is_complete([0]) && !with(&[pair(0, 0)], 1, 1).is_complete([0, 1]));
    }

    #[test]
    fn a_round_is_bounded_and_the_next_ones_try_the_rest() {
        let addresses: Vec<SocketAddr> = (1..=8).map(|n| SocketAddr::from(([192, 0, 2, n], 1))).collect();
        let first = tries_of_round(2, &addresses, 0, 8, |_, _| true);
        assert_eq!(first.len(), 8);
        assert!(first[0].1 == addresses[0] && first[1] == (1, addresses[1]), "the likeliest first: {first:?}");
        let mut all: Vec<_> = (0..2).flat_map(|round| tries_of_round(2, &addresses, round, 8, |_, _| true)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 16, "two rounds are everything");
        assert!(tries_of_round(0, &addresses, 3, 8, |_, _| true).is_empty() && tries_of_round(2, &[], 3, 8, |_, _| true).is_empty());
    }

    proptest! {
        #[test]
        fn both_members_mean_the_same_pair_by_a_number(own in 0..UPLINKS_MAX, theirs in 0..UPLINKS_MAX, leads: bool) {
            let ours = pair(own, theirs);
            prop_assert_eq!(pair(theirs, own).path(!leads), ours.path(leads));
            prop_assert_eq!(Pair::of_path(ours.path(leads), leads), ours);
        }

        #[test]
        fn whatever_connections_come_every_line_gets_a_path_and_no_pair_two(
            offers in prop::collection::vec((0_u8..4, 0_u8..4, 0_u64..6), 0..200),
        ) {
            let mut alive: Vec<Pair> = vec![];
            for (own, theirs, age) in &offers {
                let (own_lines, their_lines) = (4, 4);
                if with(&alive, own_lines, their_lines).wants(pair(*own, *theirs), Duration::from_secs(*age)) {
                    alive.push(pair(*own, *theirs));
                }
            }
            // Each path brought an uplink that had none.
            prop_assert!(alive.len() <= 7, "{:?}", alive);
            for (at, one) in alive.iter().enumerate() {
                prop_assert!(!alive.iter().skip(at + 1).any(|other| other == one));
            }
            let late = |uplink: u8| offers.iter().any(|(own, _, age)| *own == uplink && *age >= 3);
            for uplink in (0..4).filter(|uplink| late(*uplink)) {
                prop_assert!(alive.iter().any(|pair| pair.own == uplink));
            }
        }

        #[test]
        fn no_round_has_more_tries_than_may_be(sockets in 0_usize..9, addresses in 0_u8..9, round: usize) {
            let addresses: Vec<SocketAddr> = (0..addresses).map(|n| SocketAddr::from(([192, 0, 2, n], 1))).collect();
            let tries = tries_of_round(sockets, &addresses, round, 8, |_, _| true);
            prop_assert!(tries.len() <= 8 && tries.len() == (sockets * addresses.len()).min(8));
        }
    }
}
