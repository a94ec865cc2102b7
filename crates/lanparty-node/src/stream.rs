//! A link for networks that pass TCP alone: the same datagrams and control messages in TLS, framed as WebSocket
//! (docs/wire-format.md §8, docs/decisions/0014-stream-transport.md).
//!
//! What a frame may do is decided elsewhere. This module promises the verbs of [`crate::Link`], a queue that is short in bytes and in
//! time, and that whatever it drops is counted. Which way a member takes is left to its dialer.

mod challenge;
mod clock;
mod dial;
mod framing;
mod http;
mod inbox;
mod link;
mod listen;
mod proxy;
mod pump;
mod queue;
mod socket;
#[cfg(test)]
mod tests;

pub use dial::{StreamTarget, StreamWay, dial_stream};
pub use link::StreamLink;
pub use listen::{StreamIncoming, StreamListener};
pub use proxy::Proxy;

/// What a member asks a relay's web server for.
const PATH: &str = "/lanparty/1";
