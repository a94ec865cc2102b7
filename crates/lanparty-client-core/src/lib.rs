//! A player's membership: an identity that stays, a TAP that appears in the room's LAN, and words about how it goes.
//!
//! The parts that differ by platform are few and small: the device, the DHCP client, the help for game discovery.

mod args;
mod client;
mod dhcp;
mod discovery;
mod prepare;
mod scripts;

pub use args::ClientArgs;
pub use client::run;
