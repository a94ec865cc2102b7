//! The task of one direct link: frames in, frames out, an eye on its path.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{Discarded, Drops};
use lanparty_proto::{Control, MemberId};
use tokio::sync::mpsc;

use super::PeerEvent;
use crate::{ControlReader, Link, LinkEnded, PathWatch, fair_queue};

/// Datagrams taken from a link, or for it, at once.
const BATCH: usize = 64;

/// What the task and the driver both look at.
#[derive(Default)]
pub(super) struct Shared {
    /// The search for the path's size has ended.
    pub(super) settled: AtomicBool,
    /// Datagrams that came to nothing.
    dropped: Mutex<Drops>,
}

impl Shared {
    fn count(&self, discarded: &mut Vec<Discarded>) {
        for Discarded { reason, .. } in discarded.drain(..) {
            self.dropped().add(reason, 1);
        }
    }

    /// Datagrams that came to nothing since the last call.
    pub(super) fn take_dropped(&self) -> Drops {
        std::mem::take(&mut *self.dropped())
    }

    fn dropped(&self) -> MutexGuard<'_, Drops> {
        // Whole after every call.
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn carry(
    (member, serial): (MemberId, u64),
    link: Link,
    mut outgoing: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<PeerEvent>,
    shared: Arc<Shared>,
) {
    let ended = run(member, serial, &link, &mut outgoing, &events, &shared).await;
    link.close("this direct link is not needed any more");
    if let Err(ended) = ended {
        let _ = events.send(PeerEvent::Ended { member, serial, ended }).await;
    }
}

async fn run(
    member: MemberId,
    serial: u64,
    link: &Link,
    outgoing: &mut mpsc::Receiver<Bytes>,
    events: &mpsc::Sender<PeerEvent>,
    shared: &Shared,
) -> Result<(), LinkEnded> {
    let (mut received, mut backlog, mut discarded) = (vec![Bytes::new(); BATCH], fair_queue(), vec![]);
    let mut watch = PathWatch::new(link);
    // Only one of several paths has anything to say yet.
    let mut control = link.bond().map(|bond| bond.control().0);
    loop {
        let fronts = link.fronts(&backlog);
        let event = tokio::select! {
            count = link.recv(&mut received) => {
                let frames = received.iter_mut().take(count?).map(std::mem::take).collect();
                PeerEvent::Frames { member, serial, frames }
            }
            first = outgoing.recv(), if backlog.has_room() => {
                let Some(first) = first else { return Ok(()) };
                let (is_alone, now) = (backlog.is_empty(), Instant::now());
                let more = std::iter::from_fn(|| outgoing.try_recv().ok()).take(BATCH - 1);
                for datagram in std::iter::once(first).chain(more) {
                    discarded.extend(backlog.push(datagram, now));
                }
                let sent = if is_alone { link.send_queued(&mut backlog, now, &mut discarded) } else { Ok(()) };
                shared.count(&mut discarded);
                sent?;
                continue;
            }
            ready = link.ready(&fronts), if !backlog.is_empty() => {
                ready?;
                let sent = link.send_queued(&mut backlog, Instant::now(), &mut discarded);
                shared.count(&mut discarded);
                sent?;
                continue;
            }
            message = next_of(&mut control) => match message? {
                Control::PeerLines { lines } => PeerEvent::Lines { member, serial, lines },
                _ => continue,
            },
            () = watch.due() => {
                watch.look(link)?;
                shared.settled.store(watch.is_settled(), Ordering::Relaxed);
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
}

async fn next_of(control: &mut Option<ControlReader>) -> Result<Control, LinkEnded> {
    match control {
        Some(control) => control.next().await,
        None => std::future::pending().await,
    }
}
