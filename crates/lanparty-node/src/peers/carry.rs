//! The task of one direct link: frames in, frames out, an eye on its path.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use lanparty_proto::MemberId;
use tokio::sync::mpsc;

use super::PeerEvent;
use crate::{Link, LinkEnded, PathWatch};

/// Datagrams taken from a link, or for it, at once.
const BATCH: usize = 64;

/// What the task and the driver both look at.
#[derive(Default)]
pub(super) struct Shared {
    /// The search for the path's size has ended.
    pub(super) settled: AtomicBool,
    /// Datagrams that the path became too small for.
    pub(super) refused: AtomicU64,
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
    let (mut received, mut backlog) = (vec![Bytes::new(); BATCH], VecDeque::new());
    let mut watch = PathWatch::new(link);
    loop {
        let sent = tokio::select! {
            count = link.recv(&mut received) => {
                let frames = received.iter_mut().take(count?).map(std::mem::take).collect();
                if events.send(PeerEvent::Frames { member, serial, frames }).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            first = outgoing.recv(), if backlog.is_empty() => {
                let Some(first) = first else { return Ok(()) };
                backlog.push_back(first);
                while let Some(next) = (backlog.len() < BATCH).then(|| outgoing.try_recv().ok()).flatten() {
                    backlog.push_back(next);
                }
                let sent = link.send_now(backlog.make_contiguous())?;
                backlog.drain(..sent.taken);
                sent
            }
            sent = link.send_some(&mut backlog), if !backlog.is_empty() => sent?,
            () = watch.due() => {
                watch.look(link)?;
                shared.settled.store(watch.is_settled(), Ordering::Relaxed);
                continue;
            }
        };
        shared.refused.fetch_add(sent.refused.len() as u64, Ordering::Relaxed);
    }
}
