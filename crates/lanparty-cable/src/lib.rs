//! The cable program: layer 2 between two hosts, without a relay. A TAP at each end, one QUIC connection between them, each end
//! known to the other by its key.
//!
//! Addresses, bridges and VLANs are left to the ordinary tools.

mod args;
mod cable;
mod keys;

pub use args::CableArgs;
pub use cable::run;
