//! On which LAN a host is, where a room joins several: learned from what comes from there, as a switch learns (IEEE 802.1Q §8.7).
//!
//! A host that has just been heard on one LAN is not believed on another: what comes from there under its address went round a loop
//! (THREATS A13). Members are not learned; where they are the relay says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::{MacAddr, MemberId};

/// A host that was silent for this long on the LAN where it was may have been carried to another one.
const HELD_FOR: Duration = Duration::from_secs(3);
/// Hosts that are remembered. More are not: nobody's entry makes room for a flood of invented ones (THREATS A11).
const HOSTS_MAX: usize = 4096;
/// What was silent for as long as a switch remembers it makes room.
const SILENT_AFTER: Duration = Duration::from_secs(300);
/// How often there is a search for what makes room: it looks at everything.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Heard {
    gateway: MemberId,
    at: Instant,
}

/// Hosts by their address, each on the LAN of one gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct LanHosts {
    hosts: BTreeMap<MacAddr, Heard>,
    pruned: Option<Instant>,
}

impl LanHosts {
    /// A frame from `host` came from the LAN of `gateway`. Whether that is believed.
    pub(crate) fn learn(&mut self, host: MacAddr, gateway: MemberId, now: Instant) -> bool {
        let heard = Heard { gateway, at: now };
        if let Some(known) = self.hosts.get_mut(&host) {
            let is_held = known.gateway != gateway && now.saturating_duration_since(known.at) < HELD_FOR;
            if !is_held {
                *known = heard;
            }
            return !is_held;
        }
        if self.hosts.len() >= HOSTS_MAX && self.pruned.is_none_or(|at| now.saturating_duration_since(at) >= PRUNE_INTERVAL) {
            self.pruned = Some(now);
            self.hosts.retain(|_, known| now.saturating_duration_since(known.at) < SILENT_AFTER);
        }
        if self.hosts.len() < HOSTS_MAX {
            self.hosts.insert(host, heard);
        }
        true
    }

    /// The gateway on whose LAN `host` was heard last.
    #[must_use]
    pub(crate) fn gateway_of(&self, host: MacAddr) -> Option<MemberId> {
        self.hosts.get(&host).map(|known| known.gateway)
    }

    /// A gateway left, and its LAN with it.
    pub(crate) fn forget(&mut self, gateway: MemberId) {
        self.hosts.retain(|_, known| known.gateway != gateway);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
    const HERE: MemberId = MemberId(1);
    const THERE: MemberId = MemberId(2);

    #[test]
    fn a_host_is_believed_on_one_lan_and_on_another_once_it_was_silent_there() {
        let (mut hosts, now) = (LanHosts::default(), Instant::now());
        assert!(hosts.learn(HOST, HERE, now) && !hosts.learn(HOST, THERE, now + HELD_FOR / 2));
        assert_eq!(hosts.gateway_of(HOST), Some(HERE));
        assert!(hosts.learn(HOST, THERE, now + HELD_FOR), "what was not believed held nothing up");
        assert_eq!(hosts.gateway_of(HOST), Some(THERE));
        hosts.forget(THERE);
        assert_eq!(hosts.gateway_of(HOST), None);
    }

    #[test]
    fn a_flood_of_invented_addresses_drives_nobody_out() {
        let (mut hosts, now) = (LanHosts::default(), Instant::now());
        hosts.learn(HOST, HERE, now);
        for n in 0..10_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            hosts.learn(MacAddr([6, 6, 6, a, b, c]), THERE, now);
        }
        assert_eq!((hosts.hosts.len(), hosts.gateway_of(HOST)), (HOSTS_MAX, Some(HERE)));
        hosts.learn(MacAddr([6, 6, 7, 0, 0, 0]), THERE, now + SILENT_AFTER);
        assert_eq!(hosts.hosts.len(), 1, "the silent ones made room");
    }
}
