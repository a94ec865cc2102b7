//! Further connections of one member: whether a connection may become a path of its bond.
//!
//! What makes the claim unforgeable is not in the message: the connection has proven the member's key in its handshake, and names the
//! number of the very run of the program that joined.

use std::time::Instant;

use lanparty_proto::{Attach, IdentityId, PROTOCOL_VERSION, Refusal};

use super::{LinkId, Relay};
use crate::Rate;

/// Attachments of one member: four uplinks that come and go every other second, and all of them at once after an outage.
pub(super) const ATTACH_RATE: Rate = Rate { per_second: 2, burst: 40 };

impl Relay {
    /// The connection that carries the member whose path `wanted` wants to become.
    ///
    /// # Errors
    /// Why it may not, as a code and in words.
    pub fn attach(&mut self, identity: IdentityId, wanted: &Attach, now: Instant) -> Result<LinkId, (Refusal, String)> {
        if wanted.version != PROTOCOL_VERSION {
            return Err((Refusal::Version, format!("this relay speaks protocol version {PROTOCOL_VERSION}")));
        }
        let room = self.rooms.get_mut(&wanted.room);
        let member = room.and_then(|room| {
            let id = room.by_identity(identity)?.id;
            room.member_mut(id)
        });
        let Some(member) = member.filter(|member| member.is_bonded && wanted.run != 0 && member.run == wanted.run) else {
            return Err((Refusal::NotMoved, "there is no such membership here".into()));
        };
        if !member.attaches.take(1, now) {
            return Err((Refusal::TooManyJoins, "too many paths come and go".into()));
        }
        if wanted.budget.lan_mtu().is_none() {
            return Err((Refusal::PathTooSmall, "the path is too small for an Ethernet".into()));
        }
        Ok(member.link)
    }
}
