//! What every member says of itself, be it a client or a gateway (docs/management.md).

use std::borrow::Cow;

use lanparty_core::{FilterReport, Roster};
use lanparty_doctor::Finding;
use lanparty_nic::Device;
use lanparty_proto::{LanMtu, MacAddr, MemberId, MemberInfo, RoomCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::management::{Api, Ask, Numbers, Request, Topic};
use crate::session::{Session, WayReport};
use crate::{BondReport, DriverReport, Link, MemberFlags, PeerReport};

/// How a member is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MemberStatus {
    /// Its room.
    pub room: RoomCode,
    /// The relay, as it was named.
    pub relay: String,
    /// Whether it is joined.
    pub relay_reachable: bool,
    /// Its number in the room, while joined.
    pub peer: Option<MemberId>,
    /// The others in the room. While the relay is away, those who were there when it went, as long as there is a direct link to any of them.
    pub members: Vec<MemberInfo>,
    /// The interface with its frames: a TAP, or a LAN's.
    pub interface: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// What it carries, in bytes.
    pub lan_mtu: Option<LanMtu>,
    /// The member that keeps that so small.
    pub lan_mtu_limited_by: Option<MemberId>,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would describe the whole in the schema")]
    pub paths: MemberPaths,
    /// What became of its frames.
    pub frames: DriverReport,
    /// What is wrong with the room.
    pub findings: Vec<Finding>,
    /// What its device counted, in the device's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// By which ways a member reaches the others.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MemberPaths {
    /// Round-trip time to the relay.
    pub rtt_ms: Option<f64>,
    /// How the relay is reached, while joined.
    pub way: Option<WayReport>,
    /// The uplinks that are used at once, when they are.
    pub bond: Option<BondReport>,
    /// How every other member is reached.
    pub peers: Vec<PeerReport>,
    /// Packets sent to the relay.
    pub packets_sent: u64,
    /// How many of them were lost.
    pub packets_lost: u64,
}

impl<D: Device> Session<D> {
    /// How this member is.
    pub fn member_status(&mut self, flags: &MemberFlags, interface: &str, mac: MacAddr) -> MemberStatus {
        let device = self.driver.device().map(|device| format!("{:?}", device.device_ref().stats()));
        let (link, peer) = (self.driver.link(), self.roster().map(|r| r.own().id));
        let roster = self.driver.known_room();
        let (packets_sent, packets_lost) = link.map_or((0, 0), Link::packets);
        MemberStatus {
            room: flags.room.clone(),
            relay: flags.relay.to_string(),
            relay_reachable: peer.is_some(),
            peer,
            members: roster.map(|r| r.members().cloned().collect()).unwrap_or_default(),
            interface: interface.to_owned(),
            mac,
            lan_mtu: roster.map(Roster::lan_mtu),
            lan_mtu_limited_by: roster.and_then(Roster::limited_by),
            paths: MemberPaths {
                rtt_ms: link.and_then(Link::rtt).map(|rtt| rtt.as_secs_f64() * 1e3),
                way: self.way(),
                bond: self.bond(),
                peers: self.driver.peer_reports(),
                packets_sent,
                packets_lost,
            },
            frames: self.driver.report(),
            findings: self.driver.findings(),
            device,
        }
    }
}

impl MemberStatus {
    /// Answers what can be answered from this.
    pub fn answer(self, request: Request) {
        match request.ask() {
            Ask::Members(ask) if ask.room.as_ref().is_none_or(|room| *room == self.room.to_string()) => request.send(self.members),
            Ask::Members(_) => request.refuse_with("no-such-room", &format!("this member is in room {}", self.room)),
            Ask::Paths => request.send(self.paths),
            Ask::Counters => request.send(self.frames),
            Ask::Filters => request.send(self.frames.filter),
            _ => request.refuse(),
        }
    }

    /// Its numbers.
    #[must_use]
    pub fn numbers(&self, program: &'static str) -> Numbers {
        let mut numbers = Numbers::of(program);
        let room = [("room", Cow::from(self.room.to_string()))];
        numbers.gauge("joined", "Whether this member is in its room", &room, f64::from(u8::from(self.relay_reachable)));
        numbers.gauge("members", "Other members in the room", &room, self.members.len() as f64);
        if let Some(lan_mtu) = self.lan_mtu {
            numbers.gauge("lan_mtu_bytes", "Largest IP packet that the room carries", &room, lan_mtu.bytes().into());
        }
        if let Some(rtt) = self.paths.rtt_ms {
            numbers.gauge("relay_rtt_seconds", "Round-trip time to the relay", &[], rtt / 1e3);
        }
        numbers.frames("outbound", &self.frames.outbound);
        numbers.frames("inbound", &self.frames.inbound);
        numbers.gauge("frames_queued", "Frames that wait for the path", &[], self.frames.queued as f64);
        let direct = self.paths.peers.iter().filter(|peer| peer.because.is_none()).count();
        numbers.gauge("peers_direct", "Members that are reached without the relay", &room, direct as f64);
        if let Some(bond) = &self.paths.bond {
            bond.add_to(&mut numbers);
        }
        numbers
    }
}

impl BondReport {
    /// The numbers of each path.
    pub fn add_to(&self, numbers: &mut Numbers) {
        for path in &self.paths {
            let name = [("path", Cow::from(path.name.clone()))];
            numbers.gauge("path_alive", "Whether the path carries anything now", &name, f64::from(u8::from(path.is_alive)));
            numbers.count("path_packets_sent", "Packets sent by the path's connection", &name, path.packets.0);
            numbers.count("path_packets_lost", "How many of them were lost", &name, path.packets.1);
            numbers.count("path_bytes_sent", "Bytes of datagrams sent by the path", &name, path.bytes.0);
            numbers.count("path_bytes_received", "Bytes of datagrams received by the path", &name, path.bytes.1);
            if let Some(rtt) = path.rtt_ms {
                numbers.gauge("path_rtt_seconds", "Round-trip time of the path", &name, rtt / 1e3);
            }
        }
    }
}

/// What every member offers, with a `Status` of its own.
#[must_use]
pub fn member_api<Status: JsonSchema>(program: &'static str) -> Api {
    Api::of::<Status>(program)
        .offering::<Vec<MemberInfo>>(Topic::Members)
        .offering::<MemberPaths>(Topic::Paths)
        .offering::<DriverReport>(Topic::Counters)
        .offering::<Option<FilterReport>>(Topic::Filters)
        .offering::<Value>(Topic::ExamineRoom)
        .offering::<Value>(Topic::Ping)
        .offering::<Value>(Topic::TestBond)
        .offering::<()>(Topic::AddUplink)
        .offering::<()>(Topic::RemoveUplink)
        .offering::<()>(Topic::Leave)
}
