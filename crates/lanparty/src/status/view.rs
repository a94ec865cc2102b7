//! The picture of `lanparty status --watch`: lines of text with a tone, for a terminal or a page.

use std::collections::VecDeque;

use super::history::{Course, History, PathNow, Program};

/// A graph is scaled to the fastest moment that it shows, and to this at least, in bits per second.
const SCALE_MIN: u64 = 100_000;
/// What stands in front of a graph.
const LABEL_LEN: usize = 24;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How a line is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Title,
    Plain,
    Good,
    Bad,
}

/// The page, `width` characters wide.
pub(super) fn page(history: &History, width: usize) -> Vec<(Tone, String)> {
    if history.programs.is_empty() {
        return vec![(Tone::Plain, "no lanparty program is running here, or it belongs to another user".to_owned())];
    }
    let mut lines = vec![];
    for program in &history.programs {
        one_program(history, program, width, &mut lines);
    }
    lines
}

fn one_program(history: &History, program: &Program, width: usize, lines: &mut Vec<(Tone, String)>) {
    lines.push((Tone::Title, program.title.clone()));
    lines.extend(program.notes.iter().map(|note| (Tone::Plain, format!("  {note}"))));
    for path in &program.paths {
        one_path(path, history.course(program, path), width, lines);
    }
    lines.push((Tone::Plain, String::new()));
}

fn one_path(path: &PathNow, course: Option<&Course>, width: usize, lines: &mut Vec<(Tone, String)>) {
    let tone = if path.is_alive { Tone::Good } else { Tone::Bad };
    let words = path.words.trim_start_matches(", ");
    lines.push((tone, format!("  {}: {words}", path.name)));
    let Some(course) = course else { return };
    let room = width.saturating_sub(LABEL_LEN);
    let scale = shown(&course.out, room).chain(shown(&course.into, room)).max().unwrap_or(0).max(SCALE_MIN);
    for (way, rates) in [("out", &course.out), ("in", &course.into)] {
        let now = rates.back().copied().unwrap_or(0) as f64 / 1e6;
        let graph: String = shown(rates, room).map(|rate| bar(rate, scale)).collect();
        lines.push((Tone::Plain, format!("    {way:<3} {now:>7.1} Mbit/s  {graph}").trim_end().to_owned()));
    }
}

/// The newest rates, as many as there is room for.
fn shown(rates: &VecDeque<u64>, room: usize) -> impl Iterator<Item = u64> {
    rates.iter().skip(rates.len().saturating_sub(room)).copied()
}

fn bar(rate: u64, scale: u64) -> char {
    if rate == 0 {
        return ' ';
    }
    let step = usize::try_from(rate.saturating_mul(BARS.len() as u64) / scale.max(1)).unwrap_or(BARS.len());
    BARS[step.min(BARS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use super::*;

    fn client(bytes: u64) -> Value {
        json!({
            "program": "lanparty-client", "interface": "lan0", "room": "ROOM1", "relay": "192.0.2.1:443", "relay_reachable": true,
            "bond": {
                "paths": [{ "name": "dsl0", "role": "primary", "is_alive": true, "seconds": 9, "rtt_ms": 20.0, "packets": [100, 1], "bytes": [bytes, bytes / 8] }],
                "absent": [{ "name": "lte0", "because": "lte0 has no carrier" }],
                "goodput": [1_000_000, 125_000],
                "inbound": { "duplicates": 3, "held": 2, "waiting": 0, "given_up": 1, "late": 0 },
            },
        })
    }

    #[test]
    fn the_picture_shows_every_path_with_its_rates() {
        let (mut history, start) = (History::default(), Instant::now());
        for (second, bytes) in [(0, 0), (1, 125_000), (2, 1_125_000), (3, 2_125_000)] {
            history.look(&[client(bytes)], start + Duration::from_secs(second));
        }
        let text: Vec<_> = page(&history, 40).into_iter().map(|(_, line)| line).collect();
        let expected = [
            "lanparty-client lan0 in room ROOM1 at 192.0.2.1:443",
            "  bond: out 8.0 Mbit/s, in 1.0 Mbit/s; 3 duplicates removed, 2 held for their order (0 now), 0 sent once more, 1 given up, 0 late",
            "  dsl0: alive for 9 s, primary, RTT 20.0 ms, 1.0 % lost",
            "    out     8.0 Mbit/s  ▂██",
            "    in      1.0 Mbit/s  ▁▂▂",
            "  lte0: not connected: lte0 has no carrier",
            "    out     0.0 Mbit/s",
            "    in      0.0 Mbit/s",
            "",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn a_narrow_terminal_and_none_at_all_do_no_harm() {
        let mut history = History::default();
        history.look(&[client(0)], Instant::now());
        history.look(&[client(9)], Instant::now());
        assert_eq!(page(&history, 0).len(), page(&history, 500).len());
    }
}
