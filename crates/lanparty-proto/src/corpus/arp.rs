//! A3: ARP names its sender's own hardware address.

use super::wire::{ARP, HOST, VICTIM, arp};
use super::{Cases, PASS};
use crate::{DropReason, MacAddr};

const RARP: u16 = 0x8035;
const OWN_IP: [u8; 4] = [10, 77, 0, 9];
const ROUTER_IP: [u8; 4] = [10, 77, 0, 1];
const NOBODY: MacAddr = MacAddr([0; 6]);

fn arp_shapes(sender: MacAddr) -> [(&'static str, Vec<u8>); 7] {
    [
        ("request", arp(1, (sender, OWN_IP), (NOBODY, ROUTER_IP))),
        ("reply", arp(2, (sender, OWN_IP), (HOST, ROUTER_IP))),
        ("reply that claims the router's IP", arp(2, (sender, ROUTER_IP), (HOST, OWN_IP))),
        ("probe", arp(1, (sender, [0; 4]), (NOBODY, OWN_IP))),
        ("announcement", arp(1, (sender, OWN_IP), (NOBODY, OWN_IP))),
        ("gratuitous reply", arp(2, (sender, OWN_IP), (sender, OWN_IP))),
        ("message with an unknown operation", arp(9, (sender, OWN_IP), (NOBODY, ROUTER_IP))),
    ]
}

pub(super) fn hardware_addresses(cases: &mut Cases) {
    let client = cases.client;
    for (who, sender, verdict) in [
        ("own", client, PASS),
        ("a victim's", VICTIM, Some(DropReason::ArpSpoof)),
        ("the router's", HOST, Some(DropReason::ArpSpoof)),
        ("a zero", NOBODY, Some(DropReason::ArpSpoof)),
        ("the broadcast", MacAddr::BROADCAST, Some(DropReason::ArpSpoof)),
    ] {
        for (what, message) in arp_shapes(sender) {
            cases.client(verdict, format!("A3 ARP {what} with {who} hardware address"), ARP, &message);
        }
    }
    for (what, message) in arp_shapes(VICTIM) {
        cases.gateway(PASS, format!("A3 ARP {what} for a LAN host"), ARP, &message);
    }
    cases.client(PASS, "A3 RARP as a migrated guest announces itself", RARP, &arp(3, (client, [0; 4]), (client, [0; 4])));
    cases.client(DropReason::ArpSpoof, "A3 RARP in a victim's name", RARP, &arp(4, (VICTIM, ROUTER_IP), (client, OWN_IP)));
    odd(cases, &arp(2, (client, OWN_IP), (HOST, ROUTER_IP)));
}

fn odd(cases: &mut Cases, honest: &[u8]) {
    let padded = [honest, &[0; 18]].concat();
    cases.client(PASS, "A3 ARP padded to the shortest frame", ARP, &padded);
    for len in [0, 1, 7, 8, 14, 20, 27] {
        let cut: Vec<u8> = honest.iter().copied().take(len).collect();
        cases.client(DropReason::Malformed, format!("A3 ARP cut to {len} bytes"), ARP, &cut);
    }
    let odd_heads: [(&str, [u8; 6]); 6] = [
        ("hardware type 6", [0, 6, 8, 0, 6, 4]),
        ("protocol IPv6", [0, 1, 0x86, 0xdd, 6, 4]),
        ("hardware length 8", [0, 1, 8, 0, 8, 4]),
        ("hardware length 0", [0, 1, 8, 0, 0, 4]),
        ("protocol length 16", [0, 1, 8, 0, 6, 16]),
        ("protocol length 0", [0, 1, 8, 0, 6, 0]),
    ];
    for (name, head) in odd_heads {
        let rest: Vec<u8> = padded.iter().copied().skip(head.len()).collect();
        cases.client(DropReason::Malformed, format!("A3 ARP with {name}"), ARP, &[&head[..], &rest].concat());
    }
}
