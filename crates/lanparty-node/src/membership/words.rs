//! Why joining failed, in words: the cause, the next step, and whether it makes sense to try again.

use std::net::SocketAddr;

use lanparty_proto::Refusal;
use lanparty_quic::{ConnectionError, TransportErrorCode};

use super::JoinError;
use crate::{ExitCode, Fault, LinkEnded, RelayTrust};

pub(crate) const NO_PROTOCOL_ADVICE: &str = "install the same lanparty version on both, and check the port";
pub(super) const REACH_ADVICE: &str = "check that the relay runs, that --relay names it, and that no firewall blocks this UDP port";
pub(super) const STREAM_ADVICE: &str = "check that the relay runs, that --relay names it, and that it takes streams (--listen-tls)";

/// What went wrong in the handshake, and what to do.
pub(super) fn handshake(name: &str, trust: &RelayTrust, remote: SocketAddr, error: &ConnectionError) -> JoinError {
    let text = error.to_string();
    if let Some(fault) = certificate(name, trust, &remote, &text) {
        return JoinError::Final(fault);
    }
    if has_no_common_protocol(error) {
        let cause = format!("the server at {remote} speaks no lanparty protocol that this version knows ({text})");
        return JoinError::Final(Fault::new(ExitCode::Refused, cause, NO_PROTOCOL_ADVICE));
    }
    let cause = match error {
        ConnectionError::TimedOut => does_not_answer(&remote),
        _ => format!("no connection to the relay at {remote}: {text}"),
    };
    JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, REACH_ADVICE))
}

/// What is wrong with the certificate of the relay at `place`, when `text`, the words of TLS, is about that.
pub(crate) fn certificate(name: &str, trust: &RelayTrust, place: &dyn std::fmt::Display, text: &str) -> Option<Fault> {
    let fault = |cause: String, advice: &str| Some(Fault::new(ExitCode::Configuration, cause, advice));
    if text.contains("NotValidForName") || text.contains("not valid for name") {
        let cause = format!("the relay at {place} has a certificate for another name than `{name}`");
        let advice = "set --server-name to the name in the certificate; a development certificate is for lanparty-relay.local";
        return fault(cause, advice);
    }
    if text.contains("CaUsedAsEndEntity") {
        let cause = format!("the relay at {place} uses a certificate authority's certificate as its own");
        return fault(cause, "issue the relay's certificate with CA:FALSE (openssl: -addext basicConstraints=critical,CA:FALSE)");
    }
    if text.contains("UnknownIssuer") || text.contains("BadSignature") || text.contains("invalid peer certificate") {
        let cause = format!("the relay at {place} has a certificate that is not vouched for by {} ({text})", trust.source());
        let advice = "copy relay-cert.der anew from the relay's --dev-cert-der-out, and check that this is the relay you mean";
        return fault(cause, advice);
    }
    None
}

/// QUIC does not work over a path this small (RFC 9000 §14); a stream does.
pub(super) fn too_small(what: &str, carried: u32, needed: u32, remote: SocketAddr) -> Fault {
    let cause = format!("{what} carries IP packets of {carried} bytes at most, and QUIC needs {needed} to reach the relay at {remote}");
    let advice = "use another uplink, raise the MTU of whatever is in between (a tunnel, PPP, WSL's eth0), or let the relay take streams (--listen-tls)";
    Fault::new(ExitCode::Unexpected, cause, advice)
}

pub(super) fn does_not_answer(relay: &dyn std::fmt::Display) -> String {
    format!("the relay at {relay} does not answer (UDP)")
}

/// By QUIC it fails for one reason, by the stream for another.
pub(super) fn neither(quic: JoinError, stream: JoinError) -> JoinError {
    let (quic, stream) = (quic.into_fault(), stream.into_fault());
    let both = |quic: &str, stream: &str| format!("{quic}; over TCP: {stream}");
    let advice = if stream.advice.is_empty() { quic.advice } else { both(&quic.advice, &stream.advice) };
    JoinError::Unreachable(Fault::new(quic.code, both(&quic.cause, &stream.cause), advice))
}

/// No common version of QUIC, or of what is spoken over it: the TLS alert says so, whichever side raised it (RFC 7301 §3.2).
pub(crate) fn has_no_common_protocol(error: &ConnectionError) -> bool {
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    let alert = TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL);
    match error {
        ConnectionError::VersionMismatch => true,
        ConnectionError::TransportError(error) => error.code == alert,
        ConnectionError::ConnectionClosed(close) => close.error_code == alert,
        _ => false,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn broke_off(ended: LinkEnded) -> JoinError {
    let cause = format!("the relay broke off while joining: {ended}");
    JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, "look at the relay's log"))
}

/// What to do about a refusal, or the end of a membership, where the relay's words do not say it.
pub(crate) const fn advice(code: Refusal) -> &'static str {
    match code {
        Refusal::NotAllowed => {
            "check --room, --user and --password-file, or give the machine's key to the relay's operator, who says which rooms there are, and for whom"
        }
        Refusal::NoGateway => "use a room that may have a gateway, or ask the relay's operator to allow one in this one",
        Refusal::Replaced => "stop one of the two, or give it an identity of its own with --new-identity",
        _ => "",
    }
}

/// A refusal in the relay's words. Some pass with time.
pub(super) fn refused(code: Refusal, message: &str) -> JoinError {
    let fault = Fault::new(ExitCode::Refused, format!("the relay refused ({code:?}): {message}"), advice(code));
    match code {
        Refusal::TooManyJoins => JoinError::Unreachable(fault),
        Refusal::SecondGateway => JoinError::SecondGateway(fault),
        _ => JoinError::Final(fault),
    }
}
