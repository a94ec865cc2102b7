//! What a line has carried in each calendar month, and whether that is more than its owner pays for.
//!
//! A byte counts once, in the month that the clock showed when it passed. So a clock that is set forward over the end of a month and
//! back again finds the old month's count as it was; a clock that has not been set at all (a board without a battery begins in 1970)
//! counts for the newest month that is known.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A clock before this was never set: the beginning of 2024, in seconds since 1970.
const CLOCK_SET_AFTER: u64 = 1_704_067_200;
/// Months that are remembered: a year, and one that a wrong clock made up.
const MONTHS_KEPT: usize = 13;
const SECONDS_PER_DAY: u64 = 86_400;

/// A calendar month of the machine's clock, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Month {
    year: u32,
    /// 1 to 12.
    month: u32,
}

impl Month {
    /// The month at so many seconds since 1970 (the civil calendar; years begin in March here, so that leap days come last).
    #[must_use]
    pub fn at(unix_s: u64) -> Self {
        // Day 0 is the first of March of the year 0; 400 years have 146,097 days.
        let days = unix_s / SECONDS_PER_DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_based = (5 * day_of_year + 2) / 153;
        let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        // A clock that is set to a year of more than nine digits shows the last of them.
        Self { year: u32::try_from(year).unwrap_or(u32::MAX), month: month as u32 }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no month as in 2026-01");
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let (year, month) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        (1..=12).contains(&month).then_some(Self { year, month }).ok_or_else(wrong)
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl TryFrom<String> for Month {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Bytes of one line by month.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MonthlyUse {
    months: BTreeMap<Month, u64>,
    /// Passed before the clock was ever set, with no month to belong to.
    #[serde(default, skip_serializing_if = "is_zero")]
    undated: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl MonthlyUse {
    /// Counts bytes that passed when the clock said so many seconds since 1970.
    pub fn count(&mut self, bytes: u64, unix_s: u64) {
        let Some(month) = self.month_at(unix_s) else {
            self.undated = self.undated.saturating_add(bytes);
            return;
        };
        let count = self.months.entry(month).or_default();
        *count = count.saturating_add(bytes).saturating_add(std::mem::take(&mut self.undated));
        while self.months.len() > MONTHS_KEPT
            && let Some(oldest) = self.months.keys().copied().find(|other| *other != month)
        {
            self.months.remove(&oldest);
        }
    }

    /// Bytes that passed in the month of this time.
    #[must_use]
    pub fn used(&self, unix_s: u64) -> u64 {
        let dated = self.month_at(unix_s).and_then(|month| self.months.get(&month)).copied();
        dated.unwrap_or(0).saturating_add(self.undated)
    }

    /// Counts what another count holds, month by month.
    pub fn add(&mut self, other: &Self) {
        for (month, bytes) in &other.months {
            let count = self.months.entry(*month).or_default();
            *count = count.saturating_add(*bytes);
        }
        self.undated = self.undated.saturating_add(other.undated);
    }

    /// All bytes in it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.months.values().fold(self.undated, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// The month that bytes belong to now; `None` while no month was ever known.
    fn month_at(&self, unix_s: u64) -> Option<Month> {
        if unix_s >= CLOCK_SET_AFTER { Some(Month::at(unix_s)) } else { self.months.keys().next_back().copied() }
    }
}

/// A cap and what is used of it, in bytes of this month.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct CapUse {
    /// What the line may carry in a month, both ways together.
    pub cap: u64,
    /// What it has carried.
    pub used: u64,
    /// What is left.
    pub left: u64,
}

impl CapUse {
    /// What is used of `cap`.
    #[must_use]
    pub const fn new(cap: u64, used: u64) -> Self {
        Self { cap, used, left: cap.saturating_sub(used) }
    }

    /// Whether the line has carried all that it may.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of November and December 2026, and of January 2027.
    const NOVEMBER: u64 = 1_793_491_200;
    const DECEMBER: u64 = NOVEMBER + 30 * SECONDS_PER_DAY;
    const JANUARY: u64 = DECEMBER + 31 * SECONDS_PER_DAY;

    #[test]
    fn a_time_is_in_its_month() {
        for (unix_s, month) in [
            (0, "1970-01"),
            (951_782_400, "2000-02"),
            (951_868_800, "2000-03"),
            (1_709_251_199, "2024-02"),
            (1_709_251_200, "2024-03"),
            (NOVEMBER - 1, "2026-10"),
            (NOVEMBER, "2026-11"),
            (DECEMBER - 1, "2026-11"),
            (JANUARY, "2027-01"),
            (4_107_542_400, "2100-03"),
        ] {
            assert_eq!(Month::at(unix_s).to_string(), month, "{unix_s}");
            assert_eq!(month.parse(), Ok(Month::at(unix_s)));
        }
        let _ = Month::at(u64::MAX);
        for wrong in ["", "2026", "2026-13", "2026-00", "x-01"] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_month_begins_at_nothing() {
        let mut line = MonthlyUse::default();
        line.count(700, NOVEMBER);
        line.count(300, DECEMBER - 1);
        line.count(20, DECEMBER);
        assert_eq!((line.used(DECEMBER - 1), line.used(DECEMBER), line.used(JANUARY)), (1000, 20, 0));
        let over = |at| CapUse::new(1000, line.used(at)).is_over();
        assert!(over(NOVEMBER) && !over(DECEMBER));
        assert_eq!(CapUse::new(1000, 1200).left, 0);
    }

    #[test]
    fn a_clock_that_is_set_forward_and_back_resets_and_doubles_nothing() {
        let mut line = MonthlyUse::default();
        for at in [NOVEMBER + 10, DECEMBER + 10, NOVEMBER + 11, JANUARY, NOVEMBER + 5] {
            line.count(100, at);
        }
        assert_eq!((line.used(NOVEMBER), line.used(DECEMBER), line.used(JANUARY), line.total()), (300, 100, 100, 500));
    }

    #[test]
    fn a_clock_that_was_never_set_counts_for_the_newest_month() {
        let mut line = MonthlyUse::default();
        line.count(100, 60);
        assert_eq!(line.used(60), 100);
        line.count(10, NOVEMBER);
        assert_eq!(line.used(NOVEMBER), 110, "what came before the clock was set");
        line.count(1, 60);
        assert_eq!((line.used(60), line.used(NOVEMBER), line.total()), (111, 111, 111));
    }

    #[test]
    fn counts_of_two_programs_add_up() {
        let (mut one, mut other) = (MonthlyUse::default(), MonthlyUse::default());
        one.count(1, NOVEMBER);
        other.count(2, NOVEMBER);
        other.count(4, DECEMBER);
        one.add(&other);
        assert_eq!((one.used(NOVEMBER), one.used(DECEMBER)), (3, 4));
    }

    #[test]
    fn months_without_end_are_not_kept() {
        let mut line = MonthlyUse::default();
        line.count(7, NOVEMBER);
        (0..100).for_each(|n| line.count(1, NOVEMBER - n * 31 * SECONDS_PER_DAY));
        line.count(1, NOVEMBER);
        assert!(line.months.len() <= MONTHS_KEPT && line.used(NOVEMBER) >= 8, "{line:?}");
    }

    #[test]
    fn it_is_the_same_after_it_was_written_down() {
        let mut line = MonthlyUse::default();
        line.count(7, NOVEMBER);
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(json, r#"{"months":{"2026-11":7}}"#);
        assert_eq!(serde_json::from_str::<MonthlyUse>(&json).unwrap(), line);
        assert!(serde_json::from_str::<MonthlyUse>(r#"{"months":{"2026-11":-7}}"#).is_err());
    }
}
