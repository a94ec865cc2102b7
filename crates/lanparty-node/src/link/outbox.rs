//! The way out by one link: datagrams that its path takes go at once, others wait in a fair and bounded queue.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{Drops, FairQueue};
use lanparty_proto::{DropReason, end_of_way, is_end_of_way};
use tokio::sync::Notify;

use super::fair::fair_queue;
use super::{ENDS, Link, LinkEnded};

/// Station 7, queue, in front of stations 4 and 8, send. Who has datagrams offers them, from any thread; one task flushes.
pub struct Outbox {
    link: Link,
    queue: Mutex<FairQueue>,
    waiting: Notify,
    /// What of a datagram is kept in the queue.
    keep: fn(&Bytes) -> Bytes,
}

impl Outbox {
    /// For datagrams of this program's own device, which may wait as they are.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self::with(link, Bytes::clone)
    }

    /// For datagrams that are slices of the up to 64 KiB that they arrived in: a queue of them would keep all of that.
    #[must_use]
    pub fn of_slices(link: Link) -> Self {
        Self::with(link, |datagram| Bytes::copy_from_slice(datagram))
    }

    fn with(link: Link, keep: fn(&Bytes) -> Bytes) -> Self {
        Self { link, queue: Mutex::new(fair_queue()), waiting: Notify::new(), keep }
    }

    /// The link.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Takes these. What was dropped, if anything: to make room, or because the path shrank.
    pub fn offer(&self, datagrams: &[Bytes], now: Instant) -> Option<Drops> {
        let mut queue = self.queue();
        let (mut taken, mut dropped) = (0, Drops::default());
        if queue.is_empty()
            && let Ok(sent) = self.link.send_now(datagrams)
        {
            dropped.add(DropReason::DatagramBudget, sent.refused.len() as u64);
            taken = sent.taken;
        }
        for datagram in datagrams.iter().skip(taken) {
            let pushed_out = queue.push((self.keep)(datagram), now);
            dropped.add_all(&Drops::from(&pushed_out[..]));
        }
        if !queue.is_empty() {
            self.waiting.notify_one();
        }
        (dropped.total() > 0).then_some(dropped)
    }

    /// Says behind everything that waits that frames take another way from now on, more than once because a datagram may be lost.
    pub fn end(&self) {
        let mut queue = self.queue();
        // No frame, and so in nobody's books when it does not go out.
        (0..ENDS).for_each(|_| drop(queue.push_last(Bytes::from(end_of_way()))));
        self.waiting.notify_one();
    }

    /// Whether something waits.
    pub(crate) fn is_behind(&self) -> bool {
        !self.queue().is_empty()
    }

    /// Waits until something is queued and the path takes some of it. What was dropped: stale, too much of one flow, or too large since;
    /// and whether the connection ended, with which what it was to take is dropped. Cancel-safe.
    pub async fn flush(&self) -> (Drops, Result<(), LinkEnded>) {
        loop {
            while self.queue().is_empty() {
                self.waiting.notified().await;
            }
            let fronts = self.link.fronts(&self.queue());
            tokio::select! {
                ready = self.link.ready(&fronts) => match ready {
                    Ok(()) => break,
                    Err(ended) => return (Drops::default(), Err(ended)),
                },
                // What has come since may be taken sooner.
                () = self.waiting.notified(), if !fronts.is_empty() => {}
            }
        }
        let mut discarded = vec![];
        let sent = self.link.send_queued(&mut self.queue(), Instant::now(), &mut discarded);
        (Drops::from(&discarded[..]), sent)
    }

    /// Gives up what waits: the link is gone, or not needed any more. The frames of it.
    pub fn give_up(&self) -> Drops {
        let frames = self.queue().drain().iter().filter(|datagram| !is_end_of_way(datagram)).count();
        Drops::of(DropReason::LinkDown, frames as u64)
    }

    /// Datagrams that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue().len()
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue> {
        // The queue is whole after every call, so a panic elsewhere leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
