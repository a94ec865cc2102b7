//! Toward one member: frames that its path takes go at once, others wait in a fair and bounded queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Drops, FairQueue};
use lanparty_node::{Link, LinkEnded, fair_queue};
use lanparty_proto::{DropReason, end_of_way};
use tokio::sync::Notify;

/// How often the end of a way is said.
const ENDS: usize = 3;

/// The way out to one member.
pub(crate) struct Outbox {
    link: Link,
    queue: Mutex<FairQueue>,
    waiting: Notify,
    began: Instant,
    /// When its member was heard last, in milliseconds after the beginning.
    heard_ms: AtomicU64,
}

impl Outbox {
    pub(crate) fn new(link: Link) -> Arc<Self> {
        let (began, heard_ms) = (Instant::now(), AtomicU64::new(0));
        Arc::new(Self { link, queue: Mutex::new(fair_queue()), waiting: Notify::new(), began, heard_ms })
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
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

    /// Station 7, queue, in front of station 8, send. Returns what was dropped, if anything: to make room, or because the path shrank.
    pub(crate) fn offer(&self, datagrams: &[Bytes], now: Instant) -> Option<Drops> {
        let mut queue = self.queue();
        let (mut taken, mut dropped) = (0, Drops::default());
        if queue.is_empty()
            && let Ok(sent) = self.link.send_now(datagrams)
        {
            dropped.add(DropReason::DatagramBudget, sent.refused.len() as u64);
            taken = sent.taken;
        }
        for datagram in datagrams.iter().skip(taken) {
            // A copy, because a datagram is a slice of the up to 64 KiB that it arrived in: a queue of slices would keep them all.
            let pushed_out = queue.push(Bytes::copy_from_slice(datagram), now);
            dropped.add_all(&Drops::from(&pushed_out[..]));
        }
        if !queue.is_empty() {
            self.waiting.notify_one();
        }
        (dropped.total() > 0).then_some(dropped)
    }

    /// Its member has moved: says so behind everything that waits, more than once because a datagram may be lost.
    pub(crate) fn end(&self) {
        let mut queue = self.queue();
        // No frame, and so in nobody's books when it does not go out.
        (0..ENDS).for_each(|_| drop(queue.push_last(Bytes::from(end_of_way()))));
        self.waiting.notify_one();
    }

    /// Waits until something is queued and the path takes some of it. Returns what was dropped: stale, too much of one flow, or too
    /// large since. Cancel-safe.
    pub(crate) async fn flush(&self) -> Result<Drops, LinkEnded> {
        loop {
            while self.queue().is_empty() {
                self.waiting.notified().await;
            }
            let fronts = self.link.fronts(&self.queue());
            tokio::select! {
                ready = self.link.ready(&fronts) => break ready?,
                // What has come since may be taken sooner.
                () = self.waiting.notified(), if !fronts.is_empty() => {}
            }
        }
        let mut discarded = vec![];
        self.link.send_queued(&mut self.queue(), Instant::now(), &mut discarded)?;
        Ok(Drops::from(&discarded[..]))
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue> {
        // The queue is whole after every call, so a panic elsewhere leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
