//! Who has which address, on disk: written before anybody hears of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanparty_core::Leases;
use lanparty_node::{StateDir, StateError, StateFile};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

const FILE: &str = "lanparty-relay-addresses.json";
const FORMAT: u32 = 1;
/// Time between two writes, so that a crowd at the door does not keep the disk busy. What a crash loses of it, the members know.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    leases: Leases,
}

/// The file.
pub(crate) struct AddressFile {
    path: PathBuf,
    /// What was written last.
    file: Option<StateFile>,
    written: Option<Instant>,
}

impl AddressFile {
    /// What the last run left.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged: it is never replaced silently, or somebody would get another one's address.
    pub(crate) fn load(dir: &StateDir) -> Result<(Leases, Self), StateError> {
        let path = dir.file(FILE);
        let leases = match StateFile::read(&path)? {
            Some(content) => parse(&content).map_err(|detail| StateError::Corrupt { path: path.clone(), detail })?,
            None => Leases::default(),
        };
        Ok((leases, Self { path, file: None, written: None }))
    }

    /// Whether it may be written again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.written.is_none_or(|at| now.saturating_duration_since(at) >= WRITE_INTERVAL)
    }

    /// Writes it; what a full disk keeps back is tried again by [`Self::retry`].
    pub(crate) fn write(&mut self, leases: &Leases, now: Instant) {
        let stored = Stored { format: FORMAT, leases: leases.clone() };
        let content = serde_json::to_vec(&stored).expect("INVARIANT: leases have a JSON form");
        let file = StateFile::save(self.path.clone(), content);
        if let Some(why) = file.unsaved() {
            warn!("members' addresses are not saved, so after a restart they depend on what members say; trying again: {why}");
        }
        (self.file, self.written) = (Some(file), Some(now));
    }

    /// Tries again to save what a full disk kept back.
    pub(crate) fn retry(&mut self) {
        if let Some(file) = &mut self.file
            && file.retry()
            && file.unsaved().is_none()
        {
            info!("members' addresses are saved now");
        }
    }
}

fn parse(content: &[u8]) -> Result<Leases, String> {
    let stored: Stored = serde_json::from_slice(content).map_err(|e| format!("not a relay's addresses: {e}"))?;
    if stored.format != FORMAT {
        return Err(format!("format {} of another lanparty version; this one reads {FORMAT}", stored.format));
    }
    stored.leases.check()?;
    Ok(stored.leases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_and_damaged_ones_are_an_error_and_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let dir = StateDir::locate(Some(dir.path().to_owned()));
        let (leases, mut file) = AddressFile::load(&dir).unwrap();
        let now = Instant::now();
        assert!(leases == Leases::default() && file.is_due(now));
        file.write(&leases, now);
        assert!(!file.is_due(now) && file.is_due(now + WRITE_INTERVAL));
        assert_eq!(AddressFile::load(&dir).unwrap().0, leases);
        let member = "5a".repeat(32);
        let outside = format!(r#"{{"format":1,"rooms":{{"R":{{"network":"10.9.0.0/24","members":{{"{member}":"10.8.0.1"}}}}}}}}"#);
        for damaged in ["", "{", r#"{"format":2,"rooms":{}}"#, &outside] {
            std::fs::write(dir.file(FILE), damaged).unwrap();
            assert!(matches!(AddressFile::load(&dir), Err(StateError::Corrupt { .. })), "{damaged}");
            assert_eq!(std::fs::read_to_string(dir.file(FILE)).unwrap(), damaged);
        }
    }
}
