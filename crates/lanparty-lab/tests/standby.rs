//! Two gateways of one room (THREATS A13): on one LAN the second stands by and takes over, on another LAN it is refused.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::thread;
use std::time::Duration;

use lanparty_lab::{End, LAN, Namespace, Offloads, Proc, Switch, Uplink};
use serde_json::Value;
use support::outage::Outage;
use support::{Evening, Members, SOON, alone, eventually, promised, promised_after, ready};

/// How long the room may be without its LAN.
const TAKEN_OVER: Duration = Duration::from_secs(2);

/// A host beside the party's gateway, with an uplink of its own, plugged into this switch.
fn second_host(evening: &Evening, switch: &Switch) -> Namespace {
    let party = &evening.party;
    let host = party.lab.namespace("gateway2").unwrap();
    switch.plug(End::new(&host, LAN), "gateway2", Offloads::Off).unwrap();
    party.internet.attach(&party.lab, &host, 21, &Uplink::default()).unwrap();
    host
}

fn start_second(evening: &Evening, host: &Namespace) -> Proc {
    let gateway = evening.program(host, "lanparty-gateway").args(evening.join_options(host)).args(["--interface", LAN]);
    host.spawn(gateway).unwrap()
}

fn frames(evening: &Evening, host: &Namespace, direction: &str) -> Value {
    evening.status(host)["frames"][direction]["forwarded"].clone()
}

#[test]
fn a_second_gateway_on_the_lan_stands_by_and_takes_over_from_one_that_was_killed() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("standby");
    let Members { relay, gateway, client, address } = evening.all();
    let host = second_host(&evening, &evening.party.switch);
    let second = start_second(&evening, &host);
    promised(&second, "standing by behind peer 1 at ");
    promised(&relay, "a gateway on the same LAN stands by behind peer 1");
    promised(&gateway, "1 other gateways on this LAN stand by behind this one");
    let words = evening.lanparty(&host, &["status"]).success().unwrap().stdout;
    assert!(words.contains("standby behind peer 1"), "{words}");
    thread::sleep(Duration::from_secs(1));
    assert_eq!((frames(&evening, &host, "outbound"), frames(&evening, &host, "inbound")), (0.into(), 0.into()));
    let leases = evening.party.leases().unwrap().len();
    let (outage, ()) = Outage::measure(&evening, address, Duration::from_secs(5), || gateway.kill9());
    println!("gateway killed: outage {:?}, lost {:?}", outage.longest(), outage.lost());
    assert!(outage.longest() < TAKEN_OVER, "{:?}\n{}\n{}", outage.longest(), second.tail(), relay.tail());
    outage.assert_no_duplicates();
    promised(&second, "lanparty-gateway bridging frames");
    assert_eq!(evening.status(&evening.party.home)["addresses"][0].as_str().unwrap().split('/').next(), Some(&*address.to_string()));
    assert_eq!(evening.party.leases().unwrap().len(), leases, "the lease goes on{}", client.tail());
    // The first one comes back, and nothing is handed back.
    let first = evening.start_gateway();
    promised(&first, "standing by behind peer ");
    let (outage, ()) = Outage::measure(&evening, address, Duration::from_secs(2), || ());
    assert!(outage.longest() < Duration::from_millis(300), "{:?}", outage.longest());
}

#[test]
fn the_standby_takes_over_when_the_cable_of_the_first_is_pulled_and_is_not_flapping() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("standby-carrier");
    let Members { gateway, address, .. } = &evening.all();
    let host = second_host(&evening, &evening.party.switch);
    let second = start_second(&evening, &host);
    promised(&second, "standing by behind peer 1 at ");
    let pull = || evening.party.switch.port_up("gateway", false).unwrap();
    let (outage, ()) = Outage::measure(&evening, *address, Duration::from_secs(5), pull);
    println!("cable pulled: outage {:?}, lost {:?}", outage.longest(), outage.lost());
    assert!(outage.longest() < TAKEN_OVER, "{:?}\n{}", outage.longest(), second.tail());
    promised(gateway, "the relay lets another gateway take over");
    promised(gateway, "standing by behind peer ");
    evening.party.switch.port_up("gateway", true).unwrap();
    let (outage, ()) = Outage::measure(&evening, *address, Duration::from_secs(3), || ());
    assert!(outage.longest() < Duration::from_millis(300), "its cable is back, and nothing changes: {:?}", outage.longest());
    let mark = gateway.mark();
    let pull = || evening.party.switch.port_up("gateway2", false).unwrap();
    let (outage, ()) = Outage::measure(&evening, *address, Duration::from_secs(5), pull);
    println!("the other cable pulled: outage {:?}", outage.longest());
    assert!(outage.longest() < TAKEN_OVER, "{:?}\n{}", outage.longest(), gateway.tail());
    promised_after(gateway, mark, "lanparty-gateway bridging frames");
}

#[test]
fn a_second_gateway_on_another_lan_is_refused_with_words() {
    if !ready() {
        return;
    }
    let evening = Evening::new("standby-elsewhere");
    let _relay = evening.relay();
    let gateway = evening.gateway();
    let elsewhere = Switch::new(evening.party.lab.namespace("switch2").unwrap()).unwrap();
    let host = second_host(&evening, &elsewhere);
    let second = start_second(&evening, &host);
    assert_eq!(second.exit_code(SOON).unwrap(), 4);
    let said = second.tail();
    for part in ["room ROOM1 has a gateway already", "its sign is not heard on this LAN, so it bridges another one"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(gateway.running());
    eventually("the first one is in", || evening.status(&evening.party.gateway)["relay_reachable"] == true);
}
