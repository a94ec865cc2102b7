//! Routes through members: each a route by the TAP to an address that nobody has, and who that is to Windows (docs/decisions/0040).

use std::io;

use ipnet::IpNet;
use lanparty_client_core::{next_hop, parts};
use lanparty_proto::{MacAddr, MemberId};
use tracing::warn;

use super::Policy;
use crate::journal::Change;
use crate::net_cfg::{Hop, NetCfg};
use crate::tap_io::TapIo;

impl<T: TapIo, N: NetCfg> Policy<T, N> {
    /// Sets a route to `network` through a member: all of it or nothing.
    ///
    /// # Errors
    /// What Windows said; `AlreadyExists` when there is a route to it, by any adapter.
    pub fn add_route(&mut self, network: IpNet, member: MemberId, mac: MacAddr) -> io::Result<()> {
        let hop = Hop { luid: self.luid, next_hop: next_hop(network, member) };
        let mut made: Vec<Change> = vec![];
        for part in parts(network) {
            let change = Change::MemberRoute { network: part, hop, mac };
            if let Err(e) = self.add_part(part, hop, mac, &change) {
                made.iter().rev().for_each(|change| self.take_back(change));
                return Err(e);
            }
            made.push(change);
        }
        Ok(())
    }

    fn add_part(&mut self, network: IpNet, hop: Hop, mac: MacAddr, change: &Change) -> io::Result<()> {
        if self.net.routes(network.addr().is_ipv6())?.iter().any(|route| route.is_to(network)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.journal.change(change, &mut self.net, |net| net.add_member_route(network, hop, mac))? {
            return Ok(());
        }
        // Somebody else's, and theirs to remove.
        self.journal.strike(change)?;
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes what [`Self::add_route`] has set.
    ///
    /// # Errors
    /// What Windows said; what is left is taken back at the end.
    pub fn remove_route(&mut self, network: IpNet, member: MemberId) -> io::Result<()> {
        let next_hop = next_hop(network, member);
        let parts = parts(network);
        let is_meant = |change: &Change| matches!(change, Change::MemberRoute { network, hop, .. } if hop.next_hop == next_hop && parts.contains(network));
        let meant: Vec<Change> = self.journal.changes().into_iter().filter(is_meant).collect();
        meant.iter().try_for_each(|change| self.journal.undo(change, &mut self.net))
    }

    /// Windows forgets the routes of an adapter that is restarted: sets them anew.
    pub(super) fn restore_routes(&mut self) {
        for change in self.journal.changes() {
            let Change::MemberRoute { network, hop, mac } = change else { continue };
            if let Err(e) = self.net.add_member_route(network, hop, mac) {
                warn!("the route to {network} was lost with the adapter: {e}");
            }
        }
    }

    /// Which of these networks nothing reaches, as Windows does not forward by the TAP.
    pub fn unforwarded<'n>(&self, networks: &'n [IpNet]) -> Vec<&'n IpNet> {
        let forwards = |net: &IpNet| self.net.forwards(&self.adapter.instance_id, net.addr().is_ipv6()).unwrap_or(false);
        networks.iter().filter(|net| !forwards(net)).collect()
    }

    fn take_back(&mut self, change: &Change) {
        if let Err(e) = self.journal.undo(change, &mut self.net) {
            warn!("could not take back {change:?}: {e}; the end of this run tries again");
        }
    }
}
