//! A4, A6-A9, A16, A20 for IPv6: the whole header chain is read, and clients are neither routers nor DHCP servers nor
//! somebody else.
//!
//! From the gateway only what every receiver must refuse anyway is dropped: contradicting lengths, chains cut by a
//! fragment (RFC 7112), neighbour discovery in fragments (RFC 6980).

use super::{AdmissionPolicy, Source, dhcp};
use crate::multicast::MLD_ROUTER;
use crate::packet::{Ipv6Fragment, Ipv6Packet, Udp, nd_type, protocol};
use crate::{DropReason, MacAddr};

const ND_HOP_LIMIT: u8 = 255;

pub(super) fn check(payload: &[u8], source: Source, policy: &AdmissionPolicy) -> Result<(), DropReason> {
    let packet = Ipv6Packet::read(payload)?;
    if !packet.has_upper_header() {
        return Ok(());
    }
    if matches!(source, Source::Client(_)) && !packet.upper_is_known() && !policy.allow_unknown_ipv6_headers {
        return Err(DropReason::Ipv6Chain);
    }
    match packet.upper {
        protocol::UDP => check_udp(&packet, source),
        protocol::ICMPV6 => check_icmpv6(&packet, source),
        // RFC 7112 §4: the first fragment holds the upper-layer header too.
        protocol::TCP if packet.fragment == Some(Ipv6Fragment::First) && packet.payload.len() < 20 => Err(DropReason::Ipv6Chain),
        _ => Ok(()),
    }
}

/// What a missing header means: hidden in a later fragment, or never there.
fn cut_off(packet: &Ipv6Packet<'_>) -> DropReason {
    if packet.is_whole() { DropReason::Malformed } else { DropReason::Ipv6Chain }
}

fn check_udp(packet: &Ipv6Packet<'_>, source: Source) -> Result<(), DropReason> {
    let udp = Udp::read(packet.payload).ok_or_else(|| cut_off(packet))?;
    if !udp.len_is_honest(packet.is_whole()) {
        return Err(DropReason::Malformed);
    }
    match source {
        Source::Client(_) if dhcp::is_server_v6(&udp) => Err(DropReason::DhcpServerReply),
        _ => Ok(()),
    }
}

fn check_icmpv6(packet: &Ipv6Packet<'_>, source: Source) -> Result<(), DropReason> {
    let kind = *packet.payload.first().ok_or_else(|| cut_off(packet))?;
    if matches!(source, Source::Client(_)) && MLD_ROUTER.contains(&kind) {
        return Err(DropReason::MulticastQuery);
    }
    if !(nd_type::ROUTER_SOLICITATION..=nd_type::REDIRECT).contains(&kind) {
        return Ok(());
    }
    if packet.fragment.is_some() {
        return Err(DropReason::Ipv6Fragment);
    }
    let Source::Client(mac) = source else { return Ok(()) };
    match kind {
        nd_type::ROUTER_ADVERTISEMENT => Err(DropReason::Ipv6RouterAdvertisement),
        nd_type::REDIRECT => Err(DropReason::Ipv6Redirect),
        _ if packet.hop_limit != ND_HOP_LIMIT => Err(DropReason::BadNd),
        nd_type::ROUTER_SOLICITATION => check_nd_options(packet.payload.get(8..), mac),
        // NEIGHBOUR_SOLICITATION and NEIGHBOUR_ADVERTISEMENT: options behind the target address.
        _ => check_nd_options(packet.payload.get(24..), mac),
    }
}

/// Every source and target link-layer address option (RFC 4861 §4.6.1) names the client's own MAC address.
fn check_nd_options(options: Option<&[u8]>, mac: MacAddr) -> Result<(), DropReason> {
    let mut rest = options.ok_or(DropReason::Malformed)?;
    while !rest.is_empty() {
        let len = rest.get(1).map_or(0, |units| usize::from(*units) * 8);
        // RFC 4861 §4.6: a length of zero is refused, and would hold this loop for ever.
        let (option, behind) = rest.split_at_checked(len).filter(|_| len > 0).ok_or(DropReason::Malformed)?;
        match option {
            [1 | 2, 1, address @ ..] if *address == mac.0 => {}
            [1 | 2, ..] => return Err(DropReason::NdSpoof),
            _ => {}
        }
        rest = behind;
    }
    Ok(())
}
