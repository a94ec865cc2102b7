//! Addresses of an interface, set and removed by netlink (rtnetlink(7)), and what the kernel found out about them.

use std::fs;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::{AddressMessageBuilder, Error, Handle};

use crate::host::Detection;

/// Flags of an IPv6 address (linux/if_addr.h).
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// Sets an address on the interface `index`, with that metric for the route to its network; one that is there already is an error.
pub(super) async fn add_address(index: u32, net: IpNet, metric: Option<u32>) -> io::Result<()> {
    ask(|handle| async move {
        let mut request = handle.address().add(index, net.addr(), net.prefix_len());
        request.message_mut().attributes.extend(metric.map(AddressAttribute::RoutePriority));
        request.execute().await
    })
    .await
}

/// Removes it.
pub(super) async fn remove_address(index: u32, net: IpNet) -> io::Result<()> {
    let message = match net {
        IpNet::V4(net) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(net.addr(), net.prefix_len()).build(),
        IpNet::V6(net) => AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(net.addr(), net.prefix_len()).build(),
    };
    ask(|handle| async move { handle.address().del(message).execute().await }).await
}

/// How far the kernel is with an IPv6 address.
pub(super) fn detection(interface: &str, address: IpAddr) -> Option<Detection> {
    let IpAddr::V6(address) = address else { return None };
    state_in(&fs::read_to_string("/proc/self/net/if_inet6").ok()?, interface, address)
}

/// Each line: address, interface index, prefix length, scope, flags, interface; all but the last hexadecimal.
fn state_in(table: &str, interface: &str, address: Ipv6Addr) -> Option<Detection> {
    let digits = format!("{:032x}", u128::from(address));
    let fields = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut flags = fields.filter_map(|fields| match fields[..] {
        [found, _, _, _, flags, name] if found == digits && name == interface => u32::from_str_radix(flags, 16).ok(),
        _ => None,
    });
    flags.next().map(|flags| match flags {
        flags if flags & IFA_F_DADFAILED != 0 => Detection::Duplicate,
        flags if flags & IFA_F_TENTATIVE != 0 => Detection::Running,
        _ => Detection::Usable,
    })
}

pub(super) async fn ask<F: Future<Output = Result<(), Error>>>(what: impl FnOnce(Handle) -> F) -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let outcome = what(handle).await;
    connection.abort();
    outcome.map_err(|e| match e {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_says_how_far_it_is() {
        let table = "fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     fd0000010000000000000000000000a6 07 40 00 c0     lan0\n\
                     fd0000010000000000000000000000a7 07 40 00 c8     lan0\n\
                     fd0000010000000000000000000000a8 07 40 00 80     lan0\n";
        let found = |interface: &str, address: &str| state_in(table, interface, address.parse().unwrap());
        assert_eq!(found("lan0", "fd00:1::a6"), Some(Detection::Running));
        assert_eq!(found("lan0", "fd00:1::a7"), Some(Detection::Duplicate));
        assert_eq!(found("lan0", "fd00:1::a8"), Some(Detection::Usable));
        assert_eq!(found("eth0", "fd00:1::a8"), None);
        assert_eq!(state_in("garbage\n\n1 2 3\n", "lan0", Ipv6Addr::LOCALHOST), None);
    }
}
