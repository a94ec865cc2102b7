//! Facts from sysfs (Documentation/ABI/testing/sysfs-class-net).

use std::fs;
use std::io;
use std::path::Path;

use super::{ARPHRD_LOOPBACK, FactsError, InterfaceFacts};
use crate::sys::interface::{self, Interfaces};

const SYSFS_ROOT: &str = "/sys/class/net";

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
        is_loopback: flags & libc::IFF_LOOPBACK != 0 || arphrd == ARPHRD_LOOPBACK,
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
