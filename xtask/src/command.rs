//! Steps: a command that is shown, run at the root of the workspace, and timed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::report::{duration, say};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs this, at the root of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Shows and runs one step, its output passed on; a failure names it.
pub(crate) fn step(command: &mut Command) -> Result<()> {
    let words = words(command);
    say(&format!("==> {words}"));
    let start = Instant::now();
    let status = command.status().with_context(|| format!("`{words}` cannot be started"))?;
    if !status.success() {
        bail!("`{words}` failed ({status}) after {}", duration(start.elapsed()));
    }
    say(&format!("    {}", duration(start.elapsed())));
    Ok(())
}

/// What a command prints, without the white space around it; a failure has its words.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.output().with_context(|| format!("`{words}` cannot be started"))?;
    if !output.status.success() {
        bail!("`{words}`: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Installs those of Debian's packages whose programs are missing: pairs of a program and its package.
pub(crate) fn install_missing(tools: &[(&str, &str)]) -> Result<()> {
    // What it answers does not matter: it is there.
    let is_missing = |program: &str| Command::new(program).arg("-h").output().is_err();
    let missing: Vec<_> = tools.iter().filter(|(program, _)| is_missing(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-q", "--no-install-recommends"]).args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    if step(&mut install).is_ok() {
        return Ok(());
    }
    let needs_root = || format!("install Debian's {} (needs root)", missing.join(" and "));
    step(Command::new("apt-get").args(["update", "-q"])).and_then(|()| step(&mut install)).with_context(needs_root)
}

/// A command as one would type it, with the variables it adds.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let variables = command.get_envs().filter_map(|(key, value)| Some(quoted(&format!("{}={}", key.display(), value?.display()))));
    let args = command.get_args().map(|arg| quoted(&arg.to_string_lossy()));
    variables.chain([program]).chain(args).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

/// What cargo says of the workspace.
pub(crate) fn metadata(args: &[&str]) -> Result<serde_json::Value> {
    let mut command = cargo(&["metadata", "--format-version=1"]);
    let output = command.args(args).stderr(Stdio::inherit()).output().context("`cargo metadata` cannot be started")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", words(&command), output.status);
    }
    serde_json::from_slice(&output.stdout).context("the answer of `cargo metadata`")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    Ok(metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/opt/rust/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(words(&command), "'RUSTDOCFLAGS=-D warnings' cargo doc --no-deps");
    }
}
