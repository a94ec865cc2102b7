//! Segmentation and coalescing against each other, and both against an independent reading of the frames.

use bytes::Bytes;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use lanparty_proto::FrameBatch;
use proptest::prelude::*;

use super::coalesce::{Limits, next_run};
use super::layout::{Layout, TCP_FLAGS, TCP_PSH};
use super::segment::push_frames;
use super::vnet_hdr::{GsoKind, VnetHdr};
use super::{Run, VNET_HDR_LEN};

const LIMITS: Limits = Limits { udp: true, frame_len_max: usize::MAX };
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
/// Offset of the TCP or UDP header in the frames of these tests.
const L4: usize = 34;
const L4_V6: usize = 54;

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) >> 2) as u8).collect()
}

fn tcp4(seq: u32, id: u16, data: &[u8], flags: u8) -> Vec<u8> {
    let mut ip = etherparse::Ipv4Header::new(0, 64, etherparse::ip_number::TCP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    (ip.identification, ip.dont_fragment) = (id, true);
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(etherparse::IpHeaders::Ipv4(ip, Default::default()));
    finish_tcp(builder.tcp(5000, 80, seq, 500), data, L4, flags)
}

fn tcp6(seq: u32, data: &[u8], flags: u8) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv6([1; 16], [2; 16], 64);
    finish_tcp(builder.tcp(5000, 80, seq, 500), data, L4_V6, flags)
}

fn finish_tcp(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>, data: &[u8], l4: usize, flags: u8) -> Vec<u8> {
    let builder = builder.ack(77).options_raw(&[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8]).unwrap();
    let mut frame = Vec::new();
    builder.write(&mut frame, data).unwrap();
    frame[l4 + TCP_FLAGS] = flags;
    with_checksums(frame)
}

fn udp(v6: bool, id: u16, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1);
    if v6 {
        builder.ipv6([1; 16], [2; 16], 64).udp(5000, 27015).write(&mut frame, data).unwrap();
    } else {
        let mut ip = etherparse::Ipv4Header::new(0, 64, etherparse::ip_number::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        ip.identification = id;
        ip.dont_fragment = false;
        builder.ip(etherparse::IpHeaders::Ipv4(ip, Default::default())).udp(5000, 27015).write(&mut frame, data).unwrap();
    }
    with_checksums(frame)
}

/// Repairs the checksums of a frame that was edited.
fn with_checksums(mut frame: Vec<u8>) -> Vec<u8> {
    let layout = Layout::parse(&frame).unwrap();
    let len = frame.len();
    layout.write_ip_length(&mut frame, len);
    layout.write_transport_checksum(&mut frame);
    assert_sound(&frame);
    frame
}

/// Checks lengths and checksums with a parser and sums that are not ours.
#[track_caller]
fn assert_sound(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let net = packet.net.unwrap();
    let transport = packet.transport.unwrap();
    let (tcp, udp) = match &transport {
        TransportSlice::Tcp(tcp) => (Some((tcp.to_header(), tcp.payload())), None),
        TransportSlice::Udp(udp) => (None, Some((udp.to_header(), udp.payload()))),
        _ => panic!("neither TCP nor UDP"),
    };
    match &net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            assert_eq!(usize::from(header.total_len), frame.len() - 14);
            if let Some((tcp, data)) = tcp {
                assert_eq!(tcp.calc_checksum_ipv4(&header, data).unwrap(), tcp.checksum);
            }
            if let Some((udp, data)) = udp {
                assert_eq!(udp.calc_checksum_ipv4(&header, data).unwrap(), udp.checksum);
                assert_eq!(usize::from(udp.length), data.len() + 8);
            }
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.payload_length), frame.len() - 54);
            if let Some((tcp, data)) = tcp {
                assert_eq!(tcp.calc_checksum_ipv6(&header, data).unwrap(), tcp.checksum);
            }
            if let Some((udp, data)) = udp {
                assert_eq!(udp.calc_checksum_ipv6(&header, data).unwrap(), udp.checksum);
            }
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// A device that gives back what it was given: writes as super-frames, then reads and segments those.
fn through_super_frames(frames: &[Bytes], limits: Limits) -> (Vec<Vec<u8>>, Vec<usize>) {
    let (mut batch, mut runs, mut at) = (FrameBatch::new(), Vec::new(), 0);
    while at < frames.len() {
        let Run { frames: count, head } = next_run(&frames[at..], limits);
        match head {
            None => assert_eq!(push_frames(VnetHdr::default(), &frames[at], &mut batch), Ok(1)),
            Some(head) => {
                let (hdr, headers) = head.bytes().split_first_chunk().unwrap();
                let mut frame = headers.to_vec();
                frames[at..at + count].iter().for_each(|f| frame.extend(&f[head.payload_offset()..]));
                assert_eq!(push_frames(VnetHdr::from_bytes(hdr), &frame, &mut batch), Ok(count));
            }
        }
        runs.push(count);
        at += count;
    }
    let popped = std::iter::from_fn(|| batch.pop()).map(|f| f[FrameBatch::HEADROOM..].to_vec()).collect();
    (popped, runs)
}

#[track_caller]
fn assert_runs(frames: &[Vec<u8>], expected: &[usize]) {
    let frames: Vec<Bytes> = frames.iter().map(|f| Bytes::copy_from_slice(f)).collect();
    let (back, runs) = through_super_frames(&frames, LIMITS);
    assert_eq!(runs, expected);
    assert_eq!(back, frames);
}

const ACK: u8 = 0x10;
const PSH: u8 = TCP_PSH;

fn tcp4_flow(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|i| tcp4(1000 + i * 100, 7 + i as u16, &patterned(100), ACK)).collect()
}

#[test]
fn a_tcp_super_frame_becomes_segments_with_their_own_numbers_flags_and_sums() {
    let flags = 0x80 | PSH | ACK | 0x01;
    for (frame, l4, kind) in [
        (tcp4(u32::MAX - 50, 0xffff, &patterned(250), flags), L4, GsoKind::Tcp4),
        (tcp6(u32::MAX - 50, &patterned(250), flags), L4_V6, GsoKind::Tcp6),
    ] {
        let mut batch = FrameBatch::new();
        let hdr = VnetHdr::super_frame(kind, 0, 100, l4 as u16, 16);
        assert_eq!(push_frames(hdr, &frame, &mut batch), Ok(3));
        let segments: Vec<Vec<u8>> = std::iter::from_fn(|| batch.pop()).map(|f| f[FrameBatch::HEADROOM..].to_vec()).collect();
        segments.iter().for_each(|s| assert_sound(s));
        let seqs: Vec<u32> = segments.iter().map(|s| u32::from_be_bytes(s[l4 + 4..l4 + 8].try_into().unwrap())).collect();
        assert_eq!(seqs, [u32::MAX - 50, 49, 149]);
        let flags: Vec<u8> = segments.iter().map(|s| s[l4 + TCP_FLAGS]).collect();
        assert_eq!(flags, [0x80 | ACK, ACK, ACK | PSH | 0x01]);
        let data: Vec<u8> = segments.iter().flat_map(|s| s[l4 + 32..].to_vec()).collect();
        assert_eq!(data, patterned(250));
        if kind == GsoKind::Tcp4 {
            assert_eq!(segments.iter().map(|s| [s[18], s[19]]).collect::<Vec<_>>(), [[0xff, 0xff], [0, 0], [0, 1]]);
        }
    }
}

#[test]
fn a_tagged_super_frame_becomes_tagged_segments() {
    let mut frame = tcp4(1, 1, &patterned(250), ACK);
    frame.splice(12..12, [0x81, 0x00, 0x60, 0x05]);
    let mut batch = FrameBatch::new();
    assert_eq!(push_frames(VnetHdr::super_frame(GsoKind::Tcp4, 0, 100, L4 as u16 + 4, 16), &frame, &mut batch), Ok(3));
    while let Some(segment) = batch.pop() {
        let segment = &segment[FrameBatch::HEADROOM..];
        assert_eq!(segment[12..16], [0x81, 0, 0x60, 5]);
        assert_sound(&[&segment[..12], &segment[16..]].concat());
    }
}

#[test]
fn an_unfinished_checksum_is_finished() {
    let whole = udp(false, 1, b"hello");
    let mut frame = whole.clone();
    let pseudo = Layout::parse(&frame).unwrap().pseudo_header(&frame, 13).folded();
    frame[L4 + 6..L4 + 8].copy_from_slice(&pseudo);
    let hdr = VnetHdr::super_frame(GsoKind::None, 0, 0, L4 as u16, 6);
    let mut batch = FrameBatch::new();
    assert_eq!(push_frames(hdr, &frame, &mut batch), Ok(1));
    assert_eq!(batch.pop().unwrap()[FrameBatch::HEADROOM..], whole);
}

#[test]
fn headers_that_lie_are_unreadable_and_never_a_panic() {
    let frame = tcp4(1, 1, &patterned(250), ACK);
    let lies = [
        VnetHdr::super_frame(GsoKind::None, 0, 0, 65_535, 65_535),
        VnetHdr::super_frame(GsoKind::Tcp4, 0, 0, L4 as u16, 16),
        VnetHdr::super_frame(GsoKind::Tcp6, 0, 100, L4 as u16, 16),
        VnetHdr::super_frame(GsoKind::Tcp4, 0, 100, 60, 16),
        VnetHdr::super_frame(GsoKind::Udp, 0, 100, L4 as u16, 6),
        VnetHdr::from_bytes(&[0, 3, 0, 0, 100, 0, 0, 0, 0, 0]),
    ];
    for hdr in lies {
        assert!(push_frames(hdr, &frame, &mut FrameBatch::new()).is_err(), "{hdr:?}");
    }
    let big = tcp4(1, 1, &patterned(60_000), ACK);
    assert!(push_frames(VnetHdr::super_frame(GsoKind::Tcp4, 0, 1, L4 as u16, 16), &big, &mut FrameBatch::new()).is_err());
}

#[test]
fn consecutive_segments_of_a_flow_become_one_and_come_back_bit_exact() {
    assert_runs(&tcp4_flow(5), &[5]);
    for v6 in [false, true] {
        let datagrams: Vec<_> = (0..5).map(|i| udp(v6, 65_534u16.wrapping_add(i), &patterned(300))).collect();
        assert_runs(&datagrams, &[5]);
    }
    let wrapping: Vec<_> = (0..4u32).map(|i| tcp6((u32::MAX - 150).wrapping_add(i * 100), &patterned(100), ACK)).collect();
    assert_runs(&wrapping, &[4]);
}

#[test]
fn a_pushed_or_shorter_segment_ends_a_run() {
    let mut flow = tcp4_flow(4);
    flow[1] = tcp4(1100, 8, &patterned(100), ACK | PSH);
    assert_runs(&flow, &[2, 2]);
    let mut flow = tcp4_flow(3);
    flow[1] = tcp4(1100, 8, &patterned(60), ACK);
    flow[2] = tcp4(1160, 9, &patterned(60), ACK);
    assert_runs(&flow, &[2, 1]);
    flow[1] = tcp4(1100, 8, &patterned(101), ACK);
    assert_runs(&flow[..2], &[1, 1]);
}

#[test]
fn a_corrupt_segment_is_not_laundered() {
    for (victim, expected) in [(0, vec![1, 3]), (1, vec![1, 1, 2]), (3, vec![3, 1])] {
        let mut flow = tcp4_flow(4);
        flow[victim][80] ^= 1;
        assert_runs(&flow, &expected);
    }
    let mut flow = tcp4_flow(4);
    flow[2][24] ^= 1; // the IPv4 header checksum
    assert_runs(&flow, &[2, 1, 1]);
    let mut datagrams: Vec<_> = (0..4).map(|i| udp(false, i, &patterned(300))).collect();
    datagrams[1][100] ^= 0x40;
    assert_runs(&datagrams, &[1, 1, 2]);
}

#[test]
fn frames_that_differ_in_more_than_their_place_stay_apart() {
    type Edit = fn(&mut [u8]);
    let edits: [(&str, Edit); 13] = [
        ("destination MAC", |f| f[5] ^= 1),
        ("source MAC", |f| f[11] ^= 4),
        ("traffic class", |f| f[15] ^= 2),
        ("identification", |f| f[19] ^= 0x10),
        ("may be fragmented", |f| f[20] ^= 0x40),
        ("time to live", |f| f[22] -= 1),
        ("source address", |f| f[29] ^= 1),
        ("destination port", |f| f[37] ^= 1),
        ("sequence", |f| f[41] ^= 1),
        ("acknowledgment", |f| f[45] ^= 1),
        ("window", |f| f[49] ^= 1),
        ("urgent pointer", |f| f[53] ^= 1),
        ("timestamp", |f| f[61] ^= 1),
    ];
    for (what, edit) in edits {
        let mut flow = tcp4_flow(2);
        edit(&mut flow[1]);
        flow[1] = with_checksums(flow[1].clone());
        println!("{what}");
        assert_runs(&flow, &[1, 1]);
    }
    for flags in [0x00, ACK | 0x01, ACK | 0x02, ACK | 0x04, ACK | 0x20, ACK | 0x40, ACK | 0x80] {
        let mut flow = tcp4_flow(2);
        flow[1] = tcp4(1100, 8, &patterned(100), flags);
        assert_runs(&flow, &[1, 1]);
    }
}

#[test]
fn frames_that_cannot_be_part_of_a_super_frame_pass_alone() {
    let pure_ack = tcp4(1, 1, &[], ACK);
    assert_runs(&[pure_ack.clone(), pure_ack], &[1, 1]);
    let mut padded = tcp4_flow(2);
    padded[0].push(0);
    assert_runs(&padded, &[1, 1]);
    let mut unsummed = vec![udp(false, 1, &patterned(9)), udp(false, 2, &patterned(9))];
    unsummed.iter_mut().for_each(|f| f[L4 + 6..L4 + 8].fill(0));
    assert_runs(&unsummed, &[1, 1]);
    let mut tagged = tcp4_flow(2);
    tagged.iter_mut().for_each(|f| drop(f.splice(12..12, [0x81, 0, 0, 5])));
    assert_runs(&tagged, &[1, 1]);
    assert_runs(&[tcp4(1000, 0, &patterned(100), ACK), tcp4(1100, 1, &patterned(100), ACK), vec![0; 3]], &[2, 1]);
}

#[test]
fn a_fixed_identification_is_no_obstacle_where_fragmenting_is_forbidden() {
    let frames: Vec<Bytes> = (0..3).map(|i| tcp4(1000 + i * 100, 0, &patterned(100), ACK).into()).collect();
    assert_eq!(next_run(&frames, LIMITS).frames, 3);
    let datagrams: Vec<Bytes> = (0..3).map(|_| udp(false, 0, &patterned(100)).into()).collect();
    assert_eq!(next_run(&datagrams, LIMITS).frames, 1);
}

#[test]
fn limits_of_size_count_and_device_end_a_run() {
    let full: Vec<Bytes> = (0..60u32).map(|i| tcp4(i * 1400, i as u16, &patterned(1400), ACK).into()).collect();
    let run = next_run(&full, LIMITS);
    assert_eq!(run.frames, (65_535 - 52) / 1400);
    let small: Vec<Bytes> = (0..100u32).map(|i| tcp4(i * 10, i as u16, &patterned(10), ACK).into()).collect();
    assert_eq!(next_run(&small, LIMITS).frames, 64);
    let long = Limits { frame_len_max: full[0].len() - 1, ..LIMITS };
    assert_eq!(next_run(&full, long).frames, 1);
    let datagrams: Vec<Bytes> = (0..3).map(|i| udp(false, i, &patterned(100)).into()).collect();
    assert_eq!(next_run(&datagrams, Limits { udp: false, ..LIMITS }).frames, 1);
}

proptest! {
    #[test]
    fn whatever_is_coalesced_comes_back_bit_exact(
        sizes in prop::collection::vec(1usize..1400, 1..40),
        mss in 1usize..1400,
        pushes in any::<u64>(),
        v6 in any::<bool>(),
        start in any::<u32>(),
    ) {
        let mut seq = start;
        let frames: Vec<Bytes> = sizes.iter().enumerate().map(|(i, size)| {
            // Mostly full segments, as real senders make them.
            let data = patterned(if size % 3 == 0 { *size } else { mss });
            let flags = if pushes >> i & 7 == 7 { ACK | PSH } else { ACK };
            let frame = if v6 { tcp6(seq, &data, flags) } else { tcp4(seq, i as u16, &data, flags) };
            seq = seq.wrapping_add(data.len() as u32);
            frame.into()
        }).collect();
        let (back, _) = through_super_frames(&frames, LIMITS);
        prop_assert_eq!(back, frames);
    }

    #[test]
    fn arbitrary_bytes_never_panic(hdr in any::<[u8; VNET_HDR_LEN]>(), frame in prop::collection::vec(any::<u8>(), 0..200), ethertype in 0usize..4) {
        let mut frame = frame;
        if let (Some(slot), Some(kind)) = (frame.get_mut(12..14), [[8, 0], [0x86, 0xdd], [0x81, 0]].get(ethertype)) {
            slot.copy_from_slice(kind);
        }
        let _ = push_frames(VnetHdr::from_bytes(&hdr), &frame, &mut FrameBatch::new());
        let frame = Bytes::from(frame);
        prop_assert!(next_run(&[frame.clone(), frame], LIMITS).frames >= 1);
    }
}
