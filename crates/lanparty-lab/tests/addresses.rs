//! What the doctor says of a relay over IPv6, and of one with several addresses.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/street.rs"]
mod street;

use street::{GOOD, RELAY_IPV6, Street, ready, took};

#[test]
fn over_ipv6_a_way_is_healthy_has_a_hole_or_a_router_that_says_so() {
    if !ready() {
        return;
    }
    let street = Street::new("ipv6", GOOD).with_ipv6();
    let _relay = street.relay(&["--listen", "[::]:8443"]);
    let certificate = street.programs.certificate().display().to_string();
    let relay = ["--relay", RELAY_IPV6, "--server-name", "lanparty-relay.local", "--relay-ca-cert", &certificate];
    let examined = took(|| street.examine_relay(&relay, &[]));
    examined.is_healthy();
    assert_eq!((examined.edge("up"), examined.edge("down")), ((1452, Some(1453)), (1452, Some(1453))));
    assert_eq!(examined.report["facts"]["relay"]["up"]["fragments_pass"], true);
    street.wire.set_both(&"delay=2ms mtu=1440".parse().unwrap()).unwrap();
    let examined = took(|| street.examine_relay(&relay, &[]));
    examined.says("path-black-hole", &[]);
    assert_eq!((examined.edge("up"), examined.edge("down")), ((1392, Some(1393)), (1392, Some(1393))));
    street.wire.set_both(&GOOD.parse().unwrap()).unwrap();
    street.router_mtu(1440);
    let examined = took(|| street.examine_relay(&relay, &[]));
    examined.is_healthy();
    assert_eq!(examined.report["facts"]["relay"]["up"]["icmp_too_big_heard"], true, "{:#}", examined.report["facts"]["relay"]["up"]);
    assert_eq!(examined.edge("up"), (1392, Some(1393)));
    // No router of IPv6 fragments, so that nothing tells a filter from a hole.
    street.nft_ipv6("icmp", "type filter hook output priority 0", &["icmpv6 type packet-too-big drop"]);
    street.home.ip("-6 route flush cache").unwrap();
    took(|| street.examine_relay(&relay, &[])).says("path-black-hole", &[]);
}

#[test]
fn a_dead_address_beside_one_that_answers_is_named() {
    if !ready() {
        return;
    }
    let street = Street::new("dead", GOOD).with_ipv6();
    let starter = street.name_of(&["2001:db8:99::1", "10.99.0.1"]);
    let starter: Vec<&str> = starter.iter().map(String::as_str).collect();
    let certificate = street.programs.certificate().display().to_string();
    let relay = ["--relay", "relay.example.net:8443", "--server-name", "lanparty-relay.local", "--relay-ca-cert", &certificate];
    let examine = || took(|| street.examine_host(&starter, &relay));
    let on_both = street.relay(&["--listen", "[::]:8443"]);
    examine().is_healthy();
    street.nft_ipv6("dead", "type filter hook forward priority 0", &["meta l4proto udp drop"]);
    let examined = examine();
    examined.says("relay-address-dead", &[]);
    let title = "[2001:db8:99::1]:8443 of the relay does not answer, and 10.99.0.1:8443 does: every join waits for the dead one first";
    assert_eq!(examined.title("relay-address-dead"), title);
    assert_eq!(examined.edge("up"), (1472, Some(1473)), "the other one is measured");
    drop(on_both);
    // A host without IPv6 waits for nothing.
    street.home.ip("-6 route del default").unwrap();
    let _relay = street.relay(&[]);
    examine().is_healthy();
}

#[test]
fn a_relay_with_two_addresses_answers_probes_from_the_one_that_was_asked() {
    if !ready() {
        return;
    }
    let street = Street::new("two", GOOD);
    street.relay.ip("addr add 10.99.0.7/24 dev wan").unwrap();
    let certificate = street.programs.certificate().display().to_string();
    for listen in ["0.0.0.0:8443", "[::]:8443"] {
        let _relay = street.relay(&["--listen", listen]);
        for address in ["10.99.0.1:8443", "10.99.0.7:8443"] {
            let relay = ["--relay", address, "--server-name", "lanparty-relay.local", "--relay-ca-cert", &certificate];
            let examined = took(|| street.examine_relay(&relay, &[]));
            examined.is_healthy();
            assert_eq!(examined.report["facts"]["relay"]["nat"]["observed"].as_array().unwrap().len(), 2, "{listen} at {address}");
        }
    }
}
