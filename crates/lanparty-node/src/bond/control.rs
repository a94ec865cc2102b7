//! Control messages over a bond: each is said on every path and counts once, so that none is lost with a path.
//!
//! They are numbered. A path that comes later is told what the other side has not heard; of that a bounded number is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use lanparty_proto::{BondPath, Control};
use tokio::sync::mpsc;

use super::recv::Key;
use super::{BondLink, Shared, State};
use crate::{ControlReader, ControlWriter, LinkEnded};

/// Messages that are kept for paths that come later.
const KEPT_MAX: usize = 256;
/// Messages that came before an older one, or wait for the owner.
const WAITING_MAX: usize = 512;

/// What was said and heard.
pub(super) struct ControlState {
    next_out: u32,
    kept: VecDeque<(u32, Control)>,
    next_in: u32,
    /// Came by a path that was faster than the one with those before them.
    early: BTreeMap<u32, Control>,
    /// In order, for the owner.
    ready: VecDeque<Control>,
}

impl ControlState {
    /// When `heard` numbered messages were read before there was a bond.
    pub(super) const fn new(heard: u32) -> Self {
        Self { next_out: 0, kept: VecDeque::new(), next_in: heard, early: BTreeMap::new(), ready: VecDeque::new() }
    }

    pub(super) const fn heard(&self) -> u32 {
        self.next_in
    }

    /// What was said after the first `heard`; `None` when that is not kept any more.
    pub(super) fn since(&self, heard: u32) -> Option<Vec<Control>> {
        let oldest = self.kept.front().map_or(self.next_out, |(n, _)| *n);
        let numbered = |(n, message): &(u32, Control)| Control::Numbered { n: *n, message: Box::new(message.clone()) };
        (heard >= oldest).then(|| self.kept.iter().filter(|(n, _)| *n >= heard).map(numbered).collect())
    }

    fn say(&mut self, message: &Control) -> Control {
        let n = self.next_out;
        self.next_out += 1;
        self.kept.push_back((n, message.clone()));
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        Control::Numbered { n, message: Box::new(message.clone()) }
    }

    /// Takes in a message. Whether there is room for more.
    fn hear(&mut self, message: Control) -> bool {
        match message {
            Control::Numbered { n, message } if n >= self.next_in => {
                self.early.insert(n, *message);
                while let Some(message) = self.early.remove(&self.next_in) {
                    self.next_in += 1;
                    self.ready.push_back(message);
                }
            }
            // Heard before, by another path.
            Control::Numbered { .. } => {}
            message => self.ready.push_back(message),
        }
        self.early.len() + self.ready.len() <= WAITING_MAX
    }
}

/// Both directions of a bond's control messages.
#[derive(Clone)]
pub(crate) struct BondControl(BondLink);

impl BondLink {
    /// Its control messages, as a reader and a writer.
    pub(crate) fn control(&self) -> (ControlReader, ControlWriter) {
        let control = || BondControl(self.clone());
        (ControlReader::of_bond(control()), ControlWriter::of_bond(control()))
    }
}

impl BondControl {
    /// The next message. Cancel-safe.
    pub(crate) async fn next(&self) -> Result<Control, LinkEnded> {
        let shared = self.0.shared();
        loop {
            let more = shared.control.notified();
            if let Some(message) = shared.state().control.ready.pop_front() {
                return Ok(message);
            }
            shared.not_ended()?;
            more.await;
        }
    }

    /// Says a message on every path.
    pub(crate) fn send(&self, message: &Control) -> Result<(), LinkEnded> {
        let shared = self.0.shared();
        shared.not_ended()?;
        shared.say(message);
        Ok(())
    }
}

impl Shared {
    pub(crate) fn say(&self, message: &Control) {
        let mut state = self.state();
        let numbered = state.control.say(message);
        state.paths.iter().for_each(|path| path.say(numbered.clone()));
    }

    /// The use of one of our paths changed, and the other side shall follow.
    pub(crate) fn set_role(&self, bond: BondPath) {
        self.state().set_role(bond);
        self.say(&Control::PathRole(bond));
        self.room.notify_waiters();
    }

    fn hear(self: &Arc<Self>, message: Control) -> Result<(), LinkEnded> {
        let mut state = self.state();
        let has_room = state.control.hear(message);
        state.obey();
        drop(state);
        self.answer_trials();
        self.control.notify_waiters();
        self.went.notify_waiters();
        has_room.then_some(()).ok_or_else(|| LinkEnded { reason: "too many unread control messages".into(), by_peer: false })
    }
}

impl State {
    /// What is said of paths is for the bond itself.
    fn obey(&mut self) {
        let is_of_test = |message: &Control| matches!(message, Control::Trial { .. } | Control::TrialAnswer { .. });
        let is_of_path = |message: &Control| {
            matches!(message, Control::PathRole(_) | Control::PathDown { .. } | Control::PathSeenAt { .. } | Control::Attached { .. })
        };
        let is_own = |message: &Control| is_of_path(message) || is_of_test(message);
        let (own, others): (VecDeque<_>, VecDeque<_>) = self.control.ready.drain(..).partition(is_own);
        self.control.ready = others;
        for message in own {
            match message {
                Control::PathRole(bond) => self.set_role(bond),
                Control::PathDown { path } => self.silence(path),
                Control::PathSeenAt { path, address } => drop(self.seen.insert(path, address)),
                message => self.trial.hear(message),
            }
        }
    }

    fn set_role(&mut self, bond: BondPath) {
        if let Some(path) = self.paths.iter_mut().find(|path| path.bond.path == bond.path) {
            path.bond.role = bond.role;
        }
    }
}

/// Reads one path's control stream until it ends; the path ends with it.
pub(super) async fn read(key: Key, mut control: ControlReader, shared: Weak<Shared>) {
    loop {
        let message = Box::pin(control.next()).await;
        let Some(shared) = shared.upgrade() else { return };
        match message.and_then(|message| shared.hear(message)) {
            Ok(()) => {}
            // Its datagrams go on for as long as the connection does; that it is without a voice ends it.
            Err(ended) => {
                if let Some(path) = shared.state().path_mut(key) {
                    path.link.close(&ended.reason);
                }
                return shared.path_ended(key.path, key.serial, &ended);
            }
        }
    }
}

/// Writes what is said on one path.
pub(super) async fn write(mut messages: mpsc::Receiver<Control>, mut control: ControlWriter) {
    while let Some(message) = messages.recv().await {
        // Who reads the path hears that it has ended.
        if Box::pin(control.send(&message)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(n: u32) -> Control {
        Control::Notice { message: n.to_string() }
    }

    fn words(state: &mut ControlState) -> Vec<String> {
        let text = |message| if let Control::Notice { message } = message { message } else { "?".to_owned() };
        state.ready.drain(..).map(text).collect()
    }

    #[test]
    fn a_message_counts_once_and_in_order_by_whatever_path_it_comes() {
        let (mut there, mut here) = (ControlState::new(0), ControlState::new(0));
        let said: Vec<_> = (0..4).map(|n| there.say(&notice(n))).collect();
        for n in [1, 0, 1, 3, 0, 2] {
            assert!(here.hear(said[n].clone()));
        }
        assert_eq!((words(&mut here), here.heard()), (vec!["0".to_owned(), "1".into(), "2".into(), "3".into()], 4));
    }

    #[test]
    fn a_path_that_comes_later_is_told_what_was_missed() {
        let mut there = ControlState::new(0);
        (0..3).for_each(|n| drop(there.say(&notice(n))));
        assert_eq!(there.since(1).unwrap().len(), 2);
        assert_eq!(there.since(3), Some(vec![]));
        (0..KEPT_MAX as u32).for_each(|n| drop(there.say(&notice(n))));
        assert_eq!((there.since(2), there.since(3).map(|m| m.len())), (None, Some(KEPT_MAX)));
    }

    #[test]
    fn who_says_more_than_is_read_is_cut_off() {
        let (mut there, mut here) = (ControlState::new(0), ControlState::new(0));
        let taken = (0..WAITING_MAX as u32 + 1).filter(|n| here.hear(there.say(&notice(*n)))).count();
        assert_eq!(taken, WAITING_MAX);
    }
}
