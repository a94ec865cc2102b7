//! Super-frames: what the kernel hands over as one piece of up to 64 KiB and the network knows as many frames.
//!
//! [`segment`] turns a super-frame into frames on the way out of the kernel, [`coalesce`] turns frames of one flow into
//! a super-frame on the way in. Both speak the virtio-net header (Virtio 1.2 §5.1.6), as TAP and AF_PACKET do.
//! Pure: bytes in, bytes out.

mod coalesce;
mod layout;
mod segment;
#[cfg(test)]
mod tests;
mod vnet_hdr;

pub(crate) use coalesce::{Limits, Run, SEGMENTS_MAX, next_run};
pub(crate) use segment::push_frames;
pub(crate) use vnet_hdr::{VNET_HDR_LEN, VnetHdr};
