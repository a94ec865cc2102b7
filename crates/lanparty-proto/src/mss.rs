//! TCP's maximum segment size, clamped as a connection is set up: the segments that would be too large are then never
//! sent (RFC 9293 §3.7.1; the value counts neither IP nor TCP options, RFC 6691).

use std::ops::Range;

use crate::packet::{Ipv6Packet, be16, ethertype, protocol};
use crate::{Checksum, ETHERNET_HEADER_LEN, LanMtu};

const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const TCP_HEADER_LEN: usize = 20;
const TCP_CHECKSUM: usize = 16;
const SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_MSS_LEN: usize = 4;
/// TCP-AO (RFC 5925). The older MD5 signature (RFC 2385 §2.0) leaves options out.
const OPTION_AUTHENTICATION: u8 = 29;

/// Lowers the MSS that a SYN in `frame` announces to what fits `limit`, and its checksum with it. Whether it did.
///
/// Every MSS option that a receiver would read is lowered, wherever it stands. Options behind one with an impossible
/// length are not read by anybody; an MSS of 0 is none. What is authenticated, by an authentication header (RFC 4302) or by TCP itself,
/// stays as it is, because its receiver would drop it: such a connection learns what fits from the answers to its large segments.
pub fn clamp_mss(frame: &mut [u8], limit: LanMtu) -> bool {
    let Some((segment_at, headers)) = find_syn(frame) else { return false };
    let max = usize::from(limit.bytes()) - headers - TCP_HEADER_LEN;
    let Some(segment) = frame.get_mut(segment_at) else { return false };
    lower_options(segment, u16::try_from(max).unwrap_or(u16::MAX))
}

/// Where the segment with SYN stands, and how long the IP header in front of its options or extensions is. Anything else is
/// told apart by a few bytes: every frame passes here. The segment ends where its packet does: no checksum covers what is
/// behind it, and no receiver reads it.
fn find_syn(frame: &[u8]) -> Option<(Range<usize>, usize)> {
    let packet = frame.get(ETHERNET_HEADER_LEN..)?;
    let (at, packet_len, headers) = match be16(frame, ETHERNET_HEADER_LEN - 2)? {
        ethertype::IPV4 => (tcp_behind_ipv4(packet)?, usize::from(be16(packet, 2)?), IPV4_HEADER_LEN),
        ethertype::IPV6 => (tcp_behind_ipv6(packet)?, IPV6_HEADER_LEN + usize::from(be16(packet, 4)?), IPV6_HEADER_LEN),
        _ => return None,
    };
    has_syn(packet.get(at..packet_len)?).then_some((ETHERNET_HEADER_LEN + at..ETHERNET_HEADER_LEN + packet_len, headers))
}

fn has_syn(segment: &[u8]) -> bool {
    segment.get(13).is_some_and(|flags| flags & SYN != 0)
}

/// Where the TCP header stands in an IPv4 packet, behind its options.
fn tcp_behind_ipv4(packet: &[u8]) -> Option<usize> {
    let is_later_fragment = be16(packet, 6)? & 0x1fff != 0;
    let header_len = usize::from(*packet.first()? & 0x0f) * 4;
    (*packet.get(9)? == protocol::TCP && !is_later_fragment && header_len >= IPV4_HEADER_LEN).then_some(header_len)
}

/// Where the TCP header stands in an IPv6 packet, behind however many extension headers.
fn tcp_behind_ipv6(packet: &[u8]) -> Option<usize> {
    match *packet.get(6)? {
        protocol::TCP => Some(IPV6_HEADER_LEN),
        protocol::UDP | protocol::ICMPV6 => None,
        _ => {
            let parsed = Ipv6Packet::read(packet).ok()?;
            let may_change = parsed.upper == protocol::TCP && parsed.has_upper_header() && !parsed.is_authenticated;
            let parsed = may_change.then_some(parsed)?;
            let packet_len = IPV6_HEADER_LEN + usize::from(be16(packet, 4)?);
            packet_len.checked_sub(parsed.payload.len())
        }
    }
}

fn lower_options(segment: &mut [u8], max: u16) -> bool {
    let header_len = segment.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    let (mut at, mut values_at) = (TCP_HEADER_LEN, vec![]);
    while let Some((kind, len)) = option_at(segment, at, header_len).filter(|_| at < header_len) {
        match (kind, len) {
            (OPTION_MSS, OPTION_MSS_LEN) => values_at.push(at + 2),
            (OPTION_AUTHENTICATION, _) => return false,
            _ => {}
        }
        at += len;
    }
    values_at.into_iter().filter(|at| lower_at(segment, *at, max).is_some()).count() > 0
}

/// Kind and length of the option at `at`; nothing at the end of the list, or of what can be read of it.
fn option_at(segment: &[u8], at: usize, header_len: usize) -> Option<(u8, usize)> {
    match *segment.get(at)? {
        OPTION_END => None,
        OPTION_NOP => Some((OPTION_NOP, 1)),
        kind => {
            let len = usize::from(*segment.get(at + 1)?);
            (len >= 2 && at + len <= header_len && at + len <= segment.len()).then_some((kind, len))
        }
    }
}

/// Nothing when the value is small enough.
fn lower_at(segment: &mut [u8], at: usize, max: u16) -> Option<()> {
    let before: [u8; 2] = *segment.get(at..)?.first_chunk()?;
    if u16::from_be_bytes(before) <= max {
        return None;
    }
    let after = max.to_be_bytes();
    *segment.get_mut(at..)?.first_chunk_mut()? = after;
    let field = segment.get_mut(TCP_CHECKSUM..)?.first_chunk_mut::<2>()?;
    *field = Checksum::of_field(*field).replace(at, before, after).field();
    Some(())
}

#[cfg(test)]
mod tests {
    use etherparse::{IpNumber, Ipv4Header, Ipv4Options, PacketBuilder, SlicedPacket, TcpHeader};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: LanMtu = LanMtu::new(1390).unwrap();

    fn tcp(flags: u8, options: &[u8]) -> TcpHeader {
        let mut tcp = TcpHeader::new(40000, 80, 7, 1000);
        (tcp.syn, tcp.ack, tcp.acknowledgment_number) = (flags & 2 != 0, flags & 16 != 0, 9);
        tcp.set_options_raw(options).unwrap();
        tcp
    }

    /// The same SYN over IPv4 (with `ip_options`) and IPv6.
    fn frames(flags: u8, options: &[u8], ip_options: &[u8], payload: &[u8]) -> [Vec<u8>; 2] {
        let ethernet = |ethertype: u16| [&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1][..], &ethertype.to_be_bytes()].concat();
        let mut ip =
            Ipv4Header::new((40 + options.len() + 20 + payload.len()) as u16, 64, IpNumber::TCP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        ip.options = Ipv4Options::try_from(ip_options).unwrap();
        let mut header = tcp(flags, options);
        ip.set_payload_len(header.header_len() + payload.len()).unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        header.checksum = header.calc_checksum_ipv4(&ip, payload).unwrap();
        let mut four = ethernet(0x0800);
        ip.write(&mut four).unwrap();
        header.write(&mut four).unwrap();
        four.extend_from_slice(payload);
        let mut six = vec![];
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9]).ipv6([0xfd; 16], [0xfe; 16], 64);
        builder.tcp_header(tcp(flags, options)).write(&mut six, payload).unwrap();
        [four, six]
    }

    /// The raw options, once the checksum was found right.
    fn options_of(frame: &[u8]) -> Vec<u8> {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
        let sum = match packet.net.unwrap() {
            etherparse::NetSlice::Ipv4(ip) => tcp.to_header().calc_checksum_ipv4(&ip.header().to_header(), tcp.payload()).unwrap(),
            etherparse::NetSlice::Ipv6(ip) => tcp.to_header().calc_checksum_ipv6(&ip.header().to_header(), tcp.payload()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(sum, tcp.checksum(), "the checksum follows");
        tcp.options().to_vec()
    }

    #[test]
    fn a_syn_is_clamped_to_what_fits_both_ways_and_over_both_ips() {
        for flags in [2, 2 | 16] {
            for ip_options in [&[][..], &[0x94, 4, 0, 0]] {
                for options in
                    [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 1, 1, 1], &[4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 0xff, 0xff]]
                {
                    let [mut four, mut six] = frames(flags, options, ip_options, b"fast open");
                    assert!(clamp_mss(&mut four, LIMIT) && clamp_mss(&mut six, LIMIT));
                    let mss =
                        |frame: &[u8]| options_of(frame).windows(4).find(|w| w[..2] == [2, 4]).map(|w| u16::from_be_bytes([w[2], w[3]]));
                    assert_eq!((mss(&four), mss(&six)), (Some(1350), Some(1330)), "{options:?}");
                    assert!(!clamp_mss(&mut four, LIMIT), "once is enough");
                }
            }
        }
    }

    #[test]
    fn every_option_that_a_receiver_reads_is_clamped_and_none_that_it_does_not() {
        let [mut twice, _] = frames(2, &[2, 4, 0x05, 0xb4, 2, 4, 0xff, 0xff], &[], &[]);
        assert!(clamp_mss(&mut twice, LIMIT));
        assert_eq!(options_of(&twice), [2, 4, 0x05, 0x46, 2, 4, 0x05, 0x46]);
        for untouched in [
            &[2, 4, 0, 0][..],
            &[2, 4, 0x05, 0x32],
            &[2, 3, 0xff, 1],
            &[8, 0, 2, 4, 0xff, 0xff, 0, 0],
            &[8, 200, 2, 4, 0xff, 0xff, 0, 0],
            &[0, 2, 4, 0xff, 0xff, 0, 0, 0],
        ] {
            for frame in frames(2, untouched, &[], &[]) {
                let mut after = frame.clone();
                assert!(!clamp_mss(&mut after, LIMIT) && after == frame, "{untouched:?}");
            }
        }
    }

    #[test]
    fn what_is_no_syn_stays_as_it_is() {
        let [four, six] = frames(16, &[2, 4, 0xff, 0xff], &[], b"data");
        let mut fragment = frames(2, &[2, 4, 0xff, 0xff], &[], &[])[0].clone();
        fragment[20..22].copy_from_slice(&[0, 1]);
        for frame in [four, six, fragment] {
            let mut after = frame.clone();
            assert!(!clamp_mss(&mut after, LIMIT) && after == frame);
        }
    }

    #[test]
    fn a_syn_behind_extension_headers_is_found() {
        let [_, six] = frames(2, &[2, 4, 0xff, 0xff], &[], &[]);
        for chain in [&[(0u8, 1usize)][..], &[(60, 0), (43, 2)], &[(0, 0), (51, 4)]] {
            let mut frame = six.clone();
            let (mut headers, mut kinds) = (vec![], chain.iter().map(|c| c.0).skip(1).chain([6]));
            for (kind, units) in chain {
                let len = if *kind == 51 { (units + 2) * 4 } else { (units + 1) * 8 };
                headers.extend([&[kinds.next().unwrap(), *units as u8][..], &vec![0; len - 2]].concat());
            }
            frame[14 + 6] = chain[0].0;
            let len = u16::from_be_bytes([frame[18], frame[19]]) + headers.len() as u16;
            frame[18..20].copy_from_slice(&len.to_be_bytes());
            frame.splice(54..54, headers);
            // Behind an authentication header nothing is changed.
            let (is_authenticated, before) = (chain.iter().any(|c| c.0 == 51), frame.clone());
            assert_eq!(clamp_mss(&mut frame, LIMIT), !is_authenticated, "{chain:?}");
            assert!(if is_authenticated { frame == before } else { frame.ends_with(&[2, 4, 0x05, 0x32]) });
        }
    }

    #[test]
    fn an_option_in_the_padding_behind_the_packet_is_left_alone() {
        for (cut, option_stays) in [(4, false), (2, false), (0, true)] {
            for mut frame in frames(2, &[4, 2, 1, 1, 2, 4, 0xff, 0xff], &[], &[]) {
                let at = if frame[12] == 8 { 16 } else { 18 };
                let len = u16::from_be_bytes([frame[at], frame[at + 1]]) - cut;
                frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
                let mut after = frame.clone();
                assert_eq!((clamp_mss(&mut after, LIMIT), after != frame), (option_stays, option_stays), "{cut} bytes less: {frame:02x?}");
            }
        }
    }

    #[test]
    fn what_tcp_authenticates_itself_is_left_alone() {
        let mss = [2, 4, 0x05, 0xb4];
        let with = |kind: u8, len: u8| [&mss[..], &[kind, len], &vec![7; usize::from(len) - 2], &[1, 1]].concat();
        for frame in frames(2, &with(29, 16), &[], &[]) {
            let mut after = frame.clone();
            assert!(!clamp_mss(&mut after, LIMIT) && after == frame, "TCP-AO");
        }
        for mut frame in frames(2, &with(19, 18), &[], &[]) {
            assert!(clamp_mss(&mut frame, LIMIT), "a signature that leaves options out");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_change_the_length(mut bytes in prop::collection::vec(any::<u8>(), 0..120), v6: bool) {
            if bytes.len() > 24 {
                bytes[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
                bytes[if v6 { 20 } else { 23 }] = 6;
            }
            let before = bytes.clone();
            if !clamp_mss(&mut bytes, LIMIT) {
                prop_assert_eq!(before, bytes);
            }
        }
    }
}
