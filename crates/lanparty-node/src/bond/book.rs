//! What every uplink has carried this month, kept in the state directory: for caps, and for `lanparty status`.
//!
//! Programs on one machine share the file: each adds what it has counted itself, so that a line's count is the sum of theirs. A damaged
//! file is left as it is; until it is gone the count goes on in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lanparty_core::MonthlyUse;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{StateDir, StateError, StateFile};

const FILE: &str = "lanparty-uplinks.json";
const FORMAT: u32 = 1;
/// Interfaces that are remembered. A machine has a few; one that makes names without end fills no disk.
const LINES_MAX: usize = 256;

type Uses = BTreeMap<String, MonthlyUse>;

#[derive(Serialize, Deserialize)]
struct BookFile {
    format: u32,
    uplinks: Uses,
}

/// Counts bytes by uplink and month.
#[derive(Debug)]
pub struct UseBook {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything that is known, what is not saved yet in it.
    known: Uses,
    /// What was counted here and is not on the disk.
    owed: Uses,
    /// Why it is not, when it could not be written.
    trouble: Option<String>,
}

impl UseBook {
    /// Reads what was counted before.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged: it is never replaced silently.
    pub fn open(dir: &StateDir) -> Result<Self, StateError> {
        let path = dir.file(FILE);
        let known = read(&path)?;
        Ok(Self { path, state: Mutex::new(State { known, ..State::default() }) })
    }

    /// Counts bytes that a line carried now.
    pub fn count(&self, line: &str, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let (mut state, now) = (self.state(), unix_now());
        let State { known, owed, .. } = &mut *state;
        for uses in [known, owed] {
            if uses.len() < LINES_MAX || uses.contains_key(line) {
                uses.entry(line.to_owned()).or_default().count(bytes, now);
            }
        }
    }

    /// Bytes that a line has carried this month.
    #[must_use]
    pub fn used(&self, line: &str) -> u64 {
        self.state().known.get(line).map_or(0, |line| line.used(unix_now()))
    }

    /// Bytes that are not on the disk yet.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.state().owed.values().map(MonthlyUse::total).sum()
    }

    /// Writes down what is not on the disk; it waits for the disk.
    pub fn save(&self) {
        let owed = std::mem::take(&mut self.state().owed);
        if owed.is_empty() {
            return;
        }
        let saved = self.add_to_file(&owed);
        let mut state = self.state();
        match saved {
            Ok(on_disk) => {
                if state.trouble.take().is_some() {
                    info!("what the uplinks have carried is saved again");
                }
                let mut known = on_disk;
                add(&mut known, &state.owed);
                state.known = known;
            }
            Err(why) => {
                add(&mut state.owed, &owed);
                if state.trouble.replace(why.clone()).is_none() {
                    warn!("what the uplinks carry is counted and not saved: {why}");
                }
            }
        }
    }

    fn add_to_file(&self, owed: &Uses) -> Result<Uses, String> {
        let _alone = lock(&self.path).map_err(|e| format!("{}: {e}", self.path.display()))?;
        let mut uplinks = read(&self.path).map_err(|e| e.to_string())?;
        add(&mut uplinks, owed);
        let book = BookFile { format: FORMAT, uplinks };
        let content = serde_json::to_vec_pretty(&book).map_err(|e| e.to_string())?;
        match StateFile::save(self.path.clone(), content).unsaved() {
            Some(why) => Err(why.to_owned()),
            None => Ok(book.uplinks),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For as long as it lives no other program changes the file.
fn lock(path: &Path) -> io::Result<std::fs::File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

fn read(path: &Path) -> Result<Uses, StateError> {
    let Some(content) = StateFile::read(path)? else { return Ok(Uses::new()) };
    let corrupt = |detail: String| StateError::Corrupt { path: path.to_owned(), detail };
    let book: BookFile = serde_json::from_slice(&content).map_err(|e| corrupt(format!("no count of uplinks: {e}")))?;
    let is_ours = book.format == FORMAT;
    is_ours.then_some(book.uplinks).ok_or_else(|| corrupt(format!("format {} of another lanparty version", book.format)))
}

fn add(uses: &mut Uses, others: &Uses) {
    for (line, other) in others {
        uses.entry(line.clone()).or_default().add(other);
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::locate(Some(dir.path().to_owned()));
        (dir, state)
    }

    #[test]
    fn a_fresh_process_knows_the_old_count_and_two_at_once_add_up() {
        let (_dir, state) = dir();
        let (one, other) = (UseBook::open(&state).unwrap(), UseBook::open(&state).unwrap());
        one.count("lte0", 100);
        other.count("lte0", 20);
        other.count("dsl0", 3);
        assert_eq!((one.used("lte0"), one.owed(), other.owed()), (100, 100, 23));
        one.save();
        other.save();
        other.save();
        assert_eq!((other.used("lte0"), other.owed()), (120, 0), "what another program counted is in it");
        let fresh = UseBook::open(&state).unwrap();
        assert_eq!((fresh.used("lte0"), fresh.used("dsl0"), fresh.used("none")), (120, 3, 0));
    }

    #[test]
    fn a_damaged_file_is_left_as_it_is() {
        let (dir, state) = dir();
        let book = UseBook::open(&state).unwrap();
        let path = dir.path().join(FILE);
        for damage in ["", "{", r#"{"format":2,"uplinks":{}}"#, r#"{"format":1,"uplinks":{"x":{"months":{"never":1}}}}"#] {
            std::fs::write(&path, damage).unwrap();
            assert!(matches!(UseBook::open(&state), Err(StateError::Corrupt { .. })), "{damage}");
            book.count("lte0", 5);
            book.save();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damage);
        }
        assert_eq!((book.used("lte0"), book.owed()), (20, 20), "it goes on in memory");
        std::fs::remove_file(&path).unwrap();
        book.save();
        assert_eq!((book.owed(), UseBook::open(&state).unwrap().used("lte0")), (0, 20));
    }

    #[test]
    fn names_without_end_are_not_kept() {
        let (_dir, state) = dir();
        let book = UseBook::open(&state).unwrap();
        (0..1000).for_each(|n| book.count(&format!("ppp{n}"), 1));
        assert_eq!((book.owed(), book.used("ppp0"), book.used("ppp999")), (LINES_MAX as u64, 1, 0));
    }
}
