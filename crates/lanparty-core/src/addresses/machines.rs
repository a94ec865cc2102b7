//! Machines that speak DHCP: known by their MAC addresses alone, and given addresses of the same book as members, so that nobody shares one.
//!
//! A MAC address costs nothing, so machines get half of a room's addresses at most, and what they are only offered is soon forgotten.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use lanparty_proto::{IdentityId, MacAddr, RoomCode};

use super::book::{AddressBook, NoAddress, RoomLeases, TAKEN_MAX, hash, with_prefix};

/// Machines of one room that have an address, also where half of its network were more.
const MACHINES_MAX: u32 = 1024;
/// Offers of one room that are kept. Beyond it the oldest is forgotten: who is too late asks again.
const OFFERS_MAX: usize = 64;
/// For how long an offer is kept: a client chooses within a few seconds.
const OFFER_KEPT: Duration = Duration::from_secs(30);
/// Addresses of a room that machines may have found in use elsewhere: the rest is for members to say.
const DECLINED_MAX: usize = TAKEN_MAX / 2;

/// A machine asks for an address.
#[derive(Clone, Copy, Debug)]
pub struct AskedLease<'a> {
    /// In this room.
    pub room: &'a RoomCode,
    /// Its MAC address.
    pub mac: MacAddr,
    /// What it would like, or has.
    pub wanted: Option<Ipv4Addr>,
    /// It takes what it wants, and nothing else; otherwise it is offered an address.
    pub takes: bool,
}

impl AddressBook {
    /// The address of a machine, when it has one.
    #[must_use]
    pub fn of_machine(&self, room: &RoomCode, mac: MacAddr) -> Option<Ipv4Net> {
        self.of(room, key_of(mac))
    }

    /// An address for a machine: its own, else one that is free. What it is given is other than what it `wanted` where that is not to be had,
    /// and then nothing is kept for it. `is_here` says which members are in the room now.
    ///
    /// # Errors
    /// [`NoAddress`] in words.
    pub fn lease(&mut self, asked: &AskedLease<'_>, is_here: impl Fn(IdentityId) -> bool, now: Instant) -> Result<Ipv4Net, NoAddress> {
        let started = *self.started.get_or_insert(now);
        let room = self.leases.rooms.get_mut(asked.room).ok_or(NoAddress::NoNetwork)?;
        let (network, id) = (room.network, key_of(asked.mac));
        room.forget_offers(now);
        if let Some(address) = room.members.get(&id).copied() {
            room.asked.insert(id, now);
            return Ok(with_prefix(network, address));
        }
        let (address, instead_of) = room.choose(id, asked.wanted, is_here, started, now)?;
        if !asked.takes {
            room.offer(id, address, now);
        } else if asked.wanted == Some(address) {
            if let Some(gone) = instead_of {
                room.members.remove(&gone);
            }
            room.offers.remove(&id);
            room.members.insert(id, address);
            room.asked.insert(id, now);
            self.is_changed = true;
        }
        Ok(with_prefix(network, address))
    }

    /// A machine found its address in use elsewhere: nobody gets that one in this run. Whether that is believed.
    pub fn decline(&mut self, room: &RoomCode, mac: MacAddr, address: Ipv4Addr) -> bool {
        let Some(leases) = self.leases.rooms.get_mut(room).filter(|leases| leases.taken.len() < DECLINED_MAX) else { return false };
        let id = key_of(mac);
        let has = leases.members.get(&id) == Some(&address);
        let was_offered = leases.offers.get(&id).is_some_and(|(offered, _)| *offered == address);
        if !has && !was_offered {
            return false;
        }
        leases.members.remove(&id);
        leases.offers.remove(&id);
        leases.taken.insert(address);
        self.is_changed |= has;
        true
    }
}

impl RoomLeases {
    /// An address that is free, or that of somebody who has been away for long.
    fn choose(
        &self,
        id: IdentityId,
        wanted: Option<Ipv4Addr>,
        is_here: impl Fn(IdentityId) -> bool,
        started: Instant,
        now: Instant,
    ) -> Result<(Ipv4Addr, Option<IdentityId>), NoAddress> {
        let machines = self.members.keys().filter(|key| is_machine(**key)).count();
        let is_full = machines >= self.machines_max();
        let offered = self.offers.get(&id).map(|(address, _)| *address);
        if let Some(address) = self.free(id, wanted.into_iter().chain(offered), hash(&id.0)).filter(|_| !is_full) {
            return Ok((address, None));
        }
        // A machine does not take a member's place where machines have their half.
        let gone = self.longest_away(|other| is_here(other) || (is_full && !is_machine(other)), started, now);
        let left = gone.and_then(|gone| Some((*self.members.get(&gone)?, Some(gone))));
        left.ok_or(NoAddress::MachinesExhausted { network: self.network, machines })
    }

    fn machines_max(&self) -> usize {
        let addresses = u32::from(self.network.broadcast()) - u32::from(self.network.network());
        // Less the first, which is nobody's, and the broadcast address.
        (addresses.saturating_sub(2) / 2).clamp(1, MACHINES_MAX) as usize
    }

    fn offer(&mut self, id: IdentityId, address: Ipv4Addr, now: Instant) {
        while self.offers.len() >= OFFERS_MAX && !self.offers.contains_key(&id) {
            let oldest = self.offers.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id);
            oldest.and_then(|oldest| self.offers.remove(&oldest));
        }
        self.offers.insert(id, (address, now + OFFER_KEPT));
    }

    pub(super) fn forget_offers(&mut self, now: Instant) {
        self.offers.retain(|_, (_, until)| *until > now);
    }
}

/// What stands in the book in the place of a key: no key is a hash that ends in so many zeros.
fn key_of(mac: MacAddr) -> IdentityId {
    let mut key = [0; 32];
    for (to, from) in key.iter_mut().zip(mac.0) {
        *to = from;
    }
    IdentityId(key)
}

fn is_machine(key: IdentityId) -> bool {
    key.0.iter().skip(6).all(|octet| *octet == 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::addresses::{Asked, Leases};

    const MEMBER: u8 = 0x77;

    fn mac(n: u32) -> MacAddr {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    struct Desk {
        book: AddressBook,
        room: RoomCode,
        here: BTreeSet<IdentityId>,
        now: Instant,
    }

    impl Desk {
        fn new(pool: &str) -> Self {
            Self::with(pool, Leases::default())
        }

        /// With one member, as every room has that has a gateway.
        fn with(pool: &str, leases: Leases) -> Self {
            let book = AddressBook::new(pool.parse().unwrap(), [7; 16], leases);
            let mut desk = Self { book, room: "ROOM1".parse().unwrap(), here: BTreeSet::new(), now: Instant::now() };
            desk.join(MEMBER).unwrap();
            desk
        }

        fn join(&mut self, n: u8) -> Result<Ipv4Net, NoAddress> {
            let identity = IdentityId([n; 32]);
            self.here.insert(identity);
            let asked = Asked { room: &self.room, identity, had: None, networks: &[], nets: &[] };
            self.book.assign(&asked, |id| self.here.contains(&id), |_| false, self.now)
        }

        fn ask(&mut self, n: u32, wanted: Option<Ipv4Addr>, takes: bool) -> Result<Ipv4Net, NoAddress> {
            let asked = AskedLease { room: &self.room, mac: mac(n), wanted, takes };
            self.book.lease(&asked, |id| self.here.contains(&id), self.now)
        }

        /// DISCOVER, OFFER, REQUEST, ACK.
        fn lease(&mut self, n: u32) -> Result<Ipv4Net, NoAddress> {
            let offered = self.ask(n, None, false)?;
            let given = self.ask(n, Some(offered.addr()), true)?;
            assert_eq!(given, offered);
            Ok(given)
        }
    }

    #[test]
    fn machines_and_members_have_addresses_of_one_network_and_keep_them_over_a_restart() {
        let mut desk = Desk::new("10.9.0.0/24");
        let machines: Vec<_> = (0..60).map(|n| desk.lease(n).unwrap()).collect();
        let members: Vec<_> = (1..60).map(|n| desk.join(n).unwrap()).collect();
        let all: BTreeSet<_> = machines.iter().chain(&members).collect();
        assert_eq!(all.len(), 119, "none is shared");
        let written = serde_json::to_string(&desk.book.leases).unwrap();
        let leases: Leases = serde_json::from_str(&written).unwrap();
        leases.check().unwrap();
        let mut again = Desk::with("10.9.0.0/24", leases);
        assert!((100..130).all(|n| !all.contains(&again.lease(n).unwrap())), "newcomers first");
        assert!((0..60).all(|n| again.lease(n).unwrap() == machines[n as usize]));
        assert!((1..60).all(|n| again.join(n).unwrap() == members[usize::from(n) - 1]));
    }

    #[test]
    fn an_offer_that_is_not_taken_is_kept_for_a_moment_and_never_written_down() {
        let mut desk = Desk::new("10.9.0.0/24");
        desk.book.take_changed();
        let offered = desk.ask(1, None, false).unwrap();
        assert!(desk.book.take_changed().is_none() && desk.book.of_machine(&desk.room, mac(1)).is_none());
        assert_ne!(desk.ask(2, Some(offered.addr()), false).unwrap(), offered, "it is kept for the first");
        assert_eq!(desk.ask(1, None, false).unwrap(), offered, "the same when it asks again");
        desk.now += OFFER_KEPT;
        assert_eq!(desk.ask(3, Some(offered.addr()), true).unwrap(), offered);
        assert!(desk.book.take_changed().is_some());
        assert_ne!(desk.ask(1, Some(offered.addr()), true).unwrap(), offered, "who comes too late does not get it");
        assert_eq!(desk.book.of_machine(&desk.room, mac(1)), None, "nor is another one kept for it");
    }

    #[test]
    fn a_flood_of_offers_costs_nobody_an_address() {
        let mut desk = Desk::new("10.9.0.0/24");
        for n in 0..5000 {
            let _ = desk.ask(n, None, false);
        }
        assert!((1..119).all(|n| desk.join(n).is_ok()));
        desk.now += OFFER_KEPT;
        assert!((1..119).all(|n| desk.lease(n).is_ok()));
    }

    #[test]
    fn a_flood_of_machines_leaves_members_their_half_and_is_told_in_words() {
        let mut desk = Desk::new("10.9.0.0/24");
        let given = (0..500).filter(|n| desk.lease(*n).is_ok()).count();
        assert_eq!(given, 126);
        let words = desk.lease(999).unwrap_err().to_string();
        assert!(words.contains("10.9.0.0/24 has no address left for machines behind gateways: 126 have one"), "{words}");
        assert!((1..127).all(|n| desk.join(n).is_ok()), "members still get theirs");
    }

    #[test]
    fn who_was_away_for_an_hour_makes_room_and_who_renews_does_not() {
        let mut desk = Desk::new("10.9.0.0/28");
        let first: Vec<_> = (0..6).map(|n| desk.lease(n).unwrap()).collect();
        assert!(desk.lease(6).is_err());
        for _ in 0..13 {
            desk.now += Duration::from_secs(300);
            assert_eq!(desk.ask(0, Some(first[0].addr()), true), Ok(first[0]));
        }
        let sixth = desk.lease(6).unwrap();
        assert!(first[1..].contains(&sixth), "of one that was away");
        assert_eq!(desk.ask(0, Some(first[0].addr()), true), Ok(first[0]), "not of the one that was here");
        assert!((1..8).all(|n| desk.join(n).is_ok()), "nor of a member");
    }

    #[test]
    fn an_address_that_is_in_use_elsewhere_is_nobodys_but_not_for_ever_so_many() {
        let mut desk = Desk::new("10.9.0.0/24");
        let room = desk.room.clone();
        for n in 0..20 {
            let address = desk.lease(n).unwrap().addr();
            assert!(!desk.book.decline(&room, mac(99), address), "of another machine");
            assert_eq!(desk.book.decline(&room, mac(n), address), n < 8);
        }
        let taken = desk.book.leases.rooms[&room].taken.clone();
        assert!((100..200).filter_map(|n| desk.lease(n).ok()).all(|address| !taken.contains(&address.addr())));
    }

    #[test]
    fn a_room_without_addresses_has_none_for_machines() {
        let mut book = AddressBook::new("10.9.0.0/24".parse().unwrap(), [7; 16], Leases::default());
        let asked = AskedLease { room: &"ROOM1".parse().unwrap(), mac: mac(1), wanted: None, takes: false };
        assert_eq!(book.lease(&asked, |_| false, Instant::now()), Err(NoAddress::NoNetwork));
    }
}
