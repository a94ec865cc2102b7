//! Nothing is left behind: the measuring runs in a process of its own, and whatever becomes of that one, this one cleans up.

use std::process::ExitCode;

use anyhow::{Context, Result};
use lanparty_lab::Lab;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::variant;

/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Runs this program again as the one that measures.
pub(crate) fn run() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(supervise())
}

/// To be called by the one that measures: it ends when its supervisor does.
pub(crate) fn end_with_supervisor() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tie this process to its supervisor")
}

async fn supervise() -> Result<ExitCode> {
    let mut interrupts = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .map(|kind| signal(kind).context("watch for signals"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let [interrupt, terminate, hangup] = interrupts.as_mut_slice() else { unreachable!("INVARIANT: three kinds, three streams") };
    let exe = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(exe);
    // A process group of its own: Ctrl-C must reach this process alone.
    command.arg("--unsupervised").args(std::env::args_os().skip(1)).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().context("start the measuring process")?;
    let pid = child.id().unwrap_or(0);
    let code = tokio::select! {
        status = child.wait() => u8::try_from(status?.code().unwrap_or(1)).unwrap_or(1),
        _ = interrupt.recv() => interrupted(&mut child).await?,
        _ = terminate.recv() => interrupted(&mut child).await?,
        _ = hangup.recv() => interrupted(&mut child).await?,
    };
    if code != 0 {
        clean_up(pid)?;
    }
    Ok(ExitCode::from(code))
}

async fn interrupted(child: &mut Child) -> Result<u8> {
    eprintln!("bench: interrupted, cleaning up");
    child.kill().await.context("end the measuring process")?;
    Ok(INTERRUPTED)
}

/// A new lab removes what labs of dead processes left.
fn clean_up(measuring: u32) -> Result<()> {
    drop(Lab::new("bench-sweep")?);
    variant::remove_leftovers(measuring);
    Ok(())
}
