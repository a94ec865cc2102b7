//! Multicast: what a frame to a group is for, and which of it a policy lets pass (docs/multicast.md).
//!
//! Judged by the IP destination, whatever the MAC address: hosts take a packet to a group they joined also from a frame to all, or to
//! them alone. What a group is for is known by its address alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::packet::{Ipv4Packet, Ipv6Packet, be16, ethertype, nd_type, protocol};
use crate::{DropReason, Frame};

mod query;
mod report;

pub use query::GroupQuery;
pub use report::{GroupChange, Listening};

/// IGMP: a query, and a multicast router's advertisement (RFC 3376 §4, RFC 4286 §3).
pub(crate) const IGMP_ROUTER: [u8; 2] = [0x11, 0x30];
/// The same of ICMPv6 (RFC 3810 §5.1, RFC 4286 §3).
pub(crate) const MLD_ROUTER: [u8; 2] = [130, 151];
/// Reports and leaves: version 1 (RFC 1112), 2 (RFC 2236 §2.1), 3 (RFC 3376 §4.2).
const IGMP_REPORTS: [u8; 4] = [0x12, 0x16, 0x17, 0x22];
/// Version 1: report, done (RFC 2710 §3.1). Version 2 (RFC 3810 §5.2).
const MLD_REPORTS: [u8; 3] = [131, 132, 143];

/// Which multicast a room carries, or a member takes part in. The strictest is the smallest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MulticastPolicy {
    /// Only what IPv6 itself needs: neighbour discovery, DHCPv6.
    None,
    /// That, and how machines and games find each other.
    #[default]
    Discovery,
    /// All groups, each to the members that joined it.
    Snooped,
    /// Everything, to everybody.
    All,
}

impl MulticastPolicy {
    /// As it is said on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Discovery => "discovery",
            Self::Snooped => "snooped",
            Self::All => "all",
        }
    }

    /// Whether `frame` may pass. All that is no multicast may.
    ///
    /// # Errors
    /// [`DropReason::Multicast`].
    pub fn judge(self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let passes = match MulticastUse::of(frame) {
            _ if self == Self::All => true,
            None | Some(MulticastUse::Essential | MulticastUse::Query) => true,
            // Whoever hears of a group asks for it: only of those that he may have. One that cannot be read says nothing.
            Some(MulticastUse::Report) => GroupChange::read(frame).is_some_and(|all| all.iter().any(|change| self.passes(change.group))),
            Some(MulticastUse::Group(group)) => self.passes(group),
            Some(MulticastUse::Other) => self >= Self::Snooped,
        };
        if passes { Ok(()) } else { Err(DropReason::Multicast) }
    }

    /// Whether packets to this group may pass at all.
    #[must_use]
    pub fn passes(self, group: IpAddr) -> bool {
        match GroupKind::of(group) {
            GroupKind::Essential => true,
            GroupKind::Discovery => self >= Self::Discovery,
            GroupKind::Local | GroupKind::Joined => self >= Self::Snooped,
        }
    }
}

impl fmt::Display for MulticastPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MulticastPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::None, Self::Discovery, Self::Snooped, Self::All];
        all.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| "it is none of none, discovery, snooped, all".to_owned())
    }
}

/// What a frame to many is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MulticastUse {
    /// Neighbour discovery, DHCPv6.
    Essential,
    /// IGMP and MLD: who listens to what. Routers hear it, and nobody else: a host that hears of another's membership keeps silent about
    /// its own (RFC 4541 §2.1.1).
    Report,
    /// IGMP and MLD: a multicast router asks, or tells of itself.
    Query,
    /// To the group.
    Group(IpAddr),
    /// A group of another protocol than IP, or an IP packet that is for no group.
    Other,
}

impl MulticastUse {
    /// What this frame is; nothing when it is no multicast. Broadcast is none.
    #[must_use]
    pub fn of(frame: &Frame<'_>) -> Option<Self> {
        let payload = frame.payload();
        match frame.ethertype() {
            ethertype::IPV4 if payload.get(16).is_some_and(|first| first & 0xf0 == 0xe0) => Some(of_ipv4(payload)),
            ethertype::IPV6 if payload.get(24) == Some(&0xff) => Some(of_ipv6(payload)),
            _ => (frame.dst().is_group() && !frame.dst().is_broadcast()).then_some(Self::Other),
        }
    }
}

fn of_ipv4(bytes: &[u8]) -> MulticastUse {
    let Ok(packet) = Ipv4Packet::read(bytes) else { return MulticastUse::Other };
    match packet.payload.first().filter(|_| packet.protocol == protocol::IGMP && packet.fragment_offset == 0) {
        Some(kind) if IGMP_REPORTS.contains(kind) => MulticastUse::Report,
        Some(kind) if IGMP_ROUTER.contains(kind) => MulticastUse::Query,
        _ => MulticastUse::Group(packet.ends.1.into()),
    }
}

fn of_ipv6(bytes: &[u8]) -> MulticastUse {
    let Ok(packet) = Ipv6Packet::read(bytes) else { return MulticastUse::Other };
    match packet.payload.first().filter(|_| packet.upper == protocol::ICMPV6 && packet.has_upper_header()) {
        Some(nd_type::ROUTER_SOLICITATION..=nd_type::REDIRECT) => MulticastUse::Essential,
        Some(kind) if MLD_REPORTS.contains(kind) => MulticastUse::Report,
        Some(kind) if MLD_ROUTER.contains(kind) => MulticastUse::Query,
        _ if GroupKind::of(packet.ends.1.into()) == GroupKind::Essential => MulticastUse::Essential,
        _ => MulticastUse::Group(packet.ends.1.into()),
    }
}

/// What a group is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupKind {
    /// Solicited nodes, DHCPv6: IPv6 does not work without.
    Essential,
    /// Where machines and games look for each other.
    Discovery,
    /// Of this link alone: no host need say that it listens, so everybody gets it (RFC 4541 §2.1.2 (2)).
    Local,
    /// Any other: for those that joined it.
    Joined,
}

/// All hosts; LocalSend; mDNS (RFC 6762); LLMNR (RFC 4795).
const DISCOVERY_LOCAL: [[u8; 4]; 4] = [[224, 0, 0, 1], [224, 0, 0, 167], [224, 0, 0, 251], [224, 0, 0, 252]];
/// SSDP and WS-Discovery; SLP (RFC 2608); Minecraft's "open to LAN"; Mindustry.
const DISCOVERY: [[u8; 4]; 4] = [[239, 255, 255, 250], [239, 255, 255, 253], [224, 0, 2, 60], [227, 2, 7, 7]];
/// The same of IPv6, in any scope: SSDP and WS-Discovery, mDNS, LLMNR (IANA, variable scope).
const DISCOVERY_IPV6: [u32; 3] = [0xc, 0xfb, 0x1_0003];
/// Quake III and its descendants.
const QUAKE: Ipv6Addr = Ipv6Addr::new(0xff04, 0, 0, 0, 0x696f, 0x7175, 0x616b, 0x6533);
/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl GroupKind {
    /// What this group is for.
    #[must_use]
    pub fn of(group: IpAddr) -> Self {
        match group {
            IpAddr::V4(group) => Self::of_ipv4(group),
            IpAddr::V6(group) => Self::of_ipv6(group),
        }
    }

    fn of_ipv4(group: Ipv4Addr) -> Self {
        let octets = group.octets();
        match octets {
            _ if DISCOVERY_LOCAL.contains(&octets) || DISCOVERY.contains(&octets) => Self::Discovery,
            [224, 0, 0, _] => Self::Local,
            _ => Self::Joined,
        }
    }

    fn of_ipv6(group: Ipv6Addr) -> Self {
        let [prefix, a, b, c, d, high, low_high, low] = group.segments();
        let scope = prefix & 0x0f;
        let last = (u32::from(low_high) << 16) | u32::from(low);
        let is_well_known = prefix & 0xf0 == 0 && [a, b, c, d, high] == [0; 5];
        match (scope, last) {
            // Solicited nodes (RFC 4291 §2.7.1).
            (2, 0xff00_0000..) if prefix == 0xff02 && [a, b, c, d, high] == [0, 0, 0, 0, 1] => Self::Essential,
            // DHCPv6 relays and servers (RFC 8415 §7.1).
            (2, 0x1_0002) | (5, 0x1_0003) if is_well_known => Self::Essential,
            _ if group == ALL_NODES || group == QUAKE => Self::Discovery,
            (_, last) if is_well_known && DISCOVERY_IPV6.contains(&last) => Self::Discovery,
            // Of the interface and of the link (RFC 4291 §2.7).
            (0..=2, _) => Self::Local,
            _ => Self::Joined,
        }
    }
}

#[cfg(test)]
mod tests;
