//! A room that joins two LANs: hosts and members of both reach each other, and a cable between the LANs is no loop (THREATS A13).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/injector.rs"]
mod injector;
mod support;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use injector::Injector;
use lanparty_lab::{DhcpServer, End, LAN, Namespace, Offloads, Party, Proc, Switch, Uplink, address, dhclient, ping, veth};
use serde_json::Value;
use support::{Evening, SOON, TAP, eventually, promised, promised_after, ready};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 51);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 61);

/// The party's LAN and a second one with a host, each with its gateway, and a client at home.
struct Two {
    evening: Evening,
    far: Switch,
    host: Namespace,
    relay: Proc,
    first: Proc,
    second: Proc,
    client: Proc,
}

impl Two {
    fn new(name: &str) -> Self {
        let evening = Evening::new(name);
        let party = &evening.party;
        let far = Switch::new(party.lab.namespace("switch2").unwrap()).unwrap();
        let host = party.lab.namespace("host").unwrap();
        far.plug(End::new(&host, LAN), "host", Offloads::Off).unwrap();
        address(End::new(&host, LAN), &format!("{HOST}/24")).unwrap();
        let gateway2 = party.lab.namespace("gateway2").unwrap();
        far.plug(End::new(&gateway2, LAN), "gateway2", Offloads::Off).unwrap();
        party.internet.attach(&party.lab, &gateway2, 21, &Uplink::default()).unwrap();
        let relay = evening.relay_with(&["--listen", "0.0.0.0:8443", "--lans", "2"]);
        let first = gateway(&evening, &party.gateway);
        promised(&first, "lanparty-gateway bridging frames");
        let second = gateway(&evening, &gateway2);
        promised(&second, "lanparty-gateway bridging frames");
        let client = evening.client(&[]);
        address(End::new(&party.home, TAP), &format!("{CLIENT}/24")).unwrap();
        Self { evening, far, host, relay, first, second, client }
    }

    /// Everybody reaches everybody.
    fn assert_one_ethernet(&self) {
        let party = &self.evening.party;
        for (from, to) in [
            (&party.home, Party::pc_address(1)),
            (&party.home, HOST),
            (party.pc(1), HOST),
            (party.pc(1), CLIENT),
            (&self.host, Party::pc_address(2)),
            (&self.host, CLIENT),
        ] {
            let answered = || ping(from, to, 1).unwrap().received == 1;
            eventually(&format!("{} reaches {to}", from.host()), answered);
        }
    }
}

fn gateway(evening: &Evening, host: &Namespace) -> Proc {
    let gateway = evening.program(host, "lanparty-gateway").args(evening.join_options(host));
    host.spawn(gateway.args(["--interface", LAN, "--join-lans"])).unwrap()
}

/// Frames that have come to a host of a LAN.
fn heard(host: &Namespace) -> u64 {
    let shown = host.run(&["ip", "-s", "-j", "link", "show", "dev", LAN]).unwrap().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

#[test]
fn hosts_and_members_of_two_lans_are_on_one_ethernet_and_a_cable_between_the_lans_is_no_loop() {
    if !ready() {
        return;
    }
    let two = Two::new("lans");
    let party = &two.evening.party;
    promised(&two.first, "room ROOM1 joins 2 LANs now");
    promised(&two.second, "takes the first answer; let one LAN have it");
    promised(&two.relay, "room ROOM1 joins 2 LANs now");
    two.assert_one_ethernet();
    let ten = ping(party.pc(1), HOST, 10).unwrap();
    assert_eq!((ten.received, ten.duplicates), (10, 0));

    let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 0x42], &[0x88, 0xb6], &[0; 46]].concat();
    let mut injector = Injector::plug(party.pc(2), LAN);
    // The far gateway knows the machine as one of the other LAN.
    injector.send(&frame);
    thread::sleep(Duration::from_millis(500));
    let (before, closed) = (heard(party.pc(3)), Instant::now());
    veth(End::new(party.switch.host(), "to-far"), End::new(two.far.host(), "to-near"), Offloads::Off).unwrap();
    two.far.join("to-near").unwrap();
    party.switch.join("to-far").unwrap();
    injector.send(&frame);
    let words = two.second.wait_for("two-gateways-on-one-lan: gateway peer 1 of this room", Duration::from_secs(3)).unwrap();
    println!("after {:?}: {words}", closed.elapsed());
    promised(&two.second, "standing by behind peer 1");
    let frames = heard(party.pc(3)) - before;
    println!("{frames} frames came to a bystander meanwhile");
    assert!(frames < 500, "{frames}");
    two.assert_one_ethernet();

    // The cable is pulled, and the LANs are joined by the room again.
    let mark = two.second.mark();
    let pulled = Instant::now();
    party.switch.port_up("to-far", false).unwrap();
    promised_after(&two.second, mark, "lanparty-gateway bridging frames");
    println!("joined again {:?} after the cable went", pulled.elapsed());
    two.assert_one_ethernet();
    assert!(two.client.running());

    // A DHCP server on both.
    let (first, last) = (Ipv4Addr::new(10, 73, 42, 220), Ipv4Addr::new(10, 73, 42, 230));
    let _server = DhcpServer::start(&two.host, LAN, first, last, &[]).unwrap();
    dhclient(&party.home, TAP, SOON).unwrap();
    let examined = two.evening.lanparty(&party.home, &["doctor", "--room"]).stdout;
    assert!(examined.contains("two-dhcp-servers"), "{examined}");
}

#[test]
fn without_the_relays_leave_or_the_other_owners_a_second_lan_is_refused_with_words() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lans-refused");
    let party = &evening.party;
    let far = Switch::new(party.lab.namespace("switch2").unwrap()).unwrap();
    let gateway2 = party.lab.namespace("gateway2").unwrap();
    far.plug(End::new(&gateway2, LAN), "gateway2", Offloads::Off).unwrap();
    party.internet.attach(&party.lab, &gateway2, 21, &Uplink::default()).unwrap();
    let _relay = evening.relay_with(&["--listen", "0.0.0.0:8443", "--lans", "2"]);
    let first = evening.gateway();
    let second = gateway(&evening, &gateway2);
    assert_eq!(second.exit_code(SOON).unwrap(), 4);
    assert!(second.tail().contains("was not started with --join-lans"), "{}", second.tail());
    assert!(first.running());
}
