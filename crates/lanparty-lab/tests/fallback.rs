//! Networks that pass hardly anything: a member gets through all the same, says how and why, and climbs back when it can.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_lab::{Narrow, Party, PartyOptions, Probe, Proc, Requirements, Routers, Tool, ping};
use support::outage::without_arp;
use support::{Evening, RELAY, TAP, alone, eventually, promised_after};

/// The goal is 2 s after the start; a busy machine is given more.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(5);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);

/// A party whose client is behind a router that can be told what to pass.
struct Hotel {
    evening: Evening,
    narrow: Narrow,
    _relay: Proc,
    _gateway: Proc,
}

impl Hotel {
    fn new(name: &str, relay: &[&str]) -> Self {
        let evening = Evening::with(name, &PartyOptions::default());
        let party = &evening.party;
        let narrow = Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap();
        narrow.set_routers(Routers::Silent).unwrap();
        let relay = evening.relay_with(&[&["--listen", "0.0.0.0:8443"], relay].concat());
        let gateway = evening.gateway();
        Self { evening, narrow, _relay: relay, _gateway: gateway }
    }

    /// Starts a client; how long until its first frame had come back, and what it says of its way.
    fn play(&self, what: &str, more: &[&str]) -> (Proc, String) {
        let started = Instant::now();
        let client = self.evening.start_client(more);
        let mark = client.mark();
        promised_after(&client, mark, "TAP is up");
        self.evening.party.home.run(&["ip", "addr", "add", &format!("{CLIENT}/24"), "dev", TAP]).unwrap();
        eventually("a frame comes back", || ping(&self.evening.party.home, Party::pc_address(1), 1).is_ok_and(|stats| stats.received == 1));
        let took = started.elapsed();
        let way = self.way();
        println!("{what}: first frame after {:.2} s, {way}", took.as_secs_f64());
        assert!(took < FIRST_FRAME_MAX, "{what}: {took:?}");
        (client, way)
    }

    /// How `lanparty status` puts it.
    fn way(&self) -> String {
        let said = self.evening.lanparty(&self.evening.party.home, &["status"]).success().unwrap().stdout;
        said.lines().find_map(|line| line.split_once("by ").map(|(_, way)| way.to_owned())).expect("a way")
    }

    fn carrier(&self) -> String {
        self.evening.status(&self.evening.party.home)["way"]["carrier"].as_str().unwrap_or_default().to_owned()
    }
}

fn ready() -> bool {
    Requirements::party().and(&[Tool::Nft]).ready_or_skip()
}

fn plays_by_tcp(name: &str, relay: &[&str], rules: &[&str], wire_mtu: u16, because: &str) {
    if !ready() {
        return;
    }
    let _alone = alone();
    let hotel = Hotel::new(name, relay);
    hotel.narrow.set_mtu(wire_mtu).unwrap();
    hotel.narrow.set_filter(rules).unwrap();
    let (client, way) = hotel.play(name, &[]);
    assert!(way.starts_with("TLS (TCP)") && way.contains(because), "{way}");
    // More than a ping.
    support::flow::transfer(&hotel.evening.party.home, hotel.evening.party.pc(1), Party::pc_address(1), 500_000);
    support::flow::transfer(hotel.evening.party.pc(1), &hotel.evening.party.home, CLIENT, 500_000);
    client.sigterm();
    assert_eq!(client.exit_code(Duration::from_secs(10)).unwrap(), 0);
}

#[test]
fn udp_that_is_dropped_in_silence() {
    plays_by_tcp("udp-dropped", &[], &["meta l4proto udp drop"], 1500, "UDP");
}

#[test]
fn udp_that_is_rejected() {
    plays_by_tcp("udp-rejected", &[], &["meta l4proto udp reject"], 1500, "UDP");
}

#[test]
fn nothing_but_tcp_to_port_443() {
    let rules = ["tcp dport 443 accept", "tcp sport 443 accept", "drop"];
    plays_by_tcp("only-443", &["--listen-tls", "0.0.0.0:443"], &rules, 1500, "UDP");
}

#[test]
fn a_path_too_small_for_quic() {
    plays_by_tcp("small-path", &[], &[], 1100, "");
}

#[test]
fn udp_that_is_throttled_to_uselessness_is_left_for_tcp() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let hotel = Hotel::new("udp-throttled", &[]);
    let throttle = |direction: &str| format!("udp {direction} 8443 limit rate over 4 kbytes/second burst 6 kbytes drop");
    hotel.narrow.set_filter(&[&throttle("dport"), &throttle("sport")]).unwrap();
    let (_client, way) = hotel.play("udp-throttled", &[]);
    let (home, pc) = (&hotel.evening.party.home, hotel.evening.party.pc(1));
    // The little that passes may be enough to join: then a game's packets show what it is worth.
    let probe = Probe { duration: Duration::from_secs(8), ..Probe::default() };
    probe.run(home, pc, Party::pc_address(1)).unwrap();
    let later = hotel.way();
    println!("at first {way}, with a game's traffic {later}");
    assert!(later.starts_with("TLS (TCP)") && later.contains("UDP"), "{later}");
    let report = Probe::default().run(home, pc, Party::pc_address(1)).unwrap();
    assert_eq!(report.received(), report.sent, "by TCP all of it passes");
}

#[test]
fn a_good_network_is_used_by_quic() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let hotel = Hotel::new("udp-good", &[]);
    let (_client, way) = hotel.play("a good network", &[]);
    assert!(way.starts_with("QUIC (UDP)") && !way.contains(": "), "{way}");
}

#[test]
fn a_member_climbs_back_to_quic_and_loses_nothing() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let hotel = Hotel::new("climb", &[]);
    hotel.narrow.set_filter(&["meta l4proto udp drop"]).unwrap();
    let (client, way) = hotel.play("UDP dropped", &[]);
    assert!(way.starts_with("TLS"), "{way}");
    without_arp(&hotel.evening, CLIENT);
    let (home, pc) = (&hotel.evening.party.home, hotel.evening.party.pc(1));
    let mark = client.mark();
    let probe = Probe { rate: 500, duration: Duration::from_secs(20), ..Probe::default() };
    let reports = std::thread::scope(|scope| {
        let up = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
        let down = scope.spawn(|| probe.run(pc, home, CLIENT).unwrap());
        hotel.narrow.set_filter(&[]).unwrap();
        promised_after(&client, mark, "moved to another connection by QUIC");
        [up.join().unwrap(), down.join().unwrap()]
    });
    for (way, report) in ["up", "down"].into_iter().zip(reports) {
        println!("{way}: {} of {} came, {} twice, {} overtaken", report.received(), report.sent, report.duplicates(), report.reordered());
        assert_eq!((report.received(), report.duplicates(), report.reordered()), (report.sent, 0, 0), "{way}");
    }
    assert_eq!(hotel.carrier(), "quic");
}

#[test]
fn a_member_whose_udp_stops_goes_on_by_tcp() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let hotel = Hotel::new("descend", &[]);
    let (client, way) = hotel.play("all open", &[]);
    assert!(way.starts_with("QUIC"), "{way}");
    without_arp(&hotel.evening, CLIENT);
    let (home, pc) = (&hotel.evening.party.home, hotel.evening.party.pc(1));
    let mark = client.mark();
    let probe = Probe { duration: Duration::from_secs(10), ..Probe::default() };
    let (report, ()) = probe
        .run_while(home, pc, Party::pc_address(1), || {
            std::thread::sleep(Duration::from_secs(2));
            hotel.narrow.set_filter(&["meta l4proto udp drop"]).unwrap();
            promised_after(&client, mark, "moved to another connection by TLS");
        })
        .unwrap();
    let outage = report.outage(&probe);
    println!("outage {:.2} s, {} of {} came", outage.as_secs_f64(), report.received(), report.sent);
    assert!(outage < Duration::from_secs(4) && report.duplicates() == 0, "{outage:?}");
    let way = hotel.way();
    assert!(way.contains("brings nothing back"), "{way}");
}

#[test]
fn a_relay_that_takes_neither_is_said_to() {
    if !ready() {
        return;
    }
    let hotel = Hotel::new("neither", &["--listen-tls", "off"]);
    hotel.narrow.set_filter(&["meta l4proto udp drop"]).unwrap();
    let client = hotel.evening.start_client(&["--connect-timeout", "8"]);
    assert_ne!(client.exit_code(Duration::from_secs(20)).unwrap(), 0);
    let said = client.tail();
    assert!(said.contains(&format!("the relay at {RELAY} does not answer (UDP)")) && said.contains("over TCP"), "{said}");
}
