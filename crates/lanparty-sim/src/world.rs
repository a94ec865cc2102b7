//! The simulated world: the real machines of relay, clients and gateways on seeded wires, in virtual time.
//!
//! What is simulated is the transport (a handshake, heartbeats, datagrams that come once or not at all, a control stream
//! that is late but whole) and the drivers, in the shape of those in `lanparty-node` and `lanparty-relay`. Whatever decides is the
//! product's own code. After every step the oracle compares what happened with a reference model.

mod frames;
mod lane;
mod member;
mod model;
mod oracle;
mod relay_node;
mod sabotage;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use lanparty_proto::{DatagramBudget, MacAddr, MemberId, Role};

pub use frames::{Kind, id_of};
use lane::Lane;
use member::Member;
use oracle::Oracle;
use relay_node::RelayNode;
pub use sabotage::Sabotage;

use crate::{Impairment, Rng};

/// Heartbeats of both ends (DESIGN §5).
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that was silent for three heartbeats is dead.
const DEAD_AFTER: Duration = Duration::from_secs(3);
/// Time until a sender notices that its path takes another size: path MTU discovery's black hole detection.
const SIZE_FOUND_AFTER: Duration = Duration::from_millis(1500);
/// After the last fault everybody is back by then (RELIABILITY F22).
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// After that the room's LAN MTU has followed its paths: the longest hold and a check.
const SIZES_WITHIN: Duration = Duration::from_secs(6);

/// A member to be.
#[derive(Debug, Clone)]
pub struct MemberPlan {
    /// What it is.
    pub role: Role,
    /// Its room.
    pub room: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Hosts of the LAN behind it, when it is a gateway.
    pub hosts: Vec<MacAddr>,
    /// The character of its path, the same both ways.
    pub path: Impairment,
    /// Largest datagram its path takes.
    pub budget: DatagramBudget,
    /// It is a trouble-maker that the relay is right to refuse.
    pub unwelcome: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A wire has something to give.
    Wire(usize, Side),
    /// A control stream has.
    Control(usize, Side),
    Tick,
    RelayReturns,
    Dial(usize, u64),
    GiveUp(usize, u64),
    Beat(usize, u64),
    /// A cut wire is joined again.
    Mend(usize),
    Calm(usize),
    /// Both senders of a path find out what size it takes.
    SizeFound(usize),
}

struct Due {
    at: Duration,
    order: u64,
    event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// Everything there is.
pub struct World {
    base: Instant,
    now: Duration,
    events: BinaryHeap<Due>,
    scheduled: u64,
    rng: Rng,
    node: RelayNode,
    members: Vec<Member>,
    oracle: Oracle,
    sabotage: Sabotage,
    next_connection: u64,
}

impl World {
    /// An empty world with a relay.
    #[must_use]
    pub fn new(seed: u64, sabotage: Sabotage) -> Self {
        Self {
            base: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            rng: Rng::new(seed),
            node: RelayNode::new(),
            members: vec![],
            oracle: Oracle::default(),
            sabotage,
            next_connection: 0,
        }
    }

    /// Somebody who has not joined yet. Returns its number.
    pub fn add(&mut self, plan: MemberPlan) -> usize {
        self.members.push(Member::new(plan, &mut self.rng));
        self.members.len() - 1
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Whether that member is in its room now, as it sees it.
    #[must_use]
    pub fn is_joined(&self, member: usize) -> bool {
        self.members[member].roster.is_some()
    }

    /// The number that member has in its room.
    #[must_use]
    pub fn number(&self, member: usize) -> Option<MemberId> {
        self.members[member].roster.as_ref().map(|r| r.own().id)
    }

    /// The first broken promise, in words.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.oracle.violation.as_deref()
    }

    /// Frames that reached devices so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.oracle.delivered
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.events.peek().filter(|due| due.at <= end && self.oracle.violation.is_none()) {
            let (at, event) = (due.at, due.event);
            self.events.pop();
            self.now = self.now.max(at);
            self.handle(event, at);
        }
        self.now = self.now.max(end);
    }

    /// The machine all of this runs on sleeps: time has passed and nobody was there.
    pub fn sleep(&mut self, time: Duration) {
        self.now += time;
    }

    /// Cuts a member's path for a while.
    pub fn cut(&mut self, member: usize, time: Duration) {
        let until = self.now + time;
        let m = &mut self.members[member];
        m.up.cut(until);
        m.down.cut(until);
        self.schedule(until, Event::Mend(member));
    }

    /// Makes a member's path worse for a while.
    pub fn worsen(&mut self, member: usize, time: Duration, change: impl Fn(&mut Impairment)) {
        let m = &mut self.members[member];
        m.up.worsen(&change);
        m.down.worsen(&change);
        self.restore_cuts(member);
        self.schedule(self.now + time, Event::Calm(member));
    }

    /// A member's path takes another size from now on.
    pub fn resize(&mut self, member: usize, budget: DatagramBudget) {
        let m = &mut self.members[member];
        m.up.resize(budget);
        m.down.resize(budget);
        self.schedule(self.now + SIZE_FOUND_AFTER, Event::SizeFound(member));
    }

    /// Ends every fault, waits until the promised times are over, and holds everybody to them: everybody is back, all
    /// tables are equal, and every frame reaches exactly those it should.
    pub fn settle(&mut self) {
        for member in 0..self.members.len() {
            let m = &mut self.members[member];
            (m.up.cut_until, m.down.cut_until) = (self.now, self.now);
            self.handle(Event::Calm(member), self.now);
            self.handle(Event::Mend(member), self.now);
        }
        self.return_relay();
        self.run_for(BACK_WITHIN);
        self.check_everybody_is_back();
        self.run_for(SIZES_WITHIN);
        self.check();
        self.check_tables();
        self.probe();
    }

    /// Everybody sends one frame to everybody and one to all; each must arrive exactly where it should.
    fn probe(&mut self) {
        let mut probes = vec![];
        for sender in 0..self.members.len() {
            probes.extend(self.probes_of(sender));
        }
        for (sender, src, dst, kind) in probes {
            self.send_probe(sender, src, dst, kind);
            self.run_for(Duration::from_millis(5));
        }
        self.run_for(Duration::from_secs(2));
        self.check();
        self.oracle.check_probes();
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Due { at, order: self.scheduled, event });
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn handle(&mut self, event: Event, at: Duration) {
        match event {
            Event::Wire(member, side) => {
                let lane = self.lane(member, side);
                if lane.wake != Some(at) {
                    return;
                }
                lane.wake = None;
                match side {
                    Side::Up => self.relay_receives(member),
                    Side::Down => self.member_receives(member),
                }
                self.watch(member, side);
            }
            Event::Control(member, Side::Up) => self.relay_hears(member),
            Event::Control(member, Side::Down) => self.member_hears(member),
            Event::Tick => self.relay_ticks(),
            Event::RelayReturns => self.return_relay(),
            Event::Dial(member, attempt) => self.dial(member, attempt),
            Event::GiveUp(member, attempt) => self.give_up(member, attempt),
            Event::Beat(member, connection) => self.beat(member, connection),
            Event::Mend(member) => {
                let now = self.now;
                self.members[member].up.mend(now);
                self.members[member].down.mend(now);
                self.drain(member);
            }
            Event::Calm(member) => {
                self.members[member].up.calm();
                self.members[member].down.calm();
                self.restore_cuts(member);
            }
            Event::SizeFound(member) => self.size_found(member),
        }
    }

    /// A change of character does not join what is cut.
    fn restore_cuts(&mut self, member: usize) {
        let now = self.now;
        for side in [Side::Up, Side::Down] {
            let lane = self.lane(member, side);
            lane.wire.set_down(lane.cut_until > now);
        }
    }

    fn lane(&mut self, member: usize, side: Side) -> &mut Lane {
        let m = &mut self.members[member];
        match side {
            Side::Up => &mut m.up,
            Side::Down => &mut m.down,
        }
    }

    /// Sees to it that the world looks at a wire when something comes out of it.
    fn watch(&mut self, member: usize, side: Side) {
        let lane = self.lane(member, side);
        let Some(due) = lane.wire.next_due() else { return };
        if lane.wake.is_none_or(|wake| due < wake) {
            lane.wake = Some(due);
            self.schedule(due, Event::Wire(member, side));
        }
    }

    fn say(&mut self, member: usize, side: Side, connection: u64, item: lane::Item) {
        let now = self.now;
        let m = &mut self.members[member];
        let lane = if side == Side::Up { &mut m.up } else { &mut m.down };
        let due = lane.say(connection, item, now, &mut self.rng);
        self.schedule(due, Event::Control(member, side));
    }

    /// A promise that only the story knows of.
    pub fn hold(&mut self, kept: bool, otherwise: &str) {
        if !kept {
            self.violate(|| otherwise.to_owned());
        }
    }

    fn violate(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        self.oracle.violate(|| format!("at {now:?}: {}", words()));
    }
}
