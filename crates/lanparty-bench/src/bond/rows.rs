//! The rows of the table: two lines, what is measured on them, and what the bond has to reach.

use std::time::Duration;

use lanparty_lab::{DualOptions, LineOptions, NatKind};

use super::faults::Fault;
use super::figure::{Judge, Quantity, Subject};
use super::task::Task;

/// Two lines and what is done with them.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The lines in Mbit/s and ms of one-way delay.
    pub(crate) words: &'static str,
    pub(crate) home: fn() -> DualOptions,
    pub(crate) subjects: &'static [Subject],
    pub(crate) tasks: &'static [Task],
    /// How often, where the target says it.
    pub(crate) rounds: Option<u32>,
}

use Subject::{A, B, Bond, Multipath, Plain};

const ALL: &[Subject] = &[A, B, Plain, Multipath, Bond];
const LINES_AND_BOND: &[Subject] = &[A, B, Bond];
/// Whatever is wrong with a line: the bond is never slower than the better one, and delivers nothing twice.
const NEVER_WORSE: &[Task] = &[Task::Tcp(1, Judge::OfBetter(0.97)), Task::Tcp(4, Judge::OfBetter(0.97)), Task::Probes];

pub(crate) static ROWS: [Row; 17] = [
    Row {
        name: "even",
        words: "30 @ 10 / 20 @ 10",
        home: || home((30.0, 10.0), (20.0, 10.0)),
        subjects: ALL,
        tasks: &[Task::Tcp(1, Judge::OfSum(0.85)), Task::Tcp(4, Judge::OfSum(0.92)), Task::Udp(Judge::OfSum(0.95))],
        rounds: None,
    },
    Row {
        name: "uneven",
        words: "30 @ 10 / 20 @ 60",
        home: || home((30.0, 10.0), (20.0, 60.0)),
        subjects: ALL,
        tasks: &[Task::Tcp(1, Judge::OfSum(0.75)), Task::Tcp(4, Judge::OfSum(0.88)), Task::Udp(Judge::Shown)],
        rounds: None,
    },
    Row {
        name: "unequal",
        words: "50 @ 10 / 5 @ 50",
        // The jitter is what makes one seed differ from another.
        home: || DualOptions::new(lines((50.0, 10.0), (5.0, 50.0)).map(|line| line.both(|way| way.jitter = way.delay / 10))),
        subjects: &[A, Bond],
        tasks: &[Task::Tcp(1, Judge::OfBetter(0.97)), Task::Tcp(4, Judge::OfBetter(0.97))],
        rounds: Some(20),
    },
    Row {
        name: "loss",
        words: "30 @ 10, 1 % lost / 20 @ 10",
        home: || DualOptions::new(changing_a(|line| line.both(|way| way.loss = 0.01))),
        subjects: ALL,
        tasks: &[Task::Tcp(1, Judge::Shown), Task::Tcp(4, Judge::OfSum(0.75)), Task::Udp(Judge::Shown)],
        rounds: None,
    },
    Row {
        name: "satellite",
        words: "100 @ 300 / 10 @ 15",
        home: || home((100.0, 300.0), (10.0, 15.0)),
        subjects: ALL,
        tasks: &[Task::Small(Judge::AboveB(2.0)), Task::Tcp(4, Judge::OfSum(0.8)), Task::Udp(Judge::OfSum(0.8))],
        rounds: None,
    },
    Row {
        name: "cut",
        words: "30 @ 10 / 20 @ 10",
        home: || home((30.0, 10.0), (20.0, 10.0)),
        subjects: &[Bond],
        tasks: &[Task::Cut(Fault::Silent)],
        rounds: Some(1),
    },
    Row {
        name: "carrier",
        words: "30 @ 10 / 20 @ 10",
        home: || home((30.0, 10.0), (20.0, 10.0)),
        subjects: &[Bond],
        tasks: &[Task::Cut(Fault::Carrier)],
        rounds: Some(1),
    },
    Row {
        name: "comeback",
        words: "30 @ 10 / 20 @ 10",
        home: || home((30.0, 10.0), (20.0, 10.0)),
        subjects: &[B, Bond],
        tasks: &[Task::Comeback],
        rounds: None,
    },
    Row {
        name: "bloat",
        words: "30 @ 10 / 20 @ 10, buffers of 200 ms",
        home: || DualOptions::new(lines((30.0, 10.0), (20.0, 10.0)).map(|line| line.buffer(Duration::from_millis(200)))),
        subjects: &[A, B, Bond],
        tasks: &[Task::Beside(Judge::AtMost(15.0))],
        rounds: None,
    },
    Row {
        name: "blackout",
        words: "30 @ 10 / 20 @ 10",
        home: || home((30.0, 10.0), (20.0, 10.0)),
        subjects: &[Bond],
        tasks: &[Task::Blackout],
        rounds: None,
    },
    Row {
        name: "cpu",
        words: "30 @ 10 / 20 @ 10",
        home: || home((30.0, 10.0), (20.0, 10.0)),
        subjects: &[A, Bond],
        tasks: &[Task::Cpu(Judge::TimesA(1.3))],
        rounds: None,
    },
    Row {
        name: "mtu",
        words: "30 @ 10, 1400 bytes / 20 @ 10",
        home: || DualOptions::new(changing_a(|line| line.mtu(1_400))),
        subjects: LINES_AND_BOND,
        tasks: NEVER_WORSE,
        rounds: None,
    },
    Row {
        name: "jitter",
        words: "30 @ 10 / 20 @ 30 +- 20",
        home: || {
            let [a, b] = lines((30.0, 10.0), (20.0, 30.0));
            DualOptions::new([a, b.both(|way| way.jitter = Duration::from_millis(20))])
        },
        subjects: LINES_AND_BOND,
        tasks: NEVER_WORSE,
        rounds: None,
    },
    Row {
        name: "reorder",
        words: "30 @ 10, 5 % held back by 5 ms / 20 @ 10",
        home: || DualOptions::new(changing_a(|line| line.both(|way| (way.reorder, way.reorder_by) = (0.05, Duration::from_millis(5))))),
        subjects: LINES_AND_BOND,
        tasks: NEVER_WORSE,
        rounds: None,
    },
    Row {
        name: "duplicate",
        words: "30 @ 10, 1 % twice / 20 @ 10",
        home: || DualOptions::new(changing_a(|line| line.both(|way| way.dup = 0.01))),
        subjects: LINES_AND_BOND,
        tasks: NEVER_WORSE,
        rounds: None,
    },
    Row {
        name: "symmetric",
        words: "30 @ 10 behind a symmetric NAT / 20 @ 10",
        home: || DualOptions::new(changing_a(|line| line.nat(NatKind::Symmetric))),
        subjects: LINES_AND_BOND,
        tasks: NEVER_WORSE,
        rounds: None,
    },
    Row {
        name: "one-nat",
        words: "30 @ 10 / 20 @ 10 behind one NAT",
        home: || DualOptions { one_nat: Some(NatKind::PortRestricted), ..home((30.0, 10.0), (20.0, 10.0)) },
        subjects: LINES_AND_BOND,
        tasks: NEVER_WORSE,
        rounds: None,
    },
];

/// Rate and one-way delay of each.
fn lines(a: (f64, f64), b: (f64, f64)) -> [LineOptions; 2] {
    [LineOptions::new("dsl0", a.0, a.1), LineOptions::new("lte0", b.0, b.1)]
}

fn home(a: (f64, f64), b: (f64, f64)) -> DualOptions {
    DualOptions::new(lines(a, b))
}

/// The usual lines, the first of them changed.
fn changing_a(change: fn(LineOptions) -> LineOptions) -> [LineOptions; 2] {
    let [a, b] = lines((30.0, 10.0), (20.0, 10.0));
    [change(a), b]
}

impl Row {
    /// Everything that it has figures of, in the order of the table.
    pub(crate) fn quantities(&self) -> Vec<Quantity> {
        self.tasks.iter().flat_map(|task| task.quantities()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_has_a_title_of_its_own_in_its_row() {
        for row in &ROWS {
            let mut titles: Vec<String> = row.quantities().into_iter().map(|quantity| quantity.title).collect();
            let all = titles.len();
            titles.sort();
            titles.dedup();
            assert_eq!(titles.len(), all, "{}", row.name);
            assert!(row.tasks.iter().all(|task| task.concerns(Bond)) && row.subjects.contains(&Bond), "{}", row.name);
        }
    }
}
