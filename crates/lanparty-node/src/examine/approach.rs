//! Knocks at one address of a relay, at the door of QUIC and at that of the probe service. Says nothing and joins no room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanparty_doctor::{AddressFacts, CertificateFacts, QuicHandshake, Uplink};
use lanparty_quic::ConnectionError;
use tokio::time::{Instant, timeout};

use super::relay::RelayExamination;
use super::witness::Witness;
use crate::endpoint::dial_endpoint;
use crate::membership::words;
use crate::probe::{Opening, Survey};
use crate::{CongestionControl, Identity, Link, RelayTrust, Sizing, uplink};

/// Time for the address to answer: the same as for a join.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// What one address answered.
pub(super) struct Approach {
    pub(super) remote: SocketAddr,
    has_route: bool,
    pub(super) uplink: Option<Uplink>,
    pub(super) quic: QuicHandshake,
    pub(super) certificate: Option<CertificateFacts>,
    /// Whether any UDP came back.
    pub(super) is_heard: bool,
    /// Whether a join ends here: the relay answered, and is not what was asked for.
    pub(super) is_final: bool,
    /// Open, when the handshake went through; the endpoint carries it.
    pub(super) link: Option<(Link, lanparty_quic::Endpoint)>,
    pub(super) opening: Option<Opening>,
}

impl Approach {
    /// Ends within three seconds.
    pub(super) async fn make(examination: &RelayExamination, remote: SocketAddr) -> Self {
        let uplink = uplink::toward(remote).map(|interface| {
            let mtu = lanparty_nic::interface_facts(&interface).ok().map(|facts| facts.mtu);
            Uplink { interface, mtu }
        });
        let has_route = lanparty_nic::route_mtu(remote).is_ok();
        let mut approach = Self {
            remote,
            has_route,
            uplink,
            quic: QuicHandshake { ok: false, error: Some("this host has no route to it".into()), duration_ms: None },
            certificate: None,
            is_heard: false,
            is_final: false,
            link: None,
            opening: None,
        };
        if has_route {
            approach.knock(examination).await;
        }
        approach
    }

    /// As the doctor has it.
    pub(super) fn facts(&self) -> AddressFacts {
        let quic = self.quic.clone();
        AddressFacts { address: Some(self.remote), has_route: Some(self.has_route), udp_reachable: self.is_heard, quic }
    }

    async fn knock(&mut self, examination: &RelayExamination) {
        let witness = examination.trust.witness();
        let interface = self.uplink.as_ref().map(|uplink| uplink.interface.as_str());
        let survey = examination.ports.of(self.remote.port()).map(|ports| Survey { remote: self.remote, ports, uplink: interface });
        let probes = async {
            match &survey {
                Some(survey) => survey.knock().await.ok().flatten(),
                None => None,
            }
        };
        let started = Instant::now();
        // How long the handshake takes is its own; what is measured afterwards with its help is not in it.
        let quic = async { (handshake(examination, self.remote, interface, &witness).await, started.elapsed()) };
        let ((outcome, took), opening) = tokio::join!(quic, probes);
        self.certificate = witness.seen();
        let error = match outcome {
            Ok(link) => {
                self.link = Some(link);
                let disbelief = self.certificate.as_ref().and_then(disbelief);
                self.is_final = disbelief.is_some();
                disbelief
            }
            Err(failure) => {
                (self.is_heard, self.is_final) = (failure.came_back, failure.is_final);
                Some(failure.words)
            }
        };
        self.quic = QuicHandshake { ok: error.is_none(), error, duration_ms: Some(took.as_secs_f64() * 1e3) };
        self.is_heard |= self.link.is_some() || self.certificate.is_some() || opening.is_some();
        self.opening = opening;
    }
}

/// Why there is no connection.
struct Failure {
    words: String,
    /// Whether something came back, and so UDP passes.
    came_back: bool,
    /// Whether no other way is tried after it.
    is_final: bool,
}

impl<T: ToString> From<T> for Failure {
    fn from(words: T) -> Self {
        Self { words: words.to_string(), came_back: false, is_final: false }
    }
}

async fn handshake(
    examination: &RelayExamination,
    remote: SocketAddr,
    interface: Option<&str>,
    witness: &Arc<Witness>,
) -> Result<(Link, lanparty_quic::Endpoint), Failure> {
    let tls = RelayTrust::config_with(witness, &Identity::ephemeral())?;
    let endpoint = dial_endpoint(remote, interface, tls, Sizing::default(), CongestionControl::default()).map_err(|fault| fault.cause)?;
    let name = examination.server_name.as_deref().unwrap_or_else(|| examination.relay.host());
    match timeout(HANDSHAKE_TIMEOUT, endpoint.connect(remote, name)?).await {
        Ok(Ok(connection)) => Ok((Link::new(connection), endpoint)),
        Ok(Err(e)) => Err(Failure { words: e.to_string(), came_back: comes_from_peer(&e), is_final: words::has_no_common_protocol(&e) }),
        Err(_) => Err(Failure::from(format!("no answer within {} s", HANDSHAKE_TIMEOUT.as_secs()))),
    }
}

/// Whether a packet of the other side ended the handshake: its own refusal, or what this side could not accept in it.
const fn comes_from_peer(e: &ConnectionError) -> bool {
    match e {
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => true,
        ConnectionError::TimedOut | ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => false,
    }
}

/// Why the relay would not be believed, now that the handshake went through.
fn disbelief(seen: &CertificateFacts) -> Option<String> {
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
