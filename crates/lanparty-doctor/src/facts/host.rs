//! This machine: interfaces, permissions, routes.

use std::net::IpAddr;

use lanparty_proto::MacAddr;
use serde::{Deserialize, Serialize};

/// What is known of this machine without asking anybody else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Kind of system, as `std::env::consts::OS` spells it.
    pub os: Option<String>,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: Option<String>,
    /// Whether this is Linux inside Windows, with Hyper-V's NAT in front (WSL2).
    pub is_wsl2: Option<bool>,
    /// Every interface.
    pub interfaces: Option<Vec<Interface>>,
    /// Default routes, IPv4 and IPv6, the preferred first.
    pub default_routes: Option<Vec<DefaultRoute>>,
    /// Whether IPv6 is switched on.
    pub ipv6: Option<bool>,
    /// Name servers in /etc/resolv.conf.
    pub resolvers: Option<Vec<IpAddr>>,
    /// Whether a TAP can be made.
    pub tun_device: Option<TunDevice>,
    /// CAP_NET_ADMIN: may create a TAP and set MTUs.
    pub can_net_admin: Option<bool>,
    /// CAP_NET_RAW: may bridge a LAN (AF_PACKET).
    pub can_net_raw: Option<bool>,
    /// The strictest `rp_filter` in force on an uplink: 0 off, 1 strict, 2 loose (RFC 3704).
    pub rp_filter: Option<u8>,
    /// The interface a gateway here bridges or is to bridge. Without it nothing is said against an interface as a LAN's side.
    pub lan_interface: Option<String>,
    /// The LAN MTU that `--mtu` asks for, in bytes.
    pub asked_lan_mtu: Option<u16>,
    /// UDP ports on which some program of this machine waits for what comes in.
    pub udp_listeners: Option<Vec<u16>>,
    /// Programs of ours on this machine that were asked and did not answer, in words.
    pub silent_programs: Option<Vec<String>>,
    /// Interfaces of cables that run on this machine and carry nothing, because they are the newest of a loop.
    pub blocked_cables: Option<Vec<String>>,
    /// Whether `--pmtu-discovery off` pins the path MTU.
    pub pmtu_discovery_off: Option<bool>,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: String,
    /// Its address, where it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// IP MTU in bytes.
    pub mtu: u32,
    /// Switched on.
    pub is_up: bool,
    /// Whether a cable is connected; unknown while it is down.
    pub carrier: Option<bool>,
    /// Whether a default route leaves by it.
    pub is_uplink: bool,
    /// `lo`.
    pub is_loopback: bool,
    /// Carries Ethernet frames.
    pub is_ethernet: bool,
    /// 802.11.
    pub is_wireless: bool,
    /// A bridge itself.
    pub is_bridge: bool,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// The bond or other interface it is a part of, when that is no bridge.
    pub part_of: Option<String>,
    /// A TUN or TAP: the end of a tunnel, ours or another's.
    pub is_tun_tap: bool,
    /// A tunnel that the kernel ends itself: `wireguard`, `ipip`, `gre`, …
    pub tunnel_kind: Option<String>,
    /// Why a gateway refuses it as its LAN side; nothing when it takes it.
    pub unfit: Option<Unfit>,
    /// Whether it is what a gateway is to be offered: fit, and behind hardware.
    pub is_candidate: bool,
    /// The driver of a port that a hypervisor made, such as `virtio_net`, `hv_netvsc`, `vmxnet3`.
    pub vm_driver: Option<String>,
    /// The interface it is a VLAN of.
    pub vlan_parent: Option<String>,
    /// IP MTU of that interface, in bytes.
    pub vlan_parent_mtu: Option<u32>,
    /// The smallest IP MTU among the ports of this bridge, in bytes.
    pub smallest_port_mtu: Option<u32>,
}

/// Why an interface cannot be the LAN side of a gateway: the most fundamental reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unfit {
    /// It leads nowhere but to this host.
    Loopback,
    /// It leads to a process.
    TunTap,
    /// This bridge takes its frames first.
    BridgePort(String),
    /// This bond, or what else it is a part of, speaks for it.
    PartOf(String),
    /// 802.11 carries no frames of foreign addresses.
    Wireless,
    /// Its frames are not Ethernet's.
    NotEthernet,
    /// Switched off.
    Down,
    /// No cable is connected.
    NoCarrier,
}

/// A route to everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefaultRoute {
    /// Leaves by this interface.
    pub interface: String,
    /// Whether it is for IPv6.
    pub is_ipv6: bool,
    /// The router, where there is one.
    pub gateway: Option<IpAddr>,
    /// Smaller is preferred.
    pub metric: u32,
}

/// /dev/net/tun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunDevice {
    /// It opens.
    Usable,
    /// There is none: the driver is not loaded, or a container does not have it.
    Missing,
    /// It is there and does not open, with what the system said.
    Unusable(String),
}
