//! Where programs are, and how missing ones are got.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use lanparty_lab::{BIN_DIR_VARIABLE, Binaries, Requirements, Tool, run, run_any};

/// Where Debian puts what only root uses.
const ROOT_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A program that a variant cannot be measured without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) program: &'static str,
    pub(crate) source: Source,
}

/// Who brings a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// A crate of the registry, built below the target directory.
    Crate(&'static str),
    /// This workspace.
    Workspace,
}

impl Needed {
    pub(crate) const fn debian(program: &'static str, package: &'static str) -> Self {
        Self { program, source: Source::Debian(package) }
    }
}

/// Knows where programs are.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    workspace: Binaries,
    /// `cargo install --root` of this.
    crates: PathBuf,
    /// The bench itself, which is also the yardsticks.
    pub(crate) bench: PathBuf,
}

impl Tools {
    pub(crate) fn locate() -> Result<Self> {
        let bench = std::env::current_exe().context("the path of this program")?;
        let programs = std::env::var_os(BIN_DIR_VARIABLE).map(PathBuf::from).or_else(|| bench.parent().map(PathBuf::from));
        // Beside the directories of the profiles: target/bench-tools.
        let crates = programs.as_deref().and_then(|dir| dir.parent()).context("no target directory")?.join("bench-tools");
        Ok(Self { workspace: Binaries::locate()?, crates, bench })
    }

    /// The program's path; the error says how to get it.
    pub(crate) fn path(&self, needed: Needed) -> Result<PathBuf> {
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        match needed.source {
            Source::Workspace => return self.workspace.path(needed.program),
            Source::Debian(_) => dirs.extend(ROOT_DIRS.map(PathBuf::from)),
            Source::Crate(_) => dirs.insert(0, self.crates.join("bin")),
        }
        let found = dirs.into_iter().map(|dir| dir.join(needed.program)).find(|path| path.is_file());
        found.with_context(|| match needed.source {
            Source::Debian(package) => format!("{} is missing: `apt-get install {package}` brings it", needed.program),
            Source::Crate(name) => format!("{} is missing: `cargo install {name}` brings it", needed.program),
            Source::Workspace => format!("{} is missing", needed.program),
        })
    }

    /// Gets what is missing of `needed`. What cannot be had is no error here: its variant will say so.
    pub(crate) fn install(&self, needed: &[Needed]) -> Result<()> {
        Requirements::wires().and(&[Tool::Iperf]).install_missing()?;
        let missing: Vec<Source> = needed.iter().filter(|needed| self.path(**needed).is_err()).map(|needed| needed.source).collect();
        let packages = missing.iter().filter_map(|source| if let Source::Debian(package) = source { Some(*package) } else { None });
        let crates = missing.iter().filter_map(|source| if let Source::Crate(name) = source { Some(*name) } else { None });
        if let Err(error) = install_packages(&packages.collect()) {
            eprintln!("bench: not all packages can be had: {error:#}");
        }
        for name in crates.collect::<BTreeSet<_>>() {
            if let Err(error) = self.install_crate(name) {
                eprintln!("bench: {name} cannot be had: {error:#}");
            }
        }
        Ok(())
    }

    fn install_crate(&self, name: &str) -> Result<()> {
        eprintln!("bench: building {name} into {}; this takes a few minutes, once", self.crates.display());
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--root"]).arg(&self.crates).arg(name);
        cargo.env("CARGO_TARGET_DIR", self.crates.join("build")).stdin(Stdio::null());
        let status = cargo.status().context("cargo cannot be started")?;
        if !status.success() {
            bail!("`cargo install {name}` ended with {status}");
        }
        Ok(())
    }
}

fn install_packages(packages: &BTreeSet<&str>) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.iter().copied().collect::<Vec<_>>().join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("please run `sudo apt-get install {list}`");
    }
    eprintln!("bench: installing {list}");
    // The packages' own services have no business on this machine: RUNLEVEL=1 keeps Debian from starting them.
    let mut words = vec!["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "install", "-y", "--no-install-recommends"];
    words.extend(packages);
    if run_any(&words)?.status.success() {
        return Ok(());
    }
    run(&["apt-get", "update", "-q"])?;
    run(&words).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_answered_with_what_brings_it() {
        let tools = Tools::locate().unwrap();
        let error = tools.path(Needed::debian("no-such-program", "no-such-package")).unwrap_err();
        assert!(error.to_string().contains("apt-get install no-such-package"), "{error}");
        assert!(tools.path(Needed::debian("sh", "dash")).is_ok());
    }
}
