//! Why a cable is not plugged in, in words for its owner.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanparty_core::LoopNews;
use lanparty_proto::IdentityId;
use lanparty_quic::{ConnectionError, TransportErrorCode};
use tracing::warn;

use crate::pin::WRONG_KEY_ALERT;
use crate::{ExitCode, Fault};

/// The same words are repeated after this long.
const REPEAT_AFTER: Duration = Duration::from_secs(30);
/// Different words follow each other no faster: strangers choose what they are about.
const NEXT_AFTER: Duration = Duration::from_secs(1);

/// Words that come again and again, said once in a while.
#[derive(Default)]
pub(super) struct Refrain {
    said: Option<(String, Instant)>,
    unsaid: u64,
}

impl Refrain {
    pub(super) fn say(&mut self, fault: &Fault) {
        let now = Instant::now();
        let wait = |(words, at): &(String, Instant)| now - *at < if *words == fault.cause { REPEAT_AFTER } else { NEXT_AFTER };
        if self.said.as_ref().is_some_and(wait) {
            self.unsaid += 1;
            return;
        }
        let suppressed = std::mem::take(&mut self.unsaid);
        if fault.advice.is_empty() {
            warn!(suppressed, "{}", fault.cause);
        } else {
            warn!(suppressed, "{}; {}", fault.cause, fault.advice);
        }
        self.said = Some((fault.cause.clone(), now));
    }

    /// What was said is over.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

/// What is known of a loop, at the end whose TAP is `interface`, for both ends' owners.
pub(super) fn loop_words(news: LoopNews, interface: &str, quiet: Duration) -> String {
    let seconds = quiet.as_secs();
    match news {
        LoopNews::Blocked(Some(other)) => format!(
            "a loop: frames that leave by {interface} come back through its other end. {other} is older and goes on; {interface} carries nothing until they do not come back for {seconds} s"
        ),
        LoopNews::Blocked(None) => format!(
            "a loop: frames that leave by {interface} come back through its other end. {interface} carries nothing until they do not come back for {seconds} s. Are both ends on one LAN?"
        ),
        LoopNews::BlockedBeside(other) => {
            format!("a loop: {other}, a newer cable on the LAN of {interface}, carries nothing because of it")
        }
        LoopNews::Cleared => format!("the loop is gone: {interface} carries again"),
        LoopNews::Reflected => {
            format!("the LAN behind {interface} sends back what enters it: it has a loop of its own, or a machine that mirrors")
        }
        LoopNews::Moving(mac) => format!(
            "{mac} moves between {interface} and the other end too often (a loop, or two machines with one address): for now it is believed only where it was first, and the rest is dropped as MacMoves"
        ),
    }
}

/// The keys of both ends.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    pub(super) own: IdentityId,
    pub(super) peer: IdentityId,
}

/// A handshake with `remote` failed, or what came right after it.
pub(super) fn not_plugged(keys: Keys, remote: SocketAddr, shown: Option<IdentityId>, error: &ConnectionError, has_dialled: bool) -> Fault {
    let whose = if has_dialled { format!("the host at {remote}") } else { format!("{remote}, which dialled this cable,") };
    let fault = |cause: String, advice: &str| Fault::new(ExitCode::Refused, cause, advice);
    if let Some(shown) = shown {
        let cause = format!("{whose} has the key {} and is refused: this cable is for {}", shown.to_hex(), keys.peer.to_hex());
        return fault(cause, "if that is the host you mean, give its key with --peer");
    }
    if is_alert(error, WRONG_KEY_ALERT) {
        let cause = format!("{whose} refuses this host's key {}: its cable is for another one", keys.own.to_hex());
        return fault(cause, "start the cable there with --peer and this key");
    }
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    if is_alert(error, NO_APPLICATION_PROTOCOL) || matches!(error, ConnectionError::VersionMismatch) {
        return fault(format!("{whose} speaks no cable of this version"), "check the port, and install the same lanparty version on both");
    }
    match error {
        ConnectionError::TimedOut if has_dialled => silent(&remote),
        error => Fault::new(ExitCode::Unexpected, format!("no connection with {remote}: {error}"), ""),
    }
}

pub(super) fn silent(remote: &dyn std::fmt::Display) -> Fault {
    let advice = "check that `lanparty cable` runs there, that --remote names it, and that no firewall blocks this UDP port";
    Fault::new(ExitCode::Unexpected, format!("the other end at {remote} does not answer (UDP); trying again"), advice)
}

/// A TLS alert, whichever side raised it.
fn is_alert(error: &ConnectionError, alert: u8) -> bool {
    let code = TransportErrorCode::crypto(alert);
    match error {
        ConnectionError::TransportError(error) => error.code == code,
        ConnectionError::ConnectionClosed(close) => close.error_code == code,
        _ => false,
    }
}
