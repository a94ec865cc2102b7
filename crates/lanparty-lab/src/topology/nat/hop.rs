//! One NAT: a router whose rules make it one, and can be told to forget.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{HouseholdOptions, NatKind, OUT};
use crate::namespace::Namespace;

/// The first external port, and how many there are before the next rebinding takes others.
const PORTS: (u16, u16) = (20_000, 10_000);
/// After so many rebindings the first ports come again.
const GENERATIONS: u16 = 4;

/// A router between its interface `inside` and `out`.
#[derive(Debug, Clone)]
pub(in crate::topology) struct Hop {
    router: Namespace,
    /// Its interface toward the household.
    inside: &'static str,
    /// Its address on `out`, which everybody behind it shares.
    pub(in crate::topology) address: Ipv4Addr,
    /// How often it was rebound.
    generation: u16,
}

impl Hop {
    /// A router that was not told anything yet.
    pub(in crate::topology) fn new(router: &Namespace, inside: &'static str, address: Ipv4Addr) -> Self {
        Self { router: router.clone(), inside, address, generation: 0 }
    }

    /// Makes it a NAT of this kind from now on, with no mapping made so far.
    pub(in crate::topology) fn apply(&self, kind: NatKind, options: &HouseholdOptions) -> Result<()> {
        let hairpin = options.hairpin && kind != NatKind::Symmetric;
        let cone = kind == NatKind::FullCone;
        let table = format!(
            "add table ip hop\ndelete table ip hop\ntable ip hop {{\n{}{}{}{}\n}}",
            self.translation(kind, hairpin),
            if hairpin || cone { remember() } else { String::new() },
            self.way_back(cone, hairpin),
            filter(cone || options.forwards_ports),
        );
        self.router.run(&["nft", &table]).map(drop)
    }

    /// Takes other external ports, and forgets every mapping.
    pub(in crate::topology) fn rebind(&mut self, kind: NatKind, options: &HouseholdOptions) -> Result<()> {
        self.generation = (self.generation + 1) % GENERATIONS;
        self.apply(kind, options)?;
        self.router.run(&["conntrack", "-F"]).map(drop)
    }

    /// Outbound. The kernel gives a source the external port that it has already, whatever the destination, unless it shall be random:
    /// that is endpoint-independent mapping.
    fn translation(&self, kind: NatKind, hairpin: bool) -> String {
        let (address, inside) = (self.address, self.inside);
        let first = PORTS.0 + self.generation * PORTS.1;
        let last = first + PORTS.1 - 1;
        let random = if kind == NatKind::Symmetric { " fully-random" } else { "" };
        let to = format!("snat ip to {address}:{first}-{last}{random}");
        // RFC 4787 REQ-9: who is reached through the NAT by a neighbour sees the neighbour's external address.
        let hairpin =
            if hairpin { format!("iifname {inside} oifname {inside} meta l4proto udp ct status dnat {to}") } else { String::new() };
        format!(
            "chain translation {{ type nat hook postrouting priority srcnat;
             oifname {OUT} meta l4proto {{ tcp, udp }} {to}
             oifname {OUT} snat ip to {address}
             {hairpin}
             }}\n"
        )
    }

    /// Inbound to a port that was given to somebody.
    fn way_back(&self, cone: bool, hairpin: bool) -> String {
        let to = "meta l4proto udp dnat ip to udp dport map @given";
        let cone = if cone { format!("iifname {OUT} {to}") } else { String::new() };
        let hairpin = if hairpin { format!("iifname {} ip daddr {} {to}", self.inside, self.address) } else { String::new() };
        format!("chain way_back {{ type nat hook prerouting priority dstnat;\n{cone}\n{hairpin}\n}}\n")
    }
}

/// Who was given which external port: seen where the packet has it.
fn remember() -> String {
    format!(
        "map given {{ type inet_service : ipv4_addr . inet_service; flags dynamic, timeout; timeout 5m; size 4096; }}
         chain remember {{ type filter hook postrouting priority srcnat + 10;
         oifname {OUT} meta l4proto udp ct direction original update @given {{ udp sport : ct original ip saddr . ct original proto-src }}
         }}\n"
    )
}

/// A packet that nobody asked for is dropped before the kernel notes it as a connection: noted, it would keep the port from the
/// host that is about to write to its sender, and punching would fail.
fn filter(lets_in: bool) -> String {
    let given = if lets_in { format!("iifname {OUT} ct status dnat accept") } else { String::new() };
    format!(
        "chain forward {{ type filter hook forward priority filter;
         iifname {OUT} ct state established,related accept
         {given}
         iifname {OUT} drop
         }}
         chain input {{ type filter hook input priority filter;
         iifname {OUT} ct state established,related accept
         iifname {OUT} icmp type echo-request accept
         iifname {OUT} drop
         }}\n"
    )
}
