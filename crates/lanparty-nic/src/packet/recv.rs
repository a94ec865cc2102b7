//! From the wire: messages of AF_PACKET become frames as they were on it.

use std::io;
use std::os::fd::AsFd as _;

use lanparty_proto::{FrameBatch, MacAddr};

use super::PacketSocket;
use crate::device::{BATCH_BYTES_MAX, BATCH_FRAMES_MAX, DeviceFault};
use crate::offload::{VNET_HDR_LEN, VnetHdr, push_frames};
use crate::sys::packet::{Auxdata, Received, receive};

/// Messages per system call. Each may be a super-frame, so this also bounds how far a batch exceeds its limit.
const MESSAGES: usize = 8;
/// Room for the header, the longest IP packet, its Ethernet header and an inner tag.
const MESSAGE_LEN_MAX: usize = VNET_HDR_LEN + 65_535 + 14 + 8;
const TAG_LEN: usize = 4;
/// Destination and source, after which a tag stands (IEEE 802.1Q §9.3).
const ADDRESSES_LEN: usize = 12;

pub(super) type Buffers = Box<[Box<[u8]>; MESSAGES]>;

pub(super) fn buffers() -> Buffers {
    Box::new(std::array::from_fn(|_| vec![0; MESSAGE_LEN_MAX].into_boxed_slice()))
}

impl PacketSocket {
    /// Receives until there is nothing more, or enough.
    pub(super) fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let (mut frames, mut bytes) = (0, 0);
        self.is_drained = false;
        // What cannot be read is no end: WouldBlock must mean that the kernel has nothing, or readiness would be lost.
        while frames == 0 || (frames < BATCH_FRAMES_MAX && bytes < BATCH_BYTES_MAX) {
            let mut received = [None; MESSAGES];
            match receive(self.socket.as_fd(), &mut self.buffers, &mut received) {
                Ok(count) => {
                    for (index, message) in received.into_iter().enumerate().take(count) {
                        let Some(message) = message else { continue };
                        bytes += message.len.unwrap_or(0);
                        frames += self.take(index, message, batch);
                    }
                    if count < MESSAGES && frames > 0 {
                        self.is_drained = true;
                        break;
                    }
                }
                Err(e) => match self.end_of_receiving(e) {
                    None => {}
                    Some(end) if frames == 0 => return Err(end),
                    Some(end) => {
                        self.fault = DeviceFault::of(&end);
                        break;
                    }
                },
            }
        }
        self.stats.received += frames as u64;
        Ok(frames)
    }

    /// The error to report, or nothing when receiving goes on.
    fn end_of_receiving(&mut self, e: io::Error) -> Option<io::Error> {
        match e.raw_os_error() {
            // The kernel threw a super-frame away whose kind the header cannot say (`virtio_net_hdr_from_skb`).
            Some(libc::EINVAL) => {
                self.stats.unreadable += 1;
                None
            }
            // Reported once, perhaps long ago: what counts is how the interface is now.
            Some(libc::ENETDOWN) => self.fault_now().map(Into::into),
            _ => Some(e),
        }
    }

    /// One message: how many frames it was.
    fn take(&mut self, index: usize, message: Received, batch: &mut FrameBatch) -> usize {
        if message.is_outgoing && self.is_own_injection(index) {
            return 0;
        }
        let frames = message.len.and_then(|len| push_message(&mut self.buffers[index][..len], message.auxdata, batch));
        if frames.is_none() {
            self.stats.unreadable += 1;
        }
        frames.unwrap_or(0)
    }
}

/// Where the source address stands in a message.
const SOURCE_START: usize = VNET_HDR_LEN + 6;

impl PacketSocket {
    /// The kernel keeps a socket from reading what it sent by a mark on the packet, and loses the mark from all but the
    /// last segment when it has to cut a super-frame up for an interface without TSO. The source address remains.
    fn is_own_injection(&self, index: usize) -> bool {
        let source = self.buffers[index].get(SOURCE_START..).and_then(|b| b.first_chunk());
        source.is_some_and(|mac| self.injected.contains(&MacAddr(*mac)))
    }
}

/// Puts the tag back that was taken off, and appends the frames that the message stands for.
fn push_message(message: &mut [u8], auxdata: Auxdata, batch: &mut FrameBatch) -> Option<usize> {
    let hdr = VnetHdr::from_bytes(message.first_chunk()?);
    let (hdr, start) = match stripped_tag(auxdata) {
        None => (hdr, VNET_HDR_LEN),
        Some(tag) if message.len() >= VNET_HDR_LEN + ADDRESSES_LEN => {
            // The addresses move forward over the header that was just read, and leave room for the tag.
            let start = VNET_HDR_LEN - TAG_LEN;
            message.copy_within(VNET_HDR_LEN..VNET_HDR_LEN + ADDRESSES_LEN, start);
            message[start + ADDRESSES_LEN..start + ADDRESSES_LEN + TAG_LEN].copy_from_slice(&tag);
            (hdr.shifted(TAG_LEN as u16), start)
        }
        Some(_) => return None,
    };
    push_frames(hdr, &message[start..], batch).ok()
}

/// The tag the kernel or the NIC took off the frame (packet(7), `tpacket_auxdata`).
fn stripped_tag(auxdata: Auxdata) -> Option<[u8; TAG_LEN]> {
    if auxdata.status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let has_tpid = auxdata.status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let [a, b] = if has_tpid { auxdata.vlan_tpid.to_be_bytes() } else { [0x81, 0x00] };
    let [c, d] = auxdata.vlan_tci.to_be_bytes();
    Some([a, b, c, d])
}
