//! A8, A9 and A16 for IPv6: chains of any length and kind, fragments that hide, lengths that lie.

use super::ipv6_nd::nd;
use super::wire::{Header, ICMPV6, IPV6, Ipv6, TCP, UDP, chain, tcp};
use super::{Cases, PASS};
use crate::DropReason;

const RA: u8 = 134;
const ECHO: u8 = 128;
const NO_NEXT_HEADER: u8 = 59;

/// A ping behind `headers`.
fn echo(headers: &[Header]) -> Vec<u8> {
    let ip = Ipv6::default();
    ip.packet(headers, ICMPV6, &ip.icmp(ECHO, &[0; 36]))
}

/// A8.
pub(super) fn chains(cases: &mut Cases) {
    for kind in Header::KINDS {
        for count in [1, 2, 3, 7, 8, 9, 20, 40] {
            chain_of(cases, &format!("{count} headers {kind}"), &vec![Header::new(kind, 0); count]);
        }
        for units in [1, 8, 30] {
            chain_of(cases, &format!("a header {kind} of {units} units"), &[Header::new(kind, units)]);
        }
    }
    for count in 1..=40 {
        let mixed: Vec<_> = Header::KINDS.iter().cycle().take(count).map(|kind| Header::new(*kind, 0)).collect();
        chain_of(cases, &format!("{count} mixed headers"), &mixed);
    }
    ends(cases);
    cut_chains(cases);
}

/// An advertisement behind `headers`, and its legal neighbours.
fn chain_of(cases: &mut Cases, name: &str, headers: &[Header]) {
    let advertisement = nd(headers, RA, &[]);
    cases.client(DropReason::Ipv6RouterAdvertisement, format!("A8 RA behind {name}"), IPV6, &advertisement);
    cases.gateway(PASS, format!("A8 RA behind {name}"), IPV6, &advertisement);
    cases.client(PASS, format!("A8 ping behind {name}"), IPV6, &echo(headers));
}

fn ends(cases: &mut Cases) {
    let ip = Ipv6::default();
    for unknown in [61, 99, 114, 138, 141, 200, 253, 254, 255] {
        for (name, headers) in [("", vec![]), (" behind destination options", vec![Header::new(Header::DESTINATION, 0)])] {
            let bytes = ip.packet(&headers, unknown, &nd(&[], RA, &[]));
            cases.client(DropReason::Ipv6Chain, format!("A8 unknown next header {unknown}{name}"), IPV6, &bytes);
            cases.gateway(PASS, format!("A8 unknown next header {unknown}{name}"), IPV6, &bytes);
        }
    }
    for known in [4, TCP, 33, 41, 46, 47, 50, NO_NEXT_HEADER, 88, 89, 97, 103, 112, 113, 115, 132, 136] {
        for (name, headers) in [("", vec![]), (" behind destination options", vec![Header::new(Header::DESTINATION, 0)])] {
            let bytes = ip.packet(&headers, known, &[0; 40]);
            cases.both(PASS, &format!("A8 next header {known}{name}"), IPV6, &bytes);
        }
    }
    cases.both(PASS, "A8 no next header and nothing behind it", IPV6, &ip.packet(&[], NO_NEXT_HEADER, &[]));
}

fn cut_chains(cases: &mut Cases) {
    let ip = Ipv6::default();
    for kind in Header::KINDS {
        let lying = Header(kind, vec![200, 0, 0, 0, 0, 0, 0]);
        cases.both(
            DropReason::Ipv6Chain,
            &format!("A8 header {kind} longer than the packet"),
            IPV6,
            &ip.packet(&[lying], ICMPV6, &[RA; 32]),
        );
        for len in [1, 4, 7] {
            let bytes = ip.packet(&[], kind, &vec![ICMPV6; len]);
            // One byte of every header says what follows, the next how long it is: both are 58 here, and too much.
            cases.both(DropReason::Ipv6Chain, &format!("A8 header {kind} of {len} bytes"), IPV6, &bytes);
        }
    }
    let upper_missing = ip.packet(&[Header::new(Header::DESTINATION, 0)], ICMPV6, &[]);
    cases.both(DropReason::Malformed, "A8 whole packet that ends before its ICMPv6 header", IPV6, &upper_missing);
}

/// A9.
pub(super) fn fragments(cases: &mut Cases) {
    let (atomic, first) = (Header::fragment(0, false), Header::fragment(0, true));
    for (name, kind) in [("RS", 133), ("RA", RA), ("NS", 135), ("NA", 136), ("redirect", 137)] {
        for (how, fragment) in [("an atomic", &atomic), ("a first", &first)] {
            for (behind, headers) in [
                ("", vec![fragment.clone()]),
                (" before destination options", vec![fragment.clone(), Header::new(Header::DESTINATION, 0)]),
                (" behind hop-by-hop options", vec![Header::new(Header::HOP_BY_HOP, 0), fragment.clone()]),
            ] {
                cases.both(DropReason::Ipv6Fragment, &format!("A9 {name} in {how} fragment{behind}"), IPV6, &nd(&headers, kind, &[]));
            }
        }
    }
    cases.both(PASS, "A9 ping in an atomic fragment", IPV6, &echo(std::slice::from_ref(&atomic)));
    cases.both(PASS, "A9 ping in a first fragment", IPV6, &echo(std::slice::from_ref(&first)));
    cases.both(DropReason::Ipv6Chain, "A9 a fragment in a fragment", IPV6, &nd(&[atomic.clone(), atomic.clone()], RA, &[]));
    cases.both(DropReason::Ipv6Chain, "A9 a later fragment in an atomic one", IPV6, &echo(&[atomic, Header::fragment(9, false)]));
    cut_first(cases, &first);
    for (name, upper) in [("ICMPv6", ICMPV6), ("UDP", UDP), ("TCP", TCP), ("destination options", Header::DESTINATION), ("unknown", 253)] {
        for (offset, more) in [(1, true), (1, false), (185, true), (0x1fff, false)] {
            let bytes = Ipv6::default().packet(&[Header::fragment(offset, more)], upper, &[RA; 48]);
            let rest = if more { "more to come" } else { "the last" };
            cases.both(PASS, &format!("A9 {name} fragment at offset {offset}, {rest}"), IPV6, &bytes);
        }
    }
}

/// First fragments that end within the header chain.
fn cut_first(cases: &mut Cases, first: &Header) {
    let ip = Ipv6::default();
    for count in [1, 2, 5] {
        let (next, body) = chain(&vec![Header::new(Header::DESTINATION, 0); count], ICMPV6, &[]);
        let bytes = ip.packet(std::slice::from_ref(first), next, &body);
        cases.both(DropReason::Ipv6Chain, &format!("A9 first fragment of {count} destination options and nothing else"), IPV6, &bytes);
    }
    for (name, upper) in [("ICMPv6", ICMPV6), ("UDP", UDP), ("TCP", TCP)] {
        let bytes = ip.packet(std::slice::from_ref(first), upper, &[]);
        cases.both(DropReason::Ipv6Chain, &format!("A9 first fragment without a byte of {name}"), IPV6, &bytes);
    }
    let segment = |len| ip.packet(std::slice::from_ref(first), TCP, &tcp().into_iter().chain([0; 12]).take(len).collect::<Vec<_>>());
    cases.both(DropReason::Ipv6Chain, "A9 first fragment with 16 bytes of TCP header", IPV6, &segment(16));
    cases.both(DropReason::Ipv6Chain, "A9 first fragment with 19 bytes of TCP header", IPV6, &segment(19));
    cases.both(PASS, "A9 first fragment with just the TCP header", IPV6, &segment(20));
    cases.both(PASS, "A9 first fragment with 24 bytes of TCP", IPV6, &segment(24));
}

/// A16.
pub(super) fn lengths(cases: &mut Cases) {
    let ip = Ipv6::default();
    let ping = echo(&[]);
    for payload_len in [41, 1500, u16::MAX] {
        let bytes = Ipv6 { payload_len: Some(payload_len), ..ip.clone() }.packet(&[], ICMPV6, &ip.icmp(ECHO, &[0; 36]));
        cases.both(DropReason::Malformed, &format!("A16 IPv6 with 40 bytes of payload that claims {payload_len}"), IPV6, &bytes);
    }
    for len in [0, 1, 39, 40, 79] {
        let cut: Vec<u8> = ping.iter().copied().take(len).collect();
        cases.both(DropReason::Malformed, &format!("A16 IPv6 of 80 bytes cut to {len}"), IPV6, &cut);
    }
    for version in [0x00, 0x40, 0x50, 0x70, 0xf0] {
        let bytes: Vec<u8> = ping.iter().enumerate().map(|(at, byte)| if at == 0 { version } else { *byte }).collect();
        cases.both(DropReason::Malformed, &format!("A16 IPv6 that starts with {version:#04x}"), IPV6, &bytes);
    }
    let jumbo = Header(Header::HOP_BY_HOP, vec![0, 0xc2, 4, 0, 1, 0, 0]);
    let bytes = Ipv6 { payload_len: Some(0), ..ip.clone() }.packet(&[jumbo], ICMPV6, &ip.icmp(ECHO, &[0; 36]));
    cases.both(DropReason::Malformed, "A16 IPv6 jumbogram", IPV6, &bytes);
    cases.both(PASS, "A16 ping in IPv6", IPV6, &ping);
    cases.both(PASS, "A16 ping in IPv6, with Ethernet padding", IPV6, &[&ping[..], &[0xa5; 9]].concat());
    udp_length(cases, &ip);
}

fn udp_length(cases: &mut Cases, ip: &Ipv6) {
    let datagram = ip.udp(27_005, 27_015, &[7; 24]);
    for (len, verdict) in
        [(0, Some(DropReason::Malformed)), (7, Some(DropReason::Malformed)), (33, Some(DropReason::Malformed)), (31, PASS), (32, PASS)]
    {
        let claim = u16::to_be_bytes(len);
        let (ports, rest) = datagram.split_at(4);
        let lying = [ports, &claim, rest.split_at(2).1].concat();
        cases.both(verdict, &format!("A16 UDP of 32 bytes in IPv6 that claims {len}"), IPV6, &ip.packet(&[], UDP, &lying));
        let atomic = ip.packet(&[Header::fragment(0, false)], UDP, &lying);
        cases.both(verdict, &format!("A16 UDP of 32 bytes in an atomic fragment that claims {len}"), IPV6, &atomic);
    }
    let cut: Vec<u8> = datagram.into_iter().take(7).collect();
    cases.both(DropReason::Malformed, "A16 UDP header cut to 7 bytes in IPv6", IPV6, &ip.packet(&[], UDP, &cut));
}
