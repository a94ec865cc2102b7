//! What can be done with a packet that is larger than it may be: tell its sender, or cut it up as a router would.
//!
//! Bytes in, bytes out; whether to do it, and how often, is decided in `lanparty-core`. All of it expects a frame that
//! [`admit`](crate::admit) found wrong in nothing but its size, and whose header [`is_intact`].

mod fragment;
mod too_big;

pub use fragment::{fragment_ipv4, trim};
pub use too_big::packet_too_big;

use std::net::IpAddr;

use crate::packet::{be16, ethertype};
use crate::{Checksum, ETHERNET_HEADER_LEN, Frame};

const DONT_FRAGMENT: u16 = 0x4000;
const IPV6_HEADER_LEN: usize = 40;

/// Whether the header of the packet in `frame` is as its sender wrote it, as far as it has a checksum: a router asks
/// before anything else (RFC 1812 §5.2.2). Whoever cuts up a damaged packet gives each piece a right checksum, and whoever
/// answers it talks to an address that perhaps never sent anything.
#[must_use]
pub fn is_intact(frame: &Frame<'_>) -> bool {
    let header_len = usize::from(frame.payload().first().copied().unwrap_or(0) & 0x0f) * 4;
    let sum = frame.payload().get(..header_len).map(|header| Checksum::default().with(header).field());
    frame.ethertype() != ethertype::IPV4 || sum == Some([0, 0])
}

/// How long the IP packet in `frame` says it is, header included: what stands behind it is padding.
fn packet_len(frame: &Frame<'_>) -> Option<usize> {
    match frame.ethertype() {
        ethertype::IPV4 => Some(usize::from(be16(frame.payload(), 2)?)),
        ethertype::IPV6 => Some(IPV6_HEADER_LEN + usize::from(be16(frame.payload(), 4)?)),
        _ => None,
    }
}

/// Source and destination of the IP packet in `frame`.
#[must_use]
pub fn ip_ends(frame: &Frame<'_>) -> Option<(IpAddr, IpAddr)> {
    let packet = frame.payload();
    match frame.ethertype() {
        ethertype::IPV4 => address_at::<4>(packet, 12).zip(address_at::<4>(packet, 16)),
        ethertype::IPV6 => address_at::<16>(packet, 8).zip(address_at::<16>(packet, 24)),
        _ => None,
    }
}

fn address_at<const LEN: usize>(packet: &[u8], at: usize) -> Option<IpAddr>
where
    IpAddr: From<[u8; LEN]>,
{
    packet.get(at..)?.first_chunk::<LEN>().copied().map(IpAddr::from)
}

/// Whether a frame carries IPv4 whose sender forbids to fragment it (RFC 791 §3.1).
#[must_use]
pub fn forbids_fragments(frame: &Frame<'_>) -> bool {
    be16(frame.bytes(), ETHERNET_HEADER_LEN + 6).is_some_and(|field| field & DONT_FRAGMENT != 0)
}
