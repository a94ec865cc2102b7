//! Short commands, run to their end. A failure names the command and what it said on stderr.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::requirements::tools_path;

/// What a finished command left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as one line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, invalid UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    /// Itself when the command succeeded, else an error with the command and its stderr (or stdout, when stderr is empty).
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        bail!("`{}` ended with {}: {}", self.command, self.status, said.trim())
    }
}

/// Runs a command to its end, whatever its exit code; an error means that it could not be started.
pub fn run_any<S: AsRef<OsStr>>(argv: &[S]) -> Result<Output> {
    let line = command_line(argv);
    let (program, args) = argv.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command.args(args).env("PATH", tools_path()).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("`{line}` cannot be started"))?;
    Ok(Output { command: line, status: output.status, stdout: lossy(&output.stdout), stderr: lossy(&output.stderr) })
}

/// Runs a command that must succeed.
pub fn run<S: AsRef<OsStr>>(argv: &[S]) -> Result<Output> {
    run_any(argv)?.success()
}

/// The words of a command as one line.
pub(crate) fn command_line<S: AsRef<OsStr>>(argv: &[S]) -> String {
    argv.iter().map(|word| word.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_named_with_its_stderr() {
        let error = run(&["sh", "-c", "echo broken cable >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("broken cable") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = format!("{:#}", run(&["/nonexistent/program"]).unwrap_err());
        assert!(error.contains("/nonexistent/program"), "{error}");
    }
}
