//! What the system knows about an interface, and whether it can be the LAN side of a gateway.
//!
//! Facts come from the system; the rule over them is a pure function that the gateway asks before it contacts anybody.

mod fitness;
#[cfg(unix)]
mod sysfs;
#[cfg(windows)]
mod windows;

use std::io;
use std::path::PathBuf;

use lanparty_proto::MacAddr;

pub use fitness::{UnfitInterface, check_lan_interface, lan_candidates};
#[cfg(unix)]
pub use sysfs::{interface_facts, interface_facts_in, interface_name, list_interfaces, list_interfaces_in, set_interface_mtu};
#[cfg(windows)]
pub use windows::{interface_facts, interface_name, list_interfaces, set_interface_mtu};

/// Kinds of link as ARP numbers them (linux/if_arp.h).
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_TUNNEL: u16 = 768;
const ARPHRD_TUNNEL6: u16 = 769;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_SIT: u16 = 776;
const ARPHRD_IPGRE: u16 = 778;

/// What is known about one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceFacts {
    /// As asked for.
    pub name: String,
    /// Whether there is one of this name; if not, everything else is empty.
    pub exists: bool,
    /// The interface index.
    pub index: u32,
    /// Its address, where it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// IP MTU in bytes.
    pub mtu: u32,
    /// The kind of link as ARP numbers it (`ARPHRD_*`): 1 is Ethernet, 772 loopback, 65534 none.
    pub arphrd: u16,
    /// Switched on, as by `ip link set up`.
    pub is_up: bool,
    /// Whether a cable is connected; unknown while the interface is down.
    pub carrier: Option<bool>,
    /// RFC 2863 operational state, as the kernel spells it.
    pub operstate: String,
    /// `lo`.
    pub is_loopback: bool,
    /// 802.11.
    pub is_wireless: bool,
    /// A TUN or TAP of some process.
    pub is_tun_tap: bool,
    /// A bridge itself.
    pub is_bridge: bool,
    /// A bond itself.
    pub is_bond: bool,
    /// A VLAN of another interface.
    pub is_vlan: bool,
    /// The bridge it is a port of.
    pub bridge_master: Option<String>,
    /// The bond or other interface it is a part of, when that is no bridge.
    pub other_master: Option<String>,
    /// The interfaces it stands on: the parent of a VLAN, the ports of a bond.
    pub lower: Vec<String>,
    /// The ports of a bridge.
    pub ports: Vec<String>,
    /// What drives its hardware, or what a hypervisor shows as hardware.
    pub driver: Option<String>,
    /// What makes it, where the kernel says so: `vlan`, `bridge`, `wlan`, `wireguard`, `ppp`.
    pub kind: Option<String>,
}

impl InterfaceFacts {
    /// The kind of tunnel that the kernel ends here itself; a TUN or TAP is the end of some program's.
    #[must_use]
    pub fn tunnel_kind(&self) -> Option<&str> {
        match self.arphrd {
            ARPHRD_TUNNEL => Some("ipip"),
            ARPHRD_TUNNEL6 => Some("ip6tnl"),
            ARPHRD_SIT => Some("sit"),
            ARPHRD_IPGRE => Some("gre"),
            _ => self.kind.as_deref().filter(|kind| ["wireguard", "gretap", "vxlan", "geneve", "l2tp", "xfrm"].contains(kind)),
        }
    }
}

/// The facts cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// Windows did not list its adapters.
    #[cfg(windows)]
    #[error("cannot list the network adapters: {source}")]
    Adapters {
        /// What Windows said.
        source: io::Error,
    },
    /// sysfs is not mounted, or not readable.
    #[error("cannot read {}: {source}; is sysfs mounted?", path.display())]
    Sysfs {
        /// What was read.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// sysfs shows the interfaces of another network namespace than the one this process is in.
    #[error("/sys shows another network namespace: `{name}` differs there; mount sysfs anew in this one, as `ip netns exec` does")]
    OtherNamespace {
        /// The interface it was noticed by.
        name: String,
    },
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
