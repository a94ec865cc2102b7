//! The way by QUIC: one socket per address family, each address of the relay in turn.

use std::net::SocketAddr;
use std::time::Duration;

use lanparty_quic::ConnectionError;

use super::follow::Following;
use super::race::Reached;
use super::{Dialer, JoinError, words};
use crate::endpoint::dial_endpoint;
use crate::probe::Survey;
use crate::{CongestionControl, ExitCode, Fault, Identity, Link, ProbePorts, sizing, uplink};

/// Time for one address of the relay to answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// A socket that follows this host.
pub(super) struct DialEndpoint {
    pub(super) is_ipv6: bool,
    following: Following,
    pub(super) endpoint: lanparty_quic::Endpoint,
}

impl Dialer {
    /// Tries every address of the relay, in the resolver's order (RFC 6724); those to which no route leads come last.
    pub(super) async fn connect_quic(&mut self, addresses: &[SocketAddr], identity: &Identity) -> Result<Reached, JoinError> {
        let mut last = None;
        for remote in reachable_first(addresses, |remote| uplink::address_toward(remote).is_some()) {
            match self.connect_to(remote, identity).await {
                Ok(link) => return Ok(Reached { link, remote, trouble: None }),
                Err(e @ JoinError::Final(_)) => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        Err(last.expect("INVARIANT: a resolved name has an address"))
    }

    async fn connect_to(&mut self, remote: SocketAddr, identity: &Identity) -> Result<Link, JoinError> {
        let endpoint = self.endpoint(remote, identity).map_err(JoinError::Unreachable)?;
        let connecting = endpoint.connect(remote, &self.server_name).map_err(|e| {
            JoinError::Final(Fault::new(
                ExitCode::Configuration,
                format!("cannot connect to {remote}: {e}"),
                "check --relay and --server-name",
            ))
        })?;
        self.large_enough(remote)?;
        let outcome = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await;
        match outcome.unwrap_or(Err(ConnectionError::TimedOut)) {
            Ok(connection) => {
                // The next outage may have another cause.
                self.probed = None;
                Ok(Link::new(connection).limited_to(self.sizing.budget_max, self.device_limit.clone()))
            }
            Err(ConnectionError::TimedOut) => {
                if self.probed.is_none() {
                    self.probed = Some(self.too_small_for_quic(remote).await);
                }
                let known = self.probed.clone().flatten().map(JoinError::Unreachable);
                Err(known.unwrap_or_else(|| words::handshake(&self.server_name, &self.trust, remote, &ConnectionError::TimedOut)))
            }
            Err(e) => Err(words::handshake(&self.server_name, &self.trust, remote, &e)),
        }
    }

    /// Tells a path that loses QUIC's smallest packets from a relay that does not answer, where the relay answers probes.
    async fn too_small_for_quic(&self, remote: SocketAddr) -> Option<Fault> {
        let ports = ProbePorts::default().of(remote.port())?;
        let uplink = self.bound_uplink(remote);
        let found = Survey { remote, ports, uplink: uplink.as_deref() }.size_up().await.ok()??;
        let needed = sizing::wire_mtu_min(remote);
        let carried = u32::from(found.passed?) + needed - u32::from(sizing::UDP_PAYLOAD_BASE);
        (carried < needed).then(|| words::too_small("the path there", carried, needed, remote))
    }

    /// An uplink that cannot send QUIC's smallest packets would only look like a relay that does not answer.
    fn large_enough(&self, remote: SocketAddr) -> Result<(), JoinError> {
        let needed = sizing::wire_mtu_min(remote);
        match self.bound_uplink(remote).and_then(|name| lanparty_nic::interface_facts(&name).ok()).filter(|f| f.exists && f.mtu < needed) {
            Some(facts) => Err(JoinError::Unreachable(words::too_small(&format!("the uplink {}", facts.name), facts.mtu, needed, remote))),
            None => Ok(()),
        }
    }

    /// The uplink of the socket for `remote`.
    fn bound_uplink(&self, remote: SocketAddr) -> Option<String> {
        self.endpoints.iter().find(|d| d.is_ipv6 == remote.is_ipv6()).and_then(|d| d.following.uplink())
    }

    /// One socket per address family, kept over reconnects while the uplink stays the same.
    pub(super) fn endpoint(&mut self, remote: SocketAddr, identity: &Identity) -> Result<lanparty_quic::Endpoint, Fault> {
        let is_ipv6 = remote.is_ipv6();
        let known = self.endpoints.iter().position(|d| d.is_ipv6 == is_ipv6);
        let before = self.bound_uplink(remote);
        let uplink = uplink::toward(remote).filter(|u| Some(u) != self.own_interface.as_ref()).or_else(|| before.clone());
        if let Some(i) = known {
            if before == uplink {
                return Ok(self.endpoints[i].endpoint.clone());
            }
            self.endpoints.swap_remove(i);
        }
        let unusable = |e: rustls::Error| Fault::new(ExitCode::Unexpected, format!("TLS cannot be set up: {e}"), "");
        let tls = self.trust.config(identity).map_err(unusable)?;
        let endpoint = dial_endpoint(remote, uplink.as_deref(), tls, self.sizing, CongestionControl::default())?;
        let following = Following::start(endpoint.clone(), remote, uplink, self.own_interface.clone());
        self.endpoints.push(DialEndpoint { is_ipv6, following, endpoint: endpoint.clone() });
        Ok(endpoint)
    }
}

/// A host that has lost an address family does not wait for it. What the routing table says may be outdated in a moment, so nothing is left out.
fn reachable_first(addresses: &[SocketAddr], is_reachable: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
    let (near, far): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().partition(|address| is_reachable(**address));
    [near, far].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_address_family_is_tried_last_and_the_resolvers_order_kept_else() {
        let all = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1"].map(|text| text.parse::<SocketAddr>().unwrap());
        assert_eq!(reachable_first(&all, |_| true), all);
        assert_eq!(reachable_first(&all, |address| address.is_ipv6()), [all[2], all[3], all[0], all[1]]);
        assert_eq!(reachable_first(&all, |_| false), all, "nothing is left out");
    }
}
