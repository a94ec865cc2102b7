//! Who has which address: never two members of a room the same one, and everybody his own again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use lanparty_proto::{IdentityId, OWN_NETWORKS_MAX, RoomCode};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::AddressPool;

/// An address is given to somebody else when there is no other, and its member was away for so long. After a restart everybody was here
/// until just now.
const AWAY_MIN: Duration = Duration::from_secs(3600);
/// Rooms whose addresses are remembered. Beyond it those are forgotten in which nobody was for longest.
const ROOMS_MAX: usize = 4096;
/// Addresses that are remembered in all: a few megabytes, written at once.
const LEASES_MAX: usize = 65_536;
/// Addresses of a room of which its members say that a machine uses them that has set them by hand.
pub(super) const TAKEN_MAX: usize = 16;

/// What a relay keeps between runs: the network of each room, and who has which of its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    pub(super) rooms: BTreeMap<RoomCode, RoomLeases>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoomLeases {
    pub(super) network: Ipv4Net,
    pub(super) members: BTreeMap<IdentityId, Ipv4Addr>,
    /// When each asked last, in this run.
    #[serde(skip)]
    pub(super) asked: BTreeMap<IdentityId, Instant>,
    #[serde(skip)]
    pub(super) taken: BTreeSet<Ipv4Addr>,
    /// What machines were offered that have not taken it yet, and until when it is kept for them.
    #[serde(skip)]
    pub(super) offers: BTreeMap<IdentityId, (Ipv4Addr, Instant)>,
}

/// Somebody asks for an address.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// In this room.
    pub room: &'a RoomCode,
    /// Whose key was proven.
    pub identity: IdentityId,
    /// What it says it had.
    pub had: Option<Ipv4Net>,
    /// The networks its machine is in.
    pub networks: &'a [Ipv4Net],
    /// The networks of this room alone; without any it has one of the pool's.
    pub nets: &'a [Ipv4Net],
}

/// Why there is no address, in words for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The room has a network already that the machine is in elsewhere.
    #[error(
        "the room's network {network} meets {own}, in which this machine is as well, and others have addresses there already; use --address static:… or leave that network"
    )]
    Meets {
        /// The room's.
        network: Ipv4Net,
        /// The machine's.
        own: Ipv4Net,
    },
    /// Every network of the pool is one that the machine is in.
    #[error("every network of the relay's pool {pool} meets one that this machine is in; its operator may choose another --auto-pool")]
    EveryMeets {
        /// All there is.
        pool: AddressPool,
    },
    /// Every network of the room's own is one that the machine is in.
    #[error(
        "every network of the room ({nets}) meets one that this machine is in; leave that one, or ask the relay's operator for another"
    )]
    EveryNetMeets {
        /// All there is.
        nets: String,
    },
    /// All addresses belong to somebody.
    #[error(
        "the room's network {network} is exhausted: {members} members have an address; one that stays away for an hour makes room, or the relay's operator gives it a larger one"
    )]
    Exhausted {
        /// The room's.
        network: Ipv4Net,
        /// Who have one.
        members: usize,
    },
    /// Machines that speak DHCP have as many as they may.
    #[error(
        "the room's network {network} has no address left for machines behind gateways: {machines} have one, and the others are the members'; one that stays away for an hour makes room, or the relay's operator gives it a larger one"
    )]
    MachinesExhausted {
        /// The room's.
        network: Ipv4Net,
        /// Machines that have one.
        machines: usize,
    },
    /// Nobody has an address in this room.
    #[error("the room has no network of addresses")]
    NoNetwork,
    /// More of the room's addresses are said to be in use than one believes.
    #[error("too many addresses of the room are said to be taken by other machines; use --address static:…")]
    TooManyTaken,
}

/// The addresses of all rooms of a relay.
#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    pool: AddressPool,
    /// Makes prefixes that no other relay has.
    key: [u8; 16],
    pub(super) leases: Leases,
    pub(super) started: Option<Instant>,
    pub(super) is_changed: bool,
    /// Networks of rooms that have their own: others have them only when there is nothing else.
    reserved: Vec<Ipv4Net>,
}

impl Leases {
    /// Whether this can be what a relay has written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        for (room, leases) in &self.rooms {
            let mut seen = BTreeSet::new();
            if let Some(address) = leases.members.values().find(|a| !is_host(leases.network, **a) || !seen.insert(**a)) {
                return Err(format!("{address} in room {room}: outside of its network {}, or twice", leases.network));
            }
        }
        Ok(())
    }
}

impl AddressBook {
    /// Addresses of `pool`, as they were left.
    #[must_use]
    pub const fn new(pool: AddressPool, key: [u8; 16], leases: Leases) -> Self {
        Self { pool, key, leases, started: None, is_changed: false, reserved: vec![] }
    }

    /// Leaves these networks to the rooms whose they are, from now on.
    pub fn reserve(&mut self, nets: Vec<Ipv4Net>) {
        self.reserved = nets;
    }

    /// What is to be kept, when it is other than when this was asked last.
    pub fn take_changed(&mut self) -> Option<&Leases> {
        std::mem::take(&mut self.is_changed).then_some(&self.leases)
    }

    /// The address of a member, when it has one.
    #[must_use]
    pub fn of(&self, room: &RoomCode, identity: IdentityId) -> Option<Ipv4Net> {
        let leases = self.leases.rooms.get(room)?;
        Some(with_prefix(leases.network, *leases.members.get(&identity)?))
    }

    /// A member's IPv6 address: the room's prefix, which is `own` or follows from the relay's key, and what follows from the member's key.
    #[must_use]
    pub fn ipv6(&self, room: &RoomCode, identity: IdentityId, own: Option<Ipv6Net>) -> Ipv6Net {
        let digest = self.digest(room);
        let [a, b, c, d, e, interface @ ..] = digest;
        let mut octets = own.map_or([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], |own| own.network().octets());
        for (octet, (key, mask)) in octets[8..].iter_mut().zip(identity.0.iter().zip(interface)) {
            *octet = key ^ mask;
        }
        Ipv6Net::new(Ipv6Addr::from(octets), 64).expect("INVARIANT: 64 is a prefix of IPv6")
    }

    /// An address for whoever asks. `is_here` says who is in that room now, `is_open` in which rooms anybody is.
    ///
    /// # Errors
    /// [`NoAddress`] in words.
    pub fn assign(
        &mut self,
        asked: &Asked<'_>,
        is_here: impl Fn(IdentityId) -> bool,
        is_open: impl Fn(&RoomCode) -> bool,
        now: Instant,
    ) -> Result<Ipv4Net, NoAddress> {
        let started = *self.started.get_or_insert(now);
        self.settle_network(asked)?;
        self.make_room(asked, is_open);
        let start = hash(&asked.identity.0);
        let none = self.every_meets(asked);
        let Some(room) = self.leases.rooms.get_mut(asked.room) else { return Err(none) };
        room.asked.insert(asked.identity, now);
        if let Some(address) = room.members.get(&asked.identity) {
            return Ok(with_prefix(room.network, *address));
        }
        room.forget_offers(now);
        let mut free = room.free(asked.identity, asked.had.map(|net| net.addr()), start);
        if free.is_none() {
            free = room.longest_away(is_here, started, now).and_then(|longest| room.members.remove(&longest));
        }
        let members = room.members.len();
        let address = free.ok_or(NoAddress::Exhausted { network: room.network, members })?;
        room.members.insert(asked.identity, address);
        self.is_changed = true;
        Ok(with_prefix(room.network, address))
    }

    /// Another machine uses a member's address: from now on the member has none, and nobody gets that one.
    ///
    /// # Errors
    /// When that is said too often.
    pub fn give_up(&mut self, room: &RoomCode, identity: IdentityId, address: Ipv4Addr) -> Result<(), NoAddress> {
        let Some(leases) = self.leases.rooms.get_mut(room) else { return Ok(()) };
        if leases.members.get(&identity) != Some(&address) {
            return Ok(());
        }
        if leases.taken.len() >= TAKEN_MAX {
            return Err(NoAddress::TooManyTaken);
        }
        leases.taken.insert(address);
        leases.members.remove(&identity);
        self.is_changed = true;
        Ok(())
    }

    /// Gives the room a network, or another one while nobody else has an address in the one it has.
    fn settle_network(&mut self, asked: &Asked<'_>) -> Result<(), NoAddress> {
        let known = self.leases.rooms.get(asked.room).filter(|room| self.may_have(asked, room.network));
        if let Some(room) = known {
            let network = room.network;
            match asked.networks.iter().take(OWN_NETWORKS_MAX).find(|own| meet(network, **own)) {
                None => return Ok(()),
                Some(own) if room.members.keys().any(|id| *id != asked.identity) => {
                    return Err(NoAddress::Meets { network, own: *own });
                }
                Some(_) => {}
            }
        }
        let network = self.choose_network(asked).ok_or_else(|| self.every_meets(asked))?;
        let room =
            RoomLeases { network, members: BTreeMap::new(), asked: BTreeMap::new(), taken: BTreeSet::new(), offers: BTreeMap::new() };
        self.leases.rooms.insert(asked.room.clone(), room);
        self.is_changed = true;
        Ok(())
    }

    /// The one that the member says the room had, else the next behind where the room's name points: one of no other room, if there is any.
    fn choose_network(&self, asked: &Asked<'_>) -> Option<Ipv4Net> {
        let own = |network: Ipv4Net| asked.networks.iter().take(OWN_NETWORKS_MAX).find(move |own| meet(network, **own));
        let had = asked.had.map(|had| had.trunc()).filter(|had| self.may_have(asked, *had) && own(*had).is_none());
        if !asked.nets.is_empty() {
            return had.or_else(|| asked.nets.iter().find(|net| own(**net).is_none()).copied());
        }
        let of_others: BTreeSet<_> =
            self.leases.rooms.iter().filter(|(code, _)| *code != asked.room).map(|(_, room)| room.network).collect();
        let start = hash(&self.digest(asked.room));
        let search = |spare: &BTreeSet<Ipv4Net>, reserved: &[Ipv4Net]| {
            let is_spared = |network: Ipv4Net| spare.contains(&network) || reserved.iter().any(|net| meet(*net, network));
            let (count, mut at) = (u64::from(self.pool.networks()), start % u64::from(self.pool.networks()));
            let end = at + count;
            while at < end {
                let network = self.pool.network((at % count) as u32);
                match own(network) {
                    None if !is_spared(network) => return Some(network),
                    None => at += 1,
                    // Behind all of it at once: a machine in 10.0.0.0/8 would cost thousands of looks.
                    Some(own) => at += (u64::from(self.pool.behind(*own)).saturating_sub(at % count)).max(1),
                }
            }
            None
        };
        had.or_else(|| search(&of_others, &self.reserved)).or_else(|| search(&BTreeSet::new(), &[]))
    }

    fn may_have(&self, asked: &Asked<'_>, network: Ipv4Net) -> bool {
        if asked.nets.is_empty() { self.pool.contains(network) } else { asked.nets.contains(&network) }
    }

    fn every_meets(&self, asked: &Asked<'_>) -> NoAddress {
        if asked.nets.is_empty() {
            return NoAddress::EveryMeets { pool: self.pool };
        }
        NoAddress::EveryNetMeets { nets: asked.nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") }
    }

    /// Forgets rooms in which nobody is, when there are too many.
    fn make_room(&mut self, asked: &Asked<'_>, is_open: impl Fn(&RoomCode) -> bool) {
        let rooms = &mut self.leases.rooms;
        while rooms.len() > ROOMS_MAX || rooms.values().map(|room| room.members.len()).sum::<usize>() > LEASES_MAX {
            let closed = rooms.iter().filter(|(code, _)| *code != asked.room && !is_open(code));
            let Some(oldest) = closed.min_by_key(|(_, room)| room.asked.values().max().copied()).map(|(code, _)| code.clone()) else {
                return;
            };
            rooms.remove(&oldest);
        }
    }

    /// Pseudo-random (RFC 4193 §3.2), the same as long as the relay keeps its key.
    fn digest(&self, room: &RoomCode) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(room.as_str().as_bytes());
        hasher.finish128().as_bytes()
    }
}

impl RoomLeases {
    /// Who was away for longest, and for long enough.
    pub(super) fn longest_away(&self, is_here: impl Fn(IdentityId) -> bool, started: Instant, now: Instant) -> Option<IdentityId> {
        let away = |id: &IdentityId| now.saturating_duration_since(self.asked.get(id).copied().unwrap_or(started));
        let absent = self.members.keys().filter(|id| !is_here(**id) && away(id) >= AWAY_MIN);
        absent.max_by_key(|id| away(id)).copied()
    }

    /// The first wanted address that is free, else the next behind where the key points.
    pub(super) fn free(&self, id: IdentityId, wanted: impl IntoIterator<Item = Ipv4Addr>, start: u64) -> Option<Ipv4Addr> {
        let offered = self.offers.iter().filter(|(other, _)| **other != id).map(|(_, (address, _))| address);
        let used: BTreeSet<_> = self.members.values().chain(&self.taken).chain(offered).copied().collect();
        let is_free = |address: &Ipv4Addr| is_host(self.network, *address) && !used.contains(address);
        if let Some(address) = wanted.into_iter().find(is_free) {
            return Some(address);
        }
        let (first, last) = (u32::from(self.network.network()), u32::from(self.network.broadcast()));
        // Without the first, which people give to routers, and at most as many looks as there are addresses in use.
        let hosts = u64::from(last - first).saturating_sub(2).max(1);
        let tries = hosts.min(used.len() as u64 + 1);
        (0..tries).map(|n| Ipv4Addr::from(first + 2 + ((start % hosts + n) % hosts) as u32)).find(is_free)
    }
}

pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

pub(super) fn with_prefix(network: Ipv4Net, address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::new(address, network.prefix_len()).unwrap_or(network)
}

/// Neither the network itself nor its broadcast address.
fn is_host(network: Ipv4Net, address: Ipv4Addr) -> bool {
    network.contains(&address) && address != network.network() && address != network.broadcast()
}

fn meet(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests;
