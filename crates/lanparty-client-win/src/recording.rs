//! `--dry-run-netcfg FILE`: what would be changed on this machine is written into a file, one line of JSON each, and remembered as if it
//! had been done. Adapters, addresses and routes are the machine's own.
//!
//! For tests where the real calls do not exist, and for whoever wants to see what the program would do. The product's own path stays
//! whole: the policy above does not know which of the two it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use lanparty_proto::MacAddr;
use serde_json::{Value, json};

use crate::adapter::TapAdapter;
use crate::net_cfg::{Category, Hop, IpSettings, NetCfg, NetworkProfile, Route};

/// What Windows gives a new TAP.
const NEW_ADAPTER: IpSettings = IpSettings { mtu: 1500, automatic_metric: true, metric: 25, ignores_default_routes: false };

/// Reads from `N`, writes into a file. Clones record into the same one.
#[derive(Clone)]
pub struct Recording<N> {
    real: N,
    state: Arc<Mutex<State>>,
}

struct State {
    file: File,
    network_address: BTreeMap<String, Option<String>>,
    routes: Vec<(IpAddr, Hop)>,
    member_routes: Vec<(IpNet, Hop)>,
    ip: BTreeMap<(String, bool), IpSettings>,
    categories: BTreeMap<String, Category>,
}

impl<N> Recording<N> {
    /// Records into a new file at `path`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(real: N, path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let (network_address, ip, categories) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let state = State { file, network_address, routes: vec![], member_routes: vec![], ip, categories };
        Ok(Self { real, state: Arc::new(Mutex::new(state)) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, call: &Value) -> io::Result<()> {
        writeln!(self.state().file, "{call}")
    }
}

impl<N: NetCfg> NetCfg for Recording<N> {
    fn tap_adapters(&self) -> io::Result<Vec<TapAdapter>> {
        self.real.tap_adapters()
    }

    fn network_address(&self, class_key: &str) -> io::Result<Option<String>> {
        let known = self.state().network_address.get(class_key).cloned();
        known.map_or_else(|| self.real.network_address(class_key), Ok)
    }

    fn set_network_address(&mut self, class_key: &str, address: Option<&str>) -> io::Result<()> {
        self.state().network_address.insert(class_key.to_owned(), address.map(str::to_owned));
        self.record(&json!({ "call": "set-network-address", "key": class_key, "address": address }))
    }

    fn restart_adapter(&mut self, class_key: &str) -> io::Result<()> {
        self.record(&json!({ "call": "restart-adapter", "key": class_key }))
    }

    fn luid(&self, adapter: &str) -> io::Result<u64> {
        self.real.luid(adapter)
    }

    fn routes(&self, is_ipv6: bool) -> io::Result<Vec<Route>> {
        let mut routes = self.real.routes(is_ipv6)?;
        let prefix = if is_ipv6 { 128 } else { 32 };
        let ours = self.state().routes.clone().into_iter().filter(|(remote, _)| remote.is_ipv6() == is_ipv6);
        routes.extend(ours.map(|(destination, hop)| Route { destination, prefix, hop, metric: 0 }));
        let member = self.state().member_routes.clone().into_iter().filter(|(network, _)| network.addr().is_ipv6() == is_ipv6);
        routes.extend(member.map(|(network, hop)| Route { destination: network.addr(), prefix: network.prefix_len(), hop, metric: 0 }));
        Ok(routes)
    }

    fn add_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<bool> {
        let is_new = !self.state().routes.contains(&(remote, hop));
        if is_new {
            self.state().routes.push((remote, hop));
            self.record(&json!({ "call": "add-host-route", "remote": remote, "via": hop.next_hop }))?;
        }
        Ok(is_new)
    }

    fn remove_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<()> {
        self.state().routes.retain(|route| *route != (remote, hop));
        self.record(&json!({ "call": "remove-host-route", "remote": remote, "via": hop.next_hop }))
    }

    fn add_member_route(&mut self, network: IpNet, hop: Hop, mac: MacAddr) -> io::Result<bool> {
        let is_new = !self.state().member_routes.contains(&(network, hop));
        if is_new {
            self.state().member_routes.push((network, hop));
            self.record(&json!({ "call": "add-member-route", "network": network, "via": hop.next_hop, "mac": mac }))?;
        }
        Ok(is_new)
    }

    fn remove_member_route(&mut self, network: IpNet, hop: Hop) -> io::Result<()> {
        self.state().member_routes.retain(|route| *route != (network, hop));
        self.record(&json!({ "call": "remove-member-route", "network": network, "via": hop.next_hop }))
    }

    /// As Windows has it for a new adapter.
    fn forwards(&self, _: &str, _: bool) -> io::Result<bool> {
        Ok(false)
    }

    fn ip_settings(&self, adapter: &str, is_ipv6: bool) -> io::Result<Option<IpSettings>> {
        Ok(Some(self.state().ip.get(&(adapter.to_owned(), is_ipv6)).copied().unwrap_or(NEW_ADAPTER)))
    }

    fn set_ip_settings(&mut self, adapter: &str, is_ipv6: bool, settings: IpSettings) -> io::Result<()> {
        self.state().ip.insert((adapter.to_owned(), is_ipv6), settings);
        self.record(&json!({ "call": "set-ip-settings", "ipv6": is_ipv6, "settings": settings }))
    }

    fn addresses(&self, adapter: &str) -> io::Result<Vec<Ipv4Addr>> {
        self.real.addresses(adapter)
    }

    fn groups_elsewhere(&self, adapter: &str) -> io::Result<Vec<(Ipv4Addr, String)>> {
        self.real.groups_elsewhere(adapter)
    }

    fn profile(&self, adapter: &str) -> io::Result<Option<NetworkProfile>> {
        let category = self.noted_category(adapter)?.unwrap_or(Category::Public);
        Ok(Some(NetworkProfile { id: adapter.to_owned(), category }))
    }

    fn trust(&mut self, adapter: &str, category: Category) -> io::Result<()> {
        self.state().categories.insert(adapter.to_owned(), category);
        self.record(&json!({ "call": "trust", "category": category }))
    }

    fn noted_category(&self, profile: &str) -> io::Result<Option<Category>> {
        Ok(self.state().categories.get(profile).copied())
    }

    fn note_category(&mut self, profile: &str, category: Category) -> io::Result<()> {
        self.state().categories.insert(profile.to_owned(), category);
        self.record(&json!({ "call": "note-category", "category": category }))
    }

    fn add_firewall_rule(&mut self, rule: &str, _: &str) -> io::Result<()> {
        self.record(&json!({ "call": "add-firewall-rule", "rule": rule }))
    }

    fn remove_firewall_rule(&mut self, rule: &str) -> io::Result<()> {
        self.record(&json!({ "call": "remove-firewall-rule", "rule": rule }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_cfg::Model;
    use crate::net_cfg::model::TAP_ID;

    #[test]
    fn what_was_recorded_is_remembered_and_the_machine_is_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls.json");
        let (machine, remote) = (Model::default(), "203.0.113.7".parse().unwrap());
        let before = machine.settings();
        let mut net = Recording::create(machine.clone(), &path).unwrap();
        let hop = net.way_out(remote, 77).unwrap();
        assert!(net.add_host_route(remote, hop).unwrap());
        assert!(net.routes(false).unwrap().iter().any(|route| route.is_for_alone(remote)));
        net.set_ip_settings(TAP_ID, false, IpSettings { metric: 1, ..NEW_ADAPTER }).unwrap();
        assert_eq!(net.ip_settings(TAP_ID, false).unwrap().unwrap().metric, 1);
        net.remove_host_route(remote, hop).unwrap();
        let (network, mac) = ("198.51.100.0/24".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 7]));
        assert!(net.add_member_route(network, hop, mac).unwrap() && !net.add_member_route(network, hop, mac).unwrap());
        assert!(net.routes(false).unwrap().iter().any(|route| route.is_to(network)));
        net.remove_member_route(network, hop).unwrap();
        let calls: Vec<Value> = std::fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = calls.iter().map(|call| call["call"].as_str().unwrap()).collect();
        assert_eq!(names, ["add-host-route", "set-ip-settings", "remove-host-route", "add-member-route", "remove-member-route"]);
        assert_eq!(machine.settings(), before);
    }
}
