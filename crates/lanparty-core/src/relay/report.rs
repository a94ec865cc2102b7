//! What a relay tells its operator about its rooms (`lanparty status`).
//!
//! Reports are copies of what the relay has: they are made between frames, and put into words elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::Ipv4Net;
use lanparty_proto::{Description, IdentityId, MacAddr, MulticastPolicy, Role, RoomCode};
use serde::{Serialize, Serializer};

use super::room::Room;
use super::{Copies, LinkId, Relay, StandbyReport};
use crate::{Counters, CountersSnapshot, Drops, Rate};

/// A room, with what is known of each of its members.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct RoomReport<M = MemberReport> {
    pub room: String,
    /// What its rule is about: its name, or an expression.
    pub rule: String,
    /// Whether only those who are listed may be in it.
    pub closed: bool,
    pub bandwidth: Option<BandwidthReport>,
    pub lan_mtu: u16,
    /// The member whose path keeps it that small, when it is one of them.
    pub lan_mtu_limited_by: Option<u16>,
    pub multicast: MulticastPolicy,
    pub members: Vec<M>,
    pub standbys: Vec<StandbyReport>,
}

impl<M> RoomReport<M> {
    /// The same room with more, or less, of each member.
    #[must_use]
    pub fn map_members<N>(self, what: impl FnMut(M) -> N) -> RoomReport<N> {
        let Self { room, rule, closed, bandwidth, lan_mtu, lan_mtu_limited_by, multicast, members, standbys } = self;
        let members = members.into_iter().map(what).collect();
        RoomReport { room, rule, closed, bandwidth, lan_mtu, lan_mtu_limited_by, multicast, members, standbys }
    }
}

/// What the relay may send into a room.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct BandwidthReport {
    /// At most so much.
    pub bits_per_second: u64,
    /// So many frames were dropped for that.
    pub frames_dropped: u64,
}

/// A member of a room. Budgets in bytes of datagram; `copies_out` were sent toward it, `copies_dropped` were not, and why.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct MemberReport {
    pub member: u16,
    /// The connection that carries it, for whoever knows more of that.
    #[serde(skip)]
    pub link: LinkId,
    #[serde(serialize_with = "words")]
    #[schemars(with = "String")]
    pub role: Role,
    #[serde(serialize_with = "words")]
    #[schemars(with = "String")]
    pub mac: MacAddr,
    pub remote: String,
    #[serde(serialize_with = "words")]
    #[schemars(with = "String")]
    pub identity: IdentityId,
    pub software: String,
    /// What it calls itself.
    #[serde(serialize_with = "words")]
    #[schemars(with = "String")]
    pub description: Description,
    /// The user that it has proven to be.
    pub user: Option<String>,
    pub joined_s_ago: u64,
    pub lan_up: bool,
    /// What it was assigned.
    #[schemars(with = "Option<String>")]
    pub address: Option<Ipv4Net>,
    /// The multicast groups that it listens to; nothing when it gets all.
    pub groups: Option<Vec<IpAddr>>,
    pub budget_up: u16,
    pub budget_down: u16,
    pub path_mtu: Option<u16>,
    pub copies_out: u64,
    pub copies_dropped: u64,
    #[schemars(with = "BTreeMap<String, u64>")]
    pub copies_dropped_by: Drops,
    pub from_member: CountersSnapshot,
}

fn words<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A room without its members.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct RoomSummary {
    /// Its name.
    #[schemars(with = "String")]
    pub room: RoomCode,
    /// What it carries, in bytes.
    pub lan_mtu: u16,
    /// The member that keeps that so small.
    pub lan_mtu_limited_by: Option<u16>,
    /// How many are in it,
    pub members: usize,
    /// how many of them are gateways,
    pub gateways: usize,
    /// and how many more gateways stand by.
    pub standbys: usize,
}

/// Frames of all members together.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct TrafficReport {
    /// Members that are counted: those that are there now.
    pub members: usize,
    /// Frames from them.
    #[serde(flatten)]
    pub from_members: CountersSnapshot,
    /// Copies that were sent to members.
    pub copies_out: u64,
    /// Copies that were not, by reason.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub copies_dropped: Drops,
}

impl Relay {
    /// What became of all frames that ever came from members, those that have left among them.
    #[must_use]
    pub fn totals(&self) -> CountersSnapshot {
        let mut all = self.gone.clone();
        self.rooms.values().flat_map(Room::members).for_each(|member| all.add_all(&member.counters));
        all.snapshot()
    }

    /// What became of all copies toward members, those that have left among them.
    #[must_use]
    pub fn copies(&self) -> Copies {
        let mut all = self.gone_copies.clone();
        self.rooms.values().flat_map(Room::members).for_each(|member| all.add_all(&member.copies));
        all
    }

    /// What became of the frames of all members that are there.
    #[must_use]
    pub fn traffic(&self) -> TrafficReport {
        let (mut members, mut from, mut copies) = (0, Counters::default(), Copies::default());
        for member in self.rooms.values().flat_map(Room::members) {
            members += 1;
            from.add_all(&member.counters);
            copies.add_all(&member.copies);
        }
        TrafficReport { members, from_members: from.snapshot(), copies_out: copies.out, copies_dropped: copies.dropped }
    }

    /// Every room, without its members.
    #[must_use]
    pub fn summaries(&self) -> Vec<RoomSummary> {
        let summary = |room: &Room| RoomSummary {
            room: room.code().clone(),
            lan_mtu: room.lan_mtu().bytes(),
            lan_mtu_limited_by: room.limited_by().map(|id| id.0),
            members: room.len(),
            gateways: room.lans(),
            standbys: self.standby_reports(room.code()).len(),
        };
        self.rooms.values().map(summary).collect()
    }

    /// Every room and its members.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<RoomReport> {
        self.rooms.values().map(|room| self.room_report(room, now)).collect()
    }

    /// One room and its members.
    #[must_use]
    pub fn report_of(&self, code: &RoomCode, now: Instant) -> Option<RoomReport> {
        Some(self.room_report(self.rooms.get(code)?, now))
    }

    fn room_report(&self, room: &Room, now: Instant) -> RoomReport {
        let limited = |rate: Rate| BandwidthReport { bits_per_second: rate.per_second * 8, frames_dropped: room.over_bandwidth() };
        RoomReport {
            room: room.code().to_string(),
            rule: room.rule().name.to_string(),
            closed: room.rule().is_closed(),
            bandwidth: room.rule().bandwidth.map(limited),
            lan_mtu: room.lan_mtu().bytes(),
            lan_mtu_limited_by: room.limited_by().map(|id| id.0),
            multicast: room.multicast(),
            members: room.members().map(|m| member_report(m, self.addresses.of(room.code(), m.identity), now)).collect(),
            standbys: self.standby_reports(room.code()),
        }
    }
}

fn member_report(m: &super::room::Member, address: Option<Ipv4Net>, now: Instant) -> MemberReport {
    MemberReport {
        member: m.id.0,
        link: m.link,
        role: m.role,
        mac: m.mac,
        remote: m.remote.clone(),
        identity: m.identity,
        software: m.software.clone(),
        description: m.description.clone(),
        user: m.proven.as_ref().map(|proven| proven.user.clone()),
        joined_s_ago: now.saturating_duration_since(m.joined).as_secs(),
        lan_up: m.lan_up,
        address,
        groups: m.groups.list(),
        budget_up: m.budget_up.0,
        budget_down: m.budget_down.0,
        path_mtu: m.way.announced().map(lanparty_proto::LanMtu::bytes),
        copies_out: m.copies.out,
        copies_dropped: m.copies.dropped.total(),
        copies_dropped_by: m.copies.dropped.clone(),
        from_member: m.counters.snapshot(),
    }
}
