//! What `lanparty status` hears of a bond: its paths, what it carries in all, and the uplinks that have no path now.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lanparty_proto::BondRole;
use serde::Serialize;

use super::{BondLink, BondReport, Path, Shared, State};

/// Rates are of this long a time, at least.
const RATE_TIME: Duration = Duration::from_secs(1);

/// An uplink that its owner named, and that is no path now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct AbsentUplink {
    /// The interface.
    pub name: String,
    /// What it is for; nothing for never.
    pub role: Option<BondRole>,
    /// Why it is no path, in words.
    pub because: String,
}

/// Uplinks that the relay sees at one address: two lines behind one router, or one line that has two names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SharedAddress {
    /// The interfaces.
    pub names: Vec<String>,
    /// Where they are seen.
    pub address: IpAddr,
}

/// Which of these are seen at one address.
fn shared_addresses(seen: impl IntoIterator<Item = (String, IpAddr)>) -> Vec<SharedAddress> {
    let mut at = BTreeMap::<IpAddr, Vec<String>>::new();
    for (name, address) in seen {
        at.entry(address).or_default().push(name);
    }
    at.into_iter().filter(|(_, names)| names.len() > 1).map(|(address, names)| SharedAddress { names, address }).collect()
}

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
    fn absent(&self) -> AbsentUplink {
        let because = match (self.role, &self.trouble) {
            (None, _) => "its role is never",
            (_, Some(why)) => why,
            (_, None) => "it is being tried",
        };
        AbsentUplink { name: self.name.clone(), role: self.role, because: because.to_owned() }
    }
}

/// Bytes that were carried, copies not counted, and how fast.
#[derive(Debug)]
pub(super) struct Goodput {
    at: Instant,
    before: (u64, u64),
    /// Bytes sent and handed out so far.
    pub(super) bytes: (u64, u64),
    rate: (u64, u64),
}

impl Goodput {
    pub(super) const fn new(now: Instant) -> Self {
        Self { at: now, before: (0, 0), bytes: (0, 0), rate: (0, 0) }
    }

    /// Bytes per second, over the last second or so.
    pub(super) fn measure(&mut self, now: Instant) -> (u64, u64) {
        let time = now.saturating_duration_since(self.at);
        if time >= RATE_TIME {
            let per_second = |now: u64, before: u64| (now.saturating_sub(before) as f64 / time.as_secs_f64()) as u64;
            self.rate = (per_second(self.bytes.0, self.before.0), per_second(self.bytes.1, self.before.1));
            (self.at, self.before) = (now, self.bytes);
        }
        self.rate
    }
}

impl BondLink {
    /// How its paths are.
    #[must_use]
    pub fn report(&self) -> BondReport {
        let wanted = self.shared().wanted.all();
        let mut state = self.shared().state();
        let now = Instant::now();
        let patience = state.patience();
        let (inbound, goodput, bytes) = (state.restorer.report(), state.goodput.measure(now), state.goodput.bytes);
        let mut paths: Vec<_> = state.paths.iter_mut().map(|path| path.report(now)).collect();
        let (uplinks, shared) = (state.uplinks.clone(), state.shared_addresses());
        drop(state);
        paths.sort_by_key(|path| path.path);
        for path in &mut paths {
            if let Some(wanted) = wanted.get(&path.path) {
                path.cap = wanted.cap;
                let uplink = uplinks.iter().find(|uplink| uplink.path == path.path);
                path.cap_used = wanted.cap.and(uplink).map(|uplink| uplink.month_bytes);
                path.trouble.clone_from(&wanted.trouble);
            }
        }
        let absent = wanted.iter().filter(|(number, _)| !paths.iter().any(|path| path.path == **number));
        let absent = absent.map(|(_, wanted)| wanted.absent()).collect();
        BondReport { paths, absent, uplinks, shared, inbound, patience_ms: patience.as_secs_f64() * 1e3, goodput, bytes }
    }
}

impl State {
    fn shared_addresses(&self) -> Vec<SharedAddress> {
        let seen = |path: &Path| Some((path.name.clone(), path.link.socket()?.1?.ip()));
        shared_addresses(self.living().filter_map(seen))
    }
}

impl Shared {
    /// The uplinks that the relay sees at one address.
    pub(crate) fn shared_addresses(&self) -> Vec<SharedAddress> {
        self.state().shared_addresses()
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

    #[test]
    fn uplinks_that_are_seen_at_one_address_are_named() {
        let seen = |lines: &[(&str, [u8; 4])]| shared_addresses(lines.iter().map(|(name, ip)| ((*name).to_owned(), IpAddr::from(*ip))));
        assert_eq!(seen(&[("dsl0", [192, 0, 2, 1]), ("lte0", [192, 0, 2, 2])]), []);
        let found = seen(&[("dsl0", [192, 0, 2, 1]), ("lte0", [192, 0, 2, 2]), ("usb0", [192, 0, 2, 1])]);
        assert_eq!(found, [SharedAddress { names: vec!["dsl0".into(), "usb0".into()], address: [192, 0, 2, 1].into() }]);
    }

    #[test]
    fn goodput_is_of_the_last_second_that_is_whole() {
        let start = Instant::now();
        let mut goodput = Goodput::new(start);
        goodput.bytes = (3000, 500);
        assert_eq!(goodput.measure(start + Duration::from_millis(900)), (0, 0));
        assert_eq!(goodput.measure(start + Duration::from_secs(2)), (1500, 250));
        assert_eq!(goodput.measure(start + Duration::from_millis(2500)), (1500, 250));
        assert_eq!(goodput.measure(start + Duration::from_millis(3000)), (0, 0));
    }
}
