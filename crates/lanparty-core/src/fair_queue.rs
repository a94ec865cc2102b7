//! The queue in front of a path: FQ-CoDel (RFC 8290). Each flow gets the same share of the path, one that sends little passes those
//! that send much, and one that fills its part for longer than its sender needs to notice loses datagrams until it does.
//!
//! It promises: no more than [`EGRESS_FRAMES_MAX`] datagrams and [`EGRESS_BYTES_MAX`] bytes; nothing older than [`EGRESS_AGE_MAX`], or
//! than the path's round trip where that is longer, comes out; order within a flow; every datagram that goes in comes out once, from
//! [`FairQueue::pop`] or as [`Discarded`].
//! When the path takes more is its owner's business.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_proto::{DropReason, Flow as FlowKey};

use crate::Drops;
use codel::CoDel;
use early::Early;
use pool::{Fifo, Pool, Waiting};

mod codel;
mod early;
mod pool;

use codel::Limits;
pub use codel::{CODEL_INTERVAL, CODEL_TARGET};

/// Most datagrams queued: 1,024 of 1,400 bytes are 1.4 MiB, inside the 2 MiB that one stalled member may cost.
pub const EGRESS_FRAMES_MAX: usize = 1024;
/// One that waited longer than this is dropped instead of delivered late: a late game frame is worth less than none (THREATS A19).
pub const EGRESS_AGE_MAX: Duration = Duration::from_millis(100);
/// Most bytes queued: with what the queue needs besides, inside the 2 MiB that one stalled member may cost, whatever the size of its
/// datagrams.
pub const EGRESS_BYTES_MAX: usize = 1536 * 1024;

/// A flow's turn on a path that is not known to be fast: one full Ethernet frame (RFC 8290 §5.2.4). Also what CoDel leaves to a flow.
const QUANTUM: usize = 1514;
/// On a fast path a turn lasts so long: a train of one flow is joined into few writes over there, and each that waits for others' turns
/// waits no longer than that for each.
const TURN_TIME: Duration = Duration::from_micros(100);
/// The longest turn: a super-frame.
const QUANTUM_MAX: usize = 64 * 1024;
/// Places for flows; those that share one share its turns (RFC 8290 §5.2.3).
const PLACES: usize = 1024;
/// Most datagrams dropped in one go when the queue is full, so that a flood does not cost a search each (RFC 8290 §4.1).
const DROP_BATCH: usize = 64;
/// Most ends of ways that wait.
const LAST_MAX: usize = 64;

/// A datagram that came to nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    /// As it was pushed.
    pub datagram: Bytes,
    /// [`DropReason::QueueFull`] or [`DropReason::QueueDelay`].
    pub reason: DropReason,
}

impl From<&[Discarded]> for Drops {
    fn from(discarded: &[Discarded]) -> Self {
        let mut drops = Self::default();
        discarded.iter().for_each(|d| drops.add(d.reason, 1));
        drops
    }
}

#[derive(Debug, Default)]
struct Flow {
    fifo: Fifo,
    codel: CoDel,
    /// Bytes that it may still send in this turn; below zero when it took more.
    credit: isize,
    /// Whether it is in one of the lists.
    is_listed: bool,
}

/// What must not pass anything that waited before it.
#[derive(Debug)]
struct Last {
    datagram: Bytes,
    number: u64,
    /// How many of those still wait.
    ahead: usize,
}

/// The datagram that was popped last.
#[derive(Debug)]
struct Popped {
    place: Option<u16>,
    since: Instant,
    number: u64,
}

/// Datagrams waiting for a path. Calls cost the same however many wait, but for those that make room.
#[derive(Debug)]
pub struct FairQueue {
    seed: u64,
    /// None until the first datagram waits: most queues never hold one.
    flows: Vec<Flow>,
    pool: Pool,
    /// Flows whose first turn is to come.
    new: VecDeque<u16>,
    /// Flows that had one.
    old: VecDeque<u16>,
    last: VecDeque<Last>,
    /// Datagrams in flows.
    len: usize,
    bytes: usize,
    pushed: u64,
    popped: Option<Popped>,
    limits: Limits,
    early: Early,
    /// Bytes of a flow's turn.
    quantum: usize,
}

impl FairQueue {
    /// An empty queue. `seed` is random, so that nobody can choose addresses that share a place with another's.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            flows: vec![],
            pool: Pool::default(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            last: VecDeque::new(),
            len: 0,
            bytes: 0,
            pushed: 0,
            popped: None,
            limits: Limits::default(),
            early: Early::default(),
            quantum: QUANTUM,
        }
    }

    /// The way's longest round trip: what its senders take to notice, see [`CODEL_INTERVAL`]. A queue shorter than that would lose the
    /// first window of every flow on a long path, and nothing is saved by dropping as late what is on its way for as long.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.limits = Limits::of(rtt);
    }

    /// What the way carries, in bytes per second; 0 when that is not known. A flow's turn is what it carries in 100 µs.
    pub fn set_rate(&mut self, bytes_per_s: u64) {
        let turn = (u128::from(bytes_per_s) * TURN_TIME.as_micros() / 1_000_000).clamp(QUANTUM as u128, QUANTUM_MAX as u128);
        self.quantum = turn as usize;
    }

    /// Appends a datagram to its flow (RFC 8290 §4.1). What makes room for it comes back: from the flow that has most waiting.
    pub fn push(&mut self, datagram: Bytes, now: Instant) -> Vec<Discarded> {
        if self.flows.is_empty() {
            self.flows.resize_with(PLACES, Flow::default);
        }
        let place = self.place(&datagram);
        (self.len, self.bytes) = (self.len + 1, self.bytes + datagram.len());
        let waiting = Waiting { datagram, since: now, number: self.number() };
        let flow = &mut self.flows[usize::from(place)];
        self.pool.push_back(&mut flow.fifo, waiting);
        if !flow.is_listed {
            (flow.is_listed, flow.credit) = (true, self.quantum.cast_signed());
            self.new.push_back(place);
        }
        let mut discarded = vec![];
        self.tell_early(now, &mut discarded);
        self.make_room(&mut discarded);
        discarded
    }

    /// Appends a datagram that may not pass any that waits now, of whatever flow, and does not age: the end of a way.
    pub fn push_last(&mut self, datagram: Bytes) -> Vec<Discarded> {
        if self.last.len() >= LAST_MAX {
            return vec![Discarded { datagram, reason: DropReason::QueueFull }];
        }
        let number = self.number();
        self.last.push_back(Last { datagram, number, ahead: self.len });
        vec![]
    }

    /// The datagram whose turn it is (RFC 8290 §4.2), and those dropped before it.
    pub fn pop(&mut self, now: Instant) -> (Option<Bytes>, Vec<Discarded>) {
        let mut discarded = vec![];
        loop {
            if let Some(last) = self.last.pop_front_if(|last| last.ahead == 0) {
                self.popped = Some(Popped { place: None, since: now, number: last.number });
                return (Some(last.datagram), discarded);
            }
            let Some(place) = self.turn() else { return (None, discarded) };
            if let Some(Waiting { datagram, since, number }) = self.take(place, now, &mut discarded) {
                self.flows[usize::from(place)].credit -= datagram.len().cast_signed();
                self.popped = Some(Popped { place: Some(place), since, number });
                return (Some(datagram), discarded);
            }
            self.end_turn(place);
        }
    }

    /// Puts back what [`Self::pop`] gave last and the path did not take. It grows no younger by it.
    pub fn unpop(&mut self, datagram: Bytes, now: Instant) {
        let popped = self.popped.take();
        let Some(Popped { place: Some(place), since, number }) = popped else {
            let number = popped.map_or(self.pushed, |p| p.number);
            return self.last.push_front(Last { datagram, number, ahead: 0 });
        };
        debug_assert!(since <= now, "time goes forward");
        (self.len, self.bytes) = (self.len + 1, self.bytes + datagram.len());
        self.last.iter_mut().filter(|last| last.number > number).for_each(|last| last.ahead += 1);
        let flow = &mut self.flows[usize::from(place)];
        flow.credit += datagram.len().cast_signed();
        self.pool.push_front(&mut flow.fifo, Waiting { datagram, since, number });
    }

    /// Takes everything out, in no order: the path is gone.
    pub fn drain(&mut self) -> Vec<Bytes> {
        let mut all: Vec<Bytes> = self.last.drain(..).map(|last| last.datagram).collect();
        for place in self.new.drain(..).chain(self.old.drain(..)) {
            let flow = &mut self.flows[usize::from(place)];
            all.extend(std::iter::from_fn(|| self.pool.pop_front(&mut flow.fifo)).map(|w| w.datagram));
            *flow = Flow::default();
        }
        (self.len, self.bytes, self.popped) = (0, 0, None);
        all
    }

    /// The first datagrams of all flows: what [`Self::pop`] gives next, and what it gives when those before are put back by
    /// [`Self::pass`].
    pub fn fronts(&self) -> impl Iterator<Item = &Bytes> {
        let last = self.last.front().filter(|last| last.ahead == 0).map(|last| &last.datagram);
        let places = self.new.iter().chain(&self.old);
        last.into_iter().chain(places.filter_map(|place| self.pool.front(&self.flows[usize::from(*place)].fifo)))
    }

    /// As [`Self::unpop`], and lets other flows have their turn before: the path takes what they have, perhaps.
    pub fn pass(&mut self, datagram: Bytes, now: Instant) {
        let place = self.popped.as_ref().and_then(|popped| popped.place);
        self.unpop(datagram, now);
        let Some(place) = place else { return };
        let list = if self.new.front() == Some(&place) { &mut self.new } else { &mut self.old };
        if list.pop_front_if(|first| *first == place).is_some() {
            self.old.push_back(place);
        }
    }

    /// Datagrams waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len + self.last.len()
    }

    /// Bytes waiting, the ends of ways left out.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it takes another datagram without dropping one.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.len < EGRESS_FRAMES_MAX && self.bytes < EGRESS_BYTES_MAX
    }

    fn place(&self, datagram: &[u8]) -> u16 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        FlowKey::of_datagram(datagram).hash(&mut hasher);
        // The remainder is below PLACES, and that is below 2¹⁶.
        (hasher.finish() % PLACES as u64) as u16
    }

    const fn number(&mut self) -> u64 {
        self.pushed += 1;
        self.pushed
    }

    /// Who has most in a queue that is half full loses one datagram, from its head, where the loss is noticed soonest.
    fn tell_early(&mut self, now: Instant, discarded: &mut Vec<Discarded>) {
        let is_half_full = self.len > EGRESS_FRAMES_MAX / 2 || self.bytes > EGRESS_BYTES_MAX / 2;
        if !is_half_full || !self.early.is_due(now) {
            return;
        }
        let share = self.bytes / (self.new.len() + self.old.len());
        let backlog = |place: &u16| self.flows[usize::from(*place)].fifo.bytes();
        let candidates = self.new.iter().chain(&self.old).copied().filter(|place| !self.early.was_told(*place) && backlog(place) >= share);
        let Some(fattest) = candidates.max_by_key(backlog) else { return };
        self.early.tell(fattest, self.limits.interval, now);
        let Some(Waiting { datagram, .. }) = self.remove_head(fattest) else { return };
        discarded.push(Discarded { datagram, reason: DropReason::QueueDelay });
    }

    fn make_room(&mut self, discarded: &mut Vec<Discarded>) {
        while self.len > EGRESS_FRAMES_MAX || self.bytes > EGRESS_BYTES_MAX {
            self.thin_out(discarded);
        }
    }

    /// RFC 8290 §4.1: half of the fattest flow goes, from its head, but not more than a batch.
    fn thin_out(&mut self, discarded: &mut Vec<Discarded>) {
        let backlog = |place: &u16| self.flows[usize::from(*place)].fifo.bytes();
        let fattest = self.new.iter().chain(&self.old).copied().max_by_key(backlog).expect("INVARIANT: what waits is in a listed flow");
        let half = backlog(&fattest) / 2;
        for _ in 0..DROP_BATCH {
            let Some(Waiting { datagram, .. }) = self.remove_head(fattest) else { break };
            discarded.push(Discarded { datagram, reason: DropReason::QueueFull });
            if self.flows[usize::from(fattest)].fifo.bytes() <= half {
                break;
            }
        }
    }

    /// The flow whose turn it is: new ones first, and an old one when it has credit. What has used up its turn goes to the end.
    fn turn(&mut self) -> Option<u16> {
        loop {
            let list = if self.new.is_empty() { &mut self.old } else { &mut self.new };
            let place = *list.front()?;
            let flow = &mut self.flows[usize::from(place)];
            if flow.credit > 0 {
                return Some(place);
            }
            flow.credit += self.quantum.cast_signed();
            list.pop_front();
            self.old.push_back(place);
        }
    }

    /// A flow without datagrams leaves; a new one first becomes an old one, so that it does not pass the others for ever by coming and going
    /// (RFC 8290 §4.2).
    fn end_turn(&mut self, place: u16) {
        let is_new = !self.new.is_empty();
        let list = if is_new { &mut self.new } else { &mut self.old };
        list.pop_front();
        if is_new && !self.old.is_empty() {
            self.old.push_back(place);
        } else {
            self.flows[usize::from(place)].is_listed = false;
        }
    }

    /// The first datagram of a flow that is neither too old nor dropped by CoDel.
    fn take(&mut self, place: u16, now: Instant, discarded: &mut Vec<Discarded>) -> Option<Waiting> {
        while let Some(waiting) = self.remove_head(place) {
            let wait = now.saturating_duration_since(waiting.since);
            let flow = &mut self.flows[usize::from(place)];
            let reason = if wait > self.limits.age {
                DropReason::QueueFull
            } else if flow.codel.drops(wait, flow.fifo.bytes(), QUANTUM, &self.limits, now) {
                DropReason::QueueDelay
            } else {
                return Some(waiting);
            };
            discarded.push(Discarded { datagram: waiting.datagram, reason });
        }
        self.flows[usize::from(place)].codel.emptied();
        None
    }

    fn remove_head(&mut self, place: u16) -> Option<Waiting> {
        let waiting = self.pool.pop_front(&mut self.flows[usize::from(place)].fifo)?;
        (self.len, self.bytes) = (self.len - 1, self.bytes - waiting.datagram.len());
        self.last.iter_mut().filter(|last| last.number > waiting.number).for_each(|last| last.ahead -= 1);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests;
