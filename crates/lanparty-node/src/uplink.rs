//! Which interface leads to the relay, and how a socket stays on it.
//!
//! A LAN's DHCP server may hand a client a default route through the tunnel. The tunnel's own packets must never follow
//! it (THREATS D9), so the socket is bound to the uplink that led to the relay before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::Ipv4Net;
use socket2::SockRef;
use tracing::debug;

/// The interface by which this machine reaches `remote` now. `None` when that is itself, or cannot be told.
pub(crate) fn toward(remote: SocketAddr) -> Option<String> {
    if remote.ip().is_loopback() {
        return None;
    }
    let local = address_toward(remote)?;
    if local == remote.ip() { None } else { owner_of(local) }
}

/// Where this machine is on its way to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) interface: String,
    /// Another one of the same name has another number.
    index: Option<u32>,
    pub(crate) address: IpAddr,
}

impl Place {
    /// Where it is now, by no interface but `uplink` where a socket can be bound to it. `None` for itself, or without a way.
    pub(crate) fn toward(remote: SocketAddr, uplink: Option<&str>) -> Option<Self> {
        let address = address_toward_by(remote, uplink).filter(|_| !remote.ip().is_loopback())?;
        let found = if_addrs::get_if_addrs().ok()?.into_iter().find(|i| i.ip() == address && !i.is_loopback())?;
        Some(Self { interface: found.name, index: found.index, address })
    }

    pub(crate) fn is_same_interface(&self, other: &Self) -> bool {
        (&self.interface, self.index) == (&other.interface, other.index)
    }
}

/// The address by which this machine reaches `remote` now.
pub(crate) fn address_toward(remote: SocketAddr) -> Option<IpAddr> {
    address_toward_by(remote, None)
}

/// As [`address_toward`], by no interface but `uplink` where a socket can be bound to it.
fn address_toward_by(remote: SocketAddr, uplink: Option<&str>) -> Option<IpAddr> {
    let any: SocketAddr = if remote.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    if let Some(uplink) = uplink {
        bind(&socket, uplink);
    }
    // Sends nothing: connecting a UDP socket only asks the routing table.
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The IPv4 addresses of an interface now, those of its labels (`lan0:1`) included; none when there is no such interface.
#[must_use]
pub fn ipv4_addresses(interface: &str) -> Vec<Ipv4Addr> {
    addresses_of(interface).into_iter().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }).collect()
}

/// The same of both families.
#[must_use]
pub fn addresses_of(interface: &str) -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    all.into_iter().filter(|i| i.name.split(':').next() == Some(interface)).map(|i| i.ip()).collect()
}

/// Every address of this machine now.
pub(crate) fn all_addresses() -> Vec<IpAddr> {
    if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|interface| interface.ip()).collect()
}

/// The IPv4 networks that this machine is in now, beside that of an interface: those that lead further than to itself.
#[must_use]
pub fn ipv4_networks(except: &str) -> Vec<(String, Ipv4Net)> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let others = all.into_iter().filter(|i| !i.is_loopback() && !i.is_link_local() && i.name.split(':').next() != Some(except));
    let network = |i: if_addrs::Interface| match i.addr {
        if_addrs::IfAddr::V4(v4) => Some((i.name, Ipv4Net::with_netmask(v4.ip, v4.netmask).ok()?.trunc())),
        if_addrs::IfAddr::V6(_) => None,
    };
    others.filter_map(network).collect()
}

fn owner_of(address: IpAddr) -> Option<String> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    interfaces.into_iter().find(|i| i.ip() == address && !i.is_loopback()).map(|i| i.name)
}

/// Keeps `socket` on `interface` (SO_BINDTODEVICE; on Windows IP_UNICAST_IF). Without the permission the routing table decides, as for any program.
pub(crate) fn bind<'s, S>(socket: &'s S, interface: &str)
where
    SockRef<'s>: From<&'s S>,
{
    #[cfg(target_os = "linux")]
    if let Err(e) = SockRef::from(socket).bind_device(Some(interface.as_bytes())) {
        debug!(%interface, "the socket stays unbound: {e}");
    }
    #[cfg(windows)]
    if let Err(e) = crate::uplink_windows::bind(&SockRef::from(socket), interface) {
        debug!(%interface, "the socket stays unbound: {e}");
    }
    #[cfg(not(any(target_os = "linux", windows)))]
    let _ = (SockRef::from(socket), interface);
}

/// Whether sockets can be kept on an interface here, so that no route leads them elsewhere.
#[must_use]
pub fn may_bind_sockets() -> bool {
    #[cfg(target_os = "linux")]
    return UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).is_ok_and(|socket| SockRef::from(&socket).bind_device(Some(b"lo")).is_ok());
    #[cfg(not(target_os = "linux"))]
    true
}

/// The address that this machine has toward the internet: its own, which a NAT may hide. Nothing without a default route.
#[must_use]
pub fn own_address() -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849), which no machine has.
    let far: [SocketAddr; 2] = [(Ipv4Addr::new(192, 0, 2, 1), 9).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()];
    far.into_iter().filter_map(address_toward).find(|ip| !ip.is_loopback())
}
