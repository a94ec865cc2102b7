//! The relay program: rooms of members on one UDP port, forwarded frame by frame.
//!
//! `lanparty-core` decides; this crate moves its decisions: a task per connection, on one of the relay's threads, one `Hub` that they
//! share, one `Outbox` toward each member.

mod addresses;
mod args;
#[doc(hidden)]
pub mod files;
mod hub;
mod outbox;
mod passwords;
mod rooms;
mod run;
mod serve;
mod streams;
mod tasks;
mod threads;
mod told;

pub use args::RelayArgs;
pub use run::{RunningRelay, run};
pub use tasks::{RelayCommand, end};
