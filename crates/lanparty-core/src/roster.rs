//! A member's own view of its room: who is in it, as the relay announced, and the LAN MTU agreed.

use std::collections::BTreeMap;

use lanparty_proto::{AdmissionPolicy, LanMtu, MacAddr, MemberId, MemberInfo, Role, Source, Welcome};

/// The room as one member knows it.
#[derive(Clone, Debug)]
pub struct Roster {
    own: MemberInfo,
    lan_mtu: LanMtu,
    members: BTreeMap<MemberId, MemberInfo>,
    by_mac: BTreeMap<MacAddr, MemberId>,
}

impl Roster {
    /// The room right after joining it as `role` with `mac`.
    #[must_use]
    pub fn new(role: Role, mac: MacAddr, welcome: &Welcome) -> Self {
        let own = MemberInfo { id: welcome.member, role, mac, lan_up: true };
        let mut roster = Self { own, lan_mtu: welcome.lan_mtu, members: BTreeMap::new(), by_mac: BTreeMap::new() };
        welcome.members.iter().cloned().for_each(|m| roster.insert(m));
        roster
    }

    /// A member joined, or joined anew. A MAC address has one owner: the newest.
    pub fn insert(&mut self, member: MemberInfo) {
        self.remove(member.id);
        if let Some(before) = self.by_mac.insert(member.mac, member.id) {
            self.members.remove(&before);
        }
        self.members.insert(member.id, member);
    }

    /// A member left. Returns what was known of it.
    pub fn remove(&mut self, id: MemberId) -> Option<MemberInfo> {
        let member = self.members.remove(&id)?;
        self.by_mac.remove(&member.mac);
        Some(member)
    }

    /// The room's LAN MTU changed.
    pub const fn set_lan_mtu(&mut self, mtu: LanMtu) {
        self.lan_mtu = mtu;
    }

    /// The LAN behind the gateway went down or came back.
    pub fn set_lan_state(&mut self, up: bool) {
        self.members.values_mut().filter(|m| m.role == Role::Gateway).for_each(|m| m.lan_up = up);
    }

    /// The room's LAN MTU.
    #[must_use]
    pub const fn lan_mtu(&self) -> LanMtu {
        self.lan_mtu
    }

    /// What is admitted into and out of this room.
    #[must_use]
    pub fn policy(&self) -> AdmissionPolicy {
        AdmissionPolicy::new(self.lan_mtu)
    }

    /// This member itself.
    #[must_use]
    pub const fn own(&self) -> &MemberInfo {
        &self.own
    }

    /// Another member by number.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&MemberInfo> {
        self.members.get(&id)
    }

    /// Another member by MAC address.
    #[must_use]
    pub fn by_mac(&self, mac: MacAddr) -> Option<&MemberInfo> {
        self.members.get(self.by_mac.get(&mac)?)
    }

    /// Everybody else, by number.
    pub fn members(&self) -> impl Iterator<Item = &MemberInfo> {
        self.members.values()
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The room's gateway, when there is one and it is not this member.
    #[must_use]
    pub fn gateway(&self) -> Option<&MemberInfo> {
        self.members.values().find(|m| m.role == Role::Gateway)
    }
}

/// How a member's frames are judged: a gateway's may come from any host of its LAN.
pub(crate) const fn source_of(member: &MemberInfo) -> Source {
    match member.role {
        Role::Gateway => Source::Gateway,
        Role::Client => Source::Client(member.mac),
    }
}
