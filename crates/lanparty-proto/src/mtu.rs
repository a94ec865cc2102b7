//! The size contract: which frames a room promises to carry, and which fit a path now (docs/mtu-contract.md).
//!
//! One shared helper, [`frame_fits`], is asked at every boundary: client outbound and inbound, gateway outbound and
//! inbound, relay forwarding. Three sizes that look alike and must never be mixed up have a type each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DropReason, header::DATAGRAM_HEADER_LEN};

/// Destination, source, EtherType: the untagged Ethernet II header, in bytes (IEEE 802.3 §3.1.1).
pub const ETHERNET_HEADER_LEN: usize = 14;
/// Smallest LAN MTU a room agrees on: what IPv4 must carry unfragmented (RFC 791 §3.1 asks 576 of every host).
pub const LAN_MTU_MIN: u16 = 576;
/// Largest LAN MTU a room agrees on: standard Ethernet (IEEE 802.3 §3.2.7). The tunnel carries no jumbo frames.
pub const LAN_MTU_MAX: u16 = 1500;
/// Below this LAN MTU the room cannot carry IPv6 (RFC 8200 §5).
pub const IPV6_LAN_MTU_MIN: u16 = 1280;

/// The IP MTU that a room promises to every member, in bytes: 576 to 1500.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "u16", into = "u16")]
pub struct LanMtu(u16);

impl LanMtu {
    /// The smallest.
    pub const MIN: Self = Self(LAN_MTU_MIN);
    /// The largest: standard Ethernet.
    pub const MAX: Self = Self(LAN_MTU_MAX);

    /// `bytes` as a LAN MTU, or nothing outside 576 to 1500.
    #[must_use]
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes < LAN_MTU_MIN || bytes > LAN_MTU_MAX { None } else { Some(Self(bytes)) }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u16 {
        self.0
    }

    /// The longest frame this LAN MTU allows, in bytes, with its Ethernet header and without FCS.
    #[must_use]
    pub const fn frame_len_max(self) -> usize {
        self.0 as usize + ETHERNET_HEADER_LEN
    }
}

impl TryFrom<u16> for LanMtu {
    type Error = String;

    fn try_from(bytes: u16) -> Result<Self, String> {
        Self::new(bytes).ok_or_else(|| format!("{bytes} is no LAN MTU: {LAN_MTU_MIN} to {LAN_MTU_MAX}"))
    }
}

impl From<LanMtu> for u16 {
    fn from(mtu: LanMtu) -> Self {
        mtu.0
    }
}

impl fmt::Display for LanMtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The largest datagram (RFC 9221 DATAGRAM payload) that a path takes now, in bytes. It moves with path MTU discovery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatagramBudget(pub u16);

impl DatagramBudget {
    /// The budget that a LAN MTU of `mtu` needs.
    #[must_use]
    pub const fn for_lan_mtu(mtu: LanMtu) -> Self {
        const OVERHEAD: u16 = (DATAGRAM_HEADER_LEN + ETHERNET_HEADER_LEN) as u16;
        Self(mtu.0 + OVERHEAD)
    }

    /// The LAN MTU that this path alone would allow: the budget less our datagram header and the Ethernet header.
    /// Nothing when that is below [`LAN_MTU_MIN`]; never above [`LAN_MTU_MAX`].
    #[must_use]
    pub fn lan_mtu(self) -> Option<LanMtu> {
        let overhead = DATAGRAM_HEADER_LEN + ETHERNET_HEADER_LEN;
        let room = usize::from(self.0).checked_sub(overhead)?.min(usize::from(LAN_MTU_MAX));
        LanMtu::new(u16::try_from(room).ok()?)
    }
}

impl fmt::Display for DatagramBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The IP MTU of an uplink, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireMtu(pub u32);

/// What [`frame_fits`] found.
pub type SizeVerdict = Result<(), DropReason>;

/// Whether a frame of `frame_len` bytes (Ethernet header included, FCS not) may cross this boundary.
///
/// `budget` is the path the frame would leave by; a boundary that sends nothing to the network passes `None`.
///
/// # Errors
/// [`DropReason::TapMtuExceeded`] when the frame is above the room's LAN MTU; [`DropReason::DatagramBudget`] when it is
/// within it but does not fit this path's datagram now.
pub fn frame_fits(frame_len: usize, lan_mtu: LanMtu, budget: Option<DatagramBudget>) -> SizeVerdict {
    if frame_len > lan_mtu.frame_len_max() {
        return Err(DropReason::TapMtuExceeded);
    }
    match budget {
        Some(budget) if frame_len + DATAGRAM_HEADER_LEN > usize::from(budget.0) => Err(DropReason::DatagramBudget),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tap_mtu_is_the_last_frame_that_passes_and_one_byte_more_is_exceeded() {
        let mtu = LanMtu::new(1390).unwrap();
        assert_eq!(frame_fits(1390 + 14, mtu, None), Ok(()));
        assert_eq!(frame_fits(1390 + 15, mtu, None), Err(DropReason::TapMtuExceeded));
    }

    #[test]
    fn tap_mtu_is_named_before_the_budget() {
        let (mtu, tight) = (LanMtu::new(1390).unwrap(), Some(DatagramBudget(1000)));
        assert_eq!(frame_fits(1405, mtu, tight), Err(DropReason::TapMtuExceeded));
        assert_eq!(frame_fits(1404, mtu, tight), Err(DropReason::DatagramBudget));
        assert_eq!(frame_fits(1000 - DATAGRAM_HEADER_LEN, mtu, tight), Ok(()));
        assert_eq!(frame_fits(1000 - DATAGRAM_HEADER_LEN + 1, mtu, tight), Err(DropReason::DatagramBudget));
    }

    #[test]
    fn tap_mtu_from_a_budget_leaves_room_for_both_headers() {
        let mtu = DatagramBudget(1410).lan_mtu().unwrap();
        assert_eq!(frame_fits(mtu.frame_len_max(), mtu, Some(DatagramBudget(1410))), Ok(()));
        assert_eq!(DatagramBudget(9000).lan_mtu(), Some(LanMtu::MAX));
        assert_eq!(DatagramBudget(500).lan_mtu(), None);
        assert_eq!(DatagramBudget(3).lan_mtu(), None);
    }
}
