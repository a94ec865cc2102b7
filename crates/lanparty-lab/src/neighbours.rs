//! A host's neighbour table (ARP).

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::namespace::Namespace;

/// One row of a host's neighbour table (ARP).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The neighbour's address.
    pub address: Ipv4Addr,
    /// Its MAC address, when it answered.
    pub mac: Option<String>,
    /// The kernel's word for its state: `REACHABLE`, `STALE`, `FAILED`.
    pub state: String,
}

#[derive(Deserialize)]
struct NeighbourRow {
    dst: Ipv4Addr,
    lladdr: Option<String>,
    #[serde(default)]
    state: Vec<String>,
}

/// The IPv4 neighbours of a host.
pub fn neighbours(host: &Namespace) -> Result<Vec<Neighbour>> {
    let rows: Vec<NeighbourRow> = serde_json::from_str(&host.ip("-j -4 neigh show")?.stdout).context("the answer of `ip -j neigh`")?;
    Ok(rows.into_iter().map(|row| Neighbour { address: row.dst, mac: row.lladdr, state: row.state.join(" ") }).collect())
}
