//! What a member's owner wants of the sizes on its path, a cap and whether they are searched at all; and what its device takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use lanparty_proto::{DatagramBudget, LAN_MTU_MAX, LAN_MTU_MIN, LanMtu, Welcome, padding};
use tracing::warn;

use crate::{Link, LinkEnded};

/// What QUIC puts around a datagram in a packet of its own, in bytes of UDP payload: first byte, an eight-byte connection
/// number, packet number, frame type and length, authentication tag (RFC 9000 §17.3, RFC 9221 §4).
pub(crate) const PACKET_OVERHEAD: u16 = 38;
/// The UDP payload every path of QUIC takes (RFC 9000 §14).
pub(crate) const UDP_PAYLOAD_BASE: u16 = 1200;
/// IP and UDP headers around QUIC's packets.
const IPV4_UDP_HEADERS: u16 = 20 + 8;
const IPV6_UDP_HEADERS: u16 = 40 + 8;
/// Datagrams that ask whether a size arrives: one may be lost by chance, three are not.
const TRIALS: u64 = 3;
const TRIAL_INTERVAL: Duration = Duration::from_millis(20);
/// Shortest time for the answer.
const TRIAL_TIMEOUT_MIN: Duration = Duration::from_millis(150);

/// `--pmtu-discovery`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum PmtuDiscovery {
    /// The size that passes is searched, and searched again when it shrinks
    #[default]
    On,
    /// The size is what --mtu says, until packets of that size are seen not to arrive
    Off,
}

/// The sizes a member uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizing {
    /// Datagrams are never larger.
    pub budget_max: Option<DatagramBudget>,
    /// Whether the path is searched.
    pub discovery: PmtuDiscovery,
}

impl Sizing {
    /// For a LAN MTU of at most `mtu`.
    #[must_use]
    pub fn new(mtu: Option<LanMtu>, discovery: PmtuDiscovery) -> Self {
        Self { budget_max: mtu.map(DatagramBudget::for_lan_mtu), discovery }
    }

    /// The UDP payload to begin with, above which nothing is searched; nothing when the search begins with what every path takes.
    pub(crate) fn fixed_payload(self) -> Option<u16> {
        let base = DatagramBudget(UDP_PAYLOAD_BASE - PACKET_OVERHEAD);
        (self.discovery == PmtuDiscovery::Off).then(|| (self.budget_max.unwrap_or(base).0 + PACKET_OVERHEAD).max(UDP_PAYLOAD_BASE))
    }
}

/// The largest datagram that a member's own device has use for: what it refuses must not be sent to it. Shared by all who keep to it,
/// since the MTU of an interface may change while they do.
#[derive(Clone, Debug)]
pub struct DeviceLimit(Arc<AtomicU16>);

impl Default for DeviceLimit {
    /// No limit.
    fn default() -> Self {
        Self(Arc::new(AtomicU16::new(u16::MAX)))
    }
}

impl DeviceLimit {
    /// The device is an interface whose MTU is `bytes` now.
    pub fn set_mtu(&self, bytes: u32) {
        let mtu = u16::try_from(bytes).unwrap_or(u16::MAX).max(LAN_MTU_MIN);
        let limit = LanMtu::new(mtu).map_or(u16::MAX, |mtu| DatagramBudget::for_lan_mtu(mtu).0);
        self.0.store(limit, Ordering::Relaxed);
    }

    /// Nothing when it limits nothing.
    pub(crate) fn budget(&self) -> Option<DatagramBudget> {
        Some(self.0.load(Ordering::Relaxed)).filter(|limit| *limit != u16::MAX).map(DatagramBudget)
    }
}

/// The smallest wire MTU over which QUIC reaches `remote`, in bytes.
pub(crate) const fn wire_mtu_min(remote: std::net::SocketAddr) -> u32 {
    let headers = if remote.is_ipv4() { IPV4_UDP_HEADERS } else { IPV6_UDP_HEADERS };
    (UDP_PAYLOAD_BASE + headers) as u32
}

/// For clap: a LAN MTU as people write it, in bytes.
///
/// # Errors
/// When it is no number, or out of range.
pub fn parse_lan_mtu(text: &str) -> Result<LanMtu, String> {
    let bytes: u16 = text.parse().map_err(|_| format!("`{text}` is no number of bytes: {LAN_MTU_MIN} to {LAN_MTU_MAX}"))?;
    LanMtu::try_from(bytes)
}

/// Says it when the owner asked for more than the path carries.
pub(crate) async fn check(link: &Link, sizing: Sizing, welcome: &Welcome) -> Result<(), LinkEnded> {
    let Some(wanted) = sizing.budget_max.and_then(DatagramBudget::lan_mtu) else { return Ok(()) };
    let lan_mtu = welcome.lan_mtu;
    let down = welcome.budget_down.and_then(DatagramBudget::lan_mtu);
    let carried = down.map_or_else(|| "less".to_owned(), |down| down.to_string());
    if sizing.discovery == PmtuDiscovery::On {
        let up = link.found_budget().lan_mtu();
        if let Some(up) = up.filter(|up| *up < wanted) {
            warn!(
                "--mtu {wanted} asks for more than the path to the relay carries: {up} bytes up, {carried} down; the LAN MTU is {lan_mtu}"
            );
        } else if down.is_some_and(|down| down < wanted) {
            warn!("--mtu {wanted} asks for more than the path from the relay carries: {carried} bytes; the LAN MTU is {lan_mtu}");
        }
    } else if let Some(payload) = sizing.fixed_payload()
        && !arrives(link, payload).await?
    {
        warn!(
            "--mtu {wanted} with --pmtu-discovery off needs UDP payloads of {payload} bytes, and they do not reach the relay: large frames \
             vanish until that is noticed. The way back carries {carried}; use that as --mtu, or leave --pmtu-discovery on"
        );
    }
    Ok(())
}

/// Whether datagrams that make UDP payloads of `payload` bytes arrive, asked a few times between small ones that do.
async fn arrives(link: &Link, payload: u16) -> Result<bool, LinkEnded> {
    let (before, full) = (link.path_facts().lost_packets, payload - PACKET_OVERHEAD);
    let is_given_up = || link.found_budget().0 < full;
    let (full, small) = (Bytes::from(padding(full.into())), Bytes::from(padding(1)));
    for _ in 0..TRIALS {
        link.send_now(&[full.clone(), small.clone()])?;
        tokio::time::sleep(TRIAL_INTERVAL).await;
    }
    let patience = Instant::now() + TRIAL_TIMEOUT_MIN.max(4 * link.rtt().unwrap_or_default());
    while Instant::now() < patience {
        if is_given_up() || link.path_facts().lost_packets - before >= TRIALS {
            return Ok(false);
        }
        link.send_now(std::slice::from_ref(&small))?;
        tokio::time::sleep(TRIAL_INTERVAL).await;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_search_the_payload_is_what_the_mtu_needs_and_never_below_quics_own() {
        let payload = |mtu: Option<u16>| Sizing::new(mtu.and_then(LanMtu::new), PmtuDiscovery::Off).fixed_payload();
        assert_eq!((payload(Some(1417)), payload(Some(576)), payload(None)), (Some(1472), Some(1200), Some(1200)));
        assert_eq!(Sizing::new(LanMtu::new(1417), PmtuDiscovery::On).fixed_payload(), None);
        assert_eq!(Sizing::new(LanMtu::new(1417), PmtuDiscovery::On).budget_max.and_then(DatagramBudget::lan_mtu), LanMtu::new(1417));
    }

    #[test]
    fn a_device_limits_all_who_share_its_limit_as_its_mtu_moves() {
        let limit = DeviceLimit::default();
        let shared = limit.clone();
        let at = |bytes: u32| {
            limit.set_mtu(bytes);
            shared.budget().and_then(DatagramBudget::lan_mtu).map(LanMtu::bytes)
        };
        assert_eq!(shared.budget(), None);
        assert_eq!((at(1400), at(1300), at(1500)), (Some(1400), Some(1300), Some(1500)));
        assert_eq!((at(296), at(9000)), (Some(LAN_MTU_MIN), None), "no room is smaller, and jumbo frames limit nothing");
    }

    #[test]
    fn an_mtu_that_is_none_is_refused_with_the_range() {
        for bad in ["575", "1501", "x", "", "-1", "99999"] {
            assert!(parse_lan_mtu(bad).unwrap_err().contains("576 to 1500"), "{bad}");
        }
    }
}
