//! State on disk: written whole or not at all, never silently replaced when corrupt, and retried when the disk is full.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{ExitCode, Fault};

/// What is wrong with a state file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content makes no sense. It is left as it is.
    #[error("{path} is damaged: {detail}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was expected.
        detail: String,
    },
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        let (code, advice) = match &error {
            StateError::Read { .. } => (ExitCode::Permission, "run with the permissions that the file asks for, or name another one"),
            StateError::Write { .. } => (ExitCode::Permission, "free some space, or choose another --state-dir"),
            StateError::Corrupt { .. } => (ExitCode::Configuration, "restore it from a copy, or move it away to start anew"),
        };
        Self::new(code, error.to_string(), advice)
    }
}

/// The directory that keeps state between runs.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// `given`, or `LANPARTY_STATE_DIR`, or the platform's place: `/var/lib/lanparty` for root, else
    /// `$XDG_STATE_HOME/lanparty` (`~/.local/state/lanparty`); on Windows `%LOCALAPPDATA%\lanparty`.
    #[must_use]
    pub fn locate(given: Option<PathBuf>) -> Self {
        let from_env = || std::env::var_os("LANPARTY_STATE_DIR").map(PathBuf::from);
        Self(given.or_else(from_env).unwrap_or_else(platform_state_dir))
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The user's own, which other users cannot read.
#[cfg(windows)]
fn platform_state_dir() -> PathBuf {
    std::env::var_os("LOCALAPPDATA").map_or_else(std::env::temp_dir, PathBuf::from).join("lanparty")
}

#[cfg(not(windows))]
fn platform_state_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    if is_root() {
        return "/var/lib/lanparty".into();
    }
    let xdg = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    xdg.or_else(|| home.map(|h| h.join(".local/state"))).unwrap_or_else(std::env::temp_dir).join("lanparty")
}

const SYSTEM_RUNTIME_DIR: &str = "/run/lanparty";
const RELAY_RUNTIME_DIR: &str = "/run/lanparty-relay";

/// Where sockets of running programs live: `LANPARTY_RUNTIME_DIR`, `/run/lanparty` for root, else
/// `$XDG_RUNTIME_DIR/lanparty`; on Windows `%LOCALAPPDATA%\lanparty\run`.
#[must_use]
pub fn runtime_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("LANPARTY_RUNTIME_DIR") {
        return dir.into();
    }
    if cfg!(windows) {
        return platform_state_dir().join("run");
    }
    if is_root() {
        return SYSTEM_RUNTIME_DIR.into();
    }
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from).join("lanparty")
}

/// Where those of the system live besides: a user may be in a group that may look, and a relay of its own user has its own directory
/// (`lanparty-relay.service`).
pub(crate) fn system_runtime_dirs() -> Vec<PathBuf> {
    if !cfg!(unix) || std::env::var_os("LANPARTY_RUNTIME_DIR").is_some() {
        return vec![];
    }
    let shared = (!is_root()).then_some(SYSTEM_RUNTIME_DIR);
    shared.into_iter().chain([RELAY_RUNTIME_DIR]).map(PathBuf::from).collect()
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// A file whose content lives in memory too, so that a full disk stops nothing: it is written when there is space.
pub struct StateFile {
    path: PathBuf,
    content: Vec<u8>,
    unsaved: Option<String>,
}

impl StateFile {
    /// Reads `path`, or `None` when there is no such file.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Read { path: path.to_owned(), source }),
        }
    }

    /// Takes `content` for `path` and tries to save it.
    #[must_use]
    pub fn save(path: PathBuf, content: Vec<u8>) -> Self {
        let mut file = Self { path, content, unsaved: Some(String::new()) };
        file.retry();
        file
    }

    /// Content that is already on disk.
    #[must_use]
    pub const fn saved(path: PathBuf, content: Vec<u8>) -> Self {
        Self { path, content, unsaved: None }
    }

    /// Tries again to save what a full disk kept from being saved. Returns whether this changed anything.
    pub fn retry(&mut self) -> bool {
        if self.unsaved.is_none() {
            return false;
        }
        match write_atomically(&self.path, &self.content) {
            Ok(()) => {
                self.unsaved = None;
                true
            }
            Err(e) => {
                let first = self.unsaved.as_ref().is_some_and(String::is_empty);
                self.unsaved = Some(e.to_string());
                first
            }
        }
    }

    /// Why the content is not on disk, when it is not.
    #[must_use]
    pub fn unsaved(&self) -> Option<&str> {
        self.unsaved.as_deref()
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

/// Temporary file, fsync, rename, fsync of the directory: after a crash the file is the old one or the new one.
fn write_atomically(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let failed = |source| StateError::Write { path: path.to_owned(), source };
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(failed)?;
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let written = (|| {
        let mut file = create_private(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(dir)
    })();
    written.inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(failed)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// NTFS keeps its directories in a journal, and gives none to flush.
#[cfg(not(unix))]
const fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_survives_and_no_temporary_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/state.json");
        assert!(StateFile::read(&path).unwrap().is_none());
        assert!(StateFile::save(path.clone(), b"one".to_vec()).unsaved().is_none());
        assert!(StateFile::save(path.clone(), b"two".to_vec()).unsaved().is_none());
        assert_eq!(StateFile::read(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_saved_is_kept_and_saved_later() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("blocked");
        fs::write(&blocked, b"a file where a directory should be").unwrap();
        let mut file = StateFile::save(blocked.join("state.json"), b"content".to_vec());
        assert!(file.unsaved().unwrap().contains("cannot write"));
        assert!(!file.retry(), "nothing new to say");
        fs::remove_file(&blocked).unwrap();
        assert!(file.retry() && file.unsaved().is_none());
        assert_eq!(StateFile::read(&blocked.join("state.json")).unwrap().unwrap(), b"content");
    }
}
