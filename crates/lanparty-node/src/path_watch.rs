//! Keeps an eye on one link's path: looks at what the QUIC stack knows, and sends the padding that
//! [`PathSense`] asks for. One for each end of a link, because sizes differ by direction.

use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{Padding, PathSense};
use lanparty_proto::{DatagramBudget, padding};

use crate::alarm::Alarm;
use crate::{Link, LinkEnded};

/// The watch over a link's path.
pub struct PathWatch {
    sense: PathSense,
    next: Instant,
    settled: bool,
    alarm: Alarm,
}

impl PathWatch {
    /// A watch over `link`, whose first look is due at once.
    #[must_use]
    pub fn new(link: &Link) -> Self {
        let now = Instant::now();
        Self { sense: PathSense::new(link.budget(), now), next: now, settled: true, alarm: Alarm::default() }
    }

    /// Resolves when it is time to [`Self::look`]. Cancel-safe.
    pub async fn due(&mut self) {
        self.alarm.ring(Some((self.next, ()))).await;
    }

    /// When it is time to [`Self::look`].
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Whether it is time to [`Self::look`].
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Looks at the path and returns its budget.
    ///
    /// # Errors
    /// When the connection ended.
    pub fn look(&mut self, link: &Link) -> Result<DatagramBudget, LinkEnded> {
        let (facts, now) = (link.path_facts(), Instant::now());
        let sensed = self.sense.look(facts, now);
        self.next = now + sensed.look_again;
        self.settled = sensed.settled;
        let len = |p: &Padding| if *p == Padding::Full { usize::from(link.found_budget().0) } else { 1 };
        let datagrams: Vec<Bytes> = sensed.padding.iter().map(|p| Bytes::from(padding(len(p)))).collect();
        // What does not fit the stack's queue now would say nothing: it is full of other datagrams that say the same.
        link.send_now(&datagrams)?;
        Ok(facts.budget)
    }

    /// Whether the budget is what the path takes, not a step of a search.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }
}
