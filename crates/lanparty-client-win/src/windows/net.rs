//! The real network settings: the registry, IP Helper, and what only Windows' own programs can be asked.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use lanparty_nic::windows::{self as nic, Adapter, IpInterface, RouteHop};
use lanparty_proto::MacAddr;
use winreg::RegKey;
use winreg::enums::{HKEY_LOCAL_MACHINE, KEY_READ, KEY_SET_VALUE};

use super::shell;
use crate::adapter::{NETWORK_CLASS, TapAdapter, is_tap};
use crate::net_cfg::{Category, Hop, IpSettings, NetCfg, NetworkProfile, Route};

/// Where the names of connections are, which users may change.
const CONNECTIONS: &str = r"SYSTEM\CurrentControlSet\Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}";
/// What Windows has noted of networks.
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\NetworkList\Profiles";

/// This machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowsNet;

fn open(path: &str) -> io::Result<Option<RegKey>> {
    match RegKey::predef(HKEY_LOCAL_MACHINE).open_subkey_with_flags(path, KEY_READ) {
        Ok(key) => Ok(Some(key)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A value; nothing where there is none.
fn text(key: &RegKey, name: &str) -> io::Result<Option<String>> {
    match key.get_value::<String, _>(name) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn connection_name(instance_id: &str) -> Option<String> {
    let key = open(&format!(r"{CONNECTIONS}\{instance_id}\Connection")).ok()??;
    text(&key, "Name").ok()?
}

/// Keys that cannot be read, as `Properties`, are no adapters of ours.
fn tap_adapter(class: &RegKey, class_key: &str) -> Option<TapAdapter> {
    let key = class.open_subkey_with_flags(class_key, KEY_READ).ok()?;
    let component_id = text(&key, "ComponentId").ok()?.filter(|id| is_tap(id))?;
    let instance_id = text(&key, "NetCfgInstanceId").ok()??;
    let network_address = text(&key, "NetworkAddress").ok()?;
    let name = connection_name(&instance_id).unwrap_or_else(|| instance_id.clone());
    Some(TapAdapter { instance_id, name, class_key: class_key.to_owned(), component_id, network_address })
}

fn adapter(instance_id: &str) -> io::Result<Adapter> {
    let found = nic::adapters()?.into_iter().find(|adapter| adapter.guid.eq_ignore_ascii_case(instance_id));
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The index is for people alone: Windows takes the number that stays.
const fn route_hop(hop: Hop) -> RouteHop {
    RouteHop { luid: hop.luid, index: 0, next_hop: hop.next_hop }
}

const fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv6() { 128 } else { 32 }
}

const fn settings(interface: IpInterface) -> IpSettings {
    let IpInterface { mtu, automatic_metric, metric, ignores_default_routes } = interface;
    IpSettings { mtu, automatic_metric, metric, ignores_default_routes }
}

impl NetCfg for WindowsNet {
    fn tap_adapters(&self) -> io::Result<Vec<TapAdapter>> {
        let Some(class) = open(NETWORK_CLASS)? else { return Ok(vec![]) };
        let keys: Vec<String> = class.enum_keys().filter_map(Result::ok).collect();
        Ok(keys.iter().filter_map(|key| tap_adapter(&class, key)).collect())
    }

    fn network_address(&self, class_key: &str) -> io::Result<Option<String>> {
        let key = open(&format!(r"{NETWORK_CLASS}\{class_key}"))?.ok_or(io::ErrorKind::NotFound)?;
        text(&key, "NetworkAddress")
    }

    fn set_network_address(&mut self, class_key: &str, address: Option<&str>) -> io::Result<()> {
        let path = format!(r"{NETWORK_CLASS}\{class_key}");
        let key = RegKey::predef(HKEY_LOCAL_MACHINE).open_subkey_with_flags(path, KEY_READ | KEY_SET_VALUE)?;
        match address {
            Some(address) => key.set_value("NetworkAddress", &address),
            None => key.delete_value("NetworkAddress").or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }),
        }
    }

    fn restart_adapter(&mut self, class_key: &str) -> io::Result<()> {
        nic::restart_network_adapter(class_key)
    }

    fn luid(&self, adapter: &str) -> io::Result<u64> {
        nic::guid_to_luid(adapter)
    }

    fn routes(&self, is_ipv6: bool) -> io::Result<Vec<Route>> {
        let adapters = nic::adapters()?;
        let usable = |row: nic::RouteRow| {
            let adapter = adapters.iter().find(|adapter| adapter.luid == row.hop.luid && adapter.is_up)?;
            let metric = row.metric.saturating_add(adapter.metrics[usize::from(is_ipv6)]);
            let hop = Hop { luid: row.hop.luid, next_hop: row.hop.next_hop };
            Some(Route { destination: row.destination, prefix: row.prefix, hop, metric })
        };
        Ok(nic::routes(is_ipv6)?.into_iter().filter_map(usable).collect())
    }

    /// As Windows itself decides, not as its table reads.
    fn route_to(&self, remote: IpAddr) -> io::Result<Hop> {
        nic::best_route(remote).map(|hop| Hop { luid: hop.luid, next_hop: hop.next_hop })
    }

    fn add_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<bool> {
        nic::create_route(remote, bits(remote), route_hop(hop))
    }

    fn remove_host_route(&mut self, remote: IpAddr, hop: Hop) -> io::Result<()> {
        nic::delete_route(remote, bits(remote), route_hop(hop)).map(drop)
    }

    fn add_member_route(&mut self, network: IpNet, hop: Hop, mac: MacAddr) -> io::Result<bool> {
        nic::set_neighbour(route_hop(hop), mac)?;
        nic::create_route(network.addr(), network.prefix_len(), route_hop(hop))
    }

    /// The neighbour stays while another route leads through it.
    fn remove_member_route(&mut self, network: IpNet, hop: Hop) -> io::Result<()> {
        nic::delete_route(network.addr(), network.prefix_len(), route_hop(hop))?;
        let is_through = |row: &nic::RouteRow| (row.hop.luid, row.hop.next_hop) == (hop.luid, hop.next_hop);
        if !nic::routes(network.addr().is_ipv6())?.iter().any(is_through) {
            nic::delete_neighbour(route_hop(hop))?;
        }
        Ok(())
    }

    fn forwards(&self, adapter: &str, is_ipv6: bool) -> io::Result<bool> {
        nic::forwards(nic::guid_to_luid(adapter)?, is_ipv6)
    }

    fn ip_settings(&self, adapter: &str, is_ipv6: bool) -> io::Result<Option<IpSettings>> {
        let luid = self.luid(adapter)?;
        match nic::ip_interface(luid, is_ipv6) {
            Ok(interface) => Ok(Some(settings(interface))),
            // IPv6 can be unbound; IPv4 of an adapter that has just been started is bound in a moment.
            Err(e) if is_ipv6 && e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn set_ip_settings(&mut self, adapter: &str, is_ipv6: bool, wanted: IpSettings) -> io::Result<()> {
        let IpSettings { mtu, automatic_metric, metric, ignores_default_routes } = wanted;
        nic::set_ip_interface(self.luid(adapter)?, is_ipv6, IpInterface { mtu, automatic_metric, metric, ignores_default_routes })
    }

    fn addresses(&self, instance_id: &str) -> io::Result<Vec<Ipv4Addr>> {
        let usable = adapter(instance_id)?.addresses.into_iter().filter(|address| address.is_preferred);
        Ok(usable.filter_map(|address| if let IpAddr::V4(ip) = address.ip { Some(ip) } else { None }).collect())
    }

    fn groups_elsewhere(&self, instance_id: &str) -> io::Result<Vec<(Ipv4Addr, String)>> {
        let all = nic::adapters()?;
        let is_ours = |adapter: &Adapter| adapter.guid.eq_ignore_ascii_case(instance_id);
        let here: Vec<IpAddr> = all.iter().find(|adapter| is_ours(adapter)).map(|adapter| adapter.groups.clone()).unwrap_or_default();
        let others = all.iter().filter(|adapter| !is_ours(adapter) && adapter.kind != nic::AdapterKind::Loopback && adapter.is_up);
        let elsewhere = others.flat_map(|adapter| adapter.groups.iter().map(move |group| (*group, &adapter.name)));
        let v4 = elsewhere.filter(|(group, _)| !here.contains(group));
        Ok(v4.filter_map(|(group, name)| if let IpAddr::V4(group) = group { Some((group, name.clone())) } else { None }).collect())
    }

    fn profile(&self, adapter: &str) -> io::Result<Option<NetworkProfile>> {
        shell::profile(self::adapter(adapter)?.index)
    }

    fn trust(&mut self, adapter: &str, category: Category) -> io::Result<()> {
        shell::set_category(self::adapter(adapter)?.index, category)
    }

    fn noted_category(&self, profile: &str) -> io::Result<Option<Category>> {
        let Some(key) = open(&format!(r"{PROFILES}\{profile}"))? else { return Ok(None) };
        match key.get_value::<u32, _>("Category") {
            Ok(number) => Ok(category(number)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn note_category(&mut self, profile: &str, category: Category) -> io::Result<()> {
        let path = format!(r"{PROFILES}\{profile}");
        let key = RegKey::predef(HKEY_LOCAL_MACHINE).open_subkey_with_flags(path, KEY_READ | KEY_SET_VALUE)?;
        let number: u32 = match category {
            Category::Public => 0,
            Category::Private => 1,
            Category::Domain => 2,
        };
        key.set_value("Category", &number)
    }

    fn add_firewall_rule(&mut self, rule: &str, adapter: &str) -> io::Result<()> {
        shell::add_firewall_rule(rule, &self::adapter(adapter)?.name)
    }

    fn remove_firewall_rule(&mut self, rule: &str) -> io::Result<()> {
        shell::remove_firewall_rule(rule)
    }
}

/// As NLM_NETWORK_CATEGORY numbers them.
pub(super) const fn category(number: u32) -> Option<Category> {
    match number {
        0 => Some(Category::Public),
        1 => Some(Category::Private),
        2 => Some(Category::Domain),
        _ => None,
    }
}
