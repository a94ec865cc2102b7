//! A member as the others know it (docs/wire-format.md §4).

use serde::{Deserialize, Serialize};

use super::Description;
use crate::{LanMtu, MacAddr, MemberId};

/// What a member is in its room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Role {
    /// Bridges a physical LAN; its frames come from many MAC addresses.
    Gateway,
    /// One host with one virtual MAC address.
    Client,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gateway => "Gateway",
            Self::Client => "Client",
        })
    }
}

/// A member as the relay announces it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemberInfo {
    /// Its number in this room.
    pub id: MemberId,
    /// What it is.
    pub role: Role,
    /// Client: the only source MAC address it may use. Gateway: its interface's own.
    pub mac: MacAddr,
    /// Gateway: whether its LAN has a carrier. Always true for clients.
    #[serde(default = "super::yes")]
    pub lan_up: bool,
    /// What the way to it takes for now, when that is below the room's LAN MTU (see [`Control::PathMtu`](crate::Control::PathMtu)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<LanMtu>,
    /// What it calls itself; a welcome does not say it, [`Control::Descriptions`](crate::Control::Descriptions) does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
}

impl MemberInfo {
    /// What it calls itself, to follow its address in a sentence; nothing when it says nothing.
    #[must_use]
    pub fn in_words(&self) -> String {
        self.description.as_ref().map_or_else(String::new, |said| format!(", calls itself \"{said}\""))
    }
}
