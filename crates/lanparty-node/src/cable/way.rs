//! The way to the other end: whether it can work, and whether this host's address on it has changed.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::endpoint::canonical;
use crate::{ExitCode, Fault, sizing, uplink};

/// How often the address is looked at: a question to the routing table.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A way that cannot work looks like silence; the interface it leaves by knows better.
pub(super) fn check(remote: SocketAddr, interface: &str) -> Result<(), Fault> {
    let Some(way) = uplink::toward(canonical(remote)) else { return Ok(()) };
    let bridge = lanparty_nic::interface_facts(interface).ok().and_then(|facts| facts.bridge_master);
    if way == interface || Some(&way) == bridge.as_ref() {
        let cause = format!("the way to the other end at {remote} leads through the cable itself ({way})");
        let advice = format!("add a route to it by the interface that leads to the internet: `ip route add {} …`", remote.ip());
        return Err(Fault::new(ExitCode::Configuration, cause, advice));
    }
    let needed = sizing::wire_mtu_min(remote);
    match lanparty_nic::interface_facts(&way).ok().filter(|facts| facts.exists && facts.mtu < needed) {
        Some(facts) => {
            let cause = format!("the uplink {way} carries IP packets of {} bytes at most, and a cable needs {needed}", facts.mtu);
            Err(Fault::new(ExitCode::Unexpected, cause, "raise its MTU, or use another uplink"))
        }
        None => Ok(()),
    }
}

/// The address by which this host reaches the other end. QUIC goes on sending from the one that it began with, and would take the
/// connection for dead only seconds after that one has gone.
pub(super) struct Way {
    remote: SocketAddr,
    own: Option<IpAddr>,
    next: Instant,
}

impl Way {
    pub(super) fn to(remote: SocketAddr) -> Self {
        let remote = canonical(remote);
        Self { remote, own: uplink::address_toward(remote), next: Instant::now() + LOOK_INTERVAL }
    }

    /// Resolves when it is time to look. Cancel-safe.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.next.into()).await;
    }

    /// Whether the address has changed since the last look; that it has gone is no news before there is another.
    pub(super) fn has_moved(&mut self) -> bool {
        self.next = Instant::now() + LOOK_INTERVAL;
        let own = uplink::address_toward(self.remote);
        let has_moved = own.is_some() && own != self.own;
        self.own = own.or(self.own);
        has_moved
    }
}
