//! A link behind a fair queue: what it takes is chosen when it takes it, so nothing that came late has to wait behind what came first.

use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{Discarded, FairQueue};
use lanparty_proto::DropReason;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Link, LinkEnded, Way};

/// So many flows are asked for what they have first.
pub(crate) const FRONTS_MAX: usize = 32;

/// A fair queue that nobody else can aim at.
#[must_use]
pub fn fair_queue() -> FairQueue {
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).expect("INVARIANT: the operating system gives random bytes");
    FairQueue::new(u64::from_ne_bytes(seed))
}

impl Link {
    /// What [`Self::ready`] needs to know of a queue: what its flows have first, where that makes a difference.
    #[must_use]
    pub fn fronts(&self, queue: &FairQueue) -> Vec<Bytes> {
        match &self.way {
            Way::Bond(_) => queue.fronts().take(FRONTS_MAX).cloned().collect(),
            Way::Quic(_) | Way::Stream(_) => vec![],
        }
    }

    /// Waits until the way takes another datagram: one of `fronts`, when it makes a difference. Cancel-safe.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn ready(&self, fronts: &[Bytes]) -> Result<(), LinkEnded> {
        match &self.way {
            Way::Quic(quic) => quic.ready().await,
            Way::Stream(stream) => stream.ready().await,
            Way::Bond(bond) => bond.ready(fronts).await,
        }
    }

    /// Stations 4 and 8 behind a queue: after [`Self::ready`], hands over as much of `queue` as the way takes now, at least one datagram.
    /// What comes to nothing goes to `discarded`: dropped by the queue, or larger than the path takes by now.
    ///
    /// # Errors
    /// When the connection ended.
    pub fn send_queued(&self, queue: &mut FairQueue, now: Instant, discarded: &mut Vec<Discarded>) -> Result<(), LinkEnded> {
        let (batch, sent) = match &self.way {
            Way::Quic(quic) => {
                let batch = quic.take_from(queue, now, discarded);
                let sent = quic.hand_over(&batch);
                (batch, sent)
            }
            Way::Stream(stream) => {
                let batch = stream.take_from(queue, now, discarded);
                let sent = stream.send_now(&batch);
                (batch, sent)
            }
            Way::Bond(bond) => return bond.send_queued(queue, now, discarded),
        };
        match sent {
            Ok(sent) => {
                discarded.extend(sent.refused.into_iter().map(|datagram| Discarded { datagram, reason: DropReason::DatagramBudget }));
                Ok(())
            }
            Err(ended) => {
                discarded.extend(batch.into_iter().map(|datagram| Discarded { datagram, reason: DropReason::LinkDown }));
                Err(ended)
            }
        }
    }
}
