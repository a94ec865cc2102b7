//! A3, the part that needs no binding table: ARP speaks for the hardware address it was sent from (RFC 826).

use super::Source;
use crate::{DropReason, MacAddr};

const ARP_LEN: usize = 28;
/// Ethernet, IPv4, six and four bytes: the only ARP there is on a LAN of games.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The sender hardware address is a client's own. Requests count as much as replies: receivers learn from both. A probe
/// (RFC 5227 §2.1.1) has a sender IP of zero and passes like any other.
pub(super) fn check(payload: &[u8], source: Source) -> Result<(), DropReason> {
    let Source::Client(mac) = source else { return Ok(()) };
    let arp: [u8; ARP_LEN] = *payload.first_chunk().ok_or(DropReason::Malformed)?;
    let [h0, h1, p0, p1, hardware_len, protocol_len, _, _, a, b, c, d, e, f, ..] = arp;
    if [h0, h1, p0, p1, hardware_len, protocol_len] != ETHERNET_IPV4 {
        return Err(DropReason::Malformed);
    }
    if MacAddr([a, b, c, d, e, f]) == mac { Ok(()) } else { Err(DropReason::ArpSpoof) }
}
