//! What `lanparty status` hears of a bond: its paths, what it carries in all, and the uplinks that have no path now.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lanparty_core::{Carrier, RestoreReport};
use lanparty_proto::BondRole;
use serde::Serialize;

use super::{BondLink, Path, Shared, State, UplinkReport};

/// Rates are of this long a time, at least.
const RATE_TIME: Duration = Duration::from_secs(1);

/// A path in `lanparty status`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct PathReport {
    /// Its number at the member.
    pub path: u8,
    /// The uplink, or where the other side is.
    pub name: String,
    /// What carries it.
    pub carrier: Carrier,
    /// What it is used for.
    pub role: BondRole,
    /// Whether it carries anything now.
    pub is_alive: bool,
    /// For how long nothing has come by it, when it carries nothing.
    pub silent_ms: Option<u64>,
    /// Why the newest try to reach the other side by it anew failed, in words.
    pub trouble: Option<String>,
    /// Where the other side is.
    pub remote: Option<String>,
    /// Round-trip time.
    pub rtt_ms: Option<f64>,
    /// Packets sent and lost.
    pub packets: (u64, u64),
    /// Bytes of datagrams sent and received.
    pub bytes: (u64, u64),
    /// Bytes per second sent and received, over the last second or so.
    pub rate: (u64, u64),
    /// The rate that it is believed to have toward the other side, in bytes per second.
    pub capacity: u64,
    /// The largest datagram that it takes.
    pub budget: u16,
    /// Bytes that it may carry in a month, when its owner has said so.
    pub cap: Option<u64>,
    /// What its uplink has carried of that.
    pub cap_used: Option<u64>,
    /// For how long it is there, in seconds.
    pub seconds: u64,
}

/// A bond in `lanparty status`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct BondReport {
    /// Its paths.
    pub paths: Vec<PathReport>,
    /// Uplinks that are no path now.
    pub absent: Vec<AbsentUplink>,
    /// The uplinks that it has or would have paths by.
    pub uplinks: Vec<UplinkReport>,
    /// Uplinks that the relay sees at one address.
    pub shared: Vec<SharedAddress>,
    /// What was restored.
    pub inbound: RestoreReport,
    /// How long a flow waits for a slower path, in milliseconds.
    pub patience_ms: f64,
    /// Bytes per second sent and received over the last second or so, copies not counted.
    pub goodput: (u64, u64),
    /// Bytes sent and received so far, likewise.
    pub bytes: (u64, u64),
}

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
        // A path by TLS has no socket of its own.
        let at = |path: &Path| path.link.socket().and(self.seen.get(&path.bond.path));
        let seen = |path: &Path| Some((path.bond.path, path.name.clone(), at(path)?.ip()));
        shared_addresses(self.living().filter_map(seen))
    }
}

impl Shared {
    /// How the uplinks are, for `lanparty status`.
    pub(crate) fn set_uplinks(&self, uplinks: Vec<UplinkReport>) {
        self.state().uplinks = uplinks;
    }

    /// The uplinks that the relay sees at one address.
    pub(crate) fn shared_addresses(&self) -> Vec<SharedAddress> {
        self.state().shared_addresses()
    }
}

/// Which of these are seen at one address, named in the order of their numbers, whichever joined first.
fn shared_addresses(seen: impl IntoIterator<Item = (u8, String, IpAddr)>) -> Vec<SharedAddress> {
    let mut at = BTreeMap::<IpAddr, BTreeMap<u8, String>>::new();
    for (number, name, address) in seen {
        at.entry(address).or_default().insert(number, name);
    }
    at.retain(|_, names| names.len() > 1);
    at.into_iter().map(|(address, names)| SharedAddress { names: names.into_values().collect(), address }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uplinks_that_are_seen_at_one_address_are_named() {
        let line = |(number, name, ip): &(u8, &str, [u8; 4])| (*number, (*name).to_owned(), IpAddr::from(*ip));
        let seen = |lines: &[(u8, &str, [u8; 4])]| shared_addresses(lines.iter().map(line));
        assert_eq!(seen(&[(0, "dsl0", [192, 0, 2, 1]), (1, "lte0", [192, 0, 2, 2])]), []);
        // The last of them joined first.
        let found = seen(&[(2, "usb0", [192, 0, 2, 1]), (1, "lte0", [192, 0, 2, 2]), (0, "dsl0", [192, 0, 2, 1])]);
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
