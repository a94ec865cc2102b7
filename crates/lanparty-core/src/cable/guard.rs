//! What may pass a cable.
//!
//! A cable belongs to whoever holds both its ends, so nobody is kept from being a switch, a router or a DHCP server on it:
//! tags and the control traffic of LANs pass, and LACP, LLDP and spanning trees with them. What stops is what no cable
//! carries, and what would harm whoever receives it: the runt, the impossible sender, and MAC control (a PAUSE frame is
//! for the next port of a wire, which here is not there; it would stop a port of somebody else's).

use lanparty_proto::{AdmissionPolicy, DropReason, Frame, LanMtu, MacAddr, Source, admit};

use super::tags;

/// The address of MAC control (IEEE 802.3 annex 31B): no bridge forwards it (802.1Q table 8-1).
const MAC_CONTROL_ADDRESS: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x01]);
/// The EtherType of MAC control (IEEE 802.3 §31.4.1.3): PAUSE and its kind for each priority.
const MAC_CONTROL: u16 = 0x8808;

/// What is let through in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CableGuard {
    /// Everything but what harms.
    Open,
    /// One host with this MAC address, which is neither switch nor router nor DHCP server: what a room admits from a client.
    OneHost(MacAddr),
}

impl CableGuard {
    /// Whether a frame may pass; its size is not looked at.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, DropReason> {
        match self {
            Self::Open => admit_open(bytes),
            Self::OneHost(mac) => match admit(bytes, Source::Client(*mac), &AdmissionPolicy::new(LanMtu::MAX), None) {
                Err(DropReason::TapMtuExceeded) => Frame::parse(bytes),
                admitted => admitted,
            },
        }
    }
}

fn admit_open(bytes: &[u8]) -> Result<Frame<'_>, DropReason> {
    let frame = Frame::parse(bytes)?;
    if !frame.src().is_valid_source() {
        return Err(DropReason::InvalidSourceMac);
    }
    if frame.dst() == MAC_CONTROL_ADDRESS || frame.ethertype() == MAC_CONTROL {
        return Err(DropReason::ControlPlaneEtherType);
    }
    if tags::is_cut_off(bytes) { Err(DropReason::Malformed) } else { Ok(frame) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn frame(dst: [u8; 6], src: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
        [&dst[..], &src, &kind.to_be_bytes(), payload].concat()
    }

    fn verdict(guard: CableGuard, bytes: &[u8]) -> Result<(), DropReason> {
        guard.admit(bytes).map(|_| ())
    }

    #[test]
    fn what_lans_say_to_each_other_passes_and_is_stopped_where_one_host_is_expected() {
        let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
        let frames = [
            ("spanning tree", frame(group(0), HOST.0, 0x27, &[0x42, 0x42, 3, 0]), DropReason::ControlPlaneEtherType),
            ("LACP", frame(group(2), HOST.0, 0x8809, &[1; 110]), DropReason::ControlPlaneEtherType),
            ("LLDP", frame(group(0x0e), HOST.0, 0x88cc, &[0; 46]), DropReason::ControlPlaneEtherType),
            ("EAPOL", frame(group(3), HOST.0, 0x888e, &[0; 46]), DropReason::ControlPlaneEtherType),
            ("VLAN", frame([0xff; 6], HOST.0, 0x8100, &[0, 5, 8, 6]), DropReason::VlanTaggedFrame),
            ("QinQ", frame([0xff; 6], HOST.0, 0x88a8, &[0, 5, 0x81, 0, 0, 6, 8, 0]), DropReason::VlanTaggedFrame),
            ("another host", frame([0xff; 6], [2, 0, 0, 0, 0, 9], 0x88b5, &[0; 46]), DropReason::UnauthorizedSourceMac),
        ];
        for (what, bytes, why) in frames {
            assert_eq!(verdict(CableGuard::Open, &bytes), Ok(()), "{what}");
            assert_eq!(verdict(CableGuard::OneHost(HOST), &bytes), Err(why), "{what}");
        }
    }

    #[test]
    fn what_harms_passes_nowhere() {
        let pause = [0, 1, 0xff, 0xff];
        let frames = [
            ("PAUSE", frame(MAC_CONTROL_ADDRESS.0, HOST.0, MAC_CONTROL, &pause), DropReason::ControlPlaneEtherType),
            ("PAUSE to one port", frame([2, 0, 0, 0, 0, 9], HOST.0, MAC_CONTROL, &pause), DropReason::ControlPlaneEtherType),
            ("its address alone", frame(MAC_CONTROL_ADDRESS.0, HOST.0, 0x800, &pause), DropReason::ControlPlaneEtherType),
            ("a group as sender", frame(HOST.0, [0xff; 6], 0x88b5, &[0; 46]), DropReason::InvalidSourceMac),
            ("nobody as sender", frame(HOST.0, [0; 6], 0x88b5, &[0; 46]), DropReason::InvalidSourceMac),
            ("a runt", vec![2; 13], DropReason::Malformed),
            ("half a tag", frame([0xff; 6], HOST.0, 0x8100, &[0, 5, 8]), DropReason::Malformed),
        ];
        for (what, bytes, why) in frames {
            assert_eq!(verdict(CableGuard::Open, &bytes), Err(why), "{what}");
            assert!(verdict(CableGuard::OneHost(HOST), &bytes).is_err(), "{what}");
        }
    }

    #[test]
    fn no_size_is_judged_here() {
        let long = frame([0xff; 6], HOST.0, 0x88b5, &[0; 3000]);
        assert_eq!((verdict(CableGuard::Open, &long), verdict(CableGuard::OneHost(HOST), &long)), (Ok(()), Ok(())));
    }
}
