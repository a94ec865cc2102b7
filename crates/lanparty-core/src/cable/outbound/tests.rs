use etherparse::PacketBuilder;
use lanparty_proto::{Checksum, MacAddr};

use super::*;

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 9];
const TAG: [u8; 4] = [0x81, 0, 0, 5];
const MTU: u16 = 1400;

struct Bench {
    outbound: CableOutbound,
    loops: CableLoops,
    work: OutboundWork,
}

impl Bench {
    fn new() -> Self {
        let loops = CableLoops::new("cable0", MacAddr(A), Instant::now());
        Self { outbound: CableOutbound::new(CableGuard::Open, false), loops, work: OutboundWork::default() }
    }

    /// Sends one frame over a path that takes frames of the LAN MTU, and `spare` bytes more.
    fn send(&mut self, frame: &[u8], spare: u16) -> &OutboundWork {
        let mut batch = FrameBatch::new();
        batch.push(&[frame]);
        let lan_mtu = LanMtu::new(MTU).unwrap();
        let path = PathSize::settled(DatagramBudget(DatagramBudget::for_lan_mtu(lan_mtu).0 + spare));
        self.work = OutboundWork::default();
        self.outbound.process(&mut batch, Some(&CableEnd::new(true, lan_mtu)), &mut self.loops, path, Instant::now(), &mut self.work);
        assert!(self.outbound.counters().is_conserved(0));
        &self.work
    }
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &TAG, &frame[12..]].concat()
}

/// An IPv4 packet of `len` bytes.
fn udp(len: usize, dont_fragment: bool) -> Vec<u8> {
    let mut frame = vec![];
    PacketBuilder::ethernet2(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(5, 6).write(&mut frame, &vec![7; len - 28]).unwrap();
    frame[20] = if dont_fragment { 0x40 } else { 0 };
    frame[24..26].fill(0);
    let sum = Checksum::default().with(&frame[14..34]).field();
    frame[24..26].copy_from_slice(&sum);
    frame
}

#[test]
fn a_frame_leaves_as_it_is_behind_the_number_of_its_end() {
    let mut bench = Bench::new();
    for frame in [udp(usize::from(MTU), true), [&A[..], &B, &[0x88, 0xcc], &[0; 46]].concat()] {
        assert_eq!(bench.send(&frame, 0).datagrams, [Bytes::from([&[0x10, 0, 1], &frame[..]].concat())]);
    }
}

#[test]
fn a_full_packet_beneath_a_tag_passes_where_the_path_has_room_for_the_tag() {
    let (mut bench, full) = (Bench::new(), tagged(&udp(usize::from(MTU), true)));
    assert_eq!(bench.send(&full, 4).datagrams.len(), 1);
    let work = bench.send(&full, 0);
    assert!(work.datagrams.is_empty(), "the path would lose it");
    // Its sender is told what fits with the tag, beneath the same tag.
    let answer = &work.answers[0];
    assert_eq!((&answer[..6], &answer[12..16], &answer[16..18]), (&A[..], &TAG[..], &[8, 0][..]));
    assert_eq!(answer[18 + 20 + 6..][..2], (MTU - 4).to_be_bytes());
    assert_eq!(bench.outbound.ladder().too_big_v4, 1);
    assert_eq!(bench.send(&tagged(&udp(usize::from(MTU) - 4, true)), 0).datagrams.len(), 1, "what was told fits");
}

#[test]
fn while_the_path_is_searched_a_sender_is_told_what_was_agreed_less_its_tag() {
    let lan_mtu = LanMtu::new(MTU).unwrap();
    let told = |tags_len, budget| limits(tags_len, lan_mtu, PathSize { budget: DatagramBudget(budget), settled: false });
    let mtu = |bytes| LanMtu::new(bytes).unwrap();
    assert_eq!(told(4, MTU + 17), Ok(Limits::of(mtu(MTU - 4), lan_mtu, mtu(MTU - 4))));
    assert_eq!(told(4, 1200), Ok(Limits::of(mtu(1200 - 17 - 4), lan_mtu, mtu(MTU - 4))));
    assert_eq!(told(0, 1200), Ok(Limits::of(mtu(1200 - 17), lan_mtu, lan_mtu)));
    assert_eq!(told(0, 100), Err(DropReason::DatagramBudget));
}

#[test]
fn what_may_be_fragmented_is_beneath_its_tag() {
    let mut bench = Bench::new();
    let work = bench.send(&tagged(&udp(1500, false)), 0);
    assert_eq!(work.datagrams.len(), 2);
    for piece in &work.datagrams {
        assert_eq!((&piece[15..19], &piece[19..21]), (&TAG[..], &[8, 0][..]));
        assert!(piece.len() <= usize::from(MTU) + 17);
    }
}

#[test]
fn a_segment_size_is_clamped_beneath_a_tag() {
    let syn = |mss| {
        let mut frame = vec![];
        let tcp = PacketBuilder::ethernet2(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(5, 6, 1, 1000).syn();
        tcp.options(&[etherparse::TcpOptionElement::MaximumSegmentSize(mss)]).unwrap().write(&mut frame, &[]).unwrap();
        frame
    };
    let mut bench = Bench::new();
    for (sent, spare, expected) in
        [(syn(1460), 0, syn(MTU - 40)), (tagged(&syn(1460)), 0, tagged(&syn(MTU - 44))), (tagged(&syn(1460)), 4, tagged(&syn(MTU - 40)))]
    {
        assert_eq!(bench.send(&sent, spare).datagrams[0][3..], expected);
    }
    assert_eq!(bench.outbound.ladder().mss_clamped, 3);
}

#[test]
fn what_nobody_can_be_told_of_is_dropped_by_name() {
    let mut bench = Bench::new();
    let other = |len: usize| [&B[..], &A, &[0x88, 0xb5], &vec![0; len]].concat();
    for (frame, reason) in [(other(1401), DropReason::TapMtuExceeded), (tagged(&other(1400)), DropReason::DatagramBudget)] {
        assert!(bench.send(&frame, 0).datagrams.is_empty());
        assert_eq!(bench.outbound.counters().dropped(reason), 1, "{reason}");
    }
}

#[test]
fn an_unplugged_cable_drops_by_name() {
    let mut bench = Bench::new();
    let mut batch = FrameBatch::new();
    batch.push(&[&udp(100, false)]);
    bench.outbound.process(&mut batch, None, &mut bench.loops, PathSize::settled(DatagramBudget(0)), Instant::now(), &mut bench.work);
    assert_eq!(bench.outbound.counters().dropped(DropReason::LinkDown), 1);
}

#[test]
fn one_host_is_one_mac_address() {
    let mut bench = Bench { outbound: CableOutbound::new(CableGuard::OneHost(MacAddr(A)), false), ..Bench::new() };
    assert_eq!(bench.send(&udp(100, false), 0).datagrams.len(), 1);
    assert!(bench.send(&tagged(&udp(100, false)), 0).datagrams.is_empty());
    assert_eq!(bench.outbound.counters().dropped(DropReason::VlanTaggedFrame), 1);
    assert_eq!(bench.send(&udp(1500, true), 0).answers.len(), 1, "the ladder is the same");
}
