//! Facts from IP Helper. An interface is named as the user sees it in Windows: `Ethernet`, `Wi-Fi`.

use std::io;

use super::{ARPHRD_ETHER, ARPHRD_LOOPBACK, FactsError, InterfaceFacts};
use crate::windows::{Adapter, AdapterKind, adapters, set_ip_interface_mtu};

/// What is known about the interface of this name.
///
/// # Errors
/// [`FactsError`], never for a missing interface: that is a fact.
pub fn interface_facts(name: &str) -> Result<InterfaceFacts, FactsError> {
    let found = list_interfaces()?.into_iter().find(|facts| facts.name == name);
    Ok(found.unwrap_or_else(|| InterfaceFacts { name: name.to_owned(), ..InterfaceFacts::default() }))
}

/// The name of the interface with this index.
#[must_use]
pub fn interface_name(index: u32) -> Option<String> {
    adapters().ok()?.into_iter().find(|adapter| adapter.index == index).map(|adapter| adapter.name)
}

/// Sets the IP MTU of an interface, in bytes.
///
/// # Errors
/// When there is none of this name, or the system refuses the size or the permission.
pub fn set_interface_mtu(name: &str, mtu: u16) -> io::Result<()> {
    let found = adapters()?.into_iter().find(|adapter| adapter.name == name).ok_or(io::ErrorKind::NotFound)?;
    set_ip_interface_mtu(found.luid, mtu)
}

/// What is known about every interface, by name.
///
/// # Errors
/// [`FactsError`] when Windows does not say.
pub fn list_interfaces() -> Result<Vec<InterfaceFacts>, FactsError> {
    let mut all: Vec<_> = adapters().map_err(|source| FactsError::Adapters { source })?.into_iter().map(facts).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn facts(adapter: Adapter) -> InterfaceFacts {
    let arphrd = match adapter.kind {
        AdapterKind::Ethernet | AdapterKind::Wireless => ARPHRD_ETHER,
        AdapterKind::Loopback => ARPHRD_LOOPBACK,
        AdapterKind::Tunnel | AdapterKind::Ppp | AdapterKind::Other(_) => u16::MAX - 1,
    };
    InterfaceFacts {
        exists: true,
        index: adapter.index,
        mac: adapter.mac,
        mtu: adapter.mtu,
        arphrd,
        is_up: adapter.is_up,
        carrier: Some(adapter.is_up),
        operstate: if adapter.is_up { "up" } else { "down" }.to_owned(),
        is_loopback: adapter.kind == AdapterKind::Loopback,
        is_wireless: adapter.kind == AdapterKind::Wireless,
        is_tun_tap: adapter.description.to_ascii_lowercase().contains("tap-windows"),
        kind: (adapter.kind == AdapterKind::Ppp).then(|| "ppp".to_owned()),
        name: adapter.name,
        ..InterfaceFacts::default()
    }
}
