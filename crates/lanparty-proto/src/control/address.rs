//! Addresses that a relay assigns in a room without a LAN (docs/wire-format.md §4).

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Networks of its own that a member may name: more than a machine has, and little to compare with.
pub const OWN_NETWORKS_MAX: usize = 16;

/// A client asks for addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AddressRequest {
    /// Only while the room has no gateway: its LAN has addresses of its own.
    #[serde(default, skip_serializing_if = "super::is_no")]
    pub unless_gateway: bool,
    /// What a relay assigned it in this room before; it gets that again when nobody else has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<Ipv4Net>,
    /// The networks that its machine is in beside the room, at most [`OWN_NETWORKS_MAX`]: the room's shall meet none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Ipv4Net>,
}

/// The addresses of a member, each with the length of its network's prefix.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AssignedAddresses {
    /// Of the relay's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Net>,
    /// Of the room's own prefix (RFC 4193).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Net>,
    /// Why there is no IPv4 address, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Whether a network is private (RFC 1918) or shared (RFC 6598) with all of it: no other is a relay's to assign.
#[must_use]
pub fn is_private_network(network: Ipv4Net) -> bool {
    const PRIVATE: [([u8; 4], u8); 4] = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)];
    PRIVATE.into_iter().any(|(start, prefix)| Ipv4Net::new(start.into(), prefix).is_ok_and(|private| private.contains(&network)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_private_networks_are_private() {
        for (network, is_private) in [
            ("10.0.0.0/8", true),
            ("10.128.5.7/24", true),
            ("172.31.255.0/24", true),
            ("192.168.8.0/24", true),
            ("100.127.0.0/16", true),
            ("8.0.0.0/7", false),
            ("172.32.0.0/24", false),
            ("192.0.0.0/8", false),
            ("0.0.0.0/0", false),
            ("203.0.113.0/24", false),
        ] {
            assert_eq!(is_private_network(network.parse().unwrap()), is_private, "{network}");
        }
    }
}
