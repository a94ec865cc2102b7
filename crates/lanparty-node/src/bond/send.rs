//! Stations 4 and 8 over a bond: number, choose the paths, send.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use lanparty_core::{Choice, choose};
use lanparty_proto::{DropReason, SEQUENCE_LEN, is_padding};

use super::{BondLink, State};
use crate::{LinkEnded, SendOutcome};

/// How often a sender looks whether a path has room again: paths do not say so.
const ROOM_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// And while no path lives.
const DEAD_LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl BondLink {
    /// As [`crate::Link::send_now`]: takes as many of the front as there is room for.
    pub(crate) fn send_now(&self, datagrams: &[Bytes]) -> Result<SendOutcome, LinkEnded> {
        self.shared().not_ended()?;
        Ok(self.shared().state().send(datagrams, Instant::now()).0)
    }

    /// As [`crate::Link::send_some`]: waits until at least one datagram is taken.
    ///
    /// Cancel-safe: a datagram leaves the queue when a path has it.
    pub(crate) async fn send_some(&self, queue: &mut VecDeque<Bytes>) -> Result<SendOutcome, LinkEnded> {
        if queue.is_empty() {
            return Ok(SendOutcome::default());
        }
        loop {
            let room = self.shared().room.notified();
            self.shared().not_ended()?;
            let (sent, is_dead) = self.shared().state().send(queue.make_contiguous(), Instant::now());
            if sent.taken > 0 {
                queue.drain(..sent.taken);
                return Ok(sent);
            }
            let pause = if is_dead { DEAD_LOOK_INTERVAL } else { ROOM_LOOK_INTERVAL };
            // Whichever comes first: a time-out is no failure.
            let _ = tokio::time::timeout(pause, room).await;
        }
    }
}

impl State {
    /// Sends what there is room for; whether nothing is sent because no path lives.
    fn send(&mut self, datagrams: &[Bytes], now: Instant) -> (SendOutcome, bool) {
        let mut views: Vec<_> = self.paths.iter_mut().map(|path| path.view(now)).collect();
        let mut batches: Vec<Vec<Bytes>> = vec![vec![]; views.len()];
        let (mut outcome, mut is_dead) = (SendOutcome::default(), false);
        let mut memory = BytesMut::new();
        for (at, datagram) in datagrams.iter().enumerate() {
            // The paths' own watches send what they need.
            if is_padding(datagram) {
                outcome.taken += 1;
                continue;
            }
            let (len, judged) = (datagram.len() + SEQUENCE_LEN, self.sequencer.judge(datagram, now));
            let (first, second) = match choose(&views, len, judged.class) {
                Choice::By(first, second) => (first, second),
                Choice::TooLarge => {
                    outcome.taken += 1;
                    outcome.refused.push(datagram.clone());
                    continue;
                }
                Choice::Wait => break,
                Choice::Nothing => {
                    is_dead = true;
                    break;
                }
            };
            if memory.capacity() < len {
                memory.reserve(datagrams.iter().skip(at).map(|d| d.len() + SEQUENCE_LEN).sum());
            }
            memory.put_slice(&self.sequencer.number(judged, len, now).encode());
            memory.put_slice(datagram);
            let numbered = memory.split().freeze();
            for place in [Some(first), second].into_iter().flatten() {
                if let (Some(view), Some(batch)) = (views.get_mut(place), batches.get_mut(place)) {
                    view.take(len);
                    batch.push(numbered.clone());
                }
            }
            outcome.taken += 1;
        }
        for (path, batch) in self.paths.iter_mut().zip(&batches).filter(|(_, batch)| !batch.is_empty()) {
            self.discarded.add_all(&path.send(batch));
        }
        (outcome, is_dead)
    }

    /// What a dead path held, numbers on: others take it as far as it still fits them.
    pub(super) fn resend(&mut self, held: Vec<Bytes>, now: Instant) {
        for datagram in held {
            let mut views: Vec<_> = self.paths.iter_mut().map(|path| path.view(now)).collect();
            // Whatever it is worth, it has waited; a path that is full takes it all the same.
            views.iter_mut().for_each(|view| view.room = usize::MAX);
            match choose(&views, datagram.len(), lanparty_core::Class::Bulk) {
                Choice::By(place, _) => {
                    if let Some(path) = self.paths.get_mut(place) {
                        let drops = path.send(&[datagram]);
                        self.discarded.add_all(&drops);
                    }
                }
                Choice::TooLarge => self.discarded.add(DropReason::DatagramBudget, 1),
                Choice::Wait | Choice::Nothing => self.discarded.add(DropReason::LinkDown, 1),
            }
        }
    }
}
