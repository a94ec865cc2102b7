//! The addresses that a client speaks for, at the driver: those of its machine are looked up when a packet has one that is not known.

use std::time::{Duration, Instant};

use lanparty_core::OwnAddresses;
use lanparty_nic::Device;
use lanparty_proto::{DATAGRAM_HEADER_LEN, DropReason, Frame};

use super::MemberDriver;

/// Between two looks at the machine's addresses: a flood of foreign packets costs no more than this.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What is known of them. A gateway's LAN has any.
#[derive(Default)]
pub(super) struct Own {
    addresses: Option<OwnAddresses>,
    looked: Option<Instant>,
}

impl Own {
    /// Looks at the machine when `judge` does not know an address of one of these frames. Whether anything is new.
    fn look<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a [u8]>,
        judge: impl Fn(&OwnAddresses, &Frame<'_>) -> Result<(), DropReason>,
        now: Instant,
    ) -> bool {
        let Some(own) = &mut self.addresses else { return false };
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK_INTERVAL) {
            return false;
        }
        let mut unknown = frames.filter_map(|frame| Frame::parse(frame).ok()).filter(|frame| judge(own, frame).is_err());
        if unknown.next().is_none() {
            return false;
        }
        self.looked = Some(now);
        let mut known = own.clone();
        known.set(crate::uplink::all_addresses());
        let is_new = known != *own;
        *own = known;
        is_new
    }
}

impl<D: Device> MemberDriver<D> {
    /// Sends packets of this machine's own addresses and of those of `own`'s networks only, and takes none for others.
    pub fn speak_for(&mut self, own: OwnAddresses) {
        self.own = Own { addresses: Some(own), looked: None };
        self.use_own();
    }

    pub(super) fn look_at_own_out(&mut self, now: Instant) {
        if self.own.look(self.batch.iter(), OwnAddresses::may_send, now) {
            self.use_own();
        }
    }

    pub(super) fn look_at_own_in(&mut self, count: usize, now: Instant) {
        let frames = self.received.iter().take(count).filter_map(|datagram| datagram.get(DATAGRAM_HEADER_LEN..));
        if self.own.look(frames, OwnAddresses::may_receive, now) {
            self.use_own();
        }
    }

    fn use_own(&mut self) {
        if let Some(own) = &self.own.addresses {
            self.outbound.speak_for(own.clone());
            self.inbound.listen_for(own.clone());
        }
    }
}
