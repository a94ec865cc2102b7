//! Measuring the way between a host and a relay, packet by packet: the service at the relay, and the host's side.
//!
//! Beside QUIC and not through it, because the questions are about sizes that QUIC would never send, and because they must
//! be answered where QUIC does not get through.

mod asker;
mod door;
mod measure;
#[cfg(test)]
mod model;
mod nat;
mod refusal;
mod service;
mod sizes;
mod survey;
mod wire;

pub(crate) use survey::{Opening, Survey};
pub(crate) use wire::bound;

pub use service::{ProbePorts, ProbeReport, ProbeService};
