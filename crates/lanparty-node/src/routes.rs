//! Default routes, asked of the kernel (rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use lanparty_doctor::DefaultRoute;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};

/// Every default route of the main table, IPv4 before IPv6, the preferred first.
pub(crate) async fn defaults() -> Result<Vec<DefaultRoute>, String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let mut found = vec![];
    for question in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
        let mut routes = handle.route().get(question).execute();
        while let Some(route) = routes.try_next().await.map_err(|e| e.to_string())? {
            found.extend(default_route(&route));
        }
    }
    connection.abort();
    found.sort_by_key(|route| (route.is_ipv6, route.metric));
    Ok(found)
}

fn default_route(route: &RouteMessage) -> Option<DefaultRoute> {
    if route.header.destination_prefix_length != 0 || route.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let find = |pick: fn(&RouteAttribute) -> Option<u32>| route.attributes.iter().find_map(pick);
    let index = find(|a| if let RouteAttribute::Oif(index) = a { Some(*index) } else { None })?;
    let metric = find(|a| if let RouteAttribute::Priority(metric) = a { Some(*metric) } else { None });
    let gateway = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    let is_ipv6 = route.header.address_family == rtnetlink::packet_route::AddressFamily::Inet6;
    Some(DefaultRoute { interface: lanparty_nic::interface_name(index)?, is_ipv6, gateway, metric: metric.unwrap_or(0) })
}
