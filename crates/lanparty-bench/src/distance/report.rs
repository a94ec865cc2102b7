//! The distance as text and as JSON, and what is promised of it.

use serde_json::{Value, json};

use super::{Distance, Trip, WIRE};
use crate::stats::Spread;
use crate::table::{self, NOISY, Row};
use crate::target::{Limit, Verdict};
use crate::variant::{LANPARTY, LANPARTY_DIRECT};

/// Milliseconds above the wires.
const DIRECT: Limit = Limit::Below(0.3);
const RELAYED: Limit = Limit::AtMost(0.5);

/// What the rounds of a variant come to.
struct Figures {
    tunnel: Option<Spread>,
    wires: Option<Spread>,
    added: Option<Spread>,
    noisy: bool,
}

impl Distance {
    /// The table, and what became of the promises.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![["variant", "version", "L", "way", "MTU", "RTT ms", "wires ms", "added ms"].map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(|row| self.line(row)));
        let troubles = self.rows.iter().filter_map(|row| Some(format!("{}: {}\n", row.variant.name, row.trouble.as_ref()?)));
        let legend = "Idle echoes, one at a time, between hosts whose wires take 20 ms there and back between any two. Wires: the same echoes without\n\
            the tunnel, by the relay the sum of both ways to it. Median (min..max) of the rounds. `~`: the machine was too busy.\n";
        let targets = if self.verdicts().is_empty() { String::new() } else { format!("\n{}", table::targets(&self.verdicts())) };
        format!("{}\n{legend}{}{targets}", table::aligned(&lines), troubles.collect::<String>())
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let summary: serde_json::Map<String, Value> =
            self.rows.iter().map(|row| (row.variant.name.to_owned(), self.summary(row))).collect();
        json!({ "wire": WIRE, "summary": summary, "targets": self.verdicts(), "records": self.trips })
    }

    fn summary(&self, row: &Row) -> Value {
        let Figures { tunnel, wires, added, noisy } = self.figures(row.variant.name);
        json!({
            "version": row.version, "mtu": row.mtu, "trouble": row.trouble,
            "rtt_ms": tunnel, "wires_ms": wires, "added_ms": added, "noisy": noisy,
        })
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let Figures { tunnel, wires, added, noisy } = self.figures(row.variant.name);
        let figure = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| table::spread(&spread, 3, noisy));
        let mtu = row.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        let (variant, way) = (row.variant, format!("{:?}", row.variant.route).to_lowercase());
        vec![variant.name.into(), row.version.clone(), variant.layer.to_string(), way, mtu, figure(tunnel), figure(wires), figure(added)]
    }

    fn figures(&self, variant: &str) -> Figures {
        let of_variant = || self.trips.iter().filter(|trip| trip.variant == variant);
        Figures {
            tunnel: Spread::of(of_variant().filter_map(|trip| Some(trip.tunnel.as_ref()?.value.median_ms))),
            wires: Spread::of(of_variant().filter_map(|trip| trip.wires_ms)),
            added: Spread::of(of_variant().filter_map(added)),
            noisy: of_variant().any(is_noisy),
        }
    }

    /// Nothing of a variant that was not asked for.
    fn verdicts(&self) -> Vec<Verdict> {
        [
            ("RTT added to direct wires of 20 ms, ms", &LANPARTY_DIRECT, DIRECT),
            ("RTT added by the relay to both wires, ms", &LANPARTY, RELAYED),
        ]
        .into_iter()
        .filter(|(_, variant, _)| self.rows.iter().any(|row| row.variant.name == variant.name))
        .map(|(words, variant, limit)| {
            let Figures { added, noisy, .. } = self.figures(variant.name);
            Verdict::of_rounds(words, limit, added, noisy)
        })
        .collect()
    }
}

/// What the tunnel takes beside its wires, in the same round.
fn added(trip: &Trip) -> Option<f64> {
    Some(trip.tunnel.as_ref()?.value.median_ms - trip.wires_ms?)
}

fn is_noisy(trip: &Trip) -> bool {
    trip.is_late || trip.tunnel.as_ref().is_some_and(|tunnel| tunnel.noisy)
}

/// One variant in one round, as progress.
pub(super) fn in_words(trip: &Trip) -> String {
    let noisy = if is_noisy(trip) { NOISY } else { "" };
    let added = added(trip).map_or_else(|| "no figure".to_owned(), |added| format!("{added:.3} ms added{noisy}"));
    let error = trip.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    format!("{added}{error}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cpu::Usage;
    use crate::meter::ping::Latency;
    use crate::record::Metered;
    use crate::variant::{RAW, Variant};

    fn trip(variant: &'static Variant, median_ms: f64, wires_ms: f64, is_late: bool) -> Trip {
        let usage = Usage { wall_s: 1.0, tunnel: BTreeMap::new(), foreign_share: 0.0 };
        let value = Latency { received: 100, median_ms, p99_ms: median_ms, max_ms: median_ms };
        let tunnel = Some(Metered { value, usage, noisy: false });
        Trip { variant: variant.name, round: 1, tunnel, wires_ms: Some(wires_ms), is_late, ..Trip::default() }
    }

    #[test]
    fn what_counts_is_the_difference_to_the_wires_of_the_same_round() {
        let row = |variant| Row { variant, version: "1".into(), mtu: Some(1_400), trouble: None };
        let rows = [&RAW, &LANPARTY, &LANPARTY_DIRECT].map(row).into();
        let trips = vec![trip(&RAW, 20.1, 20.1, false), trip(&LANPARTY, 40.7, 40.3, true), trip(&LANPARTY_DIRECT, 20.5, 20.1, false)];
        let distance = Distance { rows, trips };
        let verdicts = distance.verdicts();
        assert_eq!(
            verdicts.iter().map(|verdict| (verdict.met, verdict.noisy)).collect::<Vec<_>>(),
            [(Some(false), false), (Some(true), true)]
        );
        assert!(distance.text().contains("0.400~"), "{}", distance.text());
        assert_eq!(distance.json()["summary"]["raw"]["noisy"], false);
    }
}
