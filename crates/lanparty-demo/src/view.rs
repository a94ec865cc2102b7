//! The picture: a scene drawn on a terminal, or on a page of text.

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph, Widget};

use crate::scene::Scene;

mod panels;
mod topology;

/// The size of a picture on a page; on a terminal this much is needed to show everything.
const PICTURE: (u16, u16) = (108, 37);

pub(crate) const GOOD: Style = Style::new().fg(Color::Green);
pub(crate) const BAD: Style = Style::new().fg(Color::Red);
pub(crate) const QUIET: Style = Style::new().fg(Color::DarkGray);
pub(crate) const LOUD: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
pub(crate) const TITLE: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);

/// Draws the scene on the whole terminal.
pub(crate) fn draw(frame: &mut Frame<'_>, scene: &Scene) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < PICTURE.0 || area.height < PICTURE.1 {
        small(scene, area, buffer);
    } else {
        whole(scene, area, buffer);
    }
}

/// The scene as text of a fixed size, line ends without blanks.
pub(crate) fn picture(scene: &Scene) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(PICTURE.0, PICTURE.1)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| draw(frame, scene)) {
        Ok(drawn) => text(drawn.buffer),
        Err(never) => match never {},
    }
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    buffer.content.chunks(width).map(|cells| line(cells).trim_end().to_owned() + "\n").collect()
}

fn whole(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let rows =
        [Constraint::Length(1), Constraint::Length(topology::HEIGHT), Constraint::Length(12), Constraint::Length(8), Constraint::Length(8)];
    let [head, map, middle, frames, verdict] = Layout::vertical(rows).areas(area);
    header(scene, head, buffer);
    topology::draw(scene, map, buffer);
    let columns = [Constraint::Length(64), Constraint::Fill(1)];
    let [steps, switch] = Layout::horizontal(columns).areas(middle);
    panels::steps(scene, steps, buffer);
    panels::mac_table(scene, switch, buffer);
    let [books, ping] = Layout::horizontal(columns).areas(frames);
    panels::frames(scene, books, buffer);
    panels::ping(scene, ping, buffer);
    panels::conditions(scene, verdict, buffer);
}

/// What matters most, where there is no room for all of it.
fn small(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let [head, steps, conditions] = Layout::vertical([Constraint::Length(1), Constraint::Length(12), Constraint::Fill(1)]).areas(area);
    header(scene, head, buffer);
    panels::steps(scene, steps, buffer);
    panels::conditions(scene, conditions, buffer);
}

fn header(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let held = scene.conditions().iter().filter(|condition| condition.holds).count();
    let verdict = Span::styled(format!("{held} of 6 conditions hold"), if held == 6 { GOOD.add_modifier(Modifier::BOLD) } else { LOUD });
    let line = Line::from(vec![
        Span::styled(" lanparty demo ", TITLE.add_modifier(Modifier::REVERSED)),
        Span::raw("  real programs, real network stacks, one machine   "),
        verdict,
    ]);
    line.render(area, buffer);
    let clock = Line::from(vec![Span::raw(format!("{:.0} s   ", scene.elapsed.as_secs_f64())), Span::styled("q ends ", QUIET)]);
    clock.right_aligned().render(area, buffer);
}

/// A frame with a title around lines.
pub(crate) fn panel(title: &str, lines: Vec<Line<'_>>, area: Rect, buffer: &mut Buffer) {
    let block = block(title);
    Paragraph::new(lines).block(block).render(area, buffer);
}

/// The frame alone.
pub(crate) fn block(title: &str) -> Block<'_> {
    Block::bordered().border_type(BorderType::Rounded).border_style(QUIET).title(Span::styled(format!(" {title} "), TITLE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::tests::good_show;

    #[test]
    fn the_picture_shows_what_there_is_to_see() {
        let picture = picture(&good_show());
        for part in ["10.73.42.123", "gateway", "relay", "median 22.0 ms", "the venue's server", "RateLimit 1", "6 of 6 conditions hold"] {
            assert!(picture.contains(part), "{part} is missing in\n{picture}");
        }
        assert_eq!(picture.lines().count(), usize::from(PICTURE.1));
    }

    #[test]
    fn any_size_of_terminal_is_drawn_on() {
        for (width, height) in [(0, 0), (1, 1), (20, 5), (80, 24), (107, 37), (108, 37), (200, 60)] {
            for scene in [Scene::new(), good_show()] {
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                terminal.draw(|frame| draw(frame, &scene)).unwrap();
            }
        }
    }
}
