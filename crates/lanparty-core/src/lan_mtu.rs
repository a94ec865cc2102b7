//! The LAN MTU a room agrees on: the smallest that its members' paths allow, changed only for good reasons.
//!
//! A path's budget moves with path MTU discovery, and falls for a moment when congestion looks like a black hole
//! (DESIGN §9). So a member that joins shrinks the room at once, but a shrink afterwards must last before it is taken,
//! and so must growth.

use std::time::{Duration, Instant};

use lanparty_proto::{DatagramBudget, LanMtu};

/// A shrink of a member's path must last this long before the room's LAN MTU follows: long enough for what fell to rest, to search, and
/// to be tried afresh.
pub const SHRINK_HOLD: Duration = Duration::from_secs(5);
/// Room for a larger LAN MTU must last this long before it is taken.
pub const GROW_HOLD: Duration = Duration::from_secs(1);

/// A path must take the same for this long before it is spoken of: its search for a larger size goes in steps.
pub const WAY_HOLD: Duration = Duration::from_millis(300);

/// The way from the relay to one member, when it takes less than the room's LAN MTU: announced long before the room
/// shrinks for it, so that those who send can be answered meanwhile.
#[derive(Clone, Debug)]
pub struct WayThere {
    announced: Option<LanMtu>,
    /// What it takes, and since when.
    taken: (Option<LanMtu>, Instant),
}

impl WayThere {
    /// A way that takes the LAN MTU, as far as anybody knows.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { announced: None, taken: (None, now) }
    }

    /// The same member's new way: what was announced stands until it has been looked at.
    #[must_use]
    pub const fn moved(before: &Self, now: Instant) -> Self {
        Self { announced: before.announced, taken: (None, now) }
    }

    /// What the room was told; nothing when it takes the LAN MTU.
    #[must_use]
    pub const fn announced(&self) -> Option<LanMtu> {
        self.announced
    }

    /// The way takes `budget` in a room of `lan_mtu`. What to announce, when that has changed and lasted: for [`WAY_HOLD`], or four round
    /// trips of a long way, since that is how long a step of its search takes.
    pub fn observe(&mut self, budget: DatagramBudget, lan_mtu: LanMtu, rtt: Duration, now: Instant) -> Option<Option<LanMtu>> {
        let taken = budget.lan_mtu()?;
        let below = (taken < lan_mtu).then_some(taken);
        if self.taken.0 != below {
            self.taken = (below, now);
        }
        let lasted = now.saturating_duration_since(self.taken.1) >= WAY_HOLD.max(4 * rtt);
        if below == self.announced || (below.is_some() && !lasted) {
            return None;
        }
        self.announced = below;
        Some(below)
    }
}

/// The agreement of one room.
#[derive(Clone, Debug)]
pub struct LanMtuAgreement {
    agreed: LanMtu,
    pending: Option<Pending>,
}

/// The paths allow something else than what is agreed.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// Since when it is less, or more.
    since: Instant,
    /// What they allow now, and since when.
    allowed: (LanMtu, Instant),
    /// The most that they allowed since then.
    most: LanMtu,
}

impl Pending {
    const fn new(allowed: LanMtu, since: Instant) -> Self {
        Self { since, allowed: (allowed, since), most: allowed }
    }

    fn follow(&mut self, allowed: LanMtu, now: Instant) {
        if self.allowed.0 != allowed {
            self.allowed = (allowed, now);
        }
        self.most = self.most.max(allowed);
    }
}

impl LanMtuAgreement {
    /// A room whose first member allows `first`.
    #[must_use]
    pub const fn new(first: LanMtu) -> Self {
        Self { agreed: first, pending: None }
    }

    /// The LAN MTU in force.
    #[must_use]
    pub const fn agreed(&self) -> LanMtu {
        self.agreed
    }

    /// A member joined whose path allows `allowed`. The new LAN MTU when the room must shrink for it.
    pub fn admit(&mut self, allowed: LanMtu) -> Option<LanMtu> {
        if allowed >= self.agreed {
            return None;
        }
        // A shrink to even less goes on lasting.
        self.pending = self.pending.filter(|pending| pending.most < allowed);
        self.agreed = allowed;
        Some(allowed)
    }

    /// `allowed` is the smallest over all members now. The new LAN MTU when the change has lasted. A room shrinks to what its paths did
    /// not exceed all that time, so that a moment at its end does not count; a path has confirmed a larger size when it says so.
    pub fn observe(&mut self, allowed: LanMtu, now: Instant) -> Option<LanMtu> {
        if allowed == self.agreed {
            self.pending = None;
            return None;
        }
        let shrinks = allowed < self.agreed;
        let same_side = self.pending.filter(|pending| (pending.allowed.0 < self.agreed) == shrinks);
        let mut pending = same_side.unwrap_or(Pending::new(allowed, now));
        pending.follow(allowed, now);
        self.pending = Some(pending);
        let (hold, new) = if shrinks { (SHRINK_HOLD, pending.most) } else { (GROW_HOLD, allowed) };
        if now.saturating_duration_since(pending.since) < hold {
            return None;
        }
        let (allowed, since) = pending.allowed;
        self.pending = (allowed != new).then_some(Pending::new(allowed, since));
        self.agreed = new;
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Duration = Duration::from_millis(20);

    fn mtu(bytes: u16) -> LanMtu {
        LanMtu::new(bytes).unwrap()
    }

    #[test]
    fn a_joining_member_shrinks_the_room_at_once() {
        let mut room = LanMtuAgreement::new(mtu(1400));
        assert_eq!(room.admit(mtu(1420)), None);
        assert_eq!(room.admit(mtu(1250)), Some(mtu(1250)));
        assert_eq!(room.agreed(), mtu(1250));
    }

    #[test]
    fn a_shrink_that_does_not_last_changes_nothing() {
        let (mut room, start) = (LanMtuAgreement::new(mtu(1400)), Instant::now());
        assert_eq!(room.observe(mtu(1160), start), None);
        assert_eq!(room.observe(mtu(1400), start + Duration::from_secs(3)), None);
        assert_eq!(room.observe(mtu(1160), start + Duration::from_secs(5)), None, "the clock starts anew");
        assert_eq!(room.observe(mtu(1200), start + Duration::from_secs(6)), None, "the search has found more");
        assert_eq!(room.observe(mtu(1200), start + Duration::from_secs(10)), Some(mtu(1200)));
    }

    #[test]
    fn a_moment_at_the_end_of_a_shrink_does_not_count() {
        let (mut room, start, ms) = (LanMtuAgreement::new(mtu(1417)), Instant::now(), Duration::from_millis);
        assert_eq!(room.observe(mtu(1408), start), None);
        assert_eq!(room.observe(mtu(1145), start + ms(4900)), None, "congestion that looks like a black hole");
        assert_eq!(room.observe(mtu(1145), start + ms(5100)), Some(mtu(1408)));
        assert_eq!(room.observe(mtu(1408), start + ms(5300)), None);
        assert_eq!(room.observe(mtu(1145), start + ms(9000)), None);
        assert_eq!(room.agreed(), mtu(1408));
    }

    #[test]
    fn a_shrink_in_steps_is_followed_step_by_step() {
        let (mut room, start, ms) = (LanMtuAgreement::new(mtu(1417)), Instant::now(), Duration::from_millis);
        assert_eq!(room.observe(mtu(1300), start), None);
        assert_eq!(room.observe(mtu(1197), start + ms(2000)), None);
        assert_eq!(room.observe(mtu(1197), start + ms(5000)), Some(mtu(1300)));
        assert_eq!(room.observe(mtu(1197), start + ms(6900)), None);
        assert_eq!(room.observe(mtu(1197), start + ms(7000)), Some(mtu(1197)), "five seconds after the second step");
    }

    #[test]
    fn a_newcomer_does_not_hold_up_a_shrink() {
        let (mut room, start, ms) = (LanMtuAgreement::new(mtu(1417)), Instant::now(), Duration::from_millis);
        assert_eq!(room.observe(mtu(1197), start), None);
        assert_eq!(room.admit(mtu(1400)), Some(mtu(1400)));
        assert_eq!(room.observe(mtu(1197), start + ms(5000)), Some(mtu(1197)));
    }

    #[test]
    fn a_smaller_way_is_announced_when_it_has_lasted_and_taken_back_at_once() {
        let budget = |mtu: u16| DatagramBudget(mtu + 17);
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut way = WayThere::new(start);
        assert_eq!(way.observe(budget(1400), mtu(1400), NEAR, start), None);
        assert_eq!(way.observe(budget(1145), mtu(1400), NEAR, start), None);
        assert_eq!(way.observe(budget(1197), mtu(1400), NEAR, start + ms(200)), None, "the search goes on");
        assert_eq!(way.observe(budget(1197), mtu(1400), NEAR, start + ms(200) + WAY_HOLD), Some(Some(mtu(1197))));
        assert_eq!(way.observe(DatagramBudget(0), mtu(1400), NEAR, start + ms(900)), None, "a dead path says nothing");
        assert_eq!(way.observe(budget(1197), mtu(1197), NEAR, start + ms(4000)), Some(None), "the room has followed");
    }

    #[test]
    fn a_long_way_is_spoken_of_when_its_search_has_ended() {
        let (start, far, ms) = (Instant::now(), Duration::from_millis(400), Duration::from_millis);
        let mut way = WayThere::new(start);
        assert_eq!(way.observe(DatagramBudget(1162), mtu(1400), far, start), None);
        assert_eq!(way.observe(DatagramBudget(1162), mtu(1400), far, start + ms(900)), None, "a step of the search");
        assert_eq!(way.observe(DatagramBudget(1214), mtu(1400), far, start + ms(1000)), None);
        assert_eq!(way.observe(DatagramBudget(1214), mtu(1400), far, start + ms(2600)), Some(Some(mtu(1197))));
    }

    #[test]
    fn growth_is_taken_after_a_second() {
        let (mut room, start) = (LanMtuAgreement::new(mtu(1160)), Instant::now());
        assert_eq!(room.observe(mtu(1300), start), None);
        assert_eq!(room.observe(mtu(1400), start + GROW_HOLD), Some(mtu(1400)));
    }
}
