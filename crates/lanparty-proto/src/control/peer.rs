//! What two members say to each other on a connection between them (docs/wire-format.md §10).

use serde::{Deserialize, Serialize};

use super::BondPath;

/// How two members introduce themselves: whoever dialled, then the other in answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerHello {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the sender.
    pub version: u16,
    /// The uplink of the sender's that this connection uses, when it bonds its uplinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<BondPath>,
    /// So many lines carry the sender's frames to the relay now.
    #[serde(default = "one")]
    pub lines: u8,
}

const fn one() -> u8 {
    1
}

/// From the member with the smaller key: this connection is to carry their direct link, one path of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerPath {
    /// A random number of that link, which only these two know.
    pub run: u64,
    /// Whether the link begins with this connection.
    #[serde(default, skip_serializing_if = "super::is_no")]
    pub begins: bool,
    /// So many numbered messages came from the other member.
    pub heard: u32,
}
