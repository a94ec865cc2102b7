//! Views of what a frame may carry: IPv4, IPv6 with its whole extension header chain, UDP. Shared by admission, which
//! asks whether a packet is honest, and by classification, which asks what it is for.
//!
//! Every read is checked: a byte that is not there is a [`DropReason`], never a panic.

mod ipv4;
mod ipv6;
mod udp;

pub(crate) use ipv4::Ipv4Packet;
pub(crate) use ipv6::{Ipv6Fragment, Ipv6Packet};
pub(crate) use udp::Udp;

/// EtherTypes (IEEE 802 numbers, IANA).
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// Reverse ARP (RFC 903).
    pub const RARP: u16 = 0x8035;
    /// IPX.
    pub const IPX: u16 = 0x8137;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// Protocol and next-header numbers (IANA).
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const IGMP: u8 = 2;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ESP: u8 = 50;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const NO_NEXT_HEADER: u8 = 59;
}

/// Neighbour discovery message types (RFC 4861 §4): the first, the last, and the two that only routers send.
pub(crate) mod nd_type {
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(crate) const REDIRECT: u8 = 137;
}

/// The big-endian number at `at`, when it is there.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}
