//! The rows of the table: two lines, what is measured on them, and what the bond has to reach.

use anyhow::Result;
use lanparty_lab::{Bulk, LineOptions, Way};

use super::faults::{self, Fault, Worst};
use super::figure::{Judge, Quantity, Reading, Subject};
use super::latency;
use super::place::{Attempt, Place};
use super::throughput;

/// Two lines and what is done with them.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The lines in Mbit/s and ms of one-way delay.
    pub(crate) words: &'static str,
    pub(crate) lines: fn() -> [LineOptions; 2],
    pub(crate) subjects: &'static [Subject],
    pub(crate) tasks: &'static [Task],
    /// How often, where the target says it.
    pub(crate) rounds: Option<u32>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    /// Goodput of so many TCP flows, each direction.
    Tcp(usize, Judge),
    /// Goodput of UDP, each direction.
    Udp(Judge),
    /// The delay of small packets and of pings.
    Small(Judge),
    /// What a transfer adds to a ping, each direction.
    Beside(Judge),
    /// Lines that are cut.
    Cut(Fault),
    /// A line that comes back.
    Comeback,
    /// All lines cut.
    Blackout,
    /// Processor time.
    Cpu(Judge),
}

use Subject::{A, B, Bond, Multipath, Plain};

const ALL: &[Subject] = &[A, B, Plain, Multipath, Bond];

pub(crate) static ROWS: [Row; 11] = [
    Row {
        name: "even",
        words: "30 @ 10 / 20 @ 10",
        lines: || lines((30.0, 10.0), (20.0, 10.0)),
        subjects: ALL,
        tasks: &[Task::Tcp(1, Judge::OfSum(0.85)), Task::Tcp(4, Judge::OfSum(0.92)), Task::Udp(Judge::OfSum(0.95))],
        rounds: None,
    },
    Row {
        name: "uneven",
        words: "30 @ 10 / 20 @ 60",
        lines: || lines((30.0, 10.0), (20.0, 60.0)),
        subjects: ALL,
        tasks: &[Task::Tcp(1, Judge::OfSum(0.75)), Task::Tcp(4, Judge::OfSum(0.88)), Task::Udp(Judge::Shown)],
        rounds: None,
    },
    Row {
        name: "unequal",
        words: "50 @ 10 / 5 @ 50",
        // The jitter is what makes one seed differ from another.
        lines: || lines((50.0, 10.0), (5.0, 50.0)).map(|line| line.both(|way| way.jitter = way.delay / 10)),
        subjects: &[A, Bond],
        tasks: &[Task::Tcp(1, Judge::OfBetter(0.97)), Task::Tcp(4, Judge::OfBetter(0.97))],
        rounds: Some(20),
    },
    Row {
        name: "loss",
        words: "30 @ 10, 1 % lost / 20 @ 10",
        lines: || {
            let [dsl, lte] = lines((30.0, 10.0), (20.0, 10.0));
            [dsl.both(|way| way.loss = 0.01), lte]
        },
        subjects: ALL,
        tasks: &[Task::Tcp(1, Judge::Shown), Task::Tcp(4, Judge::OfSum(0.75)), Task::Udp(Judge::Shown)],
        rounds: None,
    },
    Row {
        name: "satellite",
        words: "100 @ 300 / 10 @ 15",
        lines: || lines((100.0, 300.0), (10.0, 15.0)),
        subjects: ALL,
        tasks: &[Task::Small(Judge::AboveB(2.0)), Task::Tcp(4, Judge::OfSum(0.8)), Task::Udp(Judge::OfSum(0.8))],
        rounds: None,
    },
    Row {
        name: "cut",
        words: "30 @ 10 / 20 @ 10",
        lines: || lines((30.0, 10.0), (20.0, 10.0)),
        subjects: &[Bond],
        tasks: &[Task::Cut(Fault::Silent)],
        rounds: Some(1),
    },
    Row {
        name: "carrier",
        words: "30 @ 10 / 20 @ 10",
        lines: || lines((30.0, 10.0), (20.0, 10.0)),
        subjects: &[Bond],
        tasks: &[Task::Cut(Fault::Carrier)],
        rounds: Some(1),
    },
    Row {
        name: "comeback",
        words: "30 @ 10 / 20 @ 10",
        lines: || lines((30.0, 10.0), (20.0, 10.0)),
        subjects: &[B, Bond],
        tasks: &[Task::Comeback],
        rounds: None,
    },
    Row {
        name: "bloat",
        words: "30 @ 10 / 20 @ 10, buffers of 200 ms",
        lines: || lines((30.0, 10.0), (20.0, 10.0)).map(|line| line.buffer(std::time::Duration::from_millis(200))),
        subjects: &[A, B, Bond],
        tasks: &[Task::Beside(Judge::AtMost(15.0))],
        rounds: None,
    },
    Row {
        name: "blackout",
        words: "30 @ 10 / 20 @ 10",
        lines: || lines((30.0, 10.0), (20.0, 10.0)),
        subjects: &[Bond],
        tasks: &[Task::Blackout],
        rounds: None,
    },
    Row {
        name: "cpu",
        words: "30 @ 10 / 20 @ 10",
        lines: || lines((30.0, 10.0), (20.0, 10.0)),
        subjects: &[A, Bond],
        tasks: &[Task::Cpu(Judge::TimesA(1.3))],
        rounds: None,
    },
];

/// Rate and one-way delay of each.
fn lines(a: (f64, f64), b: (f64, f64)) -> [LineOptions; 2] {
    [LineOptions::new("dsl0", a.0, a.1), LineOptions::new("lte0", b.0, b.1)]
}

impl Row {
    /// Everything that it has figures of, in the order of the table.
    pub(crate) fn quantities(&self) -> Vec<Quantity> {
        self.tasks.iter().flat_map(|task| task.quantities()).collect()
    }
}

impl Task {
    /// Is it measured of this subject?
    pub(crate) fn concerns(self, subject: Subject) -> bool {
        match self {
            Self::Tcp(..) => true,
            Self::Udp(_) => subject != Multipath,
            Self::Small(_) | Self::Comeback => matches!(subject, B | Bond),
            Self::Beside(_) => !matches!(subject, Plain | Multipath),
            Self::Cut(_) | Self::Blackout => subject == Bond,
            Self::Cpu(_) => matches!(subject, A | Bond),
        }
    }

    /// What it has figures of.
    pub(crate) fn quantities(self) -> Vec<Quantity> {
        let both = |title: &str, unit, judge| Way::ALL.map(|way| quantity(&format!("{title}, {}", word(way)), unit, judge)).to_vec();
        match self {
            Self::Tcp(1, judge) => both("TCP, 1 flow", MBIT_S, judge),
            Self::Tcp(flows, judge) => both(&format!("TCP, {flows} flows"), MBIT_S, judge),
            Self::Udp(judge) => both("UDP", MBIT_S, judge),
            Self::Small(judge) => [both("small UDP, median", MS, judge), vec![quantity("ping, median", MS, judge)]].concat(),
            Self::Beside(judge) => [both("ping beside TCP, p95 above idle", MS, judge), both("that TCP", MBIT_S, Judge::Shown)].concat(),
            Self::Cut(Fault::Silent) => of_silent_cut(),
            Self::Cut(Fault::Carrier) => of_carrier_cut(),
            Self::Comeback => vec![
                quantity("in use again after its return", MS, Judge::AtMost(1_000.0)),
                quantity("least TCP after its return", MBIT_S, Judge::OfB(0.95)),
            ],
            Self::Blackout => vec![quantity("back after the first line's return", MS, Judge::AtMost(1_000.0))],
            Self::Cpu(judge) => vec![quantity("CPU per GiB", "s", judge)],
        }
    }

    /// The figures of the place's subject.
    pub(crate) fn measure(self, place: &Place<'_>, row: &'static str, round: u32) -> Result<Vec<Reading>> {
        let mut readings = Vec::new();
        for (quantity, taken) in self.quantities().into_iter().zip(self.take(place)?) {
            let Some(Attempt { value, late, discarded }) = taken else { continue };
            readings.push(Reading { row, round, subject: place.subject, quantity, value, late, discarded });
        }
        Ok(readings)
    }

    /// As many as there are quantities, in their order; nothing where this subject has no such figure.
    fn take(self, place: &Place<'_>) -> Result<Vec<Option<Attempt<f64>>>> {
        let each_way = |measure: &dyn Fn(Way) -> Result<f64>| -> Result<Vec<Option<Attempt<f64>>>> {
            Way::ALL.into_iter().map(|way| place.attempt(|| measure(way)).map(Some)).collect()
        };
        match self {
            Self::Tcp(flows, _) => each_way(&|way| throughput::tcp(place, way, flows)),
            Self::Udp(_) => each_way(&|way| throughput::udp(place, way)),
            Self::Small(_) => {
                let mut taken = each_way(&|way| latency::probe(place, way))?;
                taken.push(Some(place.attempt(|| latency::ping(place, 50.0))?));
                Ok(taken)
            }
            Self::Beside(_) => {
                let [up, down] = Way::ALL.map(|way| place.attempt(|| latency::ping_beside(place, way)));
                let (up, down) = (up?, down?);
                Ok(vec![Some(up.map(|one| one.0)), Some(down.map(|one| one.0)), Some(up.map(|one| one.1)), Some(down.map(|one| one.1))])
            }
            Self::Cut(fault) => {
                let worst = faults::cuts(place, fault)?;
                Ok(figures_of_cut(fault, worst.value).into_iter().map(|value| Some(worst.map(|_| value))).collect())
            }
            Self::Comeback if place.subject == B => Ok(vec![None, Some(place.attempt(|| throughput::tcp(place, Way::Down, 4))?)]),
            Self::Comeback => {
                let both = place.attempt(|| faults::comeback(place))?;
                Ok(vec![Some(both.map(|both| both.0)), Some(both.map(|both| both.1))])
            }
            Self::Blackout => Ok(vec![Some(place.attempt(|| faults::blackout(place))?)]),
            Self::Cpu(_) => Ok(vec![Some(place.attempt(|| cpu_seconds_per_gib(place))?)]),
        }
    }
}

const MBIT_S: &str = "Mbit/s";
const MS: &str = "ms";
const PACKETS: &str = "packets";

fn quantity(title: &str, unit: &'static str, judge: Judge) -> Quantity {
    Quantity { title: title.to_owned(), unit, judge }
}

const fn word(way: Way) -> &'static str {
    match way {
        Way::Up => "up",
        Way::Down => "down",
    }
}

fn of_silent_cut() -> Vec<Quantity> {
    vec![
        quantity("small probe, lost", PACKETS, Judge::AtMost(0.0)),
        quantity("small probe, longest gap", MS, Judge::AtMost(30.0)),
        quantity("small probe, late", PACKETS, Judge::AtMost(0.0)),
        quantity("large probe, lost", PACKETS, Judge::Shown),
        quantity("large probe, longest gap", MS, Judge::AtMost(200.0)),
        quantity("large probe, late", PACKETS, Judge::AtMost(0.0)),
        quantity("either probe, twice", PACKETS, Judge::AtMost(0.0)),
        quantity("either probe, oldest", MS, Judge::Shown),
        quantity("TCP flows that died", "flows", Judge::AtMost(0.0)),
        quantity("TCP, longest standstill", MS, Judge::Shown),
    ]
}

fn of_carrier_cut() -> Vec<Quantity> {
    let gaps = ["small probe, longest gap", "large probe, longest gap"].map(|title| quantity(title, MS, Judge::AtMost(50.0)));
    [gaps.to_vec(), vec![quantity("TCP flows that died", "flows", Judge::AtMost(0.0))]].concat()
}

/// In the order of their quantities.
fn figures_of_cut(fault: Fault, worst: Worst) -> Vec<f64> {
    let Worst { small, large, flows_died, standstill_ms } = worst;
    match fault {
        Fault::Silent => vec![
            small.lost,
            small.gap_ms,
            small.stale,
            large.lost,
            large.gap_ms,
            large.stale,
            small.twice.max(large.twice),
            small.oldest_ms.max(large.oldest_ms),
            flows_died,
            standstill_ms,
        ],
        Fault::Carrier => vec![small.gap_ms, large.gap_ms, flows_died],
    }
}

/// Of relay, gateway and client together, for what TCP carries both ways.
fn cpu_seconds_per_gib(place: &Place<'_>) -> Result<f64> {
    let bonded = place.bonded()?;
    let bulk = Bulk { flows: 4, warm_up: std::time::Duration::ZERO, window: place.plan.window(place.round_trip()), download: false };
    let before = bonded.cpu_seconds();
    let mut gib = 0.0;
    for way in Way::ALL {
        let [from, to] = bonded.ends(way);
        gib += bulk.run(&from, &to)?.mbit_s() * 1e6 / 8.0 * bulk.window.as_secs_f64() / f64::from(1_u32 << 30);
    }
    Ok((bonded.cpu_seconds() - before) / gib)
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

    #[test]
    fn a_cut_has_as_many_figures_as_quantities() {
        for fault in [Fault::Silent, Fault::Carrier] {
            assert_eq!(figures_of_cut(fault, Worst::default()).len(), Task::Cut(fault).quantities().len());
        }
    }
}
