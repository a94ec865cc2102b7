//! Addresses of members in a room without a LAN, as they ask for them.

use std::net::Ipv4Addr;
use std::time::Instant;

use lanparty_proto::{AddressRequest, AssignedAddresses, Control, IdentityId, MacAddr, MemberId, RoomCode};

use super::room::Room;
use super::{LinkId, Relay, RelayEvent, RelayOutput};
use crate::addresses::Asked;
use crate::limiter::Rate;
use crate::{AddressBook, Leases};

/// How often one member may say that its address is taken.
pub(super) const TAKEN_RATE: Rate = Rate { per_second: 1, burst: 4 };

impl Relay {
    /// Assigns addresses as `book` has them.
    #[must_use]
    pub fn with_addresses(mut self, book: AddressBook) -> Self {
        self.addresses = book;
        self
    }

    /// Who has which address, when that is to be written down anew.
    pub fn take_changed_leases(&mut self) -> Option<&Leases> {
        self.addresses.take_changed()
    }

    /// What a newcomer gets that asks for addresses.
    pub(super) fn assign(
        &mut self,
        code: &RoomCode,
        identity: IdentityId,
        request: &AddressRequest,
        now: Instant,
    ) -> Option<AssignedAddresses> {
        let nets = self.rules.of(code).map(|rule| rule.nets.clone()).unwrap_or_default();
        let Self { rooms, addresses, .. } = self;
        let room = rooms.get(code);
        if request.unless_gateway && room.is_some_and(|room| room.lans() > 0) {
            return None;
        }
        let asked = Asked { room: code, identity, had: request.had, networks: &request.networks, nets: &nets.ipv4 };
        let is_here = |id: IdentityId| room.is_some_and(|room| room.by_identity(id).is_some());
        let assigned = addresses.assign(&asked, is_here, |code| rooms.get(code).is_some_and(|room: &Room| !room.is_empty()), now);
        let ipv6 = Some(addresses.ipv6(code, identity, nets.ipv6));
        Some(match assigned {
            Ok(ipv4) => AssignedAddresses { ipv4: Some(ipv4), ipv6, because: None },
            Err(why) => AssignedAddresses { ipv4: None, ipv6, because: Some(why.to_string()) },
        })
    }

    /// A member's address is in use by a machine that has set it by hand: it gets another one.
    pub(super) fn address_taken(&mut self, link: LinkId, address: Ipv4Addr, by: MacAddr, now: Instant) {
        let Some((room, id)) = self.room_of(link) else { return };
        let code = room.code().clone();
        let Some(member) = room.member_mut(id) else { return };
        let (identity, is_allowed) = (member.identity, member.taken_rate.take(1, now));
        if !is_allowed || self.addresses.of(&code, identity).is_none_or(|has| has.addr() != address) {
            return;
        }
        let assigned = match self.addresses.give_up(&code, identity, address) {
            Ok(()) => self.assign(&code, identity, &AddressRequest::default(), now),
            Err(why) => Some(AssignedAddresses { because: Some(why.to_string()), ..AssignedAddresses::default() }),
        };
        self.outputs.push_back(RelayOutput::Event(RelayEvent::AddressTaken { room: code.clone(), member: id, address, by }));
        if let Some(assigned) = assigned {
            self.outputs.push_back(assigned_event(code, id, &assigned));
            self.outputs.push_back(RelayOutput::Send { link, message: Control::Addresses(assigned) });
        }
    }
}

pub(super) fn assigned_event(room: RoomCode, member: MemberId, assigned: &AssignedAddresses) -> RelayOutput {
    RelayOutput::Event(RelayEvent::Assigned { room, member, addresses: assigned.clone() })
}
