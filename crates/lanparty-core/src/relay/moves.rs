//! A member changes the connection that carries it, and stays who and where it is: for the room nothing happens.
//!
//! From the move on its frames go out by the new connection. The old one is read until it ends, because frames are still on their way
//! in it; who is its member's is decided by connection, so they are switched as before.

use std::time::{Duration, Instant};

use lanparty_proto::{Control, DatagramBudget, IdentityId, Move, PROTOCOL_VERSION, Refusal, Welcome};

use super::{LinkId, Relay, RelayEvent, RelayOutput};
use crate::WayThere;

/// Somebody with a connection that shall take the place of another.
pub(super) struct Mover {
    pub(super) identity: IdentityId,
    pub(super) remote: String,
    pub(super) budget: DatagramBudget,
    pub(super) wanted: Move,
}

impl Relay {
    pub(super) fn move_member(&mut self, link: LinkId, mover: &Mover, now: Instant) {
        if let Err((code, message)) = self.judge_move(link, mover, now) {
            return self.outputs.push_back(RelayOutput::Refuse { link, code, message });
        }
        let Some(room) = self.rooms.get_mut(&mover.wanted.room) else { return };
        let Some(id) = room.by_identity(mover.identity).map(|member| member.id) else { return };
        let Some(from) = room.set_link(id, link) else { return };
        let Some(member) = room.member_mut(id) else { return };
        let previous = std::mem::replace(&mut member.remote, mover.remote.clone());
        (member.budget_up, member.budget_down, member.rtt) = (mover.wanted.budget, mover.budget, Duration::ZERO);
        // What was announced of the way there stands until the new one has been looked at.
        member.way = WayThere::moved(&member.way, now);
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            member: id,
            lan_mtu: room.lan_mtu(),
            limited_by: room.limited_by(),
            budget_down: Some(mover.budget),
            replaced: None,
            bond: false,
            addresses: None,
            multicast: room.multicast(),
            members: room.infos(id),
        };
        let descriptions = room.descriptions(id);
        self.links.insert(link, mover.wanted.room.clone());
        self.outputs.push_back(RelayOutput::Moved { from, to: link });
        self.outputs.push_back(RelayOutput::Send { link, message: Control::Welcome(welcome) });
        self.outputs.extend(descriptions.into_iter().map(|message| RelayOutput::Send { link, message }));
        let (room, remote) = (mover.wanted.room.clone(), mover.remote.clone());
        self.outputs.push_back(RelayOutput::Event(RelayEvent::Moved { room, member: id, remote, previous }));
        self.schedule_check(now);
    }

    fn judge_move(&mut self, link: LinkId, mover: &Mover, now: Instant) -> Result<(), (Refusal, String)> {
        let wanted = &mover.wanted;
        if wanted.version != PROTOCOL_VERSION || self.links.contains_key(&link) {
            return Err((Refusal::Protocol, "a connection joins or moves once, in the relay's own protocol version".into()));
        }
        if !self.may_join_again(mover.identity, now) {
            return Err((Refusal::TooManyJoins, "too many joins and moves in a short time".into()));
        }
        let member = self.rooms.get(&wanted.room).and_then(|room| room.by_identity(mover.identity));
        if member.is_none_or(|member| wanted.run == 0 || member.run != wanted.run) {
            return Err((Refusal::NotMoved, "there is no such membership here".into()));
        }
        if mover.budget <= wanted.above {
            return Err((Refusal::NotMoved, "the way back takes no larger datagrams either".into()));
        }
        if wanted.budget.min(mover.budget).lan_mtu().is_none() {
            return Err((Refusal::PathTooSmall, "the new path is too small for an Ethernet".into()));
        }
        Ok(())
    }
}
