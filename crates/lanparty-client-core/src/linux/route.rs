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

/// What no LAN has: a link-local address made of the member's number.
fn next_hop(network: IpNet, member: MemberId) -> IpAddr {
    let number = member.0;
    match network {
        // The first and last 256 are reserved (RFC 3927 §2.1).
        IpNet::V4(_) => Ipv4Addr::new(169, 254, (number / 254 % 254) as u8 + 1, (number % 254) as u8 + 1).into(),
        IpNet::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0x6c61, 0x6e70, 0x6172, number).into(),
    }
}

/// All the world is two halves: each is more specific than the route that is there, which stays.
fn messages(index: u32, network: IpNet, hop: IpAddr) -> Vec<RouteMessage> {
    let parts: Vec<IpNet> =
        if network.prefix_len() == 0 { network.subnets(1).map(Iterator::collect).unwrap_or_default() } else { vec![network] };
    parts.into_iter().filter_map(|part| message(index, part, hop)).collect()
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
    fn each_member_has_a_next_hop_and_the_default_route_is_two_halves() {
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        assert_eq!(next_hop(all, MemberId(1)).to_string(), "169.254.1.2");
        assert_ne!(next_hop(all, MemberId(254)), next_hop(all, MemberId(508)));
        assert_eq!(next_hop("::/0".parse().unwrap(), MemberId(0x1234)).to_string(), "fe80::6c61:6e70:6172:1234");
        assert_eq!(messages(7, all, next_hop(all, MemberId(1))).len(), 2);
        assert_eq!(messages(7, "10.0.0.0/8".parse().unwrap(), next_hop(all, MemberId(1))).len(), 1);
    }
}
