//! A member's own view of its room: who is in it, as the relay announced, and the LAN MTU agreed.

use std::collections::BTreeMap;
use std::time::Instant;

use lanparty_proto::{
    AdmissionPolicy, Control, Described, DropReason, Frame, LanMtu, MacAddr, MemberId, MemberInfo, MulticastPolicy, Role, Source, Welcome,
};

use crate::GroupSet;
use crate::lan_hosts::LanHosts;
use crate::multicast::joined_group;

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
    /// Whether this is a gateway, and there are others: their LANs and this one's are joined.
    joins_lans: bool,
    /// The hosts of those LANs.
    hosts: LanHosts,
    /// Which multicast the room carries, and which this member takes part in.
    multicast: MulticastPolicy,
    own_multicast: MulticastPolicy,
    /// What this host listens to.
    own_groups: GroupSet,
    /// What clients listen to, as far as the relay told.
    groups: BTreeMap<MemberId, GroupSet>,
}

impl Roster {
    /// The room right after joining it as `role` with `mac`.
    #[must_use]
    pub fn new(role: Role, mac: MacAddr, welcome: &Welcome) -> Self {
        let own = MemberInfo { id: welcome.member, role, mac, lan_up: true, path_mtu: None, description: None };
        let (lan_mtu, limited_by) = (welcome.lan_mtu, welcome.limited_by);
        let (members, by_mac, hosts) = (BTreeMap::new(), BTreeMap::new(), LanHosts::default());
        let mut roster = Self {
            own,
            lan_mtu,
            limited_by,
            smallest_path: None,
            members,
            by_mac,
            joins_lans: false,
            hosts,
            multicast: welcome.multicast,
            own_multicast: MulticastPolicy::All,
            own_groups: GroupSet::All,
            groups: BTreeMap::new(),
        };
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
        self.members_changed();
    }

    /// A member left. Returns what was known of it.
    pub fn remove(&mut self, id: MemberId) -> Option<MemberInfo> {
        let member = self.members.remove(&id)?;
        self.by_mac.remove(&member.mac);
        self.limited_by = self.limited_by.filter(|limit| *limit != id);
        self.hosts.forget(id);
        self.groups.remove(&id);
        self.members_changed();
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

    /// What a member calls itself.
    pub fn describe(&mut self, said: &Described) {
        if let Some(member) = self.members.get_mut(&said.id) {
            member.description = Some(said.description.clone());
        }
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

    fn members_changed(&mut self) {
        self.joins_lans = self.own.role == Role::Gateway && self.gateway().is_some();
        self.find_smallest_path();
    }

    fn find_smallest_path(&mut self) {
        self.smallest_path = self.members.values().filter_map(|m| m.path_mtu).min();
    }

    /// What the way to `dst` takes, when it was announced to be below the LAN MTU: that of the member itself, the
    /// smallest of the gateways' for a host behind one of them, the smallest of all for a group address.
    #[must_use]
    pub fn path_mtu(&self, dst: MacAddr) -> Option<LanMtu> {
        let smallest = self.smallest_path?;
        if dst.is_group() {
            return Some(smallest);
        }
        match self.by_mac(dst) {
            Some(member) => member.path_mtu,
            None => self.gateways().filter_map(|gateway| gateway.path_mtu).min(),
        }
    }

    /// The member whose path keeps the LAN MTU as small as it is, when it is one of them.
    #[must_use]
    pub const fn limited_by(&self) -> Option<MemberId> {
        self.limited_by
    }

    /// The LAN behind that gateway, or behind all, went down or came back.
    pub fn set_lan_state(&mut self, gateway: Option<MemberId>, up: bool) {
        let gateways = self.members.values_mut().filter(|m| m.role == Role::Gateway);
        gateways.filter(|m| gateway.is_none_or(|id| id == m.id)).for_each(|m| m.lan_up = up);
    }

    /// The room's LAN MTU.
    #[must_use]
    pub const fn lan_mtu(&self) -> LanMtu {
        self.lan_mtu
    }

    /// What is admitted into and out of this room.
    #[must_use]
    pub fn policy(&self) -> AdmissionPolicy {
        AdmissionPolicy { multicast: self.multicast(), ..AdmissionPolicy::new(self.lan_mtu) }
    }

    /// Which multicast passes here: the stricter of the room's and this member's own choice.
    #[must_use]
    pub fn multicast(&self) -> MulticastPolicy {
        self.multicast.min(self.own_multicast)
    }

    /// Which multicast the room carries.
    #[must_use]
    pub const fn room_multicast(&self) -> MulticastPolicy {
        self.multicast
    }

    /// The room carries this multicast from now on.
    pub const fn set_room_multicast(&mut self, policy: MulticastPolicy) {
        self.multicast = policy;
    }

    /// This member takes part in no more multicast than this.
    pub const fn limit_multicast(&mut self, policy: MulticastPolicy) {
        self.own_multicast = policy;
    }

    /// This host listens to these groups.
    pub fn set_own_groups(&mut self, groups: GroupSet) {
        self.own_groups = groups;
    }

    /// A client listens to these groups.
    pub fn set_groups(&mut self, id: MemberId, groups: GroupSet) {
        if self.members.contains_key(&id) {
            self.groups.insert(id, groups);
        }
    }

    /// What this host listens to.
    #[must_use]
    pub const fn own_groups(&self) -> &GroupSet {
        &self.own_groups
    }

    /// Whether this host listens to the group that a frame from the room is for. A gateway has a LAN of listeners.
    ///
    /// # Errors
    /// [`DropReason::Multicast`].
    pub(crate) fn is_listened_here(&self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let asks = self.own.role == Role::Client && self.multicast() == MulticastPolicy::Snooped && self.own_groups != GroupSet::All;
        match joined_group(frame).filter(|_| asks) {
            Some(group) if !self.own_groups.has(group) => Err(DropReason::Multicast),
            _ => Ok(()),
        }
    }

    /// Whether anybody in the room listens to the group that a frame from a gateway's LAN is for.
    ///
    /// # Errors
    /// [`DropReason::Multicast`].
    pub(crate) fn is_listened_there(&self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let asks = self.own.role == Role::Gateway && self.multicast() == MulticastPolicy::Snooped;
        let Some(group) = joined_group(frame).filter(|_| asks) else { return Ok(()) };
        let wants = |member: &MemberInfo| self.groups.get(&member.id).is_none_or(|groups| groups.has(group));
        if self.members.values().any(wants) { Ok(()) } else { Err(DropReason::Multicast) }
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

    /// The first of the room's gateways that is not this member.
    #[must_use]
    pub fn gateway(&self) -> Option<&MemberInfo> {
        self.gateways().next()
    }

    /// The room's gateways but for this member.
    pub fn gateways(&self) -> impl Iterator<Item = &MemberInfo> {
        self.members.values().filter(|m| m.role == Role::Gateway)
    }

    /// The gateway behind which every host is that is no member: none where the room joins several LANs.
    #[must_use]
    pub fn only_gateway(&self) -> Option<&MemberInfo> {
        self.gateway().filter(|_| self.gateways().count() == 1)
    }

    /// Whether this is a gateway whose LAN the room joins to others.
    #[must_use]
    pub const fn joins_lans(&self) -> bool {
        self.joins_lans
    }

    /// A frame from `src` came from the LAN of `gateway`, which may be this member. Whether that is believed; who joins no LANs learns nothing.
    pub fn learn(&mut self, src: MacAddr, gateway: MemberId, now: Instant) -> bool {
        let is_gateway = || gateway == self.own.id || self.member(gateway).is_some_and(|member| member.role == Role::Gateway);
        if !self.joins_lans || src.is_group() || self.by_mac(src).is_some() || !is_gateway() {
            return true;
        }
        self.hosts.learn(src, gateway, now)
    }

    /// The gateway on whose LAN a host was heard last, as far as this one joins LANs.
    #[must_use]
    pub(crate) fn lan_of(&self, host: MacAddr) -> Option<MemberId> {
        self.hosts.gateway_of(host)
    }
}

/// How a member's frames are judged: a gateway's may come from any host of its LAN.
pub(crate) const fn source_of(role: Role, mac: MacAddr) -> Source {
    match role {
        Role::Gateway => Source::Gateway,
        Role::Client => Source::Client(mac),
    }
}
