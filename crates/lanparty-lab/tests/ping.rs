//! `lanparty ping`: who answers, how fast, and at which sizes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use lanparty_lab::{Output, PartyOptions, Uplink};
use serde_json::Value;
use support::{Evening, SOON, TAP, ready};

/// What `lanparty ping` says on the client's host.
fn ping(evening: &Evening, words: &[&str]) -> Output {
    evening.lanparty(&evening.party.home, &[&["ping"], words].concat())
}

fn json(evening: &Evening, words: &[&str]) -> Value {
    let output = ping(evening, &[words, &["--json"]].concat()).success().unwrap();
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output.stdout))
}

#[test]
fn the_gateway_answers_by_every_name_and_others_are_told_apart() {
    if !ready() {
        return;
    }
    let evening = Evening::with("ping", &PartyOptions { home: Uplink::wire("delay=5ms").unwrap(), ..PartyOptions::default() });
    let _all = evening.all();
    let mac = evening.status(&evening.party.gateway)["mac"].as_str().unwrap().to_owned();
    for name in ["gateway", "1", mac.as_str()] {
        let output = ping(&evening, &[name, "--count", "3", "--interval", "20"]).success().unwrap();
        println!("{}", output.stdout);
        assert!(output.stdout.starts_with(&format!("gateway peer 1 ({mac}) by relay, LAN MTU 1417")), "{}", output.stdout);
        assert!(output.stdout.contains("3 sent, 3 answered, 0 % loss, RTT min/avg/max"), "{}", output.stdout);
    }
    let done = &json(&evening, &["gateway", "--count", "5", "--interval", "20", "--size", "1431"])["done"];
    assert_eq!((&done["asked"], &done["answered"]), (&5.into(), &5.into()));
    assert!(done["rtt_min_ms"].as_f64().unwrap() >= 10.0, "the wire's 5 ms each way: {done}");
    let unknown = ping(&evening, &["7"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        unknown.stderr.contains("nobody in this room is `7`") && unknown.stderr.contains("choose from gateway peer 1"),
        "{}",
        unknown.stderr
    );
    // Larger than any frame of this room: said, not lost.
    let refused = json_of_failed(&evening, &["gateway", "--count", "1", "--size", "1432"]);
    assert_eq!(refused["events"][0]["reason"], "TapMtuExceeded");
}

/// The JSON of a ping that nobody answered.
fn json_of_failed(evening: &Evening, words: &[&str]) -> Value {
    let output = ping(evening, &[words, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", output.stdout);
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output.stdout))
}

#[test]
fn a_sweep_finds_every_size_of_the_lan_mtu_and_follows_a_path_that_shrinks() {
    if !ready() {
        return;
    }
    let evening = Evening::with("sweep", &PartyOptions { home: Uplink::wire("delay=2ms").unwrap(), ..PartyOptions::default() });
    let _all = evening.all();
    let output = ping(&evening, &["gateway", "--sweep"]).success().unwrap();
    println!("{}", output.stdout);
    assert!(output.stdout.contains("every size up to 1431 bytes passes (LAN MTU 1417)"), "{}", output.stdout);
    evening.party.wire_home.as_ref().unwrap().set_both(&"delay=2ms mtu=1300".parse().unwrap()).unwrap();
    // Nobody sends anything large but the sweep itself: what it asks is what shows that the path has shrunk.
    let amid = ping(&evening, &["gateway", "--sweep"]);
    println!("amid the change:\n{}", amid.stdout);
    assert_eq!(amid.status.code(), Some(1), "some sizes vanish");
    support::eventually("the room follows", || evening.status(&evening.party.home)["lan_mtu"].as_u64() < Some(1300));
    let sweep = json(&evening, &["gateway", "--sweep"]);
    let (lan_mtu, largest) = (sweep["start"]["lan_mtu"].as_u64().unwrap(), sweep["done"]["largest"].as_u64().unwrap());
    println!("on 1,300 bytes: LAN MTU {lan_mtu}, largest {largest}");
    assert_eq!((largest, &sweep["done"]["whole"]), (lan_mtu + 14, &true.into()), "{sweep:#}");
    assert!((1200..=1217).contains(&lan_mtu), "{lan_mtu}");
}

#[test]
fn a_gateway_that_is_gone_does_not_answer() {
    if !ready() {
        return;
    }
    let evening = Evening::new("silent");
    let all = evening.all();
    all.gateway.pause();
    let output = ping(&evening, &["1", "--count", "2", "--interval", "50"]);
    all.gateway.resume();
    assert_eq!(output.status.code(), Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("1 does not answer"), "{}", output.stderr);
    all.client.sigterm();
    all.client.exit_code(SOON).unwrap();
    let nobody = ping(&evening, &["1"]);
    assert!(nobody.stderr.contains("no lanparty client or gateway runs on this machine"), "{}", nobody.stderr);
    assert_eq!(nobody.status.code(), Some(2), "nobody was asked");
    let nobody = ping(&evening, &["1", "--json"]);
    let json: Value = serde_json::from_str(&nobody.stdout).unwrap_or_else(|e| panic!("{e}: {}", nobody.stdout));
    assert_eq!((nobody.status.code(), &json["format"], &json["exit_code"]), (Some(2), &1.into(), &2.into()));
    assert!(json["error"]["cause"].as_str().unwrap().contains("no lanparty client or gateway runs"), "{json}");
}

#[test]
fn a_program_here_that_has_stopped_is_named_and_holds_nobody_up() {
    if !ready() {
        return;
    }
    let evening = Evening::new("stopped");
    let all = evening.all();
    all.client.pause();
    let stopped = ping(&evening, &["gateway", "--count", "1"]);
    let report = evening.lanparty(&evening.party.home, &["doctor", "--room", "--json"]);
    // A second client beside it is asked instead.
    let options = [&evening.join_options(&evening.party.home)[..], &["--tap-name".into(), "lan1".into()]].concat();
    let second = evening.program(&evening.party.home, "lanparty").named("second").arg("client").args(options);
    let state = evening.dir(&evening.party.home).join("state2");
    let second = evening.party.home.spawn(second.env("LANPARTY_STATE_DIR", state)).unwrap();
    second.wait_for("TAP is up", SOON).unwrap();
    let beside = evening.lanparty(&evening.party.home, &["doctor", "--room"]);
    all.client.resume();
    let silent = format!("the client {TAP} ");
    assert_eq!(stopped.status.code(), Some(2), "{}", stopped.stderr);
    assert!(stopped.stderr.contains(&format!("{silent}runs on this machine and does not answer")), "{}", stopped.stderr);
    assert_eq!(report.status.code(), Some(2), "{}", report.stdout);
    let json: Value = serde_json::from_str(&report.stdout).unwrap_or_else(|e| panic!("{e}: {}", report.stdout));
    assert_eq!((&json["findings"][0]["code"], &json["not_examined"][0]["what"]), (&"program-not-answering".into(), &"room".into()));
    assert!(json["not_examined"][0]["cause"].as_str().unwrap().starts_with(&format!("{silent}did not answer")), "{json:#}");
    println!("{}", beside.stdout);
    assert_eq!(beside.status.code(), Some(1), "{}", beside.stdout);
    assert!(beside.stdout.contains(&silent) && beside.stdout.contains("- room ROOM1, LAN MTU"), "{}", beside.stdout);
    let awake = evening.lanparty(&evening.party.home, &["doctor", "--room", "--json"]);
    assert!(!awake.stdout.contains("program-not-answering"), "{}", awake.stdout);
}
