//! `cargo xtask test`: every test of the workspace, with the lab of real programs.
//!
//! A lab that silently skips proves nothing. So the lab is required wherever it was not declined, and one skipped test fails the run.

mod runner;
mod tally;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::command::{cargo, step};
use crate::machine::{self, Ground};
use crate::report::{duration, say};
use crate::{deb, instructions};
use runner::stream;
use tally::{Format, Tally};

/// Read by the lab: `required` turns a skipped lab test into a failed one.
const LAB_VARIABLE: &str = "LANPARTY_LAB";
/// Read by the lab's tests of the client for Windows: `off` leaves them out, `required` turns one that cannot run into a failed one.
const WINDOWS_VARIABLE: &str = "LANPARTY_WINDOWS";

/// The test program that runs the client for Windows in the lab.
const WINDOWS_TESTS: &str = "windows";

/// Options of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Neither prepare nor require the lab: its tests skip where it cannot run
    #[arg(long)]
    no_lab: bool,
    /// Only tests whose name contains one of these
    filter: Vec<String>,
}

/// Prepares, builds, tests, and says how it went in one line.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let start = Instant::now();
    let lab =
        if args.no_lab { Err("declined by --no-lab".into()) } else { machine::prepare_lab("test").map_err(|error| format!("{error:#}")) };
    if let Err(why) = &lab {
        say(&format!("==> without the lab: {why}"));
    }
    // A test reads the dependency tree of every platform, and a build brings the crates of this one only.
    step(&mut cargo(&["fetch", "--locked"]))?;
    // The lab runs the real programs, which it finds next to the tests. In one build with the tests, as cargo would choose other
    // features for the programs alone, and compile half of the dependencies twice.
    step(&mut cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    let built = start.elapsed();
    let mut tally = Tally::default();
    for (format, mut command) in commands(&args.filter) {
        command.env(LAB_VARIABLE, if lab.is_ok() { "required" } else { "optional" });
        // The client for Windows may not be built, or be an old one.
        command.env(WINDOWS_VARIABLE, "off");
        let mut command = lab.as_ref().map_or(Ground::Own, |ground| *ground).enter(command);
        command.stdin(Stdio::null());
        stream(&mut command, format, &mut tally)?;
    }
    say(&summary(&tally, built, start.elapsed()));
    judge(&tally, lab.is_ok(), args.no_lab)?;
    if args.filter.is_empty() {
        instructions::check()?;
    }
    try_package(lab.ok(), &args.filter)
}

/// The package for Debian, where a Debian can be booted: that needs root itself, and no namespace serves.
fn try_package(lab: Option<Ground>, filter: &[String]) -> Result<()> {
    let untried = match lab {
        _ if !filter.is_empty() => None,
        Some(Ground::Own) => deb::try_debug()?,
        Some(Ground::UserNamespace) | None => Some("that needs root".to_owned()),
    };
    if let Some(why) = untried {
        say(&format!("==> NOT TRIED: the package for Debian (cargo xtask deb --try): {why}"));
    }
    Ok(())
}

/// The lab's tests of the client for Windows, which is built by now. Each of them runs, one after the other: Wine and the lab share the
/// machine's time.
pub(crate) fn run_windows() -> Result<()> {
    let start = Instant::now();
    let ground = machine::prepare_lab("windows all")?;
    step(&mut cargo(&["build", "--workspace", "--bins", "--test", WINDOWS_TESTS]))?;
    let built = start.elapsed();
    let mut command = cargo(&["test", "--workspace", "--test", WINDOWS_TESTS, "--", "--show-output", "--test-threads=1"]);
    command.env(LAB_VARIABLE, "required").env(WINDOWS_VARIABLE, "required");
    let mut command = ground.enter(command);
    command.stdin(Stdio::null());
    let mut tally = Tally::default();
    stream(&mut command, Format::Libtest, &mut tally)?;
    say(&summary(&tally, built, start.elapsed()));
    if let Some(words) = tally.left_out.first() {
        bail!("tests of the client for Windows did not run: {words}");
    }
    judge(&tally, true, false)
}

/// nextest where it is installed, and then the doc tests, which it leaves out; else plain cargo, which runs both.
fn commands(filter: &[String]) -> Vec<(Format, Command)> {
    let nextest = cargo(&["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    let mut commands = if nextest {
        let options = ["--no-fail-fast", "--no-tests=pass", "--success-output=immediate", "--failure-output=final"];
        let mut tests = cargo(&["nextest", "run", "--workspace"]);
        tests.args(options);
        vec![(Format::Nextest, tests), (Format::Libtest, cargo(&["test", "--workspace", "--no-fail-fast", "--doc", "--", "--show-output"]))]
    } else {
        vec![(Format::Libtest, cargo(&["test", "--workspace", "--no-fail-fast", "--", "--show-output"]))]
    };
    for (_, command) in &mut commands {
        command.args(filter);
    }
    commands
}

fn summary(tally: &Tally, built: Duration, total: Duration) -> String {
    let Tally { passed, failed, ignored, skipped, .. } = tally;
    format!(
        "test: {passed} passed, {failed} failed, {ignored} ignored, {} skipped; build {}, all {}",
        skipped.len(),
        duration(built),
        duration(total)
    )
}

fn judge(tally: &Tally, lab: bool, is_declined: bool) -> Result<()> {
    if tally.failed > 0 || tally.trouble {
        bail!("tests failed; run one alone with: cargo xtask test <its name>");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    let Some(first) = tally.skipped.first() else { return Ok(()) };
    if lab {
        bail!("{} tests skipped although the lab is required; the first said: {first}", tally.skipped.len());
    }
    if !is_declined {
        bail!("{} tests need the lab, which this machine lacks (see above); leave them out in the open with --no-lab", tally.skipped.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(passed: usize, skipped: &[&str], lab: bool, no_lab: bool) -> Result<()> {
        let mut tally = Tally::default();
        (tally.passed, tally.skipped) = (passed, skipped.iter().map(ToString::to_string).collect());
        judge(&tally, lab, no_lab)
    }

    #[test]
    fn a_skipped_test_fails_the_run_unless_the_lab_was_declined() {
        assert!(outcome(10, &[], true, false).is_ok());
        assert!(outcome(10, &["skipped: not root"], true, false).is_err());
        assert!(outcome(10, &["skipped: not root"], false, false).is_err());
        assert!(outcome(10, &["skipped: not root"], false, true).is_ok());
        assert!(outcome(0, &[], true, false).is_err(), "a filter that matches nothing");
    }
}
