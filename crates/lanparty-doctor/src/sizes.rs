//! The arithmetic of the size contract (docs/mtu-contract.md), from IP packets down to the LAN MTU and back.

use std::net::SocketAddr;

use lanparty_proto::{DATAGRAM_HEADER_LEN, DatagramBudget, ETHERNET_HEADER_LEN, IPV6_LAN_MTU_MIN};

/// QUIC asks every path to carry UDP payloads of this many bytes (RFC 9000 §14).
pub(crate) const QUIC_PAYLOAD_MIN: u16 = 1200;
/// What QUIC adds to a datagram: short header, packet number, frame header, AEAD tag; as much as it ever may.
const QUIC_OVERHEAD: u16 = 38;
/// IPv4 and UDP headers.
const IPV4_UDP_HEADERS: u16 = 20 + 8;
/// IPv6 and UDP headers.
const IPV6_UDP_HEADERS: u16 = 40 + 8;
/// What an ordinary Ethernet wire carries, as an IP packet.
pub(crate) const ETHERNET_MTU: u16 = 1500;

/// IP and UDP headers toward `remote`; as over IPv4 where that is unknown.
pub(crate) fn headers(remote: Option<SocketAddr>) -> u16 {
    if remote.is_some_and(|r| r.is_ipv6()) { IPV6_UDP_HEADERS } else { IPV4_UDP_HEADERS }
}

/// The LAN MTU that a path of this many bytes of UDP payload allows; 0 when none.
pub(crate) fn lan_mtu_of_payload(payload: u16) -> u16 {
    lan_mtu_of_budget(payload.saturating_sub(QUIC_OVERHEAD))
}

/// The LAN MTU that a datagram budget allows; 0 when none.
pub(crate) fn lan_mtu_of_budget(budget: u16) -> u16 {
    DatagramBudget(budget).lan_mtu().map_or(0, u16::from)
}

/// The UDP payload that a LAN MTU needs.
pub(crate) fn payload_for(lan_mtu: u16) -> u16 {
    let ours = u16::try_from(DATAGRAM_HEADER_LEN + ETHERNET_HEADER_LEN).unwrap_or(u16::MAX);
    lan_mtu.saturating_add(ours).saturating_add(QUIC_OVERHEAD)
}

/// The wire MTU that a room with IPv6 needs: 1,363 over IPv4, 1,383 over IPv6.
pub(crate) fn wire_for_ipv6(remote: Option<SocketAddr>) -> u16 {
    payload_for(IPV6_LAN_MTU_MIN) + headers(remote)
}

/// The smallest wire MTU that QUIC works over.
pub(crate) fn wire_for_quic(remote: Option<SocketAddr>) -> u16 {
    QUIC_PAYLOAD_MIN + headers(remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_the_documented_one() {
        assert_eq!(lan_mtu_of_payload(1500 - 28), 1417);
        assert_eq!(lan_mtu_of_payload(1280 - 28), 1197);
        assert_eq!((wire_for_ipv6(None), wire_for_ipv6("[2001:db8::1]:443".parse().ok())), (1363, 1383));
        assert_eq!(lan_mtu_of_payload(payload_for(1280)), 1280);
    }
}
