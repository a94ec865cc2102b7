//! A6: clients are no DHCPv6 servers, whatever stands in front of the message.

use super::wire::{Header, IPV6, Ipv6, UDP, chain};
use super::{Cases, PASS};
use crate::DropReason;

const SERVER_MESSAGES: [(&str, u8); 4] = [("ADVERTISE", 2), ("REPLY", 7), ("RECONFIGURE", 10), ("RELAY-REPL", 13)];

fn prefixes() -> Vec<(String, Vec<Header>)> {
    let (hop, dest) = (Header::new(Header::HOP_BY_HOP, 0), Header::new(Header::DESTINATION, 2));
    let mut all: Vec<_> = Header::KINDS.iter().map(|kind| (format!("behind header {kind}"), vec![Header::new(*kind, 0)])).collect();
    all.extend([
        ("plain".to_owned(), vec![]),
        ("behind two headers".to_owned(), vec![hop.clone(), dest.clone()]),
        ("in an atomic fragment".to_owned(), vec![hop.clone(), Header::fragment(0, false)]),
        ("in a first fragment".to_owned(), vec![hop, Header::fragment(0, true), dest]),
    ]);
    all
}

fn packet(headers: &[Header], source_port: u16, destination_port: u16, message: &[u8]) -> Vec<u8> {
    let ip = Ipv6::default();
    ip.packet(headers, UDP, &ip.udp(source_port, destination_port, message))
}

pub(super) fn dhcp(cases: &mut Cases) {
    for (where_, headers) in prefixes() {
        for (name, kind) in SERVER_MESSAGES {
            let bytes = packet(&headers, 547, 546, &[kind, 1, 2, 3]);
            cases.client(DropReason::DhcpServerReply, format!("A6 {name} {where_}"), IPV6, &bytes);
            cases.gateway(PASS, format!("A6 {name} {where_}"), IPV6, &bytes);
        }
        for (name, kind) in [
            ("SOLICIT", 1),
            ("REQUEST", 3),
            ("CONFIRM", 4),
            ("RENEW", 5),
            ("REBIND", 6),
            ("RELEASE", 8),
            ("DECLINE", 9),
            ("INFORMATION-REQUEST", 11),
        ] {
            cases.client(PASS, format!("A6 {name} {where_}"), IPV6, &packet(&headers, 546, 547, &[kind, 1, 2, 3]));
        }
    }
    for (name, kind) in SERVER_MESSAGES {
        cases.client(
            DropReason::DhcpServerReply,
            format!("A6 {name} from another port"),
            IPV6,
            &packet(&[], 50_000, 546, &[kind, 1, 2, 3]),
        );
        cases.client(DropReason::DhcpServerReply, format!("A6 {name} to a relay agent"), IPV6, &packet(&[], 50_000, 547, &[kind, 1, 2, 3]));
    }
    cases.client(DropReason::DhcpServerReply, "A6 RELAY-FORW of a relay agent", IPV6, &packet(&[], 547, 547, &[12, 0]));
    for (source_port, destination_port) in [(546, 545), (545, 548), (548, 545), (5460, 5470)] {
        let bytes = packet(&[], source_port, destination_port, &[2, 1, 2, 3]);
        cases.both(PASS, &format!("A6 UDP from port {source_port} to {destination_port} in IPv6"), IPV6, &bytes);
    }
    cut_first_fragments(cases);
}

/// First fragments that end before the message does: RFC 7112 allows none that ends before the UDP header does.
fn cut_first_fragments(cases: &mut Cases) {
    let ip = Ipv6::default();
    let (next, body) = chain(&[Header::new(Header::DESTINATION, 0)], UDP, &ip.udp(547, 546, &[2, 1, 2, 3, 4, 5, 6, 7]));
    let verdicts = [
        (0, DropReason::Ipv6Chain),
        (4, DropReason::Ipv6Chain),
        (8, DropReason::Ipv6Chain),
        (12, DropReason::Ipv6Chain),
        (15, DropReason::Ipv6Chain),
        (16, DropReason::DhcpServerReply),
        (24, DropReason::DhcpServerReply),
    ];
    for (len, reason) in verdicts {
        let visible: Vec<u8> = body.iter().copied().take(len).collect();
        let bytes = ip.packet(&[Header::fragment(0, true)], next, &visible);
        cases.client(reason, format!("A6 first fragment with {len} bytes of ADVERTISE behind destination options"), IPV6, &bytes);
    }
    let unseen: Vec<u8> = ip.udp(546, 547, &[1, 2, 3, 4]).into_iter().take(8).collect();
    let bytes = ip.packet(&[Header::fragment(0, true)], UDP, &unseen);
    cases.client(DropReason::DhcpServerReply, "A6 first fragment to port 547 that hides its message type", IPV6, &bytes);
}
