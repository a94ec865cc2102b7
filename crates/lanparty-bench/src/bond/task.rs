//! What is measured of a subject on a row's lines, and what its figures are called.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::{Bulk, Way};

use super::faults::{self, Fault, Seen, Worst};
use super::figure::{Judge, Quantity, Reading, Subject};
use super::latency;
use super::place::{Attempt, Place};
use super::throughput;

use Subject::{A, B, Bond, Multipath, Plain};

const MBIT_S: &str = "Mbit/s";
const MS: &str = "ms";
const PACKETS: &str = "packets";
const FLOWS: &str = "flows";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    /// Goodput of so many TCP flows, each direction.
    Tcp(usize, Judge),
    /// Goodput of UDP, each direction.
    Udp(Judge),
    /// The delay of small packets and of pings.
    Small(Judge),
    /// What becomes of probes of both sizes while nothing else is sent.
    Probes,
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

impl Task {
    /// Is it measured of this subject?
    pub(crate) fn concerns(self, subject: Subject) -> bool {
        match self {
            Self::Tcp(..) | Self::Probes => true,
            Self::Udp(_) => subject != Multipath,
            Self::Small(_) | Self::Comeback => matches!(subject, B | Bond),
            Self::Beside(_) => !matches!(subject, Plain | Multipath),
            Self::Cut(_) | Self::Blackout => subject == Bond,
            Self::Cpu(_) => matches!(subject, A | Bond),
        }
    }

    /// What it has figures of, in the order of the table.
    pub(crate) fn quantities(self) -> Vec<Quantity> {
        let both = |title: &str, unit, judge| Way::ALL.map(|way| quantity(&format!("{title}, {}", word(way)), unit, judge)).to_vec();
        match self {
            Self::Tcp(1, judge) => both("TCP, 1 flow", MBIT_S, judge),
            Self::Tcp(flows, judge) => both(&format!("TCP, {flows} flows"), MBIT_S, judge),
            Self::Udp(judge) => both("UDP", MBIT_S, judge),
            Self::Small(judge) => [both("small UDP, median", MS, judge), vec![quantity("ping, median", MS, judge)]].concat(),
            Self::Probes => of_probes(&[Seen::default(); 2]).map(|(quantity, _)| quantity).into(),
            Self::Beside(judge) => [both("ping beside TCP, p95 above idle", MS, judge), both("that TCP", MBIT_S, Judge::Shown)].concat(),
            Self::Cut(fault) => of_cut(fault, &Worst::default()).into_iter().map(|(quantity, _)| quantity).collect(),
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
            let Some(Attempt { value, late, busy, discarded }) = taken else { continue };
            readings.push(Reading { row, round, subject: place.subject, quantity, value, late, busy, discarded });
        }
        Ok(readings)
    }

    /// As many as there are quantities, in their order; nothing where this subject has no such figure.
    fn take(self, place: &Place<'_>) -> Result<Taken> {
        match self {
            Self::Tcp(flows, _) => each_way(place, |way| throughput::tcp(place, way, flows)),
            Self::Udp(_) => each_way(place, |way| throughput::udp(place, way)),
            Self::Small(_) => {
                let ping = Some(place.attempt(|| latency::ping(place, 50.0))?);
                Ok([each_way(place, |way| latency::probe(place, way))?, vec![ping]].concat())
            }
            Self::Probes => Ok(place.attempt(|| faults::probes(place))?.split(|both| of_probes(both).map(|(_, value)| value).into())),
            Self::Beside(_) => {
                let [up, down] = Way::ALL.map(|way| place.attempt(|| latency::ping_beside(place, way)));
                let (up, down) = (up?, down?);
                Ok(vec![Some(up.map(|one| one.0)), Some(down.map(|one| one.0)), Some(up.map(|one| one.1)), Some(down.map(|one| one.1))])
            }
            Self::Cut(fault) => {
                Ok(faults::cuts(place, fault)?.split(|worst| of_cut(fault, worst).into_iter().map(|(_, value)| value).collect()))
            }
            Self::Comeback if place.subject == B => Ok(vec![None, Some(place.attempt(|| throughput::tcp(place, Way::Down, 4))?)]),
            Self::Comeback => Ok(place.attempt(|| faults::comeback(place))?.split(|both| vec![both.0, both.1])),
            Self::Blackout => Ok(vec![Some(place.attempt(|| faults::blackout(place))?)]),
            Self::Cpu(_) => Ok(vec![Some(place.attempt(|| cpu_seconds_per_gib(place))?)]),
        }
    }
}

/// One figure per quantity.
type Taken = Vec<Option<Attempt<f64>>>;

fn each_way(place: &Place<'_>, measure: impl Fn(Way) -> Result<f64>) -> Result<Taken> {
    Way::ALL.into_iter().map(|way| place.attempt(|| measure(way)).map(Some)).collect()
}

impl<T> Attempt<T> {
    /// The figures of one attempt.
    fn split(&self, figures: impl FnOnce(&T) -> Vec<f64>) -> Taken {
        figures(&self.value).into_iter().map(|value| Some(self.map(|_| value))).collect()
    }
}

fn quantity(title: &str, unit: &'static str, judge: Judge) -> Quantity {
    Quantity { title: title.to_owned(), unit, judge }
}

const fn word(way: Way) -> &'static str {
    match way {
        Way::Up => "up",
        Way::Down => "down",
    }
}

/// Of the small probe and the large one.
fn of_probes([small, large]: &[Seen; 2]) -> [(Quantity, f64); 4] {
    [
        (quantity("small probe, lost", PACKETS, Judge::AtMost(0.0)), small.lost),
        (quantity("large probe, lost", PACKETS, Judge::Shown), large.lost),
        (quantity("either probe, twice", PACKETS, Judge::AtMost(0.0)), small.twice.max(large.twice)),
        (quantity("large probe, out of order", PACKETS, Judge::Shown), large.reordered),
    ]
}

fn of_cut(fault: Fault, worst: &Worst) -> Vec<(Quantity, f64)> {
    let Worst { small, large, flows_died, standstill_ms } = worst;
    let [small_gap, large_gap] = match fault {
        Fault::Silent => [30.0, 200.0],
        Fault::Carrier => [50.0, 50.0],
    };
    vec![
        (quantity("small probe, lost", PACKETS, Judge::AtMost(0.0)), small.lost),
        (quantity("small probe, longest gap", MS, Judge::AtMost(small_gap)), small.gap_ms),
        (quantity("small probe, late", PACKETS, Judge::AtMost(0.0)), small.stale),
        (quantity("large probe, lost", PACKETS, Judge::Shown), large.lost),
        (quantity("large probe, longest gap", MS, Judge::AtMost(large_gap)), large.gap_ms),
        (quantity("large probe, late", PACKETS, Judge::AtMost(0.0)), large.stale),
        (quantity("either probe, twice", PACKETS, Judge::AtMost(0.0)), small.twice.max(large.twice)),
        (quantity("either probe, oldest", MS, Judge::Shown), small.oldest_ms.max(large.oldest_ms)),
        (quantity("TCP flows that died", FLOWS, Judge::AtMost(0.0)), *flows_died),
        (quantity("TCP, longest standstill", MS, Judge::Shown), *standstill_ms),
    ]
}

/// Of relay, gateway and client together, for what TCP carries both ways.
fn cpu_seconds_per_gib(place: &Place<'_>) -> Result<f64> {
    let bonded = place.bonded()?;
    let bulk = Bulk { flows: 4, warm_up: Duration::ZERO, window: place.plan.window(place.round_trip()), download: false };
    let before = bonded.cpu_seconds();
    let mut gib = 0.0;
    for way in Way::ALL {
        let [from, to] = bonded.ends(way);
        gib += bulk.run(&from, &to)?.mbit_s() * 1e6 / 8.0 * bulk.window.as_secs_f64() / f64::from(1_u32 << 30);
    }
    Ok((bonded.cpu_seconds() - before) / gib)
}
