//! What was lost goes once more: the other end is asked for it, and what it asks for is sent.

use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{ask_again, asked_again};

use super::State;
use super::send::Burst;

impl State {
    /// Asks the other end for what every path has passed.
    pub(super) fn ask(&mut self, now: Instant) {
        let numbers = self.restorer.take_asks();
        if numbers.is_empty() {
            return;
        }
        let mut burst = Burst::new(self, now);
        // Where no path takes it, nobody waits for the answer longer than for any other.
        burst.offer_as_it_is(&Bytes::from(ask_again(&numbers)));
        let drops = burst.send();
        self.discarded.add_all(&drops);
    }

    /// Sends what the other end asks for, when that is what this datagram does.
    pub(super) fn answer(&mut self, datagram: &[u8], now: Instant) -> bool {
        let Some(numbers) = asked_again(datagram) else { return false };
        let again: Vec<Bytes> = numbers.filter_map(|number| self.repeats.take(number)).collect();
        if again.is_empty() {
            return true;
        }
        let mut burst = Burst::new(self, now);
        // What has no room is late anyhow, and was counted when it was sent first.
        for datagram in &again {
            burst.offer_as_it_is(datagram);
        }
        // Likewise what has become too large.
        let _ = burst.send();
        true
    }
}
