//! The terminal: entered, drawn on, and given back however this ends.

use std::io::stdout;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::scene::Scene;
use crate::view;

/// The terminal's alternate screen in raw mode. Given back when dropped, and before a panic says anything.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<std::io::Stdout>>,
}

impl Screen {
    /// Enters it.
    pub(crate) fn enter() -> Result<Self> {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_terminal_back();
            usual(panic);
        }));
        enable_raw_mode().context("raw mode")?;
        let terminal = execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match terminal {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_terminal_back();
                Err(error).context("the alternate screen")
            }
        }
    }

    /// Draws one frame.
    pub(crate) fn draw(&mut self, scene: &Scene) -> std::io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, scene)).map(drop)
    }

    /// Was `q`, Esc or Ctrl-C pressed?
    pub(crate) fn wants_to_leave(&self) -> bool {
        let mut leave = false;
        while poll(Duration::ZERO).unwrap_or(false) {
            match read() {
                Ok(Event::Key(key)) => leave |= is_leave(key),
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        leave
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_terminal_back();
    }
}

/// Leaves the alternate screen and raw mode. Done twice it does no harm.
pub(crate) fn give_terminal_back() {
    // What fails here has no terminal to tell it to.
    let _ = execute!(stdout(), LeaveAlternateScreen, crossterm::cursor::Show);
    let _ = disable_raw_mode();
}

fn is_leave(key: KeyEvent) -> bool {
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}
