//! What a client needs of the machine it runs on: the part that differs by platform.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use lanparty_nic::Device;
use lanparty_node::Fault;
use lanparty_proto::{LanMtu, MacAddr, MemberId};

/// A machine with a TAP. What it changed on the machine it takes back in [`Host::leave`].
#[expect(async_fn_in_trait, reason = "a client lives on one thread: its futures need not be Send")]
pub trait Host {
    /// The TAP as a device.
    type Device: Device;

    /// The program as it introduces itself to a relay.
    fn software(&self) -> &'static str;

    /// The program as it names itself in its lines.
    fn program(&self) -> &'static str;

    /// The TAP's interface as the operator knows it.
    fn interface(&self) -> &str;

    /// Sets the IP MTU of the TAP.
    ///
    /// # Errors
    /// What the system said; the client goes on, and drops what is too large.
    fn set_mtu(&mut self, device: &mut Self::Device, mtu: LanMtu) -> io::Result<()>;

    /// Joined for the first time: plugs the cable in, since there is something at its other end now.
    ///
    /// # Errors
    /// A [`Fault`] ends the client.
    async fn plug_in(&mut self, device: &mut Self::Device, at: &Joining) -> Result<(), Fault>;

    /// Joined again, perhaps at another address of the relay.
    ///
    /// # Errors
    /// A [`Fault`] ends the client.
    fn joined_again(&mut self, at: &Joining) -> Result<(), Fault>;

    /// How it is now. Asked twice a second.
    ///
    /// # Errors
    /// A [`Fault`] ends the client.
    fn look(&mut self) -> Result<HostFacts, Fault>;

    /// Does what comes up beside the frames; most machines have nothing to do. Cancel-safe.
    ///
    /// # Errors
    /// A [`Fault`] ends the client.
    async fn work(&mut self) -> Result<(), Fault>;

    /// Sets an address on the TAP.
    ///
    /// # Errors
    /// What the system said; `AlreadyExists` when somebody else has set it, who may remove it again.
    async fn add_address(&mut self, address: IpNet) -> io::Result<()>;

    /// Removes an address that [`Host::add_address`] has set.
    ///
    /// # Errors
    /// What the system said.
    async fn remove_address(&mut self, address: IpNet) -> io::Result<()>;

    /// Sets a route to `network` through a member, on the TAP.
    ///
    /// # Errors
    /// What the system said; `AlreadyExists` when it has one to that network.
    async fn add_route(&mut self, network: IpNet, member: MemberId, mac: MacAddr) -> io::Result<()>;

    /// Removes a route that [`Host::add_route`] has set.
    ///
    /// # Errors
    /// What the system said.
    async fn remove_route(&mut self, network: IpNet, member: MemberId) -> io::Result<()>;

    /// Says what keeps this machine from forwarding for these networks.
    fn check_forwarding(&self, networks: &[IpNet]);

    /// Whether the system knows that nobody else has this IPv6 address of the TAP; nothing when the TAP does not have it.
    fn detection(&self, address: IpAddr) -> Option<Detection>;

    /// The IPv4 networks that this machine is in by other interfaces, with those.
    fn other_networks(&self) -> Vec<(String, Ipv4Net)>;

    /// Takes back what it tells the room of this machine, while it has its addresses. Frames are carried meanwhile.
    async fn fall_silent(&mut self) {}

    /// The TAP failed: opens it anew where that makes sense, with its cable plugged in as before.
    ///
    /// # Errors
    /// A [`Fault`] ends the client.
    async fn reopen(&mut self, error: io::Error, at: &Joining) -> Result<Self::Device, Fault>;

    /// Takes back what it changed on this machine. The device is still there.
    async fn leave(&mut self);
}

/// A room as it was joined.
#[derive(Clone, Copy, Debug)]
pub struct Joining {
    /// Where the relay is reached, or the proxy before it.
    pub remote: Option<SocketAddr>,
    /// The room's LAN MTU.
    pub lan_mtu: LanMtu,
}

/// Duplicate Address Detection (RFC 4862 §5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detection {
    /// It takes about a second.
    Running,
    /// Another machine has the address.
    Duplicate,
    /// It is in use.
    Usable,
}

/// What a machine says of itself at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The TAP's IPv4 addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether the way to the relay is kept out of the tunnel by a route; nothing where that takes no route.
    pub route_pinned: Option<bool>,
    /// The name by which the room finds this machine, where that is told.
    pub mdns_name: Option<String>,
}
