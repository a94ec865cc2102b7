//! A5, A6: what only a DHCP server, or a relay agent on its behalf, would send.
//!
//! By port rather than by message where the port is enough: nothing but a server has reason to send to a DHCP client's
//! port or from a server's, and not every client looks at the op field before it believes an offer.

use crate::packet::Udp;

/// BOOTREPLY (RFC 951 §3).
const BOOTREPLY: u8 = 2;
/// DHCPv6 ADVERTISE, REPLY, RECONFIGURE, RELAY-REPL (RFC 8415 §7.3).
const DHCPV6_SERVER_MESSAGES: [u8; 4] = [2, 7, 10, 13];

/// From port 67, to port 68, or a BOOTREPLY to a relay agent's port 67.
pub(super) fn is_server_v4(udp: &Udp<'_>) -> bool {
    match (udp.source_port, udp.destination_port) {
        (67, _) | (_, 68) => true,
        (_, 67) => udp.payload.first() == Some(&BOOTREPLY),
        _ => false,
    }
}

/// From port 547, to port 546, or a server's message to a relay agent's port 547.
pub(super) fn is_server_v6(udp: &Udp<'_>) -> bool {
    match (udp.source_port, udp.destination_port) {
        (547, _) | (_, 546) => true,
        // An unseen message type, in a fragment cut behind the UDP header, counts as the worst.
        (_, 547) => udp.payload.first().is_none_or(|kind| DHCPV6_SERVER_MESSAGES.contains(kind)),
        _ => false,
    }
}
