//! What the Ethernet header alone decides: whose frame it is, and whether it belongs to the LAN's own machinery.

use super::{AdmissionPolicy, Source};
use crate::packet::ethertype;
use crate::{DropReason, Frame, MacAddr};

/// Type fields below this are 802.3 lengths, and what follows is LLC (IEEE 802.3 §3.2.6).
const ETHERTYPE_MIN: u16 = 0x600;

/// A1, A2: the source is a unicast address, and a client's own.
pub(super) fn check_source(frame: &Frame<'_>, source: Source) -> Result<(), DropReason> {
    let src = frame.src();
    if !src.is_valid_source() {
        return Err(DropReason::InvalidSourceMac);
    }
    match source {
        Source::Client(mac) if mac != src => Err(DropReason::UnauthorizedSourceMac),
        _ => Ok(()),
    }
}

/// A14, A15: no tags, no link-local control traffic, in either direction. A tunnel that carried them would join two
/// spanning trees, or let a member answer for a switch.
pub(super) fn check_type(frame: &Frame<'_>, policy: &AdmissionPolicy) -> Result<(), DropReason> {
    let kind = frame.ethertype();
    if is_tag(kind) {
        return Err(DropReason::VlanTaggedFrame);
    }
    if is_control_address(frame.dst()) || is_control_type(kind) {
        return Err(DropReason::ControlPlaneEtherType);
    }
    if kind >= ETHERTYPE_MIN && kind != ethertype::IPX {
        return Ok(());
    }
    if !policy.allow_ipx { Err(DropReason::ControlPlaneEtherType) } else { check_ipx(frame) }
}

/// 802.1Q, 802.1ad, 802.1ah and the values that switches used for stacked tags before 802.1ad.
const fn is_tag(kind: u16) -> bool {
    matches!(kind, 0x8100 | 0x88a8 | 0x88e7 | 0x9100 | 0x9200)
}

/// The 48 addresses that 802.1Q reserves for bridges and GARP, and Cisco's CDP/VTP and PVST+.
const fn is_control_address(dst: MacAddr) -> bool {
    matches!(dst.0, [0x01, 0x80, 0xc2, 0, 0, 0..=0x2f] | [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc | 0xcd])
}

/// Pause, LACP and OAM, PPPoE, EAPOL, preauthentication, LLDP, MVRP, MMRP, CFM, loopback test.
const fn is_control_type(kind: u16) -> bool {
    matches!(kind, 0x8808 | 0x8809 | 0x8863 | 0x8864 | 0x888e | 0x88c7 | 0x88cc | 0x88f5 | 0x88f6 | 0x8902 | 0x9000)
}

/// IPX in its own EtherType, behind LLC (DSAP and SSAP 0xE0), or in raw 802.3 (its checksum field, always 0xFFFF).
fn check_ipx(frame: &Frame<'_>) -> Result<(), DropReason> {
    let (kind, payload) = (frame.ethertype(), frame.payload());
    if kind == ethertype::IPX {
        return Ok(());
    }
    match payload {
        [0xe0, 0xe0, ..] | [0xff, 0xff, ..] if usize::from(kind) > payload.len() => Err(DropReason::Malformed),
        [0xe0, 0xe0, ..] | [0xff, 0xff, ..] => Ok(()),
        _ => Err(DropReason::ControlPlaneEtherType),
    }
}
