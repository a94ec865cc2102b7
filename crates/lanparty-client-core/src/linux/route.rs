//! Routes through a member, by netlink (rtnetlink(7)). They belong to the TAP and vanish with it.
//!
//! The next hop is an address that nobody has, with the member's MAC address for a neighbour that the kernel need not ask for: the
//! member's own IP address need not be known, and may change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use lanparty_proto::{MacAddr, MemberId};
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Handle, RouteMessageBuilder};

use super::address::ask;
use crate::routing::{next_hop, parts};

/// Sets a route on the interface `index`; one that is there already is an error.
pub(super) async fn add_route(index: u32, network: IpNet, member: MemberId, mac: MacAddr) -> io::Result<()> {
    let hop = next_hop(network, member);
    ask(|handle| async move {
        let neighbour = handle.neighbours().add(index, hop).state(NeighbourState::Permanent).link_layer_address(&mac.0);
        neighbour.replace().execute().await?;
        let mut done: Vec<RouteMessage> = vec![];
        for message in messages(index, network, hop) {
            if let Err(e) = handle.route().add(message.clone()).execute().await {
                remove_all(&handle, done).await;
                return Err(e);
            }
            done.push(message);
        }
        Ok(())
    })
    .await
}

/// Removes it. The neighbour stays: other routes may lead through the same member, and it harms nobody.
pub(super) async fn remove_route(index: u32, network: IpNet, member: MemberId) -> io::Result<()> {
    let hop = next_hop(network, member);
    ask(|handle| async move {
        for message in messages(index, network, hop) {
            handle.route().del(message).execute().await?;
        }
        Ok(())
    })
    .await
}

async fn remove_all(handle: &Handle, messages: Vec<RouteMessage>) {
    for message in messages {
        // What cannot be removed goes with the TAP.
        let _ = handle.route().del(message).execute().await;
    }
}

fn messages(index: u32, network: IpNet, hop: IpAddr) -> Vec<RouteMessage> {
    parts(network).into_iter().filter_map(|part| message(index, part, hop)).collect()
}

fn message(index: u32, network: IpNet, hop: IpAddr) -> Option<RouteMessage> {
    match (network, hop) {
        (IpNet::V4(net), IpAddr::V4(hop)) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(net.addr(), net.prefix_len());
            Some(route.gateway(hop).output_interface(index).onlink().build())
        }
        (IpNet::V6(net), IpAddr::V6(hop)) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(net.addr(), net.prefix_len());
            Some(route.gateway(hop).output_interface(index).onlink().build())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_two_halves() {
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        assert_eq!(messages(7, all, next_hop(all, MemberId(1))).len(), 2);
        assert_eq!(messages(7, "10.0.0.0/8".parse().unwrap(), next_hop(all, MemberId(1))).len(), 1);
    }
}
