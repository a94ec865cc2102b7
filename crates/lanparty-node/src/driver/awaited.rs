//! A relay that comes back knows nobody. Members that are reached directly stay in the room until they have come back to it as well.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lanparty_core::Roster;
use lanparty_nic::Device;
use lanparty_proto::{Control, MemberId};
use tracing::debug;

use super::MemberDriver;

/// How long a member may take longer than we to come back: an outage that all share ends for all within this time (RELIABILITY F3).
const AWAITED_FOR: Duration = Duration::from_secs(10);

/// Members of the island that the relay has not named again.
#[derive(Default)]
pub(super) struct Awaited {
    until: Option<Instant>,
    members: BTreeSet<MemberId>,
}

impl Awaited {
    /// Those whom a room's broadcast reaches only directly.
    pub(super) fn members(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().copied()
    }

    /// Whether the relay has not named this one again.
    pub(super) fn has(&self, id: MemberId) -> bool {
        self.members.contains(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The relay speaks of this member again, in one way or the other.
    pub(super) fn is_known(&mut self, id: MemberId) {
        self.members.remove(&id);
    }

    /// Keeps in `room` who was on the `island`, is `reached`, and whose place nobody has taken.
    fn keep(room: &mut Roster, island: &Roster, reached: &[MemberId], now: Instant) -> Self {
        // Who has another number is a stranger to the others.
        if (island.own().id, island.own().mac) != (room.own().id, room.own().mac) {
            return Self::default();
        }
        let (room_has_gateway, mut members) = (room.gateway().is_some(), BTreeSet::new());
        for member in reached.iter().filter_map(|id| island.member(*id)) {
            let is_second = room_has_gateway && island.gateway().is_some_and(|gateway| gateway.id == member.id);
            if !is_second && room.member(member.id).is_none() && room.by_mac(member.mac).is_none() {
                debug!("peer {} is reached directly and has not come back to the relay yet", member.id);
                room.insert(member.clone());
                members.insert(member.id);
            }
        }
        Self { until: Some(now + AWAITED_FOR), members }
    }

    /// One that has been waited for long enough.
    fn expired(&self, now: Instant) -> Option<MemberId> {
        self.members.first().copied().filter(|_| self.until.is_some_and(|until| now >= until))
    }
}

impl<D: Device> MemberDriver<D> {
    /// The room of a new connection, and whoever of the island is still on the way to it.
    pub(super) fn leave_island(&mut self) {
        let (island, reached) = (self.island.take(), self.peers.reached());
        let Some(c) = &mut self.connected else { return };
        let kept = island.map(|island| Awaited::keep(&mut c.roster, &island, &reached, Instant::now()));
        self.awaited = kept.unwrap_or_default();
        self.peers.retain(&c.roster);
    }

    /// What the relay would have said, had it known a member that does not come back.
    pub(super) fn stop_waiting(&mut self) -> Option<Control> {
        let id = self.awaited.expired(Instant::now())?;
        Some(Control::MemberLeft { id, reason: "has not come back to the relay".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use lanparty_proto::{LanMtu, MacAddr, MemberInfo, MulticastPolicy, PROTOCOL_VERSION, Role, Welcome};

    use super::*;

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn member(id: u16, role: Role) -> MemberInfo {
        MemberInfo { id: MemberId(id), role, mac: mac(u8::try_from(id).unwrap()), lan_up: true, path_mtu: None, description: None }
    }

    /// The room of member 1 with these others.
    fn room(members: Vec<MemberInfo>) -> Roster {
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            member: MemberId(1),
            lan_mtu: LanMtu::MIN,
            limited_by: None,
            budget_down: None,
            replaced: None,
            bond: false,
            addresses: None,
            multicast: MulticastPolicy::All,
            members,
        };
        Roster::new(Role::Client, mac(1), &welcome)
    }

    fn kept(room: &mut Roster, island: &Roster) -> Vec<MemberId> {
        let reached = [MemberId(2), MemberId(3), MemberId(9)];
        Awaited::keep(room, island, &reached, Instant::now()).members().collect()
    }

    #[test]
    fn who_is_reached_and_has_not_come_back_stays() {
        let island = room(vec![member(2, Role::Gateway), member(3, Role::Client), member(4, Role::Client)]);
        let mut after = room(vec![member(3, Role::Client)]);
        assert_eq!(kept(&mut after, &island), [MemberId(2)], "3 is back, and 4 is not reached");
        assert_eq!(after.by_mac(mac(2)), Some(&member(2, Role::Gateway)));
        assert!(after.member(MemberId(4)).is_none());
    }

    #[test]
    fn nobody_keeps_a_place_that_another_one_has() {
        let island = room(vec![member(2, Role::Gateway), member(3, Role::Client)]);
        let number_taken = MemberInfo { mac: mac(7), ..member(3, Role::Client) };
        assert_eq!(kept(&mut room(vec![number_taken, member(5, Role::Gateway)]), &island), []);
        let address_taken = MemberInfo { id: MemberId(7), ..member(3, Role::Client) };
        assert_eq!(kept(&mut room(vec![address_taken]), &island), [MemberId(2)]);
    }

    #[test]
    fn who_does_not_come_back_is_given_up() {
        let island = room(vec![member(2, Role::Client), member(3, Role::Client)]);
        let (mut after, now) = (room(vec![]), Instant::now());
        let mut awaited = Awaited::keep(&mut after, &island, &[MemberId(2), MemberId(3)], now);
        awaited.is_known(MemberId(2));
        assert_eq!((awaited.expired(now), awaited.expired(now + AWAITED_FOR)), (None, Some(MemberId(3))));
    }
}
