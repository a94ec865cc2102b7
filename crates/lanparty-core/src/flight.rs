//! What a path does at one moment, as its congestion controller sees it.

use std::time::Duration;

/// A path at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flight {
    /// Bytes sent, and neither acknowledged nor found lost.
    pub in_flight: u64,
    /// Bytes that may be; 0 when nobody limits them here.
    pub window: u64,
    /// Bytes that arrived there in a second, lately; a lower bound while less was sent than the path takes; 0 before it is known.
    pub rate_bytes_per_s: u64,
    /// Smoothed round trip; zero before it is known.
    pub rtt: Duration,
    /// The shortest round trip so far; zero before it is known.
    pub min_rtt: Duration,
    /// Bytes of datagrams that the carrier has taken and not sent yet.
    pub queued: usize,
}

impl Flight {
    /// The shortest round trip, or the only one that is known.
    #[must_use]
    pub fn least_rtt(&self) -> Duration {
        if self.min_rtt.is_zero() { self.rtt } else { self.min_rtt }
    }

    /// Bytes per second that the path may be asked for: a window a round trip, even when it was not lately.
    #[must_use]
    pub fn rate(&self) -> u64 {
        let least = self.least_rtt();
        let window = if least.is_zero() { 0 } else { (self.window as f64 / least.as_secs_f64()) as u64 };
        self.rate_bytes_per_s.max(window).max(1)
    }

    /// Bytes that wait at the path's bottleneck: in flight, beyond what the path itself holds at `rate`.
    #[must_use]
    pub fn standing(&self, rate: u64) -> u64 {
        self.in_flight.saturating_sub((rate as f64 * self.least_rtt().as_secs_f64()) as u64)
    }
}
