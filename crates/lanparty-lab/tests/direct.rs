//! Members that reach each other without the relay, and what becomes of a game when one of the ways fails.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{LAN, Narrow, Party, PartyOptions, Probe, ProbeReport, Proc, Requirements, Routers, Tool, ping};
use serde_json::Value;
use support::flow::transfer;
use support::outage::without_arp;
use support::{Evening, SOON, TAP, alone, eventually, promised, promised_after};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);

/// A party whose client and gateway may reach each other; the client is behind a router that can be told what to pass.
struct Neighbours {
    evening: Evening,
    narrow: Narrow,
    relay: Option<Proc>,
    gateway: Proc,
}

impl Neighbours {
    fn new(name: &str) -> Self {
        let evening = Evening::with(name, &PartyOptions::default());
        let party = &evening.party;
        let narrow = Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap();
        narrow.set_routers(Routers::Silent).unwrap();
        let relay = evening.relay();
        let host = &party.gateway;
        let gateway = evening.program(host, "lanparty-gateway").args(evening.direct_options(host)).args(["--interface", LAN]);
        let gateway = host.spawn(gateway).unwrap();
        promised(&gateway, "lanparty-gateway bridging frames");
        Self { evening, narrow, relay: Some(relay), gateway }
    }

    fn client(&self, more: &[&str]) -> Proc {
        let host = &self.evening.party.home;
        let client = self
            .evening
            .program(host, "lanparty")
            .named("client")
            .args(["client", "--tap-name", TAP])
            .args(self.evening.direct_options(host))
            .args(more);
        let client = host.spawn(client).unwrap();
        promised(&client, "TAP is up");
        host.run(&["ip", "addr", "add", &format!("{CLIENT}/24"), "dev", TAP]).unwrap();
        client
    }

    /// How the client reaches the gateway, as its status has it.
    fn way(&self) -> Value {
        self.evening.status(&self.evening.party.home)["peers"][0].clone()
    }

    /// Waits until frames take that way, from both sides.
    fn goes(&self, way: &str) {
        let back = || self.evening.status(&self.evening.party.gateway)["peers"][0]["way"] == way;
        eventually(&format!("frames go by {way}"), || self.way()["way"] == way && back());
    }

    /// Frames from the client and from the gateway that were dropped, by name, because they had waited for longer than a game waits: on a
    /// machine that is busy with something else the programs do not always get their turn.
    fn late(&self) -> [u64; 2] {
        [&self.evening.party.home, &self.evening.party.gateway].map(|host| {
            let dropped = &self.evening.status(host)["frames"]["outbound"]["dropped"];
            ["QueueFull", "QueueDelay"].iter().map(|reason| dropped[reason].as_u64().unwrap()).sum()
        })
    }

    /// Frames that the relay has got from its members.
    fn relayed(&self) -> u64 {
        let report = self.evening.status(&self.evening.party.relay);
        let members = report["rooms"][0]["members"].as_array().unwrap();
        members.iter().map(|m| m["from_member"]["frames_in"].as_u64().unwrap()).sum()
    }
}

fn ready() -> bool {
    Requirements::party().and(&[Tool::Nft]).ready_or_skip()
}

#[test]
fn unicast_goes_directly_and_the_relay_sees_none_of_it() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let street = Neighbours::new("direct");
    let _client = street.client(&[]);
    street.goes("direct");
    let (home, pc) = (&street.evening.party.home, street.evening.party.pc(1));
    assert!(ping(home, Party::pc_address(1), 1).unwrap().received == 1);
    let before = street.relayed();
    transfer(home, pc, Party::pc_address(1), 2_000_000);
    transfer(pc, home, CLIENT, 2_000_000);
    let after = street.relayed();
    let way = street.way();
    println!("{way}; {} frames by the relay meanwhile", after - before);
    assert!(after - before < 20, "{before} to {after}");
    assert!(way["address"].as_str().unwrap().starts_with("10.99.0.20:") && way["rtt_ms"].as_f64().is_some());
    let said = street.evening.lanparty(home, &["ping", "gateway", "--count", "2"]).success().unwrap().stdout;
    assert!(said.contains("direct"), "{said}");
}

#[test]
fn a_member_that_wants_no_direct_links_has_none_and_says_so() {
    if !ready() {
        return;
    }
    let street = Neighbours::new("indirect");
    let _client = street.client(&["--no-direct"]);
    thread::sleep(Duration::from_secs(3));
    let way = street.way();
    assert!(way["way"] == "relay" && way["because"].as_str().unwrap().contains("switched off"), "{way}");
    assert!(ping(&street.evening.party.home, Party::pc_address(1), 1).unwrap().received == 1);
}

#[test]
fn the_change_of_the_way_loses_nothing_doubles_nothing_and_keeps_the_order() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let street = Neighbours::new("change");
    let (home, pc) = (&street.evening.party.home, street.evening.party.pc(1));
    // No direct link before the probes run.
    let gateway = "ip saddr 10.99.0.20 drop";
    street.narrow.set_filter(&[gateway]).unwrap();
    let _client = street.client(&[]);
    without_arp(&street.evening, CLIENT);
    assert_eq!(street.way()["way"], "relay");
    let probe = Probe { rate: 500, duration: Duration::from_secs(16), ..Probe::default() };
    let reports = thread::scope(|scope| {
        let up = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
        let down = scope.spawn(|| probe.run(pc, home, CLIENT).unwrap());
        street.narrow.set_filter(&[]).unwrap();
        street.goes("direct");
        [up.join().unwrap(), down.join().unwrap()]
    });
    nothing_is_lost(reports, street.late());
}

/// Each way everything came, once and in order, but for what was late.
fn nothing_is_lost(reports: [ProbeReport; 2], late: [u64; 2]) {
    for (way, (report, late)) in ["up", "down"].into_iter().zip(reports.into_iter().zip(late)) {
        let counts = (report.received(), report.duplicates(), report.reordered());
        println!("{way}: {} of {} came, {} twice, {} overtaken; {late} late", counts.0, report.sent, counts.1, counts.2);
        assert_eq!((counts.0 + late, counts.1, counts.2), (report.sent, 0, 0), "{way}");
        assert!(late <= report.sent / 20, "{way}: {late} late");
    }
}

#[test]
fn a_direct_way_that_stops_is_left_for_the_relay() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let street = Neighbours::new("stops");
    let _client = street.client(&[]);
    without_arp(&street.evening, CLIENT);
    street.goes("direct");
    let (home, pc) = (&street.evening.party.home, street.evening.party.pc(1));
    for (what, from, to, address) in [("up", home, pc, Party::pc_address(1)), ("down", pc, home, CLIENT)] {
        street.goes("direct");
        let probe = Probe { duration: Duration::from_secs(6), ..Probe::default() };
        let (report, ()) = probe
            .run_while(from, to, address, || {
                thread::sleep(Duration::from_secs(2));
                street.narrow.set_filter(&["ip saddr 10.99.0.20 drop", "ip daddr 10.99.0.20 drop"]).unwrap();
                street.goes("relay");
            })
            .unwrap();
        let outage = report.outage(&probe);
        println!("{what}: outage {:.2} s; {}", outage.as_secs_f64(), street.way());
        assert!(outage < Duration::from_secs(2) && report.duplicates() == 0, "{what}: {outage:?}");
        street.narrow.set_filter(&[]).unwrap();
    }
}

#[test]
fn a_ping_says_when_its_way_changes() {
    if !ready() {
        return;
    }
    let street = Neighbours::new("pinged");
    let _client = street.client(&[]);
    street.goes("direct");
    let said = thread::scope(|scope| {
        let ping = || street.evening.lanparty(&street.evening.party.home, &["ping", "gateway", "--count", "40", "--interval", "200"]);
        let ping = scope.spawn(ping);
        thread::sleep(Duration::from_secs(1));
        street.narrow.set_filter(&["ip saddr 10.99.0.20 drop", "ip daddr 10.99.0.20 drop"]).unwrap();
        street.goes("relay");
        ping.join().unwrap().success().unwrap().stdout
    });
    println!("{said}");
    let (before, after) = said.split_once("the way is by relay from here on").unwrap_or_else(|| panic!("{said}"));
    assert!(before.contains("by direct") && before.contains("seq=1 time=") && after.contains("seq=40 time="), "{said}");
}

#[test]
fn the_end_of_the_relay_does_not_end_a_game_between_those_who_see_each_other() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let mut street = Neighbours::new("island");
    let client = street.client(&[]);
    without_arp(&street.evening, CLIENT);
    street.goes("direct");
    let relay = street.relay.take().unwrap();
    let (home, pc) = (&street.evening.party.home, street.evening.party.pc(1));
    let probe = Probe { duration: Duration::from_secs(12), ..Probe::default() };
    let mark = client.mark();
    let (report, ()) = probe
        .run_while(home, pc, Party::pc_address(1), || {
            thread::sleep(Duration::from_secs(2));
            relay.kill9();
            promised_after(&client, mark, "connection to the relay lost");
        })
        .unwrap();
    let outage = report.outage(&probe);
    println!("relay gone: {} of {} came, outage {:.2} s", report.received(), report.sent, outage.as_secs_f64());
    assert!(report.received() == report.sent && report.duplicates() == 0, "{} of {}", report.received(), report.sent);
    // Broadcast as well: neither end knows the other's MAC address any more.
    home.run(&["ip", "neigh", "flush", "dev", TAP]).unwrap();
    pc.run(&["ip", "neigh", "flush", "dev", LAN]).unwrap();
    let started = Instant::now();
    eventually("an ARP question gets across", || ping(home, Party::pc_address(2), 1).is_ok_and(|stats| stats.received == 1));
    println!("a host that was not asked before answers after {:.2} s", started.elapsed().as_secs_f64());
    let peer = street.way()["id"].clone();
    let mark = client.mark();
    let _relay = street.evening.relay();
    client.wait_for_after(mark, "connected as peer", SOON).unwrap();
    street.goes("direct");
    assert_eq!(street.way()["id"], peer, "the gateway has its old number");
    assert!(street.gateway.running());
}

#[test]
fn a_relay_that_comes_back_interrupts_nobody_whoever_comes_back_to_it_first() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let mut street = Neighbours::new("returns");
    let client = street.client(&[]);
    without_arp(&street.evening, CLIENT);
    street.goes("direct");
    let relay = street.relay.take().unwrap();
    let (home, pc) = (&street.evening.party.home, street.evening.party.pc(1));
    let probe = Probe { duration: Duration::from_secs(14), ..Probe::default() };
    let (mark, back) = (client.mark(), street.gateway.mark());
    // For as long as the client is kept away, the gateway alone is at the relay.
    let ([up, down], relay) = thread::scope(|scope| {
        let up = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
        let down = scope.spawn(|| probe.run(pc, home, CLIENT).unwrap());
        thread::sleep(Duration::from_secs(1));
        relay.kill9();
        promised_after(&client, mark, "connection to the relay lost");
        street.narrow.set_filter(&["ip daddr 10.99.0.1 drop"]).unwrap();
        let relay = street.evening.relay();
        promised_after(&street.gateway, back, "again=true");
        // Broadcast to one that the relay does not know.
        home.run(&["ip", "neigh", "flush", "dev", TAP]).unwrap();
        let asked = ping(street.evening.party.pc(2), CLIENT, 4);
        println!("a host of the LAN that asks for the client meanwhile: {asked:?}");
        assert!(asked.unwrap().received > 0);
        street.narrow.set_filter(&[]).unwrap();
        promised_after(&client, mark, "again=true");
        ([up.join().unwrap(), down.join().unwrap()], relay)
    });
    nothing_is_lost([up, down], street.late());
    street.goes("direct");
    assert!(relay.running());
}
