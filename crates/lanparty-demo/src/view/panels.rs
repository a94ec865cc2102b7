//! The panels around the drawing of the network.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

use super::{BAD, GOOD, LOUD, QUIET, block, panel};
use crate::scene::{Progress, Scene, Step};

/// The hand of the clock in front of a step that is under way.
const SPINNER: [&str; 4] = ["|", "/", "-", "\\"];

/// What has been done so far.
pub(super) fn steps(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let line = |step: &Step| {
        let title = format!("{:<35}", step.title());
        match scene.progress(*step) {
            Progress::Waiting => Line::styled(format!("   {title}"), QUIET),
            Progress::Doing => {
                let turn = SPINNER[(scene.elapsed.as_millis() / 150) as usize % SPINNER.len()];
                Line::from(vec![Span::styled(format!(" {turn} "), LOUD), Span::raw(title)])
            }
            Progress::Done(outcome) => {
                Line::from(vec![Span::styled(" ✔ ", GOOD), Span::raw(title), Span::styled(format!(" {outcome}"), LOUD)])
            }
        }
    };
    panel("steps", Step::ALL.iter().map(line).collect(), area, buffer);
}

/// The switch as its operator sees it; the player's row, where it belongs, stands out.
pub(super) fn mac_table(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let mut rows = scene.mac_table.clone();
    rows.sort_by_key(|entry| (!scene.is_player_on_gateway(entry), entry.port.clone()));
    let line = |entry: &lanparty_lab::MacEntry| {
        let player = scene.is_player_on_gateway(entry);
        let text = format!(" {:<9}{}{}", entry.port, entry.mac, if player { "  ◀ player" } else { "" });
        Line::styled(text, if player { LOUD } else { Style::new() })
    };
    panel("the switch's MAC table", rows.iter().map(line).collect(), area, buffer);
}

/// Frames and drops of each program.
pub(super) fn frames(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let mut lines = vec![Line::styled(format!(" {:<18}{:>7}{:>10}  dropped", "", "in", "forwarded"), QUIET)];
    lines.extend(scene.facts.books.iter().map(|books| {
        let counts = format!(" {:<18}{:>7}{:>10}  ", books.title, books.frames_in, books.forwarded);
        let style = if books.dropped.is_empty() { QUIET } else { LOUD };
        Line::from(vec![Span::raw(counts), Span::styled(books.drops(), style)])
    }));
    panel("frames, and why some were dropped", lines, area, buffer);
}

/// The round trips from the player to pc1.
pub(super) fn ping(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let frame = block("ping: player to pc1");
    let inside = frame.inner(area);
    frame.render(area, buffer);
    let [words, graph] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(inside);
    let text = match scene.ping_median() {
        Some(median) => {
            format!(" {} of {} answered, median {:.1} ms", scene.pings_answered, scene.pings_sent, median.as_secs_f64() * 1e3)
        }
        None => " no answer yet".into(),
    };
    Line::raw(text).render(words, buffer);
    let newest = scene.pings.len().saturating_sub(usize::from(graph.width));
    let microseconds = scene.pings.iter().skip(newest).map(|time| time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)));
    Sparkline::default()
        .data(microseconds.collect::<Vec<_>>())
        .style(GOOD)
        .absent_value_style(BAD)
        .absent_value_symbol("×")
        .render(graph, buffer);
}

/// The guide's pass conditions.
pub(super) fn conditions(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let line = |condition: &crate::scene::Condition| {
        let (mark, style) = if condition.holds { (" yes ", GOOD) } else { (" no  ", QUIET) };
        let text = format!("{:<58}", condition.text);
        Line::from(vec![Span::styled(mark, style), Span::raw(text), Span::styled(condition.evidence.clone(), style)])
    };
    panel("the guide's pass conditions", scene.conditions().iter().map(line).collect(), area, buffer);
}
