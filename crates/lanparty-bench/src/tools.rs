//! Where programs are, and how missing ones are got.

mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use lanparty_lab::{Binaries, Requirements, Tool, run, run_any};

use crate::tools::suite::Suite;

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
    /// A package of that Debian release, kept apart from this machine's own.
    Release(&'static str, &'static str),
    /// A crate of the registry as `NAME@VERSION`, built below the target directory.
    Crate(&'static str),
    /// A package of Python's index as `NAME==VERSION`, which brings a module of this name.
    Python(&'static str),
    /// No registry, and why: it is measured where somebody has put it on the PATH, or among what the bench got.
    Nowhere(&'static str),
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
    /// What was got for the bench alone: `cargo install --root` of this, and other Debian releases.
    got: PathBuf,
    /// Where results go.
    pub(crate) results: PathBuf,
    /// The bench itself, which is also the yardsticks.
    pub(crate) bench: PathBuf,
}

impl Tools {
    pub(crate) fn locate() -> Result<Self> {
        let bench = std::env::current_exe().context("the path of this program")?;
        // Beside the directories of the profiles, wherever the programs are that are measured.
        let target = bench.parent().and_then(Path::parent).context("no target directory")?;
        let (got, results) = (target.join("bench-tools"), target.join("bench"));
        Ok(Self { workspace: Binaries::locate()?, got, results, bench })
    }

    /// The program's path; the error says how to get it.
    pub(crate) fn path(&self, needed: Needed) -> Result<PathBuf> {
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        match needed.source {
            Source::Workspace => return self.workspace.path(needed.program),
            Source::Debian(_) => dirs.extend(ROOT_DIRS.map(PathBuf::from)),
            Source::Crate(_) | Source::Nowhere(_) => dirs.insert(0, self.got.join("bin")),
            Source::Python(_) => dirs = vec![self.got.join("python")],
            // Another release of the same program may be installed here.
            Source::Release(release, _) => dirs = vec![Suite::below(&self.got, release).program("")],
        }
        let found = dirs
            .into_iter()
            .map(|dir| dir.join(needed.program))
            .find(|path| path.is_file() || (path.is_dir() && matches!(needed.source, Source::Python(_))));
        found.with_context(|| match needed.source {
            Source::Debian(package) => format!("{} is missing: `apt-get install {package}` brings it", needed.program),
            Source::Crate(name) => format!("{} is missing: `cargo install {name}` brings it", needed.program),
            Source::Release(release, package) => {
                format!("{} of Debian {release} is missing: the bench gets its package {package}", needed.program)
            }
            Source::Python(package) => format!("the module {} is missing: `pip install {package}` brings it", needed.program),
            Source::Nowhere(why) => {
                format!("{why}: who has {} puts it on the PATH or into {}", needed.program, self.got.join("bin").display())
            }
            Source::Workspace => format!("{} is missing", needed.program),
        })
    }

    /// Gets what is missing of `needed`. What cannot be had is no error here: its variant will say so.
    pub(crate) fn install(&self, needed: &[Needed]) -> Result<()> {
        Requirements::wires().and(&[Tool::Iperf]).install_missing()?;
        let missing: Vec<Needed> = needed.iter().filter(|needed| self.path(**needed).is_err()).copied().collect();
        let packages = missing.iter().filter_map(|needed| if let Source::Debian(package) = needed.source { Some(package) } else { None });
        let crates = missing.iter().filter_map(|needed| if let Source::Crate(name) = needed.source { Some(name) } else { None });
        if let Err(error) = install_packages(&packages.collect()) {
            eprintln!("bench: not all packages can be had: {error:#}");
        }
        for name in crates.collect::<BTreeSet<_>>() {
            if let Err(error) = self.install_crate(name) {
                eprintln!("bench: {name} cannot be had: {error:#}");
            }
        }
        for needed in &missing {
            if let Source::Python(package) = needed.source
                && let Err(error) = self.install_python(package)
            {
                eprintln!("bench: {package} cannot be had: {error:#}");
            }
        }
        self.install_of_releases(&missing);
        Ok(())
    }

    fn install_python(&self, package: &str) -> Result<()> {
        let dir = self.got.join("python");
        eprintln!("bench: fetching {package} into {}, once", dir.display());
        let dir = dir.to_str().context("a path that is no text")?;
        run(&["python3", "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--target", dir, package]).map(drop)
    }

    fn install_of_releases(&self, missing: &[Needed]) {
        let mut releases: BTreeMap<&'static str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        for needed in missing {
            if let Source::Release(release, package) = needed.source {
                releases.entry(release).or_default().entry(package).or_default().insert(needed.program);
            }
        }
        for (release, packages) in releases {
            let suite = Suite::below(&self.got, release);
            if let Err(error) = suite.update() {
                eprintln!("bench: nothing of Debian {release} can be had: {error:#}");
                continue;
            }
            for (package, programs) in packages {
                if let Err(error) = suite.install(package, &programs) {
                    eprintln!("bench: {package} of Debian {release} cannot be had: {error:#}");
                }
            }
        }
    }

    fn install_crate(&self, name: &str) -> Result<()> {
        eprintln!("bench: building {name} into {}; this takes a few minutes, once", self.got.display());
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", "--root"]).arg(&self.got).arg(name);
        cargo.env("CARGO_TARGET_DIR", self.got.join("build")).stdin(Stdio::null());
        let status = cargo.status().context("cargo cannot be started")?;
        if !status.success() {
            bail!("`cargo install {name}` ended with {status}");
        }
        // Gigabytes that nobody needs again.
        let build = self.got.join("build");
        fs::remove_dir_all(&build).with_context(|| format!("remove {}", build.display()))
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
        let error = tools.path(Needed { program: "sh", source: Source::Release("nowhere", "dash") }).unwrap_err();
        assert!(error.to_string().contains("of Debian nowhere"), "this machine's own is another one: {error}");
    }
}
