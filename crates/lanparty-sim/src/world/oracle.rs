//! What must hold (RELIABILITY 4.4): frames stay in their room, arrive once and as they were, from whom they claim;
//! every node's books balance exactly; queues are bounded; and after quiescence all tables equal the model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use lanparty_core::{EGRESS_FRAMES_MAX, MemberReport};
use lanparty_proto::{Frame, LanMtu, MacAddr, MemberId, Role};

use super::frames::{Kind, id_of};
use super::member::State;
use super::{MemberPlan, World};

/// A frame is forgotten after this long; no wire of ours holds one longer.
const REMEMBERED: Duration = Duration::from_secs(60);
const FRAMES_REMEMBERED_MAX: usize = 200_000;

struct Sent {
    at: Duration,
    room: String,
    sender: usize,
    bytes: Bytes,
    arrived: BTreeSet<usize>,
    /// Exactly those must get it, when it is a probe.
    must: Option<BTreeSet<usize>>,
}

#[derive(Default)]
pub(super) struct Oracle {
    pub(super) violation: Option<String>,
    pub(super) delivered: u64,
    sent: BTreeMap<u64, Sent>,
    next_id: u64,
}

impl Oracle {
    /// Keeps the first, because the rest follows from it.
    pub(super) fn violate(&mut self, words: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(words());
        }
    }

    fn remember(&mut self, sent: Sent) {
        let now = sent.at;
        while self.sent.len() >= FRAMES_REMEMBERED_MAX || self.sent.first_key_value().is_some_and(|(_, s)| s.at + REMEMBERED < now) {
            self.sent.pop_first();
        }
        self.sent.insert(self.next_id, sent);
    }

    /// A frame came out at the device of `member`.
    pub(super) fn arrived(&mut self, member: usize, plan: &MemberPlan, frame: &[u8], now: Duration) {
        self.delivered += 1;
        let words = match id_of(frame).and_then(|id| self.sent.get_mut(&id)) {
            None => Some("a frame that nobody sent".to_owned()),
            Some(sent) => fault_in(sent, member, plan, frame),
        };
        if let Some(words) = words {
            let what = Frame::parse(frame).map_or_else(|_| "no frame".into(), |f| format!("{} -> {}", f.src(), f.dst()));
            self.violate(|| format!("at {now:?}: member {member} got {words}: {what}, {} bytes", frame.len()));
        }
    }

    pub(super) fn check_probes(&mut self) {
        let wrong = |s: &Sent| s.must.as_ref().is_some_and(|must| *must != s.arrived);
        let Some((id, sent)) = self.sent.iter().find(|(_, s)| wrong(s)) else {
            self.sent.values_mut().for_each(|s| s.must = None);
            return;
        };
        let (sender, must, arrived, len, at) =
            (sent.sender, sent.must.clone().unwrap_or_default(), sent.arrived.clone(), sent.bytes.len(), sent.at);
        let dst = Frame::parse(&sent.bytes).map(|f| f.dst());
        let id = *id;
        self.violate(|| {
            format!("probe {id} of {len} bytes from member {sender} to {dst:?} at {at:?} reached members {arrived:?} instead of {must:?}")
        });
    }
}

fn fault_in(sent: &mut Sent, member: usize, plan: &MemberPlan, frame: &[u8]) -> Option<String> {
    if sent.bytes != frame {
        return Some("an altered frame".into());
    }
    if sent.room != plan.room {
        return Some(format!("a frame of room {}", sent.room));
    }
    if sent.sender == member {
        return Some("its own frame".into());
    }
    if !sent.arrived.insert(member) {
        return Some("a frame for the second time".into());
    }
    let dst = Frame::parse(frame).map_or(MacAddr([0; 6]), |f| f.dst());
    let meant = dst.is_group() || dst == plan.mac || plan.role == Role::Gateway;
    (!meant).then(|| "somebody else's frame".into())
}

impl World {
    pub(super) fn new_frame(&mut self, member: usize, src: MacAddr, dst: MacAddr, kind: Kind) -> (u64, Vec<u8>) {
        self.oracle.next_id += 1;
        let id = self.oracle.next_id;
        let frame = kind.frame(dst, src, id);
        let room = self.members[member].plan.room.clone();
        let sent = Sent { at: self.now, room, sender: member, bytes: frame.clone().into(), arrived: BTreeSet::new(), must: None };
        self.oracle.remember(sent);
        (id, frame)
    }

    /// How many devices a frame has reached.
    #[must_use]
    pub fn reached(&self, id: u64) -> usize {
        self.oracle.sent.get(&id).map_or(0, |s| s.arrived.len())
    }

    /// The room's members as they should be, without those that are unwelcome.
    fn roommates(&self, member: usize) -> impl Iterator<Item = usize> {
        let room = &self.members[member].plan.room;
        let others = self.members.iter().enumerate().filter(move |(other, m)| *other != member && m.plan.room == *room);
        others.filter(|(_, m)| m.state != State::Away).map(|(other, _)| other)
    }

    /// Probes of one member: to each other of its room, to all, and to a host of the LAN. Source, destination, kind.
    pub(super) fn probes_of(&mut self, member: usize) -> Vec<(usize, MacAddr, MacAddr, Kind)> {
        let Some(roster) = &self.members[member].roster else { return vec![] };
        let largest = roster.lan_mtu().frame_len_max() as u64;
        let others: Vec<_> = self.roommates(member).collect();
        let plan = &self.members[member].plan;
        let src = plan.hosts.first().copied().unwrap_or(plan.mac);
        let mut targets: Vec<_> = others.iter().map(|other| self.members[*other].plan.mac).collect();
        targets.extend(others.iter().filter_map(|other| self.members[*other].plan.hosts.first()));
        let mut probes = vec![(member, src, MacAddr::BROADCAST, Kind::any_broadcast(&mut self.rng))];
        for dst in targets {
            let len = if self.rng.below(3) == 0 { largest } else { 60 + self.rng.below(largest - 59) };
            probes.push((member, src, dst, if len < 70 { Kind::Udp(len as u16) } else { Kind::Tcp(len as u16) }));
        }
        probes
    }

    pub(super) fn send_probe(&mut self, member: usize, src: MacAddr, dst: MacAddr, kind: Kind) {
        let others: Vec<_> = self.roommates(member).collect();
        let is_target = |other: &usize| {
            let plan = &self.members[*other].plan;
            dst.is_group() || plan.mac == dst || plan.hosts.contains(&dst)
        };
        let sends = self.members[member].plan.role == Role::Client || self.members[member].lan_up;
        let hears = |other: &usize| self.members[*other].plan.role == Role::Client || self.members[*other].lan_up;
        let must = others.into_iter().filter(|other| sends && is_target(other) && hears(other)).collect();
        let id = self.send(member, src, dst, kind);
        if let Some(sent) = self.oracle.sent.get_mut(&id) {
            sent.must = Some(must);
        }
    }

    pub(super) fn check_everybody_is_back(&mut self) {
        for member in 0..self.members.len() {
            let state = self.members[member].state;
            if matches!(state, State::Waiting | State::Dialing(_)) && !self.members[member].plan.unwelcome {
                return self.violate(|| format!("member {member} is not back: {state:?}"));
            }
        }
    }

    /// The books of every node, at any time.
    pub fn check(&mut self) {
        for member in 0..self.members.len() {
            if let Some(words) = self.unbalanced_member(member) {
                return self.violate(|| format!("member {member}: {words}"));
            }
        }
        if let Some(words) = self.unbalanced_relay() {
            self.violate(|| words);
        }
    }

    fn unbalanced_member(&self, member: usize) -> Option<String> {
        let m = &self.members[member];
        let (outbound, inbound, book) = (m.outbound.counters(), m.inbound.counters(), m.book);
        let pairs = [
            ("outbound in", outbound.frames_in(), book.offered),
            ("outbound out", outbound.forwarded(), book.sent),
            ("inbound in", inbound.frames_in(), book.received),
            ("inbound out", inbound.forwarded(), book.entered),
        ];
        if !outbound.is_conserved(0) || !inbound.is_conserved(0) {
            return Some(format!("in = out + dropped does not hold: {outbound:?} {inbound:?}"));
        }
        if !m.up.conserved() || !m.down.conserved() {
            return Some(format!("a wire's books: {} {:?}; {} {:?}", m.up.wire.stats(), m.up.arrived, m.down.wire.stats(), m.down.arrived));
        }
        pairs
            .into_iter()
            .find(|(_, counted, true_)| counted != true_)
            .map(|(what, counted, true_)| format!("{what}: counted {counted}, were {true_}"))
    }

    fn unbalanced_relay(&self) -> Option<String> {
        let relay = self.node.relay.as_ref()?;
        for (link, c) in &self.node.connections {
            let queued = c.queue.len() + c.endless.len();
            if queued > EGRESS_FRAMES_MAX {
                return Some(format!("the queue of connection {link} holds {queued} frames"));
            }
            if c.book.copies != c.book.sent + c.book.dropped + queued as u64 {
                return Some(format!("copies for connection {link} do not balance: {:?}, {queued} queued", c.book));
            }
        }
        let reports = relay.report(self.base + self.now);
        for (link, who) in self.node.model.present() {
            let members = reports.iter().find(|r| r.room == who.room).map_or(&[][..], |r| &r.members);
            let Some(counted) = members.iter().find(|m| m.member == who.id.0) else {
                return Some(format!("the relay lost connection {link}, {who:?}"));
            };
            let book = self.node.connections.get(&link).map(|c| c.book).unwrap_or_default();
            if let Some(words) = unbalanced_report(counted, book) {
                return Some(format!("the relay's books of connection {link}: {words}"));
            }
        }
        None
    }

    /// After quiescence: what every node believes is what is.
    pub(super) fn check_tables(&mut self) {
        if let Some(words) = self.unequal_relay() {
            return self.violate(|| words);
        }
        for member in 0..self.members.len() {
            if let Some(words) = self.unequal_roster(member) {
                return self.violate(|| format!("member {member}: {words}"));
            }
        }
    }

    /// Room, number and MAC address of everybody, as the relay has it and as it should.
    fn unequal_relay(&self) -> Option<String> {
        let reports = self.node.relay.as_ref()?.report(self.base + self.now);
        let theirs: BTreeSet<_> =
            reports.iter().flat_map(|r| r.members.iter().map(|m| (r.room.clone(), MemberId(m.member), m.mac))).collect();
        let joined = self.members.iter().filter(|m| matches!(m.state, State::Joined(_)));
        let ours: BTreeSet<_> = joined.filter_map(|m| Some((m.plan.room.clone(), m.roster.as_ref()?.own().id, m.plan.mac))).collect();
        if theirs != ours {
            return Some(format!("the relay has {theirs:?} instead of {ours:?}"));
        }
        if let Some(empty) = reports.iter().find(|r| r.members.is_empty()) {
            return Some(format!("room {} is empty and still there", empty.room));
        }
        reports.iter().find_map(|r| {
            let allowed = self.allowed(&r.room)?;
            (allowed.bytes() != r.lan_mtu).then(|| format!("room {} has a LAN MTU of {} instead of {allowed}", r.room, r.lan_mtu))
        })
    }

    /// The smallest LAN MTU over the true sizes of all paths.
    fn allowed(&self, room: &str) -> Option<LanMtu> {
        let joined = self.members.iter().filter(|m| m.plan.room == room && matches!(m.state, State::Joined(_)));
        joined.filter_map(|m| m.up.budget.min(m.down.budget).lan_mtu()).min()
    }

    fn unequal_roster(&self, member: usize) -> Option<String> {
        let m = &self.members[member];
        let roster = m.roster.as_ref()?;
        let theirs: BTreeSet<_> = roster.members().map(|o| (o.id, o.mac, o.role, o.lan_up)).collect();
        let ours: BTreeSet<_> = self
            .roommates(member)
            .filter_map(|other| {
                let o = &self.members[other];
                Some((o.roster.as_ref()?.own().id, o.plan.mac, o.plan.role, o.lan_up))
            })
            .collect();
        if theirs != ours {
            return Some(format!("its roster has {theirs:?} instead of {ours:?}"));
        }
        let allowed = self.allowed(&m.plan.room)?;
        (roster.lan_mtu() != allowed).then(|| format!("it uses a LAN MTU of {} instead of {allowed}", roster.lan_mtu()))
    }
}

fn unbalanced_report(counted: &MemberReport, book: super::relay_node::Book) -> Option<String> {
    let from = &counted.from_member;
    let dropped = from.dropped.total();
    if from.frames_in != book.fed || from.frames_in != from.forwarded + from.answered + dropped {
        return Some(format!("{} came in, counted {} = {} out + {dropped} dropped", book.fed, from.frames_in, from.forwarded));
    }
    let copies = book.copies - book.dropped;
    (counted.copies_out != copies || counted.copies_dropped < book.dropped)
        .then(|| format!("copies {} out and {} dropped, were {copies} and {}", counted.copies_out, counted.copies_dropped, book.dropped))
}
