//! The sockets by which others may come in, and the addresses at which they find them.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use super::offer::Offer;
use super::{Peers, dial};
use crate::Identity;
use crate::port_mapping::{OpenedPort, PortMapping};

impl Peers {
    /// Uses these sockets from now on. The addresses at which others may try us.
    pub(crate) fn listen_on(&mut self, endpoints: &[noq::Endpoint], own: &Arc<Identity>, own_interface: Option<&str>) -> Vec<SocketAddr> {
        self.listening.drain(..).for_each(|(_, task)| task.abort());
        self.own = Some(Arc::clone(own));
        self.own_interface = own_interface.map(str::to_owned);
        let accept = |endpoint: &noq::Endpoint| (endpoint.clone(), tokio::spawn(dial::accept(endpoint.clone(), self.sender.clone())));
        self.listening = endpoints.iter().map(accept).collect();
        self.offer = Offer::default();
        self.new_addresses(Instant::now()).unwrap_or_default()
    }

    /// The addresses at which others may try us, when they are others than those that were given last.
    pub(crate) fn new_addresses(&mut self, now: Instant) -> Option<Vec<SocketAddr>> {
        self.follow_socket();
        let sockets = self.listening.iter().filter_map(|(endpoint, _)| endpoint.local_addr().ok());
        let opened = self.opened_port().map(|opened| opened.address);
        self.offer.renew(opened, sockets, self.own_interface.as_deref(), now)
    }

    /// Asks the router to let others in, from now on.
    pub(crate) const fn map_ports(&mut self) {
        self.maps_ports = true;
    }

    /// The router's port leads to the socket for IPv4, also when that is another one than before.
    fn follow_socket(&mut self) {
        if !self.maps_ports {
            return;
        }
        let ports = self.listening.iter().filter_map(|(endpoint, _)| endpoint.local_addr().ok().filter(|local| local.is_ipv4()));
        let port = ports.map(|local| local.port()).find_map(NonZeroU16::new);
        if self.port_mapping.as_ref().map(PortMapping::local_port) != port {
            self.port_mapping.take().map(|mapping| tokio::spawn(mapping.end()));
            self.port_mapping = port.map(|port| PortMapping::start(port, self.own_interface.clone()));
        }
    }

    /// Gives the router's port back.
    pub(crate) async fn end_port_mapping(&mut self) {
        if let Some(mapping) = self.port_mapping.take() {
            mapping.end().await;
        }
    }

    /// The port that the router has opened.
    pub(crate) fn opened_port(&self) -> Option<OpenedPort> {
        self.port_mapping.as_ref().and_then(PortMapping::opened)
    }
}
