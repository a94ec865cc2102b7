//! The way to a relay: name, handshakes, certificate, and what its probe service tells.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use lanparty_doctor::{RelayFacts, Way};
use tokio::time::{Instant, timeout, timeout_at};

use super::approach::{Approach, HANDSHAKE_TIMEOUT};
use crate::membership::settled_budget;
use crate::probe::{ProbePorts, Survey, bound};
use crate::{Proxy, RelayAddress, RelayTrust};

/// What all of it may take, whatever happens: every stage has what the ones before it have left.
const EXAMINATION_MAX: Duration = Duration::from_secs(14);
/// Time for DNS.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses that are tried, all at once: two of each family, or more of one.
const ADDRESSES_MAX: usize = 4;
/// Time for ICMP to say that nobody listens.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(400);
/// It is asked so often: a host says that once a second to whoever was told a few times already (`icmp_ratelimit`, icmp(7)).
const REFUSAL_TRIES: usize = 4;

/// The service has at least half of the time.
const _: () = assert!(2 * (RESOLVE_TIMEOUT.as_millis() + HANDSHAKE_TIMEOUT.as_millis()) < EXAMINATION_MAX.as_millis());

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
    /// The HTTP proxy that streams go through.
    pub proxy: Option<Proxy>,
    /// Where streams are taken, when that is not the relay's address.
    pub stream_relay: Option<RelayAddress>,
}

impl RelayExamination {
    /// Learns what it can within 14 seconds; `tell` hears what is being done.
    pub async fn run(&self, tell: &dyn Fn(&str)) -> RelayFacts {
        let by = Instant::now() + EXAMINATION_MAX;
        let mut facts = RelayFacts { name: self.relay.to_string(), ..RelayFacts::default() };
        tell("looking up the relay's name");
        let Some(addresses) = self.resolve(&mut facts).await else {
            // A proxy resolves names itself, and streams may be taken elsewhere.
            if self.proxy.is_some() || self.stream_relay.is_some() {
                facts.note_streams(self.try_streams(by, tell).await);
            }
            return facts;
        };
        tell(&format!("shaking hands with {}", self.relay));
        let approaches = join_all(addresses.into_iter().take(ADDRESSES_MAX).map(|remote| Approach::make(self, remote))).await;
        facts.addresses = Some(approaches.iter().map(Approach::facts).collect());
        // The first that a join would succeed with; else one that can be asked why not.
        let rank = |a: &Approach| (a.quic.ok, a.opening.is_some(), a.is_heard);
        let best = approaches.into_iter().reduce(|best, next| if rank(&next) > rank(&best) { next } else { best });
        if let Some(approach) = best {
            let needs_stream = !approach.quic.ok && !approach.is_final;
            let streams = async { if needs_stream { self.try_streams(by, tell).await } else { vec![] } };
            let ((), streams) = tokio::join!(self.look_closer(approach, &mut facts, by, tell), streams);
            if needs_stream {
                facts.note_streams(streams);
            }
        }
        facts
    }

    async fn resolve(&self, facts: &mut RelayFacts) -> Option<Vec<SocketAddr>> {
        match timeout(RESOLVE_TIMEOUT, self.relay.resolve()).await {
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

    /// At one address: sizes, times, and when nothing has come from it, whether that was said.
    async fn look_closer(&self, approach: Approach, facts: &mut RelayFacts, by: Instant, tell: &dyn Fn(&str)) {
        let Approach { remote, uplink, quic, certificate, is_heard, link, opening, .. } = approach;
        facts.remote = Some(remote);
        facts.way = quic.ok.then_some(Way::Quic);
        (facts.quic, facts.certificate, facts.udp_reachable) = (Some(quic), certificate, Some(is_heard));
        if let Some((link, _endpoint)) = link {
            facts.budget_up = timeout_at(by, settled_budget(&link)).await.ok().map(|budget| budget.0);
            link.close("examined");
        }
        let ports = self.ports.of(remote.port());
        facts.probe_service = ports.map(|_| opening.is_some());
        if let Some((ports, opening)) = ports.zip(opening) {
            let survey = Survey { remote, ports, uplink: uplink.as_ref().map(|u| u.interface.as_str()) };
            survey.run(opening, facts, by, tell).await;
        }
        facts.uplink = uplink;
        if !is_heard {
            facts.port_unreachable = timeout_at(by, is_refused(remote)).await.ok().and_then(Result::ok);
        }
    }
}

/// Whether the relay's host says that nothing listens on the port.
async fn is_refused(remote: SocketAddr) -> io::Result<bool> {
    let socket = tokio::net::UdpSocket::from_std(bound(remote, None)?)?;
    socket.connect(remote).await?;
    for _ in 0..REFUSAL_TRIES {
        // No packet of QUIC: a relay ignores it, a closed port does not. An error of the first send is told by the second.
        let _ = socket.send(&[0]).await;
        let mut buffer = [0; 16];
        match timeout(REFUSAL_TIMEOUT, socket.recv(&mut buffer)).await {
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
