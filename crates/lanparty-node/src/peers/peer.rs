//! One direct link, as its owner sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::bonding::Bonding;
use super::carry::Shared;
use super::dial::DIAL_TIMEOUT;
use crate::{Link, Outbox};

/// Of two links to one member, the younger one is the better one; unless both were dialled at once, and come within this time.
const CROSSING_MAX: Duration = DIAL_TIMEOUT;

/// A direct link.
pub(super) struct Peer {
    pub(super) serial: u64,
    pub(super) by_us: bool,
    pub(super) link: Link,
    pub(super) outbox: Arc<Outbox>,
    /// What it is beside its paths, when it has several.
    pub(super) bond: Option<Bonding>,
    pub(super) task: JoinHandle<()>,
    pub(super) shared: Arc<Shared>,
    pub(super) since: Instant,
    /// Whether frames to this member go by it.
    pub(super) carries: bool,
    /// Packets received, and datagrams sent, when it was last heard.
    pub(super) heard: (u64, u64),
    pub(super) sent_at_look: u64,
    /// Since when something that was sent is without an answer.
    pub(super) unanswered: Option<Instant>,
    /// It carries nothing before then: it was silent.
    pub(super) rests_until: Instant,
    /// Since when the way by the relay has more lines than this one.
    pub(super) short_since: Option<Instant>,
    /// Its member has other addresses now: until then it must be heard, beyond so many packets.
    pub(super) to_prove: Option<(Instant, u64)>,
    pub(super) inbound: Hold,
}

/// Whether what comes directly may pass those that came before by the relay.
pub(super) enum Hold {
    /// The end of the way by the relay has not come.
    Waiting {
        since: Option<Instant>,
        frames: Vec<Bytes>,
    },
    Open,
}

impl Peer {
    /// It did not come at the same time as another one.
    pub(super) fn has_lived(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= CROSSING_MAX
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let dropped = &self.shared.dropped;
        dropped.count(&self.outbox.give_up());
        self.link.close("this direct link is not needed any more");
        dropped.count(&self.link.take_left());
        self.task.abort();
    }
}
