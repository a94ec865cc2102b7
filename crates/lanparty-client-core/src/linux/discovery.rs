//! Help for game discovery on Linux: limited broadcast and multicast leave by the TAP.
//!
//! Linux sends 255.255.255.255 by one route only, usually the default route's, where no LAN game listens. Two routes
//! with a low metric change that. They belong to the TAP and vanish with it, also after a crash: nothing needs undoing.

use std::net::Ipv4Addr;

use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::RouteScope;

/// Below the metric that DHCP clients and network managers give their routes.
const METRIC: u32 = 5;
const ROUTES: [(Ipv4Addr, u8); 2] = [(Ipv4Addr::BROADCAST, 32), (Ipv4Addr::new(224, 0, 0, 0), 4)];

/// Sends limited broadcast and multicast by the interface `index`, by routes of that metric.
///
/// # Errors
/// What the kernel said, in words.
pub(crate) async fn route_discovery(index: u32, metric: Option<u32>) -> Result<(), String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let mut outcome = Ok(());
    for (destination, prefix) in ROUTES {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(destination, prefix)
            .output_interface(index)
            .scope(RouteScope::Link)
            .priority(metric.unwrap_or(METRIC))
            .build();
        if let Err(e) = handle.route().add(route).replace().execute().await {
            outcome = Err(format!("{destination}/{prefix}: {e}"));
        }
    }
    connection.abort();
    outcome
}
