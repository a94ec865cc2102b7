//! A client whose TAP is bridged to its gateway's LAN: nothing is carried, and both sides are told.

use std::time::Instant;

use lanparty_core::Side;
use lanparty_nic::Device;
use lanparty_proto::{Control, DATAGRAM_HEADER_LEN};
use tracing::warn;

use super::MemberDriver;

impl<D: Device> MemberDriver<D> {
    /// What the TAP gives now.
    pub(super) fn look_at_bridge_out(&mut self, now: Instant) {
        if let Some(c) = &self.connected {
            self.batch.iter().for_each(|frame| self.bridged.look(frame, Side::Device, &c.roster, now));
        }
        self.follow_bridge(now);
    }

    /// What the room gives now.
    pub(super) fn look_at_bridge_in(&mut self, count: usize, now: Instant) {
        if let Some(c) = &self.connected {
            let frames = self.received.iter().take(count).filter_map(|datagram| datagram.get(DATAGRAM_HEADER_LEN..));
            frames.for_each(|frame| self.bridged.look(frame, Side::Link, &c.roster, now));
        }
        self.follow_bridge(now);
    }

    fn follow_bridge(&mut self, now: Instant) {
        let blocked = self.bridged.is_blocked(now);
        if blocked == self.is_bridged {
            return;
        }
        self.is_bridged = blocked;
        self.set_blocked(blocked);
        let (interface, seconds) = (&self.interface, self.bridged.quiet().as_secs());
        let message = if blocked {
            format!(
                "a loop: {interface} is bridged to the LAN of this room's own gateway; it carries nothing until that is over for {seconds} s"
            )
        } else {
            format!("the loop is gone: {interface} carries again")
        };
        warn!("{message}");
        self.unsaid_loop = Some(Control::Loop { blocked, message });
    }

    pub(super) const fn set_blocked(&mut self, blocked: bool) {
        self.outbound.set_blocked(blocked);
        self.inbound.set_blocked(blocked);
    }

    /// Tells the relay, and by it the gateway.
    pub(super) async fn tell_bridge(&mut self) {
        if let Some(message) = self.unsaid_loop.take() {
            self.tell(&message).await;
        }
    }
}
