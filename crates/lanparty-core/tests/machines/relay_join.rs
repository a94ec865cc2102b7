//! Who may enter a room, and what everybody hears of it.

use std::time::Duration;

use crate::support::{BUDGET, Desk, budget_for, gateway_hello, hello, identity, mac};
use lanparty_core::{LinkId, RelayConfig, RelayEvent, RelayOutput};
use lanparty_proto::{CONTROL_MESSAGE_LEN_MAX, Control, DatagramBudget, Hello, MacAddr, MemberId, Refusal, Role, encode_control};

#[test]
fn a_newcomer_is_welcomed_and_the_others_hear_of_it() {
    let mut desk = Desk::default();
    let first = desk.join(1, gateway_hello(1));
    assert_eq!((first.member, first.lan_mtu.bytes(), first.members.len()), (MemberId(1), 1400, 0));
    let second = desk.join(2, hello(2));
    assert_eq!((second.member, second.members.len(), second.members[0].mac), (MemberId(2), 1, mac(1)));
    assert_eq!(second.members[0].role, Role::Gateway);
    let seen = desk.joined_seen_by(1);
    assert_eq!((seen.len(), seen[0].id, seen[0].mac), (1, MemberId(2), mac(2)));
    assert!(matches!(&desk.events()[..], [RelayEvent::Accepted { resumed: false, .. }]));
}

#[test]
fn rooms_know_nothing_of_each_other() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    let other = desk.join(2, Hello { room: "ROOM2".parse().unwrap(), ..hello(1) });
    assert!(other.members.is_empty() && desk.sent_to(1).is_empty());
}

#[test]
fn a_duplicate_mac_is_refused_and_named_on_both_sides() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    let (code, words) = desk.refused(2, 2, hello(1));
    assert_eq!(code, Refusal::DuplicateMac);
    assert!(words.contains("02:00:00:00:00:01") && words.contains("192.0.2.1:4711"), "{words}");
    let Some(Control::Notice { message }) = desk.sent_to(1).pop() else { panic!("the holder hears of it") };
    assert!(message.contains("192.0.2.2:4711") && message.contains("02:00:00:00:00:01"), "{message}");
    assert_eq!(desk.member(1).member, 1, "the holder stays");
}

#[test]
fn the_holder_of_a_mac_is_not_flooded_with_notices() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    desk.outputs.clear();
    for n in 2..=200 {
        desk.message(n, Control::Hello(hello(1)));
    }
    assert_eq!(desk.sent_to(1).len(), 1);
    desk.advance(Duration::from_secs(60));
    desk.outputs.clear();
    desk.message(201, Control::Hello(hello(1)));
    assert_eq!(desk.sent_to(1).len(), 1, "a minute later it is worth saying again");
}

#[test]
fn a_second_gateway_is_refused_with_words() {
    let mut desk = Desk::default();
    desk.join(1, gateway_hello(1));
    let (code, words) = desk.refused(2, 2, gateway_hello(2));
    assert_eq!(code, Refusal::SecondGateway);
    assert!(words.contains("02:00:00:00:00:01") && words.contains("another room code"), "{words}");
    desk.close(1);
    desk.join(3, gateway_hello(2));
}

#[test]
fn the_same_identity_takes_its_place_over_and_keeps_its_number() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.outputs.clear();
    desk.message_from(3, identity(1), BUDGET, Control::Hello(hello(1)));
    assert_eq!(desk.welcome(3).unwrap().member, MemberId(1));
    assert_eq!(desk.refusal(1).unwrap().0, Refusal::Replaced);
    assert!(desk.relay.place(LinkId(1)).is_none());
    let heard: Vec<_> = desk.sent_to(2);
    assert!(matches!(&heard[..], [Control::MemberLeft { id, .. }, Control::MemberJoined { member }] if *id == member.id), "{heard:?}");
    desk.outputs.clear();
    desk.close(1);
    assert!(desk.outputs.is_empty(), "the old connection's end is no news");
}

#[test]
fn a_lone_member_takes_its_own_room_over() {
    let mut desk = Desk::default();
    desk.join(1, gateway_hello(1));
    desk.message_from(2, identity(1), BUDGET, Control::Hello(gateway_hello(1)));
    assert_eq!(desk.welcome(2).unwrap().member, MemberId(1));
    assert_eq!(desk.relay.report(desk.now)[0].members.len(), 1);
}

#[test]
fn the_same_machine_may_come_back_with_another_mac_or_role() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.message_from(3, identity(1), BUDGET, Control::Hello(gateway_hello(7)));
    assert_eq!(desk.welcome(3).unwrap().member, MemberId(1));
    assert_eq!(desk.member(3).mac, mac(7));
    desk.join(4, hello(1));
}

#[test]
fn a_member_keeps_its_number_over_a_restart_of_the_relay() {
    let mut desk = Desk::default();
    for n in [3, 1, 2] {
        let welcome = desk.join(n, Hello { resume: Some(MemberId(u16::try_from(n).unwrap() + 10)), ..hello(u8::try_from(n).unwrap()) });
        assert_eq!(welcome.member.0, u16::try_from(n).unwrap() + 10);
        assert!(matches!(desk.events().last(), Some(RelayEvent::Accepted { resumed: true, .. })));
    }
    assert_eq!(desk.join(4, hello(4)).member, MemberId(14), "a newcomer gets a number nobody had");
}

#[test]
fn a_number_in_use_is_not_given_away() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    for wanted in [MemberId(1), MemberId(0)] {
        desk.outputs.clear();
        assert_ne!(desk.join(2, Hello { resume: Some(wanted), ..hello(2) }).member, wanted);
        desk.close(2);
    }
}

#[test]
fn numbers_start_over_after_the_last() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    assert_eq!(desk.join(2, Hello { resume: Some(MemberId(u16::MAX)), ..hello(2) }).member, MemberId(u16::MAX));
    assert_eq!(desk.join(3, hello(3)).member, MemberId(2));
}

#[test]
fn another_protocol_version_is_refused_with_both_numbers() {
    let mut desk = Desk::default();
    let (code, words) = desk.refused(1, 1, Hello { version: 99, ..hello(1) });
    assert!(code == Refusal::Version && words.contains("99") && words.contains("speaks 1"), "{words}");
}

#[test]
fn a_mac_that_cannot_be_a_members_is_refused() {
    let mut desk = Desk::default();
    for bad in [MacAddr::BROADCAST, MacAddr([0; 6]), MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        assert_eq!(desk.refused(1, 1, Hello { mac: bad, ..hello(1) }).0, Refusal::InvalidMac);
    }
}

#[test]
fn a_path_too_small_for_any_ethernet_is_refused_and_the_smallest_is_taken() {
    let mut desk = Desk::default();
    let too_small = DatagramBudget(576 + 16);
    let (code, words) = desk.refused(1, 1, Hello { budget: too_small, ..hello(1) });
    assert!(code == Refusal::PathTooSmall && words.contains("592"), "{words}");
    desk.outputs.clear();
    desk.message_from(2, identity(2), too_small, Control::Hello(hello(2)));
    assert_eq!(desk.refusal(2).unwrap().0, Refusal::PathTooSmall, "the relay's own view counts as well");
    assert_eq!(desk.join(3, Hello { budget: budget_for(576), ..hello(3) }).lan_mtu.bytes(), 576);
}

#[test]
fn the_first_message_must_be_a_hello_and_there_is_only_one() {
    let mut desk = Desk::default();
    desk.message(1, Control::Budget { budget: BUDGET });
    assert_eq!(desk.refusal(1).unwrap().0, Refusal::Protocol);
    desk.join(2, hello(2));
    assert_eq!(desk.refused(2, 2, Hello { room: "ROOM2".parse().unwrap(), ..hello(2) }).0, Refusal::Protocol);
}

#[test]
fn a_room_vanishes_with_its_last_member_and_space_is_free_again() {
    let mut desk = Desk::new(RelayConfig { rooms_max: 1, ..RelayConfig::default() });
    desk.join(1, hello(1));
    assert_eq!(desk.refused(2, 2, Hello { room: "ROOM2".parse().unwrap(), ..hello(2) }).0, Refusal::Full);
    desk.message(1, Control::Bye { reason: "enough".into() });
    assert!(desk.relay.report(desk.now).is_empty());
    desk.join(2, Hello { room: "ROOM2".parse().unwrap(), ..hello(2) });
}

#[test]
fn a_full_room_refuses_strangers_and_lets_its_members_come_back() {
    let mut desk = Desk::new(RelayConfig { members_max: 2, ..RelayConfig::default() });
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    assert_eq!(desk.refused(3, 3, hello(3)).0, Refusal::Full);
    desk.message_from(4, identity(1), BUDGET, Control::Hello(hello(1)));
    assert!(desk.welcome(4).is_some());
}

#[test]
fn the_list_of_the_largest_room_fits_one_control_message() {
    let mut desk = Desk::new(RelayConfig { members_max: usize::MAX, ..RelayConfig::default() });
    for n in 0..2000u64 {
        let octets = n.to_be_bytes();
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&octets);
        let hello = Hello { mac: MacAddr([2, 9, 0, 0, octets[6], octets[7]]), resume: Some(MemberId(60_000 + n as u16)), ..hello(0) };
        desk.outputs.clear();
        desk.message_from(1000 + n, lanparty_proto::IdentityId(id), BUDGET, Control::Hello(hello));
        let longest = desk.outputs.iter().filter_map(|o| if let RelayOutput::Send { message, .. } = o { Some(message) } else { None });
        let longest = longest.take(1).map(|m| encode_control(m).len() - 4).max().unwrap_or(0);
        assert!(longest <= CONTROL_MESSAGE_LEN_MAX, "{longest} bytes in a room of {n}");
    }
}

#[test]
fn joins_of_one_identity_are_limited_and_pass_with_time() {
    let mut desk = Desk::default();
    for _ in 0..20 {
        desk.join(1, hello(1));
        desk.close(1);
    }
    let (code, words) = desk.refused(1, 1, hello(1));
    assert!(code == Refusal::TooManyJoins && words.contains("6 s"), "{words}");
    desk.join(2, hello(2));
    desk.advance(Duration::from_secs(6));
    desk.join(1, hello(1));
    desk.close(1);
    assert_eq!(desk.refused(1, 1, hello(1)).0, Refusal::TooManyJoins);
}

#[test]
fn leaving_is_heard_by_the_others_with_the_reason() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.outputs.clear();
    desk.message(2, Control::Bye { reason: "good night".into() });
    assert_eq!(desk.sent_to(1), [Control::MemberLeft { id: MemberId(2), reason: "good night".into() }]);
    assert!(matches!(&desk.events()[..], [RelayEvent::Left { reason, .. }] if reason == "good night"));
}

#[test]
fn what_a_member_says_at_length_neither_breaks_the_others_nor_the_log() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    let software = format!("evil\nWARN forged line {}", "x".repeat(CONTROL_MESSAGE_LEN_MAX - 200));
    desk.join(2, Hello { software, ..hello(2) });
    let Some(RelayEvent::Accepted { software, .. }) = desk.events().pop() else { panic!("accepted") };
    assert!(software.len() < 500 && !software.contains('\n'), "{} bytes", software.len());
    desk.outputs.clear();
    desk.message(2, Control::Bye { reason: "\u{1}".repeat(CONTROL_MESSAGE_LEN_MAX) });
    for message in desk.sent_to(1) {
        assert!(encode_control(&message).len() < 1000, "{} bytes", encode_control(&message).len());
    }
}

#[test]
fn the_state_of_the_lan_is_told_by_the_gateway_alone_and_once() {
    let mut desk = Desk::default();
    desk.join(1, Hello { lan_up: false, ..gateway_hello(1) });
    assert!(!desk.join(2, Hello { lan_up: false, ..hello(2) }).members[0].lan_up);
    desk.outputs.clear();
    desk.message(1, Control::LanState { up: false, id: None });
    desk.message(2, Control::LanState { up: true, id: None });
    assert!(desk.outputs.is_empty(), "nothing new");
    desk.message(1, Control::LanState { up: true, id: None });
    assert_eq!(desk.sent_to(2), [Control::LanState { up: true, id: Some(MemberId(1)) }]);
    assert!(desk.sent_to(1).is_empty());
}
