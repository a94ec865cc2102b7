//! `lanparty cable` between two hosts: real programs, real kernels at both ends, and whatever happens to the wire between them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "cable/bench.rs"]
mod bench;
#[path = "cable/busy.rs"]
mod busy;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/flow.rs"]
mod flow;
#[path = "cable/frames.rs"]
mod frames;
#[path = "support/injector.rs"]
mod injector;
#[path = "cable/keys.rs"]
mod keys;
#[path = "cable/lans.rs"]
mod lans;
#[path = "cable/outages.rs"]
mod outages;
#[path = "support/programs.rs"]
mod programs;
#[path = "cable/sizes.rs"]
mod sizes;

use std::time::Duration;

use bench::{Bench, CABLE, ready};
use lanparty_lab::ping;
use programs::SOON;
use serde_json::Value;

#[test]
fn a_ping_and_a_transfer_cross_bit_by_bit() {
    if !ready() {
        return;
    }
    let bench = Bench::new("cable");
    let (_a, _b) = bench.plug_in(&[]);
    let answered = ping(&bench.pair.a, Bench::B, 5).unwrap();
    assert_eq!(answered.received, 5);
    bench.transfer(5_000_000);
    let (a, b) = (bench.status(&bench.pair.a), bench.status(&bench.pair.b));
    assert_eq!((&a["lan_mtu"], &b["lan_mtu"]), (&Value::from(1417), &Value::from(1417)));
    assert_eq!((&a["key"], &a["peer"]), (&b["peer"], &b["key"]));
    let words = bench.programs.run(&bench.pair.b, &["lanparty", "status"]).success().unwrap().stdout;
    println!("{words}");
    for part in ["cable cable0: plugged in", "at 10.99.0.11:8442, RTT", &bench.keys[0], "none dropped"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn scripts_run_when_it_carries_first_and_at_the_end_and_nothing_is_left() {
    if !ready() {
        return;
    }
    let bench = Bench::new("scripts");
    let (log, up) = bench.script("up", "echo up $LANPARTY_INTERFACE $LANPARTY_MTU $LANPARTY_PEER $LANPARTY_REMOTE");
    let (_, down) = bench.script("down", "ip link show $LANPARTY_INTERFACE >/dev/null && echo down $LANPARTY_INTERFACE; exit 7");
    let a = bench.start(&bench.pair.a, &[]);
    let b = bench.start(&bench.pair.b, &["--remote", "10.99.0.11", "--up", &up, "--down", &down]);
    b.wait_for("script done", SOON).unwrap();
    b.sigterm();
    assert_eq!(b.exit_code(SOON).unwrap(), 0);
    b.wait_for("script failed: exit status: 7", SOON).unwrap();
    a.wait_for("the cable is unplugged: the other end was stopped; waiting for it", Duration::from_secs(1)).unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert_eq!(said, format!("up {CABLE} 1417 {} 10.99.0.11:8442\ndown {CABLE}\n", bench.keys[0]));
    assert!(bench.pair.b.ip(&format!("link show dev {CABLE}")).is_err(), "the interface is gone");
    assert!(bench.programs.run(&bench.pair.b, &["lanparty", "status"]).success().unwrap().stdout.contains("no lanparty program"));
    // An end that never carried has nothing to undo.
    let lonely = bench.start(&bench.pair.b, &["--down", &down]);
    lonely.wait_for("listening on", SOON).unwrap();
    assert_eq!(bench.status(&bench.pair.b)["times_plugged"], 0);
    lonely.sigint();
    assert_eq!(lonely.exit_code(SOON).unwrap(), 0);
    assert!(!lonely.lines().iter().any(|line| line.contains("script ")), "{}", lonely.tail());
}

#[test]
fn what_is_wrong_is_said_with_the_next_step_and_the_houses_exit_codes() {
    if !ready() {
        return;
    }
    let bench = Bench::new("words");
    let [own, peer] = [&bench.keys[0], &bench.keys[1]];
    let fails = |starter: &[&str], words: &[&str], code: i32, parts: &[&str]| {
        let output =
            bench.programs.run_through(&bench.pair.a, &[&["timeout", "20"], starter].concat(), &[&["lanparty", "cable"], words].concat());
        assert_eq!(output.status.code(), Some(code), "{} {}", output.stdout, output.stderr);
        for part in parts {
            assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
        }
    };
    fails(&[], &[], 2, &["a cable needs the other end's key", "lanparty cable --new", own]);
    fails(&[], &["--peer", own], 2, &["--peer is this host's own key"]);
    fails(&[], &["--peer", "abc"], 2, &["is no key: 64 hexadecimal digits", "lanparty cable --new"]);
    fails(&[], &["--peer", peer, "--remote", "a/b"], 2, &["is no host", ":8442"]);
    fails(&[], &["--peer", peer, "--listen", "203.0.113.1"], 2, &["cannot listen on 203.0.113.1:8442/udp", "does not have that address"]);
    fails(&[], &["--peer", peer, "--tap-name", "wan"], 2, &["`wan` exists already and is not a TAP"]);
    let no_admin = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    fails(&no_admin, &["--peer", peer], 3, &["creating a TAP is not permitted", "run as root", "CAP_NET_ADMIN"]);
    let first = bench.start(&bench.pair.a, &[]);
    first.wait_for("listening on", SOON).unwrap();
    fails(&[], &["--peer", peer, "--tap-name", "cable1"], 2, &["8442/udp", "is a cable running already?", "--listen"]);
}
