//! The way out toward the internet, asked of Windows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lanparty_doctor::DefaultRoute;
use lanparty_nic::interface_name;
use lanparty_nic::windows::best_route;

/// Addresses for documentation (RFC 5737, RFC 3849), which only a default route leads to.
const FAR: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// The preferred default route of each address family, IPv4 before IPv6.
pub(super) async fn defaults() -> Result<Vec<DefaultRoute>, String> {
    Ok(FAR.into_iter().filter_map(default_route).collect())
}

fn default_route(far: IpAddr) -> Option<DefaultRoute> {
    let hop = best_route(far).ok()?;
    let gateway = Some(hop.next_hop).filter(|ip| !ip.is_unspecified());
    Some(DefaultRoute { interface: interface_name(hop.index)?, is_ipv6: far.is_ipv6(), gateway, metric: 0 })
}
