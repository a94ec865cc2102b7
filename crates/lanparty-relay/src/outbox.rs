//! Toward one member: its way out, and when it was heard.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lanparty_node::Link;

/// The way out to one member.
pub(crate) struct Outbox {
    way: lanparty_node::Outbox,
    began: Instant,
    /// When its member was heard last, in milliseconds after the beginning.
    heard_ms: AtomicU64,
}

impl Outbox {
    pub(crate) fn new(link: Link) -> Arc<Self> {
        Arc::new(Self { way: lanparty_node::Outbox::of_slices(link), began: Instant::now(), heard_ms: AtomicU64::new(0) })
    }

    /// Its member was heard, by whatever packet.
    pub(crate) fn hear(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(ms, Ordering::Relaxed);
    }

    /// For how long its member has not been heard.
    pub(crate) fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }
}

impl Deref for Outbox {
    type Target = lanparty_node::Outbox;

    fn deref(&self) -> &Self::Target {
        &self.way
    }
}
