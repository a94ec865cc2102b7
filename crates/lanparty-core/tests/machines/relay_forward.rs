//! The switch: which member a frame reaches, what is charged for it, and what becomes of the rest.

use std::time::Duration;

use crate::support::{Desk, budget_for, datagram, frame, gateway_hello, hello, mac, udp_frame};
use bytes::Bytes;
use lanparty_core::{BumLimits, Drops, Limits, LinkId, Rate, RelayConfig, RelayInput};
use lanparty_proto::{Control, DropReason, Hello, MacAddr, MemberId};

/// A host of the LAN behind the gateway.
const HOST: MacAddr = MacAddr([0, 0x1b, 0x21, 0, 0, 0x10]);

/// Gateway on link 1, clients on links 2 to 4, and a stranger's room with one client on link 9.
fn party() -> Desk {
    party_with(RelayConfig::default())
}

fn party_with(config: RelayConfig) -> Desk {
    let mut desk = Desk::new(config);
    desk.join(1, gateway_hello(1));
    for n in 2..=4 {
        desk.join(n, hello(u8::try_from(n).unwrap()));
    }
    desk.join(9, Hello { room: "ROOM2".parse().unwrap(), ..hello(9) });
    desk
}

fn limits(bum: u64, bandwidth: Rate) -> RelayConfig {
    let rate = Rate { per_second: bum, burst: 2 * bum };
    let bum = BumLimits { arp_nd: rate, dhcp: rate, discovery: rate, other: rate };
    RelayConfig { limits: Limits { bandwidth, bum }, ..RelayConfig::default() }
}

#[test]
fn unicast_reaches_its_member_alone_with_the_bytes_that_came() {
    let mut desk = party();
    let sent = datagram(MemberId(2), &frame(mac(3), mac(2), 100));
    let out = desk.deliveries(2, sent.clone());
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].link, &out[0].datagram), (LinkId(3), &sent));
    assert_eq!(desk.send(3, &frame(mac(1), mac(3), 100)), [1], "the gateway's own address");
}

#[test]
fn broadcast_and_multicast_reach_all_others_of_the_room() {
    let mut desk = party();
    assert_eq!(desk.send(2, &frame(MacAddr::BROADCAST, mac(2), 60)), [1, 3, 4]);
    let mut mdns = udp_frame(MacAddr([1, 0, 0x5e, 0, 0, 0xfb]), HOST, (5353, 5353), b"who is there");
    mdns[30..34].copy_from_slice(&[224, 0, 0, 251]);
    assert_eq!(desk.send(1, &mdns), [2, 3, 4]);
}

#[test]
fn a_broadcast_into_an_empty_room_is_no_drop() {
    let mut desk = party();
    assert!(desk.send(9, &frame(MacAddr::BROADCAST, mac(9), 60)).is_empty());
    let counted = desk.member(9).from_member;
    assert_eq!((counted.frames_in, counted.forwarded), (1, 1));
}

#[test]
fn unknown_unicast_from_a_client_reaches_the_gateway_only() {
    let mut desk = party();
    assert_eq!(desk.send(2, &frame(HOST, mac(2), 100)), [1]);
    assert_eq!(desk.send(2, &frame(mac(9), mac(2), 100)), [1], "another room's member is nobody here");
    desk.close(1);
    assert!(desk.send(2, &frame(HOST, mac(2), 100)).is_empty());
    assert_eq!(desk.dropped(2, "UnknownDestination"), 1);
}

#[test]
fn unknown_unicast_from_the_gateway_reaches_nobody() {
    let mut desk = party();
    assert!(desk.send(1, &frame(mac(77), HOST, 100)).is_empty());
    assert_eq!(desk.dropped(1, "UnknownDestination"), 1);
}

#[test]
fn nothing_turns_back_to_its_sender() {
    let mut desk = party();
    assert!(desk.send(2, &frame(mac(2), mac(2), 100)).is_empty());
    assert!(desk.send(1, &frame(mac(1), HOST, 100)).is_empty());
    assert_eq!((desk.dropped(2, "UnknownDestination"), desk.dropped(1, "UnknownDestination")), (1, 1));
}

#[test]
fn a_gateway_does_not_speak_as_one_of_the_members() {
    let mut desk = party();
    assert!(desk.send(1, &frame(mac(3), mac(2), 100)).is_empty());
    assert!(desk.send(1, &frame(MacAddr::BROADCAST, mac(2), 100)).is_empty());
    assert_eq!(desk.dropped(1, "HairpinLoop"), 2);
    assert_eq!(desk.send(1, &frame(mac(3), mac(1), 100)), [3], "it speaks as itself");
}

#[test]
fn a_header_that_names_another_member_is_dropped() {
    let mut desk = party();
    assert!(desk.send_as(2, MemberId(3), &frame(mac(4), mac(3), 100)).is_empty());
    assert!(desk.send_as(2, MemberId(99), &frame(mac(4), mac(2), 100)).is_empty());
    assert_eq!(desk.dropped(2, "UnknownSender"), 2);
}

#[test]
fn a_source_mac_that_is_not_the_members_is_dropped() {
    let mut desk = party();
    for _ in 0..1000 {
        assert!(desk.send(2, &frame(mac(4), mac(3), 100)).is_empty());
    }
    assert_eq!(desk.dropped(2, "UnauthorizedSourceMac"), 1000);
    assert_eq!(desk.send(3, &frame(mac(4), mac(3), 100)), [4], "the victim's place is as it was");
}

#[test]
fn every_kind_of_rubbish_is_counted_as_malformed() {
    let mut desk = party();
    for rubbish in [&[][..], &[0x10], &[0x10, 0, 2], &[0x10, 0, 2, 1, 2, 3], &[0xff; 100], &[0x10, 0, 0, 9, 9]] {
        assert!(desk.deliveries(2, Bytes::copy_from_slice(rubbish)).is_empty());
    }
    assert_eq!(desk.dropped(2, "Malformed"), 6);
}

#[test]
fn the_lan_mtu_is_exact_at_the_relay() {
    let mut desk = party();
    assert_eq!(desk.send(2, &frame(mac(3), mac(2), 1400 + 14)), [3]);
    assert!(desk.send(2, &frame(mac(3), mac(2), 1400 + 15)).is_empty());
    assert_eq!(desk.dropped(2, "TapMtuExceeded"), 1);
}

#[test]
fn a_path_that_shrank_costs_its_own_copies_only() {
    let mut desk = party();
    desk.input(RelayInput::Budget { link: LinkId(3), budget: budget_for(1200), rtt: Duration::ZERO });
    assert_eq!(desk.send(2, &frame(MacAddr::BROADCAST, mac(2), 1400)), [1, 4]);
    assert!(desk.send(2, &frame(mac(3), mac(2), 1400)).is_empty());
    assert_eq!((desk.dropped(2, "DatagramBudget"), desk.member(3).copies_dropped), (1, 2));
    assert_eq!(desk.member(3).copies_dropped_by, Drops::of(DropReason::DatagramBudget, 2));
    assert_eq!(desk.send(2, &frame(mac(3), mac(2), 1200)), [3]);
}

#[test]
fn copies_dropped_behind_the_switch_move_from_one_account_to_the_other() {
    let mut desk = party();
    for _ in 0..10 {
        desk.send(2, &frame(mac(3), mac(2), 100));
    }
    desk.relay.count_copies_dropped(LinkId(3), &Drops::of(DropReason::QueueFull, 4));
    assert_eq!((desk.member(3).copies_out, desk.member(3).copies_dropped), (6, 4));
    assert_eq!(desk.member(3).copies_dropped_by, Drops::of(DropReason::QueueFull, 4));
}

#[test]
fn what_waited_for_a_member_that_left_is_in_the_books_of_all() {
    let mut desk = party();
    for _ in 0..10 {
        desk.send(2, &frame(mac(3), mac(2), 100));
    }
    let before = desk.relay.copies();
    assert_eq!((before.out, before.dropped.total()), (10, 0));
    desk.input(RelayInput::Closed { link: LinkId(3), reason: "gone".into() });
    assert_eq!(desk.relay.copies(), before, "who leaves takes nothing out of the books");
    desk.relay.count_copies_dropped(LinkId(3), &Drops::of(DropReason::LinkDown, 4));
    let after = desk.relay.copies();
    assert_eq!((after.out, after.dropped), (6, Drops::of(DropReason::LinkDown, 4)));
}

#[test]
fn bandwidth_has_a_burst_then_a_rate() {
    let mut desk = party_with(limits(1000, Rate { per_second: 100_000, burst: 10_000 }));
    let unicast = frame(mac(3), mac(2), 1000);
    let passed = (0..100).filter(|_| !desk.send(2, &unicast).is_empty()).count();
    assert_eq!(passed, 10, "the burst");
    let mut passed = 0;
    for _ in 0..1000 {
        desk.advance(Duration::from_millis(1));
        passed += usize::from(!desk.send(2, &unicast).is_empty());
    }
    assert_eq!(passed, 100, "a second's worth");
    assert_eq!(desk.send(4, &unicast_from(4)), [3], "another member has its own");
    assert_eq!(desk.dropped(2, "RateLimit"), 90 + 900);
}

fn unicast_from(n: u8) -> Vec<u8> {
    frame(mac(3), mac(n), 1000)
}

#[test]
fn a_flood_is_charged_for_every_copy_and_unicast_for_none() {
    let mut desk = party_with(limits(30, Rate { per_second: 1 << 30, burst: 1 << 30 }));
    let (flood, unicast) = (frame(MacAddr::BROADCAST, mac(2), 60), frame(mac(3), mac(2), 60));
    let passed = (0..100).filter(|_| !desk.send(2, &flood).is_empty()).count();
    assert_eq!(passed, 20, "60 copies saved up, three a frame");
    assert_eq!(desk.send(2, &unicast), [3]);
    assert_eq!(desk.send(2, &frame(HOST, mac(2), 60)), [1], "a LAN host is no flood while the LAN is up");
    desk.advance(Duration::from_secs(1));
    let passed = (0..100).filter(|_| !desk.send(2, &flood).is_empty()).count();
    assert_eq!(passed, 10, "a second later");
}

#[test]
fn a_storm_of_one_kind_leaves_the_other_kinds_alone() {
    let mut desk = party_with(limits(30, Rate { per_second: 1 << 30, burst: 1 << 30 }));
    let discovery = udp_frame(MacAddr::BROADCAST, mac(2), (27015, 27015), b"search");
    let dhcp = udp_frame(MacAddr::BROADCAST, mac(2), (68, 67), &[1; 300]);
    while !desk.send(2, &discovery).is_empty() {}
    assert_eq!(desk.send(2, &dhcp), [1, 3, 4]);
    assert_eq!(desk.send(2, &frame(MacAddr::BROADCAST, mac(2), 60)), [1, 3, 4]);
}

#[test]
fn in_a_room_larger_than_the_burst_a_broadcast_still_passes_now_and_then() {
    let mut desk = party_with(limits(1, Rate { per_second: 1 << 30, burst: 1 << 30 }));
    let flood = frame(MacAddr::BROADCAST, mac(2), 60);
    assert_eq!(desk.send(2, &flood), [1, 3, 4], "three copies, a burst of two");
    assert!(desk.send(2, &flood).is_empty());
    desk.advance(Duration::from_secs(2));
    assert_eq!(desk.send(2, &flood), [1, 3, 4]);
}

#[test]
fn every_frame_of_every_member_is_accounted_for() {
    let mut desk = party();
    for n in 0..200usize {
        let dst = [MacAddr::BROADCAST, mac(3), HOST, mac(2), mac(99)][n % 5];
        let src = [mac(2), mac(2), mac(3)][n % 3];
        desk.send_as(2, MemberId(if n.is_multiple_of(7) { 3 } else { 2 }), &frame(dst, src, 10 + n * 8));
    }
    let counted = desk.member(2).from_member;
    assert_eq!(counted.frames_in, 200);
    assert_eq!(counted.frames_in, counted.forwarded + counted.answered + counted.dropped.total());
    assert!(desk.records.iter().any(|r| r.action() == "Forwarded"));
}

#[test]
fn whoever_left_is_no_member_and_gets_nothing() {
    let mut desk = party();
    desk.message(3, Control::Bye { reason: "done".into() });
    assert!(desk.relay.place(LinkId(3)).is_none());
    assert_eq!(desk.send(2, &frame(MacAddr::BROADCAST, mac(2), 60)), [1, 4]);
}
