//! Toward one member: frames that its path takes go at once, others wait in a bounded queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Drops, Egress};
use lanparty_node::{Link, LinkEnded};
use lanparty_proto::{DropReason, end_of_way};
use tokio::sync::Notify;

/// Datagrams moved from the queue to the path in one turn. Out of the queue they age unseen, so they are few.
const FLUSH_BATCH: usize = 16;

/// How often the end of a way is said.
const ENDS: usize = 3;

/// The way out to one member.
pub(crate) struct Outbox {
    link: Link,
    queue: Mutex<Egress>,
    waiting: Notify,
    began: Instant,
    /// When its member was heard last, in milliseconds after the beginning.
    heard_ms: AtomicU64,
}

impl Outbox {
    pub(crate) fn new(link: Link) -> Arc<Self> {
        let (began, heard_ms) = (Instant::now(), AtomicU64::new(0));
        Arc::new(Self { link, queue: Mutex::new(Egress::default()), waiting: Notify::new(), began, heard_ms })
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
        let (mut taken, mut too_large, mut pushed_out) = (0, 0, 0);
        if queue.is_empty()
            && let Ok(sent) = self.link.send_now(datagrams)
        {
            too_large = sent.refused.len() as u64;
            taken = sent.taken;
        }
        for datagram in datagrams.iter().skip(taken) {
            // A copy, because a datagram is a slice of the up to 64 KiB that it arrived in: a queue of slices would keep them all.
            pushed_out += queue.push(Bytes::copy_from_slice(datagram), now);
        }
        if !queue.is_empty() {
            self.waiting.notify_one();
        }
        (too_large + pushed_out > 0).then(|| {
            let mut dropped = Drops::of(DropReason::DatagramBudget, too_large);
            dropped.add(DropReason::QueueFull, pushed_out);
            dropped
        })
    }

    /// Its member has moved: says so behind everything that waits, more than once because a datagram may be lost.
    pub(crate) fn end(&self) {
        let (mut queue, now) = (self.queue(), Instant::now());
        for _ in 0..ENDS {
            queue.push(Bytes::from(end_of_way()), now);
        }
        self.waiting.notify_one();
    }

    /// Waits until something is queued and the path takes some of it. Returns what was dropped: stale, or too large since.
    /// Cancel-safe: what is not sent goes back to the front of the queue.
    pub(crate) async fn flush(&self, backlog: &mut VecDeque<Bytes>) -> Result<Drops, LinkEnded> {
        let mut dropped = Drops::default();
        loop {
            dropped.add(DropReason::QueueFull, self.refill(backlog));
            if !backlog.is_empty() {
                break;
            }
            if dropped.total() > 0 {
                return Ok(dropped);
            }
            self.waiting.notified().await;
        }
        let sent = self.link.send_some(backlog).await?;
        dropped.add(DropReason::DatagramBudget, sent.refused.len() as u64);
        Ok(dropped)
    }

    fn refill(&self, backlog: &mut VecDeque<Bytes>) -> u64 {
        let (mut queue, now, mut dropped) = (self.queue(), Instant::now(), 0);
        while backlog.len() < FLUSH_BATCH {
            let (datagram, stale) = queue.pop(now);
            dropped += stale;
            match datagram {
                Some(datagram) => backlog.push_back(datagram),
                None => break,
            }
        }
        dropped
    }

    fn queue(&self) -> MutexGuard<'_, Egress> {
        // The queue is whole after every call, so a panic elsewhere leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
