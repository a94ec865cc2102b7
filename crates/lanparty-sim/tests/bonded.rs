//! What a bond gives over pairs of lines, in virtual time: a table that is the same in every run, so that what changes is seen.

use std::fmt::Write as _;
use std::time::Duration;

use lanparty_sim::bonded::run;
use lanparty_sim::{BondFigures, BondPlan, Impairment, LineCut};

/// The table as it is committed; `BLESS=1` writes it anew.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bonded.txt");

/// A line of so many Mbit/s and milliseconds one way, with so many milliseconds of buffer.
fn line(mbit: f64, delay_ms: u64, buffer_ms: u64) -> Impairment {
    let rate = (mbit * 1e6) as u64;
    Impairment { rate, delay: Duration::from_millis(delay_ms), queue: rate / 8 * buffer_ms / 1000, ..Impairment::default() }
}

fn lossy(line: &Impairment) -> Impairment {
    Impairment { loss: 0.01, ..line.clone() }
}

fn figures(lines: &[Impairment], flows: usize, span: Duration) -> BondFigures {
    run(&BondPlan { lines: lines.to_vec(), flows, span, seed: 1, cut: None })
}

/// Lines as the rows name them: alone first, then in pairs.
fn rows() -> Vec<(&'static str, Vec<Impairment>)> {
    let (dsl, lte, far) = (line(30.0, 10, 50), line(20.0, 10, 50), line(20.0, 60, 50));
    let (satellite, slow) = (line(100.0, 300, 100), line(10.0, 15, 50));
    vec![
        ("100@300, 100 ms of buffer", vec![satellite.clone()]),
        ("10@15", vec![slow.clone()]),
        ("100@300, 100 ms of buffer + 10@15", vec![satellite, slow]),
        ("30@10", vec![dsl.clone()]),
        ("20@10", vec![lte.clone()]),
        ("20@60", vec![far.clone()]),
        ("50@10", vec![line(50.0, 10, 50)]),
        ("30@10, 1 % lost", vec![lossy(&dsl)]),
        ("30@10, 200 ms of buffer", vec![line(30.0, 10, 200)]),
        ("30@10, 5 ms of buffer", vec![line(30.0, 10, 5)]),
        ("30@10 + 20@10", vec![dsl.clone(), lte.clone()]),
        ("30@10 + 20@60", vec![dsl.clone(), far]),
        ("50@10 + 5@50", vec![line(50.0, 10, 50), line(5.0, 50, 50)]),
        ("30@10, 1 % lost + 20@10", vec![lossy(&dsl), lte]),
        ("30@10, 1 % lost + 20@60, 1 % lost", vec![lossy(&dsl), lossy(&line(20.0, 60, 50))]),
        ("30@10 + 20@10, 200 ms of buffer", vec![line(30.0, 10, 200), line(20.0, 10, 200)]),
    ]
}

/// The lines of the table for these lines, with one flow and with four.
fn figures_of(name: &str, lines: &[Impairment]) -> String {
    let mut table = String::new();
    for flows in [1, 4] {
        // A flow needs many round trips to fill a long line.
        let longest = lines.iter().map(|line| line.delay * 2).max().unwrap_or_default();
        let f = figures(lines, flows, Duration::from_secs(4) + longest * 25);
        let all = f.shares.iter().sum::<u64>().max(1);
        let shares: Vec<String> = f.shares.iter().map(|share| (share * 100 / all).to_string()).collect();
        let (p50, p95) = f.ping_ms;
        let (late, given_up, shares) = (f.restored.late, f.restored.given_up, shares.join("+"));
        let _ = writeln!(table, "{name:35} {flows:4}  {:6.1}  {p50:7.1} /{p95:6.1}  {shares:>8}  {late:4}  {given_up:8}", f.mbit_s);
    }
    table
}

#[test]
fn the_table_is_as_it_was() {
    let rows = rows();
    let table = std::thread::scope(|scope| {
        let threads: Vec<_> = rows.iter().map(|(name, lines)| scope.spawn(|| figures_of(name, lines))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<String>()
    });
    let table = format!("lines (Mbit/s @ ms one way)        flows  Mbit/s  ping ms p50/p95  shares %  late  given up\n{table}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TABLE, &table).unwrap();
    }
    let committed = std::fs::read_to_string(TABLE).unwrap();
    assert_eq!(committed, table, "the bond does otherwise than before; when that is meant, run this with BLESS=1 and commit the table");
}

/// Either line is cut ten times, at different moments of its traffic.
#[test]
fn a_silent_cut_costs_a_game_no_packet_and_a_flow_less_than_a_quarter_of_a_second() {
    let span = Duration::from_secs(3);
    let lines = [line(30.0, 10, 50), line(20.0, 10, 50)];
    let cut = |n: u64| {
        let cut = LineCut { line: n as usize % 2, at: span + span / 2 + Duration::from_millis(7 * n) };
        let f = run(&BondPlan { lines: lines.to_vec(), flows: 1 + n as usize % 4, span, seed: n, cut: Some(cut) });
        assert!(f.pings_lost == 0 && f.ping_gap_ms <= 30.0, "{cut:?}: {f:?}");
        assert!(f.standstill < Duration::from_millis(250), "{cut:?}: {f:?}");
        let kept = if cut.line == 0 { 18.0 } else { 27.0 };
        assert!(f.mbit_s > kept, "it goes on by the other line, {cut:?}: {f:?}");
    };
    std::thread::scope(|scope| {
        for first in 0..2 {
            scope.spawn(move || (first..20).step_by(2).for_each(cut));
        }
    });
}

#[test]
fn the_same_seed_is_the_same_run() {
    let lines = [lossy(&line(30.0, 10, 50)), line(20.0, 10, 50)];
    let [one, other] = [(), ()].map(|()| figures(&lines, 2, Duration::from_secs(1)));
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}
