//! The client for Windows: a TAP-Windows6 adapter appears in the room's LAN, and this machine is as it was when the program ends.
//!
//! What may happen to the machine, in which order, and how it is taken back is decided by [`policy`] above two small seams,
//! [`tap_io::TapIo`] and [`net_cfg::NetCfg`], and tested on every platform. What lies below them is Windows'.

pub mod adapter;
pub mod cli;
pub mod game;
pub mod journal;
pub mod log_file;
pub mod net_cfg;
pub mod policy;
pub mod recording;
pub mod selftest;
pub mod tap_io;
#[cfg(windows)]
pub mod windows;
