use super::*;

const PARTY: &str = r#"
[[room]]
name = "ROOM1"
nets = ["10.9.0.0/24", "fd12:3456:789a:1::/64"]
gateway = false
members = 16
bandwidth = "20 Mbit/s"
vlan = "drop"
multicast = "snooped"

[room.storm]
other = 100

[[room.member]]
key = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
name = "anna's PC"
gateway = true

[[room]]
match = "party-[0-9]+"

[[room]]
name = "CLUB"
closed = true

[[room.user]]
name = "anna"
password = "HASH"
"#;

fn hash() -> String {
    crate::passwords::hash("secret").unwrap()
}

fn problems(text: &str) -> Vec<String> {
    read(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn rooms_are_read_with_all_that_is_said_of_them() {
    let hash = hash();
    let rules = read(&PARTY.replace("HASH", &hash)).unwrap();
    let [room, party, club] = &rules[..] else { panic!("{rules:?}") };
    assert_eq!(room.name.to_string(), "ROOM1");
    assert_eq!(
        (room.nets.ipv4[0].to_string().as_str(), room.nets.ipv6.unwrap().to_string().as_str()),
        ("10.9.0.0/24", "fd12:3456:789a:1::/64")
    );
    assert_eq!((room.allows_gateway, room.members_max, room.storm.other, room.storm.arp_nd), (false, Some(16), Some(100), None));
    assert_eq!((room.multicast, party.multicast), (Some(MulticastPolicy::Snooped), None));
    assert_eq!(room.bandwidth, Some(Rate { per_second: 2_500_000, burst: 625_000 }));
    let anna = IdentityId([0x5a; 32]);
    assert_eq!(room.keys[&anna], Listed { name: Some("anna's PC".into()), may_bridge: true });
    assert!(party.name.to_string() == "/party-[0-9]+/" && party.allows_gateway && !party.is_closed());
    assert!(club.is_closed && *club.users["anna"].password == *hash && !club.users["anna"].may_bridge);
    assert_eq!(read("").unwrap(), [], "a relay without rooms");
}

#[test]
fn every_key_misspelled_is_told_with_its_line_and_the_one_that_was_meant() {
    let text = "[[rooms]]\n[[room]]\nnmae = \"X\"\nmacth = \"x\"\nnet = []\ngatway = true\nmember_max = 1\nbandwith = \"1 Mbit/s\"\nclose = true\nvlans = \"drop\"\n\
                [room.strom]\n[room.storm]\napr = 1\ndchp = 1\ndiscover = 1\nothers = 1\n[[room.member]]\nkeys = \"x\"\nnames = \"x\"\n[[room.user]]\nnmae = \"x\"\npasword = \"x\"\n";
    let told = problems(text);
    let meant = [
        "room",
        "name",
        "match",
        "nets",
        "gateway",
        "members",
        "bandwidth",
        "closed",
        "vlan",
        "storm",
        "arp",
        "dhcp",
        "discovery",
        "other",
        "key",
        "name",
        "name",
        "password",
    ];
    for meant in meant {
        assert!(told.iter().any(|told| told.ends_with(&format!("did you mean `{meant}`?"))), "{meant}: {told:#?}");
    }
    assert!(told[0].starts_with("1: unknown key `rooms`"), "{}", told[0]);
    assert!(told.iter().any(|told| told.starts_with("21: unknown key `nmae`")), "{told:#?}");
    assert_eq!(problems("colour = 1"), ["1: unknown key `colour`: it is one of room"]);
}

#[test]
fn bad_values_are_told_with_their_line() {
    let room = |line: &str| format!("[[room]]\nname = \"X\"\n{line}\n");
    for (text, line, words) in [
        (room("nets = [\"10.9.0.0/33\"]"), 3, "/33 is longer than an IPv4 address"),
        (room("nets = \"fd00::/129\""), 3, "/129 is longer than an IPv6 address"),
        (room("nets = [\"10.9.0.5/24\"]"), 3, "write 10.9.0.0/24"),
        (room("nets = [\"10.9.0.0\"]"), 3, "is no network"),
        (room("nets = [\"10.9.0.0/30\"]"), 3, "8 to 29, not 30"),
        (room("nets = [\"203.0.113.0/24\"]"), 3, "is not private"),
        (room("nets = [\"2001:db8::/64\"]"), 3, "begins with fd"),
        (room("nets = [\"fd00::/64\", \"fd01::/64\"]"), 3, "one IPv6 network"),
        (room("gateway = \"no\""), 3, "true or false"),
        (room("members = 0"), 3, "from 1 to 800"),
        (room("members = \"16\""), 3, "a number"),
        (room("bandwidth = \"20\""), 3, "no bandwidth"),
        (room("bandwidth = \"20 MB/s\""), 3, "20 Mbit/s"),
        (room("bandwidth = \"1 kbit/s\""), 3, "64 kbit/s to"),
        (room("bandwidth = \"99999999999999999999 Gbit/s\""), 3, "no bandwidth"),
        (room("multicast = \"snoop\""), 3, "did you mean `snooped`"),
        (room("vlan = \"pass\""), 3, "carries no VLAN tags"),
        (room("[room.storm]\narp = 0"), 4, "from 1 to"),
        (room("storm = 5"), 3, "write [room.storm]"),
        (room("member = \"x\""), 3, "write [[room.member]]"),
        (room("[[room.member]]\nkey = \"abc\""), 4, "is no key"),
        (room("[[room.member]]\nname = \"x\""), 3, "a machine has a key"),
        (room("[[room.user]]\nname = \"x\""), 3, "a name and the hash"),
        (room("match = \"x\""), 1, "here are both"),
        (room("match = \"(a\""), 1, "here are both"),
        ("[[room]]\ngateway = true".to_owned(), 1, "a name, or an expression"),
        ("[[room]]\nname = \"a b\"".to_owned(), 2, "cannot be a room code"),
        ("[[room]]\nmatch = \"(a\"".to_owned(), 2, "unclosed group"),
        ("[[room]]\nmatch = \"(((a{99}){99}){99}){99}\"".to_owned(), 2, "too large"),
        ("[[room]]\nname = \"A\"\n[[room]]\nname = \"A\"".to_owned(), 3, "is on line 1 already"),
        ("room = 5".to_owned(), 1, "write [[room]]"),
        ("[room]\nname = \"A\"".to_owned(), 1, "write [[room]]"),
        ("[[room]\n".to_owned(), 1, ""),
    ] {
        let told = problems(&text);
        let is_told = told.iter().any(|told| told.starts_with(&format!("{line}: ")) && told.contains(words));
        assert!(is_told, "{text}: {told:?}");
    }
}

/// Nobody corrects a file to be told of the next mistake.
#[test]
fn two_rooms_of_one_name_are_told_beside_what_else_is_wrong() {
    let told = problems("[[room]]\nname = \"A\"\nmembers = 0\n[[room]]\nname = \"A\"\nmatch = \"(\"\n[[room]]\nname = \"A\"\n");
    let expected = ["3: a number", "4: a room has a name or", "4: room A is on line 1 already", "6: ", "7: room A is on line 4 already"];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    assert!(told.iter().zip(expected).all(|(told, begins)| told.starts_with(begins)), "{told:#?}");
}

#[test]
fn a_password_in_place_of_its_hash_is_not_shown() {
    let told = problems("[[room]]\nname = \"X\"\n[[room.user]]\nname = \"anna\"\npassword = \"hunter2\"\n");
    assert!(told.iter().any(|told| told.starts_with("5: ") && told.contains("lanparty-relay password")), "{told:?}");
    assert!(!format!("{told:?}").contains("hunter2"));
}

#[test]
fn somebody_who_is_on_a_list_twice_is_told() {
    let user = format!("[[room.user]]\nname = \"anna\"\npassword = \"{}\"\n", hash());
    let member = format!("[[room.member]]\nkey = \"{}\"\n", "ab".repeat(32));
    for twice in [user, member] {
        let told = problems(&format!("[[room]]\nname = \"X\"\n{twice}{twice}"));
        assert!(told.len() == 1 && told[0].contains("on the list twice"), "{told:?}");
    }
}
