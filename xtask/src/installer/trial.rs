//! The installer is tried before it is handed out: under Wine, in a Windows of its own, it installs, and its uninstaller leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::step;
use crate::report::say;
use crate::windows;

/// What it installs, below `drive_c`.
const PLACE: &str = "Program Files/lanparty";
const FILES: [&str; 4] = ["LICENSE-APACHE.txt", "LICENSE-MIT.txt", "lanparty-client-win.exe", "uninstall.exe"];
/// Where it writes in the registry: the list of programs, and services with their event sources.
const KEYS: [&str; 2] = [r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall", r"HKLM\System\CurrentControlSet\Services"];
/// An address for documentation (RFC 5737): the service is installed, and not started.
const SERVICE: &str = "--relay 192.0.2.1:8443 --room ROOM1";
/// The uninstaller goes on from a copy of itself, after the program that was called has ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// Installs and removes `setup`, with and without the service.
pub(super) fn run(setup: &Path, package: &Path) -> Result<()> {
    let trial = Trial::boot(package.join("trial"))?;
    let outcome = trial.install_and_remove(setup, None).and_then(|()| trial.install_and_remove(setup, Some(SERVICE)));
    step(trial.wine("wine-stop")?.stderr(Stdio::null()))?;
    outcome?;
    fs::remove_dir_all(&trial.prefix)?;
    say("    the installer was tried: it installs, and its uninstaller leaves nothing behind");
    Ok(())
}

/// A Windows that nobody else has.
struct Trial {
    prefix: PathBuf,
}

/// What an installer may change.
#[derive(PartialEq, Eq)]
struct Snapshot {
    files: BTreeSet<PathBuf>,
    keys: BTreeSet<String>,
}

impl Trial {
    fn boot(prefix: PathBuf) -> Result<Self> {
        if prefix.exists() {
            fs::remove_dir_all(&prefix)?;
        }
        step(Command::new("cp").arg("-a").arg(windows::cache_dir()?.join("wineprefix")).arg(&prefix))?;
        let trial = Self { prefix };
        step(&mut trial.wine("wine-warm")?)?;
        Ok(trial)
    }

    /// One of the set-up's ways into Wine.
    fn wine(&self, way: &str) -> Result<Command> {
        let mut command = Command::new(windows::cache_dir()?.join(way));
        command.env("WINEPREFIX", &self.prefix).stdin(Stdio::null());
        Ok(command)
    }

    fn drive(&self) -> PathBuf {
        self.prefix.join("drive_c")
    }

    fn install_and_remove(&self, setup: &Path, service: Option<&str>) -> Result<()> {
        let before = self.snapshot()?;
        // From a file, as a shell of Windows has other quotes than ours.
        let option = service.map(|words| format!(" /SERVICE=\"{words}\"")).unwrap_or_default();
        self.shell(&format!("Z:{} /S{option}", setup.display()).replacen('/', r"\", setup.components().count() - 1))?;
        for file in FILES {
            ensure!(self.drive().join(PLACE).join(file).is_file(), "the installer has not installed {file}");
        }
        let installed = self.snapshot()?;
        ensure!(has(&installed, r"\Uninstall\lanparty-client-win"), "Windows' list of programs does not have it");
        ensure!(has(&installed, r"\Services\lanparty-client") == service.is_some(), "the service is there if it was asked for");
        ensure!(has(&installed, r"\EventLog\Application\lanparty-client") == service.is_some(), "and so is its event source");
        self.shell(r#""C:\Program Files\lanparty\lanparty-client-win.exe" --version"#)?;
        self.shell(r#""C:\Program Files\lanparty\uninstall.exe" /S"#)?;
        self.await_the_same(&before)
    }

    fn await_the_same(&self, before: &Snapshot) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.snapshot()?;
            if now == *before {
                return Ok(());
            }
            if Instant::now() > deadline {
                let files: Vec<_> = now.files.symmetric_difference(&before.files).collect();
                let keys: Vec<_> = now.keys.symmetric_difference(&before.keys).collect();
                bail!("the uninstaller has left something, or taken too much: {files:?} {keys:?}");
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Runs one line in a shell of Windows.
    fn shell(&self, line: &str) -> Result<()> {
        let script = self.drive().join("trial.bat");
        fs::write(&script, format!("@{line}\r\n"))?;
        let outcome = step(self.wine("wine-run")?.args(["cmd", "/c", r"C:\trial.bat"]));
        fs::remove_file(script)?;
        outcome
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut files = BTreeSet::new();
        list(&self.drive(), &mut files)?;
        let mut keys = BTreeSet::new();
        for key in KEYS {
            let query = self.wine("wine-run")?.args(["reg", "query", key, "/s"]).output().context("wine-run reg")?;
            let text = String::from_utf8_lossy(&query.stdout).into_owned();
            keys.extend(text.lines().filter(|line| line.starts_with("HKEY_")).map(|line| line.trim_end().to_owned()));
        }
        Ok(Snapshot { files, keys })
    }
}

/// Windows takes capital letters in names for small ones.
fn has(snapshot: &Snapshot, end: &str) -> bool {
    snapshot.keys.iter().any(|key| key.to_ascii_lowercase().ends_with(&end.to_ascii_lowercase()))
}

/// Everything below `dir` but what is temporary.
fn list(dir: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type()))?;
        let is_temporary = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("temp"));
        if kind?.is_dir() && !is_temporary {
            list(&path, found)?;
        }
        found.insert(path);
    }
    Ok(())
}
