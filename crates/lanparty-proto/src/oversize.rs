//! What can be done with a packet that is larger than it may be: tell its sender, or cut it up as a router would.
//!
//! Bytes in, bytes out; whether to do it, and how often, is decided in `lanparty-core`. All of it expects a frame that
//! [`admit`](crate::admit) found wrong in nothing but its size.

mod fragment;
mod too_big;

pub use fragment::{fragment_ipv4, trim};
pub use too_big::packet_too_big;

use crate::packet::{be16, ethertype};
use crate::{ETHERNET_HEADER_LEN, Frame};

const DONT_FRAGMENT: u16 = 0x4000;
const IPV6_HEADER_LEN: usize = 40;

/// How long the IP packet in `frame` says it is, header included: what stands behind it is padding.
fn packet_len(frame: &Frame<'_>) -> Option<usize> {
    match frame.ethertype() {
        ethertype::IPV4 => Some(usize::from(be16(frame.payload(), 2)?)),
        ethertype::IPV6 => Some(IPV6_HEADER_LEN + usize::from(be16(frame.payload(), 4)?)),
        _ => None,
    }
}

/// Whether a frame carries IPv4 whose sender forbids to fragment it (RFC 791 §3.1).
#[must_use]
pub fn forbids_fragments(frame: &Frame<'_>) -> bool {
    be16(frame.bytes(), ETHERNET_HEADER_LEN + 6).is_some_and(|field| field & DONT_FRAGMENT != 0)
}
