//! The results as text: Markdown whose columns also line up in a terminal.

use crate::record::{Cell, Figure, Summary};
use crate::stats::Spread;
use crate::target::Verdict;
use crate::variant::Variant;

/// Follows a figure that strangers may have spoilt.
pub(crate) const NOISY: &str = "~";

/// What a variant was, for the first columns.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) variant: &'static Variant,
    pub(crate) version: String,
    pub(crate) mtu: Option<u64>,
    /// Why there are no figures, or fewer.
    pub(crate) trouble: Option<String>,
}

/// The table of figures: median, and minimum to maximum where there were several rounds.
pub(crate) fn figures(rows: &[Row], summary: &Summary) -> String {
    let mut lines = vec![head()];
    for row in rows {
        let cells = summary.get(row.variant.name);
        let mtu = row.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        let layer = row.variant.layer.to_string();
        let mut line = vec![row.variant.name.to_owned(), row.version.clone(), layer, row.variant.crypto.to_owned(), mtu];
        line.extend(Figure::ALL.map(|figure| cells.and_then(|cells| cells.get(&figure)).map_or("-".into(), |cell| text(figure, cell))));
        lines.push(line);
    }
    let troubles = rows.iter().filter_map(|row| Some(format!("{}: {}\n", row.variant.name, row.trouble.as_ref()?)));
    let legend = "Median (min..max) of the rounds. Load: while the TCP stream runs. CPU: user and system time of both ends and the\n\
        relay. RSS: the most that the largest process had. `~`: other programs were busy meanwhile, do not trust it.\n";
    format!("{}\n{legend}{}", aligned(&lines), troubles.collect::<String>())
}

/// The table of targets.
pub(crate) fn targets(verdicts: &[Verdict]) -> String {
    let mut lines = vec![["lanparty's targets", "measured", "limit", "verdict"].map(str::to_owned).to_vec()];
    for verdict in verdicts {
        let rounds = verdict.rounds.or_else(|| Spread::of(verdict.value));
        let value = rounds.map_or_else(|| "-".to_owned(), |rounds| spread(&rounds, 2, verdict.noisy));
        lines.push(vec![verdict.target.clone().into_owned(), value, verdict.limit.words(), verdict.word().to_owned()]);
    }
    aligned(&lines)
}

/// A plain list, its columns aligned.
pub(crate) fn list(rows: &[Vec<String>]) -> String {
    let head = ["variant", "layer", "crypto", "way", "version"].map(str::to_owned).to_vec();
    aligned(&[vec![head], rows.to_vec()].concat())
}

fn head() -> Vec<String> {
    let mut head: Vec<String> = ["variant", "version", "L", "crypto", "MTU"].map(str::to_owned).into();
    head.extend(Figure::ALL.map(|figure| figure.title().0.to_owned()));
    head
}

fn text(figure: Figure, cell: &Cell) -> String {
    spread(&cell.spread, figure.title().1, cell.noisy)
}

/// The median, and what it lies between when there were several rounds.
pub(crate) fn spread(spread: &Spread, decimals: usize, noisy: bool) -> String {
    let Spread { rounds, median, min, max } = *spread;
    let noisy = if noisy { NOISY } else { "" };
    if rounds == 1 {
        format!("{median:.decimals$}{noisy}")
    } else {
        format!("{median:.decimals$} ({min:.decimals$}..{max:.decimals$}){noisy}")
    }
}

/// The first line is the head. All lines have as many cells.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        out.push_str(&format!("|{}\n", cells.collect::<String>()));
        if number == 0 {
            out.push_str(&format!("|{}\n", widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect::<String>()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixtures::record;
    use crate::record::summarise;
    use crate::target::judge;
    use crate::variant::{LANPARTY, TINC};

    #[test]
    fn all_lines_are_as_long() {
        let summary = summarise(&[record("tinc", 512.3, 0.2, 20.0, true), record("tinc", 480.0, 0.2, 20.0, false)]);
        let row = |variant, trouble: Option<&str>| Row { variant, version: "1".into(), mtu: None, trouble: trouble.map(str::to_owned) };
        let text = figures(&[row(&TINC, None), row(&LANPARTY, Some("no relay"))], &summary);
        let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
        assert!(lines[2].contains("| 496 (480..512)~ "), "{text}");
        assert!(text.ends_with("lanparty: no relay\n"), "{text}");
    }

    #[test]
    fn a_verdict_says_what_was_measured() {
        let text = targets(&judge(&[record("lanparty", 1.0, 7.5, 15.0, false)]));
        assert!(text.lines().any(|line| line.contains("7.50") && line.contains("<= 5") && line.contains("MISSED")), "{text}");
    }
}
