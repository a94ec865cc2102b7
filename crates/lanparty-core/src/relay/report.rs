//! What a relay tells its operator about its rooms (`lanparty status`).

use std::net::IpAddr;
use std::time::Instant;

use ipnet::Ipv4Net;
use lanparty_proto::MulticastPolicy;
use serde::Serialize;

use super::room::Room;
use super::{LinkId, Relay, StandbyReport};
use crate::CountersSnapshot;

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
    pub role: String,
    pub mac: String,
    pub remote: String,
    pub identity: String,
    pub software: String,
    /// What it calls itself.
    pub description: String,
    /// The user that it has proven to be.
    pub user: Option<String>,
    pub joined_s_ago: u64,
    pub lan_up: bool,
    /// What it was assigned.
    pub address: Option<String>,
    /// The multicast groups that it listens to; nothing when it gets all.
    pub groups: Option<Vec<IpAddr>>,
    pub budget_up: u16,
    pub budget_down: u16,
    pub path_mtu: Option<u16>,
    pub copies_out: u64,
    pub copies_dropped: u64,
    pub copies_dropped_by: std::collections::BTreeMap<&'static str, u64>,
    pub from_member: CountersSnapshot,
}

impl Relay {
    /// What became of all frames that ever came from members, those that have left among them.
    #[must_use]
    pub fn totals(&self) -> CountersSnapshot {
        let mut all = self.gone.clone();
        self.rooms.values().flat_map(Room::members).for_each(|member| all.add_all(&member.counters));
        all.snapshot()
    }

    /// Every room and its members.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<RoomReport> {
        self.rooms
            .values()
            .map(|room| RoomReport {
                room: room.code().to_string(),
                rule: room.rule().name.to_string(),
                closed: room.rule().is_closed(),
                bandwidth: room
                    .rule()
                    .bandwidth
                    .map(|rate| BandwidthReport { bits_per_second: rate.per_second * 8, frames_dropped: room.over_bandwidth() }),
                lan_mtu: room.lan_mtu().bytes(),
                lan_mtu_limited_by: room.limited_by().map(|id| id.0),
                multicast: room.multicast(),
                members: room.members().map(|m| member_report(m, self.addresses.of(room.code(), m.identity), now)).collect(),
                standbys: self.standby_reports(room.code()),
            })
            .collect()
    }
}

fn member_report(m: &super::room::Member, address: Option<Ipv4Net>, now: Instant) -> MemberReport {
    MemberReport {
        member: m.id.0,
        link: m.link,
        role: m.role.to_string(),
        mac: m.mac.to_string(),
        remote: m.remote.clone(),
        identity: m.identity.to_string(),
        software: m.software.clone(),
        description: m.description.to_string(),
        user: m.proven.as_ref().map(|proven| proven.user.clone()),
        joined_s_ago: now.saturating_duration_since(m.joined).as_secs(),
        lan_up: m.lan_up,
        address: address.map(|address| address.to_string()),
        groups: m.groups.list(),
        budget_up: m.budget_up.0,
        budget_down: m.budget_down.0,
        path_mtu: m.way.announced().map(lanparty_proto::LanMtu::bytes),
        copies_out: m.copies_out,
        copies_dropped: m.copies_dropped.total(),
        copies_dropped_by: m.copies_dropped.snapshot(),
        from_member: m.counters.snapshot(),
    }
}
