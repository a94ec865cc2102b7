//! One membership over two lines: what both carry, and what remains when one of them goes.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

#[path = "support/lines.rs"]
mod lines;

use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Bonded, Bulk, Dual, DualOptions, Line, LineOptions, NatKind, Probe, ProbeReport, Verdict, Way};
use lines::{LINES as UPLINKS, MORE_THAN_ONE, TRIES, carried, dsl_and_lte, ms, ready};
use serde_json::Value;

/// Anything that should happen promptly, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn dual(name: &str, lines: impl IntoIterator<Item = LineOptions>) -> Dual {
    Dual::build(name, &DualOptions::new(lines)).unwrap()
}

/// The paths of the client, each with whether it lives.
fn paths(bonded: &Bonded<'_>) -> Vec<(String, bool)> {
    let status = bonded.client_status().unwrap();
    let path = |path: &Value| (path["name"].as_str().unwrap().to_owned(), path["is_alive"] == true);
    status["bond"]["paths"].as_array().unwrap().iter().map(path).collect()
}

/// Waits until exactly these lines carry.
fn wait_for_paths(bonded: &Bonded<'_>, wanted: &[&str]) -> Duration {
    let begin = Instant::now();
    loop {
        let mut alive: Vec<_> = paths(bonded).into_iter().filter(|(_, is_alive)| *is_alive).map(|(name, _)| name).collect();
        alive.sort_unstable();
        if alive == wanted {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < SOON, "{alive:?} live, not {wanted:?}{}", bonded.client.tail());
        thread::sleep(ms(20));
    }
}

/// Waits until the status says all of this.
fn wait_for_words(bonded: &Bonded<'_>, wanted: &[&str]) {
    let begin = Instant::now();
    loop {
        let text = bonded.tool(&["status"]).unwrap().stdout;
        let missing: Vec<_> = wanted.iter().filter(|words| !text.contains(**words)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(begin.elapsed() < SOON, "{missing:?} is not in\n{text}{}", bonded.client.tail());
        thread::sleep(ms(100));
    }
}

/// A game's packets up, while something happens.
fn probe_while(bonded: &Bonded<'_>, probe: &Probe, meanwhile: impl FnOnce()) -> ProbeReport {
    let [from, to] = bonded.ends(Way::Up);
    probe.between(&from, &to, meanwhile).unwrap().0
}

#[test]
fn one_flow_uses_both_lines_each_way() {
    if !ready() {
        return;
    }
    let dual = dual("bond-both", dsl_and_lte());
    let bonded = Bonded::join(&dual, UPLINKS, &[]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    for way in Way::ALL {
        let mut best = (0.0, vec![]);
        for _ in 0..TRIES {
            let tried = bulk_over_both(&dual, &bonded, way);
            eprintln!("{way:?}: {:.1} Mbit/s, on the lines {:.1?}; {}", tried.0, tried.1, dual.verdict().unwrap());
            if tried.0 > best.0 {
                best = tried;
            }
            if best.0 > MORE_THAN_ONE {
                break;
            }
        }
        let (mbit_s, shares) = best;
        assert!(mbit_s > MORE_THAN_ONE, "{mbit_s} Mbit/s {way:?}: {}", bonded.client_status().unwrap()["bond"]);
        assert!(shares.iter().all(|share| *share > 2.0), "both lines carry: {shares:?}");
    }
}

/// Goodput of one flow, and what each line carried of it.
fn bulk_over_both(dual: &Dual, bonded: &Bonded<'_>, way: Way) -> (f64, Vec<f64>) {
    dual.forget_lateness().unwrap();
    let captures: Vec<_> = dual.lines.iter().map(|line| line.capture().unwrap()).collect();
    let [from, to] = bonded.ends(way);
    let report = Bulk { flows: 1, warm_up: ms(3000), window: ms(4000), ..Bulk::default() }.run(&from, &to).unwrap();
    let end = Instant::now();
    let shares = captures.into_iter().map(|c| carried(&c.finish().unwrap(), way, end, ms(3500))).collect();
    (report.mbit_s(), shares)
}

#[test]
fn a_game_does_not_notice_that_a_line_dies_silently_or_returns() {
    if !ready() {
        return;
    }
    let dual = dual("bond-cut", dsl_and_lte());
    let bonded = Bonded::join(&dual, UPLINKS, &[]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    let probe = Probe { duration: ms(6000), ..Probe::small(ms(6000)) };
    let mut returned = vec![];
    let report = probe_while(&bonded, &probe, || {
        for line in &dual.lines {
            thread::sleep(ms(300));
            line.cut().unwrap();
            thread::sleep(ms(1200));
            line.restore().unwrap();
            returned.push(wait_for_paths(&bonded, UPLINKS));
        }
    });
    eprintln!("lost {}, twice {}, gap {:?}, back after {returned:?}", report.lost(), report.duplicates(), report.longest_gap(&probe));
    assert_eq!((report.lost(), report.duplicates(), report.reordered()), (0, 0, 0), "{}", bonded.client.tail());
}

#[test]
fn any_line_may_be_dead_at_the_start_and_any_may_die() {
    if !ready() {
        return;
    }
    let lines = [dsl_and_lte().to_vec(), vec![LineOptions::new("sat0", 40.0, 30.0)]].concat();
    let dual = dual("bond-any", lines);
    let all = &["dsl0", "lte0", "sat0"];
    for dead in &dual.lines {
        dead.cut().unwrap();
        let bonded = Bonded::join(&dual, all, &[]).unwrap();
        let others: Vec<_> = all.iter().copied().filter(|name| *name != dead.name()).collect();
        wait_for_paths(&bonded, &others);
        dead.restore().unwrap();
        let back = wait_for_paths(&bonded, all);
        eprintln!("{} is used {back:?} after it is there", dead.name());
        let rest: Vec<&Line> = dual.lines.iter().filter(|line| line.name() != dead.name()).collect();
        let probe = Probe::small(ms(2500));
        let report = probe_while(&bonded, &probe, || {
            for line in &rest {
                thread::sleep(ms(400));
                line.cut().unwrap();
            }
        });
        eprintln!("with {} alone in the end: lost {}, gap {:?}", dead.name(), report.lost(), report.longest_gap(&probe));
        assert!(report.arrivals.last().unwrap().sent > ms(2400), "it goes on to the end{}", bonded.client.tail());
        dual.lines.iter().for_each(|line| line.restore().unwrap());
    }
}

#[test]
fn a_lost_carrier_is_left_at_once() {
    if !ready() {
        return;
    }
    let dual = dual("bond-carrier", dsl_and_lte());
    let bonded = Bonded::join(&dual, UPLINKS, &["--redundant", "off"]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    for line in &dual.lines {
        // A machine that is busy with something else may take its time: the shortest of some gaps is what the bond can do.
        let gaps = (0..TRIES).map(|_| {
            let probe = Probe::large(ms(2500));
            let report = probe_while(&bonded, &probe, || {
                thread::sleep(ms(500));
                line.carrier(false).unwrap();
                thread::sleep(ms(1000));
                line.carrier(true).unwrap();
            });
            let (gap, back) = (report.longest_gap(&probe), wait_for_paths(&bonded, UPLINKS));
            eprintln!("{}: lost {}, gap {gap:?}, back {back:?} later", line.name(), report.lost());
            gap
        });
        // What is only silent is noticed after 200 ms.
        assert!(gaps.into_iter().any(|gap| gap < ms(100)), "{}", bonded.client.tail());
    }
}

#[test]
fn all_lines_may_be_away_for_a_while() {
    if !ready() {
        return;
    }
    let dual = dual("bond-away", dsl_and_lte());
    let bonded = Bonded::join(&dual, UPLINKS, &[]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    let probe = Probe::small(ms(9000));
    let mut back = Duration::ZERO;
    let report = probe_while(&bonded, &probe, || {
        thread::sleep(ms(500));
        dual.lines.iter().for_each(|line| line.cut().unwrap());
        thread::sleep(ms(5000));
        dual.lines[1].restore().unwrap();
        let begin = Instant::now();
        wait_for_paths(&bonded, &["lte0"]);
        back = begin.elapsed();
    });
    eprintln!("outage {:?}, the first line is used {back:?} after its return", report.longest_gap(&probe));
    assert!(report.arrivals.last().unwrap().sent > ms(8500), "it goes on to the end{}", bonded.client.tail());
}

#[test]
fn the_status_names_every_uplink_and_why_it_carries_nothing() {
    if !ready() {
        return;
    }
    let dual = dual("bond-status", dsl_and_lte());
    let uplinks = ["dsl0", "lte0,cap=50GB/month", "sat0", "eth9,role=never"];
    let captures = tempfile::tempdir().unwrap();
    let bonded = Bonded::join(&dual, &uplinks, &["--pcap", captures.path().to_str().unwrap()]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    wait_for_words(&bonded, &["bond of 2 paths", "dsl0: alive for", "lte0: alive for", "of 50.0 GB used this month"]);
    wait_for_words(&bonded, &["sat0: not connected: there is no interface sat0", "eth9: not connected: its role is never"]);
    dual.lines[1].carrier(false).unwrap();
    wait_for_words(&bonded, &["dsl0: alive for", "lte0 has no carrier"]);
    let relay = bonded.status().unwrap().into_iter().find(|one| one["program"] == "lanparty-relay").unwrap();
    let members = relay["rooms"][0]["members"].as_array().unwrap().clone();
    let paths = |member: &Value| member["bond"]["paths"].as_array().map_or(0, Vec::len);
    assert!(members.iter().any(|member| member["role"] == "Client" && paths(member) >= 1), "{members:?}");
    assert!(members.iter().any(|member| member["role"] == "Gateway" && member["bond"].is_null()), "{members:?}");
    let captured = |line: &str| std::fs::metadata(captures.path().join(format!("{line}.pcapng"))).map_or(0, |file| file.len());
    assert!(captured("dsl0") > 200 && captured("lte0") > 200 && captured("sat0") == 0, "the join's pings go by both lines");
}

#[test]
fn a_line_gets_no_more_than_its_owner_says_each_way() {
    if !ready() {
        return;
    }
    let dual = dual("bond-rate", dsl_and_lte());
    let bonded = Bonded::join(&dual, &["dsl0,rate=4/16", "lte0,rate=2/12"], &[]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    for (way, limits) in [(Way::Up, [4.0, 2.0]), (Way::Down, [16.0, 12.0])] {
        let (mbit_s, shares) = bulk_over_both(&dual, &bonded, way);
        eprintln!("{way:?}: {mbit_s:.1} Mbit/s, on the lines {shares:.1?} of {limits:?}");
        // Of the wire, with the headers of QUIC, UDP, IP and Ethernet.
        assert!(shares.iter().zip(limits).all(|(share, limit)| *share < limit * 1.15), "{way:?}: {shares:?}");
        assert!(mbit_s > limits[0] * 0.7, "{way:?}: {mbit_s}");
    }
}

#[test]
fn uplinks_that_may_be_one_line_are_named() {
    if !ready() {
        return;
    }
    let options = DualOptions { one_nat: Some(NatKind::PortRestricted), ..DualOptions::new(dsl_and_lte()) };
    let dual = Dual::build("bond-one-nat", &options).unwrap();
    let bonded = Bonded::join(&dual, UPLINKS, &[]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    wait_for_words(&bonded, &["dsl0 and lte0 are seen at the same address, 10.99.0.40"]);
    bonded.client.wait_for("the relay sees dsl0 and lte0 at the same address", SOON).unwrap();
}

#[test]
fn a_test_of_the_bond_measures_its_lines_and_asks_before_it_uses_a_capped_one() {
    if !ready() {
        return;
    }
    let dual = dual("bond-test", dsl_and_lte());
    let bonded = Bonded::join(&dual, &["dsl0", "lte0,cap=50GB/month"], &[]).unwrap();
    wait_for_paths(&bonded, UPLINKS);
    let asked = bonded.tool(&["bond", "test"]).unwrap();
    assert!(asked.status.code() == Some(2) && asked.stderr.contains("lte0 has a cap"), "{asked:?}");
    let tested = bonded.tool(&["bond", "test", "--yes", "--json"]).unwrap();
    eprintln!("{}{}", tested.stdout, tested.stderr);
    let found: Value = serde_json::from_str(&tested.stdout).unwrap();
    let done = &found["done"];
    let rate = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let lines = done["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    for key in ["up_mbit_s", "down_mbit_s"] {
        let alone: Vec<f64> = lines.iter().map(|line| rate(line, key)).collect();
        // Headers of IP, UDP and QUIC are not counted.
        assert!(alone[0] < 30.0 && alone[1] < 20.0, "no line carries more than it has: {alone:?}");
        if dual.verdict().unwrap() == Verdict::Conclusive {
            assert!(alone[0] > 20.0 && alone[1] > 13.0, "{key}: {alone:?}");
            assert!(rate(&done["bond"], key) > alone[0] * 1.1, "{key}: {} beside {alone:?}", done["bond"]);
        } else {
            eprintln!("INCONCLUSIVE: {}", dual.verdict().unwrap());
        }
    }
    for lost in lines.iter().map(|line| &line["lost"]) {
        assert!(rate(lost, "pings") > 50.0 && rate(lost, "pings_lost") < rate(lost, "pings") / 2.0, "{lost}");
        if dual.verdict().unwrap() == Verdict::Conclusive {
            // What is silent is noticed after 200 ms.
            assert!(rate(lost, "transfer_ms") < 500.0, "{lost}");
        }
    }
    let again = bonded.tool(&["bond", "test", "--yes"]).unwrap();
    assert!(again.status.code() == Some(2) && again.stderr.contains("try again in"), "{again:?}");
    wait_for_paths(&bonded, UPLINKS);
}

#[test]
fn a_download_that_follows_an_upload_has_the_whole_line() {
    if !ready() {
        return;
    }
    let dual = dual("bond-after", dsl_and_lte());
    let bonded = Bonded::join(&dual, &["lte0"], &[]).unwrap();
    for way in [Way::Up, Way::Down, Way::Up] {
        let [from, to] = bonded.ends(way);
        let mut best = 0.0_f64;
        // Whoever else runs on this machine takes a part of one try, hardly of three.
        for _ in 0..3 {
            best = best.max(Bulk { flows: 1, warm_up: ms(1500), window: ms(2000), ..Bulk::default() }.run(&from, &to).unwrap().mbit_s());
            if best > 16.0 {
                break;
            }
        }
        assert!(best > 16.0, "{way:?}: {best:.1} of 20 Mbit/s");
    }
}
