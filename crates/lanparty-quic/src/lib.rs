//! QUIC connections and their UDP sockets: the state machines of `quinn-proto`, driven by one task for each socket.
//!
//! - **What comes** is read in batches and given to its connections at once, without a queue between; then those who wait for it run, and
//!   only after them the connections send what is due (`driver`). So an acknowledgement travels with the answer when there is one.
//! - **What an application sends** leaves in its own turn, as one burst as long as the kernel takes (`send`). What the path or the kernel
//!   does not take yet goes later, from the task.
//! - **Timers** of all connections are one heap and one sleep. A connection's is only ever moved forward; one that is not needed any more
//!   is found out when it fires (`queue`).
//!
//! A connection is an allocation and no task of its own: an idle one costs what its state machine does.

mod connection;
mod driver;
mod endpoint;
mod queue;
mod recv;
mod send;
#[cfg_attr(windows, path = "socket_windows.rs")]
mod socket;
mod streams;

pub use noq_udp as udp;
pub use quinn_proto::{
    AckFrequencyConfig, ClientConfig, ConnectError, ConnectionError, ConnectionId, ConnectionIdGenerator, ConnectionStats, EndpointConfig,
    HashedConnectionIdGenerator, IdleTimeout, InvalidCid, MtuDiscoveryConfig, RttEstimator, ServerConfig, TransportConfig,
    TransportErrorCode, VarInt, congestion, crypto,
};

pub use connection::{Connecting, Connection, SendDatagramError};
pub use endpoint::{Endpoint, Incoming, RetryError};
pub use streams::{ReadError, RecvStream, SendStream, WriteError};

#[cfg(test)]
mod tests;
