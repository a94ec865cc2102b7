//! What the system knows about an interface, and whether it can be the LAN side of a gateway.
//!
//! Facts come from sysfs (Documentation/ABI/testing/sysfs-class-net); the rule over them is a pure function that the
//! gateway asks before it contacts anybody.

mod fitness;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lanparty_proto::MacAddr;

use crate::sys::interface::{self, Interfaces};

pub use fitness::{UnfitInterface, check_lan_interface, lan_candidates};

const SYSFS_ROOT: &str = "/sys/class/net";

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
            libc::ARPHRD_TUNNEL => Some("ipip"),
            libc::ARPHRD_TUNNEL6 => Some("ip6tnl"),
            libc::ARPHRD_SIT => Some("sit"),
            libc::ARPHRD_IPGRE => Some("gre"),
            _ => self.kind.as_deref().filter(|kind| ["wireguard", "gretap", "vxlan", "geneve", "l2tp", "xfrm"].contains(kind)),
        }
    }
}

/// The facts cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
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

/// What is known about `name` in the network namespace of the calling thread.
///
/// # Errors
/// [`FactsError`], never for a missing interface: that is a fact.
pub fn interface_facts(name: &str) -> Result<InterfaceFacts, FactsError> {
    let facts = interface_facts_in(Path::new(SYSFS_ROOT), name)?;
    let index = Interfaces::open().and_then(|i| i.index(name)).unwrap_or(0);
    if index == facts.index { Ok(facts) } else { Err(FactsError::OtherNamespace { name: name.to_owned() }) }
}

/// The name of the interface with this index, in the network namespace of the calling thread.
#[must_use]
pub fn interface_name(index: u32) -> Option<String> {
    Interfaces::open().and_then(|i| i.name(index)).ok()
}

/// Sets the IP MTU of an interface, in bytes.
///
/// # Errors
/// When there is none of this name, or the system refuses the size or the permission.
pub fn set_interface_mtu(name: &str, mtu: u16) -> io::Result<()> {
    Interfaces::open()?.set_mtu(name, mtu)
}

/// What is known about every interface, by name.
///
/// # Errors
/// [`FactsError`] when sysfs cannot be read.
pub fn list_interfaces() -> Result<Vec<InterfaceFacts>, FactsError> {
    list_interfaces_in(Path::new(SYSFS_ROOT))
}

/// Like [`interface_facts`], from any directory laid out like `/sys/class/net`.
///
/// # Errors
/// [`FactsError`] when `sysfs_root` cannot be read.
pub fn interface_facts_in(sysfs_root: &Path, name: &str) -> Result<InterfaceFacts, FactsError> {
    fs::metadata(sysfs_root).map_err(|source| FactsError::Sysfs { path: sysfs_root.to_owned(), source })?;
    let facts = interface::is_valid_name(name).then(|| read(&sysfs_root.join(name), name)).flatten();
    Ok(facts.unwrap_or_else(|| InterfaceFacts { name: name.to_owned(), ..InterfaceFacts::default() }))
}

/// Like [`list_interfaces`], from any directory laid out like `/sys/class/net`.
///
/// # Errors
/// [`FactsError`] when `sysfs_root` cannot be read.
pub fn list_interfaces_in(sysfs_root: &Path) -> Result<Vec<InterfaceFacts>, FactsError> {
    let unreadable = |source| FactsError::Sysfs { path: sysfs_root.to_owned(), source };
    let names = fs::read_dir(sysfs_root).map_err(unreadable)?.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut all: Vec<_> = names.filter_map(|name| read(&sysfs_root.join(&name), &name)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Nothing when the directory is no interface's: `bonding_masters` lies there too, and interfaces vanish.
fn read(dir: &Path, name: &str) -> Option<InterfaceFacts> {
    let text = |file: &str| fs::read_to_string(dir.join(file)).map(|t| t.trim().to_owned()).ok();
    let has = |file: &str| dir.join(file).exists();
    let target = |link: &str| fs::read_link(dir.join(link)).ok()?.file_name()?.to_str().map(str::to_owned);
    let index = text("ifindex")?.parse().ok()?;
    let flags = text("flags").and_then(|t| i32::from_str_radix(t.trim_start_matches("0x"), 16).ok()).unwrap_or(0);
    let arphrd = text("type").and_then(|t| t.parse().ok()).unwrap_or(0);
    let names = |of: &Path| -> Vec<String> {
        let mut all: Vec<_> = fs::read_dir(of).into_iter().flatten().filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        all.sort();
        all
    };
    let kind = text("uevent").and_then(|t| t.lines().find_map(|line| line.strip_prefix("DEVTYPE=").map(str::to_owned)));
    let bridge_master = if has("brport") { target("brport/bridge").or_else(|| target("master")) } else { None };
    Some(InterfaceFacts {
        name: name.to_owned(),
        exists: true,
        index,
        mac: text("address").and_then(|t| t.parse().ok()),
        mtu: text("mtu").and_then(|t| t.parse().ok()).unwrap_or(0),
        arphrd,
        is_up: flags & libc::IFF_UP != 0,
        carrier: text("carrier").map(|t| t == "1"),
        operstate: text("operstate").unwrap_or_default(),
        is_loopback: flags & libc::IFF_LOOPBACK != 0 || arphrd == libc::ARPHRD_LOOPBACK,
        is_wireless: has("wireless") || has("phy80211"),
        is_tun_tap: has("tun_flags"),
        is_bridge: has("bridge"),
        is_bond: has("bonding"),
        is_vlan: kind.as_deref() == Some("vlan"),
        lower: names(dir).iter().filter_map(|entry| entry.strip_prefix("lower_").map(str::to_owned)).collect(),
        ports: names(&dir.join("brif")),
        driver: target("device/driver"),
        kind,
        other_master: if bridge_master.is_none() { target("master") } else { None },
        bridge_master,
    })
}

#[cfg(test)]
mod tests;
