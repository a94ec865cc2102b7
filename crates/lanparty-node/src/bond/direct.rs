//! What a bond says of its paths to those who make direct links, or whose direct link it is; and what those say of its paths.

use std::net::SocketAddr;
use std::time::Instant;

use lanparty_proto::{BondPath, BondRole};

use super::{BondLink, Shared};
use crate::peers::{PeerSocket, SocketUplink};

impl Shared {
    /// Sends no more by this path than so many bits per second.
    pub(crate) fn limit(&self, path: u8, bits_per_s: Option<u64>) {
        if let Some(path) = self.state().paths.iter_mut().find(|known| known.bond.path == path) {
            path.limit(bits_per_s, Instant::now());
        }
    }
}

impl BondLink {
    /// The sockets of its paths.
    pub(crate) fn sockets(&self) -> Vec<PeerSocket> {
        let state = self.shared().state();
        let socket = |path: &super::Path| {
            let (endpoint, seen) = (path.link.socket()?, state.seen.get(&path.bond.path).copied());
            let uplink = Some(SocketUplink { path: path.bond, interface: path.name.clone(), limit: path.limit });
            Some(PeerSocket { endpoint, uplink, seen })
        };
        state.paths.iter().filter_map(socket).collect()
    }

    /// Its paths that live.
    pub(crate) fn living(&self) -> Vec<BondPath> {
        self.shared().state().living().map(|path| path.bond).collect()
    }

    /// So many paths carry bulk: those that live, but for backups beside others.
    pub(crate) fn lines(&self) -> u8 {
        let state = self.shared().state();
        let (backups, others): (Vec<_>, Vec<_>) = state.living().partition(|path| path.bond.role == BondRole::Backup);
        let lines = if others.is_empty() { backups.len().min(1) } else { others.len() };
        u8::try_from(lines).unwrap_or(u8::MAX)
    }

    /// Whether a living path of this name, or of any when there is none, leads to this address.
    pub(crate) fn leads_by(&self, name: Option<&str>, address: SocketAddr) -> bool {
        let state = self.shared().state();
        state.living().any(|path| name.is_none_or(|name| path.name == name) && path.link.remote_address() == Some(address))
    }
}
