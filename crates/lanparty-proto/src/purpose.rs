//! What a frame is to its flow: whether others wait for it, or it is one of many.

use crate::packet::{Ipv4Packet, Ipv6Packet, ethertype, protocol};
use crate::{Frame, TrafficClass};

/// TCP flags (RFC 9293 §3.1): FIN, SYN, RST.
const TCP_FLAGS_AT: usize = 13;
const TCP_BEGIN_OR_END: u8 = 0x07;

/// What a frame is to its flow, and so what its loss or delay costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// What others wait for before they can begin: ARP, neighbour discovery, DHCP, discovery, echo; TCP's first and last.
    Setup,
    /// UDP.
    Datagrams,
    /// TCP that carries no data: acknowledgements.
    Acknowledgement,
    /// Everything else.
    Bulk,
}

impl Purpose {
    /// The purpose of a frame.
    #[must_use]
    pub fn of(frame: &Frame<'_>) -> Self {
        if frame.class() != TrafficClass::Other {
            return Self::Setup;
        }
        let packet = match frame.ethertype() {
            ethertype::IPV4 => Ipv4Packet::read(frame.payload()).ok().map(|packet| {
                let is_whole = packet.fragment_offset == 0 && !packet.more_fragments;
                Self::of_packet(packet.protocol, packet.payload, is_whole)
            }),
            ethertype::IPV6 => {
                Ipv6Packet::read(frame.payload()).ok().map(|packet| Self::of_packet(packet.upper, packet.payload, packet.is_whole()))
            }
            _ => None,
        };
        packet.unwrap_or(Self::Bulk)
    }

    fn of_packet(upper: u8, payload: &[u8], is_whole: bool) -> Self {
        match upper {
            protocol::UDP => Self::Datagrams,
            protocol::ICMP | protocol::ICMPV6 => Self::Setup,
            protocol::TCP if is_whole => Self::of_tcp(payload),
            _ => Self::Bulk,
        }
    }

    fn of_tcp(segment: &[u8]) -> Self {
        let header_len = segment.get(TCP_FLAGS_AT - 1).map_or(0, |offset| usize::from(offset >> 4) * 4);
        if segment.get(TCP_FLAGS_AT).is_some_and(|flags| flags & TCP_BEGIN_OR_END != 0) {
            Self::Setup
        } else if segment.len() <= header_len {
            Self::Acknowledgement
        } else {
            Self::Bulk
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    const HOSTS: ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [10, 0, 0, 2]);

    fn udp(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![];
        let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4(HOSTS.0, HOSTS.1, 64).udp(5000, 27015);
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    fn tcp(is_first: bool, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv6([1; 16], [2; 16], 64).tcp(1000, 80, 1, 1000);
        let builder = if is_first { builder.syn() } else { builder.ack(1) };
        let mut frame = vec![];
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    #[test]
    fn purposes_are_what_the_frames_are_for() {
        let of = |frame: &[u8]| Purpose::of(&Frame::parse(frame).unwrap());
        assert_eq!(of(&udp(b"a")), Purpose::Datagrams);
        assert_eq!(of(&tcp(true, b"")), Purpose::Setup);
        assert_eq!(of(&tcp(false, b"")), Purpose::Acknowledgement);
        assert_eq!(of(&tcp(false, b"data")), Purpose::Bulk);
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 1, 8, 6]);
        arp.extend([0; 28]);
        assert_eq!(of(&arp), Purpose::Setup);
        assert_eq!(of(&[0; 14]), Purpose::Bulk);
    }
}
