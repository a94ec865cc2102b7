//! One room: its members by number, by MAC address and by connection, and the LAN MTU they agreed on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_proto::{
    Control, DatagramBudget, Described, Description, Frame, IdentityId, LanMtu, MacAddr, MemberId, MemberInfo, MulticastPolicy, Role,
    RoomCode, TrafficClass,
};

use super::{Copies, LinkId};

/// Descriptions that one control message holds with a wide margin.
const DESCRIPTIONS_MAX: usize = 256;
use crate::lan_hosts::LanHosts;
use crate::{
    Counters, FrameLog, GroupSet, LanMtuAgreement, Limits, MemberLimiter, ProvenUser, RoomRule, SHRINK_HOLD, TokenBucket, Watch, WayThere,
};

/// A member as its relay keeps it.
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) role: Role,
    pub(super) mac: MacAddr,
    pub(super) lan_up: bool,
    /// A gateway whose owner agrees that its LAN is joined to others.
    pub(super) joins_lans: bool,
    pub(super) identity: IdentityId,
    /// The user that it has proven to be.
    pub(super) proven: Option<ProvenUser>,
    /// What it calls itself.
    pub(super) description: Description,
    /// The connection that carries it now.
    pub(super) link: LinkId,
    /// What it must know to move to another.
    pub(super) run: u64,
    /// Whether further connections may become paths of its link.
    pub(super) is_bonded: bool,
    pub(super) attaches: TokenBucket,
    pub(super) remote: String,
    pub(super) software: String,
    pub(super) joined: Instant,
    /// When it was last told that somebody else claims its MAC address.
    pub(super) noticed: Option<Instant>,
    /// Largest datagram from the member to the relay, as the member found.
    pub(super) budget_up: DatagramBudget,
    /// Largest datagram from the relay to the member, as the relay found.
    pub(super) budget_down: DatagramBudget,
    /// Round-trip time when that was found.
    pub(super) rtt: Duration,
    pub(super) way: WayThere,
    /// Since when it takes less than the smallest LAN MTU of any room here, and whether it was told.
    pub(super) below: Option<(Instant, bool)>,
    pub(super) limiter: MemberLimiter,
    pub(super) counters: Counters,
    pub(super) copies: Copies,
    pub(super) log: FrameLog,
    /// Its questions about its DHCP.
    pub(super) asks: TokenBucket,
    /// Where others may try to reach it directly, beside where it is seen; nothing while it does not want to be reached so.
    pub(super) named: Option<Vec<SocketAddr>>,
    pub(super) candidate_rate: TokenBucket,
    /// How often it may say that its address is taken.
    pub(super) taken_rate: TokenBucket,
    /// A gateway that hands out the room's addresses by DHCP, as its LAN has none of its own.
    pub(super) has_leases: bool,
    pub(super) lease_rate: TokenBucket,
    /// When it was last told why a machine got none.
    pub(super) no_lease: Option<Instant>,
    /// The multicast groups that it listens to.
    pub(super) groups: GroupSet,
    pub(super) groups_rate: TokenBucket,
}

impl Member {
    pub(super) fn info(&self) -> MemberInfo {
        MemberInfo {
            id: self.id,
            role: self.role,
            mac: self.mac,
            lan_up: self.lan_up,
            path_mtu: self.way.announced(),
            description: self.said(),
        }
    }

    fn said(&self) -> Option<Description> {
        (!self.description.is_empty()).then(|| self.description.clone())
    }

    /// The LAN MTU that this member's path allows in both directions.
    fn lan_mtu_allowed(&self) -> Option<LanMtu> {
        self.budget_up.min(self.budget_down).lan_mtu()
    }
}

/// A room and its members.
pub(super) struct Room {
    code: RoomCode,
    rule: Arc<RoomRule>,
    /// What may be sent to all of its members, in bytes, when that is limited.
    bandwidth: Option<TokenBucket>,
    /// Frames that were dropped for that.
    over_bandwidth: u64,
    /// Boxed: a node of the map has room for eleven, and one member is large.
    members: BTreeMap<MemberId, Box<Member>>,
    by_mac: BTreeMap<MacAddr, MemberId>,
    /// Also connections that a member has left, while frames come from them.
    by_link: BTreeMap<LinkId, MemberId>,
    gateways: BTreeSet<MemberId>,
    /// The hosts of its LANs, while it joins several.
    pub(super) hosts: LanHosts,
    sizes: LanMtuAgreement,
    /// The smallest LAN MTU of any room here.
    minimum: LanMtu,
    /// Which multicast it carries.
    multicast: MulticastPolicy,
    /// Who limits the LAN MTU, as the members were told last.
    told_limit: Option<MemberId>,
    /// What was forwarded of DHCP and searches.
    pub(super) watch: Watch,
    last_id: u16,
}

impl Room {
    pub(super) fn new(
        code: RoomCode,
        first: LanMtu,
        minimum: LanMtu,
        rule: Arc<RoomRule>,
        multicast: MulticastPolicy,
        now: Instant,
    ) -> Self {
        Self {
            code,
            bandwidth: rule.bandwidth.map(|rate| TokenBucket::new(rate, now)),
            rule,
            over_bandwidth: 0,
            members: BTreeMap::new(),
            by_mac: BTreeMap::new(),
            by_link: BTreeMap::new(),
            gateways: BTreeSet::new(),
            hosts: LanHosts::default(),
            sizes: LanMtuAgreement::new(first),
            minimum,
            multicast,
            told_limit: None,
            watch: Watch::default(),
            last_id: 0,
        }
    }

    pub(super) const fn code(&self) -> &RoomCode {
        &self.code
    }

    pub(super) const fn rule(&self) -> &Arc<RoomRule> {
        &self.rule
    }

    /// Another rule holds from now on. What a limit that stays has left, it keeps.
    pub(super) fn set_rule(&mut self, rule: Arc<RoomRule>, limits: Limits, multicast: MulticastPolicy, now: Instant) {
        self.multicast = multicast;
        if rule.bandwidth != self.rule.bandwidth {
            self.bandwidth = rule.bandwidth.map(|rate| TokenBucket::new(rate, now));
        }
        if rule.storm != self.rule.storm {
            for member in self.members.values_mut() {
                member.limiter = MemberLimiter::new(rule.limits(limits, member.role), now);
            }
        }
        self.rule = rule;
    }

    /// Whether `copies` of a frame of `len` bytes are within the room's bandwidth. Without ARP, neighbour discovery and DHCP, which have
    /// limits of their own, a busy room would be none.
    pub(super) fn admits_bytes(&mut self, frame: &Frame<'_>, len: usize, copies: usize, now: Instant) -> bool {
        let Some(bucket) = &mut self.bandwidth else { return true };
        if matches!(frame.class(), TrafficClass::ArpNd | TrafficClass::Dhcp) {
            return true;
        }
        // A frame to more members than the burst has room for passes seldom, but not never.
        let admitted = bucket.take((len as u64).saturating_mul(copies as u64).min(bucket.burst()), now);
        self.over_bandwidth += u64::from(!admitted);
        admitted
    }

    /// Frames that were dropped because the room's bandwidth was used up.
    pub(super) const fn over_bandwidth(&self) -> u64 {
        self.over_bandwidth
    }

    /// Everybody but `id`, as a welcome lists them.
    pub(super) fn infos(&self, id: MemberId) -> Vec<MemberInfo> {
        let others = self.members.values().filter(|member| member.id != id);
        others.map(|member| MemberInfo { description: None, ..member.info() }).collect()
    }

    /// What everybody but `id` calls itself.
    pub(super) fn descriptions(&self, id: MemberId) -> Vec<Control> {
        let others = self.members.values().filter(|member| member.id != id);
        let all: Vec<_> = others.filter_map(|m| Some(Described { id: m.id, description: m.said()? })).collect();
        all.chunks(DESCRIPTIONS_MAX).map(|members| Control::Descriptions { members: members.to_vec() }).collect()
    }

    pub(super) const fn sizes(&mut self) -> &mut LanMtuAgreement {
        &mut self.sizes
    }

    pub(super) const fn lan_mtu(&self) -> LanMtu {
        self.sizes.agreed()
    }

    pub(super) const fn multicast(&self) -> MulticastPolicy {
        self.multicast
    }

    /// The number a newcomer gets: the one it had when that is free, else the next that nobody had for longest.
    pub(super) fn free_id(&mut self, wanted: Option<MemberId>) -> MemberId {
        if let Some(id) = wanted.filter(|id| id.0 != 0 && !self.members.contains_key(id)) {
            self.last_id = self.last_id.max(id.0);
            return id;
        }
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            let id = MemberId(self.last_id);
            // Rooms hold far fewer members than there are numbers, so this ends.
            if !self.members.contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn insert(&mut self, member: Member) {
        if member.role == Role::Gateway {
            self.gateways.insert(member.id);
        }
        self.by_mac.insert(member.mac, member.id);
        self.by_link.insert(member.link, member.id);
        self.members.insert(member.id, Box::new(member));
    }

    /// Takes the member off whose connection this is; off a connection that it has left before, only that one.
    pub(super) fn remove(&mut self, link: LinkId) -> Option<Box<Member>> {
        let id = self.by_link.remove(&link)?;
        if self.members.get(&id).is_some_and(|member| member.link != link) {
            return None;
        }
        let member = self.members.remove(&id)?;
        self.by_link.retain(|_, other| *other != id);
        self.by_mac.remove(&member.mac);
        if self.gateways.remove(&id) {
            self.hosts.forget(id);
        }
        self.told_limit = self.told_limit.filter(|limit| *limit != id);
        Some(member)
    }

    /// Lets another connection carry a member. The one that did.
    pub(super) fn set_link(&mut self, id: MemberId, link: LinkId) -> Option<LinkId> {
        let before = std::mem::replace(&mut self.members.get_mut(&id)?.link, link);
        self.by_link.insert(link, id);
        Some(before)
    }

    /// Whether this connection carries its member now.
    pub(super) fn is_current(&self, link: LinkId) -> bool {
        self.id_of(link).and_then(|id| self.members.get(&id)).is_some_and(|member| member.link == link)
    }

    pub(super) fn id_of(&self, link: LinkId) -> Option<MemberId> {
        self.by_link.get(&link).copied()
    }

    pub(super) fn by_mac(&self, mac: MacAddr) -> Option<&Member> {
        self.members.get(self.by_mac.get(&mac)?).map(Box::as_ref)
    }

    pub(super) fn by_mac_mut(&mut self, mac: MacAddr) -> Option<&mut Member> {
        self.members.get_mut(self.by_mac.get(&mac)?).map(Box::as_mut)
    }

    /// One for each of the room's LANs.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &Member> {
        self.gateways.iter().filter_map(|id| self.members.get(id).map(Box::as_ref))
    }

    pub(super) fn gateway(&self, id: MemberId) -> Option<&Member> {
        self.members.get(self.gateways.get(&id)?).map(Box::as_ref)
    }

    pub(super) fn lans(&self) -> usize {
        self.gateways.len()
    }

    pub(super) fn by_identity(&self, identity: IdentityId) -> Option<&Member> {
        self.members().find(|m| m.identity == identity)
    }

    pub(super) fn member_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(Box::as_ref)
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut().map(Box::as_mut)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.members.values().map(|m| m.link)
    }

    pub(super) fn others(&self, id: MemberId) -> impl Iterator<Item = LinkId> {
        self.members.values().filter(move |m| m.id != id).map(|m| m.link)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn set_budget_up(&mut self, id: MemberId, budget: DatagramBudget) {
        if let Some(member) = self.members.get_mut(&id) {
            member.budget_up = budget;
        }
    }

    pub(super) fn set_way_down(&mut self, id: MemberId, budget: DatagramBudget, rtt: Duration) {
        if let Some(member) = self.members.get_mut(&id) {
            (member.budget_down, member.rtt) = (budget, rtt);
        }
    }

    /// Whether this told anything new: only the gateway has a LAN.
    pub(super) fn set_lan_state(&mut self, id: MemberId, up: bool) -> bool {
        match self.members.get_mut(&id) {
            Some(member) if member.role == Role::Gateway && member.lan_up != up => {
                member.lan_up = up;
                true
            }
            _ => false,
        }
    }

    /// The new LAN MTU, when the members' paths have allowed another one for long enough.
    pub(super) fn observe_sizes(&mut self, now: Instant) -> Option<LanMtu> {
        let known = self.members().filter_map(Member::lan_mtu_allowed);
        let (count, allowed) = known.fold((0, LanMtu::MAX), |(count, min), mtu| (count + 1, min.min(mtu)));
        // A path that takes nothing for a moment says nothing about how small it is: until it does, the room only shrinks.
        let allowed = if count == self.members.len() { allowed } else { allowed.min(self.sizes.agreed()) };
        self.sizes.observe(allowed.max(self.minimum), now)
    }

    /// The members that have taken less than the minimum for as long as a room waits before it follows, and what they take; each once.
    pub(super) fn observe_below(&mut self, now: Instant) -> Vec<(LinkId, MemberId, LanMtu)> {
        let (minimum, mut news) = (self.minimum, vec![]);
        for member in self.members.values_mut() {
            let Some(mtu) = member.lan_mtu_allowed().filter(|mtu| *mtu < minimum) else {
                member.below = None;
                continue;
            };
            let (since, told) = member.below.get_or_insert((now, false));
            if !*told && now.saturating_duration_since(*since) >= SHRINK_HOLD {
                *told = true;
                news.push((member.link, member.id, mtu));
            }
        }
        news
    }

    /// The members whose way has become smaller than the LAN MTU, or large enough again, and to what.
    pub(super) fn observe_ways(&mut self, now: Instant) -> Vec<(MemberId, Option<LanMtu>)> {
        let agreed = self.lan_mtu();
        let observed = self.members.values_mut().filter_map(|m| Some((m.id, m.way.observe(m.budget_down, agreed, m.rtt, now)?)));
        observed.collect()
    }

    /// What the members are told when the LAN MTU has `changed`, or when it is another one that limits it: a member that was alone limited
    /// nobody as it joined. That several take no more is no news: it would only tell of each moment in which another path is small.
    pub(super) fn size_news(&mut self, changed: Option<LanMtu>) -> Option<Control> {
        let limited_by = self.limited_by();
        if changed.is_none() && (limited_by.is_none() || limited_by == self.told_limit) {
            return None;
        }
        self.told_limit = limited_by;
        Some(Control::LanMtu { mtu: self.lan_mtu(), limited_by })
    }

    /// The member that keeps the LAN MTU as small as it is, when the others would allow more.
    pub(super) fn limited_by(&self) -> Option<MemberId> {
        let agreed = self.lan_mtu();
        let (at, above): (Vec<&Member>, Vec<&Member>) = self.members().partition(|m| m.lan_mtu_allowed().is_some_and(|mtu| mtu <= agreed));
        match at[..] {
            [one] if !above.is_empty() => Some(one.id),
            _ => None,
        }
    }
}
