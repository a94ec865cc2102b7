//! What a member knows of its room, for the doctor: who is there, how far DHCP came, who looks for what. For its own DHCP a
//! client asks the relay and the gateways, and waits a moment for them.

use std::time::{Duration, Instant};

use lanparty_core::{Neighbours, Point, Roster, SeenSearch, Watch};
use lanparty_doctor::{
    Code, DhcpTrace, Discovery, DiscoveryKind, Duplicate, Finding, MemberFacts, RoomFacts, Sighting, discovery_kind, room_findings,
    uplink_findings,
};
use lanparty_nic::Device;
use lanparty_proto::{Control, DATAGRAM_HEADER_LEN, DhcpSights, MacAddr, MemberId, MemberInfo, Role};
use serde_json::{Value, json};
use tracing::warn;

use super::{Connected, MemberDriver};
use crate::management::Answers;

/// Time for relay and gateways to answer.
const ANSWER_WAIT: Duration = Duration::from_millis(1500);
/// Questions at once: more than people ask.
const INQUIRIES_MAX: usize = 4;
/// How long a question may take through the room before it has got lost, and an answer: DHCP servers look for a free
/// address first, for up to three seconds.
const QUESTION_PATIENCE: Duration = Duration::from_secs(1);
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// A question that is younger than this may not have come through the room yet.
const IN_FLIGHT: Duration = Duration::from_millis(200);
/// What others saw of a question may seem older than the question itself by as much as clocks are read unevenly.
const SLACK: Duration = Duration::from_millis(100);
/// A copied identity that was seen longer ago has been put right, or is seen again.
const REPLACED_KEPT: Duration = Duration::from_secs(600);
/// Searches without a name that are listed: the rest of a chatty LAN's broadcast says nothing more.
const OTHERS_MAX: usize = 20;

/// What passes this node.
#[derive(Default)]
pub(super) struct Observed {
    watch: Watch,
    neighbours: Option<Neighbours>,
    inquiries: Vec<Inquiry>,
    /// The device leads nowhere: what enters it is on no wire.
    is_unplugged: bool,
    /// Where the machine is that had this identity before, and when that was seen.
    replaced: Option<(String, Instant)>,
    /// Findings that were logged and still hold.
    said: Vec<Code>,
}

/// Somebody waits for others' answers.
struct Inquiry {
    answers: Answers,
    room: String,
    has_lease: Option<bool>,
    until: Instant,
    relay: Option<DhcpSights>,
    gateway: Option<(MemberId, DhcpSights)>,
    is_on_lan: bool,
    other_gateways: Vec<MacAddr>,
}

impl Observed {
    /// A room was joined; `replaced` says where another machine of this identity was in it.
    pub(super) fn join(&mut self, replaced: Option<String>) {
        if let Some(elsewhere) = &replaced {
            warn!(
                "duplicate-identity: a machine at {elsewhere} was in the room with this identity; start the copied one once with --new-identity"
            );
        }
        self.replaced = replaced.map(|elsewhere| (elsewhere, Instant::now())).or_else(|| self.replaced.take());
    }

    /// Frames at `point`.
    pub(super) fn look<'a>(&mut self, frames: impl IntoIterator<Item = &'a [u8]>, point: Point, now: Instant) {
        if self.is_unplugged && point == Point::ToDevice {
            return;
        }
        for frame in frames {
            self.watch.look(frame, point, now);
        }
    }

    /// Datagrams at `point`.
    pub(super) fn look_inside<'a>(&mut self, datagrams: impl IntoIterator<Item = &'a bytes::Bytes>, point: Point, now: Instant) {
        self.look(datagrams.into_iter().filter_map(|datagram| datagram.get(DATAGRAM_HEADER_LEN..)), point, now);
    }

    /// Frames of a gateway's LAN: another gateway that was not known before.
    pub(super) fn look_around<'a>(
        &mut self,
        frames: impl IntoIterator<Item = &'a [u8]>,
        roster: Option<&Roster>,
        now: Instant,
    ) -> Option<MacAddr> {
        let neighbours = self.neighbours.as_mut()?;
        // All of them are looked at, also behind one that is new.
        frames.into_iter().filter_map(|frame| neighbours.look(frame, roster, now)).last()
    }

    /// When an inquiry has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.inquiries.iter().map(|inquiry| inquiry.until).min()
    }

    /// What the relay or a gateway saw.
    pub(super) fn hear(&mut self, message: &Control) {
        let Control::Sightings { by, dhcp, is_on_lan, other_gateways, .. } = message else { return };
        for inquiry in &mut self.inquiries {
            match by {
                None => inquiry.relay = Some(*dhcp),
                Some(id) => inquiry.gateway = Some((*id, *dhcp)),
            }
            inquiry.is_on_lan |= is_on_lan;
            inquiry.other_gateways.extend(other_gateways);
        }
    }
}

impl<D: Device> MemberDriver<D> {
    /// Makes this gateway notice others on its LAN.
    pub fn watch_lan(&mut self, neighbours: Neighbours) {
        self.observed.neighbours = Some(neighbours);
    }

    /// Whether the device's cable is connected.
    pub(crate) const fn set_wire(&mut self, up: bool) {
        self.observed.is_unplugged = !up;
    }

    /// What this gateway notices on its LAN.
    pub const fn neighbours(&self) -> Option<&Neighbours> {
        self.observed.neighbours.as_ref()
    }

    /// What is wrong with the room by its own numbers.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let Some(c) = &self.connected else { return vec![] };
        let mut found = room_findings(c.roster.lan_mtu().bytes(), &members(c));
        found.extend(c.link.bond().map(|bond| uplink_findings(&bond.uplinks())).unwrap_or_default());
        found
    }

    /// Logs each finding once, when it comes up.
    pub(super) fn say_findings(&mut self) {
        let findings = self.findings();
        for finding in findings.iter().filter(|finding| !self.observed.said.contains(&finding.code)) {
            let seen = if finding.evidence.is_empty() { String::new() } else { format!(" ({})", finding.evidence.join("; ")) };
            warn!("{finding}{seen}; {}", finding.advice);
        }
        self.observed.said = findings.iter().map(|finding| finding.code).collect();
    }

    /// Gathers what is known of the room; `answers` gets it within two seconds. `room` is its code, `has_lease` whether the
    /// device has an address.
    pub async fn examine_room(&mut self, room: String, has_lease: Option<bool>, answers: Answers) {
        let Some(own) = self.roster().map(|roster| roster.own().clone()) else { return answers.give(super::echo::not_joined()) };
        if self.observed.inquiries.len() >= INQUIRIES_MAX {
            return answers.give(json!({ "error": "busy", "message": "too many examinations run here at once" }));
        }
        let is_client = own.role == Role::Client;
        let until = Instant::now() + if is_client { ANSWER_WAIT } else { Duration::ZERO };
        let (relay, gateway) = (None, None);
        self.observed.inquiries.push(Inquiry { answers, room, has_lease, until, relay, gateway, is_on_lan: false, other_gateways: vec![] });
        if is_client {
            self.tell(&Control::AskSightings { mac: own.mac }).await;
        }
    }

    /// A member asks this gateway how far its DHCP came here.
    pub(super) async fn answer_sightings(&mut self, mac: MacAddr) {
        let now = Instant::now();
        let dhcp = self.observed.watch.dhcp(mac, now);
        let neighbours = self.observed.neighbours.as_ref();
        let is_on_lan = neighbours.is_some_and(|n| n.doubles(now).contains(&mac));
        let other_gateways = neighbours.map(|n| n.gateways(now)).unwrap_or_default();
        self.tell(&Control::Sightings { mac, by: None, dhcp, is_on_lan, other_gateways }).await;
    }

    /// Ends the inquiries whose time has come, or that have heard everybody.
    pub(super) fn end_inquiries(&mut self) {
        let now = Instant::now();
        let has_gateway = self.roster().is_some_and(|roster| roster.gateway().is_some());
        let is_over = |i: &Inquiry| i.until <= now || (i.relay.is_some() && (i.gateway.is_some() || !has_gateway));
        let (over, open) = std::mem::take(&mut self.observed.inquiries).into_iter().partition(is_over);
        self.observed.inquiries = open;
        for inquiry in over {
            let answer = self.connected.as_ref().map_or_else(super::echo::not_joined, |c| self.facts(&inquiry, c, now));
            inquiry.answers.give(answer);
        }
    }

    fn facts(&self, inquiry: &Inquiry, c: &Connected, now: Instant) -> Value {
        let (roster, own) = (&c.roster, c.roster.own());
        let is_client = own.role == Role::Client;
        let gateway = roster.gateway().map(|g| g.id);
        let facts = RoomFacts {
            room: Some(inquiry.room.clone()),
            lan_mtu: Some(roster.lan_mtu().bytes()),
            members: Some(members(c)),
            looped_interface: is_client.then(|| if self.is_bridged { self.interface.clone() } else { String::new() }),
            gateways_on_one_lan: self.gateways_on_one_lan(inquiry, gateway, now),
            dhcp_servers: Some(self.observed.watch.dhcp_servers(now).collect()),
            duplicate_macs: Some(self.duplicate_macs(inquiry, own.mac, own.id, now)),
            duplicate_identities: Some(self.duplicate_identities(own.mac, now)),
            dhcp: is_client.then(|| trace(&self.observed.watch, own.mac, inquiry, now)),
            discovery: Some(discovery(&self.observed.watch.searches(now), own)),
            uplinks: c.link.bond().map(crate::BondLink::uplinks),
        };
        serde_json::to_value(facts).unwrap_or_default()
    }

    fn gateways_on_one_lan(&self, inquiry: &Inquiry, gateway: Option<MemberId>, now: Instant) -> Option<Vec<String>> {
        let here = self.observed.neighbours.as_ref().map(|n| n.gateways(now));
        let others = here.or_else(|| inquiry.gateway.map(|_| inquiry.other_gateways.clone()))?;
        if others.is_empty() {
            return Some(vec![]);
        }
        let own = gateway.or_else(|| self.roster().map(|r| r.own().id))?;
        let first = format!("gateway peer {own} of this room");
        Some(std::iter::once(first).chain(others.iter().map(|mac| format!("the gateway at {mac}"))).collect())
    }

    fn duplicate_identities(&self, own: MacAddr, now: Instant) -> Vec<Duplicate> {
        let recent = self.observed.replaced.iter().filter(|(_, at)| now.saturating_duration_since(*at) < REPLACED_KEPT);
        let one = |(elsewhere, _): &(String, Instant)| Duplicate {
            what: format!("of the machine with MAC {own}"),
            holders: vec!["this machine".to_owned(), format!("a machine at {elsewhere}")],
        };
        recent.map(one).collect()
    }

    fn duplicate_macs(&self, inquiry: &Inquiry, own: MacAddr, id: MemberId, now: Instant) -> Vec<Duplicate> {
        let at_gateway = self.observed.neighbours.as_ref().map(|n| n.doubles(now)).unwrap_or_default();
        let asked = inquiry.is_on_lan.then_some(own);
        let holder = |mac: MacAddr| self.roster().and_then(|r| r.by_mac(mac)).map_or(id, |m| m.id);
        let double = |mac: MacAddr| Duplicate {
            what: mac.to_string(),
            holders: vec![format!("peer {}", holder(mac)), "a machine on the gateway's LAN".to_owned()],
        };
        at_gateway.into_iter().chain(asked).map(double).collect()
    }
}

fn members(c: &Connected) -> Vec<MemberFacts> {
    let fact = |m: &MemberInfo| MemberFacts {
        id: m.id,
        role: m.role,
        mac: m.mac,
        is_self: false,
        path_mtu: m.path_mtu.map(lanparty_proto::LanMtu::bytes),
        underlay_is_ipv6: None,
    };
    let limits = |m: &mut MemberFacts| {
        if c.roster.limited_by() == Some(m.id) {
            m.path_mtu = m.path_mtu.or(Some(c.roster.lan_mtu().bytes()));
        }
    };
    let own_path = c.link.budget().lan_mtu().map(lanparty_proto::LanMtu::bytes);
    let own = MemberFacts { is_self: true, path_mtu: own_path, underlay_is_ipv6: Some(c.is_over_ipv6), ..fact(c.roster.own()) };
    let mut all: Vec<_> = c.roster.members().map(fact).chain([own]).collect();
    all.iter_mut().for_each(limits);
    all.sort_by_key(|m| m.id);
    all
}

/// Who did not answer is unknown; who answered and saw nothing since the client began to ask is sure of it. What has to
/// come yet is unknown, too.
fn trace(watch: &Watch, own: MacAddr, inquiry: &Inquiry, now: Instant) -> DhcpTrace {
    let tap = watch.dhcp(own, now);
    let asking = watch.asking_for(own, now);
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let began = asking.map_or(u64::MAX, |asking| ms(asking + SLACK));
    // The last question counts, unless it is still on its way.
    let last = tap.question_in.filter(|age| asking.is_some() && *age >= ms(IN_FLIGHT)).map_or(began, |age| age + ms(QUESTION_PATIENCE));
    let judged = |age: Option<u64>, since: u64, patience: Duration| {
        let seen = age.filter(|age| *age <= since).map(|age_ms| Sighting::Seen { age_ms });
        let is_early = asking.is_some_and(|asking| asking < patience);
        seen.or((!is_early).then_some(Sighting::NotSeen))
    };
    let question = |age: Option<u64>| judged(age, began.min(last), QUESTION_PATIENCE);
    let answer = |age: Option<u64>| judged(age, began, ANSWER_PATIENCE);
    let outcome = watch.dhcp_outcome(own, now);
    let (relay, gateway) = (inquiry.relay.as_ref(), inquiry.gateway.as_ref().map(|(_, dhcp)| dhcp));
    DhcpTrace {
        discover_at_tap: question(tap.question_in),
        discover_at_relay: relay.and_then(|r| question(r.question_out)),
        discover_at_gateway: gateway.and_then(|g| question(g.question_in)),
        discover_on_wire: gateway.and_then(|g| question(g.question_out)),
        offer_on_wire: gateway.and_then(|g| answer(g.answer_in)),
        offer_at_gateway: gateway.and_then(|g| answer(g.answer_out)),
        offer_at_relay: relay.and_then(|r| answer(r.answer_out)),
        offer_at_tap: answer(tap.answer_out),
        refused: outcome.refused.map(|age| Sighting::Seen { age_ms: ms(age) }),
        answered_for_ms: outcome.answered_for.map(ms),
        has_lease: inquiry.has_lease,
    }
}

/// What passed here. Machines of one LAN answer each other without the gateway, so there no answer is unknown.
fn discovery(searches: &[SeenSearch], own: &MemberInfo) -> Vec<Discovery> {
    let is_inside = |s: &SeenSearch| own.role == Role::Gateway && s.from_device;
    let one = |s: &SeenSearch| Discovery {
        kind: discovery_kind(s.port),
        port: s.port,
        from: s.from,
        from_self: s.from == own.mac,
        age_ms: u64::try_from(s.age.as_millis()).unwrap_or(u64::MAX),
        is_announcement: s.is_announcement,
        count: s.count,
        unanswered: s.unanswered,
        answered: s.answered.filter(|answered| *answered || !is_inside(s)),
    };
    let mut all: Vec<_> = searches.iter().map(one).collect();
    let mut others = all.iter().filter(|d| d.kind == DiscoveryKind::Other).count();
    all.retain(|d| {
        let surplus = d.kind == DiscoveryKind::Other && others > OTHERS_MAX;
        others -= usize::from(surplus);
        !surplus
    });
    all
}
