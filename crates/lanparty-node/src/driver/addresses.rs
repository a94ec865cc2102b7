//! Conflicts over this machine's addresses, at the driver: probes go out, and what comes from the room is looked at.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{AddressConflict, ConflictOutput};
use lanparty_nic::Device;
use lanparty_proto::MacAddr;

use super::{DriverEvent, MemberDriver};
use crate::{Link, LinkEnded};

/// How long a machine in the room may take to answer, as long as nobody knows.
const RTT_UNKNOWN: Duration = Duration::from_millis(100);

/// The addresses that are asked for or watched.
#[derive(Default)]
pub(super) struct Addresses {
    conflict: AddressConflict,
    poll_at: Option<Instant>,
}

impl Addresses {
    /// When there is something to do.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.poll_at
    }

    /// Frames from the room.
    pub(super) fn look(&mut self, frames: &[Bytes], own: MacAddr, now: Instant) {
        if self.conflict.is_empty() {
            return;
        }
        for frame in frames {
            if self.conflict.handle_input(frame, own, now) {
                self.poll_at = Some(now);
            }
        }
    }
}

impl<D: Device> MemberDriver<D> {
    /// Asks the room whether anybody uses this address; a [`DriverEvent::Address`] says, and watches over it from then on.
    pub fn probe_address(&mut self, address: std::net::Ipv4Addr) {
        // There and back, and the other machine's way to the relay is unknown: as long as this one's.
        let rtt = self.link().and_then(Link::rtt).map_or(RTT_UNKNOWN, |rtt| rtt * 2);
        let now = Instant::now();
        self.addresses.conflict.probe(address, rtt, now);
        self.addresses.poll_at = Some(now);
    }

    /// This machine does not use the address any more.
    pub fn forget_address(&mut self, address: std::net::Ipv4Addr) {
        self.addresses.conflict.forget(address);
    }

    /// Sends what is due, until there is news.
    pub(super) fn drive_addresses(&mut self) -> Result<Option<DriverEvent>, LinkEnded> {
        let Some(own) = self.roster().map(|roster| roster.own().mac) else { return Ok(None) };
        let now = Instant::now();
        loop {
            match self.addresses.conflict.poll_output(own, now) {
                // One that gets lost is one of several.
                ConflictOutput::Send(frame) => drop(self.send_own(&frame)?),
                ConflictOutput::News(news) => return Ok(Some(DriverEvent::Address(news))),
                ConflictOutput::Timeout(at, _) => {
                    self.addresses.poll_at = Some(at);
                    return Ok(None);
                }
                ConflictOutput::Idle => {
                    self.addresses.poll_at = None;
                    return Ok(None);
                }
            }
        }
    }
}
