//! The order of a run: rounds outside, variants inside, and how long it will take.

use std::iter::Sum;
use std::time::{Duration, Instant};

use crate::table::Row;
use crate::tools::Tools;
use crate::variant::Variant;

/// How long something will take.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Expected {
    /// On a quiet machine.
    pub(crate) usual: Duration,
    /// When others are busy and steps are repeated. A program that hangs costs its patience beyond that.
    pub(crate) at_most: Duration,
}

impl Expected {
    pub(crate) fn times(self, count: u32) -> Self {
        Self { usual: self.usual * count, at_most: self.at_most * count }
    }

    pub(crate) fn words(self) -> String {
        let minutes = |time: Duration| (time.as_secs_f64() / 60.0).ceil();
        format!("about {:.0} min, {:.0} at most", minutes(self.usual), minutes(self.at_most))
    }
}

impl Sum for Expected {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |all, part| Self { usual: all.usual + part.usual, at_most: all.at_most + part.at_most })
    }
}

/// A variant that lacks a program is not measured, and says why.
pub(crate) fn row(variant: &'static Variant, tools: &Tools) -> Row {
    let missing = variant.needs.iter().find_map(|needed| tools.path(*needed).err());
    let version = missing.map_or_else(|| (variant.version)(tools), Err);
    let (version, trouble) = match version {
        Ok(version) => (version, None),
        Err(error) => ("-".to_owned(), Some(format!("not measured: {error:#}"))),
    };
    Row { variant, version, mtu: None, trouble }
}

/// Takes `step` for every variant that can run here, as often as there are rounds; `step` gives the record, and it in words.
pub(crate) fn in_rounds<R>(rounds: u32, rows: &[Row], step: impl Fn(&'static Variant, u32) -> (R, String)) -> Vec<R> {
    let able: Vec<&'static Variant> = rows.iter().filter(|row| row.trouble.is_none()).map(|row| row.variant).collect();
    let (started, steps) = (Instant::now(), able.len() * rounds as usize);
    let mut records = Vec::new();
    for round in 1..=rounds {
        for variant in &able {
            let left = remaining(started.elapsed(), records.len(), steps);
            eprintln!("bench: round {round} of {rounds}, {}{left}", variant.name);
            let (record, words) = step(variant, round);
            eprintln!("bench:   {words}");
            records.push(record);
        }
    }
    records
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
    use super::*;

    #[test]
    fn what_is_expected_is_said_in_whole_minutes() {
        let part = Expected { usual: Duration::from_secs(20), at_most: Duration::from_secs(50) };
        assert_eq!([part.times(3), part].into_iter().sum::<Expected>().words(), "about 2 min, 4 at most");
    }

    #[test]
    fn the_time_left_is_guessed_from_what_was_done() {
        assert_eq!(remaining(Duration::from_secs(9), 0, 4), "");
        assert_eq!(remaining(Duration::from_secs(60), 1, 4), " (about 3 min left)");
    }
}
