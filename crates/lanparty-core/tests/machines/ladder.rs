//! Frames that are too large, at the node where they enter: each goes on in pieces, is answered, or is dropped, and counts.

use std::time::{Duration, Instant};

use lanparty_core::{Outbound, OutboundWork, PathSize, Roster};
use lanparty_proto::{
    Checksum, DATAGRAM_HEADER_LEN, DatagramBudget, DropReason, FrameBatch, LanMtu, MacAddr, MemberId, MemberInfo, MulticastPolicy,
    PROTOCOL_VERSION, Role, Welcome,
};

use crate::support::{lan_mtu, mac};

const HOST: MacAddr = MacAddr([0, 0x1b, 0x21, 0, 0, 0x10]);

/// The gateway's view of a room with clients 2 and 3.
fn roster(mtu: u16) -> Roster {
    let client =
        |n: u8| MemberInfo { id: MemberId(n.into()), role: Role::Client, mac: mac(n), lan_up: true, path_mtu: None, description: None };
    let members = vec![client(2), client(3)];
    let (version, member, lan_mtu) = (PROTOCOL_VERSION, MemberId(1), lan_mtu(mtu));
    Roster::new(
        Role::Gateway,
        mac(1),
        &Welcome {
            version,
            member,
            lan_mtu,
            limited_by: None,
            budget_down: None,
            replaced: None,
            bond: false,
            addresses: None,
            multicast: MulticastPolicy::All,
            members,
        },
    )
}

fn budget(mtu: u16) -> PathSize {
    PathSize::settled(DatagramBudget::for_lan_mtu(LanMtu::new(mtu).unwrap()))
}

/// A UDP packet of `len` bytes in all, from a LAN host.
fn udp(dst: MacAddr, len: usize, dont_fragment: bool) -> Vec<u8> {
    let [high, low] = (len as u16).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 1, 2, if dont_fragment { 0x40 } else { 0 }, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let sum = Checksum::default().with(&header).field();
    header[10..12].copy_from_slice(&sum);
    let [high, low] = (len as u16 - 20).to_be_bytes();
    [&dst.0[..], &HOST.0, &[8, 0], &header, &[0x13, 0x88, 0x17, 0x70, high, low, 0, 0], &vec![7; len - 28]].concat()
}

fn udp6(dst: MacAddr, len: usize) -> Vec<u8> {
    let [high, low] = (len as u16 - 40).to_be_bytes();
    let address = |n: u8| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n];
    let header = [&[0x60, 0, 0, 0, high, low, 17, 64][..], &address(1), &address(2)].concat();
    [&dst.0[..], &HOST.0, &[0x86, 0xdd], &header, &[0x13, 0x88, 0x17, 0x70, high, low, 1, 1], &vec![7; len - 48]].concat()
}

struct Desk {
    outbound: Outbound,
    roster: Roster,
    now: Instant,
}

impl Desk {
    fn new(mtu: u16) -> Self {
        Self { outbound: Outbound::new(Role::Gateway), roster: roster(mtu), now: Instant::now() }
    }

    fn sends(&mut self, frame: &[u8], path: PathSize) -> OutboundWork {
        let (mut batch, mut work) = (FrameBatch::new(), OutboundWork::default());
        batch.push(&[frame]);
        self.outbound.process(&mut batch, Some(&self.roster), path, self.now, &mut work);
        assert!(self.outbound.counters().is_conserved(0));
        work
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.outbound.counters().dropped(reason)
    }
}

/// Writes into the IPv4 header, and its checksum with it.
fn set(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[14 + at..14 + at + bytes.len()].copy_from_slice(bytes);
    frame[24..26].fill(0);
    let header_len = usize::from(frame[14] & 0x0f) * 4;
    let sum = Checksum::default().with(&frame[14..14 + header_len]).field();
    frame[24..26].copy_from_slice(&sum);
}

fn is_nothing(work: &OutboundWork) -> bool {
    work.datagrams.is_empty() && work.answers.is_empty()
}

fn told(work: &OutboundWork) -> Option<u16> {
    let answer = work.answers.first()?;
    let at = if answer[12] == 8 { 14 + 20 + 6 } else { 14 + 40 + 6 };
    Some(u16::from_be_bytes([answer[at], answer[at + 1]]))
}

#[test]
fn a_sender_that_forbids_fragments_is_told_the_lan_mtu() {
    let mut desk = Desk::new(1390);
    for (frame, len) in [(udp(mac(2), 1500, true), 1390), (udp6(mac(2), 1500), 1390)] {
        let work = desk.sends(&frame, budget(1417));
        assert_eq!((work.datagrams.len(), told(&work)), (0, Some(len)));
        assert!(work.records.iter().all(|r| r.action() == "Answered"));
        assert_eq!((&work.answers[0][..6], &work.answers[0][6..12]), (&HOST.0[..], &mac(2).0[..]));
    }
    let ladder = desk.outbound.ladder();
    assert_eq!((ladder.too_big_v4, ladder.too_big_v6, desk.outbound.counters().snapshot().answered), (1, 1, 2));
}

#[test]
fn a_packet_that_may_be_cut_up_goes_on_in_pieces_that_fit() {
    let mut desk = Desk::new(1390);
    let work = desk.sends(&udp(mac(2), 1500, false), budget(1417));
    assert_eq!((work.datagrams.len(), work.answers.len(), work.records[0].targets), (2, 0, 2));
    assert!(work.datagrams.iter().all(|d| d.len() <= DATAGRAM_HEADER_LEN + 14 + 1390));
    let counted = desk.outbound.counters().snapshot();
    assert_eq!((counted.frames_in, counted.forwarded, counted.split), (1, 2, 1));
    desk.outbound.take_back(&work.datagrams[1], DropReason::QueueFull);
    assert!(desk.outbound.counters().is_conserved(0));
}

#[test]
fn what_no_rung_is_for_is_dropped_for_its_size() {
    let mut desk = Desk::new(1197);
    let other = [&mac(2).0[..], &HOST.0, &[0x88, 0xb6], &[0; 1400]].concat();
    assert!(desk.sends(&other, budget(1197)).answers.is_empty());
    assert!(desk.sends(&udp6(mac(2), 1280), budget(1197)).answers.is_empty(), "no IPv6 host believes less than 1,280");
    assert_eq!(desk.dropped(DropReason::TapMtuExceeded), 2);
}

#[test]
fn a_group_is_never_answered_but_its_packets_are_cut_up() {
    let mut desk = Desk::new(1390);
    let work = desk.sends(&udp(MacAddr([0xff; 6]), 1500, true), budget(1417));
    assert!(work.answers.is_empty() && desk.dropped(DropReason::TapMtuExceeded) == 1);
    assert_eq!(desk.sends(&udp(MacAddr([0xff; 6]), 1500, false), budget(1417)).datagrams.len(), 2);
}

#[test]
fn hosts_of_the_lan_that_talk_to_each_other_are_left_alone() {
    let mut desk = Desk::new(1390);
    let work = desk.sends(&udp(MacAddr([0, 0x1b, 0x21, 0, 0, 0x11]), 1500, true), budget(1417));
    assert!(work.answers.is_empty() && desk.dropped(DropReason::UnknownDestination) == 1);
}

#[test]
fn answers_end_where_a_flood_begins() {
    let mut desk = Desk::new(1390);
    let flood: usize = (0..1000).map(|_| desk.sends(&udp(mac(2), 1500, true), budget(1417)).answers.len()).sum();
    assert_eq!((flood, desk.outbound.ladder().answers_withheld), (10, 990));
    assert_eq!(desk.dropped(DropReason::TapMtuExceeded), 990, "what was not answered is counted as lost");
    // Another host behind the same router has the same MAC address, and hears of it all the same.
    assert!(told(&desk.sends(&from_another(1, &udp(mac(2), 1500, true)), budget(1417))).is_some());
    assert!(told(&desk.sends(&udp6(mac(2), 1500), budget(1417))).is_some(), "and so does the same host over IPv6");
    desk.now += Duration::from_secs(1);
    assert!(told(&desk.sends(&udp(mac(2), 1500, true), budget(1417))).is_some());
}

#[test]
fn senders_without_number_get_no_more_answers_than_one_room_may_give() {
    let mut desk = Desk::new(1390);
    let frame = udp(mac(2), 1500, true);
    let answers: usize = (0..1000).map(|n| desk.sends(&from_another(n, &frame), budget(1417)).answers.len()).sum();
    assert_eq!(answers, 100, "the burst of all together");
    desk.now += Duration::from_secs(2);
    assert!(told(&desk.sends(&from_another(5000, &frame), budget(1417))).is_some(), "silent ones are forgotten");
}

/// The same frame from another host behind the same MAC address.
fn from_another(n: u16, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    set(&mut frame, 12, &[&[10, 9][..], &n.to_be_bytes()].concat());
    frame
}

/// A DHCP answer to client 2 that tells an MTU of 1,500, as long as a server may make it.
fn long_dhcp_answer() -> Vec<u8> {
    let mut frame = udp(mac(2), 1300, false);
    frame[14 + 20..14 + 24].copy_from_slice(&[0, 67, 0, 68]);
    frame[42..].fill(0);
    frame[42 + 236..42 + 245].copy_from_slice(&[99, 130, 83, 99, 26, 2, 0x05, 0xdc, 255]);
    frame
}

#[test]
fn what_leaves_in_pieces_tells_sizes_that_fit_as_well() {
    let mut desk = Desk::new(1197);
    let pieces = desk.sends(&long_dhcp_answer(), budget(1417)).datagrams;
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[0][3 + 42 + 240..][..5], [26, 2, 0x04, 0xad, 255], "1,197 in the first piece");
    assert_eq!((desk.outbound.ladder().told_mtu_lowered, desk.outbound.ladder().fragmented), (1, 1));
    desk.outbound.keep_told_mtu();
    let pieces = desk.sends(&long_dhcp_answer(), budget(1417)).datagrams;
    assert_eq!(pieces[0][3 + 42 + 240..][..5], [26, 2, 0x05, 0xdc, 255], "as the server says it, when that is wanted");
}

/// A TCP segment with SYN that brings data with it (RFC 7413) and offers an MSS of 1,460, `len` bytes of packet in all.
fn syn_with_data(len: usize, dont_fragment: bool) -> Vec<u8> {
    let mut frame = udp(mac(2), len, dont_fragment);
    set(&mut frame, 9, &[6]);
    frame[34..58].copy_from_slice(&[0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
    frame
}

#[test]
fn a_syn_is_clamped_whole_in_pieces_and_trimmed() {
    let padded = [syn_with_data(200, true), vec![0; 1300]].concat();
    for (frame, pieces) in [(syn_with_data(44, true), 1), (syn_with_data(1500, false), 2), (padded, 1)] {
        let mut desk = Desk::new(1390);
        let sent = desk.sends(&frame, budget(1417)).datagrams;
        assert_eq!((sent.len(), desk.outbound.ladder().mss_clamped), (pieces, 1));
        assert_eq!(sent[0][3 + 54..3 + 58], [2, 4, 0x05, 0x46]);
    }
}

#[test]
fn an_answer_quotes_what_its_sender_wrote_and_nothing_was_clamped() {
    let mut desk = Desk::new(1390);
    let frame = syn_with_data(1500, true);
    let work = desk.sends(&frame, budget(1417));
    assert_eq!(work.answers[0][42..], frame[14..14 + 548]);
    let mut damaged = frame.clone();
    damaged[14 + 12] ^= 4;
    let mut options_that_lie = syn_with_data(1500, false);
    options_that_lie.splice(34..34, [0x94, 40, 0, 0]);
    set(&mut options_that_lie, 0, &[0x46, 0, 0x05, 0xe0]);
    let to_group = [&[0xff; 6][..], &frame[6..]].concat();
    for dropped in [&damaged, &options_that_lie, &to_group] {
        assert!(is_nothing(&desk.sends(dropped, budget(1417))));
    }
    let ladder = desk.outbound.ladder();
    assert_eq!((ladder.too_big_v4, ladder.mss_clamped, ladder.fragmented), (1, 0, 0));
}

#[test]
fn a_path_that_shrank_is_told_once_it_is_known_and_fragments_at_once() {
    let mut desk = Desk::new(1417);
    let searching = PathSize { settled: false, ..budget(1145) };
    assert_eq!(told(&desk.sends(&udp(mac(2), 1400, true), searching)), None);
    assert_eq!(desk.dropped(DropReason::DatagramBudget), 1);
    assert_eq!(desk.sends(&udp(mac(2), 1400, false), searching).datagrams.len(), 2);
    assert_eq!(told(&desk.sends(&udp(mac(2), 1400, true), budget(1197))), Some(1197));
}

#[test]
fn a_members_own_small_path_concerns_only_what_goes_there() {
    let mut desk = Desk::new(1417);
    desk.roster.set_path_mtu(MemberId(2), LanMtu::new(1197));
    assert_eq!(told(&desk.sends(&udp(mac(2), 1400, true), budget(1417))), Some(1197));
    assert_eq!(desk.sends(&udp(mac(3), 1400, true), budget(1417)).datagrams.len(), 1);
    assert_eq!(desk.sends(&udp(MacAddr([0xff; 6]), 1400, false), budget(1417)).datagrams.len(), 2, "everybody hears a broadcast");
    desk.roster.set_path_mtu(MemberId(2), None);
    assert_eq!(desk.sends(&udp(mac(2), 1400, true), budget(1417)).datagrams.len(), 1);
}

#[test]
fn what_cannot_be_cut_up_is_malformed_and_not_answered() {
    let mut desk = Desk::new(1390);
    let mut beyond = udp(mac(2), 1500, false);
    set(&mut beyond, 6, &[0x1f, 0x55]);
    assert!(is_nothing(&desk.sends(&beyond, budget(1417))), "its end is beyond the largest packet");
    let mut options_that_lie = udp(mac(2), 1500, false);
    set(&mut options_that_lie, 0, &[0x46]);
    set(&mut options_that_lie, 20, &[0x94, 40, 0, 0]);
    // Not a datagram any more, so a protocol that nothing looks into.
    set(&mut options_that_lie, 9, &[99]);
    assert!(is_nothing(&desk.sends(&options_that_lie, budget(1417))), "nobody knows which of them each piece needs");
    assert_eq!(desk.dropped(DropReason::Malformed), 2);
}

#[test]
fn a_damaged_header_is_neither_answered_nor_mended() {
    for dont_fragment in [true, false] {
        let mut desk = Desk::new(1390);
        let mut damaged = udp(mac(2), 1500, dont_fragment);
        damaged[14 + 12] ^= 4;
        assert!(is_nothing(&desk.sends(&damaged, budget(1417))));
        assert_eq!(desk.dropped(DropReason::Malformed), 1);
    }
}

#[test]
fn a_packet_that_fits_what_may_be_told_is_not_told_it() {
    let mut desk = Desk::new(1400);
    let searching = PathSize { settled: false, ..budget(1197) };
    let padded = [udp(mac(2), 1300, true), vec![0; 200]].concat();
    assert_eq!(told(&desk.sends(&padded, searching)), None);
    assert_eq!(desk.dropped(DropReason::TapMtuExceeded), 1);
}

#[test]
fn padding_behind_a_packet_that_fits_is_left_behind() {
    let mut desk = Desk::new(1390);
    let padded = [udp(mac(2), 1000, true), vec![0; 500]].concat();
    let work = desk.sends(&padded, budget(1417));
    assert_eq!(work.datagrams[0].len(), DATAGRAM_HEADER_LEN + 14 + 1000);
}

#[test]
fn an_answer_that_was_not_sent_told_nobody() {
    let mut desk = Desk::new(1400);
    let answers =
        [desk.sends(&udp(mac(2), 1500, true), budget(1400)), desk.sends(&udp6(mac(2), 1500), budget(1400))].map(|work| work.answers);
    let told = |desk: &Desk| {
        let ladder = desk.outbound.ladder();
        (ladder.too_big_v4, ladder.too_big_v6, ladder.answers_withheld)
    };
    assert_eq!(told(&desk), (1, 1, 0));
    desk.outbound.take_back_answer(&answers[1][0], DropReason::QueueFull);
    assert_eq!((told(&desk), desk.dropped(DropReason::QueueFull)), ((1, 0, 1), 1));
    desk.outbound.take_back_answer(&answers[0][0], DropReason::DeviceError);
    assert_eq!((told(&desk), desk.dropped(DropReason::DeviceError)), ((0, 0, 2), 1));
    assert!(desk.outbound.counters().is_conserved(0));
}
