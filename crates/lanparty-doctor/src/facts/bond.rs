//! The uplinks that a member on this host uses at once.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct BondUplink {
    /// Its interface.
    pub interface: String,
    /// Why it carries nothing, in words, when it does not.
    pub trouble: Option<String>,
    /// The routers of its default routes.
    pub routers: Vec<IpAddr>,
    /// The networks that it is on, as `192.168.1.0/24`.
    pub networks: Vec<String>,
    /// The LAN MTU that its path takes, in bytes.
    pub lan_mtu: Option<u16>,
}
