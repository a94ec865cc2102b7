//! The IP stack's own table of interfaces and routes (IP Helper, netioapi.h).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lanparty_proto::MacAddr;
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, ERROR_NOT_FOUND, ERROR_OBJECT_ALREADY_EXISTS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    ConvertInterfaceGuidToLuid, CreateIpForwardEntry2, CreateIpNetEntry2, DeleteIpForwardEntry2, DeleteIpNetEntry2, FreeMibTable,
    GetBestRoute2, GetIpForwardTable2, GetIpInterfaceEntry, InitializeIpForwardEntry, InitializeIpInterfaceEntry, MIB_IPFORWARD_ROW2,
    MIB_IPFORWARD_TABLE2, MIB_IPINTERFACE_ROW, MIB_IPNET_ROW2, SetIpInterfaceEntry, SetIpNetEntry2,
};
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, MIB_IPPROTO_NETMGMT, NlnsPermanent, SOCKADDR_INET};
use windows_sys::core::GUID;

use super::checked;

/// How the stack uses an interface for one address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpInterface {
    /// IP MTU in bytes.
    pub mtu: u32,
    /// Whether Windows chooses the metric.
    pub automatic_metric: bool,
    /// What is added to the metric of its routes; lower is preferred.
    pub metric: u32,
    /// Whether default routes over it are left out.
    pub ignores_default_routes: bool,
}

/// The way out toward somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteHop {
    /// The interface (NET_LUID).
    pub luid: u64,
    /// The same as an index.
    pub index: u32,
    /// The router; unspecified when the destination is on the link itself.
    pub next_hop: IpAddr,
}

/// The number of the adapter `{GUID}`.
///
/// # Errors
/// When it is no GUID, or no adapter's.
pub fn guid_to_luid(guid: &str) -> io::Result<u64> {
    let guid = parse_guid(guid).ok_or(io::ErrorKind::InvalidInput)?;
    let mut luid = NET_LUID_LH { Value: 0 };
    // SAFETY: both are ours for the length of the call.
    checked(unsafe { ConvertInterfaceGuidToLuid(&raw const guid, &raw mut luid) })?;
    // SAFETY: every variant of the union is plain numbers.
    Ok(unsafe { luid.Value })
}

/// `{12345678-1234-1234-1234-123456789abc}`, with or without the braces.
fn parse_guid(text: &str) -> Option<GUID> {
    let text = text.trim_matches(['{', '}']);
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.replace('-', "");
    let is_guid = lengths == [8, 4, 4, 4, 12] && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_guid.then(|| u128::from_str_radix(&digits, 16).ok().map(GUID::from_u128)).flatten()
}

/// How the stack uses an interface; not found until it is bound to IP.
///
/// # Errors
/// What Windows said.
pub fn ip_interface(luid: u64, is_ipv6: bool) -> io::Result<IpInterface> {
    let row = interface_row(luid, is_ipv6)?;
    Ok(IpInterface {
        mtu: row.NlMtu,
        automatic_metric: row.UseAutomaticMetric,
        metric: row.Metric,
        ignores_default_routes: row.DisableDefaultRoutes,
    })
}

/// Sets all of it.
///
/// # Errors
/// What Windows said.
pub fn set_ip_interface(luid: u64, is_ipv6: bool, wanted: IpInterface) -> io::Result<()> {
    let mut row = interface_row(luid, is_ipv6)?;
    row.NlMtu = wanted.mtu;
    row.UseAutomaticMetric = wanted.automatic_metric;
    row.Metric = wanted.metric;
    row.DisableDefaultRoutes = wanted.ignores_default_routes;
    write_row(row, is_ipv6)
}

/// Sets the IP MTU, of IPv4 and where it is bound of IPv6.
///
/// # Errors
/// What Windows said of IPv4.
pub fn set_ip_interface_mtu(luid: u64, mtu: u16) -> io::Result<()> {
    let set = |is_ipv6| {
        let mut row = interface_row(luid, is_ipv6)?;
        row.NlMtu = mtu.into();
        write_row(row, is_ipv6)
    };
    // Below 1,280 there is no IPv6 (RFC 8200 §5), and without it there is nothing to set.
    let _ = set(true);
    set(false)
}

fn interface_row(luid: u64, is_ipv6: bool) -> io::Result<MIB_IPINTERFACE_ROW> {
    let mut row = MIB_IPINTERFACE_ROW::default();
    // SAFETY: the row is ours; the call fills it.
    unsafe { InitializeIpInterfaceEntry(&raw mut row) };
    row.Family = family(is_ipv6);
    row.InterfaceLuid = NET_LUID_LH { Value: luid };
    // SAFETY: as above.
    checked(unsafe { GetIpInterfaceEntry(&raw mut row) })?;
    Ok(row)
}

fn write_row(mut row: MIB_IPINTERFACE_ROW, is_ipv6: bool) -> io::Result<()> {
    if !is_ipv6 {
        // What was read has a value here that is refused when it is written (Microsoft's documentation of SetIpInterfaceEntry).
        row.SitePrefixLength = 0;
    }
    // SAFETY: the row is ours for the length of the call.
    checked(unsafe { SetIpInterfaceEntry(&raw mut row) })
}

/// The way by which this machine reaches `remote` now.
///
/// # Errors
/// When there is none.
pub fn best_route(remote: IpAddr) -> io::Result<RouteHop> {
    let destination = socket_address(remote);
    let mut route = MIB_IPFORWARD_ROW2::default();
    let mut source = SOCKADDR_INET::default();
    // SAFETY: all of it is ours for the length of the call; the absent pointers are optional.
    checked(unsafe { GetBestRoute2(std::ptr::null(), 0, std::ptr::null(), &raw const destination, 0, &raw mut route, &raw mut source) })?;
    // SAFETY: every variant of the union is plain numbers.
    let luid = unsafe { route.InterfaceLuid.Value };
    Ok(RouteHop { luid, index: route.InterfaceIndex, next_hop: ip(&route.NextHop) })
}

/// A route of the stack's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRow {
    /// The first address of what it leads to.
    pub destination: IpAddr,
    /// Bits of that which count.
    pub prefix: u8,
    /// The way.
    pub hop: RouteHop,
    /// Its own metric, without its interface's.
    pub metric: u32,
}

/// The routes of an address family.
///
/// # Errors
/// What Windows said.
pub fn routes(is_ipv6: bool) -> io::Result<Vec<RouteRow>> {
    let mut table: *mut MIB_IPFORWARD_TABLE2 = std::ptr::null_mut();
    // SAFETY: the call gives a table of its own, which is freed below.
    checked(unsafe { GetIpForwardTable2(family(is_ipv6), &raw mut table) })?;
    // SAFETY: the call succeeded, so the table has so many rows behind its head; it is ours until it is freed.
    let rows =
        unsafe { std::slice::from_raw_parts((&raw const (*table).Table).cast::<MIB_IPFORWARD_ROW2>(), (*table).NumEntries as usize) };
    let found = rows.iter().map(route_row).collect();
    // SAFETY: the table is the call's, and no reference to it is left.
    unsafe { FreeMibTable(table.cast()) };
    Ok(found)
}

fn route_row(row: &MIB_IPFORWARD_ROW2) -> RouteRow {
    // SAFETY: every variant of the union is plain numbers.
    let luid = unsafe { row.InterfaceLuid.Value };
    let hop = RouteHop { luid, index: row.InterfaceIndex, next_hop: ip(&row.NextHop) };
    RouteRow { destination: ip(&row.DestinationPrefix.Prefix), prefix: row.DestinationPrefix.PrefixLength, hop, metric: row.Metric }
}

/// Lets packets for the first `prefix` bits of `network` take this way. Whether the route is new: one that was there is nobody's to remove.
///
/// # Errors
/// What Windows said.
pub fn create_route(network: IpAddr, prefix: u8, hop: RouteHop) -> io::Result<bool> {
    let row = route(network, prefix, hop);
    // SAFETY: the row is ours for the length of the call.
    match unsafe { CreateIpForwardEntry2(&raw const row) } {
        ERROR_OBJECT_ALREADY_EXISTS => Ok(false),
        code => checked(code).map(|()| true),
    }
}

/// Removes it. Whether there was one.
///
/// # Errors
/// What Windows said.
pub fn delete_route(network: IpAddr, prefix: u8, hop: RouteHop) -> io::Result<bool> {
    let row = route(network, prefix, hop);
    // SAFETY: the row is ours for the length of the call.
    match unsafe { DeleteIpForwardEntry2(&raw const row) } {
        // Also when the interface itself is gone.
        ERROR_NOT_FOUND | ERROR_INVALID_PARAMETER => Ok(false),
        code => checked(code).map(|()| true),
    }
}

fn route(network: IpAddr, prefix: u8, hop: RouteHop) -> MIB_IPFORWARD_ROW2 {
    let mut row = MIB_IPFORWARD_ROW2::default();
    // SAFETY: the row is ours; the call gives it lifetimes without end.
    unsafe { InitializeIpForwardEntry(&raw mut row) };
    row.InterfaceLuid = NET_LUID_LH { Value: hop.luid };
    row.DestinationPrefix.Prefix = socket_address(network);
    row.DestinationPrefix.PrefixLength = prefix;
    row.NextHop = socket_address(hop.next_hop);
    row.Protocol = MIB_IPPROTO_NETMGMT;
    row.Metric = 0;
    row
}

/// Says which machine a next hop is, so that it need not be asked for.
///
/// # Errors
/// What Windows said.
pub fn set_neighbour(hop: RouteHop, mac: MacAddr) -> io::Result<()> {
    let mut row = neighbour(hop);
    row.PhysicalAddress[..6].copy_from_slice(&mac.0);
    row.PhysicalAddressLength = 6;
    row.State = NlnsPermanent;
    // SAFETY: the row is ours for the length of the calls.
    checked(unsafe {
        match CreateIpNetEntry2(&raw const row) {
            ERROR_OBJECT_ALREADY_EXISTS => SetIpNetEntry2(&raw mut row),
            code => code,
        }
    })
}

/// Forgets it again. Whether it was known.
///
/// # Errors
/// What Windows said.
pub fn delete_neighbour(hop: RouteHop) -> io::Result<bool> {
    let row = neighbour(hop);
    // SAFETY: the row is ours for the length of the call.
    match unsafe { DeleteIpNetEntry2(&raw const row) } {
        // Also when the interface itself is gone.
        ERROR_NOT_FOUND | ERROR_INVALID_PARAMETER => Ok(false),
        code => checked(code).map(|()| true),
    }
}

fn neighbour(hop: RouteHop) -> MIB_IPNET_ROW2 {
    MIB_IPNET_ROW2 { Address: socket_address(hop.next_hop), InterfaceLuid: NET_LUID_LH { Value: hop.luid }, ..MIB_IPNET_ROW2::default() }
}

/// Whether the stack forwards packets that come in by an interface.
///
/// # Errors
/// When the address family is not bound to it, or what Windows said.
pub fn forwards(luid: u64, is_ipv6: bool) -> io::Result<bool> {
    interface_row(luid, is_ipv6).map(|row| row.ForwardingEnabled)
}

const fn family(is_ipv6: bool) -> u16 {
    if is_ipv6 { AF_INET6 } else { AF_INET }
}

fn socket_address(ip: IpAddr) -> SOCKADDR_INET {
    let mut address = SOCKADDR_INET::default();
    address.si_family = family(ip.is_ipv6());
    match ip {
        IpAddr::V4(ip) => address.Ipv4.sin_addr.S_un.S_addr = u32::from(ip).to_be(),
        IpAddr::V6(ip) => address.Ipv6.sin6_addr.u.Byte = ip.octets(),
    }
    address
}

fn ip(address: &SOCKADDR_INET) -> IpAddr {
    // SAFETY: the family is at the same place in every variant, and says which of them it is; all are plain numbers.
    unsafe {
        if address.si_family == AF_INET6 {
            Ipv6Addr::from(address.Ipv6.sin6_addr.u.Byte).into()
        } else {
            Ipv4Addr::from(u32::from_be(address.Ipv4.sin_addr.S_un.S_addr)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_with_and_without_braces_and_nothing_else_is_one() {
        let guid = parse_guid("{4D36E972-E325-11CE-BFC1-08002BE10318}").unwrap();
        assert_eq!((guid.data1, guid.data2, guid.data3, guid.data4[7]), (0x4d36_e972, 0xe325, 0x11ce, 0x18));
        assert!(parse_guid("4d36e972-e325-11ce-bfc1-08002be10318").is_some());
        for bad in [
            "",
            "{}",
            "4D36E972E32511CEBFC108002BE10318",
            "{4D36E972-E325-11CE-BFC1-08002BE1031G}",
            "{+D36E972-E325-11CE-BFC1-08002BE10318}",
        ] {
            assert!(parse_guid(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["192.0.2.7", "2001:db8::7", "0.0.0.0"] {
            let there: IpAddr = text.parse().unwrap();
            assert_eq!(ip(&socket_address(there)), there);
        }
    }

    /// The sizes of the Windows SDK, as mingw's headers have them too.
    #[test]
    fn the_structures_have_the_layout_of_the_system() {
        assert_eq!((size_of::<MIB_IPINTERFACE_ROW>(), size_of::<MIB_IPFORWARD_ROW2>(), size_of::<MIB_IPNET_ROW2>()), (168, 104, 88));
        assert_eq!(std::mem::offset_of!(MIB_IPFORWARD_ROW2, NextHop), 44);
    }
}
