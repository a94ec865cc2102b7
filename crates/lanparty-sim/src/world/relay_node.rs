//! The relay in the simulated world: the shape of `lanparty-relay`'s hub and outboxes around the real machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use lanparty_core::{
    Delivery, Discarded, Drops, EGRESS_FRAMES_MAX, FairQueue, FrameRecord, LinkId, Relay, RelayConfig, RelayInput, RelayOutput,
};
use lanparty_proto::{Control, ControlDecoder, DATAGRAM_HEADER_LEN, DatagramHeader, Frame, Hello, IdentityId, Refusal, encode_control};

use super::lane::Item;
use super::model::{Model, Present};
use super::{DEAD_AFTER, Event, Sabotage, Side, World};

/// One in so many deliveries is spoilt by a fault that spoils some.
const SPOILT_ONE_IN: u64 = 20;

/// What the world itself counted of one connection.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Book {
    /// Datagrams given to the switch.
    pub(super) fed: u64,
    /// Copies the switch made for it.
    pub(super) copies: u64,
    /// Of those, on the wire.
    pub(super) sent: u64,
    /// Of those, dropped in its queue.
    pub(super) dropped: u64,
}

pub(super) struct Connection {
    pub(super) member: usize,
    pub(super) queue: FairQueue,
    pub(super) endless: Vec<Bytes>,
    pub(super) book: Book,
    identity: IdentityId,
    decoder: ControlDecoder,
    last_heard: Duration,
    hello: Option<Hello>,
}

pub(super) struct RelayNode {
    /// `None` while it is down.
    pub(super) relay: Option<Relay>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) model: Model,
    tick_at: Option<Duration>,
    deliveries: Vec<Delivery>,
    records: Vec<FrameRecord>,
}

impl RelayNode {
    pub(super) fn new() -> Self {
        let relay = Some(Relay::new(RelayConfig::default()));
        Self { relay, connections: BTreeMap::new(), model: Model::default(), tick_at: None, deliveries: vec![], records: vec![] }
    }
}

/// What the relay does, and what is done to it.
impl World {
    /// The relay dies and comes back after a while, knowing nothing.
    pub fn crash_relay(&mut self, time: Duration) {
        self.node = RelayNode { relay: None, ..RelayNode::new() };
        self.node.model.all_gone();
        self.schedule(self.now + time, Event::RelayReturns);
    }

    pub(super) fn return_relay(&mut self) {
        if self.node.relay.is_none() {
            self.node = RelayNode::new();
        }
    }

    pub(super) fn relay_ticks(&mut self) {
        if self.node.tick_at.is_some_and(|at| at <= self.now) {
            self.node.tick_at = None;
            self.relay_input(RelayInput::Tick);
        }
    }

    pub(super) fn relay_hears(&mut self, member: usize) {
        let now = self.now;
        while let Some((connection, item)) = self.members[member].up.hear(now) {
            if let Item::Open { bytes, until } = item {
                self.accept(member, connection, bytes, until);
                continue;
            }
            let Some(c) = self.node.connections.get_mut(&connection) else {
                self.reset(member, connection);
                continue;
            };
            c.last_heard = now;
            match item {
                Item::Bytes(bytes) => self.relay_reads(connection, &bytes),
                Item::Close(reason) => self.drop_connection(connection, &reason),
                Item::Ping | Item::Open { .. } | Item::Reset => {}
            }
        }
    }

    /// A relay that lives but knows nothing of a connection says so (RFC 9000 §10.3).
    fn reset(&mut self, member: usize, connection: u64) {
        if self.node.relay.is_some() {
            self.say(member, Side::Down, connection, Item::Reset);
        }
    }

    fn accept(&mut self, member: usize, connection: u64, bytes: Vec<u8>, until: Duration) {
        let now = self.now;
        if now > until {
            return;
        }
        if self.node.relay.is_none() {
            // The handshake's first packet is sent again (RFC 9002 §6.2), by whoever still wants in.
            if self.members[member].connection() != Some(connection) {
                return;
            }
            let m = &mut self.members[member].up;
            m.cut_until = m.cut_until.max(now + Duration::from_millis(300));
            self.say(member, Side::Up, connection, Item::Open { bytes, until });
            self.members[member].up.cut_until = Duration::ZERO;
            return;
        }
        let c = Connection {
            member,
            queue: FairQueue::new(connection),
            endless: vec![],
            book: Book::default(),
            identity: self.members[member].identity,
            decoder: ControlDecoder::new(),
            last_heard: now,
            hello: None,
        };
        self.node.connections.insert(connection, c);
        if self.members[member].connection() != Some(connection) {
            // Whoever dialled is gone already: nobody else would notice that it stays silent.
            self.schedule(now, Event::Beat(member, connection));
        }
        self.relay_reads(connection, &bytes);
    }

    fn relay_reads(&mut self, connection: u64, bytes: &[u8]) {
        if let Some(c) = self.node.connections.get_mut(&connection) {
            c.decoder.extend(bytes);
        }
        while let Some(c) = self.node.connections.get_mut(&connection) {
            match c.decoder.next_message() {
                Ok(Some(message)) => self.relay_obeys(connection, message),
                Ok(None) => return,
                Err(e) => return self.drop_connection(connection, &e.to_string()),
            }
        }
    }

    fn relay_obeys(&mut self, connection: u64, message: Control) {
        let Some(c) = self.node.connections.get_mut(&connection) else { return };
        match &message {
            Control::Hello(hello) => c.hello = Some(hello.clone()),
            Control::Bye { .. } => self.node.model.gone(connection),
            _ => {}
        }
        let (member, identity) = (c.member, c.identity);
        let budget = self.members[member].down.believed;
        let remote = format!("member-{member}:4711");
        self.relay_input(RelayInput::Message {
            link: LinkId(connection),
            identity,
            remote,
            budget,
            message: Box::new(message),
            proven: None,
        });
    }

    pub(super) fn relay_finds_size(&mut self, member: usize) {
        let budget = self.members[member].down.believed;
        let links: Vec<_> = self.node.connections.iter().filter(|(_, c)| c.member == member).map(|(id, _)| LinkId(*id)).collect();
        for link in links {
            self.relay_input(RelayInput::Budget { link, budget, rtt: Duration::ZERO });
        }
    }

    fn relay_input(&mut self, input: RelayInput) {
        let instant = self.instant();
        let Some(relay) = &mut self.node.relay else { return };
        relay.handle_input(input, instant);
        while let Some(output) = self.node.relay.as_mut().and_then(Relay::poll_output) {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: RelayOutput) {
        match output {
            RelayOutput::Send { link, message } => {
                let Some(c) = self.node.connections.get(&link.0) else { return };
                let member = c.member;
                if let (Control::Welcome(welcome), Some(hello)) = (&message, &c.hello) {
                    let who = Present { room: hello.room.to_string(), id: welcome.member, mac: hello.mac, role: hello.role };
                    self.node.model.welcome(link.0, who);
                }
                self.judge_welcome(link.0, &message);
                self.say(member, Side::Down, link.0, Item::Bytes(encode_control(&message)));
            }
            RelayOutput::Refuse { link, code, message } => {
                let Some(member) = self.node.connections.get(&link.0).map(|c| c.member) else { return };
                if code != Refusal::Replaced && !self.members[member].plan.unwelcome {
                    self.violate(|| format!("the relay refuses member {member} ({code:?}): {message}"));
                }
                let refused = encode_control(&Control::Refused { code, message });
                self.say(member, Side::Down, link.0, Item::Bytes(refused));
                self.say(member, Side::Down, link.0, Item::Close("refused".into()));
                self.drop_connection(link.0, "refused");
            }
            // Members of the simulation do not move.
            RelayOutput::Event(_) | RelayOutput::Moved { .. } => {}
            RelayOutput::Timeout(at, what) => {
                let at = at.saturating_duration_since(self.base);
                if at <= self.now {
                    return self.violate(|| format!("the relay wants to `{what}` in the past"));
                }
                if self.node.tick_at.is_none_or(|before| at < before) {
                    self.node.tick_at = Some(at);
                    self.schedule(at, Event::Tick);
                }
            }
        }
    }

    /// Whoever is let in can take every frame that the room promises from then on.
    fn judge_welcome(&mut self, connection: u64, message: &Control) {
        let (Control::Welcome(welcome), Some(c)) = (message, self.node.connections.get(&connection)) else { return };
        let down = self.members[c.member].down.believed;
        let allowed = c.hello.as_ref().and_then(|hello| hello.budget.min(down).lan_mtu());
        if allowed.is_none_or(|allowed| welcome.lan_mtu > allowed) {
            let mtu = welcome.lan_mtu;
            self.violate(|| format!("connection {connection} is welcomed to a LAN MTU of {mtu}, its path takes {allowed:?}"));
        }
    }

    fn drop_connection(&mut self, connection: u64, reason: &str) {
        self.node.connections.remove(&connection);
        self.node.model.gone(connection);
        if self.sabotage != Sabotage::ImmortalMembers {
            self.relay_input(RelayInput::Closed { link: LinkId(connection), reason: reason.to_owned() });
        }
    }

    /// The relay's half of a heartbeat. Whether it still knows the connection.
    pub(super) fn relay_beats(&mut self, member: usize, connection: u64) -> bool {
        let Some(c) = self.node.connections.get(&connection) else { return false };
        if self.now - c.last_heard >= DEAD_AFTER {
            self.drop_connection(connection, "nothing heard for 3 s");
            return false;
        }
        self.say(member, Side::Down, connection, Item::Ping);
        true
    }

    pub(super) fn relay_receives(&mut self, member: usize) {
        let now = self.now;
        loop {
            let connections = &self.node.connections;
            let Some((connection, datagram)) = self.members[member].up.receive(|c| connections.contains_key(&c), now) else { return };
            match datagram {
                Some(datagram) => self.forward(connection, &datagram),
                None => self.reset(member, connection),
            }
        }
    }

    fn forward(&mut self, connection: u64, datagram: &Bytes) {
        let instant = self.instant();
        let Some(relay) = &mut self.node.relay else { return };
        let Some(place) = relay.place(LinkId(connection)) else { return };
        let mut deliveries = std::mem::take(&mut self.node.deliveries);
        relay.forward(&place, [datagram.clone()], instant, &mut deliveries, &mut self.node.records);
        self.node.records.clear();
        if let Some(c) = self.node.connections.get_mut(&connection) {
            (c.last_heard, c.book.fed) = (self.now, c.book.fed + 1);
        }
        self.spoil(connection, datagram, &mut deliveries);
        self.judge_switch(connection, datagram, &deliveries);
        for delivery in deliveries.drain(..) {
            self.offer(&delivery);
        }
        self.node.deliveries = deliveries;
    }

    /// What a broken switch would have done instead.
    fn spoil(&mut self, from: u64, datagram: &Bytes, deliveries: &mut Vec<Delivery>) {
        let Some(frame) = datagram.get(DATAGRAM_HEADER_LEN..).and_then(|f| Frame::parse(f).ok()) else { return };
        let to = |link: u64| Delivery { link: LinkId(link), datagram: datagram.clone() };
        let model = &self.node.model;
        let is_group = frame.dst().is_group();
        match self.sabotage {
            Sabotage::FloodUnicast if !is_group && !deliveries.is_empty() => {
                *deliveries = model.neighbours(from).map(|(link, _)| to(link)).collect();
            }
            Sabotage::LeakToOtherRoom if is_group && !deliveries.is_empty() => {
                let own = model.get(from).map(|who| &who.room);
                deliveries.extend(model.present().find(|(_, who)| Some(&who.room) != own).map(|(link, _)| to(link)));
            }
            Sabotage::NoSourceCheck if deliveries.is_empty() && !model.may_speak_as(from, frame.src()) => {
                deliveries.extend(model.receivers(from, frame.dst()).into_iter().map(to));
            }
            Sabotage::EchoToSender if is_group => deliveries.push(to(from)),
            Sabotage::DuplicateDelivery if self.rng.below(SPOILT_ONE_IN) == 0 => deliveries.extend(deliveries.clone()),
            Sabotage::SilentDrop if self.rng.below(SPOILT_ONE_IN) == 0 => drop(deliveries.pop()),
            Sabotage::AlterPayload if self.rng.below(SPOILT_ONE_IN) == 0 => {
                for delivery in deliveries {
                    let mut bytes = delivery.datagram.to_vec();
                    let at = bytes.len() - 20;
                    bytes[at] ^= 1;
                    delivery.datagram = bytes.into();
                }
            }
            _ => {}
        }
    }

    /// The switch against the reference model: whom it chose, and for whom.
    fn judge_switch(&mut self, from: u64, datagram: &Bytes, deliveries: &[Delivery]) {
        let chosen: BTreeSet<u64> = deliveries.iter().map(|d| d.link.0).collect();
        if chosen.is_empty() {
            return;
        }
        let frame = datagram.get(DATAGRAM_HEADER_LEN..).and_then(|f| Frame::parse(f).ok());
        let Some(frame) = frame else { return self.violate(|| format!("connection {from}: what is no frame was forwarded")) };
        let (src, dst) = (frame.src(), frame.dst());
        if !self.node.model.may_speak_as(from, src) {
            return self.violate(|| format!("connection {from} spoke as {src} and was forwarded"));
        }
        let number = DatagramHeader::decode(datagram).map(|(header, _)| header.source);
        if self.node.model.get(from).is_none_or(|who| number != Ok(who.id)) {
            return self.violate(|| format!("connection {from} spoke under number {number:?} and was forwarded"));
        }
        let due = self.node.model.receivers(from, dst);
        let fits = |link: &u64| {
            self.node.connections.get(link).is_some_and(|c| datagram.len() <= usize::from(self.members[c.member].down.believed.0))
        };
        let missing: Vec<_> = due.iter().filter(|link| !chosen.contains(link) && fits(link)).collect();
        if !chosen.is_subset(&due) || !missing.is_empty() || chosen.len() != deliveries.len() {
            let all: Vec<_> = deliveries.iter().map(|d| d.link.0).collect();
            self.violate(|| format!("a frame from connection {from} to {dst} went to connections {all:?} instead of {due:?}"));
        }
    }

    /// As the relay's outbox does: to the wire while it takes more, else into the bounded queue.
    fn offer(&mut self, delivery: &Delivery) {
        let (now, instant) = (self.now, self.instant());
        let Some(c) = self.node.connections.get_mut(&delivery.link.0) else { return };
        c.book.copies += 1;
        let lane = &mut self.members[c.member].down;
        let mut dropped = vec![];
        if c.queue.is_empty() && lane.space() > 0 {
            lane.send(delivery.link.0, &delivery.datagram, now);
            c.book.sent += 1;
        } else if self.sabotage == Sabotage::EndlessQueue && c.queue.len() == EGRESS_FRAMES_MAX {
            c.endless.push(delivery.datagram.clone());
        } else {
            dropped = c.queue.push(delivery.datagram.clone(), instant);
        }
        let member = c.member;
        self.count_dropped(delivery.link.0, &dropped);
        self.watch(member, Side::Down);
    }

    /// The wire toward a member takes more again.
    pub(super) fn drain(&mut self, member: usize) {
        let (now, instant) = (self.now, self.instant());
        let mut dropped = vec![];
        for (link, c) in self.node.connections.iter_mut().filter(|(_, c)| c.member == member && !c.queue.is_empty()) {
            while self.members[member].down.space() > 0 {
                let (datagram, stale) = c.queue.pop(instant);
                dropped.push((*link, stale));
                let Some(datagram) = datagram else { break };
                self.members[member].down.send(*link, &datagram, now);
                c.book.sent += 1;
            }
        }
        dropped.into_iter().for_each(|(link, stale)| self.count_dropped(link, &stale));
        self.watch(member, Side::Down);
    }

    fn count_dropped(&mut self, link: u64, discarded: &[Discarded]) {
        if let (Some(c), Some(relay)) = (self.node.connections.get_mut(&link), &mut self.node.relay) {
            c.book.dropped += discarded.len() as u64;
            relay.count_copies_dropped(LinkId(link), &Drops::from(discarded));
        }
    }
}
