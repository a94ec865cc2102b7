//! Rooms that the relay's operator has written down: who may enter as what, and what happens to whom when that changes.

use std::collections::BTreeMap;

use lanparty_core::{
    AddressBook, Leases, LinkId, Listed, ProvenUser, Rate, Relay, RelayConfig, RelayEvent, RelayInput, RelayOutput, RoomName, RoomNets,
    RoomPattern, RoomRule, RoomRules, RoomUser, StormLimits,
};
use lanparty_proto::{
    AddressRequest, Control, Described, Description, Hello, Login, MacAddr, MemberId, MulticastPolicy, Password, Refusal,
};

use crate::support::{BUDGET, Desk, frame, gateway_hello, hello, identity, mac, udp_frame};

fn room(name: &str) -> RoomRule {
    RoomRule::open(RoomName::Is(name.parse().unwrap()))
}

fn listing(name: &str, members: &[u8]) -> RoomRule {
    RoomRule { keys: members.iter().map(|n| (identity(*n), Listed::default())).collect(), ..room(name) }
}

fn user(password: &str) -> BTreeMap<String, RoomUser> {
    BTreeMap::from([("anna".to_owned(), RoomUser { password: password.into(), may_bridge: false })])
}

fn desk(rules: Vec<RoomRule>) -> Desk {
    let mut desk = Desk::default();
    desk.relay = Relay::new(RelayConfig::default()).with_rules(RoomRules::new(rules, false), desk.now);
    desk
}

impl Desk {
    fn change(&mut self, rules: Vec<RoomRule>) {
        self.outputs.clear();
        self.relay.set_rules(RoomRules::new(rules, false), self.now);
        // Nothing that matters here; it carries the outputs over.
        self.input(RelayInput::Tick);
    }

    fn login(&mut self, link: u64, password: Option<&str>) {
        let login = Some(Login { user: "anna".into(), password: Password("secret".into()) });
        let message = Box::new(Control::Hello(Hello { login, ..hello(u8::try_from(link).unwrap()) }));
        let proven = password.map(|password| ProvenUser { user: "anna".into(), password: password.into() });
        let remote = format!("192.0.2.{link}:4711");
        self.input(RelayInput::Message {
            link: LinkId(link),
            identity: identity(u8::try_from(link).unwrap()),
            remote,
            budget: BUDGET,
            message,
            proven,
        });
    }
}

#[test]
fn members_hear_of_another_multicast_policy_once() {
    let mut desk = desk(vec![room("ROOM1")]);
    desk.join(1, hello(1));
    let policy = MulticastPolicy::Snooped;
    let snooped = || vec![RoomRule { multicast: Some(policy), ..room("ROOM1") }];
    desk.change(snooped());
    assert_eq!(desk.sent_to(1), [Control::Multicast { policy }]);
    desk.change(snooped());
    assert_eq!(desk.sent_to(1), []);
    assert_eq!(desk.join(2, hello(2)).multicast, policy);
}

#[test]
fn a_room_that_is_not_there_and_one_that_is_for_others_are_refused_alike() {
    let mut desk = desk(vec![listing("ROOM1", &[1])]);
    desk.join(1, hello(1));
    let (code, closed) = desk.refused(2, 2, hello(2));
    assert_eq!(code, Refusal::NotAllowed);
    assert!(closed.contains(&identity(2).to_hex()), "what the operator needs to know: {closed}");
    let told = |desk: &Desk| {
        desk.events().into_iter().find_map(|e| if let RelayEvent::Refused { message, .. } = e { Some(message) } else { None })
    };
    assert!(told(&desk).unwrap().contains("not on the room's list"));
    let (code, missing) = desk.refused(3, 2, Hello { room: "ROOM9".parse().unwrap(), ..hello(2) });
    assert_eq!((code, missing.replace("ROOM9", "ROOM1")), (Refusal::NotAllowed, closed));
    assert!(told(&desk).unwrap().contains("no such room"), "the operator reads which");
    let mut wrong = Hello { login: Some(Login { user: "x".into(), password: Password("y".into()) }), ..hello(2) };
    let (_, one) = desk.refused(4, 2, wrong.clone());
    wrong.room = "ROOM9".parse().unwrap();
    assert_eq!(one, desk.refused(5, 2, wrong).1.replace("ROOM9", "ROOM1"));
}

#[test]
fn names_may_be_written_as_an_expression() {
    let rule = RoomRule { members_max: Some(1), ..RoomRule::open(RoomName::Matches(RoomPattern::new("ROOM[0-9]").unwrap())) };
    let mut desk = desk(vec![rule]);
    desk.join(1, hello(1));
    assert_eq!(desk.refused(2, 2, hello(2)).0, Refusal::Full);
    desk.join(3, Hello { room: "ROOM2".parse().unwrap(), ..hello(3) });
    assert_eq!(desk.refused(4, 4, Hello { room: "ROOM22".parse().unwrap(), ..hello(4) }).0, Refusal::NotAllowed);
    desk.message_from(5, identity(1), BUDGET, Control::Hello(hello(1)));
    assert!(desk.welcome(5).is_some(), "who is in comes back into a full room");
}

#[test]
fn a_gateway_is_refused_where_none_is_allowed() {
    let keys = BTreeMap::from([(identity(1), Listed { name: None, may_bridge: true }), (identity(2), Listed::default())]);
    let mut desk = desk(vec![RoomRule { allows_gateway: false, keys, ..room("ROOM1") }]);
    let (code, words) = desk.refused(2, 2, gateway_hello(2));
    assert!(code == Refusal::NoGateway && words.contains("ROOM1"), "{words}");
    desk.join(1, gateway_hello(1));
    desk.join(2, hello(2));
}

#[test]
fn a_user_enters_with_the_password_that_the_rules_have_now() {
    let mut desk = desk(vec![RoomRule { users: user("hash"), ..room("ROOM1") }]);
    for (link, password) in [(1, None), (2, Some("older"))] {
        desk.outputs.clear();
        desk.login(link, password);
        assert_eq!(desk.refusal(link).unwrap().0, Refusal::NotAllowed);
    }
    desk.login(3, Some("hash"));
    assert!(desk.welcome(3).is_some());
    assert_eq!(desk.member(3).user.as_deref(), Some("anna"));
}

#[test]
fn other_rules_touch_nobody_whom_they_allow() {
    let mut desk = desk(vec![listing("ROOM1", &[1, 2])]);
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.change(vec![RoomRule { members_max: Some(1), ..listing("ROOM1", &[1, 2, 3]) }, room("ROOM2")]);
    assert!(desk.outputs.is_empty(), "{:?}", desk.outputs);
    assert_eq!(desk.send(1, &frame(mac(2), mac(1), 100)), [2]);
    assert_eq!(desk.refused(3, 3, hello(3)).0, Refusal::Full, "fewer members are only for those who come");
}

#[test]
fn who_is_allowed_no_longer_is_told_so_and_leaves() {
    let mut desk = desk(vec![listing("ROOM1", &[1, 2, 4]), room("ROOM2")]);
    desk.join(1, gateway_hello(1));
    desk.join(2, hello(2));
    desk.join(3, Hello { room: "ROOM2".parse().unwrap(), ..hello(3) });
    desk.join(4, hello(4));
    desk.change(vec![RoomRule { allows_gateway: false, ..listing("ROOM1", &[1, 4]) }]);
    assert_eq!([1, 2, 3].map(|link| desk.refusal(link).unwrap().0), [Refusal::NoGateway, Refusal::NotAllowed, Refusal::NotAllowed]);
    assert!(desk.refusal(3).unwrap().1.contains("closed room ROOM2") && desk.refusal(4).is_none());
    let left = desk.sent_to(4).iter().filter(|m| matches!(m, Control::MemberLeft { .. })).count();
    assert_eq!((left, desk.relay.report(desk.now).len()), (2, 1));
    assert!(desk.relay.place(LinkId(2)).is_none());
}

#[test]
fn a_changed_password_asks_for_the_new_one() {
    let mut desk = desk(vec![RoomRule { users: user("hash"), ..room("ROOM1") }]);
    desk.login(1, Some("hash"));
    desk.change(vec![RoomRule { users: user("other"), ..room("ROOM1") }]);
    assert_eq!(desk.refusal(1).unwrap().0, Refusal::LoginAgain);
    desk.login(2, Some("other"));
    assert!(desk.welcome(2).is_some());
}

#[test]
fn a_gateway_that_stands_by_and_is_allowed_no_longer_is_turned_away() {
    let mut desk = desk(vec![room("ROOM1")]);
    desk.join(1, gateway_hello(1));
    desk.message(2, Control::Hello(Hello { hears: vec![mac(1)], ..gateway_hello(2) }));
    desk.change(vec![RoomRule { allows_gateway: false, ..room("ROOM1") }]);
    assert_eq!([1, 2].map(|link| desk.refusal(link).unwrap().0), [Refusal::NoGateway; 2]);
    assert!(desk.relay.report(desk.now).is_empty(), "nobody took the place that is none");
}

#[test]
fn a_rooms_bandwidth_is_shared_by_all_and_what_is_over_it_is_counted() {
    let rate = Rate { per_second: 10_000, burst: 10_000 };
    let mut desk = desk(vec![RoomRule { bandwidth: Some(rate), ..room("ROOM1") }, room("ROOM2")]);
    (1..=3).for_each(|n| drop(desk.join(n, hello(n as u8))));
    let passed = (0..20).filter(|_| !desk.send(1, &frame(mac(2), mac(1), 1000)).is_empty()).count();
    assert_eq!((passed, desk.dropped(1, "RoomRateLimit"), desk.dropped(1, "RateLimit")), (10, 10, 0));
    assert!(desk.send(2, &frame(mac(1), mac(2), 1000)).is_empty(), "one bucket for the room");
    let dhcp = udp_frame(MacAddr::BROADCAST, mac(2), (68, 67), &[1; 300]);
    assert_eq!(desk.send(2, &dhcp).len(), 2, "a full room still finds addresses");
    desk.advance(std::time::Duration::from_secs(1));
    let floods = (0..10).filter(|_| !desk.send(3, &frame(MacAddr::BROADCAST, mac(3), 1000)).is_empty()).count();
    assert_eq!(floods, 5, "what goes to two is charged twice");
    let report = &desk.relay.report(desk.now)[0].bandwidth.clone().unwrap();
    assert_eq!((report.bits_per_second, report.frames_dropped), (80_000, 16));
    desk.join(4, Hello { room: "ROOM2".parse().unwrap(), ..hello(4) });
    desk.join(5, Hello { room: "ROOM2".parse().unwrap(), ..hello(5) });
    assert_eq!((0..20).filter(|_| !desk.send(4, &frame(mac(5), mac(4), 1000)).is_empty()).count(), 20, "another room is not touched");
}

#[test]
fn other_storm_limits_hold_for_those_who_are_there() {
    let storm = StormLimits { other: Some(5), ..StormLimits::default() };
    let mut desk = desk(vec![room("ROOM1")]);
    desk.join(1, hello(1));
    desk.join(2, hello(2));
    desk.change(vec![RoomRule { storm, ..room("ROOM1") }]);
    let passed = (0..100).filter(|_| !desk.send(1, &frame(MacAddr::BROADCAST, mac(1), 60)).is_empty()).count();
    assert_eq!(passed, 10, "two seconds' worth at once");
}

#[test]
fn a_room_has_the_addresses_of_its_own_networks_and_others_when_these_change() {
    let nets = |ipv4: &[&str], ipv6: Option<&str>| RoomNets {
        ipv4: ipv4.iter().map(|net| net.parse().unwrap()).collect(),
        ipv6: ipv6.map(|net| net.parse().unwrap()),
    };
    let asking = |n: u8, networks: &[&str]| {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Hello { addresses: Some(AddressRequest { networks, ..AddressRequest::default() }), ..hello(n) }
    };
    let rule = |nets| RoomRule { nets, ..room("ROOM1") };
    let mut desk = Desk::default();
    let book = AddressBook::new("10.9.0.0-10.9.1.0/24".parse().unwrap(), [1; 16], Leases::default());
    let rules = RoomRules::new(vec![rule(nets(&["10.9.0.0/24", "192.168.5.0/24"], Some("fd00:5::/64"))), room("ROOM2")], false);
    desk.relay = Relay::new(RelayConfig::default()).with_addresses(book).with_rules(rules, desk.now);
    let first = desk.join(1, asking(1, &["10.0.0.0/8"])).addresses.unwrap();
    assert!(first.ipv4.unwrap().to_string().starts_with("192.168.5."), "the first that the machine is not in: {first:?}");
    assert!(first.ipv6.unwrap().to_string().starts_with("fd00:5::"), "{first:?}");
    let other = desk.join(2, Hello { room: "ROOM2".parse().unwrap(), ..asking(2, &[]) }).addresses.unwrap();
    assert!(other.ipv4.unwrap().to_string().starts_with("10.9.1."), "not one that a room has for itself: {other:?}");
    desk.change(vec![rule(nets(&["10.7.0.0/24"], None)), room("ROOM2")]);
    let told = desk.sent_to(1).into_iter().find_map(|m| if let Control::Addresses(a) = m { Some(a) } else { None }).unwrap();
    assert!(told.ipv4.unwrap().to_string().starts_with("10.7.0.") && !told.ipv6.unwrap().to_string().starts_with("fd00:5::"));
    let refused = desk.join(3, asking(3, &["10.7.0.0/16"])).addresses.unwrap();
    assert!(refused.because.unwrap().contains("10.7.0.0/24"));
    desk.change(vec![rule(nets(&["10.6.0.0/24"], None)), room("ROOM2")]);
    desk.outputs.clear();
    let nowhere = desk.join(4, asking(4, &["10.0.0.0/8"])).addresses.unwrap();
    assert!(nowhere.ipv4.is_none(), "{nowhere:?}");
}

#[test]
fn a_room_carries_the_multicast_that_its_rule_says() {
    let rule = RoomRule { multicast: Some(MulticastPolicy::None), ..room("ROOM1") };
    let mut desk = desk(vec![rule, room("ROOM2")]);
    assert_eq!(desk.join(1, hello(1)).multicast, MulticastPolicy::None);
    desk.join(2, hello(2));
    let other = desk.join(3, Hello { room: "ROOM2".parse().unwrap(), ..hello(3) });
    assert_eq!(other.multicast, RelayConfig::default().multicast);
    let mdns = udp_frame(MacAddr([1, 0, 0x5e, 0, 0, 0xfb]), mac(1), (5353, 5353), &[1; 40]);
    assert!(desk.send(1, &mdns).is_empty() && desk.dropped(1, "Multicast") == 1);
    desk.change(vec![RoomRule { multicast: Some(MulticastPolicy::All), ..room("ROOM1") }, room("ROOM2")]);
    assert_eq!(desk.send(1, &mdns), [2], "at once at the relay");
}

#[test]
fn what_members_call_themselves_is_heard_by_everybody() {
    let named = |n: u8, name: &str| Hello { description: Description::new(name), ..hello(n) };
    let mut desk = Desk::default();
    desk.join(1, named(1, "anna's\nPC"));
    let welcome = desk.join(2, named(2, "bert"));
    assert_eq!(welcome.members[0].description, None);
    let said = Control::Descriptions { members: vec![Described { id: MemberId(1), description: Description::new("anna's PC") }] };
    assert!(desk.sent_to(2).contains(&said), "{:?}", desk.sent_to(2));
    assert_eq!(desk.joined_seen_by(1)[0].description, Some(Description::new("bert")));
    assert_eq!(desk.member(2).description.as_str(), "bert");
    assert!(desk.join(3, hello(3)).members.len() == 2 && desk.joined_seen_by(1)[0].description.is_none());
    desk.outputs.retain(|o| !matches!(o, RelayOutput::Event(_)));
    assert_eq!(desk.sent_to(3).len(), 2, "a welcome, and what two call themselves");
}
