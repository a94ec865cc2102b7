//! The small wire as text and as JSON, and what is promised of it.

use serde_json::{Value, json};

use super::{Crossing, SmallWire, WIRE_MTU};
use crate::meter::download::Download;
use crate::record::Metered;
use crate::stats::Spread;
use crate::table::{self, NOISY, Row};
use crate::target::{Limit, Verdict};
use crate::variant::{LANPARTY, RAW};

/// Of the best other tunnel that completes.
const OF_BEST_PEER: Limit = Limit::AtLeast(0.9);
/// Of all rounds.
const COMPLETED: Limit = Limit::AtLeast(1.0);

/// What the rounds of a variant come to.
struct Figures {
    rounds: usize,
    completed: usize,
    /// Of the rounds that completed.
    mbit_s: Option<Spread>,
    /// Goodput next to the flow without a tunnel of the same round.
    relative: Option<Spread>,
    /// The most that arrived before a download hung.
    hung_after: Option<u64>,
    noisy: bool,
}

impl SmallWire {
    /// The table, and what became of the promises.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![["variant", "version", "L", "MTU", "download", "Mbit/s", "of no tunnel"].map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(|row| self.line(row)));
        let troubles = self.rows.iter().filter_map(|row| Some(format!("{}: {}\n", row.variant.name, row.trouble.as_ref()?)));
        let legend = format!(
            "A download of {} MiB over a wire that drops IP packets above {WIRE_MTU} bytes and sends no ICMP; offloads of the network off.\n\
             Median (min..max) of the rounds. `raw` is no tunnel. Routes outside of tunnels\n\
             advertise the right MSS: no TCP of a host itself would pass otherwise, that of `raw` included.\n",
            self.download >> 20
        );
        let targets = if self.verdicts().is_empty() { String::new() } else { format!("\n{}", table::targets(&self.verdicts())) };
        format!("{}\n{legend}{}{targets}", table::aligned(&lines), troubles.collect::<String>())
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let summary: serde_json::Map<String, Value> =
            self.rows.iter().map(|row| (row.variant.name.to_owned(), self.summary(row))).collect();
        json!({
            "wire_mtu": WIRE_MTU, "icmp": false, "download_bytes": self.download,
            "summary": summary, "targets": self.verdicts(), "records": self.crossings,
        })
    }

    fn summary(&self, row: &Row) -> Value {
        let figures = self.figures(row.variant.name);
        json!({
            "version": row.version, "mtu": row.mtu, "trouble": row.trouble, "rounds": figures.rounds, "completed": figures.completed,
            "mbit_s": figures.mbit_s, "relative_to_no_tunnel": figures.relative, "hung_after_bytes": figures.hung_after, "noisy": figures.noisy,
        })
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let Figures { rounds, completed, mbit_s, relative, hung_after, noisy } = self.figures(row.variant.name);
        let outcome = match hung_after {
            None if completed == 0 => "-".to_owned(),
            None if completed == rounds => "completes".to_owned(),
            Some(bytes) if completed == 0 => format!("hangs after {} kB", bytes / 1_000),
            _ => format!("completes in {completed} of {rounds} rounds"),
        };
        let figure =
            |spread: Option<Spread>, decimals| spread.map_or_else(|| "-".to_owned(), |spread| table::spread(&spread, decimals, noisy));
        let mtu = row.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        let variant = row.variant;
        vec![variant.name.into(), row.version.clone(), variant.layer.to_string(), mtu, outcome, figure(mbit_s, 0), figure(relative, 2)]
    }

    fn figures(&self, variant: &str) -> Figures {
        let of_variant: Vec<&Crossing> = self.crossings.iter().filter(|crossing| crossing.variant == variant).collect();
        let complete = || of_variant.iter().filter_map(|crossing| Some((crossing.round, goodput(crossing)?)));
        let relative = complete().filter_map(|(round, mbit_s)| Some(mbit_s / self.without_tunnel(round)?));
        let hung = of_variant.iter().filter_map(|crossing| crossing.download.as_ref()).filter(|download| !download.value.completed);
        Figures {
            rounds: of_variant.len(),
            completed: complete().count(),
            mbit_s: Spread::of(complete().map(|(_, mbit_s)| mbit_s)),
            relative: Spread::of(relative),
            hung_after: hung.map(|download| download.value.bytes).max(),
            noisy: of_variant.iter().any(|crossing| crossing.download.as_ref().is_some_and(|download| download.noisy)),
        }
    }

    fn without_tunnel(&self, round: u32) -> Option<f64> {
        self.crossings.iter().find(|crossing| crossing.variant == RAW.name && crossing.round == round).and_then(goodput)
    }

    /// Nothing when lanparty was not asked for.
    fn verdicts(&self) -> Vec<Verdict> {
        let own = self.figures(LANPARTY.name);
        if !self.rows.iter().any(|row| row.variant.name == LANPARTY.name) {
            return Vec::new();
        }
        let peers = self.rows.iter().map(|row| row.variant.name).filter(|name| ![LANPARTY.name, RAW.name].contains(name));
        let complete = peers.map(|name| self.figures(name)).filter(|peer| peer.completed == peer.rounds);
        let best = complete.filter_map(|peer| Some((peer.mbit_s?.median, peer.noisy))).max_by(|a, b| a.0.total_cmp(&b.0));
        let share = (own.rounds > 0).then(|| own.completed as f64 / own.rounds as f64);
        let next_to_best = own.mbit_s.zip(best).map(|(own, (best, _))| own.median / best);
        let noisy = own.noisy || best.is_some_and(|(_, noisy)| noisy);
        vec![
            Verdict::of("downloads that complete, share", COMPLETED, share, false),
            Verdict::of("goodput / best other tunnel that completes", OF_BEST_PEER, next_to_best, noisy),
        ]
    }
}

/// Of a download that completed.
fn goodput(crossing: &Crossing) -> Option<f64> {
    let Metered { value, .. } = crossing.download.as_ref().filter(|download| download.value.completed)?;
    Some(Download::mbit_s(value))
}

/// One variant in one round, as progress.
pub(super) fn in_words(crossing: &Crossing) -> String {
    let download = match &crossing.download {
        None => "no download".to_owned(),
        Some(Metered { value, .. }) if !value.completed => format!("hangs after {} bytes", value.bytes),
        Some(Metered { value, noisy, .. }) => format!("completes, {:.0} Mbit/s{}", value.mbit_s(), if *noisy { NOISY } else { "" }),
    };
    let too_large = crossing.too_large.map(|packets| format!(", {packets} packets were too large")).unwrap_or_default();
    let error = crossing.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    format!("{download}{too_large}{error}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cpu::Usage;
    use crate::variant::{N2N, TINC, Variant};

    fn crossing(variant: &'static Variant, round: u32, mbit: u64, completed: bool) -> Crossing {
        let usage = Usage { wall_s: 1.0, tunnel: BTreeMap::new(), foreign_share: 0.0 };
        let value = Download { completed, bytes: mbit * 125_000, seconds: 1.0 };
        Crossing { variant: variant.name, round, download: Some(Metered { value, usage, noisy: false }), ..Crossing::default() }
    }

    fn measured(crossings: Vec<Crossing>) -> SmallWire {
        let row = |variant| Row { variant, version: "1".into(), mtu: Some(1_400), trouble: None };
        SmallWire { rows: [&RAW, &TINC, &N2N, &LANPARTY].map(row).into(), crossings, download: 64 << 20 }
    }

    #[test]
    fn only_peers_that_always_complete_are_compared_with() {
        let small_wire = measured(vec![
            crossing(&RAW, 1, 1_000, true),
            crossing(&TINC, 1, 500, true),
            crossing(&N2N, 1, 900, true),
            crossing(&LANPARTY, 1, 480, true),
            crossing(&RAW, 2, 2_000, true),
            crossing(&TINC, 2, 500, true),
            crossing(&N2N, 2, 0, false),
            crossing(&LANPARTY, 2, 480, true),
        ]);
        let verdicts = small_wire.verdicts();
        assert_eq!(verdicts.iter().map(|verdict| verdict.met).collect::<Vec<_>>(), [Some(true), Some(true)]);
        assert!((verdicts[1].value.unwrap() - 0.96).abs() < 1e-9);
        let relative = small_wire.figures("lanparty").relative.unwrap();
        assert!((relative.max - 0.48).abs() < 1e-9 && (relative.min - 0.24).abs() < 1e-9, "each next to its own round");
    }

    #[test]
    fn who_hangs_is_said_and_has_no_figure() {
        let small_wire = measured(vec![crossing(&RAW, 1, 1_000, true), crossing(&TINC, 1, 500, true), crossing(&LANPARTY, 1, 1, false)]);
        let text = small_wire.text();
        assert!(text.lines().any(|line| line.contains("lanparty") && line.contains("hangs after 125 kB")), "{text}");
        assert!(text.contains("completes") && text.contains("0.50"), "{text}");
        let verdicts = small_wire.verdicts();
        assert_eq!([verdicts[0].word(), verdicts[1].word()], ["MISSED", "not measured"]);
        assert_eq!(small_wire.json()["summary"]["lanparty"]["hung_after_bytes"], 125_000);
    }
}
