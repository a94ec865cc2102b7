//! The uplinks of a bond: which there are, what each is for, and what each may carry.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Bonded, Bulk, Captured, Dual, DualOptions, LineOptions, Requirements, Tool, Way};
use serde_json::Value;

/// Anything that should happen promptly, on a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// Ethernet's header, which no carrier counts.
const ETHERNET_LEN: usize = 14;

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// DSL of 30 Mbit/s and LTE of 20, both 10 ms long.
fn dsl_and_lte() -> [LineOptions; 2] {
    [LineOptions::new("dsl0", 30.0, 10.0), LineOptions::new("lte0", 20.0, 10.0)]
}

fn dual(name: &str, lines: impl IntoIterator<Item = LineOptions>) -> Dual {
    Dual::build(name, &DualOptions::new(lines)).unwrap()
}

/// What the client says of one uplink.
fn uplink(bonded: &Bonded<'_>, name: &str) -> Value {
    let status = bonded.client_status().unwrap();
    let all = status["bond"]["uplinks"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|uplink| uplink["interface"] == name).unwrap_or_default()
}

/// Waits for something that the client says.
fn wait_until(bonded: &Bonded<'_>, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON, "{what}: {}{}", bonded.client_status().unwrap()["bond"], bonded.client.tail());
        thread::sleep(ms(20));
    }
    begin.elapsed()
}

/// Waits until exactly these lines carry.
fn wait_for_paths(bonded: &Bonded<'_>, wanted: &[&str]) -> Duration {
    wait_until(bonded, &format!("{wanted:?} live"), || {
        let status = bonded.client_status().unwrap();
        let paths = status["bond"]["paths"].as_array().cloned().unwrap_or_default();
        let alive = paths.iter().filter(|path| path["is_alive"] == true);
        let mut alive: Vec<_> = alive.filter_map(|path| path["name"].as_str()).collect();
        alive.sort_unstable();
        alive == wanted
    })
}

/// A flow in one direction for two seconds.
fn bulk(bonded: &Bonded<'_>, way: Way) -> f64 {
    let [from, to] = bonded.ends(way);
    Bulk { flows: 1, warm_up: ms(500), window: ms(1500) }.run(&from, &to).unwrap().mbit_s()
}

fn month_bytes(bonded: &Bonded<'_>, name: &str) -> u64 {
    uplink(bonded, name)["month_bytes"].as_u64().unwrap()
}

/// IP packets of a capture, both ways, in bytes.
fn ip_bytes(passed: &[Captured]) -> u64 {
    passed.iter().map(|frame| (frame.len - ETHERNET_LEN) as u64).sum()
}

#[test]
fn a_line_over_its_cap_is_a_backup_at_both_ends_and_in_the_next_process_until_the_month_ends() {
    if !ready() {
        return;
    }
    let uplinks = &["dsl0", "lte0,cap=0.003GB/month"];
    let dual = dual("uplinks-cap", dsl_and_lte());
    let mut bonded = Bonded::join(&dual, uplinks, &[]).unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    let (capture, before) = (dual.line("dsl0").capture().unwrap(), month_bytes(&bonded, "dsl0"));
    for way in Way::ALL {
        bulk(&bonded, way);
    }
    wait_until(&bonded, "lte0 is a backup", || uplink(&bonded, "lte0")["role"] == "backup");
    bonded.client.wait_for("it is a backup until the month ends", SOON).unwrap();
    thread::sleep(ms(600));
    let counted = month_bytes(&bonded, "dsl0") - before;
    let on_the_wire = ip_bytes(&capture.finish().unwrap());
    let cap = uplink(&bonded, "lte0")["cap"].clone();
    eprintln!("dsl0: {counted} bytes counted of {on_the_wire}; lte0: {cap}");
    assert!(counted.abs_diff(on_the_wire) < on_the_wire / 50 + 20_000, "{counted} of {on_the_wire}");
    assert!(cap["used"].as_u64().unwrap() >= 3_000_000 && cap["left"] == 0, "{cap}");

    let capture = dual.line("lte0").capture().unwrap();
    let rates = Way::ALL.map(|way| bulk(&bonded, way));
    let passed = ip_bytes(&capture.finish().unwrap());
    eprintln!("with a backup: {rates:.1?} Mbit/s, {passed} bytes by lte0");
    assert!(passed < 300_000, "neither end sends by a backup: {passed} bytes{}", bonded.client.tail());

    let before = ["dsl0", "lte0"].map(|name| month_bytes(&bonded, name));
    bonded.client.sigterm();
    bonded.client.exit_code(SOON).unwrap();
    bonded.start_client_again(uplinks, &[]).unwrap();
    let after = ["dsl0", "lte0"].map(|name| month_bytes(&bonded, name));
    assert!(after[0] >= before[0] && after[1] >= before[1], "{before:?} {after:?}");
    assert_eq!(uplink(&bonded, "lte0")["role"], "backup");

    bulk(&bonded, Way::Down);
    let before = month_bytes(&bonded, "dsl0");
    bonded.client.kill9();
    bonded.start_client_again(uplinks, &[]).unwrap();
    let after = month_bytes(&bonded, "dsl0");
    eprintln!("killed at {before}, then {after}");
    assert!(after + 4_000_000 > before, "a crash costs little");

    bonded.client.sigterm();
    bonded.client.exit_code(SOON).unwrap();
    let file = dual.home.dir().join("home-state/lanparty-uplinks.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let months: Value = serde_json::from_str(&text).unwrap();
    let month = months["uplinks"]["lte0"]["months"].as_object().unwrap().keys().next().unwrap().clone();
    std::fs::write(&file, text.replace(&month, "2025-01")).unwrap();
    bonded.start_client_again(uplinks, &[]).unwrap();
    assert_eq!(uplink(&bonded, "lte0")["role"], "primary", "what it carried belongs to another month");

    bonded.client.sigterm();
    bonded.client.exit_code(SOON).unwrap();
    std::fs::write(&file, "nonsense").unwrap();
    assert!(bonded.start_client_again(uplinks, &[]).is_err());
    assert!(bonded.client.tail().contains("is damaged"), "{}", bonded.client.tail());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "nonsense");
}
