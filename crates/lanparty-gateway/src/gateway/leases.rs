//! The room's own DHCP at a gateway: what comes for it is handed over, and what it wants is done.

use std::time::Instant;

use bytes::Bytes;
use lanparty_node::{Identity, Side, ipv4_networks};
use lanparty_proto::{AddressRequest, Control, LAN_MTU_MAX, OWN_NETWORKS_MAX};
use tracing::{info, warn};

use super::Gateway;
use crate::GatewayArgs;
use crate::dhcp::{DhcpServer, Input, News, Output};

/// What a gateway with `--dhcp-server` begins with.
pub(super) fn server(args: &GatewayArgs, identity: &Identity) -> Option<DhcpServer> {
    let purpose = format!("lanparty DHCP server on {}", args.interface);
    args.dhcp_server.then(|| DhcpServer::new(identity.mac_for(&purpose), LAN_MTU_MAX, Instant::now()))
}

/// What the relay is asked for: an address for the server itself, and with that the network that it gives out.
pub(super) fn request(args: &GatewayArgs, server: Option<&DhcpServer>) -> Option<AddressRequest> {
    let networks = ipv4_networks(&args.interface).into_iter().map(|(_, network)| network).take(OWN_NETWORKS_MAX).collect();
    server.map(|server| AddressRequest { unless_gateway: false, had: server.own(), networks })
}

impl Gateway {
    /// In the room, perhaps again.
    pub(super) async fn dhcp_joined(&mut self) {
        let assigned = self.session.take_assigned();
        let mtu = self.session.roster().map(|roster| roster.lan_mtu().bytes());
        self.dhcp_input(Input::LanMtu(mtu.unwrap_or(LAN_MTU_MAX))).await;
        self.dhcp_input(Input::Assigned(assigned.as_ref())).await;
        self.session.ask_addresses(request(&self.args, self.dhcp.as_ref()));
    }

    /// The relay said something.
    pub(super) async fn dhcp_control(&mut self, message: &Control) {
        if let Control::LanMtu { mtu, .. } = message {
            self.dhcp_input(Input::LanMtu(mtu.bytes())).await;
        }
        self.dhcp_input(Input::Control(message)).await;
        if matches!(message, Control::Addresses(_)) {
            self.session.ask_addresses(request(&self.args, self.dhcp.as_ref()));
        }
    }

    /// Frames that may concern it.
    pub(super) async fn at_desk(&mut self, frames: &[(Side, Bytes)]) {
        for (side, frame) in frames {
            self.dhcp_input(Input::Frame(*side, frame)).await;
        }
    }

    /// Something happened.
    pub(super) async fn dhcp_input(&mut self, input: Input<'_>) {
        if let Some(server) = &mut self.dhcp {
            server.handle_input(input, Instant::now());
            self.drive_dhcp().await;
        }
    }

    /// Does what is to be done now.
    pub(super) async fn drive_dhcp(&mut self) {
        while let Some(server) = &mut self.dhcp {
            match server.poll_output(Instant::now()) {
                Output::Say(side, frame) => self.session.driver.say_at_desk(side, frame),
                Output::Tell(message) => self.session.driver.tell(&message).await,
                Output::News(news) => say(&self.args.interface, &news),
                Output::Timeout(at) => {
                    self.dhcp_due = Some(at);
                    return;
                }
            }
        }
    }
}

fn say(interface: &str, news: &News) {
    match news {
        News::Serves { network } => info!(%interface, "DHCP: machines on {interface} get addresses of the room's network {network}"),
        News::Silent { because } => warn!(%interface, "DHCP: nobody is answered: {because}"),
        News::Leased { mac, address } => info!(%interface, %mac, %address, "DHCP: {address} is leased to {mac}"),
        News::NoLease { mac, because } => warn!(%interface, %mac, "DHCP: no address for {mac}: {because}"),
        News::Declined { mac, address } => {
            warn!(%interface, %mac, "address-conflict: {mac} found that another machine has {address}, which is given to nobody any more");
        }
    }
}
