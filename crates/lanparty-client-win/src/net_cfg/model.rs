//! A machine in memory: what a policy did to it can be compared with what it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::journal::memory::MemoryStore;

/// The numbers of its interfaces.
pub(crate) const UPLINK: u64 = 10;
pub(crate) const OTHER_UPLINK: u64 = 11;
pub(crate) const TAP: u64 = 77;
pub(crate) const TAP_ID: &str = "{0000004D-0000-0000-0000-4E6574446576}";
pub(crate) const TAP_KEY: &str = "0007";

/// A machine with two uplinks and a TAP; clones are the same machine.
#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<State>>);

/// All that a policy can change, and that must be as before in the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) network_address: BTreeMap<String, String>,
    pub(crate) host_routes: Vec<(IpAddr, Hop)>,
    pub(crate) member_routes: Vec<(IpNet, Hop, MacAddr)>,
    pub(crate) ip: BTreeMap<(String, bool), IpSettings>,
    pub(crate) categories: BTreeMap<String, Category>,
    pub(crate) rules: Vec<String>,
}

pub(crate) struct State {
    pub(crate) settings: Settings,
    /// Default routes, by metric.
    pub(crate) uplinks: Vec<(u64, u32)>,
    pub(crate) addresses: Vec<Ipv4Addr>,
    /// A default route that the LAN's DHCP server gave, unless the TAP ignores those.
    pub(crate) lan_default_metric: Option<u32>,
    pub(crate) profile: Option<String>,
    pub(crate) groups: Vec<(Ipv4Addr, String)>,
    pub(crate) restarts: usize,
    /// Calls that change something until one fails.
    pub(crate) fails_in: Option<usize>,
    /// Whether it then fails for good: the program is dead.
    pub(crate) is_crash: bool,
    /// Whether the change was made all the same.
    pub(crate) fails_late: bool,
    /// Whether it has happened.
    pub(crate) has_struck: bool,
    /// What a crash keeps from being written.
    pub(crate) disk: Option<MemoryStore>,
}

impl Default for State {
    fn default() -> Self {
        let ip = IpSettings { mtu: 1500, automatic_metric: true, metric: 25, ignores_default_routes: false };
        let settings = Settings {
            network_address: BTreeMap::new(),
            host_routes: vec![],
            member_routes: vec![],
            ip: [false, true].map(|is_ipv6| ((TAP_ID.to_owned(), is_ipv6), ip)).into(),
            categories: [("{LAN}".to_owned(), Category::Public)].into(),
            rules: vec!["somebody else's".into()],
        };
        Self {
            settings,
            uplinks: vec![(UPLINK, 25)],
            addresses: vec![],
            lan_default_metric: None,
            profile: None,
            groups: vec![],
            restarts: 0,
            fails_in: None,
            is_crash: false,
            fails_late: false,
            has_struck: false,
            disk: None,
        }
    }
}

impl Model {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    /// Makes a change, or fails as was asked for.
    fn change<T>(&self, make: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = self.state();
        if state.fails_in == Some(0) {
            state.has_struck = true;
            match &state.disk {
                Some(disk) if state.is_crash => disk.0.lock().unwrap().is_dead = true,
                _ => state.fails_in = None,
            }
            if state.fails_late {
                make(&mut state);
                state.fails_late = false;
            }
            return Err(io::Error::other("injected"));
        }
        if let Some(left) = &mut state.fails_in {
            *left -= 1;
        }
        Ok(make(&mut state))
    }
}

impl NetCfg for Model {
    fn tap_adapters(&self) -> io::Result<Vec<TapAdapter>> {
        Ok(vec![TapAdapter {
            instance_id: TAP_ID.into(),
            name: "LAN Party".into(),
            class_key: TAP_KEY.into(),
            component_id: "tap0901".into(),
            network_address: self.network_address(TAP_KEY)?,
        }])
    }

    fn network_address(&self, class_key: &str) -> io::Result<Option<String>> {
        Ok(self.state().settings.network_address.get(class_key).cloned())
    }

    fn set_network_address(&mut self, class_key: &str, address: Option<&str>) -> io::Result<()> {
        self.change(|state| {
            match address {
                Some(address) => state.settings.network_address.insert(class_key.into(), address.into()),
                None => state.settings.network_address.remove(class_key),
            };
        })
    }

    fn restart_adapter(&mut self, _: &str) -> io::Result<()> {
        self.change(|state| state.restarts += 1)
    }

    fn luid(&self, _: &str) -> io::Result<u64> {
        Ok(TAP)
    }

    fn routes(&self, is_ipv6: bool) -> io::Result<Vec<Route>> {
        let state = self.state();
        let any: IpAddr = if is_ipv6 { "::".parse().unwrap() } else { "0.0.0.0".parse().unwrap() };
        let default = |luid, metric| Route { destination: any, prefix: 0, hop: Hop { luid, next_hop: any }, metric };
        let ignored = state.settings.ip[&(TAP_ID.to_owned(), is_ipv6)].ignores_default_routes;
        let lan = state.lan_default_metric.filter(|_| !ignored).map(|metric| default(TAP, metric));
        let host = state.settings.host_routes.iter().filter(|(remote, _)| remote.is_ipv6() == is_ipv6);
        let host = host.map(|(remote, hop)| Route { destination: *remote, prefix: if is_ipv6 { 128 } else { 32 }, hop: *hop, metric: 1 });
        let member = state.settings.member_routes.iter().filter(|(network, ..)| network.addr().is_ipv6() == is_ipv6);
        let member =
            member.map(|(network, hop, _)| Route { destination: network.addr(), prefix: network.prefix_len(), hop: *hop, metric: 1 });
        Ok(state.uplinks.iter().map(|(luid, metric)| default(*luid, *metric)).chain(lan).chain(host).chain(member).collect())
    }

    fn add_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<bool> {
        self.change(|state| {
            let is_new = !state.settings.host_routes.contains(&(remote, hop));
            if is_new {
                state.settings.host_routes.push((remote, hop));
            }
            is_new
        })
    }

    fn remove_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<()> {
        self.change(|state| state.settings.host_routes.retain(|route| *route != (remote, hop)))
    }

    fn add_member_route(&mut self, network: IpNet, hop: Hop, mac: MacAddr) -> io::Result<bool> {
        self.change(|state| {
            let is_new = !state.settings.member_routes.iter().any(|(there, by, _)| (*there, *by) == (network, hop));
            if is_new {
                state.settings.member_routes.push((network, hop, mac));
            }
            is_new
        })
    }

    fn remove_member_route(&mut self, network: IpNet, hop: Hop) -> io::Result<()> {
        self.change(|state| state.settings.member_routes.retain(|(there, by, _)| (*there, *by) != (network, hop)))
    }

    fn forwards(&self, _: &str, is_ipv6: bool) -> io::Result<bool> {
        Ok(is_ipv6)
    }

    fn ip_settings(&self, adapter: &str, is_ipv6: bool) -> io::Result<Option<IpSettings>> {
        Ok(self.state().settings.ip.get(&(adapter.to_owned(), is_ipv6)).copied())
    }

    fn set_ip_settings(&mut self, adapter: &str, is_ipv6: bool, settings: IpSettings) -> io::Result<()> {
        self.change(|state| {
            state.settings.ip.insert((adapter.to_owned(), is_ipv6), settings);
        })
    }

    fn addresses(&self, _: &str) -> io::Result<Vec<Ipv4Addr>> {
        Ok(self.state().addresses.clone())
    }

    fn groups_elsewhere(&self, _: &str) -> io::Result<Vec<(Ipv4Addr, String)>> {
        Ok(self.state().groups.clone())
    }

    fn profile(&self, _: &str) -> io::Result<Option<NetworkProfile>> {
        let state = self.state();
        let Some(id) = state.profile.clone() else { return Ok(None) };
        Ok(state.settings.categories.get(&id).map(|category| NetworkProfile { category: *category, id: id.clone() }))
    }

    fn trust(&mut self, _: &str, category: Category) -> io::Result<()> {
        self.change(|state| {
            let id = state.profile.clone().unwrap();
            state.settings.categories.insert(id, category);
        })
    }

    fn noted_category(&self, profile: &str) -> io::Result<Option<Category>> {
        Ok(self.state().settings.categories.get(profile).copied())
    }

    fn note_category(&mut self, profile: &str, category: Category) -> io::Result<()> {
        self.change(|state| {
            state.settings.categories.insert(profile.into(), category);
        })
    }

    fn add_firewall_rule(&mut self, rule: &str, _: &str) -> io::Result<()> {
        self.change(|state| state.settings.rules.push(rule.into()))
    }

    fn remove_firewall_rule(&mut self, rule: &str) -> io::Result<()> {
        self.change(|state| state.settings.rules.retain(|known| known != rule))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings().fmt(f)
    }
}
