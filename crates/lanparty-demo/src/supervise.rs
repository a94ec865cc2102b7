//! Cleans up whatever happens: the show plays in a child process, and who watches it removes what it could not remove itself.
//!
//! An ending by `q`, Ctrl-C, SIGTERM or an error drops the lab as usual. A panic aborts (the release profile says so), and SIGKILL asks
//! nobody: then the watching process gives the terminal back and removes namespaces and programs of its dead child.

use std::io::IsTerminal;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::Lab;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{plain, screen};

/// Set in the child.
const PLAY_VARIABLE: &str = "LANPARTY_DEMO_PLAY";
/// How often the child is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Which of the two processes this is.
pub(crate) enum Part {
    /// The one that was called.
    Watch,
    /// The one it started.
    Play,
}

/// Tells the two apart.
pub(crate) fn part() -> Part {
    if std::env::var_os(PLAY_VARIABLE).is_some() { Part::Play } else { Part::Watch }
}

/// Becomes true with SIGINT, SIGTERM or SIGHUP, which then do nothing else.
pub(crate) fn asked_to_end() -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&asked)).context("watch for signals")?;
    }
    Ok(asked)
}

/// In the child: end as by SIGTERM when the watching process dies.
pub(crate) fn end_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM)).context("follow the parent process")
}

/// Plays in a child and waits for it; its exit code is ours.
pub(crate) fn watch() -> ExitCode {
    match watched() {
        Ok(status) => match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => ExitCode::from(code),
            None => {
                clean_up_after(status);
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            plain::say(&format!("lanparty-demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn watched() -> Result<ExitStatus> {
    let asked = asked_to_end()?;
    let program = std::env::current_exe().context("the path of this program")?;
    let mut child = Command::new(program).args(std::env::args_os().skip(1)).env(PLAY_VARIABLE, "1").spawn().context("start the show")?;
    loop {
        if let Some(status) = child.try_wait().context("wait for the show")? {
            return Ok(status);
        }
        // The terminal's Ctrl-C reaches the child by itself; a `kill` reaches only us. Twice does no harm.
        if asked.swap(false, Ordering::Relaxed) {
            terminate(&child);
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn terminate(child: &Child) {
    // An error means that it ended a moment ago.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

fn clean_up_after(status: ExitStatus) {
    if std::io::stdout().is_terminal() {
        screen::give_terminal_back();
    }
    // A new lab begins by removing what labs of dead processes left.
    let removed = Lab::new("sweep").map(drop);
    let outcome = removed.map_or_else(|error| format!("not removed: {error:#}"), |()| "removed".into());
    plain::say(&format!("the demo died ({status}); what it left behind is {outcome}"));
}
