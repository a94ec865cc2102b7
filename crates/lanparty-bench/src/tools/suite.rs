//! Programs of another Debian release than this machine's: fetched and checked by apt, unpacked beside the bench, and run with the
//! libraries of that release. Nothing of it is installed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lanparty_lab::{run, run_any};

/// Debian signs all of its releases with keys of this file, the newer ones' among them.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where what experimental packages depend on is.
const UNSTABLE: &str = "sid";
/// Directories of a package that programs are in.
const PROGRAM_DIRS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// A release in a directory of its own.
#[derive(Debug, Clone)]
pub(super) struct Suite {
    name: &'static str,
    dir: PathBuf,
}

impl Suite {
    pub(super) fn below(tools: &Path, name: &'static str) -> Self {
        Self { name, dir: tools.join(format!("debian-{name}")) }
    }

    /// Where a program of it is started.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Asks the archive what it has, before [`Suite::install`].
    pub(super) fn update(&self) -> Result<()> {
        eprintln!("bench: asking for what Debian {} has", self.name);
        self.set_up()?;
        self.apt(&["update", "-q"])
    }

    /// Fetches a package and what it depends on, and makes these programs of it ready to be started.
    pub(super) fn install(&self, package: &str, programs: &BTreeSet<&str>) -> Result<()> {
        eprintln!("bench: fetching {package} of Debian {} into {}, once", self.name, self.dir.display());
        let package = format!("{package}/{}", self.name);
        self.apt(&["install", "-q", "-y", "--download-only", "--no-install-recommends", &package])?;
        let root = self.dir.join("root");
        for archive in
            files_of(&self.dir.join("cache/archives"))?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "deb"))
        {
            run(&["dpkg-deb".as_ref(), "-x".as_ref(), archive.as_os_str(), root.as_os_str()])?;
            fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))?;
        }
        programs.iter().try_for_each(|program| self.start_with_own_libraries(&root, program))
    }

    /// The directories that apt keeps its state in, and no word of what this machine has installed.
    fn set_up(&self) -> Result<()> {
        for dir in ["lists/partial", "cache/archives/partial", "root", "bin"] {
            let dir = self.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        }
        let archive = archive()?;
        let releases = BTreeSet::from([self.name, if self.name == "experimental" { UNSTABLE } else { self.name }]);
        let sources: String = releases.iter().map(|release| format!("deb [signed-by={KEYS}] {archive} {release} main\n")).collect();
        for (name, text) in [("sources.list", sources.as_str()), ("status", "")] {
            let path = self.dir.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    fn apt(&self, words: &[&str]) -> Result<()> {
        let dir = self.dir.display();
        let places = [
            format!("Dir::State={dir}"),
            format!("Dir::State::lists={dir}/lists"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            format!("Dir::Etc::SourceList={dir}/sources.list"),
            "Dir::Etc::SourceParts=-".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // The sandbox's user may not be able to write here.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = places.iter().flat_map(|place| ["-o", place]);
        run(&["apt-get"].into_iter().chain(options).chain(words.iter().copied()).collect::<Vec<_>>()).map(drop)
    }

    /// A script, because a program finds the libraries of this machine by itself.
    fn start_with_own_libraries(&self, root: &Path, program: &str) -> Result<()> {
        let found = PROGRAM_DIRS.map(|dir| root.join(dir).join(program)).into_iter().find(|path| path.is_file());
        let found = found.with_context(|| format!("Debian {} brings no {program}", self.name))?;
        let (libraries, loader) = loader(root)?;
        let start = format!("exec {} --library-path {} {} \"$@\"", loader.display(), libraries.display(), found.display());
        let script = self.program(program);
        fs::write(&script, format!("#!/bin/sh\n{start}\n")).with_context(|| format!("write {}", script.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).with_context(|| format!("make {} a program", script.display()))
    }
}

/// Where the C library is, and the program that loads others with it.
fn loader(root: &Path) -> Result<(PathBuf, PathBuf)> {
    let dirs = files_of(&root.join("usr/lib"))?;
    let libraries = dirs.into_iter().find(|dir| dir.join("libc.so.6").is_file()).context("the packages came without a C library")?;
    let is_loader = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux"));
    let loader = files_of(&libraries)?.into_iter().find(is_loader).context("the C library came without its loader")?;
    Ok((libraries, loader))
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The archive that this machine's own packages come from.
fn archive() -> Result<String> {
    let targets = run_any(&["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT) $(RELEASE)", "Created-By: Packages"])?;
    let uri = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [uri, "main", release] if !release.contains('-') => Some(uri.to_owned()),
        _ => None,
    };
    match targets.stdout.lines().find_map(uri) {
        Some(uri) if Path::new(KEYS).is_file() => Ok(uri),
        _ => bail!("apt knows no archive of Debian here, or not its keys"),
    }
}
