//! What lanparty promises, as ratios to what was measured beside it.

use std::borrow::Cow;

use serde::Serialize;

use crate::record::{Cell, Figure, Summary};
use crate::variant::{LANPARTY, LANPARTY_DIRECT, LANPARTY_TLS, N2N, PLAIN_RELAYED, TINC, Variant, WIREGUARD};

/// One promise.
struct Target {
    words: &'static str,
    of: &'static Variant,
    figure: Figure,
    /// What the figure is divided by.
    beside: Option<&'static Variant>,
    limit: Limit,
}

/// Which side of a number is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
        }
    }

    pub(crate) fn words(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit}"),
            Self::AtMost(limit) => format!("<= {limit}"),
            Self::Below(limit) => format!("< {limit}"),
        }
    }
}

const TARGETS: [Target; 9] = [
    Target {
        words: "TCP through the relay / tinc direct",
        of: &LANPARTY,
        figure: Figure::TcpMbitS,
        beside: Some(&TINC),
        limit: Limit::AtLeast(1.2),
    },
    Target {
        words: "TCP through the relay / n2n direct",
        of: &LANPARTY,
        figure: Figure::TcpMbitS,
        beside: Some(&N2N),
        limit: Limit::AtLeast(1.2),
    },
    Target {
        words: "idle RTT / plain forwarder relayed",
        of: &LANPARTY,
        figure: Figure::IdleMedianMs,
        beside: Some(&PLAIN_RELAYED),
        limit: Limit::AtMost(1.5),
    },
    Target {
        words: "CPU s/GiB, both members and relay",
        of: &LANPARTY,
        figure: Figure::CpuSecondsPerGib,
        beside: None,
        limit: Limit::AtMost(14.0),
    },
    Target { words: "memory of the largest process, MiB", of: &LANPARTY, figure: Figure::PeakMib, beside: None, limit: Limit::Below(25.0) },
    Target { words: "first ping, s", of: &LANPARTY, figure: Figure::FirstReplyS, beside: None, limit: Limit::Below(1.0) },
    Target {
        words: "TCP direct / tinc direct",
        of: &LANPARTY_DIRECT,
        figure: Figure::TcpMbitS,
        beside: Some(&TINC),
        limit: Limit::AtLeast(2.0),
    },
    Target {
        // Work for a CPU second is the reciprocal of what is measured, so the two change places.
        words: "TCP direct per CPU second / wireguard-go's",
        of: &WIREGUARD,
        figure: Figure::CpuSecondsPerGib,
        beside: Some(&LANPARTY_DIRECT),
        limit: Limit::AtLeast(0.7),
    },
    Target {
        words: "TCP by TLS / by QUIC, both relayed",
        of: &LANPARTY_TLS,
        figure: Figure::TcpMbitS,
        beside: Some(&LANPARTY),
        limit: Limit::AtLeast(0.6),
    },
];

/// What became of a promise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) target: Cow<'static, str>,
    pub(crate) limit: Limit,
    /// Absent when one of its figures was not measured; then it is not met either.
    pub(crate) value: Option<f64>,
    pub(crate) met: Option<bool>,
    /// One of its figures was noisy.
    pub(crate) noisy: bool,
}

impl Verdict {
    pub(crate) fn of(target: impl Into<Cow<'static, str>>, limit: Limit, value: Option<f64>, noisy: bool) -> Self {
        Self { target: target.into(), limit, value, met: value.map(|value| limit.holds(value)), noisy }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }
}

/// Judges medians.
pub(crate) fn judge(summary: &Summary) -> Vec<Verdict> {
    TARGETS.iter().map(|target| verdict(target, summary)).collect()
}

fn verdict(target: &Target, summary: &Summary) -> Verdict {
    let cell = |variant: &Variant| -> Option<&Cell> { summary.get(variant.name)?.get(&target.figure) };
    let (own, beside) = (cell(target.of), target.beside.map(cell));
    let divisor = beside.map_or(Some(1.0), |cell| Some(cell?.spread.median));
    let value = own.zip(divisor).map(|(own, divisor)| own.spread.median / divisor);
    let noisy = own.into_iter().chain(beside.flatten()).any(|cell| cell.noisy);
    Verdict::of(target.words, target.limit, value, noisy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixtures::record;
    use crate::record::summarise;

    #[test]
    fn ratios_are_judged_by_their_medians() {
        let records = [
            record("tinc", 500.0, 0.2, 20.0, false),
            record("n2n", 1_000.0, 0.2, 9.0, true),
            record("plain-relayed", 900.0, 0.1, 5.0, false),
            record("lanparty", 1_100.0, 0.15, 14.0, false),
            record("lanparty-tls", 660.0, 0.2, 20.0, false),
            record("lanparty-direct", 990.0, 0.1, 9.0, false),
            record("wireguard-go", 1_500.0, 0.1, 6.0, false),
        ];
        let verdicts = judge(&summarise(&records));
        let met: Vec<_> = verdicts.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [true, false, true, true, true, true, false, false, true].map(Some));
        assert!((verdicts[0].value.unwrap() - 2.2).abs() < 1e-9);
        assert!(verdicts[1].noisy && !verdicts[0].noisy);
    }

    #[test]
    fn a_promise_without_its_figure_is_not_met() {
        let verdicts = judge(&summarise(&[record("lanparty", 1_100.0, 0.2, 14.1, false)]));
        assert_eq!(verdicts[0].word(), "not measured");
        assert_eq!(verdicts[3].word(), "MISSED");
    }
}
