//! What Windows knows of its network adapters (GetAdaptersAddresses).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lanparty_proto::MacAddr;
use windows_sys::Win32::Foundation::ERROR_BUFFER_OVERFLOW;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GetAdaptersAddresses, IP_ADAPTER_ADDRESSES_LH, IP_ADAPTER_MULTICAST_ADDRESS_XP,
    IP_ADAPTER_UNICAST_ADDRESS_LH,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, AF_UNSPEC, IpDadStatePreferred, SOCKADDR, SOCKADDR_IN, SOCKADDR_IN6};

use super::checked;

/// Adapters that are listed at most: a machine with more is broken, and so is a list without end.
const ADAPTERS_MAX: usize = 1024;
/// The list grows while it is asked for: so often it is asked again.
const TRIES_MAX: usize = 4;

/// The kind of an adapter, as IANA numbers them (ifType).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdapterKind {
    /// ethernetCsmacd: a TAP is one too.
    Ethernet,
    /// ieee80211.
    Wireless,
    /// softwareLoopback.
    Loopback,
    /// ppp.
    Ppp,
    /// tunnel.
    Tunnel,
    /// Any other.
    Other(u32),
}

/// An address of an adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdapterAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
    /// Whether it may be used: no duplicate, and no longer being checked.
    pub is_preferred: bool,
}

/// An adapter of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adapter {
    /// As the user sees it in Windows: `Ethernet`.
    pub name: String,
    /// `{GUID}`, as the registry has it (NetCfgInstanceId).
    pub guid: String,
    /// What its driver calls it.
    pub description: String,
    /// The number that stays (NET_LUID).
    pub luid: u64,
    /// The interface index.
    pub index: u32,
    /// Its kind.
    pub kind: AdapterKind,
    /// Whether it carries packets now.
    pub is_up: bool,
    /// Its address, where it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// IP MTU in bytes.
    pub mtu: u32,
    /// Its addresses, of both families.
    pub addresses: Vec<AdapterAddress>,
    /// Multicast groups that are joined on it.
    pub groups: Vec<IpAddr>,
    /// What is added to the metrics of its IPv4 and IPv6 routes.
    pub metrics: [u32; 2],
}

/// Every adapter.
///
/// # Errors
/// What Windows said.
pub fn adapters() -> io::Result<Vec<Adapter>> {
    let flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_DNS_SERVER;
    let mut len: u32 = 32 * 1024;
    for _ in 0..TRIES_MAX {
        // Of eight bytes each, so that the structures inside are aligned.
        let mut buffer = vec![0u64; (len as usize).div_ceil(8)];
        // SAFETY: `buffer` is writable for `len` bytes, and aligned as the structure demands.
        let code = unsafe { GetAdaptersAddresses(AF_UNSPEC.into(), flags, std::ptr::null(), buffer.as_mut_ptr().cast(), &raw mut len) };
        if code == ERROR_BUFFER_OVERFLOW {
            continue;
        }
        checked(code)?;
        return Ok(list(&buffer));
    }
    Err(io::Error::other("the list of adapters keeps growing"))
}

/// Reads the list that the system wrote.
fn list(buffer: &[u64]) -> Vec<Adapter> {
    let mut found = vec![];
    let mut next: *const IP_ADAPTER_ADDRESSES_LH = buffer.as_ptr().cast();
    while !next.is_null() && found.len() < ADAPTERS_MAX {
        // SAFETY: the call succeeded, so the buffer begins with an adapter, and each points to the next within it, or to none.
        let adapter = unsafe { &*next };
        found.push(one(adapter));
        next = adapter.Next;
    }
    found
}

fn one(adapter: &IP_ADAPTER_ADDRESSES_LH) -> Adapter {
    // SAFETY: every variant of the two unions is plain numbers, for which any bytes are valid.
    let (luid, index) = unsafe { (adapter.Luid.Value, adapter.Anonymous1.Anonymous.IfIndex) };
    let mac = (adapter.PhysicalAddressLength == 6).then(|| adapter.PhysicalAddress.first_chunk().copied().map(MacAddr)).flatten();
    Adapter {
        name: wide_text(adapter.FriendlyName),
        guid: byte_text(adapter.AdapterName),
        description: wide_text(adapter.Description),
        luid,
        index,
        kind: kind(adapter.IfType),
        is_up: adapter.OperStatus == IfOperStatusUp,
        mac,
        mtu: adapter.Mtu,
        addresses: addresses(adapter.FirstUnicastAddress),
        groups: groups(adapter.FirstMulticastAddress),
        metrics: [adapter.Ipv4Metric, adapter.Ipv6Metric],
    }
}

const fn kind(if_type: u32) -> AdapterKind {
    match if_type {
        6 => AdapterKind::Ethernet,
        23 => AdapterKind::Ppp,
        24 => AdapterKind::Loopback,
        71 => AdapterKind::Wireless,
        131 => AdapterKind::Tunnel,
        other => AdapterKind::Other(other),
    }
}

fn addresses(first: *mut IP_ADAPTER_UNICAST_ADDRESS_LH) -> Vec<AdapterAddress> {
    let mut found = vec![];
    let mut next: *const IP_ADAPTER_UNICAST_ADDRESS_LH = first;
    while !next.is_null() && found.len() < ADAPTERS_MAX {
        // SAFETY: as for adapters: each entry of the list is within the buffer and points to the next, or to none.
        let entry = unsafe { &*next };
        let ip = socket_address(entry.Address.lpSockaddr);
        let is_preferred = entry.DadState == IpDadStatePreferred;
        found.extend(ip.map(|ip| AdapterAddress { ip, prefix: entry.OnLinkPrefixLength, is_preferred }));
        next = entry.Next;
    }
    found
}

fn groups(first: *mut IP_ADAPTER_MULTICAST_ADDRESS_XP) -> Vec<IpAddr> {
    let mut found = vec![];
    let mut next: *const IP_ADAPTER_MULTICAST_ADDRESS_XP = first;
    while !next.is_null() && found.len() < ADAPTERS_MAX {
        // SAFETY: as for adapters: each entry of the list is within the buffer and points to the next, or to none.
        let entry = unsafe { &*next };
        found.extend(socket_address(entry.Address.lpSockaddr));
        next = entry.Next;
    }
    found
}

fn socket_address(address: *const SOCKADDR) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: it points to a socket address within the buffer, whose first field says of which family it is.
    match unsafe { (*address).sa_family } {
        // SAFETY: of this family, so of this layout; the union is plain numbers.
        AF_INET => Some(Ipv4Addr::from(u32::from_be(unsafe { (*address.cast::<SOCKADDR_IN>()).sin_addr.S_un.S_addr })).into()),
        // SAFETY: as above.
        AF_INET6 => Some(Ipv6Addr::from(unsafe { (*address.cast::<SOCKADDR_IN6>()).sin6_addr.u.Byte }).into()),
        _ => None,
    }
}

fn wide_text(text: *const u16) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the system's text ends with a zero within the buffer, and is read no further.
    let len = (0..).take_while(|at| unsafe { *text.add(*at) } != 0).count();
    // SAFETY: so many were just read.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, len) })
}

fn byte_text(text: *const u8) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the system's text ends with a zero within the buffer.
    unsafe { std::ffi::CStr::from_ptr(text.cast()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_listed_with_its_address() {
        let all = adapters().unwrap();
        let has_loopback = |adapter: &Adapter| adapter.addresses.iter().any(|address| address.ip.is_loopback());
        assert!(all.iter().any(has_loopback), "{all:?}");
    }
}
