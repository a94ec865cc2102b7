//! A room that joins several LANs: who agrees to it, where frames go, and what happens when two of the LANs are one.

use std::time::Duration;

use lanparty_core::{LinkId, RelayConfig, RelayEvent};
use lanparty_proto::{Control, Hello, MacAddr, MemberId, Refusal};

use crate::support::{BUDGET, Desk, frame, gateway_hello, hello, identity, mac};

/// Hosts behind gateway 1 and gateway 3, and one that nobody has heard.
const HOST_1: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
const HOST_3: MacAddr = MacAddr([2, 0, 0, 0, 3, 1]);
const SILENT: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

fn joining(n: u8) -> Hello {
    Hello { joins_lans: true, has_listened: true, ..gateway_hello(n) }
}

fn desk() -> Desk {
    Desk::new(RelayConfig { lans_max: 2, ..RelayConfig::default() })
}

/// Gateway 1, client 2, gateway 3 on another LAN.
fn room() -> Desk {
    let mut desk = desk();
    desk.join(1, joining(1));
    desk.join(2, hello(2));
    desk.join(3, joining(3));
    desk
}

#[test]
fn a_second_lan_is_joined_when_everybody_agrees_and_both_owners_read_of_dhcp() {
    let desk = room();
    assert!(desk.events().iter().any(|event| matches!(event, RelayEvent::LansJoined { count: 2, .. })));
    for gateway in [1, 3] {
        let words = desk.sent_to(gateway).into_iter().find_map(|m| if let Control::Notice { message } = m { Some(message) } else { None });
        assert!(words.is_some_and(|words| words.contains("joins 2 LANs") && words.contains("DHCP")));
    }
}

#[test]
fn whoever_does_not_agree_is_named() {
    for (first, second, lans_max, why) in [
        (joining(1), gateway_hello(3), 2, "start every gateway with --join-lans"),
        (joining(1), joining(3), 1, "this relay joins no LANs (its --lans is 1)"),
        (gateway_hello(1), joining(3), 2, "192.0.2.1:4711 was not started with --join-lans"),
        (joining(1), Hello { has_listened: false, ..joining(3) }, 2, "has not listened for long enough"),
    ] {
        let mut desk = Desk::new(RelayConfig { lans_max, ..RelayConfig::default() });
        desk.join(1, first);
        let (code, words) = desk.refused(3, 3, second);
        assert!(code == Refusal::SecondGateway && words.contains("has a gateway already") && words.contains(why), "{words}");
    }
    let mut desk = room();
    let (_, words) = desk.refused(4, 4, joining(4));
    assert!(words.contains("joins 2 LANs, as many as this relay's --lans allows"), "{words}");
}

#[test]
fn one_that_hears_a_gateway_of_the_room_stands_by_behind_that_one() {
    let mut desk = room();
    desk.message(4, Control::Hello(Hello { hears: vec![mac(3)], ..joining(4) }));
    assert_eq!(desk.sent_to(4), [Control::Standby { behind: MemberId(3), mac: mac(3) }]);
    desk.outputs.clear();
    desk.close(1);
    assert!(desk.welcome(4).is_none(), "the other LAN's gateway is not its to follow");
    desk.close(3);
    assert!(desk.welcome(4).is_some());
}

#[test]
fn frames_go_to_the_lan_of_their_host_to_all_lans_while_it_is_unknown_and_never_back() {
    let mut desk = room();
    assert_eq!(desk.send(2, &frame(SILENT, mac(2), 60)), [1, 3]);
    assert_eq!(desk.send(1, &frame(MacAddr::BROADCAST, HOST_1, 60)), [2, 3]);
    assert_eq!(desk.send(3, &frame(HOST_1, HOST_3, 60)), [1]);
    assert_eq!(desk.send(2, &frame(HOST_3, mac(2), 60)), [3]);
    assert_eq!(desk.send(1, &frame(HOST_3, HOST_1, 60)), [3]);
    assert_eq!(desk.send(1, &frame(HOST_1, HOST_3, 60)), Vec::<u64>::new(), "its own LAN, under another's address");
    desk.close(3);
    assert_eq!(desk.send(2, &frame(HOST_3, mac(2), 60)), [1], "gone with its gateway");
}

#[test]
fn a_host_is_not_believed_on_a_second_lan_until_it_is_silent_on_the_first() {
    let mut desk = room();
    desk.send(1, &frame(MacAddr::BROADCAST, HOST_1, 60));
    assert_eq!(desk.send(3, &frame(MacAddr::BROADCAST, HOST_1, 60)), Vec::<u64>::new());
    desk.now += Duration::from_secs(3);
    assert_eq!(desk.send(3, &frame(MacAddr::BROADCAST, HOST_1, 60)), [1, 2]);
    assert_eq!(desk.send(2, &frame(HOST_1, mac(2), 60)), [3]);
}

#[test]
fn when_two_lans_are_one_the_gateway_that_says_so_stands_by_until_they_are_two_again() {
    let mut desk = room();
    desk.outputs.clear();
    desk.message(3, Control::SameLan { gateway: MemberId(1) });
    assert_eq!(desk.refusal(3).unwrap().0, Refusal::StandBy);
    desk.close(3);
    desk.outputs.clear();
    // It may not have heard the other one again yet, and is known all the same.
    desk.message_from(5, identity(3), BUDGET, Control::Hello(joining(3)));
    assert_eq!(desk.sent_to(5), [Control::Standby { behind: MemberId(1), mac: mac(1) }]);
    for _ in 0..50 {
        desk.relay.unheard(LinkId(5), desk.now);
        desk.now += Duration::from_millis(250);
    }
    assert!(desk.relay.place(LinkId(5)).is_some(), "after ten seconds without the sign");
}

#[test]
fn a_gateway_that_is_heard_now_and_then_is_not_apart() {
    let mut desk = room();
    desk.message(4, Control::Hello(Hello { hears: vec![mac(3)], ..joining(4) }));
    for _ in 0..20 {
        desk.relay.unheard(LinkId(4), desk.now);
        desk.now += Duration::from_secs(3);
    }
    assert!(desk.relay.place(LinkId(4)).is_none());
}

#[test]
fn where_lans_are_not_joined_a_standby_waits_whatever_it_hears() {
    let mut desk = Desk::default();
    desk.join(1, gateway_hello(1));
    desk.message(3, Control::Hello(Hello { hears: vec![mac(1)], ..gateway_hello(3) }));
    for _ in 0..100 {
        desk.relay.unheard(LinkId(3), desk.now);
        desk.now += Duration::from_millis(250);
    }
    assert!(desk.relay.place(LinkId(3)).is_none());
}
