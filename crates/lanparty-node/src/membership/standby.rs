//! A line between a gateway and its attempt to join, which may last for hours while another gateway is in the room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lanparty_proto::{Control, MacAddr, MemberId};
use tokio::sync::Notify;

/// Messages that wait for the relay: what is older is outdated.
const SAID_MAX: usize = 8;

/// The gateway that is in the room meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behind {
    /// Its number.
    pub member: MemberId,
    /// The address with which it gives its sign.
    pub mac: MacAddr,
    /// Since when this one stands by.
    pub since: Instant,
}

#[derive(Debug, Default)]
struct State {
    hears: Vec<MacAddr>,
    joins_lans: bool,
    has_listened: bool,
    behind: Option<Behind>,
    has_stood_by: bool,
    said: Vec<Control>,
}

/// The line, both ends of which are copies of one.
#[derive(Clone, Debug, Default)]
pub struct StandbyLine(Arc<(Mutex<State>, Notify)>);

impl StandbyLine {
    /// The next hello says that these gateways are heard on the LAN.
    pub fn set_hears(&self, hears: Vec<MacAddr>) {
        self.state().hears = hears;
    }

    /// The next hello says that the owner agrees to join this LAN to others.
    pub fn join_lans(&self) {
        self.state().joins_lans = true;
    }

    /// The next hello says whether any other gateway on the LAN would have been heard.
    pub fn set_has_listened(&self, has_listened: bool) {
        self.state().has_listened = has_listened;
    }

    /// Behind whom this gateway stands by, while it does.
    #[must_use]
    pub fn behind(&self) -> Option<Behind> {
        self.state().behind
    }

    /// Tells the relay something, while this gateway stands by.
    pub fn say(&self, message: Control) {
        let mut state = self.state();
        if state.behind.is_some() && state.said.len() < SAID_MAX {
            state.said.push(message);
            self.0.1.notify_one();
        }
    }

    /// Whether this gateway has ever stood by: then it is where it belongs, and never gives up.
    pub(crate) fn has_stood_by(&self) -> bool {
        self.state().has_stood_by
    }

    pub(super) fn hears(&self) -> Vec<MacAddr> {
        self.state().hears.clone()
    }

    /// Whether the owner agrees to join LANs, and whether others would have been heard.
    pub(super) fn lans(&self) -> (bool, bool) {
        let state = self.state();
        (state.joins_lans, state.has_listened)
    }

    pub(super) fn set_behind(&self, behind: Option<Behind>) {
        let mut state = self.state();
        state.behind = behind;
        state.has_stood_by |= behind.is_some();
        state.said.clear();
    }

    /// What is to be told. Cancel-safe.
    pub(super) async fn said(&self) -> Vec<Control> {
        loop {
            let said = std::mem::take(&mut self.state().said);
            if !said.is_empty() {
                return said;
            }
            self.0.1.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
