//! The paths of a bond: they are added, fall silent, live again, and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lanparty_core::Carrier;
use lanparty_proto::{BondPath, Control, DatagramBudget, SEQUENCE_LEN};

use super::path::Path;
use super::{BOND_PATHS_MAX, BondPathUp, Shared, State};
use crate::LinkEnded;

impl Shared {
    /// A further path, or a new connection for one that is there.
    pub(crate) fn add(self: &Arc<Self>, up: BondPathUp) -> Result<(), LinkEnded> {
        let full = || LinkEnded { reason: "a bond of so many paths takes no more".into(), by_peer: false };
        self.not_ended()?;
        let mut state = self.state();
        let number = up.bond.path;
        state.take_off(number, "a new connection takes its place");
        if state.paths.len() >= BOND_PATHS_MAX {
            return Err(full());
        }
        let missed = state
            .control
            .since(up.heard)
            .ok_or_else(|| LinkEnded { reason: "too much was said while the path was away".into(), by_peer: false })?;
        let path = Path::start(up, missed, self);
        state.restorer.add_path(number);
        state.paths.push(path);
        state.pathless = None;
        drop(state);
        self.wanted.works(number);
        self.room.notify_waiters();
        Ok(())
    }

    /// A path's connection ended.
    pub(super) fn path_ended(&self, number: u8, serial: u64, ended: &LinkEnded) {
        let mut state = self.state();
        let Some(at) = state.paths.iter().position(|p| p.bond.path == number && p.serial == serial) else { return };
        let mut path = state.paths.swap_remove(at);
        let now = Instant::now();
        state.note_carried(&path);
        state.give_back(&mut path, now);
        if state.paths.is_empty() {
            state.pathless = Some(now);
            if ended.by_peer {
                drop(state);
                return self.end(ended.clone());
            }
        }
        drop(state);
        self.arrived.notify_waiters();
        self.went.notify_waiters();
    }

    /// Resolves when this path is gone, or carries nothing any more.
    pub(crate) async fn path_fails(&self, path: u8) {
        loop {
            let went = self.went.notified();
            if self.not_ended().is_err() || self.path_state(path) != Some(true) {
                return;
            }
            went.await;
        }
    }

    /// Resolves when this path lives again, or another one has taken its place.
    pub(crate) async fn path_revives(&self, path: u8) {
        if self.path_state(path) == Some(true) {
            return std::future::pending().await;
        }
        loop {
            let went = self.went.notified();
            if self.not_ended().is_err() || self.path_state(path) == Some(true) {
                return;
            }
            went.await;
        }
    }

    /// The system says that a path leads nowhere: the other side hears so, too.
    pub(crate) fn path_is_down(&self, path: u8) {
        self.state().silence(path);
        self.say(&Control::PathDown { path });
        self.room.notify_waiters();
        self.arrived.notify_one();
        self.went.notify_waiters();
    }

    /// Ends a path whose uplink is not to be used any more. Not the only one that lives: what it still carries is more than nothing.
    pub(crate) fn leave(&self, path: u8, why: &str) -> bool {
        let mut state = self.state();
        let is_last = state.living().next().is_some() && state.living().all(|p| p.bond.path == path);
        if is_last {
            return false;
        }
        state.take_off(path, why);
        drop(state);
        self.say(&Control::PathDown { path });
        self.room.notify_waiters();
        self.arrived.notify_one();
        self.went.notify_waiters();
        true
    }

    /// Says of each path where it is seen here, when that was not said before.
    pub(super) fn tell_where_seen(&self) {
        let mut state = self.state();
        let is_at = |path: &Path| Some((path.bond.path, path.link.remote_address()?));
        let is_news = |(path, address): &(u8, SocketAddr)| state.told_seen.get(path) != Some(address);
        let at: Vec<_> = state.paths.iter().filter_map(is_at).filter(is_news).collect();
        state.told_seen.extend(at.iter().copied());
        drop(state);
        for (path, address) in at {
            self.say(&Control::PathSeenAt { path, address });
        }
    }

    /// Whether a path of this number is there, and whether it lives.
    pub(crate) fn path_state(&self, path: u8) -> Option<bool> {
        self.state().paths.iter().find(|p| p.bond.path == path).map(|p| p.is_alive)
    }

    /// The largest datagram of a path, its place in the order taken off; a stream takes every size.
    pub(crate) fn budget_of(&self, path: u8) -> Option<DatagramBudget> {
        let state = self.state();
        let path = state.living().find(|p| p.bond.path == path && p.link.carrier() == Carrier::Quic)?;
        let budget = path.link.budget();
        Some(DatagramBudget(budget.0.saturating_sub(SEQUENCE_LEN as u16)))
    }

    /// What a path is used for.
    pub(crate) fn role_of(&self, path: u8) -> Option<BondPath> {
        self.state().paths.iter().find(|p| p.bond.path == path).map(|p| p.bond)
    }

    /// Bytes on the wire, both ways, of all connections that were this path.
    pub(crate) fn carried(&self, path: u8) -> u64 {
        let state = self.state();
        let now = state.paths.iter().find(|p| p.bond.path == path).map_or(0, |p| p.link.wire_bytes());
        state.carried.get(&path).copied().unwrap_or(0) + now
    }

    /// Where the other side of a path is.
    pub(crate) fn remote_of(&self, path: u8) -> Option<SocketAddr> {
        self.state().paths.iter().find(|p| p.bond.path == path)?.link.remote_address()
    }

    /// Whether a stream carries this path.
    pub(crate) fn is_stream(&self, path: u8) -> bool {
        self.state().paths.iter().any(|p| p.bond.path == path && p.link.carrier() == Carrier::Stream)
    }
}

impl State {
    /// Ends the path of this number, when there is one; what it had not sent goes elsewhere.
    pub(super) fn take_off(&mut self, number: u8, why: &str) {
        let Some(at) = self.paths.iter().position(|path| path.bond.path == number) else { return };
        let mut path = self.paths.swap_remove(at);
        self.note_carried(&path);
        self.give_back(&mut path, Instant::now());
        path.link.close(why);
    }

    /// A path carries nothing any more: others take what it held, and nobody waits for it.
    pub(super) fn give_back(&mut self, path: &mut Path, now: Instant) {
        let held = path.take_back();
        let mut out = std::mem::take(&mut self.scratch);
        self.restorer.remove_path(path.bond.path, now, &mut out);
        self.ready.extend(out.drain(..));
        self.scratch = out;
        self.resend(held, now);
    }

    pub(super) fn note_carried(&mut self, path: &Path) {
        *self.carried.entry(path.bond.path).or_default() += path.link.wire_bytes();
    }
}
