//! What a LAN tells its hosts of its MTU, corrected for members of the room: DHCP's interface MTU option (RFC 2132 §5.1)
//! and the MTU option of router advertisements (RFC 4861 §4.6.4).
//!
//! A LAN of 1,500 bytes says so to everybody; a remote host that believes it sends what the tunnel cannot carry. The
//! value is lowered in place, never raised, and the checksum follows. What cannot be read is left as it is.

use crate::checksum::Checksum;
use crate::packet::{Ipv4Packet, Ipv6Packet, Udp, be16, ethertype, nd_type, protocol};
use crate::{ETHERNET_HEADER_LEN, Frame, IPV6_LAN_MTU_MIN, LanMtu};

const IPV6_HEADER_LEN: usize = 40;
const UDP_HEADER_LEN: usize = 8;
const DHCP_SERVER_PORT: u16 = 67;
const DHCP_CLIENT_PORT: u16 = 68;
/// Fields of BOOTP before the options (RFC 2131 §2): `sname`, `file`, and the cookie that says that options follow.
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const COOKIE: std::ops::Range<usize> = 236..240;
const COOKIE_BYTES: [u8; 4] = [99, 130, 83, 99];
const DHCP_PAD: u8 = 0;
const DHCP_END: u8 = 255;
const DHCP_INTERFACE_MTU: u8 = 26;
/// Options go on in `file` (1), `sname` (2) or both (RFC 2132 §9.3).
const DHCP_OVERLOAD: u8 = 52;
/// Fixed part of a router advertisement (RFC 4861 §4.2).
const RA_HEADER_LEN: usize = 16;
const ND_MTU_OPTION: u8 = 5;
const UDP_CHECKSUM: usize = 6;
const ICMPV6_CHECKSUM: usize = 2;

/// Lowers the MTU that a DHCP server or router in `frame` tells, where it is above `lan_mtu`. Whether it did.
///
/// IPv6 hosts ignore less than 1,280, so a router's MTU is never lowered below that.
pub fn lower_told_mtu(frame: &mut [u8], lan_mtu: LanMtu) -> bool {
    let found = Frame::parse(frame).ok().and_then(|f| match f.ethertype() {
        ethertype::IPV4 => find_dhcp(f.payload()),
        ethertype::IPV6 => find_ra(f.payload()),
        _ => None,
    });
    let Some(told) = found else { return false };
    let limit = if told.of_router { lan_mtu.bytes().max(IPV6_LAN_MTU_MIN) } else { lan_mtu.bytes() };
    let payload = frame.get_mut(ETHERNET_HEADER_LEN + told.payload_at..).unwrap_or_default();
    let mut lowered = false;
    for value_at in told.values_at {
        lowered |= lower(payload, value_at, told.checksum_at, limit).is_some();
    }
    lowered
}

/// Where a message tells an MTU; all positions count from the start of the UDP or ICMPv6 header.
struct Told {
    of_router: bool,
    /// From the start of the IP header.
    payload_at: usize,
    checksum_at: usize,
    /// The last two bytes of each value.
    values_at: Vec<usize>,
}

/// Nothing when the value is within the limit.
fn lower(payload: &mut [u8], value_at: usize, checksum_at: usize, limit: u16) -> Option<()> {
    let before: [u8; 2] = *payload.get(value_at..)?.first_chunk()?;
    if u16::from_be_bytes(before) <= limit {
        return None;
    }
    let after = limit.to_be_bytes();
    payload.get_mut(value_at..)?.first_chunk_mut::<2>().map(|value| *value = after)?;
    let field = payload.get_mut(checksum_at..)?.first_chunk_mut::<2>()?;
    // RFC 768: zero says that there is no checksum, and a checksum of zero is sent as its twin. In ICMPv6 zero is a sum as any other.
    let is_udp = checksum_at == UDP_CHECKSUM;
    if !is_udp || *field != [0, 0] {
        let sum = Checksum::of_field(*field).replace(value_at, before, after).field();
        *field = if is_udp && sum == [0, 0] { [0xff, 0xff] } else { sum };
    }
    Some(())
}

fn find_dhcp(packet: &[u8]) -> Option<Told> {
    // Of a fragmented message the first fragment holds the checksum and most options: the sum of the rest, which nobody sees here, does
    // not change (RFC 1624 §3).
    let ip = Ipv4Packet::read(packet).ok().filter(|p| p.protocol == protocol::UDP && p.fragment_offset == 0)?;
    let udp = Udp::read(ip.payload).filter(|udp| udp.len_is_honest(!ip.more_fragments))?;
    let to_client_or_agent = matches!(udp.destination_port, DHCP_CLIENT_PORT | DHCP_SERVER_PORT);
    if udp.source_port != DHCP_SERVER_PORT || !to_client_or_agent {
        return None;
    }
    // What stands behind the datagram in its packet has no checksum, and nobody reads it.
    let message = udp.payload.get(..udp.payload.len().min(udp.len - UDP_HEADER_LEN))?;
    if message.get(COOKIE)? != COOKIE_BYTES {
        return None;
    }
    let total_len = usize::from(be16(packet, 2)?);
    let values_at = dhcp_values(message).into_iter().map(|at| UDP_HEADER_LEN + at).collect();
    Some(Told { of_router: false, payload_at: total_len - ip.payload.len(), checksum_at: UDP_CHECKSUM, values_at })
}

/// Positions of the interface MTU values in a DHCP message, those in overloaded fields included.
fn dhcp_values(message: &[u8]) -> Vec<usize> {
    let (mut values, mut overload) = (vec![], 0);
    let mut scan = |range: std::ops::Range<usize>| {
        for (code, value_at, len) in dhcp_options(message, range) {
            match (code, len) {
                (DHCP_INTERFACE_MTU, 2) => values.push(value_at),
                (DHCP_OVERLOAD, 1) => overload = message.get(value_at).copied().unwrap_or(0),
                _ => {}
            }
        }
        overload
    };
    let overload = scan(COOKIE.end..message.len());
    if overload & 1 != 0 {
        scan(FILE);
    }
    if overload & 2 != 0 {
        scan(SNAME);
    }
    values
}

/// The options in one field: code, position of the value, its length. Ends at the first that does not fit.
fn dhcp_options(message: &[u8], field: std::ops::Range<usize>) -> impl Iterator<Item = (u8, usize, usize)> {
    let mut at = field.start;
    std::iter::from_fn(move || {
        while message.get(at) == Some(&DHCP_PAD) && at < field.end {
            at += 1;
        }
        let code = message.get(at).copied().filter(|code| *code != DHCP_END)?;
        let len = usize::from(*message.get(at + 1)?);
        let value_at = at + 2;
        at = value_at + len;
        (at <= field.end).then_some((code, value_at, len))
    })
}

fn find_ra(packet: &[u8]) -> Option<Told> {
    let ip = Ipv6Packet::read(packet).ok().filter(|p| p.upper == protocol::ICMPV6 && p.is_whole() && !p.is_authenticated)?;
    if *ip.payload.first()? != nd_type::ROUTER_ADVERTISEMENT {
        return None;
    }
    let packet_len = IPV6_HEADER_LEN + usize::from(be16(packet, 4)?);
    let (mut at, mut values_at) = (RA_HEADER_LEN, vec![]);
    while let Some((kind, units)) = ip.payload.get(at).zip(ip.payload.get(at + 1)) {
        match (*kind, *units) {
            // RFC 4861 §4.6: such a message is dropped by every host.
            (_, 0) => return None,
            // And so is one whose last option is cut off: what stands behind the packet is no part of it.
            _ if at + usize::from(*units) * 8 > ip.payload.len() => return None,
            // Four bytes; with the upper two set it is no MTU of an Ethernet, and hosts ignore what is above their link's.
            (ND_MTU_OPTION, 1) if be16(ip.payload, at + 4)? == 0 => values_at.push(at + 6),
            _ => {}
        }
        at += usize::from(*units) * 8;
    }
    Some(Told { of_router: true, payload_at: packet_len - ip.payload.len(), checksum_at: ICMPV6_CHECKSUM, values_at })
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    use super::*;

    const MTU: LanMtu = LanMtu::new(1390).unwrap();

    /// A DHCP message with these options behind the cookie, and a `file` field that holds `file`.
    fn dhcp(ports: (u16, u16), options: &[u8], file: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[0] = 2;
        message[FILE][..file.len()].copy_from_slice(file);
        message[COOKIE].copy_from_slice(&COOKIE_BYTES);
        message.extend_from_slice(options);
        let mut frame = vec![];
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]).ipv4([10, 0, 0, 1], [10, 0, 0, 9], 64);
        builder.udp(ports.0, ports.1).write(&mut frame, &message).unwrap();
        frame
    }

    fn ra(options: &[u8]) -> Vec<u8> {
        let mut frame = vec![];
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [0x33, 0x33, 0, 0, 0, 1]).ipv6([0xfe; 16], [0xff; 16], 255);
        builder.icmpv6_raw(134, 0, [64, 0, 0, 30]).write(&mut frame, &[&[0; 8][..], options].concat()).unwrap();
        frame
    }

    /// The payload behind the UDP or ICMPv6 header, once its checksum was found right.
    fn checked(frame: &[u8]) -> Vec<u8> {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        match (packet.net.unwrap(), packet.transport.unwrap()) {
            (etherparse::NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
                let sum = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload()).unwrap();
                assert_eq!(sum, udp.checksum());
                udp.payload().to_vec()
            }
            (etherparse::NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
                assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
                icmp.payload().to_vec()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_dhcp_servers_mtu_is_lowered_wherever_it_stands() {
        let padded = [&[53, 1, 5, 0, 26, 2][..], &1500u16.to_be_bytes(), &[255]].concat();
        for options in [padded.clone(), [&[53, 1, 5][..], &padded[3..]].concat(), [&[12, 1, b'x'][..], &padded].concat()] {
            let mut frame = dhcp((67, 68), &options, &[]);
            assert!(lower_told_mtu(&mut frame, MTU));
            let message = checked(&frame);
            assert!(message[240..].windows(4).any(|w| w == [26, 2, 0x05, 0x6e]), "{:?}", &message[240..]);
            assert!(!lower_told_mtu(&mut frame, MTU), "once is enough");
        }
        let mut overloaded = dhcp((67, 67), &[52, 1, 1, 255], &[26, 2, 0x05, 0xdc, 255]);
        assert!(lower_told_mtu(&mut overloaded, MTU));
        assert_eq!(checked(&overloaded)[FILE][2..4], 1390u16.to_be_bytes());
    }

    #[test]
    fn options_go_on_in_the_server_name_and_in_both_fields() {
        for (overload, in_file, in_sname) in [(2, false, true), (3, true, true)] {
            let mut frame = dhcp((67, 68), &[52, 1, overload, 255], if in_file { &[26, 2, 0x05, 0xdc, 255] } else { &[] });
            let told_at = 14 + 20 + 8 + SNAME.start;
            frame[told_at..told_at + 5].copy_from_slice(&[26, 2, 0x05, 0xdc, 255]);
            frame[40..42].copy_from_slice(&[0, 0]);
            assert!(lower_told_mtu(&mut frame, MTU));
            assert_eq!(frame[40..42], [0, 0], "without a checksum it stays without one");
            let message = &frame[42..];
            let at = |field: std::ops::Range<usize>| message[field][2..4] == 1390u16.to_be_bytes();
            assert_eq!((at(FILE), at(SNAME)), (in_file, in_sname), "overload {overload}");
        }
    }

    #[test]
    fn a_first_fragment_tells_what_stands_in_it_as_a_whole() {
        let name = [12, 20, b'n', b'a', b'm', b'e', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let whole = dhcp((67, 68), &[&[53, 1, 5, 26, 2, 0x05, 0xdc][..], &name, &[255]].concat(), &[]);
        // Its options start behind 248 bytes of payload; fragments end at multiples of eight.
        for (payload, is_lowered) in [(248, false), (256, true), (264, true)] {
            let mut first = whole[..34 + payload].to_vec();
            first[16..18].copy_from_slice(&(20 + payload as u16).to_be_bytes());
            first[20] = 0x20;
            let before = first.clone();
            assert_eq!((lower_told_mtu(&mut first, MTU), first != before), (is_lowered, is_lowered), "{payload} bytes");
            let reassembled = [&whole[..34], &first[34..], &whole[first.len()..]].concat();
            assert_eq!(checked(&reassembled)[243..247], if is_lowered { [26, 2, 0x05, 0x6e] } else { [26, 2, 0x05, 0xdc] });
        }
    }

    #[test]
    fn an_option_that_a_first_fragment_cuts_off_is_left_alone() {
        // The second byte of the MTU is the first of the next fragment.
        let whole = dhcp((67, 68), &[0, 0, 0, 0, 0, 26, 2, 0x05, 0xdc, 255], &[]);
        let mut first = whole[..34 + 256].to_vec();
        first[16..18].copy_from_slice(&276u16.to_be_bytes());
        first[20] = 0x20;
        let before = first.clone();
        assert!(!lower_told_mtu(&mut first, MTU) && first == before && first.ends_with(&[26, 2, 0x05]));
    }

    #[test]
    fn what_stands_behind_the_datagram_is_nobodys() {
        let mut frame = dhcp((67, 68), &[53, 1, 5], &[]);
        frame.extend([26, 2, 0x05, 0xdc, 255]);
        let total = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        let before = frame.clone();
        assert!(!lower_told_mtu(&mut frame, MTU) && frame == before);
    }

    #[test]
    fn a_sum_of_zero_is_a_sum_in_icmpv6_and_every_mtu_option_is_lowered() {
        let option = [&[5, 1, 0, 0, 0, 0][..], &1500u16.to_be_bytes()].concat();
        let mut frame = ra(&[&option[..], &option].concat());
        // Its router lifetime is chosen so that the sum comes out as zero.
        let (sum, lifetime) = (14 + 40 + 2, 14 + 40 + 6);
        let field = u16::from_be_bytes([frame[sum], frame[sum + 1]]);
        let old = u16::from_be_bytes([frame[lifetime], frame[lifetime + 1]]);
        let new = (u32::from(old) + u32::from(field)) as u16 + u16::from(old.checked_add(field).is_none());
        frame[lifetime..lifetime + 2].copy_from_slice(&new.to_be_bytes());
        frame[sum..sum + 2].copy_from_slice(&[0, 0]);
        checked(&frame);
        assert!(lower_told_mtu(&mut frame, MTU));
        let options = checked(&frame)[8..].to_vec();
        assert_eq!((&options[6..8], &options[14..16]), (&1390u16.to_be_bytes()[..], &1390u16.to_be_bytes()[..]));
    }

    #[test]
    fn what_is_small_enough_or_no_server_stays_byte_for_byte() {
        let with = |mtu: u16| [&[26, 2][..], &mtu.to_be_bytes(), &[255]].concat();
        let boot_file_that_looks_so = dhcp((67, 68), &[53, 1, 5, 255], &with(1500));
        for frame in [
            dhcp((67, 68), &with(1390), &[]),
            dhcp((67, 68), &with(576), &[]),
            dhcp((68, 67), &with(1500), &[]),
            dhcp((67, 68), &[26, 2, 5], &[]),
            dhcp((67, 68), &[26, 200, 5, 0xdc], &[]),
            dhcp((67, 68), &[255, 26, 2, 5, 0xdc], &[]),
            boot_file_that_looks_so,
        ] {
            let mut after = frame.clone();
            assert!(!lower_told_mtu(&mut after, MTU) && after == frame);
        }
    }

    #[test]
    fn a_routers_mtu_is_lowered_but_never_below_what_ipv6_needs() {
        for (told, lan_mtu, becomes) in
            [(1500u32, 1390, 1390u32), (1500, 1197, 1280), (1280, 1197, 1280), (1300, 1390, 1300), (0x1_05dc, 1390, 0x1_05dc)]
        {
            let mut frame = ra(&[&[1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0][..], &told.to_be_bytes()].concat());
            assert_eq!(lower_told_mtu(&mut frame, LanMtu::new(lan_mtu).unwrap()), told != becomes);
            assert_eq!(checked(&frame)[8 + 12..8 + 16], becomes.to_be_bytes(), "{told} at {lan_mtu}");
        }
    }

    #[test]
    fn a_routers_option_that_the_packet_cuts_off_is_not_read_from_the_trailer() {
        for cut in 1..=7 {
            let mut frame = ra(&[1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 0x05, 0xdc]);
            let len = u16::from_be_bytes([frame[18], frame[19]]) - cut;
            frame[18..20].copy_from_slice(&len.to_be_bytes());
            let mut after = frame.clone();
            assert!(!lower_told_mtu(&mut after, MTU) && after == frame, "without its last {cut} bytes");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = [dhcp((67, 68), &[26, 2, 5, 0xdc, 255], &[]), ra(&[5, 1, 0, 0, 0, 0, 5, 0xdc])];
        for frame in good {
            for cut in 0..frame.len() {
                lower_told_mtu(&mut frame[..cut].to_vec(), MTU);
            }
            for at in 0..frame.len() {
                for value in [0, 1, 5, 0x7f, 0x80, 0xff] {
                    let mut frame = frame.clone();
                    frame[at] = value;
                    lower_told_mtu(&mut frame, MTU);
                }
            }
        }
    }
}
