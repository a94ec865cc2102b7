//! A cable between two bridges makes two LANs one.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use lanparty_lab::{DhcpServer, End, LAN, Namespace, Offloads, Requirements, Switch, Tool, address, dhclient, ping, ping_with, run};
use serde_json::Value;

use crate::bench::{Bench, CABLE, eventually, mtu_of};
use crate::flow::transfer;
use crate::programs::SOON;

/// A machine of a LAN, whose switch the host of the cable is.
fn join_lan(bench: &Bench, switch: &Switch, name: &str) -> Namespace {
    let machine = bench.pair.lab.namespace(name).unwrap();
    switch.plug(End::new(&machine, LAN), &format!("to-{name}"), Offloads::On).unwrap();
    machine
}

#[test]
fn a_dhcp_server_on_one_side_gives_leases_on_the_other() {
    if !Requirements::wires().and(&[Tool::Dnsmasq, Tool::Dhclient]).ready_or_skip() {
        return;
    }
    let bench = Bench::new("lans");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let (_a, _b) = (bench.start(a, &[]), bench.start(b, &["--remote", "10.99.0.11"]));
    let switches = [a, b].map(|host| Switch::new(host.clone()).unwrap());
    for (host, end, switch) in [(a, &_a, &switches[0]), (b, &_b, &switches[1])] {
        end.wait_for("the cable is plugged in", SOON).unwrap();
        // As the guide says it: `ip link set cable0 master br0`.
        switch.join(CABLE).unwrap();
        end.wait_for("is a port of br0", SOON).unwrap();
        eventually("a port carries what its bridge does", || mtu_of(host, CABLE) == 1500);
    }
    let (server, desk) = (join_lan(&bench, &switches[0], "server"), join_lan(&bench, &switches[1], "desk"));
    let address_of = |last| Ipv4Addr::new(10, 73, 42, last);
    address(End::new(&server, LAN), &format!("{}/24", address_of(1))).unwrap();
    let dhcp = DhcpServer::start(&server, LAN, address_of(100), address_of(150), &[]).unwrap();
    let lease = dhclient(&desk, LAN, SOON).unwrap();
    assert_eq!(lease.server, address_of(1));
    assert!(dhcp.leases().unwrap().iter().any(|row| row.address == lease.address));
    assert_eq!(ping(&desk, address_of(1), 3).unwrap().received, 3);
    assert_eq!(switches[0].port_of(&desk.mac(LAN).unwrap()).unwrap().as_deref(), Some(CABLE), "the other LAN is behind the cable");
    transfer(&desk, &server, address_of(1), 3_000_000);
    transfer(&server, &desk, lease.address, 3_000_000);
    // Their hosts send 1,500 bytes: what fits is told to them, or their packets are fragmented.
    assert_eq!(ping_with(&desk, address_of(1), 3, &["-s", "1472", "-M", "dont"]).unwrap().received, 3);
    ping_with(&desk, address_of(1), 2, &["-s", "1472", "-M", "do"]).unwrap();
    let route = desk.run(&["ip", "route", "get", &address_of(1).to_string()]).unwrap().stdout;
    assert!(route.contains("mtu 1417"), "{route}");
    let words = bench.programs.run(b, &["lanparty", "status"]).success().unwrap().stdout;
    assert!(words.contains("port of br0"), "{words}");
    bench.assert_conserved();
}

/// The spanning tree's state of a host's cables.
fn port_states(host: &Namespace) -> Vec<String> {
    let ports = run(&["bridge", "-n", host.netns(), "-j", "link", "show"]).unwrap().stdout;
    let ports: Vec<Value> = serde_json::from_str(&ports).unwrap();
    let cables = ports.iter().filter(|port| port["ifname"].as_str().unwrap().starts_with("cable"));
    cables.map(|port| port["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_spanning_tree_crosses_and_breaks_the_loop_of_two_cables() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let bench = Bench::new("loop");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let second = ["--tap-name", "cable1"];
    // The port is taken by this one, and not by the second that is started beside it.
    let first = bench.start(b, &["--remote", "10.99.0.11"]);
    first.wait_for("listening on", SOON).unwrap();
    let ends = [
        bench.start(a, &[]),
        bench.start(a, &[&second[..], &["--listen", ":8440"]].concat()),
        first,
        bench.start(b, &[&second[..], &["--remote", "10.99.0.11:8440"]].concat()),
    ];
    for end in &ends {
        end.wait_for("the cable is plugged in", SOON).unwrap();
    }
    ends[3].wait_for("port 8442/udp is taken, so this end takes another one", SOON).unwrap();
    for (host, own) in [(a, "10.88.0.1/24"), (b, "10.88.0.2/24")] {
        host.ip("link add br0 type bridge stp_state 1 forward_delay 400 hello_time 100 mcast_snooping 0").unwrap();
        for cable in ["cable0", "cable1"] {
            host.ip(&format!("link set {cable} master br0")).unwrap();
        }
        host.ip(&format!("addr add {own} dev br0")).unwrap();
        host.link_up("br0", true).unwrap();
    }
    let states = || [port_states(a), port_states(b)].concat();
    let count = |state: &str| states().iter().filter(|s| *s == state).count();
    eventually("three ports forward and one blocks", || (count("forwarding"), count("blocking")) == (3, 1));
    println!("{:?}", states());
    assert_eq!(ping(a, Ipv4Addr::new(10, 88, 0, 2), 5).unwrap().received, 5);
    let frames = || a.run(&["cat", "/sys/class/net/br0/statistics/rx_packets"]).unwrap().stdout.trim().parse::<u64>().unwrap();
    let before = frames();
    thread::sleep(Duration::from_secs(2));
    assert!(frames() - before < 100, "nothing goes round: {} frames", frames() - before);
}
