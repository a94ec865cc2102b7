//! What the Ethernet header decides: A1, A2, A14, A15, and the sizes of A16.

use super::wire::{EXPERIMENT, HOST, VICTIM, ethernet};
use super::{CaseSource, Cases, PASS};
use crate::{DropReason, ETHERNET_HEADER_LEN, LanMtu, MacAddr};

const SOURCES: [(CaseSource, &str); 2] = [(CaseSource::Client, "from a client"), (CaseSource::Gateway, "from the gateway")];

/// A source MAC address that `source` may use.
fn own(cases: &Cases, source: CaseSource) -> MacAddr {
    match source {
        CaseSource::Client => cases.client,
        CaseSource::Gateway => HOST,
    }
}

/// A1, A2.
pub(super) fn source_addresses(cases: &mut Cases) {
    let octets = cases.client.0.map(u64::from).into_iter().fold(0, |number, octet| number << 8 | octet);
    for bit in (0..48).filter(|bit| *bit != 40) {
        let [_, _, mac @ ..] = (octets ^ 1 << bit).to_be_bytes();
        let reason = if mac == [0; 6] { DropReason::InvalidSourceMac } else { DropReason::UnauthorizedSourceMac };
        let frame = ethernet(HOST, MacAddr(mac), EXPERIMENT, &[0; 46]);
        cases.add(CaseSource::Client, Some(reason), format!("A1 the client's MAC address with bit {bit} flipped"), frame);
    }
    for (name, mac) in [("a LAN host", HOST), ("a victim", VICTIM)] {
        let frame = ethernet(MacAddr::BROADCAST, mac, EXPERIMENT, &[0; 46]);
        cases.add(CaseSource::Client, Some(DropReason::UnauthorizedSourceMac), format!("A1 broadcast as {name}"), frame.clone());
        cases.add(CaseSource::Gateway, PASS, format!("A1 the gateway speaks for {name}"), frame);
    }
    let [first, rest @ ..] = cases.client.0;
    let own_group = [&[first | 1][..], &rest].concat().try_into().map_or(MacAddr::BROADCAST, MacAddr);
    let invalid = [
        ("zero", MacAddr([0; 6])),
        ("broadcast", MacAddr::BROADCAST),
        ("IPv4 multicast", MacAddr([1, 0, 0x5e, 0, 0, 1])),
        ("IPv6 multicast", MacAddr([0x33, 0x33, 0, 0, 0, 1])),
        ("the client's with the group bit", own_group),
    ];
    for ((name, mac), (source, who)) in invalid.into_iter().flat_map(|bad| SOURCES.map(|source| (bad, source))) {
        let frame = ethernet(HOST, mac, EXPERIMENT, &[0; 46]);
        cases.add(source, Some(DropReason::InvalidSourceMac), format!("A2 source {name}, {who}"), frame);
    }
}

/// A14.
pub(super) fn control_plane(cases: &mut Cases) {
    let reserved = (0..0x30).map(|last| MacAddr([0x01, 0x80, 0xc2, 0, 0, last]));
    let cisco = [0xcc, 0xcd].map(|last| MacAddr([0x01, 0x00, 0x0c, 0xcc, 0xcc, last]));
    for dst in reserved.chain(cisco) {
        to_group(cases, Some(DropReason::ControlPlaneEtherType), dst);
    }
    for dst in [[0x01, 0x80, 0xc2, 0, 0, 0x30], [0x01, 0x80, 0xc2, 0, 1, 0], [0x01, 0, 0x0c, 0xcc, 0xcc, 0xce], [0x01, 0, 0x5e, 0, 0, 0xfb]]
    {
        to_group(cases, PASS, MacAddr(dst));
    }
    for kind in [0x8808, 0x8809, 0x8863, 0x8864, 0x888e, 0x88c7, 0x88cc, 0x88f5, 0x88f6, 0x8902, 0x9000] {
        cases.both(DropReason::ControlPlaneEtherType, &format!("A14 EtherType {kind:#06x}"), kind, &[0; 46]);
    }
    for kind in
        [0x8807, 0x880a, 0x8862, 0x8865, 0x888d, 0x888f, 0x88c6, 0x88c8, 0x88cb, 0x88cd, 0x88f4, 0x88f7, 0x8901, 0x8903, 0x8fff, 0x9001]
    {
        cases.both(PASS, &format!("A14 EtherType {kind:#06x}, beside a control one"), kind, &[0; 46]);
    }
    llc(cases);
}

fn to_group(cases: &mut Cases, verdict: Option<DropReason>, dst: MacAddr) {
    for (source, who) in SOURCES {
        let frame = ethernet(dst, own(cases, source), EXPERIMENT, &[0; 46]);
        cases.add(source, verdict, format!("A14 to {dst}, {who}"), frame);
    }
}

fn llc(cases: &mut Cases) {
    let behind_length: [(&str, u16, &[u8]); 9] = [
        ("a spanning tree BPDU to a unicast address", 38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]),
        ("CDP in SNAP", 30, &[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0]),
        ("IPv4 in SNAP", 46, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
        ("NetBEUI", 46, &[0xf0, 0xf0, 3]),
        ("IPX in LLC without opt-in", 46, &[0xe0, 0xe0, 3, 0xff, 0xff]),
        ("IPX in raw 802.3 without opt-in", 46, &[0xff, 0xff]),
        ("length 0", 0, &[]),
        ("length 1500", 1500, &[0x42, 0x42, 3]),
        ("type field 0x05ff", 0x5ff, &[0x42, 0x42, 3]),
    ];
    for (name, len, start) in behind_length {
        let mut payload = start.to_vec();
        payload.resize(46, 0);
        cases.both(DropReason::ControlPlaneEtherType, &format!("A14 LLC: {name}"), len, &payload);
    }
    cases.both(DropReason::ControlPlaneEtherType, "A14 IPX without opt-in", 0x8137, &[0xff; 46]);
    cases.both(PASS, "A14 type field 0x0600, the first that is no length", 0x600, &[0; 46]);
}

/// A15.
pub(super) fn tags(cases: &mut Cases) {
    let inside: [(&str, &[u8]); 4] = [
        ("VID 5", &[0, 5, 8, 0]),
        ("VID 0 with priority 7", &[0xe0, 0, 8, 0]),
        ("a second tag inside", &[0, 1, 0x81, 0, 0, 5, 8, 0]),
        ("nothing behind it", &[]),
    ];
    for kind in [0x8100, 0x88a8, 0x88e7, 0x9100, 0x9200] {
        for (name, tag) in inside {
            cases.both(DropReason::VlanTaggedFrame, &format!("A15 tag {kind:#06x}, {name}"), kind, tag);
        }
    }
    for kind in [0x80ff, 0x8101, 0x88a7, 0x88a9, 0x88e6, 0x88e8, 0x90ff, 0x9101, 0x91ff, 0x9201] {
        cases.both(PASS, &format!("A15 EtherType {kind:#06x}, beside a tag"), kind, &[0; 46]);
    }
    let bpdu = ethernet(MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]), cases.client, 0x8100, &[0, 5, 0, 38, 0x42, 0x42, 3]);
    cases.add(CaseSource::Client, Some(DropReason::VlanTaggedFrame), "A15 a tagged BPDU is named for its tag", bpdu);
}

/// A16, the sizes.
pub(super) fn sizes(cases: &mut Cases, lan_mtu: LanMtu) {
    let max = lan_mtu.frame_len_max();
    let malformed = (0..ETHERNET_HEADER_LEN).map(|len| (len, Some(DropReason::Malformed)));
    let fits = [14, 15, 59, 60, 61, max - 1, max].map(|len| (len, PASS));
    let exceeds = [max + 1, max + 4, 9014, 65_535].map(|len| (len, Some(DropReason::TapMtuExceeded)));
    for (len, verdict) in malformed.chain(fits).chain(exceeds) {
        for (source, who) in SOURCES {
            let mut frame = ethernet(HOST, own(cases, source), EXPERIMENT, &[]);
            frame.resize(len, 0);
            cases.add(source, verdict, format!("A16 {len} bytes, {who}"), frame);
        }
    }
}
