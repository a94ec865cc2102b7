//! The one thing about a host's network that lanparty changes, and only when told to: WSL2's interface that is too small.
//!
//! WSL2 copies the smallest MTU that Windows has on any interface, often a VPN's 1,280, although the network behind carries
//! more. Elsewhere a small MTU is what the network takes, and nothing is changed.

use std::time::Duration;

use lanparty_doctor::{Code, Facts, RelayFacts, Uplink, examine};
use lanparty_nic::{interface_facts, set_interface_mtu};
use tracing::{info, warn};

use super::host::{examine_host, is_wsl2};
use crate::{ExitCode, Fault, RelayAddress, uplink};

/// What an ordinary wire takes. What the path really carries is searched by every link itself.
const WIRE_MTU: u16 = 1500;
/// Time for DNS. Without an answer the uplink is unknown, and joining will say why.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// An uplink whose MTU was raised, until this is dropped.
#[derive(Debug)]
pub struct UnderlayFix {
    interface: String,
    before: u16,
}

impl UnderlayFix {
    /// Raises the MTU of `interface`. Nothing when that is not needed, or when this is not WSL2.
    ///
    /// # Errors
    /// When the system refuses, in words.
    pub fn apply(interface: &str) -> Result<Option<Self>, Fault> {
        let facts = interface_facts(interface).map_err(|e| Fault::new(ExitCode::Unexpected, e.to_string(), ""))?;
        let before = u16::try_from(facts.mtu).unwrap_or(u16::MAX);
        if is_wsl2() != Some(true) || !facts.exists || before >= WIRE_MTU {
            return Ok(None);
        }
        set_interface_mtu(interface, WIRE_MTU).map_err(|e| {
            let cause = format!("the MTU of {interface} is {before} and cannot be raised to {WIRE_MTU}: {e}");
            Fault::new(ExitCode::Permission, cause, "run it with sudo; raising an MTU needs CAP_NET_ADMIN")
        })?;
        info!("raised the MTU of {interface} from {before} to {WIRE_MTU} (WSL2); it goes back when this program ends");
        Ok(Some(Self { interface: interface.to_owned(), before }))
    }

    /// For a member that starts: with `consent` the interface that leads to `relay` is repaired, without it a warning says what
    /// is wrong with it.
    ///
    /// # Errors
    /// When the system refuses, in words.
    pub async fn at_start(relay: &RelayAddress, consent: bool) -> Result<Option<Self>, Fault> {
        if is_wsl2() != Some(true) {
            if consent {
                info!("--fix-underlay: this is not WSL2, so there is nothing to repair");
            }
            return Ok(None);
        }
        let remotes = tokio::time::timeout(RESOLVE_TIMEOUT, relay.resolve()).await;
        let uplink = remotes.ok().and_then(Result::ok).unwrap_or_default().into_iter().find_map(uplink::toward);
        let Some(uplink) = uplink else { return Ok(None) };
        if consent {
            return Self::apply(&uplink);
        }
        let relay = RelayFacts { uplink: Some(Uplink { interface: uplink, mtu: None }), ..RelayFacts::default() };
        let report = examine(Facts { host: examine_host().await, relay: Some(relay), room: None });
        for finding in report.findings.iter().filter(|finding| finding.code == Code::WslEth0Mtu) {
            warn!("{finding}; {}", finding.advice);
        }
        Ok(None)
    }

    /// The same for the interface that leads to one of `remotes`.
    ///
    /// # Errors
    /// When the system refuses, in words.
    pub fn apply_toward(remotes: &[std::net::SocketAddr]) -> Result<Option<Self>, Fault> {
        match remotes.iter().find_map(|remote| uplink::toward(*remote)) {
            Some(interface) => Self::apply(&interface),
            None => Ok(None),
        }
    }

    /// The interface, its MTU before, and now.
    #[must_use]
    pub fn change(&self) -> (&str, u16, u16) {
        (&self.interface, self.before, WIRE_MTU)
    }

    /// Leaves the MTU raised.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for UnderlayFix {
    fn drop(&mut self) {
        // Somebody else may have set it meanwhile: that stays.
        if interface_facts(&self.interface).is_ok_and(|facts| facts.mtu != u32::from(WIRE_MTU)) {
            return;
        }
        match set_interface_mtu(&self.interface, self.before) {
            Ok(()) => info!("the MTU of {} is {} again", self.interface, self.before),
            Err(e) => warn!("the MTU of {} could not be set back to {}: {e}", self.interface, self.before),
        }
    }
}
