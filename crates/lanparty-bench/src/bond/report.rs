//! The table, for people and for programs.

use anyhow::Result;
use serde_json::{Value, json};

use super::figure::{Judge, Quantity, Readings, Subject};
use super::rows::Row;
use super::{BondArgs, Measured};
use crate::report::{machine, print, write_json};
use crate::stats::Spread;
use crate::table::{self, NOISY};
use crate::target::Verdict;

/// Subjects in the order of the columns; the sum of the first two stands behind them.
const COLUMNS: [Subject; 5] = [Subject::A, Subject::B, Subject::Plain, Subject::Multipath, Subject::Bond];

/// Prints the table, and writes the file that was asked for.
pub(super) fn publish(args: &BondArgs, rows: &[&'static Row], measured: &Measured) -> Result<()> {
    print(&text(rows, measured))?;
    let Some(path) = &args.json else { return Ok(()) };
    let lines: Vec<Value> =
        rows.iter().flat_map(|row| row.quantities().into_iter().map(|quantity| figures(row, &quantity, measured))).collect();
    let value = json!({
        "machine": machine(), "quick": args.quick, "client_options": args.client,
        "figures": lines, "troubles": measured.troubles, "readings": measured.readings,
    });
    write_json(path, &value)
}

/// The rows that there are.
pub(super) fn list(rows: &[&'static Row]) -> String {
    let mut lines = vec![["row", "line A / line B", "what", "to reach"].map(str::to_owned).to_vec()];
    for row in rows {
        let of_row = |quantity: Quantity| vec![row.name.to_owned(), row.words.to_owned(), quantity.title, quantity.judge.words()];
        lines.extend(row.quantities().into_iter().map(of_row));
    }
    table::aligned(&lines)
}

fn text(rows: &[&'static Row], measured: &Measured) -> String {
    let head = [
        "row",
        "line A / line B",
        "what",
        "A alone",
        "B alone",
        "sum",
        "no tunnel",
        "MPTCP",
        "bond",
        "ratio or worst",
        "to reach",
        "verdict",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().flat_map(|row| row.quantities().into_iter().map(|quantity| line(row, &quantity, measured))));
    let legend = "Lines in Mbit/s @ ms one way. Median (min..max) of the rounds. Alone: lanparty by one line. No tunnel: both lines side by side.\n\
        MPTCP: the kernel's, between hosts that speak it. Other programs that bond are not packaged in Debian 12.\n\
        `~`: the lines were served late each time it was tried, or other programs were busy meanwhile; do not trust it.\n";
    let troubles: String = measured.troubles.iter().map(|trouble| format!("not measured: {trouble}\n")).collect();
    format!("{}\n{legend}{troubles}", table::aligned(&lines))
}

fn line(row: &Row, quantity: &Quantity, measured: &Measured) -> Vec<String> {
    let readings = Readings::of(&measured.readings, row.name, quantity);
    let decimals = usize::from(quantity.unit != "packets" && quantity.unit != "flows");
    let cell = |subject| {
        let spread = Spread::of(readings.values(subject));
        spread.map_or_else(|| "-".to_owned(), |spread| table::spread(&spread, decimals, readings.noisy(subject)))
    };
    let [a, b, plain, multipath, bond] = COLUMNS.map(cell);
    let verdict = verdict(quantity, &readings);
    let value = verdict.as_ref().and_then(|verdict| verdict.value);
    let value =
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}{}", if readings.noisy(Subject::Bond) { NOISY } else { "" }));
    let title = format!("{}, {}", quantity.title, quantity.unit);
    let word = verdict.map_or("-", |verdict| verdict.word()).to_owned();
    let [sum, of_plain] = [sum(quantity, &readings).map(|sum| format!("{sum:.1}")), of_plain(&readings).map(|share| format!("{share:.2}"))]
        .map(|text| text.unwrap_or_else(|| "-".to_owned()));
    vec![row.name.to_owned(), row.words.to_owned(), title, a, b, sum, plain, multipath, bond, of_plain, value, quantity.judge.words(), word]
}

/// Of what adds up.
fn sum(quantity: &Quantity, readings: &Readings<'_>) -> Option<f64> {
    let median = |subject| Spread::of(readings.values(subject)).map(|spread| spread.median);
    (quantity.unit == "Mbit/s").then(|| Some(median(Subject::A)? + median(Subject::B)?))?
}

/// The bond next to both lines without a tunnel: a tunnel that makes little of a line alone cannot hide behind its own sum.
fn of_plain(readings: &Readings<'_>) -> Option<f64> {
    Some(Spread::of(readings.values(Subject::Bond))?.median / Spread::of(readings.values(Subject::Plain))?.median)
}

fn verdict(quantity: &Quantity, readings: &Readings<'_>) -> Option<Verdict> {
    let limit = quantity.judge.limit()?;
    let noisy = COLUMNS.iter().any(|subject| readings.noisy(*subject));
    Some(Verdict::of(quantity.title.clone(), limit, quantity.judge.value(readings), noisy))
}

fn figures(row: &Row, quantity: &Quantity, measured: &Measured) -> Value {
    let readings = Readings::of(&measured.readings, row.name, quantity);
    let [a, b, plain, multipath, bond] = COLUMNS.map(|subject| Spread::of(readings.values(subject)));
    let target = if quantity.judge == Judge::Shown { Value::Null } else { quantity.judge.words().into() };
    json!({
        "row": row.name, "lines": row.words, "what": quantity.title, "unit": quantity.unit,
        "a": a, "b": b, "sum": sum(quantity, &readings), "plain": plain, "multipath": multipath, "bond": bond,
        "of_plain": of_plain(&readings), "target": target, "verdict": verdict(quantity, &readings),
    })
}

#[cfg(test)]
mod tests {
    use super::super::figure::Reading;
    use super::super::rows::ROWS;
    use super::*;

    fn measured(bond: Option<f64>) -> Measured {
        let quantity = ROWS[0].quantities().remove(0);
        let values = [(Subject::A, Some(27.0)), (Subject::B, Some(18.0)), (Subject::Plain, Some(48.0)), (Subject::Bond, bond)];
        let reading = |(subject, value): (Subject, Option<f64>)| {
            Some(Reading {
                row: ROWS[0].name,
                round: 1,
                subject,
                quantity: quantity.clone(),
                value: value?,
                late: false,
                busy: false,
                discarded: 0,
            })
        };
        Measured { readings: values.into_iter().filter_map(reading).collect(), troubles: vec![] }
    }

    #[test]
    fn a_line_has_the_ratio_and_the_verdict() {
        for (bond, end) in [(Some(40.0), "met"), (Some(30.0), "MISSED"), (None, "not measured")] {
            let text = text(&[&ROWS[0]], &measured(bond));
            let line = text.lines().find(|line| line.contains("TCP, 1 flow, up")).unwrap();
            assert!(line.contains("| 45.0 ") && line.trim_end_matches(['|', ' ']).ends_with(end), "{line}");
        }
        let text = text(&[&ROWS[0]], &measured(Some(40.5)));
        assert!(text.contains("| 0.90 ") && text.contains("| 0.84 "), "{text}");
    }

    #[test]
    fn the_json_has_a_line_per_quantity() {
        let value = figures(&ROWS[0], &ROWS[0].quantities()[0], &measured(Some(40.0)));
        assert_eq!(value["sum"], 45.0);
        assert_eq!(value["verdict"]["met"], true);
    }
}
