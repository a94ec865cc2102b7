//! What a relay says of itself to who asks (docs/management.md).
//!
//! What it knows is copied while its lock is held; another thread puts that into words, so that a thousand members hold up no frame.

use std::borrow::Cow;

use lanparty_core::{CountersSnapshot, RoomReport};
use lanparty_node::{Api, Ask, MembersAsk, Numbers, ProbeReport, Request, Topic};
use schemars::JsonSchema;
use serde::Serialize;

use super::RunningRelay;
use crate::hub::RoomMember;

const PROGRAM: &str = "lanparty-relay";

/// How a relay is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RelayStatus {
    /// The program.
    program: &'static str,
    /// Its version.
    version: &'static str,
    /// Where it takes QUIC.
    listen: String,
    /// Where it takes streams.
    listen_tls: Option<String>,
    /// Connections past their handshake.
    connections: usize,
    /// What it answered to those who measure the way here.
    probes: ProbeReport,
    /// Its rooms, with their members.
    rooms: Vec<RoomReport<RoomMember>>,
}

/// A member with its room.
#[derive(Debug, Serialize, JsonSchema)]
struct MemberOfRoom {
    /// The room.
    room: String,
    #[serde(flatten)]
    member: RoomMember,
}

/// A room without its members.
#[derive(Debug, Serialize, JsonSchema)]
struct RoomSummary {
    /// Its name.
    room: String,
    /// What it carries, in bytes.
    lan_mtu: u16,
    /// The member that keeps that so small.
    lan_mtu_limited_by: Option<u16>,
    /// How many are in it,
    members: usize,
    /// how many of them are gateways,
    gateways: usize,
    /// and how many more gateways stand by.
    standbys: usize,
}

/// Frames of all members together.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct RelayCounters {
    /// Members that are counted: those that are there now.
    members: usize,
    /// Frames that came from them.
    frames_in: u64,
    /// Their bytes.
    bytes_in: u64,
    /// Frames that went on, each to one member or many.
    forwarded: u64,
    /// Frames that did not, by reason.
    dropped: std::collections::BTreeMap<&'static str, u64>,
    /// Copies that were sent to members.
    copies_out: u64,
    /// Copies that were not, by reason.
    copies_dropped: std::collections::BTreeMap<&'static str, u64>,
}

/// What a relay answers.
pub(super) fn api() -> Api {
    Api::of::<RelayStatus>(PROGRAM)
        .offering::<Vec<MemberOfRoom>>(Topic::Members)
        .offering::<Vec<RoomSummary>>(Topic::Rooms)
        .offering::<RelayCounters>(Topic::Counters)
}

impl RunningRelay {
    pub(super) fn answer(&self, request: Request) {
        match request.ask() {
            Ask::Status => request.send(self.report()),
            Ask::Members(MembersAsk { room }) => {
                let is_meant = |found: &RoomReport<RoomMember>| room.as_ref().is_none_or(|room| *room == found.room);
                let rooms: Vec<_> = self.hub.report().into_iter().filter(is_meant).collect();
                if room.is_some() && rooms.is_empty() {
                    return request.refuse_with("no-such-room", "there is no room of that name, or nobody is in it");
                }
                request.send(rooms.into_iter().flat_map(members).collect::<Vec<_>>());
            }
            Ask::Rooms => request.send(self.hub.report().iter().map(summary).collect::<Vec<_>>()),
            Ask::Counters => request.send(counters(&self.hub.report())),
            Ask::Metrics => {
                let (status, totals) = (self.report(), self.hub.totals());
                request.send_text(move || numbers(&status, &totals).into_text());
            }
            _ => request.refuse(),
        }
    }

    /// What `lanparty status` shows.
    #[must_use]
    pub fn report(&self) -> RelayStatus {
        RelayStatus {
            program: PROGRAM,
            version: env!("CARGO_PKG_VERSION"),
            listen: self.listen.to_string(),
            listen_tls: self.streams.report(),
            connections: self.hub.connections(),
            probes: self.probes.report(),
            rooms: self.hub.report(),
        }
    }
}

fn members(room: RoomReport<RoomMember>) -> impl Iterator<Item = MemberOfRoom> {
    let name = room.room;
    room.members.into_iter().map(move |member| MemberOfRoom { room: name.clone(), member })
}

fn summary(room: &RoomReport<RoomMember>) -> RoomSummary {
    RoomSummary {
        room: room.room.clone(),
        lan_mtu: room.lan_mtu,
        lan_mtu_limited_by: room.lan_mtu_limited_by,
        members: room.members.len(),
        gateways: room.members.iter().filter(|member| member.is_gateway()).count(),
        standbys: room.standbys.len(),
    }
}

fn counters(rooms: &[RoomReport<RoomMember>]) -> RelayCounters {
    let mut all = RelayCounters::default();
    for member in rooms.iter().flat_map(|room| &room.members).map(|member| &member.report) {
        all.members += 1;
        all.frames_in += member.from_member.frames_in;
        all.bytes_in += member.from_member.bytes_in;
        all.forwarded += member.from_member.forwarded;
        all.copies_out += member.copies_out;
        member.from_member.dropped.iter().for_each(|(reason, n)| *all.dropped.entry(reason).or_default() += n);
        member.copies_dropped_by.iter().for_each(|(reason, n)| *all.copies_dropped.entry(reason).or_default() += n);
    }
    all
}

/// Of members one by one there may be too many for a graph, so their rooms are counted.
fn numbers(status: &RelayStatus, totals: &CountersSnapshot) -> Numbers {
    let mut numbers = Numbers::of(PROGRAM);
    numbers.gauge("connections", "Connections past their handshake", &[], status.connections as f64);
    numbers.gauge("rooms", "Rooms with somebody in them", &[], status.rooms.len() as f64);
    for room in &status.rooms {
        let labels = [("room", Cow::from(room.room.clone()))];
        numbers.gauge("members", "Members of the room", &labels, room.members.len() as f64);
        numbers.gauge("lan_mtu_bytes", "Largest IP packet that the room carries", &labels, room.lan_mtu.into());
    }
    numbers.frames("from_members", totals);
    for (what, count) in [("answered", status.probes.answered), ("limited", status.probes.limited), ("malformed", status.probes.malformed)]
    {
        numbers.count("probes", "Questions of those who measure the way here", &[("outcome", what.into())], count);
    }
    numbers
}
