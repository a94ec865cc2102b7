//! The reference: who is in which room, and who should get what. Small enough to be believed, and written without a
//! look at the relay: it follows what was said on the wire, not what the relay keeps.

use std::collections::{BTreeMap, BTreeSet};

use lanparty_proto::{MacAddr, MemberId, Role};

/// One who was welcomed and has not left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) room: String,
    pub(super) id: MemberId,
    pub(super) mac: MacAddr,
    pub(super) role: Role,
}

/// Everybody present, by connection.
#[derive(Default)]
pub(super) struct Model {
    present: BTreeMap<u64, Present>,
}

impl Model {
    pub(super) fn welcome(&mut self, connection: u64, who: Present) {
        self.present.insert(connection, who);
    }

    pub(super) fn gone(&mut self, connection: u64) {
        self.present.remove(&connection);
    }

    pub(super) fn all_gone(&mut self) {
        self.present.clear();
    }

    pub(super) fn get(&self, connection: u64) -> Option<&Present> {
        self.present.get(&connection)
    }

    pub(super) fn present(&self) -> impl Iterator<Item = (u64, &Present)> {
        self.present.iter().map(|(connection, who)| (*connection, who))
    }

    /// May the one on `connection` send as `src`? A gateway speaks for everybody on its LAN and for no member.
    pub(super) fn may_speak_as(&self, connection: u64, src: MacAddr) -> bool {
        let Some(who) = self.present.get(&connection) else { return false };
        match who.role {
            Role::Client => who.mac == src,
            Role::Gateway => self.neighbours(connection).all(|(_, other)| other.mac != src),
        }
    }

    /// Exactly those who should get a frame to `dst`.
    pub(super) fn receivers(&self, connection: u64, dst: MacAddr) -> BTreeSet<u64> {
        if dst.is_group() {
            return self.neighbours(connection).map(|(to, _)| to).collect();
        }
        if self.present.get(&connection).is_some_and(|own| own.mac == dst) {
            return BTreeSet::new();
        }
        let owner = self.neighbours(connection).find(|(_, other)| other.mac == dst);
        let gateway = || self.neighbours(connection).find(|(_, other)| other.role == Role::Gateway);
        owner.or_else(gateway).map(|(to, _)| to).into_iter().collect()
    }

    /// The others in the same room.
    pub(super) fn neighbours(&self, connection: u64) -> impl Iterator<Item = (u64, &Present)> {
        let room = self.present.get(&connection).map(|who| who.room.as_str());
        self.present().filter(move |(other, who)| *other != connection && Some(who.room.as_str()) == room)
    }
}
