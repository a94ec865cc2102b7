//! Which client listens to which multicast groups, as they say; gateways hear of it, which know what their LANs are full of.

use std::net::IpAddr;
use std::time::Instant;

use lanparty_proto::{Role, RoomCode};

use super::room::Room;
use super::{LinkId, Relay, RelayOutput};
use crate::GroupSet;
use crate::limiter::Rate;

/// How often one member may say what it listens to (THREATS A20).
pub(super) const GROUPS_RATE: Rate = Rate { per_second: 10, burst: 20 };

impl Relay {
    /// A client says what it listens to. What it says beyond its rate is not kept: it gets everything until it says it again.
    pub(super) fn set_groups(&mut self, link: LinkId, groups: Option<&[IpAddr]>, now: Instant) {
        let Some((room, id)) = self.room_of(link) else { return };
        let Some(member) = room.member_mut(id).filter(|member| member.role == Role::Client) else { return };
        let groups = if member.groups_rate.take(1, now) { GroupSet::of(groups) } else { GroupSet::All };
        if groups == member.groups {
            return;
        }
        let message = groups.message(Some(id));
        member.groups = groups;
        let sends = room.gateways().map(|gateway| RelayOutput::Send { link: gateway.link, message: message.clone() }).collect::<Vec<_>>();
        self.outputs.extend(sends);
    }

    /// A gateway that joined hears what the clients have said.
    pub(super) fn tell_groups(&mut self, code: &RoomCode, link: LinkId) {
        let said = |room: &Room| {
            let clients = room.members().filter(|member| member.groups != GroupSet::All);
            clients.map(|member| RelayOutput::Send { link, message: member.groups.message(Some(member.id)) }).collect::<Vec<_>>()
        };
        let sends = self.rooms.get(code).map(said).unwrap_or_default();
        self.outputs.extend(sends);
    }
}
