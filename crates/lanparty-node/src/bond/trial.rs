//! A test of a bond, at both of its ends (docs/decisions/0025-bond-test.md): the datagrams that measure, what one end may ask of the
//! other, and a path that is silent for a moment as if its line had died.
//!
//! The member conducts (`course`); the relay sends loads when asked, counts what arrives, and answers. Nothing of it is a frame: what
//! measures is taken out in front of the bond's owner.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::Drops;
use lanparty_proto::{Control, SEQUENCE_LEN, TrialDatagram, TrialPart, TrialStep};

use super::path::{Lot, Path};
use super::send::{Burst, Offered};
use super::{Shared, State};
use lanparty_core::Flight;

pub(super) mod course;

/// Longest test; and the time that a bond waits from one to the next.
const TRIAL_MAX: Duration = Duration::from_secs(120);
const REST: Duration = Duration::from_secs(20);
/// Longest load, and the most that it sends in a second: more than one relay's line carries is not measured.
pub(super) const LOAD_MAX: Duration = Duration::from_secs(5);
const LOAD_BYTES_PER_S: u64 = 125_000_000;
/// Datagrams of a load that are made at once, and how often one looks for room.
const LOAD_BATCH: usize = 32;
const LOAD_PAUSE: Duration = Duration::from_millis(1);
/// Steps that wait to be dealt with. They are asked one after the other, so this is for a peer that does not wait.
const WAITING_MAX: usize = 16;
/// Asks of which the answers are awaited.
const ASKS_MAX: usize = 4096;

/// The one place for a test at a relay: whoever has it may measure, others wait. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct TrialSeat(Arc<Mutex<Option<(u32, Instant)>>>);

impl TrialSeat {
    fn take(&self, test: u32, until: Instant, now: Instant) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = taken.is_none_or(|(_, until)| until <= now);
        if is_free {
            *taken = Some((test, until));
        }
        is_free
    }

    fn leave(&self, test: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(taken, _)| *taken == test);
    }
}

/// The tests of one bond.
#[derive(Default)]
pub(super) struct TrialState {
    /// Only an end that has one does what it is asked.
    seat: Option<TrialSeat>,
    running: Option<Running>,
    rest_until: Option<Instant>,
    asked: VecDeque<(u32, TrialStep)>,
    replies: VecDeque<Reply>,
}

/// What the other end said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    test: u32,
    refused: Option<String>,
    received: u64,
    at: Duration,
}

struct Running {
    test: u32,
    began: Instant,
    until: Instant,
    load_until: Option<Instant>,
    /// Bytes of loads that arrived.
    received: u64,
    last_load: Option<Instant>,
    longest_gap: Duration,
    /// Asks without an answer yet.
    asks: BTreeMap<u32, Instant>,
    next_ask: u32,
    answers: Vec<(Instant, Duration)>,
}

impl Running {
    const fn new(test: u32, now: Instant, until: Instant) -> Self {
        Self {
            test,
            began: now,
            until,
            load_until: None,
            received: 0,
            last_load: None,
            longest_gap: Duration::ZERO,
            asks: BTreeMap::new(),
            next_ask: 0,
            answers: Vec::new(),
        }
    }

    fn load_arrives(&mut self, len: usize, now: Instant) {
        self.received += len as u64;
        if let Some(before) = self.last_load.replace(now) {
            self.longest_gap = self.longest_gap.max(now.saturating_duration_since(before));
        }
    }
}

impl Drop for TrialState {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

impl TrialState {
    /// Does what is asked from now on, one test at a time of all that share the seat.
    pub(super) fn serve(&mut self, seat: TrialSeat) {
        self.seat = Some(seat);
    }

    /// Keeps what came by a control stream, for who deals with it.
    pub(super) fn hear(&mut self, message: Control) {
        match message {
            Control::Trial { test, step } if self.asked.len() < WAITING_MAX => self.asked.push_back((test, step)),
            Control::TrialAnswer { test, refused, received, at_us } if self.replies.len() < WAITING_MAX => {
                self.replies.push_back(Reply { test, refused, received, at: Duration::from_micros(at_us) });
            }
            _ => {}
        }
    }

    fn running(&mut self, test: u32, now: Instant) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| running.test == test && now < running.until)
    }

    /// Begins a test here.
    fn begin(&mut self, test: u32, now: Instant) -> Result<(), String> {
        if let Some(rest) = self.rest_until.filter(|rest| now < *rest) {
            return Err(format!("a test is under way, or was a moment ago; try again in {} s", (rest - now).as_secs() + 1));
        }
        let until = now + TRIAL_MAX;
        if self.seat.as_ref().is_some_and(|seat| !seat.take(test, until, now)) {
            return Err("the relay takes part in one test at a time, and somebody else's is under way; try again in two minutes".into());
        }
        self.rest_until = Some(until + REST);
        self.running = Some(Running::new(test, now, until));
        Ok(())
    }

    fn end(&mut self, now: Instant) {
        let Some(running) = self.running.take() else { return };
        self.rest_until = Some(now + REST);
        if let Some(seat) = &self.seat {
            seat.leave(running.test);
        }
    }

    /// What the other end asked for, and how long a load it is to be sent.
    fn obey(&mut self, test: u32, step: &TrialStep, now: Instant) -> Result<Option<Duration>, String> {
        if self.seat.is_none() {
            return Err("the relay takes part in no tests".into());
        }
        if *step == TrialStep::Begin {
            return self.begin(test, now).map(|()| None);
        }
        let Some(running) = self.running(test, now) else { return Err("this test is over".into()) };
        match step {
            TrialStep::Load { ms, .. } => {
                if running.load_until.is_some_and(|until| now < until) {
                    return Err("a load is under way".into());
                }
                let time = Duration::from_millis((*ms).into()).min(LOAD_MAX);
                running.load_until = Some(now + time);
                Ok(Some(time))
            }
            TrialStep::End => {
                self.end(now);
                Ok(None)
            }
            TrialStep::Begin | TrialStep::Count | TrialStep::Unknown => Ok(None),
        }
    }

    fn count(&self, now: Instant) -> (u64, Duration) {
        self.running.as_ref().map_or((0, Duration::ZERO), |running| (running.received, now.saturating_duration_since(running.began)))
    }
}

impl Shared {
    /// Deals with what the other end asked.
    pub(super) fn answer_trials(self: &Arc<Self>) {
        loop {
            let (mut state, now) = (self.state(), Instant::now());
            let Some((test, step)) = state.trial.asked.pop_front() else { return };
            let outcome = state.trial.obey(test, &step, now);
            let (received, at) = state.trial.count(now);
            drop(state);
            if let (Ok(Some(time)), TrialStep::Load { only, .. }) = (&outcome, &step) {
                tokio::spawn(load(Arc::clone(self), test, *only, *time));
            }
            let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            self.say(&Control::TrialAnswer { test, refused: outcome.err(), received, at_us });
        }
    }

    /// Whether this path is silent for a test.
    pub(crate) fn is_muted(&self, path: u8) -> bool {
        self.state().paths.iter().any(|p| p.bond.path == path && p.mute.is_some())
    }
}

/// Fills the paths, or one of them, for a while.
async fn load(shared: Arc<Shared>, test: u32, only: Option<u8>, time: Duration) {
    let (began, mut sent_bytes, mut sequence) = (Instant::now(), 0, 0);
    while shared.not_ended().is_ok() {
        let now = Instant::now();
        let since = now.saturating_duration_since(began);
        if since >= time {
            return;
        }
        let may = (since.as_secs_f64() * LOAD_BYTES_PER_S as f64) as u64;
        let mut is_slow = true;
        if sent_bytes <= may {
            let Some(sent) = shared.state().send_load(test, only, &mut sequence, now) else { return };
            sent_bytes += sent;
            is_slow = sent == 0;
        }
        // Others send on the same paths.
        if is_slow { tokio::time::sleep(LOAD_PAUSE).await } else { tokio::task::yield_now().await }
    }
}

impl State {
    /// A batch of a load; its bytes, or nothing when the test is over.
    fn send_load(&mut self, test: u32, only: Option<u8>, sequence: &mut u32, now: Instant) -> Option<u64> {
        self.trial.running(test, now)?;
        let len = match only {
            Some(only) => self.paths.iter().find(|path| path.bond.path == only)?.link.budget().0.saturating_sub(SEQUENCE_LEN as u16),
            None => self.budget().0,
        };
        let first = *sequence;
        let datagram = |n: usize| {
            let sequence = first.wrapping_add(u32::try_from(n).unwrap_or(0));
            Bytes::from(TrialDatagram { part: TrialPart::Load, test, sequence }.encode(len.into()))
        };
        let datagrams: Vec<Bytes> = (0..LOAD_BATCH).map(datagram).collect();
        let sent = self.send_trial(&datagrams, false, only, now);
        *sequence = first.wrapping_add(u32::try_from(sent).unwrap_or(0));
        Some(sent as u64 * u64::from(len))
    }

    /// Sends an ask, which the other end answers.
    fn send_ask(&mut self, test: u32, len: usize, now: Instant) {
        let Some(running) = self.trial.running(test, now).filter(|running| running.asks.len() < ASKS_MAX) else { return };
        let sequence = running.next_ask;
        running.next_ask += 1;
        running.asks.insert(sequence, now);
        let ask = TrialDatagram { part: TrialPart::Ask, test, sequence }.encode(len);
        self.send_trial(&[ask.into()], true, None, now);
    }

    /// Sends what there is room for: how many of the first. An urgent one goes as a game's packet does, a load as a transfer's.
    fn send_trial(&mut self, datagrams: &[Bytes], is_urgent: bool, only: Option<u8>, now: Instant) -> usize {
        let mut burst = Burst::new(self, now);
        burst.restrict(|path| only.is_none_or(|only| only == path));
        let mut taken = 0;
        for datagram in datagrams {
            let judged = burst.state.sequencer.judge_trial(is_urgent);
            let mut offered = burst.offer_as(datagram, judged);
            if is_urgent && matches!(offered, Offered::NoRoom) {
                // A game's packet would wait a millisecond for room; this one is small, and goes behind what is there.
                burst.insist();
                offered = burst.offer_as(datagram, judged);
            }
            if !matches!(offered, Offered::Taken) {
                break;
            }
            taken += 1;
        }
        // What a path has become too small for is no frame, and is missed in the count.
        let _ = burst.send();
        taken
    }

    /// A datagram of a test arrived, in its order. Without a test, or of another one, it is nothing.
    pub(super) fn hear_trial(&mut self, datagram: &[u8], now: Instant) {
        let Some(one) = TrialDatagram::decode(datagram) else { return };
        let is_relay = self.trial.seat.is_some();
        let Some(running) = self.trial.running(one.test, now) else { return };
        match one.part {
            TrialPart::Load => running.load_arrives(datagram.len(), now),
            TrialPart::Ask if is_relay => {
                let answer = TrialDatagram { part: TrialPart::Answer, ..one }.encode(datagram.len());
                self.send_trial(&[answer.into()], true, None, now);
            }
            TrialPart::Ask => {}
            TrialPart::Answer => {
                if let Some(asked) = running.asks.remove(&one.sequence) {
                    running.answers.push((now, now.saturating_duration_since(asked)));
                }
            }
        }
    }
}

/// A path that is silent for a moment: it takes what its window lets out, and nothing of that is answered.
pub(super) struct Mute {
    until: Instant,
    swallowed: u64,
    bytes: u64,
    answerable: (u64, u64),
}

impl Path {
    /// Silences the path until then; what it holds goes on when it speaks again, unless it is taken back first.
    fn mute(&mut self, until: Instant) {
        self.mute = Some(Mute { until, swallowed: 0, bytes: 0, answerable: self.link.answerable() });
    }

    /// Ends its silence when the time has come.
    pub(super) fn unmute_due(&mut self, now: Instant) {
        if self.mute.take_if(|mute| mute.until <= now).is_some() {
            self.wake();
        }
    }

    /// What it was sent that wants an answer, and what was answered.
    pub(super) fn answerable(&self) -> (u64, u64) {
        self.mute.as_ref().map_or_else(|| self.link.answerable(), |mute| (mute.answerable.0 + mute.swallowed, mute.answerable.1))
    }

    /// What is in flight.
    pub(super) fn flight(&self) -> Flight {
        let mut flight = self.link.flight();
        flight.in_flight += self.mute.as_ref().map_or(0, |mute| mute.bytes);
        flight
    }

    /// Takes datagrams as a silent line does. Those that wait for it are left in its queue.
    pub(super) fn swallow(&mut self, lot: &Lot) -> Drops {
        let flight = self.flight();
        let is_unlimited = flight.window == 0;
        let mut open = flight.window.saturating_sub(flight.in_flight);
        for datagram in lot.datagrams() {
            let len = datagram.len() as u64;
            match &mut self.mute {
                Some(mute) if is_unlimited || open >= len => {
                    open = open.saturating_sub(len);
                    (mute.swallowed, mute.bytes) = (mute.swallowed + 1, mute.bytes + len);
                }
                _ => self.wait(datagram.clone()),
            }
        }
        Drops::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: TrialStep = TrialStep::Load { only: None, ms: 60_000 };

    fn relay(seat: &TrialSeat) -> TrialState {
        let mut state = TrialState::default();
        state.serve(seat.clone());
        state
    }

    #[test]
    fn a_relay_takes_part_in_one_test_at_a_time_and_only_when_it_wants() {
        let (seat, now) = (TrialSeat::default(), Instant::now());
        let (mut a, mut b) = (relay(&seat), relay(&seat));
        assert_eq!(a.obey(1, &TrialStep::Begin, now), Ok(None));
        assert!(b.obey(2, &TrialStep::Begin, now).unwrap_err().contains("one test at a time"));
        assert_eq!(a.obey(1, &TrialStep::End, now), Ok(None));
        assert_eq!(b.obey(2, &TrialStep::Begin, now), Ok(None));
        assert!(a.obey(3, &TrialStep::Begin, now).unwrap_err().contains("try again in 21 s"), "a bond rests");
        drop(b);
        assert_eq!(a.obey(3, &TrialStep::Begin, now + REST), Ok(None), "a bond that ends leaves the seat");
        assert!(TrialState::default().obey(1, &TrialStep::Begin, now).unwrap_err().contains("no tests"));
    }

    #[test]
    fn a_load_is_bounded_and_none_is_sent_outside_of_a_test_or_beside_another() {
        let (mut relay, now) = (relay(&TrialSeat::default()), Instant::now());
        assert!(relay.obey(1, &LOAD, now).is_err());
        relay.obey(1, &TrialStep::Begin, now).unwrap();
        assert!(relay.obey(2, &LOAD, now).is_err(), "of another test");
        assert_eq!(relay.obey(1, &LOAD, now), Ok(Some(LOAD_MAX)));
        assert!(relay.obey(1, &LOAD, now + LOAD_MAX - Duration::from_millis(1)).unwrap_err().contains("under way"));
        assert_eq!(relay.obey(1, &LOAD, now + LOAD_MAX), Ok(Some(LOAD_MAX)));
        assert!(relay.obey(1, &LOAD, now + TRIAL_MAX).unwrap_err().contains("over"));
        assert!(relay.obey(2, &TrialStep::Begin, now + TRIAL_MAX).is_err(), "who does not say the end rests from the latest one");
        assert_eq!(relay.obey(2, &TrialStep::Begin, now + TRIAL_MAX + REST), Ok(None));
    }

    #[test]
    fn what_arrives_is_counted_with_its_longest_gap() {
        let start = Instant::now();
        let mut running = Running::new(1, start, start + TRIAL_MAX);
        [0, 5, 90, 95].iter().for_each(|ms| running.load_arrives(100, start + Duration::from_millis(*ms)));
        assert_eq!((running.received, running.longest_gap), (400, Duration::from_millis(85)));
    }

    #[test]
    fn a_peer_that_asks_without_end_fills_nothing() {
        let mut state = TrialState::default();
        (0..1000).for_each(|test| state.hear(Control::Trial { test, step: TrialStep::Count }));
        assert_eq!(state.asked.len(), WAITING_MAX);
    }
}
