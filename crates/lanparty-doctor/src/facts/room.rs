//! The room: its members, its sizes, where DHCP stops, who is looking for games.

use lanparty_proto::{MacAddr, MemberId, Role};
use serde::{Deserialize, Serialize};

use super::BondUplink;

/// What is known of one room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomFacts {
    /// Its code.
    pub room: Option<String>,
    /// Its LAN MTU in bytes.
    pub lan_mtu: Option<u16>,
    /// Everybody in it, this host included.
    pub members: Option<Vec<MemberFacts>>,
    /// The client's interface, while it is bridged to the LAN of the room's own gateway and carries nothing; empty while it carries.
    pub looped_interface: Option<String>,
    /// Gateways that bridge one and the same LAN, in words: `gateway peer 1 of this room`, `the gateway at 02:00:00:00:00:07`.
    pub gateways_on_one_lan: Option<Vec<String>>,
    /// The DHCP servers that have answered somebody here of late, by their addresses.
    pub dhcp_servers: Option<Vec<MacAddr>>,
    /// Addresses that more than one machine uses.
    pub duplicate_macs: Option<Vec<Duplicate>>,
    /// Identities that more than one machine uses.
    pub duplicate_identities: Option<Vec<Duplicate>>,
    /// How far the last DHCP exchange of this host came.
    pub dhcp: Option<DhcpTrace>,
    /// Who looked for whom, the latest last.
    pub discovery: Option<Vec<Discovery>>,
    /// The uplinks that the member here uses at once.
    pub uplinks: Option<Vec<BondUplink>>,
}

/// One member of the room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// As the relay numbers it.
    pub id: MemberId,
    /// Gateway or client.
    pub role: Role,
    /// Its address.
    pub mac: MacAddr,
    /// Whether it is this host.
    #[serde(default)]
    pub is_self: bool,
    /// The LAN MTU that its path takes now, in bytes; known when it is below the room's, or when it is this host's.
    #[serde(default)]
    pub path_mtu: Option<u16>,
    /// Whether its way to the relay is IPv6, whose header is 20 bytes longer.
    #[serde(default)]
    pub underlay_is_ipv6: Option<bool>,
}

/// One thing that two or more have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// The MAC address or the identity.
    pub what: String,
    /// Who has it, in words: `peer 3`, `192.168.1.20 on the LAN`.
    pub holders: Vec<String>,
}

/// Whether a stage of the DHCP exchange was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sighting {
    /// Yes.
    Seen {
        /// So long ago, in milliseconds.
        age_ms: u64,
    },
    /// Whoever watches there is sure that it did not come by.
    NotSeen,
}

/// The stages of DHCP through a room, in order (RFC 2131 §3.1). `None` where nobody watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DhcpTrace {
    /// This host's client asked: the discover, or a request, left its stack.
    pub discover_at_tap: Option<Sighting>,
    /// The relay forwarded the question.
    pub discover_at_relay: Option<Sighting>,
    /// A gateway received it from the relay.
    pub discover_at_gateway: Option<Sighting>,
    /// The gateway wrote it on its LAN.
    pub discover_on_wire: Option<Sighting>,
    /// A DHCP server's answer was on that LAN.
    pub offer_on_wire: Option<Sighting>,
    /// The gateway admitted the answer and sent it to the relay.
    pub offer_at_gateway: Option<Sighting>,
    /// The relay forwarded the answer.
    pub offer_at_relay: Option<Sighting>,
    /// The answer reached this host's TAP.
    pub offer_at_tap: Option<Sighting>,
    /// A server refused this host the address that it asked for, and none gave it one since.
    pub refused: Option<Sighting>,
    /// For how long answers have been reaching this host's TAP, in milliseconds.
    pub answered_for_ms: Option<u64>,
    /// This host has a lease: nothing is wrong, whatever the stages say.
    pub has_lease: Option<bool>,
}

/// Somebody looked for games, printers or names, or told of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discovery {
    /// The protocol.
    pub kind: DiscoveryKind,
    /// Destination port, for UDP.
    #[serde(default)]
    pub port: Option<u16>,
    /// Who asked.
    pub from: MacAddr,
    /// Whether that is this host.
    #[serde(default)]
    pub from_self: bool,
    /// So long ago, in milliseconds.
    pub age_ms: u64,
    /// Whether it asks nothing: it tells what is there.
    #[serde(default)]
    pub is_announcement: bool,
    /// How many of this kind from this sender.
    #[serde(default)]
    pub count: u64,
    /// How many of them since the last answer.
    #[serde(default)]
    pub unanswered: u64,
    /// When it came from elsewhere: whether this host, or the LAN of this gateway, answered. When it came from this host:
    /// whether anybody did. Unknown where an answer would not have come by here.
    #[serde(default)]
    pub answered: Option<bool>,
}

/// Kinds of discovery traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiscoveryKind {
    /// RFC 6762, port 5353.
    Mdns,
    /// UPnP, port 1900.
    Ssdp,
    /// RFC 4795, port 5355.
    Llmnr,
    /// Ports 137 and 138.
    NetBios,
    /// A game's server browser, by name.
    Game(String),
    /// Any other broadcast or multicast.
    Other,
}
