//! Default routes, asked of Windows (IP Helper's table of routes).

use std::io;

use lanparty_doctor::DefaultRoute;
use lanparty_nic::windows::{Adapter, RouteRow, adapters, routes};

/// Every default route, IPv4 before IPv6, the preferred first.
pub(crate) async fn defaults() -> Result<Vec<DefaultRoute>, String> {
    table().map_err(|e| e.to_string())
}

fn table() -> io::Result<Vec<DefaultRoute>> {
    let adapters = adapters()?;
    let mut found = vec![];
    for is_ipv6 in [false, true] {
        let rows = routes(is_ipv6)?.into_iter().filter(|row| row.prefix == 0);
        found.extend(rows.filter_map(|row| default_route(row, is_ipv6, &adapters)));
    }
    found.sort_by_key(|route| (route.is_ipv6, route.metric));
    Ok(found)
}

/// A route over an adapter that is switched off leads nowhere; Windows adds the adapter's metric to the route's own.
fn default_route(row: RouteRow, is_ipv6: bool, adapters: &[Adapter]) -> Option<DefaultRoute> {
    let adapter = adapters.iter().find(|adapter| adapter.luid == row.hop.luid && adapter.is_up)?;
    let gateway = Some(row.hop.next_hop).filter(|ip| !ip.is_unspecified());
    let metric = row.metric.saturating_add(adapter.metrics[usize::from(is_ipv6)]);
    Some(DefaultRoute { interface: adapter.name.clone(), is_ipv6, gateway, metric })
}
