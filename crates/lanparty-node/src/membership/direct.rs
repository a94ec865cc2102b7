//! The sockets by which other members may reach this one: those that lead to the relay, as routers let in what answers there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracing::debug;

use super::Dialer;
use crate::bond::place_toward;
use crate::busy_poll::something_came;
use crate::endpoint::bound_socket;
use crate::peers::{PeerSocket, PeerSockets, SocketUplink};
use crate::{BondLink, Identity, Redundancy};

/// Addresses of the documentation's (RFC 5737, RFC 3849), one of each family: nothing is sent there, only the routing table is asked.
const SOMEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 443),
];

/// A socket of an uplink that does not lead to the relay.
pub(super) struct Beside {
    interface: String,
    is_ipv6: bool,
    endpoint: lanparty_quic::Endpoint,
}

impl Dialer {
    /// Whether the router is asked.
    pub(crate) const fn maps_ports(&self) -> bool {
        self.maps_ports
    }

    /// The sockets on which other members may reach us, of both address families where the system has them: of every uplink of a bond.
    pub(crate) fn direct_sockets(&mut self, identity: &Identity, bond: Option<&BondLink>) -> Option<PeerSockets> {
        if !self.is_direct {
            return None;
        }
        let sockets = match bond {
            Some(bond) => self.sockets_of_uplinks(bond.sockets()),
            None => self.sockets_of_host(identity),
        };
        let plan = self.bond.as_ref().filter(|_| bond.is_some());
        let planned = plan.filter(|plan| !plan.is_automatic).map(|plan| plan.uplinks.clone());
        if let Some(planned) = &planned {
            self.beside.retain(|beside| planned.allow(&beside.interface));
        }
        let redundancy = plan.map_or_else(Redundancy::default, |plan| plan.redundancy);
        let book = plan.and_then(|plan| plan.book.clone());
        let captures = plan.map_or_else(Default::default, |plan| plan.captures.clone());
        Some(PeerSockets { sockets, own_interface: self.own_interface.clone(), redundancy, planned, book, captures })
    }

    fn sockets_of_host(&mut self, identity: &Identity) -> Vec<PeerSocket> {
        for somewhere in &SOMEWHERE {
            let is_missing = self.endpoints.iter().all(|dial| dial.is_ipv6 != somewhere.is_ipv6());
            if is_missing && let Err(fault) = self.endpoint(*somewhere, identity) {
                debug!("no socket for members at addresses like {somewhere}: {fault}");
            }
        }
        self.endpoints.iter().map(|dial| PeerSocket { endpoint: dial.endpoint.clone(), uplink: None, seen: None }).collect()
    }

    fn sockets_of_uplinks(&mut self, mut sockets: Vec<PeerSocket>) -> Vec<PeerSocket> {
        let uplinks: Vec<SocketUplink> = sockets.iter().filter_map(|socket| socket.uplink.clone()).collect();
        for uplink in uplinks {
            for somewhere in SOMEWHERE {
                let is_there = |socket: &PeerSocket| {
                    let local = socket.endpoint.local_addr().is_ok_and(|local| local.is_ipv6() == somewhere.is_ipv6());
                    local && socket.uplink.as_ref().is_some_and(|other| other.interface == uplink.interface)
                };
                if sockets.iter().any(is_there) || place_toward(somewhere, &uplink.interface).is_none() {
                    continue;
                }
                if let Some(endpoint) = self.beside(somewhere, &uplink.interface) {
                    sockets.push(PeerSocket { endpoint, uplink: Some(uplink.clone()), seen: None });
                }
            }
        }
        sockets
    }

    /// A socket of an uplink for addresses like `somewhere`, the same one every time.
    fn beside(&mut self, somewhere: SocketAddr, interface: &str) -> Option<lanparty_quic::Endpoint> {
        let is_ipv6 = somewhere.is_ipv6();
        if let Some(known) = self.beside.iter().find(|known| known.interface == interface && known.is_ipv6 == is_ipv6) {
            return Some(known.endpoint.clone());
        }
        let opened = bound_socket(somewhere, Some(interface))
            .and_then(|socket| lanparty_quic::Endpoint::new(lanparty_quic::EndpointConfig::default(), None, socket, something_came));
        let endpoint = opened.inspect_err(|e| debug!("no socket of {interface} for members at addresses like {somewhere}: {e}")).ok()?;
        self.beside.push(Beside { interface: interface.to_owned(), is_ipv6, endpoint: endpoint.clone() });
        Some(endpoint)
    }
}
