//! A10 and A16 for IPv4: fragments that hide, lengths that lie, and packets that are simply packets.

use super::wire::{IPV4, Ipv4, TCP, UDP, tcp, udp};
use super::{Cases, PASS};
use crate::DropReason;

const ICMP: u8 = 1;
const IGMP: u8 = 2;

/// A10.
pub(super) fn fragments(cases: &mut Cases) {
    let game = udp(27_005, 27_015, &[7; 120]);
    for len in [0, 1, 4, 7, 8, 11] {
        let visible: Vec<u8> = game.iter().copied().take(len).collect();
        let packet = Ipv4::new(UDP).fragment(0, true).packet(&visible);
        cases.both(DropReason::Malformed, &format!("A10 first UDP fragment of {len} bytes"), IPV4, &packet);
    }
    for len in [12, 16, 128] {
        let visible: Vec<u8> = game.iter().copied().take(len).collect();
        let packet = Ipv4::new(UDP).fragment(0, true).packet(&visible);
        cases.both(PASS, &format!("A10 first UDP fragment of {len} bytes"), IPV4, &packet);
    }
    for (name, protocol) in [("UDP", UDP), ("TCP", TCP), ("ICMP", ICMP)] {
        for more in [false, true] {
            let at = |offset| Ipv4::new(protocol).fragment(offset, more).packet(&[2; 64]);
            let rest = if more { "more to come" } else { "the last" };
            cases.both(DropReason::Malformed, &format!("A10 {name} fragment at offset 1, {rest}"), IPV4, &at(1));
            for offset in [2, 3, 185, 0x1fff] {
                cases.both(PASS, &format!("A10 {name} fragment at offset {offset}, {rest}"), IPV4, &at(offset));
            }
        }
    }
    cases.both(PASS, "A10 first TCP fragment", IPV4, &Ipv4::new(TCP).fragment(0, true).packet(&[&tcp()[..], &[0; 44]].concat()));
    cases.both(PASS, "A10 first ICMP fragment", IPV4, &Ipv4::new(ICMP).fragment(0, true).packet(&[8; 64]));
    cases.both(PASS, "A10 a later fragment that looks like DHCP", IPV4, &Ipv4::new(UDP).fragment(9, false).packet(&udp(67, 68, &[2; 32])));
}

/// A16.
pub(super) fn lengths(cases: &mut Cases) {
    total_length(cases);
    header_length(cases);
    udp_length(cases);
    let ordinary: [(&str, u8, Vec<u8>); 6] = [
        ("a TCP SYN", TCP, tcp()),
        ("a game's UDP", UDP, udp(27_005, 27_015, &[7; 64])),
        ("UDP without payload", UDP, udp(27_005, 27_015, &[])),
        ("a ping", ICMP, vec![8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
        ("IGMP", IGMP, vec![0x16, 0, 0xe9, 0xff, 0, 0, 0, 0]),
        ("no payload at all", 253, vec![]),
    ];
    for (name, protocol, payload) in ordinary {
        let packet = Ipv4::new(protocol).packet(&payload);
        cases.both(PASS, &format!("A16 {name} in IPv4"), IPV4, &packet);
        let mut padded = packet;
        padded.resize(padded.len() + 26, 0xa5);
        cases.both(PASS, &format!("A16 {name} in IPv4, with Ethernet padding"), IPV4, &padded);
        let optioned = Ipv4 { option_words: 10, ..Ipv4::new(protocol) }.packet(&payload);
        cases.both(PASS, &format!("A16 {name} in IPv4, with options"), IPV4, &optioned);
    }
    cases.both(PASS, "A16 a ping with DF", IPV4, &Ipv4 { fragment: 0x4000, ..Ipv4::new(ICMP) }.packet(&[8, 0, 0xf7, 0xff, 0, 0, 0, 0]));
}

fn total_length(cases: &mut Cases) {
    for total_len in [0, 1, 19, 41, 1500, u16::MAX] {
        let packet = Ipv4 { total_len: Some(total_len), ..Ipv4::new(TCP) }.packet(&tcp());
        cases.both(DropReason::Malformed, &format!("A16 IPv4 of 40 bytes that claims {total_len}"), IPV4, &packet);
    }
    for total_len in [20, 39, 40] {
        let packet = Ipv4 { total_len: Some(total_len), ..Ipv4::new(TCP) }.packet(&tcp());
        cases.both(PASS, &format!("A16 IPv4 of {total_len} bytes in a frame for 40"), IPV4, &packet);
    }
    let short = Ipv4 { total_len: Some(23), option_words: 1, ..Ipv4::new(TCP) }.packet(&tcp());
    cases.both(DropReason::Malformed, "A16 IPv4 whose total length ends in its options", IPV4, &short);
}

fn header_length(cases: &mut Cases) {
    for version_ihl in [0x40, 0x41, 0x42, 0x43, 0x44, 0x4f, 0x05, 0x55, 0x65, 0xf5] {
        let packet = Ipv4 { version_ihl: Some(version_ihl), ..Ipv4::new(TCP) }.packet(&tcp());
        cases.both(DropReason::Malformed, &format!("A16 IPv4 that starts with {version_ihl:#04x}"), IPV4, &packet);
    }
    let packet = Ipv4::new(TCP).packet(&tcp());
    for len in [0, 1, 19, 20, 39] {
        let cut: Vec<u8> = packet.iter().copied().take(len).collect();
        cases.both(DropReason::Malformed, &format!("A16 IPv4 of 40 bytes cut to {len}"), IPV4, &cut);
    }
}

fn udp_length(cases: &mut Cases) {
    let datagram = udp(27_005, 27_015, &[7; 24]);
    let claiming = |len: u16| {
        let (ports, rest) = datagram.split_at(4);
        [ports, &len.to_be_bytes(), rest.split_at(2).1].concat()
    };
    for len in [0, 7, 33, u16::MAX] {
        cases.both(DropReason::Malformed, &format!("A16 UDP of 32 bytes that claims {len}"), IPV4, &Ipv4::new(UDP).packet(&claiming(len)));
    }
    for len in [8, 31, 32] {
        cases.both(PASS, &format!("A16 UDP of {len} bytes in a packet for 32"), IPV4, &Ipv4::new(UDP).packet(&claiming(len)));
    }
    for len in [0, 4, 7] {
        let cut: Vec<u8> = datagram.iter().copied().take(len).collect();
        cases.both(DropReason::Malformed, &format!("A16 UDP header cut to {len} bytes"), IPV4, &Ipv4::new(UDP).packet(&cut));
    }
}
