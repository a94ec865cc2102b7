//! How the ends of a cable introduce themselves (docs/wire-format.md §9 and §11).

use serde::{Deserialize, Serialize};

use super::{BondPath, Description};
use crate::{DatagramBudget, LanMtu, MacAddr};

/// How an end of a cable introduces itself to the other: whoever dialled first, then the other in answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CableHello {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the sender.
    pub version: u16,
    /// A number that is new with every start of the program: a restarted end is told from one that dials twice.
    pub run: u64,
    /// The MAC address of its own interface.
    pub mac: MacAddr,
    /// Largest datagram its path takes toward the other end.
    pub budget: DatagramBudget,
    /// The largest LAN MTU that its owner wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan_mtu_max: Option<LanMtu>,
    /// In an answer: the LAN MTU from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan_mtu: Option<LanMtu>,
    /// In an answer: when this connection was made, in milliseconds since 1970, so that both ends say the same age in their loop
    /// probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Program and version, for the other end's log.
    #[serde(default)]
    pub software: String,
    /// What this end calls itself, for people.
    #[serde(default, skip_serializing_if = "Description::is_empty")]
    pub description: Description,
    /// What the path is to a bond, when the end that dials brings further ones ([`CableAttach`]); in the answer the same, when the other
    /// end takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<BondPath>,
}

/// The first message on a connection that becomes a further path of a cable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CableAttach {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the sender.
    pub version: u16,
    /// [`CableHello::run`] of the connection that plugged it in.
    pub run: u64,
    /// Which path this is.
    pub bond: BondPath,
    /// So many numbered messages came from the other end: it repeats those after them.
    pub heard: u32,
}
