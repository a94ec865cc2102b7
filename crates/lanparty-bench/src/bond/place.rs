//! Where one subject is measured: a home with two lines, and whoever carries.

use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Bonded, Dual, Endpoint, Impairment, Lab, Line, Verdict, Way};

use super::figure::Subject;
use super::rows::Row;
use crate::cpu::Snapshot;

/// A measurement during which the lines are served late is tried so often.
const ATTEMPTS: u32 = 3;
/// Round trips that TCP needs to find the rate of a line with much delay, and then to show it.
const WARM_UP_TRIPS: u32 = 15;
const WINDOW_TRIPS: u32 = 20;

/// How long the steps are.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    warm_up: Duration,
    window: Duration,
    /// How often a line is cut.
    pub(crate) cuts: u32,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        let (warm_up, window, cuts) = if quick { (2, 4, 4) } else { (3, 10, 20) };
        Self { warm_up: Duration::from_secs(warm_up), window: Duration::from_secs(window), cuts }
    }

    /// Time that does not count, on lines of this round trip.
    pub(crate) fn warm_up(&self, round_trip: Duration) -> Duration {
        self.warm_up + round_trip * WARM_UP_TRIPS
    }

    /// Time that counts.
    pub(crate) fn window(&self, round_trip: Duration) -> Duration {
        self.window + round_trip * WINDOW_TRIPS
    }
}

/// Two ends between which something flows, and what the lines between them could carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub(crate) from: Endpoint<'a>,
    pub(crate) to: Endpoint<'a>,
    pub(crate) rate_mbit_s: f64,
    /// The receiver opens the connection.
    pub(crate) download: bool,
}

/// What there is between the two ends.
enum Carrier<'a> {
    Tunnel(&'a Bonded<'a>),
    /// The lines side by side.
    Lines,
    /// Home and the relay's host, whose kernels use all lines for one connection.
    Multipath([Endpoint<'a>; 2]),
}

/// The subject in its place.
pub(crate) struct Place<'a> {
    pub(crate) dual: &'a Dual,
    pub(crate) subject: Subject,
    pub(crate) plan: &'a Plan,
    carrier: Carrier<'a>,
}

/// What was measured, and how often it had to be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<T> {
    pub(crate) value: T,
    pub(crate) late: bool,
    /// Strangers used the processors: the lines were in time, but perhaps not the programs.
    pub(crate) busy: bool,
    pub(crate) discarded: u32,
}

impl<T> Attempt<T> {
    /// Another view of the same attempt.
    pub(crate) fn map<U>(&self, view: impl FnOnce(&T) -> U) -> Attempt<U> {
        Attempt { value: view(&self.value), late: self.late, busy: self.busy, discarded: self.discarded }
    }
}

impl<T: Copy> Attempt<T> {
    /// This one and another, their values put together.
    pub(crate) fn and(self, other: Self, together: impl FnOnce(T, T) -> T) -> Self {
        Self {
            value: together(self.value, other.value),
            late: self.late || other.late,
            busy: self.busy || other.busy,
            discarded: self.discarded + other.discarded,
        }
    }
}

impl Place<'_> {
    /// Builds the row's lines, has the subject join by those that it uses, and calls `work`.
    pub(crate) fn build(
        row: &Row,
        round: u32,
        subject: Subject,
        plan: &Plan,
        more: &[&str],
        work: impl FnOnce(&Place<'_>) -> Result<()>,
    ) -> Result<()> {
        let dual = Dual::build_in(Lab::seeded("bond", u64::from(round))?, &(row.home)())?;
        let names: Vec<&str> = dual.lines.iter().map(Line::name).collect();
        let uplinks = match subject {
            Subject::A => &names[..1],
            Subject::B => &names[1..],
            Subject::Bond => &names[..],
            Subject::Plain => return work(&Place { dual: &dual, subject, plan, carrier: Carrier::Lines }),
            Subject::Multipath => {
                let ends = dual.allow_multipath()?;
                return work(&Place { dual: &dual, subject, plan, carrier: Carrier::Multipath(ends) });
            }
        };
        let bonded = Bonded::join(&dual, uplinks, more)?;
        work(&Place { dual: &dual, subject, plan, carrier: Carrier::Tunnel(&bonded) })
    }

    /// Relay, gateway and client.
    pub(crate) fn bonded(&self) -> Result<&Bonded<'_>> {
        match self.carrier {
            Carrier::Tunnel(bonded) => Some(bonded),
            Carrier::Lines | Carrier::Multipath(_) => None,
        }
        .context("INVARIANT: what is measured of a tunnel has one")
    }

    /// The lines that the subject uses.
    fn lines(&self) -> &[Line] {
        match self.subject {
            Subject::A => &self.dual.lines[..1],
            Subject::B => &self.dual.lines[1..],
            Subject::Plain | Subject::Multipath | Subject::Bond => &self.dual.lines,
        }
    }

    /// The longest round trip of these lines when they are empty.
    pub(crate) fn round_trip(&self) -> Duration {
        self.lines().iter().map(|line| line.options().up.delay + line.options().down.delay).max().unwrap_or_default()
    }

    /// One flow by the subject; by lines side by side, one by each.
    pub(crate) fn flows(&self, way: Way) -> Vec<Flow<'_>> {
        let rate_mbit_s = self.lines().iter().map(|line| rate_mbit_s(line, way)).sum();
        match self.carrier {
            Carrier::Tunnel(bonded) => {
                let [from, to] = bonded.ends(way);
                vec![Flow { from, to, rate_mbit_s, download: false }]
            }
            Carrier::Lines => self.dual.lines.iter().map(|line| self.by_line(line, way)).collect(),
            Carrier::Multipath([home, relay]) => vec![outside(home, relay, way, rate_mbit_s)],
        }
    }

    fn by_line<'a>(&'a self, line: &'a Line, way: Way) -> Flow<'a> {
        let home = Endpoint::new(&self.dual.home, line.address()).on(line.name());
        outside(home, Endpoint::new(&self.dual.relay, Dual::RELAY), way, rate_mbit_s(line, way))
    }

    /// Measures, and again while the lines are served late.
    pub(crate) fn attempt<T>(&self, measure: impl Fn() -> Result<T>) -> Result<Attempt<T>> {
        let mut discarded = 0;
        loop {
            self.dual.forget_lateness()?;
            let before = Snapshot::take(&[])?;
            let value = measure()?;
            let busy = before.usage(&[])?.is_noisy();
            let late = self.dual.verdict()? != Verdict::Conclusive;
            if !late || discarded + 1 == ATTEMPTS {
                return Ok(Attempt { value, late, busy, discarded });
            }
            discarded += 1;
        }
    }
}

/// A flow without a tunnel, which home opens.
const fn outside<'a>(home: Endpoint<'a>, relay: Endpoint<'a>, way: Way, rate_mbit_s: f64) -> Flow<'a> {
    match way {
        Way::Up => Flow { from: home, to: relay, rate_mbit_s, download: false },
        Way::Down => Flow { from: relay, to: home, rate_mbit_s, download: true },
    }
}

/// What a direction of a line is set to.
pub(crate) fn character(line: &Line, way: Way) -> &Impairment {
    match way {
        Way::Up => &line.options().up,
        Way::Down => &line.options().down,
    }
}

fn rate_mbit_s(line: &Line, way: Way) -> f64 {
    character(line, way).rate as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_satellite_is_given_the_time_that_it_takes() {
        let plan = Plan::new(true);
        assert_eq!(plan.warm_up(Duration::from_millis(600)), Duration::from_secs(11));
        assert_eq!(plan.window(Duration::from_millis(600)), Duration::from_secs(16));
    }
}
