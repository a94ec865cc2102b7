//! What a relay says of itself to who asks (docs/management.md).
//!
//! What it knows is copied while its lock is held; another thread puts that into words, so that a thousand members hold up no frame.

use std::borrow::Cow;

use lanparty_core::{Copies, CountersSnapshot, RoomReport, RoomSummary, TrafficReport};
use lanparty_node::{Api, Ask, MembersAsk, Numbers, ProbeReport, Request, Topic};
use lanparty_proto::RoomCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::RunningRelay;
use crate::hub::RoomMember;
use crate::threads::ThreadReport;

const PROGRAM: &str = "lanparty-relay";

/// How a relay is.
#[derive(Serialize, JsonSchema)]
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
    /// The threads that carry members by QUIC.
    threads: Vec<ThreadReport>,
    /// What it answered to those who measure the way here.
    probes: ProbeReport,
    /// Its rooms, with their members.
    rooms: Vec<RoomReport<RoomMember>>,
}

/// A member with its room.
#[derive(Serialize, JsonSchema)]
struct MemberOfRoom {
    /// The room.
    room: String,
    #[serde(flatten)]
    member: RoomMember,
}

/// What a relay answers.
pub(super) fn api() -> Api {
    Api::of::<RelayStatus>(PROGRAM)
        .offering::<Vec<MemberOfRoom>>(Topic::Members)
        .offering::<Vec<RoomSummary>>(Topic::Rooms)
        .offering::<TrafficReport>(Topic::Counters)
}

impl RunningRelay {
    pub(super) fn answer(&self, request: Request) {
        match request.ask() {
            Ask::Status => request.send(self.report()),
            Ask::Members(MembersAsk { room: None }) => send_members(request, self.hub.report()),
            Ask::Members(MembersAsk { room: Some(room) }) => match room.parse().ok().and_then(|room: RoomCode| self.hub.report_of(&room)) {
                Some(room) => send_members(request, vec![room]),
                None => request.refuse_with("no-such-room", "there is no room of that name, or nobody is in it"),
            },
            Ask::Rooms => request.send(self.hub.summaries()),
            Ask::Counters => request.send(self.hub.traffic()),
            Ask::Metrics => {
                let (connections, probes, rooms) = (self.hub.connections(), self.probes.report(), self.hub.summaries());
                let (totals, copies) = (self.hub.totals(), self.hub.copies());
                request.send_text(move || numbers(connections, &probes, &rooms, &totals, &copies).into_text());
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
            threads: self.threads.report(),
            probes: self.probes.report(),
            rooms: self.hub.report(),
        }
    }
}

fn send_members(request: Request, rooms: Vec<RoomReport<RoomMember>>) {
    request.send_made(|| rooms.into_iter().flat_map(members).collect::<Vec<_>>());
}

fn members(room: RoomReport<RoomMember>) -> impl Iterator<Item = MemberOfRoom> {
    let name = room.room;
    room.members.into_iter().map(move |member| MemberOfRoom { room: name.clone(), member })
}

/// Of members one by one there may be too many for a graph, so their rooms are counted.
fn numbers(connections: usize, probes: &ProbeReport, rooms: &[RoomSummary], totals: &CountersSnapshot, copies: &Copies) -> Numbers {
    let mut numbers = Numbers::of(PROGRAM);
    numbers.gauge("connections", "Connections past their handshake", &[], connections as f64);
    numbers.gauge("rooms", "Rooms with somebody in them", &[], rooms.len() as f64);
    for room in rooms {
        let labels = [("room", Cow::from(room.room.to_string()))];
        numbers.gauge("members", "Members of the room", &labels, room.members as f64);
        numbers.gauge("lan_mtu_bytes", "Largest IP packet that the room carries", &labels, room.lan_mtu.into());
    }
    numbers.frames("from_members", totals);
    // As `frames_forwarded`, no counter: one that was sent may be taken back.
    numbers.gauge("copies_sent", "Copies of frames that went to members", &[], copies.out as f64);
    for (reason, dropped) in copies.dropped.every() {
        let labels = [("reason", reason.as_str().into())];
        numbers.count("copies_dropped", "Copies of frames for a member that did not go there, by reason", &labels, dropped);
    }
    for (what, count) in [("answered", probes.answered), ("limited", probes.limited), ("malformed", probes.malformed)] {
        numbers.count("probes", "Questions of those who measure the way here", &[("outcome", what.into())], count);
    }
    numbers
}
