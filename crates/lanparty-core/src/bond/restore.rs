//! Inbound: copies are removed, and every flow gets its order back. Never a global order: a flow waits for its own only.
//!
//! Each datagram names the one of its flow before it. While that is missing it is held: until it comes; until every path has delivered
//! something younger, which means that it is lost; or until the paths' spread has passed. What is lost the other end is asked for once more
//! ([`super::Repeats`]), and a transfer waits for that. What comes after its flow has gone on is dropped, not delivered late.

mod asks;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_proto::{SEQUENCE_FLOWS, Sequence};
use serde::Serialize;

pub use asks::answer_time;
use asks::{Asks, is_worth_a_wait};

/// Numbers whose fate is remembered: half a second at 300 Mbit/s.
const WINDOW: u64 = 16_384;
/// Datagrams that may be held: what two unequal paths need, and a bound on memory of 12 MiB.
const HELD_MAX: usize = 8192;
/// Within one path some datagrams overtake others: one that all paths have passed is waited for so much longer.
const GRACE_MIN: Duration = Duration::from_millis(2);
const GRACE_MAX: Duration = Duration::from_millis(40);
/// How long it takes to believe in an orderly path again.
const GRACE_DECAY: Duration = Duration::from_secs(2);
/// Shortest and longest wait for what a slower path may bring. A loss is known as soon as every path has passed it, so that this is for
/// paths that fall silent: a wait too short drops what arrives, and costs a TCP flow half of its rate.
const PATIENCE_MIN: Duration = Duration::from_millis(60);
const PATIENCE_MAX: Duration = Duration::from_millis(600);

/// How long a flow waits for what a slower path may bring: by how much the paths' round-trip times differ, and then as much as a queue
/// on one of them may grow meanwhile.
#[must_use]
pub fn patience(rtts: impl IntoIterator<Item = Duration>) -> Duration {
    let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
    for rtt in rtts {
        (least, most) = (least.min(rtt), most.max(rtt));
    }
    (most.saturating_sub(least) * 3 / 2 + PATIENCE_MIN).clamp(PATIENCE_MIN, PATIENCE_MAX)
}

/// What became of a datagram that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It is delivered, and perhaps others that had waited for it.
    Delivered,
    /// It waits for one of its flow.
    Held,
    /// A copy of it came before.
    Duplicate,
    /// Its flow has gone on without it.
    Late,
}

/// What a restorer has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct RestoreReport {
    /// Copies that were removed.
    pub duplicates: u64,
    /// Datagrams that came after their flow had gone on.
    pub late: u64,
    /// Datagrams that had to wait.
    pub held: u64,
    /// Datagrams that were waited for in vain.
    pub given_up: u64,
    /// Of those, so many until nobody had any more patience: no path had passed them.
    pub out_of_patience: u64,
    /// Datagrams that the other end was asked for once more.
    pub asked: u64,
    /// Of those, so many that came.
    pub repeated: u64,
    /// Datagrams without a place in the order: not of our making, and dropped.
    pub unnumbered: u64,
    /// Datagrams that wait now.
    pub waiting: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unseen,
    /// Lost, and asked for.
    Asked,
    Held,
    Delivered,
    GivenUp,
}

struct Held {
    datagram: Bytes,
    /// The number that it waits for.
    before: u64,
}

/// Restores the order of what comes by several paths.
pub struct Restorer {
    /// The highest number seen, counted on where the wire's numbers go round; nothing before the first.
    top: Option<u64>,
    fates: Vec<Fate>,
    /// By flow and number.
    held: BTreeMap<(u16, u64), Held>,
    /// The newest one of each flow that was delivered: what is older comes too late, whoever was waited for.
    newest: Vec<u64>,
    /// Who waits for a number, by flow and number.
    followers: BTreeMap<u64, (u16, u64)>,
    /// Missing numbers that somebody waits for, and since when.
    missing: BTreeMap<u64, Instant>,
    /// The same in the order in which the wait began.
    waits: VecDeque<u64>,
    /// Numbers that every path has passed and that have not come, and until when they may still be on their way.
    passed: VecDeque<(Instant, u64)>,
    /// Up to where missing numbers were looked at.
    passed_to: u64,
    /// The highest number that each path has brought.
    paths: BTreeMap<u8, u64>,
    asks: Asks,
    patience: Duration,
    grace: Duration,
    grace_since: Option<Instant>,
    report: RestoreReport,
}

impl Default for Restorer {
    fn default() -> Self {
        Self {
            top: None,
            fates: vec![Fate::Unseen; usize::try_from(WINDOW).unwrap_or(0)],
            held: BTreeMap::new(),
            newest: vec![0; SEQUENCE_FLOWS.into()],
            followers: BTreeMap::new(),
            missing: BTreeMap::new(),
            waits: VecDeque::new(),
            passed: VecDeque::new(),
            passed_to: 0,
            paths: BTreeMap::new(),
            asks: Asks::default(),
            patience: PATIENCE_MIN,
            grace: GRACE_MIN,
            grace_since: None,
            report: RestoreReport::default(),
        }
    }
}

impl Restorer {
    /// A path may bring something from now on.
    pub fn add_path(&mut self, path: u8) {
        self.paths.insert(path, self.top.unwrap_or(0));
    }

    /// A path brings nothing more: what only it could bring is not waited for any longer than what is lost.
    pub fn remove_path(&mut self, path: u8, now: Instant, out: &mut Vec<Bytes>) {
        self.paths.remove(&path);
        self.look_at_passed(now);
        self.expire(now, out);
    }

    /// How long a flow waits for what a slower path may bring, see [`patience`].
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// How long the answer is waited for when the other end is asked for something once more, see [`answer_time`].
    pub const fn set_answer_time(&mut self, time: Option<Duration>) {
        self.asks.answer_time = time;
    }

    /// Numbers that the other end shall be asked for now.
    pub fn take_asks(&mut self) -> Vec<u32> {
        self.asks.take()
    }

    /// A datagram came by a path, its number taken off. What may be delivered is appended to `out`, in order.
    pub fn take(&mut self, path: u8, sequence: Sequence, datagram: Bytes, now: Instant, out: &mut Vec<Bytes>) -> Arrival {
        let Some(number) = self.place(sequence.number) else { return self.late(sequence.passes, now) };
        if !sequence.passes {
            let highest = self.paths.entry(path).or_insert(number);
            *highest = number.max(*highest);
        }
        if self.fate(number) == Fate::Asked {
            self.note_answer(sequence.passes, now);
        }
        let arrival = match self.fate(number) {
            Fate::Held | Fate::Delivered => {
                self.report.duplicates += 1;
                Arrival::Duplicate
            }
            Fate::GivenUp => self.late(sequence.passes, now),
            Fate::Unseen | Fate::Asked if self.newest.get(usize::from(sequence.flow)).is_some_and(|newest| *newest > number) => {
                self.missing.remove(&number);
                self.set_fate(number, Fate::GivenUp);
                self.release(number, out);
                self.late(sequence.passes, now)
            }
            Fate::Unseen | Fate::Asked => self.first(number, sequence, datagram, now, out),
        };
        self.look_at_passed(now);
        self.expire(now, out);
        arrival
    }

    /// A datagram came that has no place in the order.
    pub const fn count_unnumbered(&mut self) {
        self.report.unnumbered += 1;
    }

    /// When [`Self::expire`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let is_patient = |number: &&u64| self.fate(**number) != Fate::Asked;
        let patient = self.waits.iter().filter(is_patient).find_map(|number| self.missing.get(number)).map(|since| *since + self.patience);
        let passed = self.passed.iter().find(|(_, number)| self.is_due_when_passed(*number)).map(|(until, _)| *until);
        let asked = self.asks.asked.iter().find(|(_, number)| self.fate(*number) == Fate::Asked).map(|(until, _)| *until);
        [patient, passed, asked].into_iter().flatten().min()
    }

    /// Goes on without what was waited for long enough.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        while let Some((_, number)) = self.passed.pop_front_if(|(until, _)| *until <= now) {
            self.miss(number, now, out);
        }
        while let Some((_, number)) = self.asks.asked.pop_front_if(|(until, _)| *until <= now) {
            if self.fate(number) == Fate::Asked {
                self.asks.in_vain(now);
                self.set_fate(number, Fate::GivenUp);
                if self.missing.contains_key(&number) {
                    self.give_up(number, out);
                }
            }
        }
        while let Some(number) = self.waits.front().copied() {
            let is_full = self.held.len() > HELD_MAX;
            if let Some(since) = self.missing.get(&number).filter(|_| is_full || self.fate(number) != Fate::Asked) {
                if *since + self.patience > now && !is_full {
                    break;
                }
                self.report.out_of_patience += 1;
                self.give_up(number, out);
            }
            self.waits.pop_front();
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn report(&self) -> RestoreReport {
        RestoreReport { waiting: self.held.len(), ..self.report }
    }

    /// The number, counted on; `None` when its fate is forgotten.
    fn place(&mut self, number: u32) -> Option<u64> {
        let Some(top) = self.top else {
            // One round up, so that what came before the first has a number too.
            let first = u64::from(number) + (1 << 32);
            self.top = Some(first);
            self.passed_to = first;
            self.paths.values_mut().for_each(|highest| *highest = first);
            return Some(first);
        };
        let ahead = number.wrapping_sub(top as u32).cast_signed();
        let placed = top.checked_add_signed(ahead.into())?;
        if placed > top {
            for fresh in top + 1..=placed.min(top + WINDOW) {
                self.set_fate(fresh, Fate::Unseen);
            }
            self.top = Some(placed);
        }
        (placed + WINDOW > self.top.unwrap_or(placed)).then_some(placed)
    }

    fn first(&mut self, number: u64, sequence: Sequence, datagram: Bytes, now: Instant, out: &mut Vec<Bytes>) -> Arrival {
        self.missing.remove(&number);
        let before = number.checked_sub(sequence.back.into()).filter(|_| sequence.back > 0);
        let is_remembered = |before: &u64| before + WINDOW > self.top.unwrap_or(0);
        // Two that claim to follow the same one are not of our making.
        let is_remembered = |before: &u64| is_remembered(before) && !self.followers.contains_key(before);
        let may_come = |before: &u64| matches!(self.fate(*before), Fate::Unseen | Fate::Asked | Fate::Held);
        let Some(before) = before.filter(is_remembered).filter(may_come) else {
            self.deliver(number, sequence.flow, datagram, out);
            return Arrival::Delivered;
        };
        if self.fate(before) != Fate::Held && !self.missing.contains_key(&before) {
            self.missing.insert(before, now);
            self.waits.push_back(before);
            if before <= self.passed_to {
                self.passed.push_back((now + self.grace, before));
            }
        }
        self.set_fate(number, Fate::Held);
        self.held.insert((sequence.flow, number), Held { datagram, before });
        self.followers.insert(before, (sequence.flow, number));
        self.report.held += 1;
        Arrival::Held
    }

    /// Delivers it, and who waited for it.
    fn deliver(&mut self, number: u64, flow: u16, datagram: Bytes, out: &mut Vec<Bytes>) {
        let mut next = vec![(flow, number, datagram)];
        while let Some((flow, number, datagram)) = next.pop() {
            let older = self.deliver_older(flow, number, out);
            self.hand_out(flow, number, datagram, out);
            next.extend(older.into_iter().chain([number]).filter_map(|number| self.take_follower(number)));
        }
    }

    /// Those of the flow that wait for something still older go first: their wait has lost its sense.
    fn deliver_older(&mut self, flow: u16, number: u64, out: &mut Vec<Bytes>) -> Vec<u64> {
        let mut delivered = vec![];
        while let Some((&(_, older), _)) = self.held.range((flow, 0)..(flow, number)).next() {
            let Some(held) = self.held.remove(&(flow, older)) else { break };
            self.followers.remove(&held.before);
            if self.missing.remove(&held.before).is_some() {
                self.report.given_up += 1;
                self.set_fate(held.before, Fate::GivenUp);
            }
            self.hand_out(flow, older, held.datagram, out);
            delivered.push(older);
        }
        delivered
    }

    fn release(&mut self, number: u64, out: &mut Vec<Bytes>) {
        if let Some((flow, number, datagram)) = self.take_follower(number) {
            self.deliver(number, flow, datagram, out);
        }
    }

    fn take_follower(&mut self, number: u64) -> Option<(u16, u64, Bytes)> {
        let (flow, follower) = self.followers.remove(&number)?;
        let held = self.held.remove(&(flow, follower))?;
        Some((flow, follower, held.datagram))
    }

    fn hand_out(&mut self, flow: u16, number: u64, datagram: Bytes, out: &mut Vec<Bytes>) {
        out.push(datagram);
        self.set_fate(number, Fate::Delivered);
        if let Some(newest) = self.newest.get_mut(usize::from(flow)) {
            *newest = number;
        }
    }

    fn give_up(&mut self, number: u64, out: &mut Vec<Bytes>) {
        self.missing.remove(&number);
        self.report.given_up += 1;
        if matches!(self.fate(number), Fate::Unseen | Fate::Asked) {
            self.set_fate(number, Fate::GivenUp);
        }
        self.release(number, out);
    }

    /// One that every path has passed did not come: it is asked for, and whoever waits for it goes on, unless the wait is worth it.
    fn miss(&mut self, number: u64, now: Instant, out: &mut Vec<Bytes>) {
        let is_known = number + WINDOW > self.top.unwrap_or(0);
        if is_known && self.fate(number) == Fate::Unseen && self.asks.ask(number, now) {
            self.report.asked += 1;
            self.set_fate(number, Fate::Asked);
        }
        if self.missing.contains_key(&number) && !(self.fate(number) == Fate::Asked && self.is_wait_worth(number)) {
            self.give_up(number, out);
        }
    }

    /// Whether who waits for a number gains by it.
    fn is_wait_worth(&self, number: u64) -> bool {
        let waiting = self.followers.get(&number).and_then(|follower| self.held.get(follower));
        waiting.is_some_and(|held| is_worth_a_wait(&held.datagram))
    }

    fn is_due_when_passed(&self, number: u64) -> bool {
        self.missing.contains_key(&number) || self.asks.answer_time.is_some() && self.fate(number) == Fate::Unseen
    }

    /// What was asked for came. That which does not say that it passes others is no answer: it was overtaken, and not lost.
    fn note_answer(&mut self, passes: bool, now: Instant) {
        self.asks.answered();
        if passes {
            self.report.repeated += 1;
        } else {
            self.be_patient(now);
        }
    }

    fn late(&mut self, passes: bool, now: Instant) -> Arrival {
        self.report.late += 1;
        if !passes {
            self.be_patient(now);
        }
        Arrival::Late
    }

    /// Something was overtaken by more than was thought of.
    fn be_patient(&mut self, now: Instant) {
        self.grace = (self.grace * 2).min(GRACE_MAX);
        self.grace_since = Some(now);
    }

    /// Missing numbers that every path has passed since the last look are lost, unless they were overtaken.
    fn look_at_passed(&mut self, now: Instant) {
        let Some(floor) = self.paths.values().min().copied().or(self.top) else { return };
        if floor <= self.passed_to {
            return;
        }
        if self.grace_since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE_DECAY) {
            self.grace = (self.grace / 2).max(GRACE_MIN);
            self.grace_since = Some(now);
        }
        let until = now + self.grace;
        // Of what is older nothing is known any more.
        let from = (self.passed_to + 1).max((self.top.unwrap_or(floor) + 1).saturating_sub(WINDOW));
        let have_not_come = (from..=floor).filter(|number| self.fate(*number) == Fate::Unseen);
        let have_not_come: Vec<_> = have_not_come.map(|number| (until, number)).collect();
        self.passed.extend(have_not_come);
        self.passed_to = floor;
    }

    fn fate(&self, number: u64) -> Fate {
        usize::try_from(number % WINDOW).ok().and_then(|at| self.fates.get(at)).copied().unwrap_or(Fate::GivenUp)
    }

    fn set_fate(&mut self, number: u64, fate: Fate) {
        if let Some(slot) = usize::try_from(number % WINDOW).ok().and_then(|at| self.fates.get_mut(at)) {
            *slot = fate;
        }
    }
}

#[cfg(test)]
mod tests;
