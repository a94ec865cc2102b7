//! A member in the simulated world: the shape of `lanparty-node`'s session and driver around the real machines.

use std::time::Duration;

use bytes::Bytes;
use lanparty_core::{Announcer, Backoff, Inbound, Outbound, OutboundWork, PathSize, Roster};
use lanparty_proto::{
    Control, ControlDecoder, DatagramBudget, DatagramHeader, DropReason, FrameBatch, Hello, IdentityId, MacAddr, MemberId, Refusal, Role,
    encode_control,
};

use super::frames::Kind;
use super::lane::{Item, Lane};
use super::{DEAD_AFTER, Event, HEARTBEAT, MemberPlan, Sabotage, Side, World};
use crate::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Does not want to be in.
    Away,
    Waiting,
    Dialing(u64),
    Joined(u64),
}

/// What the world itself counted, to compare with what the machines did.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Book {
    pub(super) offered: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) entered: u64,
}

pub(super) struct Member {
    pub(super) plan: MemberPlan,
    pub(super) identity: IdentityId,
    pub(super) up: Lane,
    pub(super) down: Lane,
    pub(super) state: State,
    pub(super) roster: Option<Roster>,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    pub(super) book: Book,
    pub(super) lan_up: bool,
    pub(super) last_heard: Duration,
    resume: Option<MemberId>,
    /// The budget and the LAN's carrier that the relay was told last.
    told: Option<(DatagramBudget, bool)>,
    backoff: Backoff,
    announcer: Announcer,
    decoder: ControlDecoder,
    attempt: u64,
}

impl Member {
    pub(super) fn new(plan: MemberPlan, rng: &mut Rng) -> Self {
        let role = plan.role;
        Self {
            identity: new_identity(rng),
            up: Lane::new(&plan.path, plan.budget, rng),
            down: Lane::new(&plan.path, plan.budget, rng),
            plan,
            state: State::Away,
            roster: None,
            outbound: Outbound::new(role),
            inbound: Inbound::new(role),
            book: Book::default(),
            lan_up: true,
            last_heard: Duration::ZERO,
            resume: None,
            told: None,
            backoff: Backoff::default(),
            announcer: Announcer::default(),
            decoder: ControlDecoder::new(),
            attempt: 0,
        }
    }

    pub(super) fn connection(&self) -> Option<u64> {
        match self.state {
            State::Dialing(connection) | State::Joined(connection) => Some(connection),
            State::Away | State::Waiting => None,
        }
    }

    /// A new process: everything but the identity is forgotten.
    fn restart(&mut self) {
        let role = self.plan.role;
        (self.outbound, self.inbound, self.book) = (Outbound::new(role), Inbound::new(role), Book::default());
        (self.resume, self.backoff, self.announcer) = (None, Backoff::default(), Announcer::default());
    }
}

fn new_identity(rng: &mut Rng) -> IdentityId {
    let mut id = [0; 32];
    id.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = rng.next_u64().to_be_bytes());
    IdentityId(id)
}

/// What members do, and what is done to them.
impl World {
    /// A member wants in, and stays at it.
    pub fn join(&mut self, member: usize) {
        if self.members[member].state == State::Away {
            self.members[member].restart();
            self.wait(member, Duration::ZERO);
        }
    }

    /// A member says farewell.
    pub fn leave(&mut self, member: usize) {
        if let Some(connection) = self.members[member].connection() {
            let bye = encode_control(&Control::Bye { reason: "leaving".into() });
            self.say(member, Side::Up, connection, Item::Bytes(bye));
            self.say(member, Side::Up, connection, Item::Close("leaving".into()));
        }
        self.crash(member);
    }

    /// A member vanishes without a word.
    pub fn crash(&mut self, member: usize) {
        let m = &mut self.members[member];
        (m.state, m.roster) = (State::Away, None);
        m.attempt += 1;
    }

    /// The carrier of a gateway's LAN.
    pub fn set_lan(&mut self, member: usize, up: bool) {
        if self.members[member].plan.role == Role::Gateway {
            self.members[member].lan_up = up;
            self.tell_news(member);
        }
    }

    /// A frame comes to the member's device: from its host, or from anywhere on its LAN. Returns the frame's number.
    pub fn send(&mut self, member: usize, src: MacAddr, dst: MacAddr, kind: Kind) -> u64 {
        let (id, frame) = self.new_frame(member, src, dst, kind);
        self.device_gives(member, &frame);
        id
    }

    /// A member that is no honest program puts a frame on the wire under that number.
    pub fn send_forged(&mut self, member: usize, number: Option<MemberId>, src: MacAddr, dst: MacAddr, kind: Kind) {
        let (_, frame) = self.new_frame(member, src, dst, kind);
        let m = &mut self.members[member];
        let (State::Joined(connection), Some(roster)) = (m.state, &m.roster) else { return };
        let source = number.unwrap_or(roster.own().id);
        let datagram = [&DatagramHeader { source }.encode()[..], &frame].concat();
        m.up.send(connection, &datagram, self.now);
        self.watch(member, Side::Up);
    }

    pub(super) fn device_gives(&mut self, member: usize, frame: &[u8]) {
        let (now, instant) = (self.now, self.instant());
        let m = &mut self.members[member];
        if m.plan.role == Role::Gateway && !m.lan_up {
            return;
        }
        let (mut batch, mut work) = (FrameBatch::new(), OutboundWork::default());
        batch.push(&[frame]);
        m.book.offered += 1;
        m.outbound.process(&mut batch, m.roster.as_ref(), PathSize::settled(m.up.believed), instant, &mut work);
        let State::Joined(connection) = m.state else { return };
        for datagram in work.datagrams {
            m.book.sent += 1;
            m.up.send(connection, &datagram, now);
        }
        self.watch(member, Side::Up);
    }

    pub(super) fn member_receives(&mut self, member: usize) {
        let (now, instant) = (self.now, self.instant());
        let (mut out, mut records) = (vec![], vec![]);
        let m = &mut self.members[member];
        let live = if let State::Joined(connection) = m.state { Some(connection) } else { None };
        while let Some((_, datagram)) = m.down.receive(|c| live == Some(c), now) {
            let Some(datagram) = datagram else { continue };
            (m.last_heard, m.book.received) = (now, m.book.received + 1);
            m.inbound.process([datagram], m.roster.as_ref(), instant, &mut out, &mut records);
        }
        if m.plan.role == Role::Gateway && !m.lan_up {
            out.drain(..).for_each(|frame| m.inbound.take_back(&frame, DropReason::LinkDown));
        }
        m.book.entered += out.len() as u64;
        for frame in out {
            self.frame_arrived(member, &frame);
        }
        self.drain(member);
    }

    fn frame_arrived(&mut self, member: usize, frame: &Bytes) {
        let (plan, now) = (&self.members[member].plan, self.now);
        self.oracle.arrived(member, plan, frame, now);
    }

    pub(super) fn member_hears(&mut self, member: usize) {
        let now = self.now;
        while let Some((connection, item)) = self.members[member].down.hear(now) {
            if self.members[member].connection() != Some(connection) {
                continue;
            }
            self.members[member].last_heard = now;
            match item {
                Item::Bytes(bytes) => self.member_reads(member, &bytes),
                Item::Ping | Item::Open { .. } => {}
                Item::Close(_) | Item::Reset => self.link_ended(member),
            }
        }
    }

    fn member_reads(&mut self, member: usize, bytes: &[u8]) {
        self.members[member].decoder.extend(bytes);
        loop {
            match self.members[member].decoder.next_message() {
                Ok(Some(message)) => self.member_obeys(member, message),
                Ok(None) => return,
                Err(e) => {
                    self.violate(|| format!("member {member} cannot read its control stream: {e}"));
                    return self.link_ended(member);
                }
            }
        }
    }

    /// As `MemberDriver::handle_control` and `Session` do.
    fn member_obeys(&mut self, member: usize, message: Control) {
        let (sabotage, instant) = (self.sabotage, self.instant());
        let m = &mut self.members[member];
        if let (State::Dialing(connection), Control::Welcome(welcome)) = (m.state, &message) {
            m.state = State::Joined(connection);
            m.resume = Some(welcome.member);
            m.backoff.reset();
            m.announcer.clear();
            welcome.members.iter().for_each(|other| m.announcer.joined(other.id, other.mac, instant));
            m.roster = Some(Roster::new(m.plan.role, m.plan.mac, welcome));
            return self.tell_news(member);
        }
        if let Control::Refused { code, message } = message {
            return self.refused(member, code, &message);
        }
        let Some(roster) = &mut m.roster else { return };
        match message {
            Control::MemberJoined { member: other } if sabotage != Sabotage::DeafToNewcomers => {
                m.announcer.joined(other.id, other.mac, instant);
                roster.insert(other);
            }
            Control::MemberLeft { id, .. } if sabotage != Sabotage::DeafToFarewells => {
                m.announcer.left(id);
                roster.remove(id);
                m.inbound.forget(id);
            }
            Control::LanMtu { mtu, limited_by } if sabotage != Sabotage::DeafToLanMtu => roster.set_lan_mtu(mtu, limited_by),
            Control::PathMtu { id, mtu } => roster.set_path_mtu(id, mtu),
            Control::LanState { up, id } => roster.set_lan_state(id, up),
            _ => {}
        }
    }

    fn refused(&mut self, member: usize, code: Refusal, words: &str) {
        if code == Refusal::TooManyJoins {
            return self.link_ended(member);
        }
        self.crash(member);
        if !self.members[member].plan.unwelcome {
            self.violate(|| format!("member {member} was refused ({code:?}): {words}"));
        }
    }

    pub(super) fn link_ended(&mut self, member: usize) {
        let random = self.rng.next_u64() as u32;
        let m = &mut self.members[member];
        m.roster = None;
        let time = if self.sabotage == Sabotage::NoReturn { Duration::MAX / 4 } else { m.backoff.next(random) };
        self.wait(member, time);
    }

    fn wait(&mut self, member: usize, time: Duration) {
        let m = &mut self.members[member];
        m.state = State::Waiting;
        m.attempt += 1;
        let attempt = m.attempt;
        self.schedule(self.now + time, Event::Dial(member, attempt));
    }

    pub(super) fn dial(&mut self, member: usize, attempt: u64) {
        self.next_connection += 1;
        let (connection, until) = (self.next_connection, self.now + DEAD_AFTER);
        let m = &mut self.members[member];
        if m.attempt != attempt || m.state != State::Waiting {
            return;
        }
        (m.state, m.decoder, m.last_heard) = (State::Dialing(connection), ControlDecoder::new(), self.now);
        m.told = Some((m.up.believed, m.lan_up));
        let room = m.plan.room.parse().expect("INVARIANT: a plan's room is a room code");
        let hello = Hello {
            software: "simulated".into(),
            lan_up: m.lan_up,
            resume: m.resume,
            ..Hello::new(m.plan.role, room, m.plan.mac, m.up.believed)
        };
        let bytes = encode_control(&Control::Hello(hello));
        self.say(member, Side::Up, connection, Item::Open { bytes, until });
        self.schedule(until, Event::GiveUp(member, attempt));
        self.schedule(self.now + HEARTBEAT, Event::Beat(member, connection));
    }

    pub(super) fn give_up(&mut self, member: usize, attempt: u64) {
        if self.members[member].attempt == attempt && matches!(self.members[member].state, State::Dialing(_)) {
            self.link_ended(member);
        }
    }

    /// Once a second on every connection: both ends say that they live, and judge whether the other does.
    pub(super) fn beat(&mut self, member: usize, connection: u64) {
        let now = self.now;
        let mine = self.members[member].connection() == Some(connection);
        if mine {
            if now - self.members[member].last_heard >= DEAD_AFTER {
                self.link_ended(member);
            } else {
                self.say(member, Side::Up, connection, Item::Ping);
                self.announce(member);
            }
        }
        let theirs = self.relay_beats(member, connection);
        if mine || theirs {
            self.schedule(now + HEARTBEAT, Event::Beat(member, connection));
        }
    }

    /// The gateway's announcements into its LAN: only members speak there, and the next one lies ahead.
    fn announce(&mut self, member: usize) {
        let instant = self.instant();
        let m = &mut self.members[member];
        let Some(roster) = m.roster.as_ref().filter(|_| m.plan.role == Role::Gateway) else { return };
        let mut strangers = vec![];
        while let Some(announcement) = m.announcer.poll(instant) {
            strangers.extend(roster.by_mac(announcement.mac).is_none().then_some(announcement.mac));
        }
        let in_order = m.announcer.next_due().is_none_or(|at| at > instant);
        if !strangers.is_empty() {
            self.violate(|| format!("gateway {member} announces {strangers:?}, who are no members"));
        } else if !in_order {
            self.violate(|| format!("gateway {member}: an announcement is due in the past"));
        }
    }

    pub(super) fn size_found(&mut self, member: usize) {
        let m = &mut self.members[member];
        (m.up.believed, m.down.believed) = (m.up.budget, m.down.budget);
        self.tell_news(member);
        self.relay_finds_size(member);
    }

    /// Tells the relay what is new since it was told last: path and carrier may change between hello and welcome too.
    fn tell_news(&mut self, member: usize) {
        let m = &mut self.members[member];
        let (budget, up) = (m.up.believed, m.lan_up);
        if !matches!(m.state, State::Joined(_)) {
            return;
        }
        let told = m.told.replace((budget, up));
        if told.is_none_or(|(before, _)| before != budget) {
            self.tell(member, &Control::Budget { budget });
        }
        if told.is_none_or(|(_, before)| before != up) {
            self.tell(member, &Control::LanState { up, id: None });
        }
    }

    fn tell(&mut self, member: usize, message: &Control) {
        if let State::Joined(connection) = self.members[member].state {
            self.say(member, Side::Up, connection, Item::Bytes(encode_control(message)));
        }
    }
}
