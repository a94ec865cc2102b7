//! A member that changes the connection that carries it.

use lanparty_core::{LinkId, RelayEvent, RelayInput, RelayOutput};
use lanparty_proto::{Control, DatagramBudget, Hello, Move, PROTOCOL_VERSION, Refusal};

use crate::support::*;

const RUN: u64 = 42;
/// Connections beyond those of the members.
const FRESH: u64 = 7;

fn wanted(run: u64) -> Control {
    Control::Move(Move { version: PROTOCOL_VERSION, room: "ROOM1".parse().unwrap(), run, budget: BUDGET, above: DatagramBudget(0) })
}

/// Members 1 and 2; member 1 may move.
fn desk() -> Desk {
    let mut desk = Desk::default();
    desk.join(1, Hello { run: RUN, ..hello(1) });
    desk.join(2, hello(2));
    desk.outputs.clear();
    desk
}

fn moved() -> Desk {
    let mut desk = desk();
    desk.message_from(FRESH, identity(1), BUDGET, wanted(RUN));
    desk
}

#[test]
fn the_room_hears_nothing_of_a_move_and_frames_take_the_new_way() {
    let mut desk = moved();
    let welcome = desk.welcome(FRESH).expect("it is welcomed");
    assert_eq!((welcome.member, welcome.members.len()), (desk.relay.place(LinkId(1)).unwrap().member(), 1));
    assert!(desk.sent_to(2).is_empty() && desk.sent_to(1).is_empty(), "{:?}", desk.outputs);
    let first = desk.outputs.first();
    assert_eq!(first, Some(&RelayOutput::Moved { from: LinkId(1), to: LinkId(FRESH) }), "the old way is drained before anything is said");
    assert!(matches!(desk.events()[..], [RelayEvent::Moved { .. }]));
    assert_eq!(desk.send(2, &frame(mac(1), mac(2), 100)), [FRESH]);
}

#[test]
fn frames_that_are_on_their_way_in_the_old_connection_are_switched() {
    let mut desk = moved();
    assert_eq!(desk.send(1, &frame(mac(2), mac(1), 100)), [2]);
    assert_eq!(desk.send(FRESH, &frame(mac(2), mac(1), 100)), [2]);
}

#[test]
fn the_end_of_the_old_connection_is_not_the_end_of_the_member() {
    let mut desk = moved();
    desk.close(1);
    assert!(desk.sent_to(2).is_empty());
    assert!(desk.relay.place(LinkId(1)).is_none(), "nobody speaks for it any more");
    assert_eq!(desk.send(2, &frame(mac(1), mac(2), 100)), [FRESH]);
    desk.close(FRESH);
    assert!(desk.sent_to(2).iter().any(|m| matches!(m, Control::MemberLeft { .. })));
}

#[test]
fn a_member_that_left_takes_its_old_connections_with_it() {
    let mut desk = moved();
    desk.close(FRESH);
    // Its number is free, and given to the next who asks for it.
    let next = desk.join(3, Hello { resume: Some(lanparty_proto::MemberId(1)), ..hello(3) });
    assert_eq!(next.member, lanparty_proto::MemberId(1));
    assert!(desk.relay.place(LinkId(1)).is_none(), "the old connection does not speak for the new member");
}

#[test]
fn what_the_old_connection_says_or_finds_is_not_heard() {
    let mut desk = moved();
    desk.message(1, Control::Budget { budget: DatagramBudget(700) });
    desk.message(1, Control::Bye { reason: "late".into() });
    desk.input(RelayInput::Budget { link: LinkId(1), budget: DatagramBudget(700), rtt: std::time::Duration::ZERO });
    desk.advance(std::time::Duration::from_secs(20));
    assert!(desk.mtus_seen_by(2).is_empty() && desk.refusal(1).is_none(), "{:?}", desk.outputs);
    assert_eq!(desk.send(2, &frame(mac(1), mac(2), 100)), [FRESH]);
}

#[test]
fn only_the_run_that_joined_may_move_it() {
    for (run, by) in [(RUN + 1, 1), (0, 1), (RUN, 2), (RUN, 9)] {
        let mut desk = desk();
        desk.message_from(FRESH, identity(by), BUDGET, wanted(run));
        assert_eq!(desk.refusal(FRESH).map(|(code, _)| code), Some(Refusal::NotMoved), "run {run} of identity {by}");
        assert_eq!(desk.send(2, &frame(mac(1), mac(2), 100)), [1]);
    }
}

#[test]
fn a_member_that_does_not_move_has_no_run_to_be_moved_by() {
    let mut desk = desk();
    desk.message_from(FRESH, identity(2), BUDGET, wanted(0));
    assert_eq!(desk.refusal(FRESH).map(|(code, _)| code), Some(Refusal::NotMoved));
}

#[test]
fn a_larger_way_makes_the_room_larger_and_a_smaller_one_smaller_after_a_while() {
    let mut desk = Desk::default();
    desk.message_from(1, identity(1), budget_for(1200), Control::Hello(Hello { run: RUN, budget: budget_for(1200), ..hello(1) }));
    desk.join(2, hello(2));
    let large = Move { version: PROTOCOL_VERSION, room: "ROOM1".parse().unwrap(), run: RUN, budget: BUDGET, above: DatagramBudget(0) };
    desk.message_from(FRESH, identity(1), BUDGET, Control::Move(large.clone()));
    desk.advance(std::time::Duration::from_secs(3));
    assert_eq!(desk.mtus_seen_by(2).last(), Some(&BUDGET.lan_mtu().unwrap().bytes()));
    desk.message_from(FRESH + 1, identity(1), budget_for(1300), Control::Move(Move { budget: budget_for(1300), ..large }));
    desk.advance(std::time::Duration::from_secs(8));
    assert_eq!(desk.mtus_seen_by(2).last(), Some(&1300));
}

#[test]
fn a_way_back_that_is_no_larger_is_not_taken() {
    let mut desk = desk();
    let wanted = Move { version: PROTOCOL_VERSION, room: "ROOM1".parse().unwrap(), run: RUN, budget: BUDGET, above: budget_for(1300) };
    desk.message_from(FRESH, identity(1), budget_for(1300), Control::Move(wanted.clone()));
    assert_eq!(desk.refusal(FRESH).map(|(code, _)| code), Some(Refusal::NotMoved));
    desk.message_from(FRESH + 1, identity(1), budget_for(1301), Control::Move(wanted));
    assert!(desk.welcome(FRESH + 1).is_some());
}
