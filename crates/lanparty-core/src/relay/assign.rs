//! Addresses of members in a room without a LAN, as they ask for them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_proto::{AddressRequest, AssignedAddresses, Control, IdentityId, MacAddr, MemberId, Role, RoomCode};

use super::room::Room;
use super::{LinkId, Relay, RelayEvent, RelayOutput};
use crate::addresses::{Asked, AskedLease};
use crate::limiter::Rate;
use crate::{AddressBook, Leases, NoAddress};

/// How often one member may say that its address is taken.
pub(super) const TAKEN_RATE: Rate = Rate { per_second: 1, burst: 4 };
/// How often one gateway may ask for machines: a hall that has power again is through within a few seconds.
pub(super) const LEASE_RATE: Rate = Rate { per_second: 50, burst: 200 };
/// Why there is no lease is told this often at most.
const NO_LEASE_INTERVAL: Duration = Duration::from_secs(60);

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
        // A LAN without addresses of its own has the room's.
        if request.unless_gateway && room.is_some_and(|room| room.gateways().any(|gateway| !gateway.has_leases)) {
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

    /// A machine that speaks DHCP asks a gateway. One that is a member as well has one address, however it asks.
    pub(super) fn lease(&mut self, link: LinkId, asked: (MacAddr, Option<Ipv4Addr>), takes: bool, now: Instant) {
        let (mac, wanted) = asked;
        let Some((code, gateway)) = self.hands_out(link, now) else { return };
        let client = self.rooms.get(&code).and_then(|room| room.by_mac(mac)).filter(|member| member.role == Role::Client);
        let leased = match client.map(|client| client.identity) {
            Some(identity) => self
                .assign(&code, identity, &AddressRequest::default(), now)
                .map_or(Err(NoAddress::NoNetwork.to_string()), |a| a.ipv4.ok_or_else(|| a.because.unwrap_or_default())),
            None => self.lease_machine(&AskedLease { room: &code, mac, wanted, takes }, gateway, now),
        };
        let (address, because) = match leased {
            Ok(address) => (Some(address), None),
            Err(because) => (None, Some(because)),
        };
        self.outputs.push_back(RelayOutput::Send { link, message: Control::Lease { mac, takes, address, because } });
    }

    fn lease_machine(&mut self, asked: &AskedLease<'_>, gateway: MemberId, now: Instant) -> Result<ipnet::Ipv4Net, String> {
        let Self { rooms, addresses, .. } = self;
        let had = addresses.of_machine(asked.room, asked.mac);
        let is_here = |id: IdentityId| rooms.get(asked.room).is_some_and(|room| room.by_identity(id).is_some());
        let leased = addresses.lease(asked, is_here, now).map_err(|why| why.to_string());
        let has = addresses.of_machine(asked.room, asked.mac);
        let (room, mac) = (asked.room.clone(), asked.mac);
        match &leased {
            Ok(address) if had != has => {
                self.outputs.push_back(RelayOutput::Event(RelayEvent::Leased { room, gateway, mac, address: *address }));
            }
            Ok(_) => {}
            Err(because) => {
                let Some(gateway) = self.rooms.get_mut(asked.room).and_then(|room| room.member_mut(gateway)) else { return leased };
                if gateway.no_lease.is_none_or(|at| now.saturating_duration_since(at) >= NO_LEASE_INTERVAL) {
                    gateway.no_lease = Some(now);
                    self.outputs.push_back(RelayOutput::Event(RelayEvent::NoLease { room, mac, because: because.clone() }));
                }
            }
        }
        leased
    }

    /// A machine found the address in use that it was to have.
    pub(super) fn lease_taken(&mut self, link: LinkId, mac: MacAddr, address: Ipv4Addr, now: Instant) {
        let Some((code, gateway)) = self.hands_out(link, now) else { return };
        if self.addresses.decline(&code, mac, address) {
            self.outputs.push_back(RelayOutput::Event(RelayEvent::AddressTaken { room: code, member: gateway, address, by: mac }));
        }
    }

    /// The room of a gateway that hands out its addresses, when it does not ask too often.
    fn hands_out(&mut self, link: LinkId, now: Instant) -> Option<(RoomCode, MemberId)> {
        let (room, id) = self.room_of(link)?;
        let code = room.code().clone();
        let member = room.member_mut(id)?;
        (member.has_leases && member.lease_rate.take(1, now)).then_some((code, id))
    }
}

pub(super) fn assigned_event(room: RoomCode, member: MemberId, assigned: &AssignedAddresses) -> RelayOutput {
    RelayOutput::Event(RelayEvent::Assigned { room, member, addresses: assigned.clone() })
}
