//! The answer to a packet that is too large and may not be cut up: ICMP "fragmentation needed" (RFC 792, RFC 1191 §4)
//! and ICMPv6 "packet too big" (RFC 4443 §3.2).
//!
//! It comes from the address the packet was for: no host on this Ethernet is a router, and the sender believes whoever
//! it was talking to.

use super::packet_len;
use crate::packet::{Ipv4Packet, Ipv6Packet, ethertype, protocol};
use crate::{Checksum, ETHERNET_HEADER_LEN, Frame, IPV6_LAN_MTU_MIN, LanMtu};

const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const ICMP_HEADER_LEN: usize = 8;
/// RFC 1812 §4.3.2.3: as much of the packet as fits, but no more than 576 bytes in all.
const ICMP_PACKET_LEN_MAX: usize = 576;
/// RFC 4443 §2.4 (c): as much of the packet as fits the smallest MTU of IPv6.
const ICMPV6_PACKET_LEN_MAX: usize = IPV6_LAN_MTU_MIN as usize;
const ICMP: u8 = 1;
const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const ICMPV6_PACKET_TOO_BIG: u8 = 2;
const ICMPV6_REDIRECT: u8 = 137;
/// ICMPv6 messages below this are errors (RFC 4443 §2.1).
const ICMPV6_INFORMATIONAL: u8 = 128;
/// Echo, its reply, router discovery, timestamps, information, address masks and their like: what is no error.
const ICMP_QUERIES: [u8; 12] = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43];
/// Network control (RFC 1812 §4.3.2.5).
const TOS: u8 = 0xc0;
const TTL: u8 = 64;

/// A whole frame to the sender of the one in `frame`: packets to that destination may be `limit` bytes long. It is never
/// longer than what it answers.
///
/// Nothing when it would be no news, because the packet is no longer than that; and when nobody may be answered: an ICMP error, a
/// packet to or from a group, a later IPv4 fragment, an impossible sender (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e)); IPv6 with a limit that its hosts would ignore (RFC 8201 §4).
#[must_use]
pub fn packet_too_big(frame: &Frame<'_>, limit: LanMtu) -> Option<Vec<u8>> {
    let fits = packet_len(frame).is_none_or(|len| len <= usize::from(limit.bytes()));
    if fits || frame.dst().is_group() || frame.src().is_group() {
        return None;
    }
    let packet = match frame.ethertype() {
        ethertype::IPV4 => answer_ipv4(frame.payload(), limit)?,
        ethertype::IPV6 if limit.bytes() >= IPV6_LAN_MTU_MIN => answer_ipv6(frame.payload(), limit)?,
        _ => return None,
    };
    let mut answer = Vec::with_capacity(ETHERNET_HEADER_LEN + packet.len());
    answer.extend_from_slice(&frame.src().0);
    answer.extend_from_slice(&frame.dst().0);
    answer.extend_from_slice(&frame.ethertype().to_be_bytes());
    answer.extend_from_slice(&packet);
    Some(answer)
}

fn answer_ipv4(bytes: &[u8], limit: LanMtu) -> Option<Vec<u8>> {
    let packet = Ipv4Packet::read(bytes).ok().filter(|p| p.fragment_offset == 0)?;
    let is_error = packet.protocol == ICMP && packet.payload.first().is_none_or(|kind| !ICMP_QUERIES.contains(kind));
    let source: [u8; 4] = *bytes.get(12..)?.first_chunk()?;
    let destination: [u8; 4] = *bytes.get(16..)?.first_chunk()?;
    if is_error || !is_host_v4(source) || !is_host_v4(destination) {
        return None;
    }
    let quoted = bytes.get(..whole_len(bytes, packet.payload)?.min(ICMP_PACKET_LEN_MAX - IPV4_HEADER_LEN - ICMP_HEADER_LEN))?;
    let mut icmp = vec![DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0];
    icmp.extend_from_slice(&limit.bytes().to_be_bytes());
    icmp.extend_from_slice(quoted);
    put_checksum(&mut icmp, 2, Checksum::default());
    let total_len = u16::try_from(IPV4_HEADER_LEN + icmp.len()).ok()?.to_be_bytes();
    let mut answer = vec![0x45, TOS, total_len[0], total_len[1], 0, 0, 0x40, 0, TTL, ICMP, 0, 0];
    answer.extend_from_slice(&destination);
    answer.extend_from_slice(&source);
    put_checksum(&mut answer, 10, Checksum::default());
    answer.extend_from_slice(&icmp);
    Some(answer)
}

fn answer_ipv6(bytes: &[u8], limit: LanMtu) -> Option<Vec<u8>> {
    let packet = Ipv6Packet::read(bytes).ok()?;
    let visible = packet.has_upper_header() && packet.upper == protocol::ICMPV6;
    let is_error = visible && packet.payload.first().is_none_or(|kind| *kind < ICMPV6_INFORMATIONAL || *kind == ICMPV6_REDIRECT);
    let source: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
    let destination: [u8; 16] = *bytes.get(24..)?.first_chunk()?;
    if is_error || !is_host_v6(source) || !is_host_v6(destination) {
        return None;
    }
    let quoted = bytes.get(..whole_len(bytes, packet.payload)?.min(ICMPV6_PACKET_LEN_MAX - IPV6_HEADER_LEN - ICMP_HEADER_LEN))?;
    let mut icmp = vec![ICMPV6_PACKET_TOO_BIG, 0, 0, 0, 0, 0];
    icmp.extend_from_slice(&limit.bytes().to_be_bytes());
    icmp.extend_from_slice(quoted);
    let len = u16::try_from(icmp.len()).ok()?.to_be_bytes();
    // RFC 8200 §8.1: addresses, length and next header are covered too.
    let pseudo = Checksum::default().with(&destination).with(&source).with(&len).with(&[0, protocol::ICMPV6]);
    put_checksum(&mut icmp, 2, pseudo);
    let mut answer = vec![0x60, 0, 0, 0, len[0], len[1], protocol::ICMPV6, TTL];
    answer.extend_from_slice(&destination);
    answer.extend_from_slice(&source);
    answer.extend_from_slice(&icmp);
    Some(answer)
}

/// The length of the packet at the start of `bytes` whose last part is `payload`: what follows is padding.
fn whole_len(bytes: &[u8], payload: &[u8]) -> Option<usize> {
    let end = payload.as_ptr_range().end as usize;
    end.checked_sub(bytes.as_ptr() as usize)
}

fn put_checksum(bytes: &mut [u8], at: usize, pseudo: Checksum) {
    let sum = pseudo.with(bytes).field();
    if let Some(field) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        *field = sum;
    }
}

/// A single host's address, as a source or destination on this network may be.
const fn is_host_v4([first, ..]: [u8; 4]) -> bool {
    // 0.0.0.0/8, 127.0.0.0/8, multicast, reserved with the limited broadcast.
    !matches!(first, 0 | 127 | 224..)
}

fn is_host_v6(address: [u8; 16]) -> bool {
    let address = std::net::Ipv6Addr::from(address);
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

    use super::*;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const LIMIT: LanMtu = LanMtu::new(1390).unwrap();

    fn udp4(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![];
        PacketBuilder::ethernet2(A, B).ipv4(from, to, 64).udp(5000, 6000).write(&mut frame, &[7; 1472]).unwrap();
        frame
    }

    fn v6(next: impl FnOnce(etherparse::PacketBuilderStep<etherparse::IpHeaders>, &mut Vec<u8>)) -> Vec<u8> {
        let mut frame = vec![];
        let [from, to] = [1, 2].map(|n| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
        next(PacketBuilder::ethernet2(A, B).ipv6(from, to, 64), &mut frame);
        frame
    }

    fn answer(frame: &[u8]) -> Option<Vec<u8>> {
        packet_too_big(&Frame::parse(frame).unwrap(), LIMIT)
    }

    #[test]
    fn an_ipv4_sender_reads_the_limit_from_whom_it_talked_to() {
        let sent = udp4([10, 0, 0, 1], [10, 0, 0, 2]);
        let answered = answer(&sent).unwrap();
        let packet = SlicedPacket::from_ethernet(&answered).unwrap();
        assert_eq!((&answered[..6], &answered[6..12]), (&A[..], &B[..]));
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) = (packet.net, packet.transport) else { panic!() };
        assert_eq!((ip.header().source(), ip.header().destination()), ([10, 0, 0, 2], [10, 0, 0, 1]));
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }) =
            icmp.icmp_type()
        else {
            panic!("{:?}", icmp.icmp_type())
        };
        assert_eq!(next_hop_mtu, 1390);
        assert_eq!(icmp.header().checksum, icmp.icmp_type().calc_checksum(icmp.payload()));
        assert_eq!(icmp.payload(), &sent[14..14 + icmp.payload().len()]);
        assert_eq!(answered.len(), 14 + 576);
    }

    #[test]
    fn an_ipv6_sender_too_as_long_as_its_host_would_believe_it() {
        let sent = v6(|b, out| b.udp(5000, 6000).write(out, &[7; 1452]).unwrap());
        let answered = answer(&sent).unwrap();
        let packet = SlicedPacket::from_ethernet(&answered).unwrap();
        let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) = (packet.net, packet.transport) else { panic!() };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1390 });
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        assert_eq!((answered.len(), icmp.payload()), (14 + 1280, &sent[14..14 + icmp.payload().len()]));
        assert_eq!(packet_too_big(&Frame::parse(&sent).unwrap(), LanMtu::new(1279).unwrap()), None);
    }

    #[test]
    fn nobody_who_must_not_be_answered_is() {
        for (from, to) in [
            ([0, 0, 0, 0], [10, 0, 0, 2]),
            ([127, 0, 0, 1], [10, 0, 0, 2]),
            ([224, 0, 0, 1], [10, 0, 0, 2]),
            ([255; 4], [10, 0, 0, 2]),
            ([10, 0, 0, 1], [239, 1, 1, 1]),
            ([10, 0, 0, 1], [255; 4]),
        ] {
            assert_eq!(answer(&udp4(from, to)), None, "{from:?} to {to:?}");
        }
        let mut to_group = udp4([10, 0, 0, 1], [10, 0, 0, 255]);
        to_group[..6].copy_from_slice(&[0xff; 6]);
        let mut later_fragment = udp4([10, 0, 0, 1], [10, 0, 0, 2]);
        later_fragment[21] = 9;
        let own = answer(&udp4([10, 0, 0, 1], [10, 0, 0, 2])).unwrap();
        let v6_own = answer(&v6(|b, out| b.udp(5000, 6000).write(out, &[7; 1452]).unwrap())).unwrap();
        let redirect = v6(|b, out| b.icmpv6_raw(137, 0, [0; 4]).write(out, &[7; 1400]).unwrap());
        for silent in [to_group, later_fragment, own, v6_own, redirect] {
            assert_eq!(answer(&silent), None);
        }
    }

    #[test]
    fn a_packet_that_fits_is_not_answered_however_long_its_frame_is() {
        let mut sent = udp4([10, 0, 0, 1], [10, 0, 0, 2]);
        let at = |len: u16, sent: &mut Vec<u8>| {
            sent[16..18].copy_from_slice(&len.to_be_bytes());
            answer(sent).is_some()
        };
        assert!(at(1391, &mut sent) && !at(1390, &mut sent), "the rest is a trailer");
    }

    #[test]
    fn an_echo_request_is_answered() {
        let mut frame = vec![];
        let builder = PacketBuilder::ethernet2(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        builder.icmpv4_echo_request(1, 2).write(&mut frame, &[7; 1472]).unwrap();
        assert!(answer(&frame).is_some());
        assert!(answer(&v6(|b, out| b.icmpv6_echo_request(1, 2).write(out, &[7; 1452]).unwrap())).is_some());
    }
}
