//! A4 and A7: clients discover their neighbours as themselves, and are no routers.

use super::wire::{HOST, Header, ICMPV6, IPV6, Ipv6, VICTIM, link_layer_option};
use super::{Cases, PASS};
use crate::{DropReason, MacAddr};

const RS: u8 = 133;
const RA: u8 = 134;
const NS: u8 = 135;
const NA: u8 = 136;
const REDIRECT: u8 = 137;
const SOLICITING: [(&str, u8); 3] = [("RS", RS), ("NS", NS), ("NA", NA)];

/// What stands between the checksum and the options.
fn fixed(kind: u8) -> Vec<u8> {
    vec![
        0;
        match kind {
            RS => 4,
            RA => 12,
            REDIRECT => 36,
            _ => 20,
        }
    ]
}

/// A neighbour discovery packet behind `headers`.
pub(super) fn nd(headers: &[Header], kind: u8, options: &[u8]) -> Vec<u8> {
    let ip = Ipv6::default();
    ip.packet(headers, ICMPV6, &ip.icmp(kind, &[&fixed(kind)[..], options].concat()))
}

/// A4.
pub(super) fn neighbour_discovery(cases: &mut Cases) {
    let own = [link_layer_option(1, cases.client), link_layer_option(2, cases.client)];
    for (name, kind) in SOLICITING {
        cases.both(PASS, &format!("A4 {name} without options"), IPV6, &nd(&[], kind, &[]));
        for (option, side) in own.iter().zip(["source", "target"]) {
            cases.client(PASS, format!("A4 {name} with the client's {side} link-layer address"), IPV6, &nd(&[], kind, option));
        }
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        cases.client(
            PASS,
            format!("A4 {name} with a nonce before its own address"),
            IPV6,
            &nd(&[], kind, &[&nonce[..], &own.concat()].concat()),
        );
        foreign_addresses(cases, name, kind, &[&nonce[..], &own.concat()].concat());
        odd_options(cases, name, kind);
        hop_limits(cases, name, kind);
    }
    let redirect = nd(&[], REDIRECT, &[]);
    cases.client(DropReason::Ipv6Redirect, "A4 redirect", IPV6, &redirect);
    cases.client(DropReason::Ipv6Redirect, "A4 redirect behind destination options", IPV6, &nd(&[Header::new(60, 0)], REDIRECT, &[]));
    cases.gateway(PASS, "A4 redirect", IPV6, &redirect);
}

fn foreign_addresses(cases: &mut Cases, name: &str, kind: u8, own: &[u8]) {
    for (mac, whose) in [(VICTIM, "a victim's"), (HOST, "the router's"), (MacAddr([0; 6]), "a zero"), (MacAddr::BROADCAST, "the broadcast")]
    {
        for (side, option) in [("source", link_layer_option(1, mac)), ("target", link_layer_option(2, mac))] {
            let packet = nd(&[], kind, &option);
            cases.client(DropReason::NdSpoof, format!("A4 {name} with {whose} {side} link-layer address"), IPV6, &packet);
            cases.gateway(PASS, format!("A4 {name} with {whose} {side} link-layer address"), IPV6, &packet);
        }
    }
    let foreign = link_layer_option(2, VICTIM);
    let behind_own = nd(&[], kind, &[own, &foreign].concat());
    cases.client(DropReason::NdSpoof, format!("A4 {name} with a victim's address behind its own"), IPV6, &behind_own);
    for header in Header::KINDS {
        let packet = nd(&[Header::new(header, 1)], kind, &foreign);
        cases.client(DropReason::NdSpoof, format!("A4 {name} with a victim's address behind header {header}"), IPV6, &packet);
    }
}

fn odd_options(cases: &mut Cases, name: &str, kind: u8) {
    let [a, b, c, d, e, f] = cases.client.0;
    let odd: [(&str, DropReason, Vec<u8>); 6] = [
        ("of length zero", DropReason::Malformed, vec![1, 0, a, b, c, d, e, f]),
        ("of length zero, unknown type", DropReason::Malformed, vec![200, 0, 0, 0, 0, 0, 0, 0]),
        ("longer than the packet", DropReason::Malformed, vec![1, 2, a, b, c, d, e, f]),
        ("of one byte", DropReason::Malformed, vec![1]),
        ("cut by one byte", DropReason::Malformed, vec![1, 1, a, b, c, d, e]),
        ("of twice the length", DropReason::NdSpoof, vec![1, 2, a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (what, reason, option) in odd {
        cases.client(reason, format!("A4 {name} with an option {what}"), IPV6, &nd(&[], kind, &option));
    }
    let ip = Ipv6::default();
    let body = fixed(kind);
    let cut = body.split_last().map_or(&[][..], |(_, rest)| rest);
    cases.client(DropReason::Malformed, format!("A4 {name} one byte too short"), IPV6, &ip.packet(&[], ICMPV6, &ip.icmp(kind, cut)));
}

fn hop_limits(cases: &mut Cases, name: &str, kind: u8) {
    for hop_limit in [0, 1, 64, 254] {
        let ip = Ipv6 { hop_limit, ..Ipv6::default() };
        let packet = ip.packet(&[], ICMPV6, &ip.icmp(kind, &fixed(kind)));
        cases.client(DropReason::BadNd, format!("A4 {name} with hop limit {hop_limit}"), IPV6, &packet);
    }
}

/// A7.
pub(super) fn routers(cases: &mut Cases) {
    let advertisement = nd(&[], RA, &[]);
    cases.client(DropReason::Ipv6RouterAdvertisement, "A7 RA", IPV6, &advertisement);
    cases.gateway(PASS, "A7 RA", IPV6, &advertisement);
    let own_option = nd(&[], RA, &link_layer_option(1, cases.client));
    cases.client(DropReason::Ipv6RouterAdvertisement, "A7 RA with the client's own address", IPV6, &own_option);
    for hop_limit in [0, 64, 254] {
        let ip = Ipv6 { hop_limit, ..Ipv6::default() };
        let packet = ip.packet(&[], ICMPV6, &ip.icmp(RA, &fixed(RA)));
        cases.client(DropReason::Ipv6RouterAdvertisement, format!("A7 RA with hop limit {hop_limit}"), IPV6, &packet);
    }
    let stump = Ipv6::default().packet(&[], ICMPV6, &[RA]);
    cases.client(DropReason::Ipv6RouterAdvertisement, "A7 RA cut behind its type", IPV6, &stump);
    let padded = [&advertisement[..], &[0; 40]].concat();
    cases.client(DropReason::Ipv6RouterAdvertisement, "A7 RA with Ethernet padding", IPV6, &padded);
    for (name, kind) in
        [("echo request", 128), ("echo reply", 129), ("packet too big", 2), ("MLD report", 131), ("MLDv2 report", 143), ("type 138", 138)]
    {
        let ip = Ipv6::default();
        let packet = ip.packet(&[], ICMPV6, &ip.icmp(kind, &[0; 20]));
        cases.both(PASS, &format!("A7 ICMPv6 {name}"), IPV6, &packet);
        let behind = ip.packet(&[Header::new(Header::HOP_BY_HOP, 0)], ICMPV6, &ip.icmp(kind, &[0; 20]));
        cases.both(PASS, &format!("A7 ICMPv6 {name} behind hop-by-hop options"), IPV6, &behind);
    }
}
