//! The uplinks that a bond's owner wants, and why one of them is no path.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use lanparty_proto::BondRole;

use super::{AbsentUplink, Shared};

/// What its owner said of an uplink, and why the newest try of its keeper failed.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The interface.
    pub(crate) name: String,
    /// What it is for; nothing for never.
    pub(crate) role: Option<BondRole>,
    /// Bytes that it may carry in a month.
    pub(crate) cap: Option<u64>,
    /// Why there is no path.
    pub(crate) trouble: Option<String>,
}

/// The uplinks of a bond's owner, by the number of their path. The other side knows of none.
#[derive(Default)]
pub(super) struct WantedUplinks(Mutex<BTreeMap<u8, Wanted>>);

impl WantedUplinks {
    /// Names the uplinks.
    pub(super) fn set(&self, uplinks: BTreeMap<u8, Wanted>) {
        *self.lock() = uplinks;
    }

    /// One more.
    pub(super) fn add(&self, path: u8, uplink: Wanted) {
        self.lock().insert(path, uplink);
    }

    /// One less.
    pub(super) fn remove(&self, path: u8) {
        self.lock().remove(&path);
    }

    /// Keeps why an uplink is no path.
    pub(super) fn fails(&self, path: u8, why: String) {
        if let Some(wanted) = self.lock().get_mut(&path) {
            wanted.trouble = Some(why);
        }
    }

    /// An uplink is a path.
    pub(super) fn works(&self, path: u8) {
        if let Some(wanted) = self.lock().get_mut(&path) {
            wanted.trouble = None;
        }
    }

    pub(super) fn all(&self) -> BTreeMap<u8, Wanted> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u8, Wanted>> {
        // Whole after every call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    /// For `lanparty status`.
    pub(super) fn absent(&self) -> AbsentUplink {
        let because = match (self.role, &self.trouble) {
            (None, _) => "its role is never",
            (_, Some(why)) => why,
            (_, None) => "it is being tried",
        };
        AbsentUplink { name: self.name.clone(), role: self.role, because: because.to_owned() }
    }
}

impl Shared {
    /// The uplinks that its owner wants, by the number of their path.
    pub(crate) fn want(&self, uplinks: BTreeMap<u8, Wanted>) {
        self.wanted.set(uplinks);
    }

    /// One more uplink is wanted.
    pub(crate) fn want_also(&self, path: u8, uplink: Wanted) {
        self.wanted.add(path, uplink);
    }

    /// An uplink is not wanted any more.
    pub(crate) fn want_no_more(&self, path: u8) {
        self.wanted.remove(path);
    }

    /// Whether no uplink has this number.
    pub(crate) fn is_number_free(&self, path: u8) -> bool {
        !self.wanted.all().contains_key(&path)
    }

    /// An uplink could not become a path.
    pub(crate) fn path_cannot(&self, path: u8, why: String) {
        self.wanted.fails(path, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, role: Option<BondRole>) -> Wanted {
        Wanted { name: name.to_owned(), role, cap: None, trouble: None }
    }

    #[test]
    fn an_uplink_without_a_path_says_why_it_failed_last() {
        let uplinks = WantedUplinks::default();
        uplinks.set([(0, wanted("dsl0", Some(BondRole::Primary))), (1, wanted("eth9", None))].into());
        let because = || uplinks.all().values().map(|wanted| wanted.absent().because).collect::<Vec<_>>();
        assert_eq!(because(), ["it is being tried", "its role is never"]);
        uplinks.fails(0, "dsl0 has no carrier".into());
        uplinks.fails(7, "nobody named it".into());
        assert_eq!(because(), ["dsl0 has no carrier", "its role is never"]);
        uplinks.works(0);
        assert_eq!(because()[0], "it is being tried");
    }
}
