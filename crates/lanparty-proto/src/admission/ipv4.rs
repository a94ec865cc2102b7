//! A5, A10, A16, A20 for IPv4: lengths agree, fragments hide nothing, and clients are no DHCP servers and no multicast routers.

use super::{Source, dhcp};
use crate::DropReason;
use crate::multicast::IGMP_ROUTER;
use crate::packet::{Ipv4Packet, Udp, protocol};

/// A first UDP fragment shows its header and the word that says what BOOTP it is.
const UDP_FIRST_FRAGMENT_LEN_MIN: usize = 8 + 4;

pub(super) fn check(payload: &[u8], source: Source) -> Result<(), DropReason> {
    let packet = Ipv4Packet::read(payload)?;
    match packet.fragment_offset {
        0 if packet.protocol == protocol::UDP => check_udp(&packet, source),
        0 if packet.protocol == protocol::IGMP => check_igmp(&packet, source),
        // No honest first fragment is eight bytes long; one at offset 1 overwrites what was checked (RFC 1858, RFC 3128).
        1 => Err(DropReason::Malformed),
        _ => Ok(()),
    }
}

fn check_udp(packet: &Ipv4Packet<'_>, source: Source) -> Result<(), DropReason> {
    let udp = Udp::read(packet.payload).ok_or(DropReason::Malformed)?;
    let tiny = packet.more_fragments && packet.payload.len() < UDP_FIRST_FRAGMENT_LEN_MIN;
    if tiny || !udp.len_is_honest(!packet.more_fragments) {
        return Err(DropReason::Malformed);
    }
    match source {
        Source::Client(_) if dhcp::is_server_v4(&udp) => Err(DropReason::DhcpServerReply),
        _ => Ok(()),
    }
}

fn check_igmp(packet: &Ipv4Packet<'_>, source: Source) -> Result<(), DropReason> {
    let kind = packet.payload.first().ok_or(DropReason::Malformed)?;
    if matches!(source, Source::Client(_)) && IGMP_ROUTER.contains(kind) { Err(DropReason::MulticastQuery) } else { Ok(()) }
}
