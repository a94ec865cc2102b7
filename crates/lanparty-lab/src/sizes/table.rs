//! The matrix as a table in Markdown.

use std::fmt;

use super::{Cell, Row, Traffic, Verdict};
use crate::topology::Routers;

impl fmt::Display for Routers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer => "ICMP on",
            Self::Silent => "ICMP filtered",
            Self::DropFragments => "ICMP filtered, fragments dropped",
        })
    }
}

/// One line per wire and mood of its routers.
pub fn table(rows: &[Row]) -> String {
    let titles = Traffic::ALL.map(Traffic::title);
    let mut out = format!("| wire MTU | outside | LAN MTU | {} |\n", titles.join(" | "));
    out.push_str(&format!("|---|---|---|{}\n", "---|".repeat(titles.len())));
    for row in rows {
        let cells = Traffic::ALL.map(|traffic| both_ways(row, traffic));
        out.push_str(&format!("| {} | {} | {} | {} |\n", row.wire_mtu, row.routers, row.lan_mtu, cells.join(" | ")));
    }
    out
}

/// What happened in both directions: once when it was the same.
fn both_ways(row: &Row, traffic: Traffic) -> String {
    let cells: Vec<&Cell> = row.cells.iter().filter(|cell| cell.traffic == traffic).collect();
    let words: Vec<String> = cells.iter().map(|cell| in_words(cell)).collect();
    match &words[..] {
        [] => "no IPv6 below 1280".into(),
        [a, b] if a == b => a.clone(),
        _ => cells.iter().zip(&words).map(|(cell, words)| format!("{}: {words}", cell.way.title())).collect::<Vec<_>>().join("; "),
    }
}

/// `whole to 1331, then told`: runs of the same verdict, each with its last frame.
fn in_words(cell: &Cell) -> String {
    let mut runs: Vec<(&Verdict, usize)> = Vec::new();
    for (len, verdict) in &cell.outcomes {
        match runs.last_mut() {
            Some((last, end)) if *last == verdict => *end = *len,
            _ => runs.push((verdict, *len)),
        }
    }
    let last = runs.len().saturating_sub(1);
    let words =
        runs.iter().enumerate().map(|(at, (verdict, end))| if at == last { verdict.to_string() } else { format!("{verdict} to {end}") });
    words.collect::<Vec<_>>().join(", then ")
}

#[cfg(test)]
mod tests {
    use super::super::Way;
    use super::*;

    fn cell(way: Way, outcomes: &[(usize, Verdict)]) -> Cell {
        Cell { traffic: Traffic::UdpDf, way, outcomes: outcomes.to_vec() }
    }

    fn row(cells: Vec<Cell>) -> Row {
        Row { wire_mtu: 1400, routers: Routers::DropFragments, lan_mtu: 1317, cells }
    }

    #[test]
    fn ways_that_agree_share_their_words() {
        let outcomes = [(60, Verdict::Whole), (1331, Verdict::Whole), (1332, Verdict::Told), (1514, Verdict::Told)];
        let rows = [row(vec![cell(Way::ToLan, &outcomes), cell(Way::ToClient, &outcomes)])];
        let text = table(&rows);
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("| 1400 | ICMP filtered, fragments dropped | 1317 | "), "{line}");
        assert!(line.contains("| whole to 1331, then told |"), "{line}");
        assert_eq!(line.matches('|').count(), text.lines().next().unwrap().matches('|').count());
    }

    #[test]
    fn ways_that_differ_have_their_own() {
        let counted = [(60, Verdict::Whole), (1514, Verdict::Counted("TapMtuExceeded".into()))];
        let rows = [row(vec![cell(Way::ToLan, &[(60, Verdict::Whole)]), cell(Way::ToClient, &counted)])];
        let text = table(&rows);
        assert!(text.contains("| to the LAN: whole; to the client: whole to 60, then counted as `TapMtuExceeded` |"), "{text}");
    }
}
