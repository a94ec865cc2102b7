//! What is said of a bond's paths, and of tests of it (docs/wire-format.md §11 and §12).

use serde::{Deserialize, Serialize};

use crate::{DatagramBudget, RoomCode};

/// What its owner uses an uplink for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BondRole {
    /// As much as it carries.
    #[default]
    Primary,
    /// For what the primary ones have no room for.
    Secondary,
    /// While no other one lives.
    Backup,
}

/// One path of a bond, as the member that has it names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BondPath {
    /// Its number at the member: a new connection of the same number takes the place of the old one.
    pub path: u8,
    /// What it is used for, both ways.
    #[serde(default)]
    pub role: BondRole,
    /// The most that may be sent to the member this way, in bits per second, when its owner has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// The first message on a connection that becomes a further path of one that joined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attach {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the sender.
    pub version: u16,
    /// The room.
    pub room: RoomCode,
    /// [`Hello::run`](crate::Hello::run) of the connection that joined: a copied identity on another machine cannot know it.
    pub run: u64,
    /// Which path this is.
    pub bond: BondPath,
    /// Largest datagram that it takes toward the relay.
    pub budget: DatagramBudget,
    /// So many numbered messages came from the relay: it repeats those after them.
    pub heard: u32,
}

/// What a member asks of the relay in a test of its bond (docs/decisions/0025-bond-test.md).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum TrialStep {
    /// Take part in a test.
    Begin,
    /// Send me as much as the bond, or one path of it, takes.
    Load {
        /// The number of the path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<u8>,
        /// For so many milliseconds.
        ms: u32,
    },
    /// Tell me how much has arrived.
    Count,
    /// It is over.
    End,
    /// Of a newer version: only told how much has arrived.
    #[serde(other)]
    Unknown,
}
