//! Where one subject is measured: a home with two lines, and whoever carries.

use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Bonded, Dual, DualOptions, Endpoint, Impairment, Lab, Line, Verdict, Way};

use super::figure::Subject;
use super::rows::Row;

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
}

/// The subject in its place.
pub(crate) struct Place<'a> {
    pub(crate) dual: &'a Dual,
    pub(crate) subject: Subject,
    pub(crate) plan: &'a Plan,
    /// Absent without a tunnel.
    bonded: Option<&'a Bonded<'a>>,
}

/// What was measured, and how often it had to be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<T> {
    pub(crate) value: T,
    pub(crate) late: bool,
    pub(crate) discarded: u32,
}

impl<T> Attempt<T> {
    /// Another view of the same attempt.
    pub(crate) fn map<U>(&self, view: impl FnOnce(&T) -> U) -> Attempt<U> {
        Attempt { value: view(&self.value), late: self.late, discarded: self.discarded }
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
        let dual = Dual::build_in(Lab::seeded("bond", u64::from(round))?, &DualOptions::new((row.lines)()))?;
        let names: Vec<&str> = dual.lines.iter().map(Line::name).collect();
        let uplinks = match subject {
            Subject::A => &names[..1],
            Subject::B => &names[1..],
            Subject::Bond => &names[..],
            Subject::Plain => return work(&Place { dual: &dual, subject, plan, bonded: None }),
        };
        let bonded = Bonded::join(&dual, uplinks, more)?;
        work(&Place { dual: &dual, subject, plan, bonded: Some(&bonded) })
    }

    /// Relay, gateway and client.
    pub(crate) fn bonded(&self) -> Result<&Bonded<'_>> {
        self.bonded.context("INVARIANT: what is measured of a tunnel has one")
    }

    /// The lines that the subject uses.
    fn lines(&self) -> &[Line] {
        match self.subject {
            Subject::A => &self.dual.lines[..1],
            Subject::B => &self.dual.lines[1..],
            Subject::Plain | Subject::Bond => &self.dual.lines,
        }
    }

    /// The longest round trip of these lines when they are empty.
    pub(crate) fn round_trip(&self) -> Duration {
        self.lines().iter().map(|line| line.options().up.delay + line.options().down.delay).max().unwrap_or_default()
    }

    /// One flow through the tunnel; without one, a flow by each line.
    pub(crate) fn flows(&self, way: Way) -> Vec<Flow<'_>> {
        match self.bonded {
            Some(bonded) => {
                let [from, to] = bonded.ends(way);
                vec![Flow { from, to, rate_mbit_s: self.lines().iter().map(|line| rate_mbit_s(line, way)).sum() }]
            }
            None => self.dual.lines.iter().map(|line| self.plain(line, way)).collect(),
        }
    }

    fn plain<'a>(&'a self, line: &'a Line, way: Way) -> Flow<'a> {
        let home = Endpoint::new(&self.dual.home, line.address()).on(line.name());
        let relay = Endpoint::new(&self.dual.relay, Dual::RELAY);
        let [from, to] = if way == Way::Up { [home, relay] } else { [relay, home] };
        Flow { from, to, rate_mbit_s: rate_mbit_s(line, way) }
    }

    /// Measures, and again while the lines are served late.
    pub(crate) fn attempt<T>(&self, measure: impl Fn() -> Result<T>) -> Result<Attempt<T>> {
        let mut discarded = 0;
        loop {
            self.dual.forget_lateness()?;
            let value = measure()?;
            let late = self.dual.verdict()? != Verdict::Conclusive;
            if !late || discarded + 1 == ATTEMPTS {
                return Ok(Attempt { value, late, discarded });
            }
            discarded += 1;
        }
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
