//! Stations 5 and 9 over a bond: what the paths bring, copies removed, every flow in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{SEQUENCE_LEN, Sequence, TrialDatagram};

use super::path::Path;
use super::{BondLink, Shared, State};
use crate::{Link, LinkEnded, RECV_BATCH};

/// Datagrams that wait for the bond's owner. While there are more the paths are not read.
const READY_MAX: usize = 4096;

/// Which connection of which path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) path: u8,
    pub(super) serial: u64,
}

impl BondLink {
    /// As [`crate::Link::recv`]. Cancel-safe.
    pub(crate) async fn recv(&self, into: &mut [Bytes]) -> Result<usize, LinkEnded> {
        let shared = self.shared();
        loop {
            let arrived = shared.arrived.notified();
            let (count, is_taken, timeout) = {
                let (mut state, now) = (shared.state(), Instant::now());
                state.expire(now);
                let before = state.ready.len();
                let count = state.hand_out(into, now);
                (count, state.ready.len() < before, state.restorer.next_timeout())
            };
            if is_taken {
                shared.taken.notify_waiters();
            }
            if count > 0 {
                return Ok(count);
            }
            shared.not_ended()?;
            match timeout {
                Some(at) => drop(tokio::time::timeout_at(at.into(), arrived).await),
                None => arrived.await,
            }
        }
    }
}

/// Reads one path until it ends.
pub(super) async fn receive(key: Key, link: Link, received: Arc<AtomicU64>, shared: Arc<Shared>) {
    let mut datagrams = vec![Bytes::new(); RECV_BATCH];
    loop {
        match Box::pin(link.recv(&mut datagrams)).await {
            Ok(count) => {
                let arrived = datagrams.get_mut(..count).unwrap_or_default();
                let (is_new, is_full) = shared.state().take(key, arrived, &received, Instant::now());
                if is_new {
                    shared.arrived.notify_one();
                }
                if is_full {
                    wait_for_reader(&shared).await;
                }
            }
            Err(ended) => return shared.path_ended(key.path, key.serial, &ended),
        }
    }
}

async fn wait_for_reader(shared: &Shared) {
    loop {
        let taken = shared.taken.notified();
        if shared.state().ready.len() <= READY_MAX || shared.not_ended().is_err() {
            return;
        }
        taken.await;
    }
}

impl State {
    pub(super) fn path_mut(&mut self, key: Key) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.bond.path == key.path && path.serial == key.serial)
    }

    /// Takes in what a path brought. Whether there is something new for the owner to read, or its next time-out changed; and whether too
    /// much waits.
    fn take(&mut self, key: Key, datagrams: &mut [Bytes], received: &AtomicU64, now: Instant) -> (bool, bool) {
        if let Some(path) = self.path_mut(key) {
            if path.mute.is_some() {
                return (false, false);
            }
            path.capture.received(datagrams.iter());
        }
        let mut out = std::mem::take(&mut self.scratch);
        let before = self.restorer.next_timeout();
        for datagram in datagrams.iter_mut().map(std::mem::take) {
            received.fetch_add(datagram.len() as u64, Ordering::Relaxed);
            if self.answer(&datagram, now) {
                continue;
            }
            let Some(sequence) = Sequence::decode(&datagram) else {
                // What is discarded is of the other direction: it was to be sent.
                self.restorer.count_unnumbered();
                continue;
            };
            self.restorer.take(key.path, sequence, datagram.slice(SEQUENCE_LEN..), now, &mut out);
        }
        let is_new = !out.is_empty() || self.restorer.next_timeout() != before;
        self.ready.extend(out.drain(..));
        self.scratch = out;
        self.ask(now);
        (is_new, self.ready.len() > READY_MAX)
    }

    fn expire(&mut self, now: Instant) {
        let mut out = std::mem::take(&mut self.scratch);
        self.restorer.expire(now, &mut out);
        self.ready.extend(out.drain(..));
        self.scratch = out;
        self.ask(now);
    }

    fn hand_out(&mut self, into: &mut [Bytes], now: Instant) -> usize {
        let mut slots = into.iter_mut();
        let mut slot = slots.next();
        let mut count = 0;
        while let Some(empty) = slot.take() {
            let Some(datagram) = self.ready.pop_front() else { break };
            self.goodput.bytes.1 += datagram.len() as u64;
            if TrialDatagram::is_one(&datagram) {
                self.hear_trial(&datagram, now);
                slot = Some(empty);
                continue;
            }
            *empty = datagram;
            count += 1;
            slot = slots.next();
        }
        count
    }
}
