use lanparty_proto::{DatagramBudget, Login, MacAddr, Password};

use super::*;

const ANNA: IdentityId = IdentityId([1; 32]);
const BERT: IdentityId = IdentityId([2; 32]);

fn named(name: &str) -> RoomRule {
    RoomRule::open(RoomName::Is(name.parse().unwrap()))
}

fn matching(pattern: &str) -> RoomRule {
    RoomRule::open(RoomName::Matches(RoomPattern::new(pattern).unwrap()))
}

fn with_user(rule: RoomRule, user: &str, hash: &str) -> RoomRule {
    let user = (user.to_owned(), RoomUser { password: hash.into(), may_bridge: false });
    RoomRule { users: rule.users.clone().into_iter().chain([user]).collect(), ..rule }
}

fn proven(user: &str, hash: &str) -> ProvenUser {
    ProvenUser { user: user.into(), password: hash.into() }
}

fn hello(room: &str, user: Option<&str>) -> Hello {
    Hello {
        login: user.map(|user| Login { user: user.into(), password: Password("secret".into()) }),
        ..Hello::new(Role::Client, room.parse().unwrap(), MacAddr([2; 6]), DatagramBudget(1400))
    }
}

fn rule_of(rules: &RoomRules, room: &str) -> Option<String> {
    rules.of(&room.parse().unwrap()).map(|rule| rule.name.to_string())
}

#[test]
fn the_rule_that_names_a_room_comes_before_those_that_match_it() {
    let rules = RoomRules::new(vec![matching("party.*"), matching("party-1"), named("party-1")], false);
    assert_eq!(rule_of(&rules, "party-1").as_deref(), Some("party-1"));
    assert_eq!(rule_of(&rules, "party-2").as_deref(), Some("/party.*/"));
    assert_eq!(rule_of(&rules, "my-party"), None);
    assert!(rule_of(&RoomRules::new(vec![named("A")], true), "anything").is_some());
    assert!(rule_of(&RoomRules::open(), "anything").is_some() && rule_of(&RoomRules::default(), "anything").is_none());
}

#[test]
fn who_is_listed_may_enter_and_nobody_else_where_anybody_is_listed() {
    assert!(named("A").admits(ANNA, None).is_ok());
    let keys = BTreeMap::from([(ANNA, Listed::default())]);
    let rule = with_user(RoomRule { keys, ..named("A") }, "bert", "hash1");
    assert!(rule.admits(ANNA, None).is_ok() && rule.admits(BERT, Some(&proven("bert", "hash1"))).is_ok());
    assert!(rule.admits(BERT, None).unwrap_err().contains(&BERT.to_hex()));
    for (user, hash) in [("bert", "hash0"), ("carl", "hash1")] {
        assert!(rule.admits(BERT, Some(&proven(user, hash))).unwrap_err().contains(user));
    }
    let closed = RoomRule { is_closed: true, ..named("A") };
    assert!(closed.admits(ANNA, None).is_err(), "a list without anybody is a list");
}

#[test]
fn a_gateway_needs_the_room_or_its_own_line_to_allow_it() {
    let keys = BTreeMap::from([(ANNA, Listed { name: None, may_bridge: true })]);
    let rule = RoomRule { allows_gateway: false, keys, ..with_user(named("A"), "bert", "hash") };
    assert!(rule.may_bridge(ANNA, None) && !rule.may_bridge(BERT, None) && !rule.may_bridge(BERT, Some(&proven("bert", "hash"))));
    let users = BTreeMap::from([("bert".to_owned(), RoomUser { password: "hash".into(), may_bridge: true })]);
    let rule = RoomRule { users, ..rule };
    assert!(rule.may_bridge(BERT, Some(&proven("bert", "hash"))) && !rule.may_bridge(BERT, Some(&proven("bert", "old"))));
    assert!(RoomRule { allows_gateway: true, ..rule }.may_bridge(BERT, None));
}

#[test]
fn a_password_for_nothing_is_compared_as_long_as_one_for_something() {
    let rules = RoomRules::new(vec![with_user(named("A"), "anna", "hash"), named("OPEN")], false);
    let check = |room, user, identity| rules.password_check(&hello(room, user), identity);
    assert_eq!(check("A", Some("anna"), ANNA), PasswordCheck::With("hash".into()));
    for (room, user) in [("A", "bert"), ("NOWHERE", "anna")] {
        assert_eq!(check(room, Some(user), ANNA), PasswordCheck::InVain("hash".into()), "{room} {user}");
    }
    assert_eq!((check("A", None, ANNA), check("OPEN", Some("anna"), ANNA)), (PasswordCheck::None, PasswordCheck::None));
    let listed = RoomRule { keys: BTreeMap::from([(ANNA, Listed::default())]), ..with_user(named("A"), "anna", "hash") };
    assert_eq!(RoomRules::new(vec![listed], false).password_check(&hello("A", Some("anna")), ANNA), PasswordCheck::None);
    assert_eq!(RoomRules::default().password_check(&hello("A", Some("anna")), ANNA), PasswordCheck::None, "no room here has users");
}

#[test]
fn what_has_changed_is_said_room_by_room() {
    let before = RoomRules::new(vec![named("A"), with_user(named("B"), "anna", "x"), named("C")], false);
    let b = RoomRule { members_max: Some(4), ..with_user(named("B"), "anna", "y") };
    let now = RoomRules::new(vec![named("C"), b, matching("d.*")], false);
    assert_eq!(now.news_since(&before), ["room B has changed: members, users", "room /d.*/ is new", "room A is gone"]);
    assert!(now.news_since(&now.clone()).is_empty());
}

#[test]
fn storm_limits_replace_those_of_the_relay_class_by_class() {
    let rule = RoomRule { storm: StormLimits { other: Some(7), ..StormLimits::default() }, ..named("A") };
    let limits = Limits::default();
    let client = rule.limits(limits, Role::Client).bum;
    assert_eq!((client.other, client.arp_nd), (Rate { per_second: 7, burst: 14 }, limits.bum.arp_nd));
    assert_eq!(rule.limits(limits, Role::Gateway).bum.other.per_second, 7 * Limits::GATEWAY_FACTOR);
}
