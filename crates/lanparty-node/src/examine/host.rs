//! This host, without asking anybody else: interfaces, routes, permissions, WSL.

use std::fs;
use std::net::IpAddr;

use lanparty_doctor::{DefaultRoute, HostFacts, Interface, TunDevice, Unfit};
use lanparty_nic::{InterfaceFacts, UnfitInterface, check_lan_interface, lan_candidates};

use super::system;
use crate::routes;

/// What a hypervisor's virtual cards are driven by; `vif` is Xen's.
const VM_DRIVERS: [&str; 6] = ["virtio_net", "hv_netvsc", "vmxnet3", "vif", "ena", "e1000"];
/// Kernels of WSL2 name themselves so in /proc/version.
const WSL_MARK: &str = "microsoft";

/// What can be learnt here. Takes milliseconds.
pub async fn examine_host() -> HostFacts {
    let default_routes = routes::defaults().await.ok();
    let interfaces = lanparty_nic::list_interfaces().ok().map(|all| interfaces(&all, default_routes.as_deref().unwrap_or_default()));
    HostFacts {
        os: Some(std::env::consts::OS.to_owned()),
        kernel: system::release(),
        is_wsl2: is_wsl2(),
        rp_filter: default_routes.as_deref().and_then(rp_filter),
        interfaces,
        default_routes,
        ipv6: text("/proc/sys/net/ipv6/conf/all/disable_ipv6").map(|off| off == "0"),
        resolvers: fs::read_to_string("/etc/resolv.conf").ok().map(|text| resolvers(&text)),
        tun_device: tun_device(),
        can_net_admin: system::can_net_admin(),
        can_net_raw: system::can_net_raw(),
        udp_listeners: udp_listeners(),
        ..HostFacts::default()
    }
}

/// Whether this is Linux inside Windows. Unknown where /proc is not.
#[must_use]
pub fn is_wsl2() -> Option<bool> {
    fs::read_to_string("/proc/version").ok().map(|version| names_wsl2(&version))
}

/// WSL1 has no kernel of its own: "Microsoft" without "WSL2", and no TAP either.
fn names_wsl2(version: &str) -> bool {
    let version = version.to_ascii_lowercase();
    version.contains(WSL_MARK) && version.contains("wsl2")
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Of Linux; a TAP of Windows is an adapter, and listed as one.
fn tun_device() -> Option<TunDevice> {
    if cfg!(windows) {
        return None;
    }
    Some(match fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => TunDevice::Usable,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => TunDevice::Missing,
        Err(e) => TunDevice::Unusable(e.to_string()),
    })
}

/// Ports of the sockets that are connected to nobody (proc_net_udp(5)), without repetition.
fn udp_listeners() -> Option<Vec<u16>> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).ok());
    let mut ports: Vec<_> = tables.iter().flatten().flat_map(|table| unconnected(table)).collect();
    ports.sort_unstable();
    ports.dedup();
    tables.iter().any(Option::is_some).then_some(ports)
}

/// A line is: slot, local address and port, remote ones, state; all in hexadecimal.
fn unconnected(table: &str) -> impl Iterator<Item = u16> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        remote.ends_with(":0000").then_some(port)
    })
}

/// resolv.conf(5).
fn resolvers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|rest| rest.split_whitespace().next()?.split('%').next()?.parse().ok()).collect()
}

/// The stricter of "all" and the uplink's own is in force, and of several uplinks the strictest (ip-sysctl).
fn rp_filter(routes: &[DefaultRoute]) -> Option<u8> {
    let of = |name: &str| text(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"))?.parse().ok();
    let all: u8 = of("all")?;
    let strictness = |mode: &u8| [0, 2, 1].get(usize::from(*mode)).copied().unwrap_or(0);
    routes.iter().filter(|r| !r.is_ipv6).filter_map(|r| Some(all.max(of(&r.interface)?))).max_by_key(strictness)
}

fn interfaces(all: &[InterfaceFacts], routes: &[DefaultRoute]) -> Vec<Interface> {
    let mtu_of = |name: &str| all.iter().find(|f| f.name == name).map(|f| f.mtu);
    let candidates = lan_candidates(all);
    let one = |f: &InterfaceFacts| Interface {
        name: f.name.clone(),
        mac: f.mac,
        mtu: f.mtu,
        is_up: f.is_up,
        carrier: f.carrier,
        is_uplink: routes.iter().any(|r| r.interface == f.name),
        is_loopback: f.is_loopback,
        is_ethernet: f.arphrd == 1,
        is_wireless: f.is_wireless,
        is_bridge: f.is_bridge,
        bridge: f.bridge_master.clone(),
        part_of: f.other_master.clone(),
        is_tun_tap: f.is_tun_tap,
        tunnel_kind: f.tunnel_kind().map(str::to_owned),
        unfit: unfit(f),
        is_candidate: candidates.contains(&f.name),
        vm_driver: f.driver.clone().filter(|driver| VM_DRIVERS.contains(&driver.as_str())),
        vlan_parent: f.lower.first().filter(|_| f.is_vlan).cloned(),
        vlan_parent_mtu: f.lower.first().filter(|_| f.is_vlan).and_then(|parent| mtu_of(parent)),
        smallest_port_mtu: f.ports.iter().filter_map(|port| mtu_of(port)).min(),
    };
    all.iter().map(one).collect()
}

/// Why the gateway refuses it: its own rule, told in facts.
fn unfit(f: &InterfaceFacts) -> Option<Unfit> {
    Some(match check_lan_interface(f, &[]).err()? {
        UnfitInterface::Loopback { .. } => Unfit::Loopback,
        UnfitInterface::TunTap { .. } => Unfit::TunTap,
        UnfitInterface::BridgePort { bridge, .. } => Unfit::BridgePort(bridge),
        UnfitInterface::PartOf { master, .. } => Unfit::PartOf(master),
        UnfitInterface::Wireless { .. } => Unfit::Wireless,
        UnfitInterface::NotEthernet { .. } => Unfit::NotEthernet,
        UnfitInterface::Down { .. } => Unfit::Down,
        UnfitInterface::NoCarrier { .. } => Unfit::NoCarrier,
        // It is among those that were listed.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wsl2_is_known_by_its_kernel_and_others_are_not_taken_for_it() {
        assert!(names_wsl2("Linux version 5.15.167.4-microsoft-standard-WSL2 (root@f9c826d3017f) (gcc) #1 SMP"));
        assert!(!names_wsl2("Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)"), "WSL1 has no TAP");
        assert!(!names_wsl2("Linux version 6.12.9-amd64 (debian-kernel@lists.debian.org)"));
    }

    #[test]
    fn who_waits_on_a_udp_port_is_told_from_who_talks_to_one() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            12: 00000000:6D38 00000000:0000 07 00000000:00000000\n\
            13: 0200080A:C350 0100630A:20FB 01 00000000:00000000\nnonsense\n";
        assert_eq!(unconnected(table).collect::<Vec<_>>(), [27_960]);
    }

    #[test]
    fn name_servers_are_read_with_comments_and_zones_around_them() {
        let text = "# made by hand\nnameserver 192.0.2.1\n nameserver  fe80::1%eth0 \noptions edns0\nnameserver x\n";
        assert_eq!(resolvers(text), ["192.0.2.1".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
    }
}
