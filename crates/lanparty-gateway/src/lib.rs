//! The gateway program: bridges a physical LAN into a room.
//!
//! Sends up what the LAN floods and what is addressed to remote members; injects what they send; keeps the LAN's switches
//! informed of their MAC addresses; and stays joined when the LAN's cable is pulled.

mod args;
mod dhcp;
mod gateway;
mod lan;
mod standby;

pub use args::GatewayArgs;
pub use gateway::run;
