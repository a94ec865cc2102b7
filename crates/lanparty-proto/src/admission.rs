//! Which frames may cross a boundary. One pure function, [`admit`], asked on the way out, at the relay, and on the way
//! in: a node never trusts that another one asked (THREATS.md A1-A16).
//!
//! Precedence, so that a frame with two faults is always dropped for the same one: too short for a header; source MAC
//! invalid, then unauthorized; VLAN tag; control plane; what the payload says (lengths before meaning); multicast that the room does not
//! carry; size last, LAN MTU before budget. Size is last on purpose: `TapMtuExceeded` and `DatagramBudget` then mean that *only* the size is
//! wrong, and whoever answers or fragments such a frame need not fear what is in it.
//!
//! Left to others: who owns an IP address (it needs a binding table), rates, storms, loops.

mod arp;
mod dhcp;
mod ipv4;
mod ipv6;
mod link;

use crate::packet::ethertype;
use crate::{DatagramBudget, DropReason, Frame, LanMtu, MacAddr, MulticastPolicy, frame_fits};

/// Who sent the frame, as the node that checks it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The member that bridges a physical LAN: any MAC address, router and DHCP server included.
    Gateway,
    /// A member with this one MAC address, which it announced and the relay accepted.
    Client(MacAddr),
}

/// What a room lets through beyond the defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdmissionPolicy {
    /// The IP MTU promised to every member.
    pub lan_mtu: LanMtu,
    /// Whether clients may send IPv6 next-header values that we do not know, and so cannot look behind.
    pub allow_unknown_ipv6_headers: bool,
    /// Whether IPX passes: EtherType 0x8137, and the LLC and raw 802.3 forms that old games use.
    pub allow_ipx: bool,
    /// Which multicast passes.
    pub multicast: MulticastPolicy,
}

impl AdmissionPolicy {
    /// Nothing unknown, no IPX, all multicast.
    #[must_use]
    pub const fn new(lan_mtu: LanMtu) -> Self {
        Self { lan_mtu, allow_unknown_ipv6_headers: false, allow_ipx: false, multicast: MulticastPolicy::All }
    }
}

/// The frame in `bytes`, when `source` may send it and it fits.
///
/// `budget` is the path it would leave by; a boundary that sends nothing to the network passes `None`.
///
/// # Errors
/// The one [`DropReason`] that comes first in the module's precedence.
pub fn admit<'a>(
    bytes: &'a [u8],
    source: Source,
    policy: &AdmissionPolicy,
    budget: Option<DatagramBudget>,
) -> Result<Frame<'a>, DropReason> {
    let frame = Frame::parse(bytes)?;
    link::check_source(&frame, source)?;
    link::check_type(&frame, policy)?;
    match frame.ethertype() {
        ethertype::IPV4 => ipv4::check(frame.payload(), source)?,
        ethertype::IPV6 => ipv6::check(frame.payload(), source, policy)?,
        ethertype::ARP | ethertype::RARP => arp::check(frame.payload(), source)?,
        _ => {}
    }
    policy.multicast.judge(&frame)?;
    frame_fits(bytes.len(), policy.lan_mtu, budget)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const POLICY: AdmissionPolicy = AdmissionPolicy::new(LanMtu::MAX);

    fn frame(src: [u8; 6], kind: u16, payload_len: usize) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 9][..], &src, &kind.to_be_bytes(), &vec![0; payload_len]].concat()
    }

    #[test]
    fn tap_mtu_and_budget_are_named_only_when_all_else_is_right() {
        let (good, bad) = (CLIENT.0, [2, 0, 0, 0, 0, 2]);
        let verdict = |src, kind, len| admit(&frame(src, kind, len), Source::Client(CLIENT), &POLICY, Some(DatagramBudget(1000))).err();
        assert_eq!(verdict(good, 0x88b5, 1501), Some(DropReason::TapMtuExceeded));
        assert_eq!(verdict(good, 0x88b5, 1500), Some(DropReason::DatagramBudget));
        assert_eq!(verdict(good, 0x88b5, 900), None);
        assert_eq!(verdict(bad, 0x88b5, 1501), Some(DropReason::UnauthorizedSourceMac));
        assert_eq!(verdict(good, 0x8100, 1501), Some(DropReason::VlanTaggedFrame));
        assert_eq!(verdict(good, 0x88cc, 1501), Some(DropReason::ControlPlaneEtherType));
        assert_eq!(verdict(good, 0x0800, 1501), Some(DropReason::Malformed));
    }

    #[test]
    fn an_invalid_source_is_named_before_an_unauthorized_one() {
        for src in [[0; 6], [0xff; 6], [1, 0, 0, 0, 0, 0]] {
            for source in [Source::Client(CLIENT), Source::Gateway] {
                assert_eq!(admit(&frame(src, 0x88b5, 46), source, &POLICY, None), Err(DropReason::InvalidSourceMac));
            }
        }
    }

    #[test]
    fn ipx_passes_in_its_three_forms_when_the_room_opted_in_and_other_llc_never() {
        let opted_in = AdmissionPolicy { allow_ipx: true, ..POLICY };
        let llc = |a, b, len| {
            let mut llc = frame(CLIENT.0, len, 46);
            llc[14..16].copy_from_slice(&[a, b]);
            llc
        };
        for ipx in [frame(CLIENT.0, 0x8137, 46), llc(0xe0, 0xe0, 34), llc(0xff, 0xff, 46)] {
            assert!(admit(&ipx, Source::Client(CLIENT), &opted_in, None).is_ok());
            assert_eq!(admit(&ipx, Source::Client(CLIENT), &POLICY, None), Err(DropReason::ControlPlaneEtherType));
        }
        for (other, why) in [
            (llc(0x42, 0x42, 38), DropReason::ControlPlaneEtherType),
            (llc(0xaa, 0xaa, 38), DropReason::ControlPlaneEtherType),
            (llc(0xe0, 0x42, 38), DropReason::ControlPlaneEtherType),
            (llc(0xe0, 0xe0, 47), DropReason::Malformed),
        ] {
            assert_eq!(admit(&other, Source::Client(CLIENT), &opted_in, None), Err(why));
        }
    }
}
