//! A service that a member offers to machines on both of its sides, such as DHCP on a gateway: what concerns it is handed to its owner.
//!
//! The frames go their ordinary way as well. Nothing is looked at as long as nothing is offered.

use bytes::Bytes;
use lanparty_nic::Device;
use lanparty_proto::{Arp, Frame, MacAddr, Sight};

use super::{DriverEvent, MemberDriver};

/// Frames that wait for the owner. A flood beyond it is nobody's loss: who is not answered asks again.
const WAITING_MAX: usize = 256;

/// On which side of a member a machine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Behind its device.
    Device,
    /// In the room.
    Room,
}

/// What is offered, and what came for it.
#[derive(Default)]
pub(super) struct Desk {
    /// The address that the service has for itself.
    mac: Option<MacAddr>,
    waiting: Vec<(Side, Bytes)>,
}

impl Desk {
    /// Frames that pass.
    pub(super) fn look<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>, side: Side) {
        let Some(mac) = self.mac else { return };
        for frame in frames.filter(|frame| concerns(frame, mac)) {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push((side, Bytes::copy_from_slice(frame)));
            }
        }
    }

    /// What waits, if anything does.
    pub(super) fn hand_over(&mut self) -> Option<DriverEvent> {
        (!self.waiting.is_empty()).then(|| DriverEvent::Desk(std::mem::take(&mut self.waiting)))
    }
}

impl<D: Device> MemberDriver<D> {
    /// Offers a service at this MAC address: DHCP, and ARP, to many and to that address come as [`DriverEvent::Desk`] from now on.
    pub const fn open_desk(&mut self, mac: MacAddr) {
        self.desk.mac = Some(mac);
    }

    /// Sends what the service says. What gets lost is asked for again.
    pub fn say_at_desk(&mut self, side: Side, frame: Vec<u8>) {
        match (side, &mut self.device) {
            // A link that ends says so when it is read next.
            (Side::Room, _) => drop(self.send_own(&frame)),
            (Side::Device, Some(device)) => drop(device.send(&[frame.into()])),
            (Side::Device, None) => {}
        }
    }

    /// What the room gives now.
    pub(super) fn look_at_desk_in(&mut self) {
        self.desk.look(self.frames.iter().map(|frame| &frame[..]), Side::Room);
    }

    /// What the device gives now.
    pub(super) fn look_at_desk_out(&mut self) {
        self.desk.look(self.batch.iter(), Side::Device);
    }
}

/// Whether the service may have to do something about it.
fn concerns(frame: &[u8], mac: MacAddr) -> bool {
    // The group bit of the destination (IEEE 802 §8.2), without reading the rest.
    let is_to_many = frame.first().is_some_and(|octet| octet & 1 != 0);
    if !is_to_many && frame.first_chunk() != Some(&mac.0) {
        return false;
    }
    let Ok(frame) = Frame::parse(frame) else { return false };
    Arp::read(&frame).is_some() || matches!(Sight::of(&frame), Some(Sight::DhcpQuestion(_) | Sight::DhcpAnswer(..)))
}
