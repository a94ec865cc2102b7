//! The uplinks that a bond's owner names. They may change while it lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BOND_PATHS_MAX, UplinkPlan, obstacle_of_name};

/// What its owner names, in the order of saying it. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct PlannedUplinks(Arc<Mutex<Vec<UplinkPlan>>>);

/// What an owner wants of an uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkChange {
    /// Use it as well.
    Add(UplinkPlan),
    /// Use it no more.
    Remove(String),
}

impl UplinkChange {
    /// Which uplink.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Add(plan) => &plan.interface,
            Self::Remove(name) => name,
        }
    }

    /// Makes it in what is planned, when several uplinks are, and whether they are found by themselves. `own` is the tunnel's interface.
    pub(crate) fn make(&self, planned: Option<(&PlannedUplinks, bool)>, own: &str) -> Result<(), NotChanged> {
        match (planned, self) {
            (None, _) => {
                let words = "this program uses one way only; start it with --uplink for each line";
                Err(NotChanged::new("no-bond", words))
            }
            (Some((_, true)), _) => {
                let words = "with --bond alone the uplinks are the interfaces with a default route: give this one such a route, or take it \
                             away; or start the program with --uplink for each line, which is what may be changed";
                Err(NotChanged::new("automatic-bond", words))
            }
            (Some((planned, false)), Self::Add(plan)) => planned.add(plan.clone(), own),
            (Some((planned, false)), Self::Remove(name)) => planned.remove(name),
        }
    }
}

/// Why an uplink was not added or removed: a name for it, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotChanged {
    /// For programs.
    pub error: &'static str,
    /// For people.
    pub message: String,
}

impl NotChanged {
    pub(crate) fn new(error: &'static str, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl PlannedUplinks {
    pub(crate) fn new(uplinks: Vec<UplinkPlan>) -> Self {
        Self(Arc::new(Mutex::new(uplinks)))
    }

    /// Those that are named now.
    #[must_use]
    pub fn now(&self) -> Vec<UplinkPlan> {
        self.lock().clone()
    }

    /// Whether this interface may be used.
    pub(crate) fn allow(&self, interface: &str) -> bool {
        self.lock().iter().any(|known| known.interface == interface && known.role.is_some())
    }

    /// One more. `own` is the tunnel's interface.
    ///
    /// # Errors
    /// When that makes no sense; nothing has changed then.
    pub(crate) fn add(&self, plan: UplinkPlan, own: &str) -> Result<(), NotChanged> {
        let name = plan.interface.clone();
        let wrong = |message: String| Err(NotChanged::new("unusable-uplink", message));
        if plan.role.is_none() {
            return wrong(format!("{name} with role=never would never be used"));
        }
        if name == own {
            return wrong(format!("{name} is the tunnel's own interface"));
        }
        if let Some(why) = obstacle_of_name(&name) {
            return wrong(why);
        }
        let mut uplinks = self.lock();
        let refused = |message: String| Err(NotChanged::new("uplink-refused", message));
        if uplinks.iter().any(|known| known.interface == name) {
            return refused(format!("{name} is an uplink already"));
        }
        if uplinks.len() >= BOND_PATHS_MAX {
            return refused(format!("a bond has {BOND_PATHS_MAX} uplinks at most"));
        }
        uplinks.push(plan);
        Ok(())
    }

    /// One less.
    ///
    /// # Errors
    /// When there is none of that name, or no other that may be used; nothing has changed then.
    pub(crate) fn remove(&self, name: &str) -> Result<(), NotChanged> {
        let mut uplinks = self.lock();
        if !uplinks.iter().any(|known| known.interface == name) {
            let names: Vec<_> = uplinks.iter().map(|known| known.interface.as_str()).collect();
            return Err(NotChanged::new("no-such-uplink", format!("{name} is no uplink; there are {}", names.join(", "))));
        }
        if !uplinks.iter().any(|known| known.interface != name && known.role.is_some()) {
            return Err(NotChanged::new("last-uplink", format!("{name} is the only uplink that may be used")));
        }
        uplinks.retain(|known| known.interface != name);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<UplinkPlan>> {
        // Whole after every call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let planned = PlannedUplinks::new(vec![UplinkPlan::plain("dsl0".into()), "lte0,role=never".parse().unwrap()]);
        let before = planned.now();
        let add = |text: &str| planned.add(text.parse().unwrap(), "lan0").unwrap_err().message;
        assert!(add("lan0").contains("the tunnel's own"));
        assert!(add("nosuch0").contains("there is no interface nosuch0"));
        assert!(add("lo,role=never").contains("never be used"));
        assert_eq!(planned.remove("usb0").unwrap_err().message, "usb0 is no uplink; there are dsl0, lte0");
        assert_eq!(planned.remove("dsl0").unwrap_err().error, "last-uplink");
        assert_eq!(planned.now(), before);
    }

    #[cfg(not(windows))]
    #[test]
    fn uplinks_come_and_go() {
        let planned = PlannedUplinks::new(vec![UplinkPlan::plain("dsl0".into())]);
        planned.add("lo,role=backup".parse().unwrap(), "lan0").unwrap();
        assert!(planned.add("lo".parse().unwrap(), "lan0").unwrap_err().message.contains("already"));
        assert!(planned.allow("lo") && planned.allow("dsl0"));
        planned.remove("dsl0").unwrap();
        assert!(planned.allow("lo") && !planned.allow("dsl0"));
        assert_eq!(planned.now().len(), 1);
        for n in 1..BOND_PATHS_MAX {
            planned.lock().push(UplinkPlan::plain(format!("x{n}")));
        }
        planned.lock().remove(0);
        planned.lock().push(UplinkPlan::plain("y".into()));
        assert!(planned.add("lo".parse().unwrap(), "lan0").unwrap_err().message.contains("8 uplinks at most"));
    }
}
