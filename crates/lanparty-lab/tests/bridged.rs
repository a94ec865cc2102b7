//! A client whose TAP is bridged to the LAN that its own gateway bridges (THREATS A13).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/injector.rs"]
mod injector;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use injector::Injector;
use lanparty_lab::{End, LAN, Offloads, Party, Probe};
use serde_json::Value;
use support::{Evening, SOON, TAP, promised, ready};

#[test]
fn a_tap_that_is_bridged_to_its_gateways_lan_is_blocked_within_three_seconds_and_both_sides_say_so() {
    if !ready() {
        return;
    }
    let evening = Evening::new("bridged");
    let _relay = evening.relay();
    let gateway = evening.gateway();
    let client = evening.client(&[]);
    let (party, home) = (&evening.party, &evening.party.home);
    party.switch.plug(End::new(home, LAN), "home", Offloads::Off).unwrap();
    home.ip("link add br0 type bridge mcast_snooping 0").unwrap();
    home.ip(&format!("link set {TAP} master br0")).unwrap();
    let mut injector = Injector::plug(party.pc(2), LAN);
    let probe = Probe { duration: Duration::from_secs(5), ..Probe::default() };
    let (seen, (words, took)) = probe
        .run_while(party.pc(1), party.pc(3), Party::pc_address(3), || {
            thread::sleep(Duration::from_millis(500));
            let closed = Instant::now();
            home.ip(&format!("link set {LAN} master br0")).unwrap();
            home.link_up("br0", true).unwrap();
            injector.send(&[&[0xff; 6][..], &[2, 0, 0, 0, 0, 0x42], &[0x88, 0xb6], &[0; 46]].concat());
            let words = client.wait_for("is bridged to the LAN of this room's own gateway", Duration::from_secs(3)).unwrap();
            (words, closed.elapsed())
        })
        .unwrap();
    println!("after {took:?}: {words}");
    println!("two machines of the LAN meanwhile: outage {:?}, {} duplicates", seen.outage(&probe), seen.duplicates());
    assert!(seen.outage(&probe) < Duration::from_secs(1), "{:?}", seen.outage(&probe));
    promised(&gateway, "says: a loop: lan0 is bridged to the LAN of this room's own gateway");
    let status = evening.status(home);
    let crossed = status["frames"]["inbound"]["forwarded"].as_u64().unwrap();
    println!("{crossed} frames were put into the TAP in all");
    assert!(crossed < 500 && status["frames"]["is_bridged"] == true, "{status}");
    let examined = evening.lanparty(home, &["doctor", "--room", "--json"]).stdout;
    let report: Value = serde_json::from_str(&examined).unwrap();
    let codes: Vec<&str> = report["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    assert!(codes.contains(&"loop-blocked"), "{report:#}");
    let mark = client.mark();
    home.ip(&format!("link set {LAN} nomaster")).unwrap();
    client.wait_for_after(mark, "the loop is gone: lan0 carries again", SOON).unwrap();
}
