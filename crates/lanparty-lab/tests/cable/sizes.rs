//! The LAN MTU of a cable, and frames that are too large for it.

use std::time::{Duration, Instant};

use lanparty_lab::{Narrow, Requirements, Routers, Tool, ping_with};
use lanparty_proto::{Checksum, MacAddr};

use crate::bench::{Bench, CABLE, eventually, mtu_of};
use crate::capture::Capture;
use crate::injector::Injector;
use crate::programs::SOON;

/// What a wire of so many bytes leaves: IP and UDP headers, QUIC's, ours, Ethernet's.
const OVERHEAD: u64 = 28 + 38 + 3 + 14;
/// The search ends when it knows the size to so many bytes.
const STEP: u64 = 8;

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft]).ready_or_skip()
}

#[test]
fn the_lan_mtu_is_what_the_wire_carries_and_both_interfaces_follow() {
    if !ready() {
        return;
    }
    let bench = Bench::new("narrow");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let narrow = Narrow::put_before(&bench.pair.lab, &bench.pair.internet, b, 12).unwrap();
    narrow.set_routers(Routers::Silent).unwrap();
    narrow.set_mtu(1400).unwrap();
    let _ends = bench.plug_in(&[]);
    let expected = |wire: u64| (wire - OVERHEAD - STEP)..=(wire - OVERHEAD);
    let mtu = mtu_of(a, CABLE);
    println!("a wire of 1400 bytes: LAN MTU {mtu}");
    assert!(expected(1400).contains(&mtu), "{mtu}");
    assert_eq!((mtu_of(b, CABLE), bench.status(b)["lan_mtu"].as_u64()), (mtu, Some(mtu)));
    let full = (mtu - 28).to_string();
    assert_eq!(ping_with(a, Bench::B, 3, &["-s", &full, "-M", "do"]).unwrap().received, 3, "a packet of exactly that size crosses");
    bench.transfer(2_000_000);
    // The wire shrinks in silence while frames cross.
    narrow.set_mtu(1300).unwrap();
    let shrunk = Instant::now();
    bench.transfer(2_000_000);
    eventually("both interfaces have followed", || [a, b].iter().all(|host| expected(1300).contains(&mtu_of(host, CABLE))));
    println!("a wire of 1300 bytes: LAN MTU {} after {:?}", mtu_of(a, CABLE), shrunk.elapsed());
    bench.transfer(2_000_000);
}

#[test]
fn a_cable_over_ipv6_promises_what_its_larger_header_leaves() {
    if !ready() {
        return;
    }
    let bench = Bench::new("ipv6");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    for (host, last) in [(a, 1), (b, 2)] {
        host.ip(&format!("addr add fd00:99::{last}/64 dev wan nodad")).unwrap();
    }
    let ends = (bench.start(a, &[]), bench.start(b, &["--remote", "fd00:99::1"]));
    ends.1.wait_for("the cable is plugged in remote=[fd00:99::1]:8442", SOON).unwrap();
    bench.address(a);
    bench.address(b);
    assert!((1397 - STEP..=1397).contains(&mtu_of(a, CABLE)), "{}", mtu_of(a, CABLE));
    bench.transfer(1_000_000);
}

#[test]
fn the_smaller_wish_of_both_ends_counts() {
    if !ready() {
        return;
    }
    let bench = Bench::new("wish");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let ends = [bench.start(a, &["--mtu", "1350"]), bench.start(b, &["--remote", "10.99.0.11", "--mtu", "1300"])];
    for end in &ends {
        end.wait_for("LAN MTU is 1300", SOON).unwrap();
    }
    assert_eq!((mtu_of(a, CABLE), mtu_of(b, CABLE)), (1300, 1300));
}

/// UDP in IPv4 of `len` bytes from `a` to `b`, beneath a VLAN tag.
fn tagged_udp(macs: [MacAddr; 2], len: u16, dont_fragment: bool) -> Vec<u8> {
    let mut ip = [&[0x45, 0][..], &len.to_be_bytes(), &[0, 7, if dont_fragment { 0x40 } else { 0 }, 0, 64, 17, 0, 0]].concat();
    ip.extend(Bench::A.octets());
    ip.extend(Bench::B.octets());
    let sum = Checksum::default().with(&ip).field();
    ip[10..12].copy_from_slice(&sum);
    let udp = [&[0, 5, 0, 6][..], &(len - 20).to_be_bytes(), &[0, 0], &vec![7; usize::from(len) - 28]].concat();
    [&macs[1].0[..], &macs[0].0, &TAG, &[8, 0], &ip, &udp].concat()
}

const TAG: [u8; 4] = [0x81, 0, 0, 5];

#[test]
fn a_full_packet_beneath_a_vlan_tag_is_answered_or_cut_up_beneath_it() {
    if !ready() {
        return;
    }
    let bench = Bench::new("vlan");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let _ends = bench.plug_in(&[]);
    let macs = [a, b].map(|host| host.mac(CABLE).unwrap().parse().unwrap());
    let (mut injector, mut here, mut there) = (Injector::plug(a, CABLE), Capture::open(a, CABLE), Capture::open(b, CABLE));
    // The LAN MTU is 1,417, and on this wire there is no room for a tag beside so much.
    injector.send(&tagged_udp(macs, 1417, true));
    let answer =
        std::iter::from_fn(|| here.next(Duration::from_secs(2))).find(|frame| frame[..6] == macs[0].0 && frame[12..16] == TAG).unwrap();
    assert_eq!((&answer[18 + 20..][..2], &answer[18 + 20 + 6..][..2]), (&[3, 4][..], &1413u16.to_be_bytes()[..]), "too big, and what fits");
    for (frame, pieces) in [(tagged_udp(macs, 1413, true), 1), (tagged_udp(macs, 1417, false), 2)] {
        injector.send(&frame);
        let came: Vec<_> = std::iter::from_fn(|| there.next(Duration::from_millis(500))).filter(|frame| frame[12..16] == TAG).collect();
        assert_eq!(came.len(), pieces);
        assert!(came.iter().all(|piece| piece.len() <= 1413 + 18 && piece[16..18] == [8, 0]));
    }
    let ladder = &bench.status(a)["frames"]["ladder"];
    assert_eq!((&ladder["too_big_v4"], &ladder["fragmented"], &ladder["fragments"]), (&1.into(), &1.into(), &2.into()), "{ladder}");
    bench.assert_conserved();
}
