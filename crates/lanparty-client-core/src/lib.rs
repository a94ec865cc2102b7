//! A player's membership: an identity that stays, a TAP that appears in the room's LAN, and words about how it goes.
//!
//! What differs by platform is few and small, and stands behind [`Host`]: the device, addresses, the help for game discovery.

mod addressing;
#[cfg(target_os = "linux")]
mod args;
mod client;
mod host;
mod identity;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod mac_flag;
mod routing;

pub use addressing::{AddressFlag, AddressPlan, AutoWish};
#[cfg(target_os = "linux")]
pub use args::ClientArgs;
pub use client::Client;
pub use host::{Detection, Host, HostFacts, Joining};
pub use identity::identity;
#[cfg(target_os = "linux")]
pub use linux::run;
pub use routing::{RouteFlag, RouteFrom, next_hop, parts};
