//! A client whose TAP is bridged to the very LAN that its gateway bridges: what the LAN floods comes to it twice, and what the room
//! gives it goes back into that LAN, up again, and round for ever (THREATS A13, docs/decisions/0015).
//!
//! Only a TAP that is bridged gives frames of other machines. Their floods are compared with those of the room: the same frame from
//! both sides, or the gateway's own sign from the TAP, and the client carries nothing for as long as that goes on.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use lanparty_proto::{Frame, MemberFrame, Role};

use crate::Roster;
use crate::mac_moves::Side;

/// Two copies of one frame come within this.
const TWICE_WITHIN: Duration = Duration::from_secs(1);
/// Floods that are remembered: far more than a quiet LAN has in that time, and a busy one repeats itself.
const FLOODS_MAX: usize = 64;
/// A TAP that gave no other machine's frame for so long is bridged to nothing.
const BRIDGED_FOR: Duration = Duration::from_secs(10);
/// Without a trace of the loop for so long the client carries again, at first: more than two signs …
const QUIET_MIN: Duration = Duration::from_secs(5);
/// … and twice as long each time that it is back soon, up to this.
const QUIET_MAX: Duration = Duration::from_secs(320);
/// A loop that comes back later than this is a new one.
const FLAP_WINDOW: Duration = Duration::from_secs(600);

/// What a client knows of its TAP's bridge.
pub struct BridgedTap {
    floods: VecDeque<(u64, Side, Instant)>,
    foreign_at: Option<Instant>,
    /// When there was a trace of the loop last, while the client carries nothing.
    blocked: Option<Instant>,
    quiet: Duration,
    cleared_at: Option<Instant>,
}

impl Default for BridgedTap {
    fn default() -> Self {
        Self { floods: VecDeque::new(), foreign_at: None, blocked: None, quiet: QUIET_MIN, cleared_at: None }
    }
}

impl BridgedTap {
    /// A frame from the TAP, or from the room.
    pub fn look(&mut self, bytes: &[u8], side: Side, roster: &Roster, now: Instant) {
        // All that a TAP without a bridge costs: unicast and its own frames are not looked at.
        if roster.own().role != Role::Client || bytes.first().is_none_or(|first| first & 1 == 0) {
            return;
        }
        let Ok(frame) = Frame::parse(bytes) else { return };
        if side == Side::Device {
            if frame.src() == roster.own().mac {
                return;
            }
            self.foreign_at = Some(now);
            let is_gateway = || roster.by_mac(frame.src()).is_some_and(|member| member.role == Role::Gateway);
            if matches!(MemberFrame::read(&frame), Some(MemberFrame::GatewaySign(_))) && is_gateway() {
                return self.found(now);
            }
        }
        if self.foreign_at.is_some_and(|at| now.saturating_duration_since(at) < BRIDGED_FOR) && self.is_twice(bytes, side, now) {
            self.found(now);
        }
    }

    fn is_twice(&mut self, bytes: &[u8], side: Side, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let flood = hasher.finish();
        self.floods.retain(|(_, _, at)| now.saturating_duration_since(*at) < TWICE_WITHIN);
        let is_twice = self.floods.iter().any(|(known, from, _)| *known == flood && *from != side);
        if self.floods.len() >= FLOODS_MAX {
            self.floods.pop_front();
        }
        self.floods.push_back((flood, side, now));
        is_twice
    }

    fn found(&mut self, now: Instant) {
        if self.blocked.replace(now).is_none() {
            let is_flapping = self.cleared_at.is_some_and(|at| now.saturating_duration_since(at) < FLAP_WINDOW);
            self.quiet = if is_flapping { (self.quiet * 2).min(QUIET_MAX) } else { QUIET_MIN };
        }
    }

    /// Whether the client carries nothing now; without a trace for long enough it carries again.
    pub fn is_blocked(&mut self, now: Instant) -> bool {
        if self.blocked.is_some_and(|last| now.saturating_duration_since(last) >= self.quiet) {
            (self.blocked, self.cleared_at) = (None, Some(now));
        }
        self.blocked.is_some()
    }

    /// Without a trace of the loop for how long the client carries again.
    #[must_use]
    pub const fn quiet(&self) -> Duration {
        self.quiet
    }
}

#[cfg(test)]
mod tests {
    use lanparty_proto::{GatewaySign, LanMtu, MacAddr, MemberId, MemberInfo, MulticastPolicy, PROTOCOL_VERSION, Welcome};

    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn roster(role: Role) -> Roster {
        let gateway = MemberInfo { id: MemberId(1), role: Role::Gateway, mac: GATEWAY, lan_up: true, path_mtu: None, description: None };
        let (version, lan_mtu, members) = (PROTOCOL_VERSION, LanMtu::MAX, vec![gateway]);
        Roster::new(
            role,
            OWN,
            &Welcome {
                version,
                member: MemberId(2),
                lan_mtu,
                limited_by: None,
                budget_down: None,
                replaced: None,
                bond: false,
                addresses: None,
                multicast: MulticastPolicy::All,
                members,
            },
        )
    }

    fn flood(src: MacAddr, n: u8) -> Vec<u8> {
        [&MacAddr::BROADCAST.0[..], &src.0, &[8, 6, n], &[0; 45]].concat()
    }

    fn sign(of: MacAddr) -> Vec<u8> {
        MemberFrame::GatewaySign(GatewaySign { gateway: [7; 8] }).encode(MacAddr::BROADCAST, of, 60)
    }

    #[test]
    fn the_same_flood_from_both_sides_is_a_loop_in_either_order() {
        for order in [[Side::Device, Side::Link], [Side::Link, Side::Device]] {
            let (mut tap, now, roster) = (BridgedTap::default(), Instant::now(), roster(Role::Client));
            tap.look(&flood(HOST, 0), Side::Device, &roster, now);
            order.iter().for_each(|side| tap.look(&flood(HOST, 1), *side, &roster, now));
            assert!(tap.is_blocked(now), "{order:?}");
        }
    }

    #[test]
    fn the_gateways_sign_from_the_tap_is_one_and_that_of_a_stranger_is_not() {
        let (mut tap, now, roster) = (BridgedTap::default(), Instant::now(), roster(Role::Client));
        tap.look(&sign(HOST), Side::Device, &roster, now);
        assert!(!tap.is_blocked(now));
        tap.look(&sign(GATEWAY), Side::Device, &roster, now);
        assert!(tap.is_blocked(now + QUIET_MIN - Duration::from_millis(1)) && !tap.is_blocked(now + QUIET_MIN));
        let again = now + QUIET_MIN;
        tap.look(&sign(GATEWAY), Side::Device, &roster, again);
        assert!(tap.is_blocked(again + QUIET_MIN) && !tap.is_blocked(again + 2 * QUIET_MIN), "the second time lasts longer");
    }

    #[test]
    fn nothing_else_is() {
        let (mut tap, now, client) = (BridgedTap::default(), Instant::now(), roster(Role::Client));
        for side in [Side::Device, Side::Link, Side::Device] {
            tap.look(&flood(OWN, 1), side, &client, now);
        }
        tap.look(&flood(HOST, 1), Side::Link, &client, now);
        tap.look(&flood(HOST, 2), Side::Device, &client, now);
        tap.look(&flood(HOST, 2), Side::Device, &client, now);
        tap.look(&flood(HOST, 2), Side::Link, &client, now + TWICE_WITHIN);
        assert!(!tap.is_blocked(now), "its own, different ones, one side twice, too late");
        let gateway = roster(Role::Gateway);
        for side in [Side::Device, Side::Link] {
            tap.look(&flood(HOST, 3), side, &gateway, now);
        }
        assert!(!tap.is_blocked(now), "a gateway has a split horizon");
    }

    #[test]
    fn many_floods_are_not_all_remembered() {
        let (mut tap, now, roster) = (BridgedTap::default(), Instant::now(), roster(Role::Client));
        (0..=255).for_each(|n| tap.look(&flood(HOST, n), Side::Device, &roster, now));
        assert_eq!(tap.floods.len(), FLOODS_MAX);
    }
}
