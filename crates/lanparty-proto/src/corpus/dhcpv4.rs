//! A5: clients are no DHCP servers for IPv4, and remain DHCP clients.

use std::net::Ipv4Addr;

use super::wire::{IPV4, Ipv4, TCP, UDP, dhcp as message, ethernet, tcp, udp};
use super::{CaseSource, Cases, PASS};
use crate::{DropReason, MacAddr};

const REPLY: u8 = 2;
const SERVER_MESSAGES: [(&str, u8); 3] = [("OFFER", 2), ("ACK", 5), ("NAK", 6)];

pub(super) fn dhcp(cases: &mut Cases) {
    server_messages(cases);
    server_ports(cases);
    client_messages(cases);
}

fn server_messages(cases: &mut Cases) {
    for (name, kind) in SERVER_MESSAGES {
        for source_port in [67, 6767, 68] {
            let packet = Ipv4::new(UDP).packet(&udp(source_port, 68, &message(REPLY, kind)));
            let title = format!("A5 {name} from port {source_port}");
            cases.client(DropReason::DhcpServerReply, format!("{title}, unicast"), IPV4, &packet);
            cases.gateway(PASS, format!("{title}, unicast"), IPV4, &packet);
            let broadcast = Ipv4 { dst: Ipv4Addr::BROADCAST, ..Ipv4::new(UDP) }.packet(&udp(source_port, 68, &message(REPLY, kind)));
            let frame = ethernet(MacAddr::BROADCAST, cases.client, IPV4, &broadcast);
            cases.add(CaseSource::Client, Some(DropReason::DhcpServerReply), format!("{title}, broadcast"), frame);
        }
        let with_options = Ipv4 { option_words: 10, ..Ipv4::new(UDP) }.packet(&udp(67, 68, &message(REPLY, kind)));
        cases.client(DropReason::DhcpServerReply, format!("A5 {name} behind 40 bytes of IP options"), IPV4, &with_options);
        let first = Ipv4::new(UDP).fragment(0, true).packet(&udp(67, 68, &message(REPLY, kind)));
        cases.client(DropReason::DhcpServerReply, format!("A5 {name} in a first fragment"), IPV4, &first);
    }
}

fn server_ports(cases: &mut Cases) {
    let shapes: [(&str, u16, u16, Vec<u8>); 7] = [
        ("BOOTREPLY without DHCP options", 67, 68, vec![REPLY; 236]),
        ("OFFER that says BOOTREQUEST, to port 68", 6767, 68, message(1, 2)),
        ("OFFER to a relay agent", 6767, 67, message(REPLY, 2)),
        ("OFFER from server to relay agent", 67, 67, message(REPLY, 2)),
        ("relayed DISCOVER", 67, 67, message(1, 1)),
        ("one byte to port 68", 6767, 68, vec![REPLY]),
        ("nothing from port 67", 67, 50_000, vec![]),
    ];
    for (name, source_port, destination_port, payload) in shapes {
        let packet = Ipv4::new(UDP).packet(&udp(source_port, destination_port, &payload));
        cases.client(DropReason::DhcpServerReply, format!("A5 {name}"), IPV4, &packet);
        cases.gateway(PASS, format!("A5 {name}"), IPV4, &packet);
    }
}

fn client_messages(cases: &mut Cases) {
    for (name, kind) in [("DISCOVER", 1), ("REQUEST", 3), ("DECLINE", 4), ("RELEASE", 7), ("INFORM", 8)] {
        let addresses = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        let packet = Ipv4 { src: addresses.0, dst: addresses.1, ..Ipv4::new(UDP) }.packet(&udp(68, 67, &message(1, kind)));
        let frame = ethernet(MacAddr::BROADCAST, cases.client, IPV4, &packet);
        cases.add(CaseSource::Client, PASS, format!("A5 {name} of a client, broadcast"), frame);
        let renewal = Ipv4::new(UDP).packet(&udp(68, 67, &message(1, kind)));
        cases.both(PASS, &format!("A5 {name} of a client, unicast"), IPV4, &renewal);
    }
    for (source_port, destination_port) in [(68, 4011), (66, 69), (69, 66), (6700, 6800), (68, 66), (67 << 8, 68 << 8)] {
        let packet = Ipv4::new(UDP).packet(&udp(source_port, destination_port, &message(REPLY, 2)));
        cases.both(PASS, &format!("A5 UDP from port {source_port} to {destination_port}"), IPV4, &packet);
    }
    let segment: Vec<u8> = [67u16.to_be_bytes(), 68u16.to_be_bytes()].concat().into_iter().chain(tcp().into_iter().skip(4)).collect();
    cases.both(PASS, "A5 TCP from port 67 to 68", IPV4, &Ipv4::new(TCP).packet(&segment));
}
