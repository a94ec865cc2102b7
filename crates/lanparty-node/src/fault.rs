//! What ends a program: the cause in words, the next step, and the exit code.

use std::fmt;
use std::io::{IsTerminal, Write};

#[cfg(unix)]
use lanparty_nic::TapError;

/// Exit codes of every lanparty program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitCode {
    /// Something unforeseen, or a network that does not answer.
    Unexpected = 1,
    /// The command line, a file or the configuration of the machine is wrong.
    Configuration = 2,
    /// A permission or a driver is missing.
    Permission = 3,
    /// The other side refused.
    Refused = 4,
}

/// Why a program ends, for its user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// With this code.
    pub code: ExitCode,
    /// What is wrong.
    pub cause: String,
    /// What to do about it; empty when the cause says it.
    pub advice: String,
}

impl Fault {
    /// A fault with its next step.
    pub fn new(code: ExitCode, cause: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, cause: cause.into(), advice: advice.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n  next step: {}", self.advice) }
    }
}

impl std::error::Error for Fault {}

#[cfg(unix)]
impl From<TapError> for Fault {
    fn from(error: TapError) -> Self {
        let code = match &error {
            e if e.is_usage() => ExitCode::Configuration,
            TapError::NoDriver | TapError::NotPermitted => ExitCode::Permission,
            _ => ExitCode::Unexpected,
        };
        // The words of a TAP's error say what to do.
        Self::new(code, error.to_string(), "")
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Runs a program to its end on one thread, and turns its fault into words and an exit code.
///
/// One thread because a work-stealing pool costs 50 to 80 % more CPU per packet (DESIGN §9).
pub fn block_on(program: impl Future<Output = Result<(), Fault>>) -> std::process::ExitCode {
    end(on_one_thread(|runtime| runtime.block_on(crate::service::watched(program))))
}

/// As [`block_on`], for a program that carries frames: as a task of the runtime, because waking what the runtime itself was started with
/// costs a system call each time.
pub fn serve(program: impl Future<Output = Result<(), Fault>> + Send + 'static) -> std::process::ExitCode {
    crate::allocator::keep_freed();
    end(on_one_thread(|runtime| {
        let task = runtime.spawn(crate::service::watched(program));
        runtime.block_on(task).unwrap_or_else(|e| match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(e) => Err(Fault::new(ExitCode::Unexpected, format!("the program was stopped: {e}"), "")),
        })
    }))
}

fn on_one_thread(run: impl FnOnce(&tokio::runtime::Runtime) -> Result<(), Fault>) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fault::new(ExitCode::Unexpected, format!("the event loop cannot start: {e}"), ""))?;
    let outcome = run(&runtime);
    // A name server that never answers holds a thread for half a minute: nobody waits for that.
    runtime.shutdown_background();
    outcome
}

fn end(outcome: Result<(), Fault>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(fault) => {
            // A terminal shows both streams: once is enough there. A log keeps its last line, a script reads standard error.
            if !std::io::stdout().is_terminal() {
                tracing::error!(exit_code = fault.code as u8, next_step = fault.advice, "{}", fault.cause);
            }
            // The journal takes both.
            if !crate::logging::logs_to_journal() {
                let _ = writeln!(std::io::stderr(), "error: {fault}");
            }
            fault.code.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_that_has_ended_waits_for_no_name_server() {
        let (answer, answered) = channel::<()>();
        let (tell, told) = channel();
        let ended = block_on(async move {
            // As `getaddrinfo` does when nobody answers; a test that fails must end as well.
            tokio::task::spawn_blocking(move || tell.send(answered.recv_timeout(Duration::from_secs(20)).is_ok()));
            Ok(())
        });
        answer.send(()).unwrap();
        assert_eq!((ended, told.recv().unwrap()), (std::process::ExitCode::SUCCESS, true), "the answer came after the end");
    }
}
