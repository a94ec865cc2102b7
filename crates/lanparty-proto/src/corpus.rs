//! Hand-named frames with the one verdict that each deserves: THREATS.md rows A1-A10 and A14-A16, bad frames beside
//! their legal neighbours. Behind the feature `corpus`, so that relay, gateway and TAP tests prove the same verdicts.
//!
//! Verdicts hold for the default [`AdmissionPolicy`](crate::AdmissionPolicy) without a budget. A frame that passes does
//! so byte for byte. Checksums of IPv4 headers, of ICMPv6 and of UDP in IPv6 are right wherever the message is whole, so
//! that a kernel which is asked judges the frame and not its checksum.

mod arp;
mod dhcpv4;
mod ipv4;
mod ipv6_chain;
mod ipv6_dhcp;
mod ipv6_nd;
mod link;
pub mod wire;

use crate::{DropReason, LanMtu, MacAddr, Source};

/// Whose frame a case is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseSource {
    /// The client whose MAC address the corpus was made for.
    Client,
    /// The gateway, from its LAN.
    Gateway,
}

impl CaseSource {
    /// What the node that checks the frame knows of its sender.
    #[must_use]
    pub const fn source(self, client: MacAddr) -> Source {
        match self {
            Self::Client => Source::Client(client),
            Self::Gateway => Source::Gateway,
        }
    }
}

/// One frame and what must become of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Row of THREATS.md, then what the frame is. Unique.
    pub name: String,
    /// Who sends it.
    pub source: CaseSource,
    /// From destination MAC address to the end, without FCS.
    pub frame: Vec<u8>,
    /// The reason it is dropped for, or `None` when it passes.
    pub verdict: Option<DropReason>,
}

/// Every case, for a room of this LAN MTU and a client with this MAC address.
#[must_use]
pub fn corpus(client: MacAddr, lan_mtu: LanMtu) -> Vec<Case> {
    let mut cases = Cases { client, all: vec![] };
    link::source_addresses(&mut cases);
    link::control_plane(&mut cases);
    link::tags(&mut cases);
    link::sizes(&mut cases, lan_mtu);
    arp::hardware_addresses(&mut cases);
    dhcpv4::dhcp(&mut cases);
    ipv4::fragments(&mut cases);
    ipv4::lengths(&mut cases);
    ipv6_nd::neighbour_discovery(&mut cases);
    ipv6_nd::routers(&mut cases);
    ipv6_dhcp::dhcp(&mut cases);
    ipv6_chain::chains(&mut cases);
    ipv6_chain::fragments(&mut cases);
    ipv6_chain::lengths(&mut cases);
    cases.all
}

/// The table while it is being written.
struct Cases {
    client: MacAddr,
    all: Vec<Case>,
}

impl Cases {
    fn add(&mut self, source: CaseSource, verdict: Option<DropReason>, name: impl Into<String>, frame: Vec<u8>) {
        self.all.push(Case { name: name.into(), source, frame, verdict });
    }

    /// A packet that the client sends.
    fn client(&mut self, verdict: impl Into<Option<DropReason>>, name: impl Into<String>, kind: u16, packet: &[u8]) {
        let frame = wire::ethernet(wire::HOST, self.client, kind, packet);
        self.add(CaseSource::Client, verdict.into(), name, frame);
    }

    /// A packet that comes from the gateway's LAN.
    fn gateway(&mut self, verdict: impl Into<Option<DropReason>>, name: impl Into<String>, kind: u16, packet: &[u8]) {
        let frame = wire::ethernet(self.client, wire::HOST, kind, packet);
        self.add(CaseSource::Gateway, verdict.into(), format!("{}, from the gateway", name.into()), frame);
    }

    /// A packet whose verdict is the same whoever sends it.
    fn both(&mut self, verdict: impl Into<Option<DropReason>>, name: &str, kind: u16, packet: &[u8]) {
        let verdict = verdict.into();
        self.client(verdict, name, kind, packet);
        self.gateway(verdict, name, kind, packet);
    }
}

/// The verdict of a frame that passes.
const PASS: Option<DropReason> = None;
