//! The end of a link whose member has moved to another: frames that are still on their way in it go first.

use std::time::{Duration, Instant};

use super::Link;

/// Longest wait for the end of the old way: it may be lost, or the way dead. Frames that come later than that are too late.
const DRAIN_MAX: Duration = Duration::from_millis(300);
/// Shortest: a busy machine may read late.
const DRAIN_MIN: Duration = Duration::from_millis(150);

/// A link that is read until nothing more comes.
pub struct Draining {
    link: Link,
    until: Instant,
}

impl Draining {
    /// Starts the wait: three round trips of the old way at most, for the news of the move and what was sent before it.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let patience = link.rtt().map_or(DRAIN_MAX, |rtt| (rtt * 3).clamp(DRAIN_MIN, DRAIN_MAX));
        Self { link, until: Instant::now() + patience }
    }

    /// The link.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Resolves when nothing more is to be expected. Somebody must read the link meanwhile, to its end.
    pub async fn done(&self) {
        tokio::select! {
            () = self.link.drained() => {}
            () = tokio::time::sleep_until(self.until.into()) => {}
        }
    }
}
