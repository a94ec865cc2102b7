//! What is measured, of whom, and when it is good enough.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::stats::median;
use crate::table::NOISY;
use crate::target::Limit;

/// Who carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// lanparty by the first line alone
    A,
    /// lanparty by the second line alone
    B,
    /// Both lines side by side without a tunnel: what there is to be had
    Plain,
    /// Both lines by the kernel's Multipath TCP, without a tunnel: TCP of hosts that speak it, and nothing else
    Multipath,
    /// lanparty by both lines
    Bond,
}

impl Subject {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::A => "A alone",
            Self::B => "B alone",
            Self::Plain => "no tunnel",
            Self::Multipath => "MPTCP",
            Self::Bond => "the bond",
        }
    }
}

/// Something that has one figure per subject and round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Quantity {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    #[serde(skip)]
    pub(crate) judge: Judge,
}

/// When the bond is good enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Judge {
    /// Its median is at least this share of the sum of the lines alone.
    OfSum(f64),
    /// In its worst round, at least this share of the better line in the same round.
    OfBetter(f64),
    /// In its worst round, at least this share of what the second line had at the median.
    OfB(f64),
    /// Its median is at most this much above the second line's.
    AboveB(f64),
    /// Its median is at most so many times the first line's.
    TimesA(f64),
    /// In its worst round at most this.
    AtMost(f64),
    /// It is only shown.
    Shown,
}

impl Judge {
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::OfSum(share) | Self::OfBetter(share) | Self::OfB(share) => Some(Limit::AtLeast(share)),
            Self::AboveB(most) | Self::TimesA(most) | Self::AtMost(most) => Some(Limit::AtMost(most)),
            Self::Shown => None,
        }
    }

    /// The target in words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::OfSum(share) => format!(">= {share} of the sum"),
            Self::OfBetter(share) => format!(">= {share} of the better line, always"),
            Self::OfB(share) => format!(">= {share} of B, always"),
            Self::AboveB(most) => format!("<= B + {most}"),
            Self::TimesA(most) => format!("<= {most} of A"),
            Self::AtMost(most) => format!("<= {most}, always"),
            Self::Shown => "-".to_owned(),
        }
    }

    /// What is compared with the limit.
    pub(crate) fn value(self, readings: &Readings<'_>) -> Option<f64> {
        let middle = |subject| median(readings.values(subject));
        let worst_bond = || readings.values(Subject::Bond).reduce(f64::max);
        match self {
            Self::OfSum(_) => Some(middle(Subject::Bond)? / (middle(Subject::A)? + middle(Subject::B)?)),
            Self::OfBetter(_) => readings.shares_of_better().reduce(f64::min),
            Self::OfB(_) => Some(readings.values(Subject::Bond).reduce(f64::min)? / middle(Subject::B)?),
            Self::AboveB(_) => Some(middle(Subject::Bond)? - middle(Subject::B)?),
            Self::TimesA(_) => Some(middle(Subject::Bond)? / middle(Subject::A)?),
            Self::AtMost(_) => worst_bond(),
            Self::Shown => None,
        }
    }
}

/// One figure of one subject in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reading {
    pub(crate) row: &'static str,
    pub(crate) round: u32,
    pub(crate) subject: Subject,
    #[serde(flatten)]
    pub(crate) quantity: Quantity,
    pub(crate) value: f64,
    /// The lines were served late whenever it was tried.
    pub(crate) late: bool,
    /// Strangers used the processors meanwhile.
    pub(crate) busy: bool,
    /// Attempts before this one, during which the lines were served late.
    pub(crate) discarded: u32,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quantity { title, unit, .. } = &self.quantity;
        write!(f, "{title}: {:.1} {unit}", self.value)?;
        if self.busy {
            f.write_str(NOISY)?;
        }
        if self.late {
            f.write_str(", the lines were served late each time")?;
        } else if self.discarded > 0 {
            write!(f, ", {} attempts discarded", self.discarded)?;
        }
        Ok(())
    }
}

/// All readings of one quantity of one row.
pub(crate) struct Readings<'a> {
    all: Vec<&'a Reading>,
}

impl<'a> Readings<'a> {
    pub(crate) fn of(all: &'a [Reading], row: &str, quantity: &Quantity) -> Self {
        Self { all: all.iter().filter(|reading| reading.row == row && reading.quantity.title == quantity.title).collect() }
    }

    /// Those of one subject, round by round.
    pub(crate) fn values(&self, subject: Subject) -> impl Iterator<Item = f64> {
        self.all.iter().filter(move |reading| reading.subject == subject).map(|reading| reading.value)
    }

    /// Was any of them taken while the lines were served late, or strangers were busy?
    pub(crate) fn noisy(&self, subject: Subject) -> bool {
        self.all.iter().any(|reading| reading.subject == subject && (reading.late || reading.busy))
    }

    /// The bond next to the better line of its own round.
    fn shares_of_better(&self) -> impl Iterator<Item = f64> {
        let of_round = |round: u32, subject| self.all.iter().find(|one| one.round == round && one.subject == subject).map(|one| one.value);
        let bonds = self.all.iter().filter(|reading| reading.subject == Subject::Bond);
        bonds.filter_map(move |bond| {
            let lines = [Subject::A, Subject::B].into_iter().filter_map(|subject| of_round(bond.round, subject));
            Some(bond.value / lines.reduce(f64::max)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity() -> Quantity {
        Quantity { title: "TCP".into(), unit: "Mbit/s", judge: Judge::Shown }
    }

    fn reading(subject: Subject, round: u32, value: f64) -> Reading {
        Reading { row: "even", round, subject, quantity: quantity(), value, late: false, busy: value > 40.0, discarded: 0 }
    }

    fn judged(judge: Judge, all: &[Reading]) -> Option<f64> {
        judge.value(&Readings::of(all, "even", &quantity())).map(|value| (value * 1e6).round() / 1e6)
    }

    #[test]
    fn medians_are_set_against_medians_and_the_worst_against_its_own_round() {
        let all = [
            reading(Subject::A, 1, 30.0),
            reading(Subject::B, 1, 20.0),
            reading(Subject::Bond, 1, 40.0),
            reading(Subject::A, 2, 20.0),
            reading(Subject::B, 2, 20.0),
            reading(Subject::Bond, 2, 19.0),
            reading(Subject::Bond, 3, 45.0),
        ];
        assert_eq!(judged(Judge::OfSum(0.9), &all), Some(40.0 / 45.0).map(|value: f64| (value * 1e6).round() / 1e6));
        assert_eq!(judged(Judge::OfBetter(0.97), &all), Some(0.95), "19 of 20 in the second round; the third has no line to compare with");
        assert_eq!(judged(Judge::OfB(0.9), &all), Some(0.95));
        assert_eq!(judged(Judge::AboveB(1.0), &all), Some(20.0));
        assert_eq!(judged(Judge::TimesA(1.0), &all), Some(1.6));
        assert_eq!(judged(Judge::AtMost(1.0), &all), Some(45.0));
    }

    #[test]
    fn one_noisy_reading_makes_a_subject_noisy() {
        let all = [reading(Subject::A, 1, 30.0), reading(Subject::Bond, 1, 40.0), reading(Subject::Bond, 2, 45.0)];
        let readings = |all| Readings::of(all, "even", &quantity()).noisy(Subject::Bond);
        assert!(readings(&all) && !readings(&all[..2]));
    }

    #[test]
    fn without_the_bond_nothing_is_judged() {
        let all = [reading(Subject::A, 1, 30.0), reading(Subject::B, 1, 20.0)];
        for judge in [Judge::OfSum(0.9), Judge::OfBetter(0.9), Judge::AtMost(3.0), Judge::AboveB(1.0)] {
            assert_eq!(judged(judge, &all), None);
        }
        assert_eq!(judged(Judge::OfSum(0.9), &[reading(Subject::Bond, 1, 30.0)]), None, "nor without the lines");
    }
}
