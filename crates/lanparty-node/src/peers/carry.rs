//! The task of one direct link: frames in, frames out, an eye on its path.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lanparty_core::Drops;
use lanparty_proto::{Control, MemberId};
use tokio::sync::mpsc;

use super::PeerEvent;
use crate::{ControlReader, LinkEnded, Outbox, PathWatch, RECV_BATCH};

/// What the task and the driver both look at.
pub(super) struct Shared {
    /// The search for the path's size has ended.
    pub(super) settled: AtomicBool,
    /// Of all direct links.
    pub(super) dropped: Arc<Dropped>,
}

impl Shared {
    pub(super) fn new(dropped: &Arc<Dropped>) -> Self {
        Self { settled: AtomicBool::default(), dropped: Arc::clone(dropped) }
    }
}

/// Datagrams of direct links that came to nothing, also of links that are gone.
#[derive(Default)]
pub(super) struct Dropped(Mutex<Drops>);

impl Dropped {
    pub(super) fn count(&self, dropped: &Drops) {
        self.drops().add_all(dropped);
    }

    /// Those since the last call.
    pub(super) fn take(&self) -> Drops {
        std::mem::take(&mut *self.drops())
    }

    fn drops(&self) -> MutexGuard<'_, Drops> {
        // Whole after every call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn carry((member, serial): (MemberId, u64), outbox: Arc<Outbox>, events: mpsc::Sender<PeerEvent>, shared: Arc<Shared>) {
    let ended = run(member, serial, &outbox, &events, &shared).await;
    outbox.link().close("this direct link is not needed any more");
    if let Err(ended) = ended {
        let _ = events.send(PeerEvent::Ended { member, serial, ended }).await;
    }
}

async fn run(member: MemberId, serial: u64, outbox: &Outbox, events: &mpsc::Sender<PeerEvent>, shared: &Shared) -> Result<(), LinkEnded> {
    let (link, mut received) = (outbox.link(), vec![Bytes::new(); RECV_BATCH]);
    let mut watch = PathWatch::new(link);
    // Only one of several paths has anything to say yet.
    let mut control = link.bond().map(|bond| bond.control().0);
    loop {
        let event = tokio::select! {
            count = link.recv(&mut received) => {
                let frames = received.iter_mut().take(count?).map(std::mem::take).collect();
                PeerEvent::Frames { member, serial, frames }
            }
            (dropped, sent) = outbox.flush() => {
                shared.dropped.count(&dropped);
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
