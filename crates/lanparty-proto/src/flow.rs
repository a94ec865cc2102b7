//! Which frames belong together: what a fair queue shares a path between.

use std::net::IpAddr;

use crate::packet::{Ipv4Packet, Ipv6Packet, be16, ethertype, protocol};
use crate::{DATAGRAM_HEADER_LEN, Frame, MacAddr, ip_ends};

/// TCP, DCCP, UDP, SCTP and UDP-Lite begin with two ports (IANA).
const WITH_PORTS: [u8; 5] = [protocol::TCP, protocol::UDP, 33, 132, 136];

/// The conversation that a frame is part of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flow {
    /// Of IP hosts.
    Ip {
        /// Source and destination address.
        ends: (IpAddr, IpAddr),
        /// The protocol of the upper layer, IPv6 extension headers skipped.
        protocol: u8,
        /// Source and destination port. Nothing where there are none, and for every fragment: only the first one shows
        /// them, and all of a packet belong together.
        ports: Option<(u16, u16)>,
    },
    /// Of machines.
    Ethernet {
        /// Source and destination address.
        ends: (MacAddr, MacAddr),
        /// What they speak.
        ethertype: u16,
    },
    /// No frame at all.
    None,
}

impl Flow {
    /// The flow of the frame in a datagram.
    #[must_use]
    pub fn of_datagram(datagram: &[u8]) -> Self {
        let frame = datagram.get(DATAGRAM_HEADER_LEN..).and_then(|bytes| Frame::parse(bytes).ok());
        frame.map_or(Self::None, |frame| Self::of(&frame))
    }

    /// The flow of a frame.
    #[must_use]
    pub fn of(frame: &Frame<'_>) -> Self {
        Self::of_ip(frame).unwrap_or_else(|| Self::Ethernet { ends: (frame.src(), frame.dst()), ethertype: frame.ethertype() })
    }

    fn of_ip(frame: &Frame<'_>) -> Option<Self> {
        let ends = ip_ends(frame)?;
        let (protocol, whole, payload) = match frame.ethertype() {
            ethertype::IPV4 => {
                let packet = Ipv4Packet::read(frame.payload()).ok()?;
                (packet.protocol, packet.fragment_offset == 0 && !packet.more_fragments, packet.payload)
            }
            _ => {
                let packet = Ipv6Packet::read(frame.payload()).ok()?;
                // What a later fragment calls its upper layer is its first one's next header, which may be a further extension.
                let whole = packet.is_whole();
                (if whole { packet.upper } else { 0 }, whole, packet.payload)
            }
        };
        let has_ports = whole && WITH_PORTS.contains(&protocol);
        let ports = if has_ports { be16(payload, 0).zip(be16(payload, 2)) } else { None };
        Some(Self::Ip { ends, protocol, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::wire::{self, Header, Ipv4, Ipv6};

    fn flow(kind: u16, packet: &[u8]) -> Flow {
        Flow::of(&Frame::parse(&wire::ethernet(wire::VICTIM, wire::HOST, kind, packet)).unwrap())
    }

    fn ports(flow: Flow) -> Option<(u16, u16)> {
        match flow {
            Flow::Ip { ports, .. } => ports,
            _ => None,
        }
    }

    #[test]
    fn ports_tell_the_flows_of_two_hosts_apart() {
        let v4 = |from| flow(wire::IPV4, &Ipv4::new(wire::UDP).packet(&wire::udp(from, 2, &[0; 9])));
        let v6 = |from| flow(wire::IPV6, &Ipv6::default().packet(&[], wire::UDP, &wire::udp(from, 2, &[0; 9])));
        for (one, other) in [(v4(1), v4(7)), (v6(1), v6(7))] {
            assert_eq!((ports(one), ports(other)), (Some((1, 2)), Some((7, 2))));
        }
        let behind_options = Ipv6::default().packet(&[Header::new(Header::DESTINATION, 1)], wire::UDP, &wire::udp(1, 2, &[0; 9]));
        assert_eq!(flow(wire::IPV6, &behind_options), v6(1), "extension headers are skipped");
    }

    #[test]
    fn all_fragments_of_a_packet_are_one_flow() {
        let v4 = |offset, more| flow(wire::IPV4, &Ipv4::new(wire::UDP).fragment(offset, more).packet(&wire::udp(1, 2, &[0; 24])));
        let v6 = |offset, more| {
            flow(wire::IPV6, &Ipv6::default().packet(&[Header::fragment(offset, more)], wire::UDP, &wire::udp(1, 2, &[0; 24])))
        };
        assert_eq!((v4(0, true), ports(v4(0, true))), (v4(4, false), None));
        assert_eq!((v6(0, true), ports(v6(0, true))), (v6(4, false), None));
        assert_eq!(ports(v6(0, false)), Some((1, 2)), "an atomic fragment is a whole packet (RFC 6946)");
    }

    #[test]
    fn what_is_not_ip_is_a_flow_of_two_machines() {
        let arp = flow(wire::ARP, &wire::arp(1, (wire::HOST, [10, 0, 0, 1]), (wire::VICTIM, [10, 0, 0, 2])));
        assert_eq!(arp, Flow::Ethernet { ends: (wire::HOST, wire::VICTIM), ethertype: ethertype::ARP });
        assert!(matches!(flow(wire::IPV4, b"damaged"), Flow::Ethernet { ethertype: ethertype::IPV4, .. }));
        assert_eq!(Flow::of_datagram(b"x"), Flow::None);
    }
}
