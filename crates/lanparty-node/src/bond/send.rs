//! Stations 4 and 8 over a bond: number, choose the paths, send.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use lanparty_core::{Choice, Class, Discarded, Drops, FairQueue, Judged, PathView, choose};
use lanparty_proto::{DropReason, SEQUENCE_LEN, Sequence, is_padding};

use super::path::Lot;
use super::{BondLink, State};
use crate::link::FRONTS_MAX;
use crate::{LinkEnded, SendOutcome};

/// How often a sender looks whether a path has room again: paths do not say so.
const ROOM_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// And while no path lives.
const DEAD_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Numbered datagrams are copies; so many bytes of them share an allocation.
const BURST_MEMORY: usize = 16 * 1024;

impl BondLink {
    /// As [`crate::Link::send_now`]: takes as many of the front as there is room for.
    pub(crate) fn send_now(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        self.shared().not_ended()?;
        let (mut state, mut outcome) = (self.shared().state(), SendOutcome::default());
        let mut burst = Burst::new(&mut state, Instant::now());
        for datagram in datagrams {
            match burst.offer(datagram) {
                Offered::Taken => {}
                Offered::TooLarge => outcome.refused.push(datagram.clone()),
                Offered::NoRoom => break,
            }
            outcome.taken += 1;
        }
        let drops = burst.send();
        state.discarded.add_all(&drops);
        Ok(outcome)
    }

    /// As [`crate::Link::send_some`]: waits until at least one datagram is taken.
    ///
    /// Cancel-safe: a datagram leaves the queue when a path has it.
    pub(crate) async fn send_some(&self, queue: &mut VecDeque<Bytes>) -> Result<SendOutcome, LinkEnded> {
        if queue.is_empty() {
            return Ok(SendOutcome::default());
        }
        self.ready(&[]).await?;
        let sent = self.send_now(queue.make_contiguous())?;
        queue.drain(..sent.taken);
        Ok(sent)
    }

    /// As [`crate::Link::ready`]; without `fronts` for a full datagram of bulk.
    pub(crate) async fn ready(&self, fronts: &[Bytes]) -> Result<(), LinkEnded> {
        // Paths send what they have while others run.
        tokio::task::yield_now().await;
        loop {
            let room = self.shared().room.notified();
            self.shared().not_ended()?;
            let pause = match self.shared().state().choice_for(fronts, Instant::now()) {
                Choice::By(..) | Choice::TooLarge => return Ok(()),
                Choice::Wait => ROOM_LOOK_INTERVAL,
                Choice::Nothing => DEAD_LOOK_INTERVAL,
            };
            // Whichever comes first: a time-out is no failure.
            let _ = tokio::time::timeout(pause, room).await;
        }
    }

    /// As [`crate::Link::send_queued`].
    pub(crate) fn send_queued(&self, queue: &mut FairQueue, now: Instant, discarded: &mut Vec<Discarded>) -> Result<(), LinkEnded> {
        self.shared().not_ended()?;
        let mut state = self.shared().state();
        let mut burst = Burst::new(&mut state, now);
        let alive = || burst.views.iter().filter(|view| view.is_alive);
        queue.set_rtt(alive().map(|view| view.rtt).max().unwrap_or_default());
        queue.set_rate(alive().filter_map(|view| view.capacity).sum());
        let mut passed = 0;
        while passed < FRONTS_MAX {
            let (next, dropped) = queue.pop(now);
            discarded.extend(dropped);
            let Some(datagram) = next else { break };
            match burst.offer(&datagram) {
                Offered::Taken => {}
                Offered::TooLarge => discarded.push(Discarded { datagram, reason: DropReason::DatagramBudget }),
                // Bulk may have to wait where what is urgent has not.
                Offered::NoRoom => {
                    queue.pass(datagram, now);
                    passed += 1;
                    if passed >= queue.fronts().take(FRONTS_MAX).count() {
                        break;
                    }
                }
            }
        }
        let drops = burst.send();
        state.discarded.add_all(&drops);
        Ok(())
    }
}

/// What became of a datagram that was offered.
pub(super) enum Offered {
    Taken,
    /// No living path takes anything so large.
    TooLarge,
    /// It has to wait; what is worth more may pass it.
    NoRoom,
}

/// Datagrams that are given to the paths together.
pub(super) struct Burst<'s> {
    pub(super) state: &'s mut State,
    now: Instant,
    views: Vec<PathView>,
    lots: Vec<Lot>,
    memory: BytesMut,
}

impl<'s> Burst<'s> {
    pub(super) fn new(state: &'s mut State, now: Instant) -> Self {
        let views: Vec<_> = state.paths.iter_mut().map(|path| path.view(now)).collect();
        let lots = views.iter().map(|_| Lot::default()).collect();
        Self { state, now, views, lots, memory: BytesMut::new() }
    }

    fn offer(&mut self, datagram: &Bytes) -> Offered {
        // The paths' own watches send what they need.
        if is_padding(datagram) {
            return Offered::Taken;
        }
        let judged = self.state.sequencer.judge(datagram, self.now);
        let offered = self.offer_as(datagram, judged);
        if matches!(offered, Offered::Taken) {
            self.state.goodput.bytes.0 += datagram.len() as u64;
        }
        offered
    }

    /// A datagram that was judged.
    pub(super) fn offer_as(&mut self, datagram: &[u8], judged: Judged) -> Offered {
        let len = datagram.len() + SEQUENCE_LEN;
        let (first, second) = match choose(&self.views, len, judged.class) {
            Choice::By(first, second) => (first, second),
            Choice::TooLarge => return Offered::TooLarge,
            Choice::Wait | Choice::Nothing => return Offered::NoRoom,
        };
        let sequence = self.state.sequencer.number(judged, len, self.now);
        for place in [Some(first), second].into_iter().flatten() {
            let Some(view) = self.views.get(place) else { continue };
            if self.memory.capacity() < len {
                self.memory.reserve(BURST_MEMORY.max(len));
            }
            self.memory.put_slice(&Sequence { passes: view.is_passed_by(judged.class), ..sequence }.encode());
            self.memory.put_slice(datagram);
            let numbered = self.memory.split().freeze();
            if judged.is_repeatable {
                self.state.repeats.keep(sequence.number, numbered.clone(), self.now);
            }
            self.give(place, numbered, judged.class);
        }
        Offered::Taken
    }

    /// Something that is urgent and has its place in the order already, or none. Whether a path takes it.
    pub(super) fn offer_as_it_is(&mut self, datagram: &Bytes) -> bool {
        let Choice::By(first, second) = choose(&self.views, datagram.len(), Class::Urgent) else { return false };
        for place in [Some(first), second].into_iter().flatten() {
            self.give(place, datagram.clone(), Class::Urgent);
        }
        true
    }

    /// The path at this place carries it.
    fn give(&mut self, place: usize, numbered: Bytes, class: Class) {
        if let (Some(view), Some(lot)) = (self.views.get_mut(place), self.lots.get_mut(place)) {
            view.take(numbered.len(), class);
            lot.push(numbered, class);
        }
    }

    /// Paths for which `is_wanted` does not hold carry nothing of it.
    pub(super) fn restrict(&mut self, is_wanted: impl Fn(u8) -> bool) {
        self.views.iter_mut().for_each(|view| view.is_alive &= is_wanted(view.id));
    }

    /// What is offered next is taken, however much waits.
    pub(super) fn insist(&mut self) {
        self.views.iter_mut().for_each(|view| view.room = usize::MAX);
    }

    /// Gives the paths what was taken. What they have become too small for comes back as drops.
    pub(super) fn send(self) -> Drops {
        let mut drops = Drops::default();
        for (path, lot) in self.state.paths.iter_mut().zip(self.lots).filter(|(_, lot)| !lot.is_empty()) {
            drops.add_all(&path.send(lot, self.now));
        }
        drops
    }
}

impl State {
    /// Where one of these would go now; without any, a full datagram of bulk.
    fn choice_for(&mut self, fronts: &[Bytes], now: Instant) -> Choice {
        let views: Vec<_> = self.paths.iter_mut().map(|path| path.view(now)).collect();
        let mut choice = match fronts {
            [] => choose(&views, usize::from(self.budget().0) + SEQUENCE_LEN, Class::Bulk),
            _ => Choice::Wait,
        };
        for datagram in fronts {
            choice = choose(&views, datagram.len() + SEQUENCE_LEN, self.sequencer.judge(datagram, now).class);
            if !matches!(choice, Choice::Wait) {
                break;
            }
        }
        choice
    }

    /// What a dead path held, numbers on: others take it as far as it still fits them.
    pub(super) fn resend(&mut self, held: Vec<Bytes>, now: Instant) {
        let mut burst = Burst::new(self, now);
        // Whatever it is worth, it has waited; a path that is full takes it all the same.
        burst.insist();
        let mut drops = Drops::default();
        for datagram in held {
            match choose(&burst.views, datagram.len(), Class::Bulk) {
                Choice::By(place, _) => burst.give(place, datagram, Class::Bulk),
                Choice::TooLarge => drops.add(DropReason::DatagramBudget, 1),
                Choice::Wait | Choice::Nothing => drops.add(DropReason::LinkDown, 1),
            }
        }
        drops.add_all(&burst.send());
        self.discarded.add_all(&drops);
    }
}
