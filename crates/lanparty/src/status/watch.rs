//! `lanparty status --watch`: asks the programs again and again, and draws what they say; without a terminal, prints it.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use lanparty_node::{ExitCode, Fault, query_all, shutdown_requested};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::Paragraph;

use super::history::History;
use super::view::{Tone, page};
use crate::program::unreadable;

/// Three pictures a second; as text, which nobody overwrites, one.
const PICTURE_INTERVAL: Duration = Duration::from_millis(333);
const TEXT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the keyboard is looked at.
const KEYS_INTERVAL: Duration = Duration::from_millis(50);
/// The width of a page of text.
const TEXT_WIDTH: usize = 100;

/// Until q, Esc or Ctrl-C.
pub(super) async fn run() -> Result<(), Fault> {
    let mut shutdown = std::pin::pin!(shutdown_requested());
    let watching = async { if stdout().is_terminal() { draw().await } else { print().await } };
    tokio::select! {
        outcome = watching => outcome,
        _ = &mut shutdown => Ok(()),
    }
}

async fn print() -> Result<(), Fault> {
    let mut history = History::default();
    loop {
        history.look(&query_all().await.map_err(|e| unreadable(&e))?, Instant::now());
        let text: String = page(&history, TEXT_WIDTH).into_iter().map(|(_, line)| line + "\n").collect();
        // Who has closed the pipe has seen enough.
        if stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()).is_err() {
            return Ok(());
        }
        tokio::time::sleep(TEXT_INTERVAL).await;
    }
}

async fn draw() -> Result<(), Fault> {
    let unusable =
        |e: std::io::Error| Fault::new(ExitCode::Unexpected, format!("cannot draw on this terminal: {e}"), "pipe it through cat");
    let mut screen = Screen::enter().map_err(unusable)?;
    let mut history = History::default();
    loop {
        history.look(&query_all().await.map_err(|e| unreadable(&e))?, Instant::now());
        screen.draw(&history).map_err(unusable)?;
        let next = Instant::now() + PICTURE_INTERVAL;
        while Instant::now() < next {
            if wants_to_leave() {
                return Ok(());
            }
            tokio::time::sleep(KEYS_INTERVAL).await;
        }
    }
}

/// The terminal's alternate screen in raw mode. Given back when dropped, and before a panic says anything.
struct Screen(Terminal<CrosstermBackend<std::io::Stdout>>);

impl Screen {
    fn enter() -> std::io::Result<Self> {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_terminal_back();
            usual(panic);
        }));
        enable_raw_mode()?;
        let terminal = execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        terminal.map(Self).inspect_err(|_| give_terminal_back())
    }

    fn draw(&mut self, history: &History) -> std::io::Result<()> {
        let picture = |frame: &mut ratatui::Frame<'_>| {
            let lines = page(history, usize::from(frame.area().width)).into_iter().map(|(tone, line)| Line::styled(line, style(tone)));
            frame.render_widget(Paragraph::new(Text::from_iter(lines)), frame.area());
        };
        self.0.draw(picture).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_terminal_back();
    }
}

fn give_terminal_back() {
    // What fails here has no terminal to tell it to.
    let _ = execute!(stdout(), LeaveAlternateScreen, crossterm::cursor::Show);
    let _ = disable_raw_mode();
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Title => Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD),
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}

fn wants_to_leave() -> bool {
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

fn is_leave(key: KeyEvent) -> bool {
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}
