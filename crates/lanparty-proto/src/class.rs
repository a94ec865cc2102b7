//! What a frame to many is for: the classes that broadcast, multicast and unknown unicast are budgeted in, so that a
//! flood of one kind never starves ARP, a lease, or the game browser.

use std::fmt;

use crate::Frame;
use crate::packet::{Ipv4Packet, Ipv6Packet, Udp, ethertype, nd_type, protocol};

/// Budget classes for broadcast, multicast and unknown unicast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TrafficClass {
    /// ARP and IPv6 neighbour discovery: without it nobody reaches anybody.
    ArpNd,
    /// DHCP for IPv4 and IPv6.
    Dhcp,
    /// Finding each other: mDNS, SSDP, LLMNR, NBNS, WS-Discovery, IGMP, MLD, and any other UDP to many (game browsers).
    Discovery,
    /// Everything else.
    Other,
}

impl TrafficClass {
    /// Every class, in declaration order: one bucket and one counter for each.
    pub const ALL: &[Self] = &[Self::ArpNd, Self::Dhcp, Self::Discovery, Self::Other];

    /// The class as logs and counters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArpNd => "ArpNd",
            Self::Dhcp => "Dhcp",
            Self::Discovery => "Discovery",
            Self::Other => "Other",
        }
    }
}

impl fmt::Display for TrafficClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Never fails: what cannot be read is [`TrafficClass::Other`], the tightest budget.
pub(crate) fn classify(frame: &Frame<'_>) -> TrafficClass {
    let to_many = frame.dst().is_group();
    match frame.ethertype() {
        ethertype::ARP | ethertype::RARP => TrafficClass::ArpNd,
        ethertype::IPV4 => classify_ipv4(frame.payload(), to_many),
        ethertype::IPV6 => classify_ipv6(frame.payload(), to_many),
        _ => TrafficClass::Other,
    }
}

fn classify_ipv4(bytes: &[u8], to_many: bool) -> TrafficClass {
    match Ipv4Packet::read(bytes) {
        Ok(packet) if packet.protocol == protocol::UDP => {
            let header = if packet.fragment_offset == 0 { Udp::read(packet.payload) } else { None };
            classify_udp(header.as_ref(), to_many)
        }
        Ok(packet) if packet.protocol == protocol::IGMP => TrafficClass::Discovery,
        _ => TrafficClass::Other,
    }
}

fn classify_ipv6(bytes: &[u8], to_many: bool) -> TrafficClass {
    match Ipv6Packet::read(bytes) {
        Ok(packet) if packet.upper == protocol::UDP => {
            let header = if packet.has_upper_header() { Udp::read(packet.payload) } else { None };
            classify_udp(header.as_ref(), to_many)
        }
        Ok(packet) if packet.upper == protocol::ICMPV6 && packet.has_upper_header() => classify_icmpv6(packet.payload.first()),
        _ => TrafficClass::Other,
    }
}

fn classify_icmpv6(message_type: Option<&u8>) -> TrafficClass {
    match message_type {
        Some(nd_type::ROUTER_SOLICITATION..=nd_type::REDIRECT) => TrafficClass::ArpNd,
        // Multicast listener query, report, done (RFC 2710 §3), version 2 report (RFC 3810 §5.2).
        Some(130..=132 | 143) => TrafficClass::Discovery,
        _ => TrafficClass::Other,
    }
}

fn classify_udp(header: Option<&Udp<'_>>, to_many: bool) -> TrafficClass {
    let ports = header.map_or([0, 0], |udp| [udp.source_port, udp.destination_port]);
    if ports.iter().any(|port| matches!(port, 67 | 68 | 546 | 547)) {
        TrafficClass::Dhcp
    } else if to_many || ports.iter().any(|port| matches!(port, 137 | 138 | 1900 | 3702 | 5353 | 5355)) {
        TrafficClass::Discovery
    } else {
        TrafficClass::Other
    }
}
