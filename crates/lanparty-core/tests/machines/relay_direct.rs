//! Members that are told where to find each other.

use std::net::SocketAddr;
use std::time::Duration;

use lanparty_core::{INTRODUCTIONS_MAX, LinkId, RelayEvent, RelayInput, worth_trying};
use lanparty_proto::{CANDIDATES_MAX, Control, MemberId};

use crate::support::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn told(desk: &Desk, link: u64) -> Vec<(MemberId, Vec<SocketAddr>)> {
    let one = |m| if let Control::PeerAt { id, addresses, .. } = m { Some((id, addresses)) } else { None };
    desk.sent_to(link).into_iter().filter_map(one).collect()
}

#[test]
fn both_hear_of_each_other_when_the_second_has_named_its_addresses() {
    let mut desk = Desk::default();
    let (one, two) = (desk.join(1, hello(1)).member, desk.join(2, hello(2)).member);
    desk.outputs.clear();
    desk.message(1, Control::Candidates { addresses: vec![at("192.168.1.5:4000")] });
    assert!(told(&desk, 1).is_empty() && told(&desk, 2).is_empty(), "the other one does not play that game, or not yet");
    desk.message(2, Control::Candidates { addresses: vec![at("[2001:db8::2]:5000")] });
    assert_eq!(told(&desk, 2), [(one, vec![at("192.0.2.1:4711"), at("192.168.1.5:4000")])], "as the relay sees it, then as it sees itself");
    assert_eq!(told(&desk, 1), [(two, vec![at("192.0.2.2:4711"), at("[2001:db8::2]:5000")])]);
}

#[test]
fn a_member_that_roams_is_found_at_its_new_address() {
    let mut desk = Desk::default();
    let (one, two) = (desk.join(1, hello(1)).member, desk.join(2, hello(2)).member);
    let seen_at = |remote: &str| RelayInput::SeenAt { link: LinkId(1), remote: remote.to_owned() };
    desk.message(2, Control::Candidates { addresses: vec![] });
    desk.outputs.clear();
    desk.input(seen_at("198.51.100.1:99"));
    assert!(told(&desk, 2).is_empty(), "it has not said that it wants to be found");
    desk.message(1, Control::Candidates { addresses: vec![at("192.168.1.5:4000")] });
    assert_eq!(told(&desk, 2), [(one, vec![at("198.51.100.1:99"), at("192.168.1.5:4000")])]);
    desk.outputs.clear();
    desk.input(seen_at("203.0.113.1:7"));
    assert_eq!(told(&desk, 2), [(one, vec![at("203.0.113.1:7"), at("192.168.1.5:4000")])]);
    assert_eq!(told(&desk, 1), [(two, vec![at("192.0.2.2:4711")])], "both try at the same time");
    let moved = desk.events().into_iter().filter(|event| matches!(event, RelayEvent::Moved { .. })).count();
    desk.input(seen_at("203.0.113.1:7"));
    assert_eq!((moved, told(&desk, 2).len()), (1, 1), "where it is already is no news");
}

#[test]
fn nobody_is_sent_to_where_no_member_can_be_nor_to_many_places() {
    let bad = [
        "224.0.0.1:5",
        "255.255.255.255:5",
        "127.0.0.1:5",
        "0.0.0.0:5",
        "169.254.1.1:5",
        "10.0.0.1:0",
        "[::1]:5",
        "[ff02::1]:5",
        "[fe80::1]:5",
    ];
    assert!(worth_trying(bad.map(at)).is_empty());
    assert!(worth_trying([at("[::ffff:127.0.0.1]:5"), at("[::ffff:224.0.0.1]:5")]).is_empty());
    let many = (0..100u16).map(|n| SocketAddr::from(([192, 0, 2, 7], 1000 + n)));
    assert_eq!(worth_trying(many).len(), CANDIDATES_MAX);
    assert_eq!(worth_trying([at("10.0.0.1:5"), at("10.0.0.1:5"), at("[::ffff:10.0.0.1]:5")]), [at("10.0.0.1:5")]);
}

#[test]
fn in_a_large_room_a_newcomer_hears_of_some() {
    let mut desk = Desk::default();
    for n in 1..=100u8 {
        desk.join(n.into(), hello(n));
        desk.outputs.clear();
        desk.message(n.into(), Control::Candidates { addresses: vec![at("192.168.1.5:4000")] });
    }
    assert_eq!(told(&desk, 100).len(), INTRODUCTIONS_MAX);
}

#[test]
fn a_member_that_names_addresses_all_the_time_is_not_heard_all_the_time() {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.message(2, Control::Candidates { addresses: vec![] });
    desk.outputs.clear();
    for _ in 0..100 {
        desk.message(1, Control::Candidates { addresses: vec![at("192.168.1.5:4000")] });
    }
    assert_eq!(told(&desk, 2).len(), 5);
    desk.advance(Duration::from_secs(1));
    desk.message(1, Control::Candidates { addresses: vec![] });
    assert_eq!(told(&desk, 2).len(), 6);
}
