//! `cargo xtask check`: what every commit must pass and no test sees.

use anyhow::{Result, bail};

use crate::command::{cargo, step};
use crate::licences;
use crate::report::say;

/// Goes through all of them and names those that failed, so that one run shows everything.
pub(crate) fn run() -> Result<()> {
    components()?;
    let outcomes = [
        ("formatting", step(&mut cargo(&["fmt", "--all", "--check"]))),
        ("lints", step(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))),
        ("documentation", step(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))),
        ("licences", licences::run()),
    ];
    let failed: Vec<&str> = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| *name).collect();
    for error in outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err()) {
        say(&format!("{error:#}"));
    }
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join(", "));
    }
    say("check: formatting, lints, documentation and licences are in order");
    Ok(())
}

/// rustfmt and clippy, which a minimal toolchain lacks.
fn components() -> Result<()> {
    let has = |tool: &str| cargo(&[tool, "--version"]).output().is_ok_and(|output| output.status.success());
    let missing: Vec<&str> =
        [("fmt", "rustfmt"), ("clippy", "clippy")].into_iter().filter(|(tool, _)| !has(tool)).map(|(_, name)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut rustup = std::process::Command::new("rustup");
    rustup.args(["component", "add"]).args(&missing);
    step(&mut rustup).map_err(|error| {
        let list = missing.join(", ");
        error.context(format!(
            "this toolchain lacks {list}; without rustup, install what your system calls {list} (Debian: rustfmt, rust-clippy)"
        ))
    })
}
