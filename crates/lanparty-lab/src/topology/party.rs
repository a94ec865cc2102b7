//! A LAN party with a friend at home: the acceptance test of the guide as a network.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Internet, LAN, Uplink};
use crate::dhcp::{DhcpServer, ServerLease};
use crate::lab::Lab;
use crate::labwire::LabWire;
use crate::link::{End, MacEntry, Offloads, Switch, address};
use crate::namespace::Namespace;

/// Hosts of the party that play on the LAN itself.
const PCS: u8 = 3;
/// The port of the switch that leads to the gateway.
const GATEWAY_PORT: &str = "gateway";

/// How the party is connected.
#[derive(Debug, Clone, Default)]
pub struct PartyOptions {
    /// The venue's uplink.
    pub gateway: Uplink,
    /// The remote player's uplink.
    pub home: Uplink,
    /// The relay's uplink.
    pub relay: Uplink,
    /// The LAN's own cables. Real network cards merge and split packets too: a gateway must cope with [`Offloads::On`].
    pub lan: Offloads,
    /// More of dnsmasq's options, such as `--dhcp-option=26,1280`.
    pub dhcp: Vec<String>,
}

/// A LAN (10.73.42.0/24: `switch`, `pc1` to `pc3`, `dhcp`, `gateway`) and an internet (10.99.0.0/24: `gateway`, `relay`, `home`).
///
/// The LAN's hosts have their interface `lan`; the gateway's has no address, as a bridge port needs none. The gateway's and everyone's
/// interface toward the internet is `wan`. The remote player's program runs on `home` and makes its own TAP there.
#[derive(Debug)]
pub struct Party {
    /// `pc1` (10.73.42.11) to `pc3`.
    pub pcs: Vec<Namespace>,
    /// The venue's DHCP server (10.73.42.1): leases .100 to .200.
    pub dhcp_server: DhcpServer,
    /// The host of the DHCP server, which is also what the PCs take for their router.
    pub dhcp: Namespace,
    /// The host that bridges the LAN into a room.
    pub gateway: Namespace,
    /// The relay's host.
    pub relay: Namespace,
    /// The remote player's machine.
    pub home: Namespace,
    /// The venue's switch. Its ports are called as the hosts: `pc1`, `dhcp`, `gateway`.
    pub switch: Switch,
    /// The venue's uplink, when it is a wire; likewise below.
    pub wire_gateway: Option<LabWire>,
    /// The remote player's uplink.
    pub wire_home: Option<LabWire>,
    /// The relay's uplink.
    pub wire_relay: Option<LabWire>,
    /// The internet.
    pub internet: Internet,
    /// Owns all of it; last, so that everything that uses it is dropped before.
    pub lab: Lab,
}

impl Party {
    /// The relay's address.
    pub const RELAY: Ipv4Addr = Internet::address(1);
    /// The gateway's address on the internet.
    pub const GATEWAY: Ipv4Addr = Internet::address(20);
    /// The remote player's address on the internet.
    pub const HOME: Ipv4Addr = Internet::address(30);
    /// The venue's DHCP server.
    pub const DHCP: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 1);

    /// The LAN address of `pc1`, `pc2`, `pc3` by their number.
    pub const fn pc_address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 73, 42, 10 + number)
    }

    /// Builds it in a lab called `name`; the DHCP server runs.
    pub fn build(name: &str, options: &PartyOptions) -> Result<Self> {
        let lab = Lab::new(name)?;
        let switch = Switch::new(lab.namespace("switch")?)?;
        let mut pcs = Vec::new();
        for number in 1..=PCS {
            let pc = lab.namespace(&format!("pc{number}"))?;
            plug_with_address(&switch, &pc, Self::pc_address(number), options.lan)?;
            // A LAN has a router, and by this route a broadcast to 255.255.255.255 leaves.
            pc.ip(&format!("route add default via {} dev {LAN}", Self::DHCP))?;
            pcs.push(pc);
        }
        let dhcp = lab.namespace("dhcp")?;
        plug_with_address(&switch, &dhcp, Self::DHCP, options.lan)?;
        let more: Vec<&str> = options.dhcp.iter().map(String::as_str).collect();
        let dhcp_server = DhcpServer::start(&dhcp, LAN, Ipv4Addr::new(10, 73, 42, 100), Ipv4Addr::new(10, 73, 42, 200), &more)?;
        let (gateway, relay, home) = (lab.namespace("gateway")?, lab.namespace("relay")?, lab.namespace("home")?);
        switch.plug(End::new(&gateway, LAN), GATEWAY_PORT, options.lan)?;
        let internet = Internet::new(&lab)?;
        let wire_relay = internet.attach(&lab, &relay, 1, &options.relay)?;
        let wire_gateway = internet.attach(&lab, &gateway, 20, &options.gateway)?;
        let wire_home = internet.attach(&lab, &home, 30, &options.home)?;
        Ok(Self { pcs, dhcp_server, dhcp, gateway, relay, home, switch, wire_gateway, wire_home, wire_relay, internet, lab })
    }

    /// `pc1`, `pc2` or `pc3`.
    pub fn pc(&self, number: u8) -> &Namespace {
        &self.pcs[usize::from(number) - 1]
    }

    /// The venue's switch as its operator sees it. The remote player's MAC belongs on port `gateway`.
    pub fn mac_table(&self) -> Result<Vec<MacEntry>> {
        self.switch.mac_table()
    }

    /// The leases that the venue's DHCP server gave.
    pub fn leases(&self) -> Result<Vec<ServerLease>> {
        self.dhcp_server.leases()
    }

    /// The port on which the gateway is plugged in.
    pub const fn gateway_port() -> &'static str {
        GATEWAY_PORT
    }
}

fn plug_with_address(switch: &Switch, host: &Namespace, ip: Ipv4Addr, offloads: Offloads) -> Result<()> {
    let end = End::new(host, LAN);
    switch.plug(end, host.host(), offloads)?;
    address(end, &format!("{ip}/24"))
}
