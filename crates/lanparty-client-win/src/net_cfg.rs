//! What the client asks of Windows' network settings, and tells them: the seam between the policy and the machine.

#[cfg(test)]
pub(crate) mod model;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use lanparty_proto::MacAddr;
use serde::{Deserialize, Serialize};

use crate::adapter::TapAdapter;

#[cfg(test)]
pub(crate) use model::Model;

/// The way out toward somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hop {
    /// The interface, by the number that stays (NET_LUID).
    pub luid: u64,
    /// The router; unspecified when the destination is on the link itself.
    pub next_hop: IpAddr,
}

/// A route that may be used now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The first address of what it leads to.
    pub destination: IpAddr,
    /// Bits of that which count.
    pub prefix: u8,
    /// The way.
    pub hop: Hop,
    /// Its own metric and its interface's; lower is preferred.
    pub metric: u32,
}

impl Route {
    /// Whether it leads to `remote` and to nobody else.
    #[must_use]
    pub fn is_for_alone(&self, remote: IpAddr) -> bool {
        self.destination == remote && self.prefix == if remote.is_ipv6() { 128 } else { 32 }
    }

    /// Whether it leads to that network, and not only to a part of it.
    #[must_use]
    pub fn is_to(&self, network: IpNet) -> bool {
        self.destination == network.addr() && self.prefix == network.prefix_len()
    }

    fn leads_to(&self, remote: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        let ((there, len), (here, _)) = (bits(remote), bits(self.destination));
        let differing = (there ^ here).leading_zeros();
        self.destination.is_ipv6() == remote.is_ipv6() && u32::from(self.prefix).min(len) <= differing
    }
}

/// The most special route that leads to `remote`, and of those the one with the lowest metric.
#[must_use]
pub fn preferred(routes: &[Route], remote: IpAddr) -> Option<Hop> {
    let leading = routes.iter().filter(|route| route.leads_to(remote));
    leading.min_by_key(|route| (std::cmp::Reverse(route.prefix), route.metric)).map(|route| route.hop)
}

/// How the IP stack uses an interface for one address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpSettings {
    /// IP MTU in bytes.
    pub mtu: u32,
    /// Whether Windows chooses the metric.
    pub automatic_metric: bool,
    /// What is added to the metric of its routes; lower is preferred.
    pub metric: u32,
    /// Whether default routes over it are left out.
    pub ignores_default_routes: bool,
}

/// How far Windows trusts the network behind an adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Category {
    /// A stranger's.
    Public,
    /// The user's own.
    Private,
    /// That of an organisation.
    Domain,
}

/// A network that Windows has recognised, by its profile, which it keeps while the network is away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkProfile {
    /// `{GUID}`.
    pub id: String,
    /// How far it is trusted.
    pub category: Category,
}

/// Windows' network settings. Adapters are named by `{GUID}`, which stays over restarts.
///
/// Each call is complete when it returns. Taking back what is no longer there is a success.
pub trait NetCfg {
    /// The TAP-Windows6 adapters.
    ///
    /// # Errors
    /// What Windows said; that there are none is no error.
    fn tap_adapters(&self) -> io::Result<Vec<TapAdapter>>;

    /// The MAC address that the driver of this key will take when it starts.
    ///
    /// # Errors
    /// What Windows said.
    fn network_address(&self, class_key: &str) -> io::Result<Option<String>>;

    /// Sets or removes it.
    ///
    /// # Errors
    /// What Windows said.
    fn set_network_address(&mut self, class_key: &str, address: Option<&str>) -> io::Result<()>;

    /// Restarts the adapter, so that its driver reads its settings anew.
    ///
    /// # Errors
    /// What Windows said.
    fn restart_adapter(&mut self, class_key: &str) -> io::Result<()>;

    /// The number of an adapter.
    ///
    /// # Errors
    /// When there is none of this name.
    fn luid(&self, adapter: &str) -> io::Result<u64>;

    /// The routes of an address family.
    ///
    /// # Errors
    /// What Windows said.
    fn routes(&self, is_ipv6: bool) -> io::Result<Vec<Route>>;

    /// The way by which this machine reaches `remote` now.
    ///
    /// # Errors
    /// When there is none.
    fn route_to(&self, remote: IpAddr) -> io::Result<Hop> {
        preferred(&self.routes(remote.is_ipv6())?, remote).ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// The way by which it would without the adapter with this number, and without a route for `remote` alone.
    ///
    /// # Errors
    /// When there is none.
    fn way_out(&self, remote: IpAddr, but: u64) -> io::Result<Hop> {
        let mut routes = self.routes(remote.is_ipv6())?;
        routes.retain(|route| route.hop.luid != but && !route.is_for_alone(remote));
        preferred(&routes, remote).ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// Lets packets for `remote` alone take this way. Whether the route is new.
    ///
    /// # Errors
    /// What Windows said.
    fn add_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<bool>;

    /// Removes it.
    ///
    /// # Errors
    /// What Windows said.
    fn remove_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<()>;

    /// Lets packets for `network` take this way, whose next hop is the machine with that MAC address. Whether the route is new.
    ///
    /// # Errors
    /// What Windows said.
    fn add_member_route(&mut self, network: IpNet, hop: Hop, mac: MacAddr) -> io::Result<bool>;

    /// Removes it.
    ///
    /// # Errors
    /// What Windows said.
    fn remove_member_route(&mut self, network: IpNet, hop: Hop) -> io::Result<()>;

    /// Whether Windows forwards what comes in by an adapter.
    ///
    /// # Errors
    /// What Windows said.
    fn forwards(&self, adapter: &str, is_ipv6: bool) -> io::Result<bool>;

    /// How an adapter is used; nothing where this address family is not bound to it.
    ///
    /// # Errors
    /// What Windows said.
    fn ip_settings(&self, adapter: &str, is_ipv6: bool) -> io::Result<Option<IpSettings>>;

    /// Sets all of it.
    ///
    /// # Errors
    /// What Windows said.
    fn set_ip_settings(&mut self, adapter: &str, is_ipv6: bool, settings: IpSettings) -> io::Result<()>;

    /// The IPv4 addresses that may be used on an adapter.
    ///
    /// # Errors
    /// What Windows said.
    fn addresses(&self, adapter: &str) -> io::Result<Vec<Ipv4Addr>>;

    /// Multicast groups that programs have joined on other adapters and not on this one: the group, and where.
    ///
    /// # Errors
    /// What Windows said.
    fn groups_elsewhere(&self, adapter: &str) -> io::Result<Vec<(Ipv4Addr, String)>>;

    /// The network behind an adapter; nothing until Windows has recognised it. Takes seconds.
    ///
    /// # Errors
    /// What Windows said.
    fn profile(&self, adapter: &str) -> io::Result<Option<NetworkProfile>>;

    /// Trusts the network behind an adapter so far, at once. Takes seconds.
    ///
    /// # Errors
    /// What Windows said.
    fn trust(&mut self, adapter: &str, category: Category) -> io::Result<()>;

    /// What Windows has noted of a network, also while it is away; nothing when it has forgotten it.
    ///
    /// # Errors
    /// What Windows said.
    fn noted_category(&self, profile: &str) -> io::Result<Option<Category>>;

    /// Notes it, for the next time that the network is there.
    ///
    /// # Errors
    /// What Windows said.
    fn note_category(&mut self, profile: &str, category: Category) -> io::Result<()>;

    /// Lets hosts of the adapter's own network in, by this adapter alone. Takes seconds.
    ///
    /// # Errors
    /// What Windows said.
    fn add_firewall_rule(&mut self, rule: &str, adapter: &str) -> io::Result<()>;

    /// Removes it.
    ///
    /// # Errors
    /// What Windows said.
    fn remove_firewall_rule(&mut self, rule: &str) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, prefix: u8, luid: u64, metric: u32) -> Route {
        let destination: IpAddr = destination.parse().unwrap();
        Route { destination, prefix, hop: Hop { luid, next_hop: destination }, metric }
    }

    #[test]
    fn the_longer_prefix_wins_and_among_equals_the_lower_metric() {
        let routes = [
            route("0.0.0.0", 0, 1, 25),
            route("0.0.0.0", 0, 2, 10),
            route("192.0.2.0", 24, 3, 900),
            route("192.0.2.7", 32, 4, 900),
            route("::", 0, 5, 1),
            route("2001:db8::", 32, 6, 1),
        ];
        for (remote, luid) in [("198.51.100.1", 2), ("192.0.2.1", 3), ("192.0.2.7", 4), ("2001:db8::1", 6), ("2001:db9::1", 5)] {
            assert_eq!(preferred(&routes, remote.parse().unwrap()).map(|hop| hop.luid), Some(luid), "{remote}");
        }
        assert_eq!(preferred(&routes[2..4], "198.51.100.1".parse().unwrap()), None);
    }
}
