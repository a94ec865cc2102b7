//! The LAN MTU a room agrees on, from the budgets its members report.

use std::time::Duration;

use crate::support::{Desk, budget_for, hello, identity};
use lanparty_core::{GROW_HOLD, LinkId, RelayConfig, RelayEvent, RelayInput, SHRINK_HOLD, WAY_HOLD};
use lanparty_proto::{Control, DatagramBudget, Hello, LanMtu, MemberId};

/// A check comes every half second, so that a change is seen and taken at most this much after its hold.
const CHECKS: Duration = Duration::from_millis(1100);

fn pair() -> Desk {
    let mut desk = Desk::default();
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.outputs.clear();
    desk
}

fn agreed(desk: &Desk) -> u16 {
    desk.relay.report(desk.now)[0].lan_mtu
}

#[test]
fn a_smaller_path_shrinks_the_room_as_it_joins() {
    let mut desk = pair();
    assert_eq!(desk.join(3, Hello { budget: budget_for(1200), ..hello(3) }).lan_mtu.bytes(), 1200);
    assert_eq!((desk.mtus_seen_by(1), desk.mtus_seen_by(2)), (vec![1200], vec![1200]));
    assert!(desk.events().iter().any(|e| matches!(e, RelayEvent::LanMtu { mtu, .. } if mtu.bytes() == 1200)));
}

#[test]
fn a_larger_path_changes_nothing_as_it_joins() {
    let mut desk = pair();
    assert_eq!(desk.join(3, Hello { budget: budget_for(1500), ..hello(3) }).lan_mtu.bytes(), 1400);
    desk.advance(Duration::from_secs(60));
    assert!(desk.mtus_seen_by(1).is_empty() && agreed(&desk) == 1400);
}

#[test]
fn a_shrink_must_last_before_the_room_follows() {
    let mut desk = pair();
    desk.message(1, Control::Budget { budget: budget_for(1145) });
    desk.advance(SHRINK_HOLD - Duration::from_millis(500));
    assert_eq!(agreed(&desk), 1400);
    desk.message(1, Control::Budget { budget: budget_for(1400) });
    desk.advance(Duration::from_secs(60));
    assert!(desk.mtus_seen_by(2).is_empty(), "a dip changes nothing");
    desk.message(1, Control::Budget { budget: budget_for(1145) });
    desk.advance(SHRINK_HOLD + CHECKS);
    assert_eq!((desk.mtus_seen_by(1), desk.mtus_seen_by(2)), (vec![1145], vec![1145]));
}

#[test]
fn the_relays_own_view_of_a_path_counts_too() {
    let mut desk = pair();
    desk.input(RelayInput::Budget { link: LinkId(2), budget: budget_for(1300), rtt: Duration::ZERO });
    desk.advance(SHRINK_HOLD + CHECKS);
    assert_eq!(agreed(&desk), 1300);
}

#[test]
fn the_room_grows_soon_after_its_smallest_member_left() {
    let mut desk = pair();
    desk.join(3, Hello { budget: budget_for(600), ..hello(3) });
    desk.outputs.clear();
    desk.close(3);
    assert_eq!(agreed(&desk), 600, "not at once");
    desk.advance(GROW_HOLD + CHECKS);
    assert_eq!((agreed(&desk), desk.mtus_seen_by(1)), (1400, vec![1400]));
}

#[test]
fn a_path_that_takes_nothing_at_all_does_not_make_the_room_grow() {
    let mut desk = pair();
    desk.join(3, Hello { budget: budget_for(1200), ..hello(3) });
    desk.input(RelayInput::Budget { link: LinkId(3), budget: DatagramBudget(0), rtt: Duration::ZERO });
    desk.advance(Duration::from_secs(60));
    assert_eq!(agreed(&desk), 1200, "what the smallest member allows is unknown, not large");
}

#[test]
fn chatter_does_not_put_the_check_off() {
    let mut desk = pair();
    desk.message(1, Control::Budget { budget: budget_for(1200) });
    for _ in 0..100 {
        desk.advance(Duration::from_millis(100));
        desk.message(2, Control::LanState { up: true, id: None });
    }
    assert_eq!(agreed(&desk), 1200);
}

#[test]
fn a_path_that_shrinks_is_announced_long_before_the_room_follows() {
    let mut desk = pair();
    let said = |desk: &Desk, link| -> Vec<Option<u16>> {
        let mtu = |m| if let Control::PathMtu { id, mtu } = m { Some((id.0, mtu.map(LanMtu::bytes))) } else { None };
        desk.sent_to(link).into_iter().filter_map(mtu).inspect(|(id, _)| assert_eq!(*id, 2)).map(|(_, mtu)| mtu).collect()
    };
    desk.input(RelayInput::Budget { link: LinkId(2), budget: budget_for(1197), rtt: Duration::ZERO });
    desk.advance(WAY_HOLD + CHECKS);
    assert_eq!((said(&desk, 1), said(&desk, 2)), (vec![Some(1197)], vec![Some(1197)]), "everybody hears it, and nobody twice");
    assert_eq!(agreed(&desk), 1400);
    assert_eq!(desk.join(3, hello(3)).members.iter().map(|m| m.path_mtu.map(LanMtu::bytes)).collect::<Vec<_>>(), [None, Some(1197)]);
    desk.advance(SHRINK_HOLD + CHECKS);
    assert_eq!((agreed(&desk), said(&desk, 1)), (1197, vec![None]), "and it is no longer below it");
    assert_eq!(desk.join(4, hello(4)).limited_by, Some(MemberId(2)));
}

#[test]
fn who_limits_the_room_is_told_to_those_who_were_there_before() {
    let mut desk = Desk::default();
    let limits = |desk: &Desk, link| -> Vec<(u16, Option<u16>)> {
        let one = |m| if let Control::LanMtu { mtu, limited_by } = m { Some((mtu.bytes(), limited_by.map(|id| id.0))) } else { None };
        desk.sent_to(link).into_iter().filter_map(one).collect()
    };
    assert_eq!(desk.join(1, Hello { budget: budget_for(1300), ..hello(1) }).limited_by, None, "alone it limits nobody");
    assert_eq!(desk.join(2, hello(2)).limited_by, Some(MemberId(1)));
    assert_eq!(limits(&desk, 1), [(1300, Some(1))]);
    desk.join(3, hello(3));
    desk.outputs.clear();
    desk.advance(Duration::from_secs(60));
    assert!([1, 2, 3].into_iter().all(|link| limits(&desk, link).is_empty()), "once is enough");
    desk.join(4, Hello { budget: budget_for(1200), ..hello(4) });
    assert_eq!(limits(&desk, 1), [(1200, Some(4))]);
    desk.close(4);
    desk.outputs.clear();
    desk.advance(GROW_HOLD + CHECKS);
    assert_eq!(limits(&desk, 2), [(1300, Some(1))]);
}

#[test]
fn who_limits_the_room_is_told_anew_when_it_comes_back() {
    let mut desk = pair();
    let told = |desk: &Desk, link| desk.sent_to(link).iter().any(|m| matches!(m, Control::LanMtu { limited_by: Some(MemberId(3)), .. }));
    // The second time on another connection, which takes its own place over.
    for link in [3, 4] {
        desk.outputs.clear();
        desk.message_from(link, identity(3), budget_for(1500), Control::Hello(Hello { budget: budget_for(1300), ..hello(3) }));
        assert_eq!(desk.welcome(link).map(|w| (w.member, w.limited_by)), Some((MemberId(3), Some(MemberId(3)))));
        assert!(told(&desk, 1) && told(&desk, 2));
    }
}

#[test]
fn a_path_that_is_small_for_a_moment_is_not_announced() {
    let mut desk = pair();
    desk.input(RelayInput::Budget { link: LinkId(2), budget: budget_for(1145), rtt: Duration::ZERO });
    desk.advance(WAY_HOLD / 2);
    desk.input(RelayInput::Budget { link: LinkId(2), budget: budget_for(1400), rtt: Duration::ZERO });
    desk.advance(Duration::from_secs(10));
    assert!(desk.sent_to(1).iter().all(|m| !matches!(m, Control::PathMtu { .. })));
}

fn with_minimum() -> Desk {
    Desk::new(RelayConfig { lan_mtu_min: LanMtu::new(1280).unwrap(), ..RelayConfig::default() })
}

fn notices(desk: &Desk, link: u64) -> Vec<String> {
    desk.sent_to(link).into_iter().filter_map(|m| if let Control::Notice { message } = m { Some(message) } else { None }).collect()
}

#[test]
fn no_member_makes_a_room_smaller_than_the_relays_minimum() {
    let mut desk = with_minimum();
    assert_eq!(desk.join(1, Hello { budget: budget_for(1145), ..hello(1) }).lan_mtu.bytes(), 1280, "nor the first");
    assert_eq!(desk.join(2, hello(2)).lan_mtu.bytes(), 1280);
    desk.close(1);
    desk.advance(GROW_HOLD + CHECKS);
    assert_eq!(agreed(&desk), 1400);
    let welcome = desk.join(3, Hello { budget: budget_for(1145), ..hello(3) });
    assert_eq!((welcome.lan_mtu.bytes(), welcome.limited_by, desk.mtus_seen_by(2)), (1280, Some(MemberId(3)), vec![1280]));
    desk.message(2, Control::Budget { budget: budget_for(576) });
    desk.advance(Duration::from_secs(60));
    assert_eq!(agreed(&desk), 1280);
    desk.outputs.clear();
    desk.input(RelayInput::Budget { link: LinkId(3), budget: budget_for(1145), rtt: Duration::ZERO });
    desk.advance(Duration::from_secs(60));
    let told = desk.sent_to(2).iter().any(|m| matches!(m, Control::PathMtu { id: MemberId(3), mtu: Some(mtu) } if mtu.bytes() == 1145));
    assert!(told && agreed(&desk) == 1280, "what the relay itself finds on a way concerns who sends there");
}

#[test]
fn who_takes_less_than_the_relays_minimum_is_told_once_when_it_lasts() {
    let mut desk = with_minimum();
    desk.join(1, hello(1));
    desk.join(2, Hello { budget: budget_for(1145), ..hello(2) });
    desk.advance(SHRINK_HOLD / 2);
    assert!(notices(&desk, 2).is_empty(), "a moment is no news");
    desk.advance(Duration::from_secs(60));
    let [said] = &notices(&desk, 2)[..] else { panic!("{:?}", notices(&desk, 2)) };
    assert!(said.contains("packets of 1145 bytes only") && said.contains("at least 1280"), "{said}");
    assert!(desk.events().iter().any(|e| matches!(e, RelayEvent::BelowMinimum { member: MemberId(2), mtu, .. } if mtu.bytes() == 1145)));
    assert!(notices(&desk, 1).is_empty());
    desk.outputs.clear();
    desk.message(2, Control::Budget { budget: budget_for(1400) });
    desk.advance(GROW_HOLD + CHECKS);
    desk.message(2, Control::Budget { budget: budget_for(1200) });
    desk.advance(Duration::from_secs(60));
    assert_eq!((notices(&desk, 2).len(), agreed(&desk)), (1, 1280), "and again when it is new");
}
