//! A member's own view of its room: who is in it, as the relay announced, and the LAN MTU agreed.

use std::collections::BTreeMap;

use lanparty_proto::{AdmissionPolicy, Control, LanMtu, MacAddr, MemberId, MemberInfo, Role, Source, Welcome};

/// The room as one member knows it.
#[derive(Clone, Debug)]
pub struct Roster {
    own: MemberInfo,
    lan_mtu: LanMtu,
    limited_by: Option<MemberId>,
    /// The smallest path that was announced, so that a room without one asks nothing per frame.
    smallest_path: Option<LanMtu>,
    members: BTreeMap<MemberId, MemberInfo>,
    by_mac: BTreeMap<MacAddr, MemberId>,
}

impl Roster {
    /// The room right after joining it as `role` with `mac`.
    #[must_use]
    pub fn new(role: Role, mac: MacAddr, welcome: &Welcome) -> Self {
        let own = MemberInfo { id: welcome.member, role, mac, lan_up: true, path_mtu: None };
        let (lan_mtu, limited_by) = (welcome.lan_mtu, welcome.limited_by);
        let mut roster = Self { own, lan_mtu, limited_by, smallest_path: None, members: BTreeMap::new(), by_mac: BTreeMap::new() };
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
        self.find_smallest_path();
    }

    /// A member left. Returns what was known of it.
    pub fn remove(&mut self, id: MemberId) -> Option<MemberInfo> {
        let member = self.members.remove(&id)?;
        self.by_mac.remove(&member.mac);
        self.limited_by = self.limited_by.filter(|limit| *limit != id);
        self.find_smallest_path();
        Some(member)
    }

    /// The room's LAN MTU changed, or who keeps it that small: `limited_by`.
    pub const fn set_lan_mtu(&mut self, mtu: LanMtu, limited_by: Option<MemberId>) {
        self.lan_mtu = mtu;
        self.limited_by = limited_by;
    }

    /// The way to a member takes only `mtu` for now, or the LAN MTU again.
    pub fn set_path_mtu(&mut self, id: MemberId, mtu: Option<LanMtu>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.path_mtu = mtu;
        }
        self.find_smallest_path();
    }

    /// What the relay would have told a member whose roster was `before`, for it to be as it is now.
    #[must_use]
    pub fn news_since(&self, before: &Self) -> Vec<Control> {
        let left = before.members.keys().filter(|id| !self.members.contains_key(id));
        let left = left.map(|id| Control::MemberLeft { id: *id, reason: "left meanwhile".to_owned() });
        let joined = self.members.values().filter(|now| before.members.get(&now.id).is_none_or(|known| known.mac != now.mac));
        let joined = joined.map(|member| Control::MemberJoined { member: member.clone() });
        let sizes = (self.lan_mtu != before.lan_mtu).then_some(Control::LanMtu { mtu: self.lan_mtu, limited_by: self.limited_by });
        left.chain(joined).chain(sizes).collect()
    }

    fn find_smallest_path(&mut self) {
        self.smallest_path = self.members.values().filter_map(|m| m.path_mtu).min();
    }

    /// What the way to `dst` takes, when it was announced to be below the LAN MTU: that of the member itself, that of the
    /// gateway for a host behind it, the smallest of all for a group address.
    #[must_use]
    pub fn path_mtu(&self, dst: MacAddr) -> Option<LanMtu> {
        let smallest = self.smallest_path?;
        if dst.is_group() {
            return Some(smallest);
        }
        self.by_mac(dst).or_else(|| self.gateway())?.path_mtu
    }

    /// The member whose path keeps the LAN MTU as small as it is, when it is one of them.
    #[must_use]
    pub const fn limited_by(&self) -> Option<MemberId> {
        self.limited_by
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
