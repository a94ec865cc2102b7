//! The way to a relay: name, handshake, certificate, and what its probe service tells.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_doctor::{QuicHandshake, RelayFacts, Uplink, Way};

use super::witness::Witness;
use crate::endpoint::dial_endpoint;
use crate::membership::settled_budget;
use crate::probe::{ProbePorts, Survey, bound};
use crate::{Identity, Link, RelayAddress, RelayTrust, Sizing, uplink};

/// Time for one address of the relay to answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for DNS.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses that are tried: one of each family, or two.
const ADDRESSES_MAX: usize = 2;
/// What the probes may take, so that all of it stays under 15 seconds (an unreachable relay has none).
const SURVEY_MAX: Duration = Duration::from_secs(10);
/// Time for ICMP to say that nobody listens.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(400);

/// What to examine.
pub struct RelayExamination {
    /// The relay.
    pub relay: RelayAddress,
    /// The name its certificate must have, when that is not the host's.
    pub server_name: Option<String>,
    /// What decides whether it is believed.
    pub trust: RelayTrust,
    /// Where its probe service is.
    pub ports: ProbePorts,
}

impl RelayExamination {
    /// Learns what it can within 15 seconds; `tell` hears what is being done.
    pub async fn run(&self, tell: &dyn Fn(&str)) -> RelayFacts {
        let mut facts = RelayFacts { name: self.relay.to_string(), ..RelayFacts::default() };
        tell("looking up the relay's name");
        let Some(addresses) = self.resolve(&mut facts).await else { return facts };
        for remote in addresses.into_iter().take(ADDRESSES_MAX) {
            tell(&format!("shaking hands with {remote}"));
            self.handshake(remote, &mut facts).await;
            if facts.quic.as_ref().is_some_and(|quic| quic.ok) {
                break;
            }
        }
        if let Some(remote) = facts.remote {
            self.survey(remote, &mut facts, tell).await;
            if facts.udp_reachable.is_none() {
                (facts.udp_reachable, facts.port_unreachable) = (Some(false), is_refused(remote).await.ok());
            }
        }
        facts
    }

    async fn resolve(&self, facts: &mut RelayFacts) -> Option<Vec<SocketAddr>> {
        match tokio::time::timeout(RESOLVE_TIMEOUT, self.relay.resolve()).await {
            Ok(Ok(addresses)) => {
                facts.resolved = Some(addresses.clone());
                Some(addresses)
            }
            Ok(Err(fault)) => {
                facts.resolve_error = Some(fault.cause);
                None
            }
            Err(_) => {
                facts.resolve_error = Some("DNS does not answer".into());
                None
            }
        }
    }

    /// Connects and says nothing: it joins no room.
    async fn handshake(&self, remote: SocketAddr, facts: &mut RelayFacts) {
        let started = Instant::now();
        let uplink = uplink::toward(remote);
        let mtu = uplink.as_ref().and_then(|name| lanparty_nic::interface_facts(name).ok()).map(|f| f.mtu);
        facts.uplink = uplink.map(|interface| Uplink { interface, mtu });
        facts.remote = Some(remote);
        let witness = self.trust.witness();
        let outcome = self.connect(remote, &witness, facts).await;
        let error = outcome.err().or_else(|| believed(&witness));
        let duration_ms = Some(started.elapsed().as_secs_f64() * 1e3);
        facts.certificate = witness.seen();
        facts.udp_reachable = facts.udp_reachable.or(witness.seen().map(|_| true));
        facts.way = error.is_none().then_some(Way::Quic);
        facts.quic = Some(QuicHandshake { ok: error.is_none(), error, duration_ms });
    }

    async fn connect(&self, remote: SocketAddr, witness: &Arc<Witness>, facts: &mut RelayFacts) -> Result<(), String> {
        let identity = Identity::ephemeral();
        let tls = RelayTrust::config_with(witness, &identity).map_err(|e| e.to_string())?;
        let uplink = facts.uplink.as_ref().map(|u| u.interface.as_str());
        let endpoint = dial_endpoint(remote, uplink, tls, Sizing::default()).map_err(|fault| fault.cause)?;
        let name = self.server_name.as_deref().unwrap_or_else(|| self.relay.host());
        let connecting = endpoint.connect(remote, name).map_err(|e| e.to_string())?;
        let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(outcome) => outcome.map_err(|e| e.to_string())?,
            Err(_) => return Err(format!("no answer within {} s", HANDSHAKE_TIMEOUT.as_secs())),
        };
        facts.udp_reachable = Some(true);
        let link = Link::new(connection);
        facts.budget_up = Some(settled_budget(&link).await.0);
        link.close("examined");
        Ok(())
    }

    async fn survey(&self, remote: SocketAddr, facts: &mut RelayFacts, tell: &dyn Fn(&str)) {
        let Some(ports) = self.ports.of(remote.port()) else { return };
        let uplink = facts.uplink.as_ref().map(|u| u.interface.clone());
        let survey = Survey { remote, ports, uplink: uplink.as_deref() };
        // What it has learnt when its time is up stays; a socket that cannot be had leaves the facts unknown.
        let _ = tokio::time::timeout(SURVEY_MAX, survey.run(facts, tell)).await;
    }
}

/// Why the relay would not be believed, now that the handshake went through.
fn believed(witness: &Witness) -> Option<String> {
    let seen = witness.seen()?;
    let is_current =
        seen.now_s.is_none_or(|now| seen.not_before_s.is_none_or(|from| from <= now) && seen.not_after_s.is_none_or(|until| now <= until));
    let reason = match (seen.trusted, is_current, seen.name_matches) {
        (Some(false), ..) => "its certificate is not trusted",
        (_, false, _) => "its certificate is not valid now",
        (_, _, Some(false)) => "its certificate is for another name",
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Whether the relay's host says that nothing listens on the port.
async fn is_refused(remote: SocketAddr) -> io::Result<bool> {
    let socket = tokio::net::UdpSocket::from_std(bound(remote, None)?)?;
    socket.connect(remote).await?;
    for _ in 0..2 {
        // No packet of QUIC: a relay ignores it, a closed port does not. An error of the first send is told by the second.
        let _ = socket.send(&[0]).await;
        let mut buffer = [0; 16];
        match tokio::time::timeout(REFUSAL_TIMEOUT, socket.recv(&mut buffer)).await {
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}
