//! What was changed on this machine, written down before it is changed: so that a crash, too, leaves nothing behind.
//!
//! A change is written with what was there before, then made. Taking back goes the other way round: first the machine, then the note.
//! So a note may stand for a change that was never made, and taking it back must do no harm: each says how to tell.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use lanparty_node::StateFile;
use lanparty_proto::MacAddr;
use serde::{Deserialize, Serialize};

use crate::net_cfg::{Category, Hop, IpSettings, NetCfg};

const FORMAT: u32 = 1;
/// A journal never comes near it: one note per kind of change, one per address of the relay, and two for each of 64 routes through members.
const NOTES_MAX: usize = 256;

/// One change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// The MAC address that the driver takes.
    NetworkAddress {
        /// The adapter's key.
        class_key: String,
        /// What was there.
        before: Option<String>,
        /// What is there now.
        after: String,
    },
    /// A route for the relay alone.
    Route {
        /// The relay.
        remote: IpAddr,
        /// The way.
        hop: Hop,
    },
    /// A route through a member.
    MemberRoute {
        /// Where to.
        network: IpNet,
        /// The way, by the TAP.
        hop: Hop,
        /// The member.
        mac: MacAddr,
    },
    /// MTU, metric and default routes of the TAP.
    IpSettings {
        /// The adapter.
        adapter: String,
        /// The address family.
        is_ipv6: bool,
        /// What was there.
        before: IpSettings,
    },
    /// How far the LAN is trusted.
    Category {
        /// The network's profile.
        profile: String,
        /// What was there.
        before: Category,
        /// What is there now.
        after: Category,
    },
    /// A rule of the firewall.
    FirewallRule {
        /// Its name, which is ours alone.
        rule: String,
    },
}

impl Change {
    /// Whether taking it back takes seconds: what is quick goes first, as Windows gives a program that is closed five of them.
    const fn is_slow(&self) -> bool {
        matches!(self, Self::FirewallRule { .. })
    }

    /// Takes it back. What somebody else has changed since stays as it is.
    fn undo(&self, net: &mut impl NetCfg) -> io::Result<()> {
        match self {
            Self::NetworkAddress { class_key, before, after } => {
                if net.network_address(class_key)?.as_ref() != Some(after) {
                    return Ok(());
                }
                net.set_network_address(class_key, before.as_deref())
            }
            Self::Route { remote, hop } => net.remove_host_route(*remote, *hop),
            Self::MemberRoute { network, hop, .. } => net.remove_member_route(*network, *hop),
            Self::IpSettings { adapter, is_ipv6, before } => match net.ip_settings(adapter, *is_ipv6) {
                Ok(Some(now)) if now != *before => net.set_ip_settings(adapter, *is_ipv6, *before),
                Ok(_) => Ok(()),
                // An adapter that was removed took its settings with it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(e),
            },
            Self::Category { profile, before, after } => {
                if net.noted_category(profile)? != Some(*after) {
                    return Ok(());
                }
                net.note_category(profile, *before)
            }
            Self::FirewallRule { rule } => net.remove_firewall_rule(rule),
        }
    }
}

/// Where the notes are kept.
pub trait Store {
    /// What is there; nothing when nothing is.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Replaces it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    fn save(&mut self, content: Vec<u8>) -> io::Result<()>;

    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn clear(&mut self) -> io::Result<()>;
}

/// A file of the state directory.
pub struct FileStore(pub PathBuf);

impl Store for FileStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        StateFile::read(&self.0).map_err(io::Error::other)
    }

    fn save(&mut self, content: Vec<u8>) -> io::Result<()> {
        match StateFile::save(self.0.clone(), content).unsaved() {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why.to_owned())),
        }
    }

    fn clear(&mut self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Notes {
    format: u32,
    changes: Vec<Change>,
}

struct Book {
    store: Box<dyn Store + Send>,
    changes: Vec<Change>,
}

impl Book {
    fn write(&mut self) -> io::Result<()> {
        if self.changes.is_empty() {
            return self.store.clear();
        }
        let notes = Notes { format: FORMAT, changes: self.changes.clone() };
        self.store.save(serde_json::to_vec_pretty(&notes).map_err(io::Error::other)?)
    }
}

/// The journal, shared by those that change something.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<Book>>);

impl Journal {
    /// Reads what an earlier run has left.
    ///
    /// # Errors
    /// When it cannot be read, or is no journal of this version.
    pub fn open(store: Box<dyn Store + Send>) -> io::Result<Self> {
        let changes = match store.load()? {
            None => vec![],
            Some(content) => {
                let notes: Notes = serde_json::from_slice(&content).map_err(io::Error::other)?;
                if notes.format != FORMAT {
                    return Err(io::Error::other(format!("format {} of another version; this one reads {FORMAT}", notes.format)));
                }
                notes.changes
            }
        };
        Ok(Self(Arc::new(Mutex::new(Book { store, changes }))))
    }

    /// The changes that stand, in the order in which they were made.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.book().changes.clone()
    }

    /// Writes `change` down, then makes it. What failed half-way is taken back.
    ///
    /// # Errors
    /// When it cannot be written down, and then nothing is changed; or what `make` said.
    pub fn change<N: NetCfg, T>(&self, change: &Change, net: &mut N, make: impl FnOnce(&mut N) -> io::Result<T>) -> io::Result<T> {
        self.note(change.clone())?;
        let made = make(net);
        if made.is_err() {
            // What cannot be taken back now stays noted, and is tried again at the end.
            let _ = self.undo(change, net);
        }
        made
    }

    /// Writes `change` down.
    fn note(&self, change: Change) -> io::Result<()> {
        let mut book = self.book();
        if book.changes.len() >= NOTES_MAX {
            return Err(io::Error::other("the journal is full"));
        }
        book.changes.push(change);
        book.write().inspect_err(|_| drop(book.changes.pop()))
    }

    /// Strikes the last note of `change`.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn strike(&self, change: &Change) -> io::Result<()> {
        let mut book = self.book();
        if let Some(at) = book.changes.iter().rposition(|noted| noted == change) {
            book.changes.remove(at);
        }
        book.write()
    }

    /// Takes back one change, if it stands.
    ///
    /// # Errors
    /// What the machine said; the note stays.
    pub fn undo(&self, change: &Change, net: &mut impl NetCfg) -> io::Result<()> {
        change.undo(net)?;
        self.strike(change)
    }

    /// Takes back everything, the quick before the slow and of both the last first. What cannot be taken back stays noted, and is told.
    pub fn undo_all(&self, net: &mut impl NetCfg) -> Vec<(Change, io::Error)> {
        let (slow, quick): (Vec<_>, Vec<_>) = self.changes().into_iter().partition(Change::is_slow);
        let all = quick.into_iter().rev().chain(slow.into_iter().rev());
        all.filter_map(|change| self.undo(&change, net).err().map(|error| (change, error))).collect()
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod memory {
    use super::*;

    /// Notes that outlive a program that crashes, and a disk that may refuse.
    #[derive(Clone, Default)]
    pub(crate) struct MemoryStore(pub(crate) Arc<Mutex<MemoryDisk>>);

    #[derive(Default)]
    pub(crate) struct MemoryDisk {
        pub(crate) content: Option<Vec<u8>>,
        pub(crate) is_full: bool,
        /// The program has crashed: what it still does in this test reaches nothing.
        pub(crate) is_dead: bool,
    }

    impl Store for MemoryStore {
        fn load(&self) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().content.clone())
        }

        fn save(&mut self, content: Vec<u8>) -> io::Result<()> {
            let mut disk = self.0.lock().unwrap();
            if disk.is_dead {
                return Ok(());
            }
            if disk.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.content = Some(content);
            Ok(())
        }

        fn clear(&mut self) -> io::Result<()> {
            let mut disk = self.0.lock().unwrap();
            if !disk.is_dead {
                disk.content = None;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::memory::MemoryStore;
    use super::*;
    use crate::net_cfg::Model;

    fn address(after: &str) -> Change {
        Change::NetworkAddress { class_key: "0007".into(), before: None, after: after.into() }
    }

    #[test]
    fn a_change_is_written_before_it_is_made_and_struck_when_it_was_not() {
        let store = MemoryStore::default();
        let journal = Journal::open(Box::new(store.clone())).unwrap();
        let mut net = Model::default();
        let seen = journal.change(&address("A"), &mut net, |_| Ok(store.load().unwrap().is_some()));
        assert!(seen.unwrap(), "on disk when it was made");
        journal.change(&address("B"), &mut net, |_| Err::<(), _>(io::ErrorKind::PermissionDenied.into())).unwrap_err();
        assert_eq!(Journal::open(Box::new(store)).unwrap().changes(), [address("A")]);
    }

    #[test]
    fn what_cannot_be_written_down_is_not_done() {
        let store = MemoryStore::default();
        store.0.lock().unwrap().is_full = true;
        let journal = Journal::open(Box::new(store)).unwrap();
        let mut done = false;
        let made = journal.change(&address("A"), &mut Model::default(), |_| {
            done = true;
            Ok(())
        });
        assert!(made.is_err() && !done && journal.changes().is_empty());
    }

    #[test]
    fn what_somebody_else_has_set_meanwhile_stays() {
        let mut net = Model::default();
        net.set_network_address("0007", Some("SOMEBODY ELSE'S")).unwrap();
        address("OURS").undo(&mut net).unwrap();
        assert_eq!(net.network_address("0007").unwrap().as_deref(), Some("SOMEBODY ELSE'S"));
    }

    #[test]
    fn a_damaged_journal_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.json");
        for content in ["", "{", r#"{"format":9,"changes":[]}"#, r#"{"format":1,"changes":[{"change":"unheard-of"}]}"#] {
            std::fs::write(&path, content).unwrap();
            assert!(Journal::open(Box::new(FileStore(path.clone()))).is_err(), "{content}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_file_holds_the_notes_until_the_last_is_struck() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.json");
        let journal = Journal::open(Box::new(FileStore(path.clone()))).unwrap();
        journal.change(&address("A"), &mut Model::default(), |_| Ok(())).unwrap();
        assert_eq!(Journal::open(Box::new(FileStore(path.clone()))).unwrap().changes(), [address("A")]);
        assert!(journal.undo_all(&mut Model::default()).is_empty());
        assert!(!path.exists());
    }
}
