//! Gateways that stand by, and when they take over.

use lanparty_core::{LinkId, RelayEvent};
use lanparty_proto::{Control, Hello, MacAddr, MemberId, Refusal};

use crate::support::{BUDGET, Desk, frame, gateway_hello, hello, identity, mac};

/// A gateway that hears another one's sign.
fn hearing(n: u8, other: u8) -> Hello {
    Hello { hears: vec![mac(other)], ..gateway_hello(n) }
}

/// Gateway 1, client 2, and gateway 3 that stands by.
fn room() -> Desk {
    let mut desk = Desk::default();
    desk.join(1, gateway_hello(1));
    desk.join(2, hello(2));
    desk.outputs.clear();
    desk.message(3, Control::Hello(hearing(3, 1)));
    desk
}

#[test]
fn a_second_gateway_on_the_same_lan_stands_by_and_is_in_no_room() {
    let mut desk = room();
    assert_eq!(desk.sent_to(3), [Control::Standby { behind: MemberId(1), mac: mac(1) }]);
    assert_eq!(desk.sent_to(1), [Control::Standbys { count: 1 }]);
    assert!(desk.sent_to(2).is_empty() && desk.relay.place(LinkId(3)).is_none());
    assert!(matches!(&desk.events()[..], [RelayEvent::StandsBy { behind: MemberId(1), .. }]));
    assert_eq!(desk.relay.report(desk.now)[0].standbys.len(), 1);
    assert_eq!(desk.relay.gateway_before(LinkId(3)), Some(LinkId(1)));
    assert_eq!(desk.send(2, &frame(MacAddr::BROADCAST, mac(2), 60)), [1], "and gets no frame");
}

#[test]
fn one_that_hears_nobody_or_somebody_else_is_refused_as_ever() {
    let mut desk = Desk::default();
    desk.join(1, gateway_hello(1));
    for hello in [gateway_hello(3), hearing(3, 7)] {
        let (code, words) = desk.refused(3, 3, hello);
        assert_eq!(code, Refusal::SecondGateway);
        assert!(words.contains("has a gateway already"), "{words}");
    }
}

#[test]
fn it_takes_over_at_once_when_the_first_one_is_gone_and_the_first_one_stands_by_when_it_returns() {
    let mut desk = room();
    desk.outputs.clear();
    desk.close(1);
    let welcome = desk.welcome(3).expect("it is let in");
    assert_eq!((welcome.member, welcome.members.len()), (MemberId(3), 1));
    assert!(matches!(&desk.sent_to(2)[..], [Control::MemberLeft { id: MemberId(1), .. }, Control::MemberJoined { .. }]));
    desk.outputs.clear();
    desk.message_from(4, identity(1), BUDGET, Control::Hello(gateway_hello(1)));
    assert_eq!(desk.sent_to(4), [Control::Standby { behind: MemberId(3), mac: mac(3) }], "it is known to be on that LAN");
    assert!(desk.sent_to(2).is_empty(), "nothing is handed back");
}

#[test]
fn a_lan_without_carrier_hands_over_to_one_that_has_it_and_not_back() {
    let mut desk = room();
    desk.outputs.clear();
    desk.message(1, Control::LanState { up: false, id: None });
    assert_eq!(desk.refusal(1).unwrap().0, Refusal::StandBy);
    assert!(desk.welcome(3).is_some() && desk.relay.place(LinkId(1)).is_none());
    desk.close(1);
    desk.message_from(4, identity(1), BUDGET, Control::Hello(Hello { lan_up: false, ..gateway_hello(1) }));
    desk.outputs.clear();
    desk.message_from(4, identity(1), BUDGET, Control::LanState { up: true, id: None });
    assert!(desk.outputs.is_empty(), "both have their LAN: whoever is in stays in");
    desk.message(3, Control::LanState { up: false, id: None });
    assert!(desk.welcome(4).is_some());
}

#[test]
fn nothing_is_handed_to_one_whose_own_lan_is_down() {
    let mut desk = room();
    desk.message(3, Control::LanState { up: false, id: None });
    desk.outputs.clear();
    desk.message(1, Control::LanState { up: false, id: None });
    assert!(desk.refusal(1).is_none() && desk.welcome(3).is_none());
    desk.message(3, Control::LanState { up: true, id: None });
    assert!(desk.welcome(3).is_some(), "until it is up");
}

#[test]
fn those_that_wait_are_bounded_and_leave_when_they_like() {
    let mut desk = room();
    for n in 4..=6 {
        desk.message(u64::from(n), Control::Hello(hearing(n, 1)));
    }
    assert_eq!(desk.refused(7, 7, hearing(7, 1)).0, Refusal::SecondGateway);
    desk.outputs.clear();
    desk.message(3, Control::Bye { reason: "enough".into() });
    desk.close(4);
    assert_eq!(desk.sent_to(1), [Control::Standbys { count: 3 }, Control::Standbys { count: 2 }]);
    desk.message_from(8, identity(5), BUDGET, Control::Hello(hearing(5, 1)));
    assert_eq!(desk.refusal(5).unwrap().0, Refusal::Replaced, "one machine waits once");
    desk.close(1);
    assert!(desk.welcome(6).is_some(), "who waits longest is next");
}
