//! The bond: two lines as one. What each line carries alone, what both carry without a tunnel, and what the bond makes of them;
//! what cutting a line costs; what a ping feels beside a download.
//!
//! Every figure is set against others of the same run on the same lines. A measurement during which the lines were served late is
//! taken again, and marked when it never succeeds.

mod faults;
mod figure;
mod latency;
mod place;
mod report;
mod rows;
mod task;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use lanparty_lab::{Requirements, Tool};

use crate::report::print;
use crate::supervise;
use figure::{Reading, Subject};
use place::{Place, Plan};
use rows::{ROWS, Row};

/// Rounds of a full run.
const ROUNDS: u32 = 3;

/// Measure the bond: each line alone, both without a tunnel, and bonded
#[derive(Debug, Clone, Args)]
pub(crate) struct BondArgs {
    /// Measure only these rows; all of them unless told otherwise
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rows: Vec<String>,

    /// Measure only these; all of them unless told otherwise
    #[arg(long, value_name = "SUBJECTS", value_enum, value_delimiter = ',')]
    subjects: Vec<Subject>,

    /// One round of short steps
    #[arg(long)]
    quick: bool,

    /// How often each row is measured, unless it has a number of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,

    /// More of the client's own options, in one word: "--congestion bbr"
    #[arg(long, value_name = "OPTIONS", default_value = "", allow_hyphen_values = true)]
    client: String,

    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Show the rows and what is measured of them
    #[arg(long)]
    list: bool,
}

impl BondArgs {
    /// Runs it, in a process that another one cleans up after.
    pub(crate) fn run(&self, unsupervised: bool) -> Result<ExitCode> {
        let rows = self.chosen()?;
        if self.list {
            print(&report::list(&rows))?;
        } else if unsupervised {
            supervise::end_with_supervisor()?;
            let measured = self.measure(&rows);
            report::publish(self, &rows, &measured)?;
        } else {
            Requirements::wires().ready().map_err(|missing| anyhow!(missing))?;
            Requirements::wires().and(&[Tool::Nft]).ready().map_err(|missing| anyhow!(missing))?;
            return supervise::run();
        }
        Ok(ExitCode::SUCCESS)
    }

    fn chosen(&self) -> Result<Vec<&'static Row>> {
        if let Some(unknown) = self.rows.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            bail!("there is no row `{unknown}`; there are {}", names.join(", "));
        }
        Ok(ROWS.iter().filter(|row| self.rows.is_empty() || self.rows.iter().any(|name| name == row.name)).collect())
    }

    fn rounds(&self, row: &Row) -> u32 {
        self.rounds.or(row.rounds.filter(|_| !self.quick)).unwrap_or(if self.quick { 1 } else { ROUNDS })
    }

    fn subjects<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = Subject> + 'a {
        row.subjects.iter().copied().filter(|subject| self.subjects.is_empty() || self.subjects.contains(subject))
    }

    /// Rounds within rows: what belongs to one figure is measured close together.
    fn measure(&self, rows: &[&'static Row]) -> Measured {
        let mut measured = Measured::default();
        let steps: usize = rows.iter().map(|row| self.subjects(row).count() * self.rounds(row) as usize).sum();
        let (started, mut done) = (Instant::now(), 0);
        for row in rows {
            for round in 1..=self.rounds(row) {
                for subject in self.subjects(row) {
                    let left = remaining(started.elapsed(), done, steps);
                    eprintln!("bond: {}, round {round} of {}, {}{left}", row.name, self.rounds(row), subject.title());
                    self.step(row, round, subject, &mut measured);
                    done += 1;
                }
            }
        }
        measured
    }

    /// Everything that a row has of one subject, on lines that nobody has used.
    fn step(&self, row: &'static Row, round: u32, subject: Subject, measured: &mut Measured) {
        let plan = Plan::new(self.quick);
        let more: Vec<&str> = self.client.split_whitespace().collect();
        let outcome = Place::build(row, round, subject, &plan, &more, |place| {
            for task in row.tasks.iter().filter(|task| task.concerns(subject)) {
                for reading in task.measure(place, row.name, round)? {
                    eprintln!("bond:   {reading}");
                    measured.readings.push(reading);
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            eprintln!("bond:   {error:#}");
            measured.troubles.push(format!("{}, {}: {error:#}", row.name, subject.title()));
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    readings: Vec<Reading>,
    /// What could not be measured, and why.
    troubles: Vec<String>,
}

fn remaining(elapsed: Duration, done: usize, all: usize) -> String {
    if done == 0 {
        return String::new();
    }
    let left = elapsed.as_secs_f64() / done as f64 * (all - done) as f64;
    format!(" (about {:.0} min left)", (left / 60.0).ceil())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        bond: BondArgs,
    }

    fn bond(words: &[&str]) -> BondArgs {
        Cli::try_parse_from(["bond"].iter().chain(words)).unwrap().bond
    }

    #[test]
    fn rows_are_chosen_by_name_and_have_their_number_of_rounds() {
        let names = |words: &[&str]| bond(words).chosen().map(|rows| rows.iter().map(|row| row.name).collect::<Vec<_>>());
        assert_eq!(names(&["--rows", "cut,unequal"]).unwrap(), ["unequal", "cut"]);
        assert_eq!(names(&[]).unwrap().len(), ROWS.len());
        assert!(names(&["--rows", "uneqal"]).unwrap_err().to_string().contains("unequal"));
        let unequal = ROWS.iter().find(|row| row.name == "unequal").unwrap();
        assert_eq!(bond(&[]).rounds(unequal), 20, "the target is about twenty runs");
        assert_eq!([bond(&["--quick"]).rounds(unequal), bond(&["--rounds", "2"]).rounds(unequal)], [1, 2]);
    }

    #[test]
    fn subjects_are_chosen_by_name() {
        let row = &ROWS[0];
        let bond = bond(&["--subjects", "a,bond", "--client", "--congestion bbr"]);
        assert_eq!(bond.subjects(row).collect::<Vec<_>>(), [Subject::A, Subject::Bond]);
        assert_eq!(bond.client, "--congestion bbr");
    }
}
