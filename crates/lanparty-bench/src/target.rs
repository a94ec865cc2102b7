//! What lanparty promises, as ratios to what was measured beside it in the same round.

use std::borrow::Cow;

use serde::Serialize;

use crate::record::{Figure, Record};
use crate::stats::{Spread, median};
use crate::variant::{LANPARTY, LANPARTY_DIRECT, LANPARTY_TLS, PLAIN, PLAIN_RELAYED, QUINCY, VARIANTS, Variant, WIREGUARD, Who};

/// One promise.
struct Target {
    words: &'static str,
    of: &'static Variant,
    figure: Figure,
    beside: Beside,
    limit: Limit,
}

/// What a figure is divided by.
#[derive(Clone, Copy)]
enum Beside {
    /// Nothing.
    Nothing,
    /// The same figure of that variant.
    Same(&'static Variant),
    /// Another figure of its own.
    Own(Figure),
    /// The same figure of the packaged layer-2 tunnel that has the most of it.
    BestOfLayer2,
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

const fn direct(words: &'static str, figure: Figure, beside: Beside, limit: Limit) -> Target {
    Target { words, of: &LANPARTY_DIRECT, figure, beside, limit }
}

const fn relayed(words: &'static str, figure: Figure, beside: Beside, limit: Limit) -> Target {
    Target { words, of: &LANPARTY, figure, beside, limit }
}

const TARGETS: [Target; 21] = [
    direct("TCP direct / wireguard-go", Figure::TcpMbitS, Beside::Same(&WIREGUARD), Limit::AtLeast(1.25)),
    direct("TCP direct", Figure::TcpMbitS, Beside::BestOfLayer2, Limit::AtLeast(3.0)),
    relayed("TCP relayed / wireguard-go direct", Figure::TcpMbitS, Beside::Same(&WIREGUARD), Limit::AtLeast(0.8)),
    direct("TCP direct, no offload / quincy", Figure::WireMbitS, Beside::Same(&QUINCY), Limit::AtLeast(1.2)),
    relayed("TCP relayed, no offload / quincy direct", Figure::WireMbitS, Beside::Same(&QUINCY), Limit::AtLeast(0.8)),
    direct("four TCP streams direct / one", Figure::FourMbitS, Beside::Own(Figure::TcpMbitS), Limit::AtLeast(1.0)),
    direct("CPU direct / wireguard-go", Figure::CpuSecondsPerGib, Beside::Same(&WIREGUARD), Limit::AtMost(0.6)),
    relayed("CPU relayed / wireguard-go direct", Figure::CpuSecondsPerGib, Beside::Same(&WIREGUARD), Limit::AtMost(1.1)),
    relayed("CPU of the relay alone, s/GiB", Figure::RelayCpuSecondsPerGib, Beside::Nothing, Limit::AtMost(3.0)),
    direct("UDP 1200 B direct", Figure::UdpLargeMbitS, Beside::BestOfLayer2, Limit::AtLeast(1.5)),
    relayed("UDP 1200 B relayed", Figure::UdpLargeMbitS, Beside::BestOfLayer2, Limit::AtLeast(1.0)),
    direct("UDP 64 B direct", Figure::UdpSmallKpps, Beside::BestOfLayer2, Limit::AtLeast(1.5)),
    relayed("UDP 64 B relayed", Figure::UdpSmallKpps, Beside::BestOfLayer2, Limit::AtLeast(1.0)),
    direct("idle RTT direct / plain forwarder", Figure::IdleMedianMs, Beside::Same(&PLAIN), Limit::AtMost(1.15)),
    relayed("idle RTT relayed / plain forwarder relayed", Figure::IdleMedianMs, Beside::Same(&PLAIN_RELAYED), Limit::AtMost(1.15)),
    direct("RTT beside a stream direct, ms", Figure::LoadMedianMs, Beside::Nothing, Limit::AtMost(3.0)),
    relayed("RTT beside a stream relayed, ms", Figure::LoadMedianMs, Beside::Nothing, Limit::AtMost(5.0)),
    direct("memory of the largest process direct, MiB", Figure::PeakMib, Beside::Nothing, Limit::AtMost(20.0)),
    relayed("memory of the largest process relayed, MiB", Figure::PeakMib, Beside::Nothing, Limit::AtMost(20.0)),
    relayed("first ping relayed, s", Figure::FirstReplyS, Beside::Nothing, Limit::Below(1.0)),
    Target {
        words: "TCP by TLS / by QUIC, both relayed",
        of: &LANPARTY_TLS,
        figure: Figure::TcpMbitS,
        beside: Beside::Same(&LANPARTY),
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
    /// What the rounds came to, where each has a value of its own: then `value` is their median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rounds: Option<Spread>,
    pub(crate) met: Option<bool>,
    /// One of its figures was noisy.
    pub(crate) noisy: bool,
}

impl Verdict {
    pub(crate) fn of(target: impl Into<Cow<'static, str>>, limit: Limit, value: Option<f64>, noisy: bool) -> Self {
        Self { target: target.into(), limit, value, rounds: None, met: value.map(|value| limit.holds(value)), noisy }
    }

    /// Judges the median of the rounds.
    pub(crate) fn of_rounds(target: impl Into<Cow<'static, str>>, limit: Limit, rounds: Option<Spread>, noisy: bool) -> Self {
        Self { rounds, ..Self::of(target, limit, rounds.map(|rounds| rounds.median), noisy) }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }
}

/// Judges the median of what each round came to. Promises of variants that were not run are left out.
pub(crate) fn judge(records: &[Record]) -> Vec<Verdict> {
    let was_run = |target: &&Target| records.iter().any(|record| record.variant == target.of.name);
    TARGETS.iter().filter(was_run).map(|target| verdict(target, records)).collect()
}

fn verdict(target: &Target, records: &[Record]) -> Verdict {
    let (words, beside): (Cow<'static, str>, _) = match target.beside {
        Beside::Nothing => (target.words.into(), None),
        Beside::Same(variant) => (target.words.into(), Some((variant.name, target.figure))),
        Beside::Own(figure) => (target.words.into(), Some((target.of.name, figure))),
        Beside::BestOfLayer2 => {
            let best = best_of_layer_2(target.figure, records);
            (format!("{} / {}", target.words, best.unwrap_or("best layer-2 peer")).into(), Some((best.unwrap_or_default(), target.figure)))
        }
    };
    let of_round = |own: &Record| -> Option<(f64, bool)> {
        let (value, noisy) = (target.figure.of(own)?, target.figure.is_noisy(own));
        let Some((name, figure)) = beside else { return Some((value, noisy)) };
        let beside = records.iter().find(|record| record.variant == name && record.round == own.round)?;
        Some((value / figure.of(beside)?, noisy || figure.is_noisy(beside)))
    };
    let rounds: Vec<_> = records.iter().filter(|record| record.variant == target.of.name).filter_map(of_round).collect();
    let noisy = rounds.iter().any(|(_, noisy)| *noisy);
    Verdict::of_rounds(words, target.limit, Spread::of(rounds.into_iter().map(|(value, _)| value)), noisy)
}

/// Whose median of a figure is the highest.
fn best_of_layer_2(figure: Figure, records: &[Record]) -> Option<&'static str> {
    let peers = VARIANTS.iter().filter(|variant| variant.layer == 2 && variant.who == Who::Peer);
    let medians = peers.filter_map(|peer| {
        let rounds = records.iter().filter(|record| record.variant == peer.name);
        Some((peer.name, median(rounds.filter_map(|record| figure.of(record)))?))
    });
    medians.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixtures::record;

    fn of<'a>(verdicts: &'a [Verdict], words: &str) -> &'a Verdict {
        verdicts.iter().find(|verdict| verdict.target.starts_with(words)).unwrap()
    }

    #[test]
    fn ratios_are_of_one_round_each_and_their_median_is_judged() {
        // The machine was three times as fast in the second round, and lanparty unlucky in the third.
        let rounds = [(1, 1_000.0, 1_300.0), (2, 3_000.0, 3_900.0), (3, 2_000.0, 1_000.0)];
        let records = rounds.into_iter().flat_map(|(round, peer, own)| {
            let of_round = |variant, mbit_s| Record { round, ..record(variant, mbit_s, 0.2, 9.0, round == 1 && variant == "n2n") };
            [of_round("wireguard-go", peer), of_round("n2n", 400.0), of_round("tinc", 300.0), of_round("lanparty-direct", own)]
        });
        let verdicts = judge(&records.collect::<Vec<_>>());
        let verdict = of(&verdicts, "TCP direct / wireguard-go");
        assert_eq!((verdict.rounds.map(|rounds| (rounds.rounds, rounds.min)), verdict.met), (Some((3, 0.5)), Some(true)));
        assert!((verdict.value.unwrap() - 1.3).abs() < 1e-9);
        let verdict = of(&verdicts, "TCP direct / n2n");
        assert_eq!((verdict.met, verdict.noisy), (Some(true), true), "3.25 of the best, whose first round was noisy");
        assert_eq!(of(&verdicts, "CPU direct").word(), "MISSED", "as much as wireguard-go");
    }

    #[test]
    fn a_promise_without_its_figure_is_not_met() {
        let verdicts = judge(&[record("lanparty", 1_100.0, 0.2, 14.1, false)]);
        assert_eq!(of(&verdicts, "TCP relayed / wireguard-go").word(), "not measured");
        assert_eq!(of(&verdicts, "UDP 1200 B relayed / best layer-2 peer").word(), "not measured");
        assert_eq!(of(&verdicts, "memory of the largest process relayed").word(), "met");
        assert!(!verdicts.iter().any(|verdict| verdict.target.contains("direct, ms")), "lanparty-direct was not run");
    }
}
