//! A client on Linux: its TAP, a DHCP client when asked for, help for game discovery, the user's own scripts.

mod address;
mod dhcp;
mod discovery;
mod mdns;
mod route;
mod scripts;
mod tap_name;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use lanparty_nic::{Device as _, Tap};
use lanparty_node::{ExitCode, Fault, Identity, addresses_of, ipv4_addresses, ipv4_networks, start_logging};
use lanparty_proto::{LanMtu, MacAddr, MemberId};
use tracing::{info, warn};

use crate::host::{Detection, Host, HostFacts, Joining};
use crate::mac_flag::check_mac;
use crate::{AddressPlan, Client, ClientArgs, identity};
use dhcp::DhcpClient;
use mdns::PublishedName;
use scripts::{ScriptFacts, run_script};
use tap_name::create_tap;

/// Runs a client until it is asked to end.
///
/// # Errors
/// A [`Fault`] in words for the player.
pub async fn run(args: ClientArgs) -> Result<(), Fault> {
    start_logging(args.member.log_format);
    args.member.busy_poll.start();
    let plan = AddressPlan::new(&args.address, args.dhcp)?;
    let chosen = args.mac.map(|mac| check_mac(mac, args.allow_global_mac)).transpose()?;
    let (identity, identity_file) = identity(args.identity.clone(), args.member.state_dir.clone(), args.new_identity)?;
    let identity = match chosen {
        Some(mac) => identity.with_mac(mac),
        None => identity,
    };
    let filter = args.member.filtering.start()?;
    let _underlay = args.member.ready_underlay().await?;
    let dialer = args.member.dialer()?;
    let tap = prepare_tap(&args, identity.mac())?;
    let interface = tap.name().to_owned();
    let dialer = dialer.avoiding(interface.clone());
    let identity = keep_given_mac(identity, &tap, &args)?;
    let mac = identity.mac();
    info!(%interface, %mac, "prepared TAP adapter {interface}: MAC {mac} configured and media disconnected before relay connect");
    let member = args.member.clone();
    let (behind, routes) = (args.route_from.clone(), args.route.clone());
    let host = LinuxHost { args, interface, mac, wants_dhcp: plan.dhcp, dhcp: None, lan_mtu: None, index: None, name: None };
    Client::new(member, identity, identity_file, dialer, host, tap, plan)?.filtered(filter.as_ref()).routing(&behind, &routes)?.run().await
}

/// Creates the TAP with its cable unplugged: nothing on this host may use it before there is a LAN behind it.
fn prepare_tap(args: &ClientArgs, mac: MacAddr) -> Result<Tap, Fault> {
    let tap = create_tap(args.tap_name.as_deref(), &args.member.room, mac)?;
    let name = tap.name();
    tap.set_carrier(false).map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot unplug {name}: {e}"), ""))?;
    Ok(tap)
}

/// A TAP that was made beforehand may keep its MAC address against our will, and then that is the member's: what the machine sends
/// carries it.
fn keep_given_mac(identity: Identity, tap: &Tap, args: &ClientArgs) -> Result<Identity, Fault> {
    let name = tap.name();
    let given = tap.mac().map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot read the MAC address of {name}: {e}"), ""))?;
    if given == identity.mac() {
        return Ok(identity);
    }
    if let Some(wanted) = args.mac {
        let cause = format!("the TAP {name} has the MAC address {given}, and --mac {wanted} may not be set");
        return Err(Fault::new(ExitCode::Permission, cause, format!("set it as root: ip link set {name} address {wanted}")));
    }
    info!(interface = %name, mac = %given, "the TAP was made beforehand; its MAC address is the member's");
    Ok(identity.with_mac(given))
}

/// Waits for the end of a DHCP client, when there is one. Cancel-safe.
async fn ended(client: &mut Option<DhcpClient>) -> String {
    match client {
        Some(client) => client.ended().await,
        None => std::future::pending().await,
    }
}

/// Tells a name, when there is one, and never ends. Cancel-safe.
async fn tell(name: &mut Option<PublishedName>) {
    match name {
        Some(name) => name.work().await,
        None => std::future::pending().await,
    }
}

/// The addresses by which a machine is to be found: not those that mean another machine on every link.
fn told_addresses(interface: &str) -> BTreeSet<IpAddr> {
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    addresses_of(interface).into_iter().filter(|address| !is_link_local(address)).collect()
}

struct LinuxHost {
    args: ClientArgs,
    /// What the TAP is called.
    interface: String,
    mac: MacAddr,
    wants_dhcp: bool,
    dhcp: Option<DhcpClient>,
    lan_mtu: Option<LanMtu>,
    /// Of the TAP, when it is up.
    index: Option<u32>,
    /// What the room is told, when it is to be told.
    name: Option<PublishedName>,
}

impl LinuxHost {
    fn publish_name(&mut self, index: u32) {
        let told = self.args.member.introduction.description.as_deref();
        match PublishedName::publish(&self.interface, index, told, self.mac) {
            Ok(name) => self.name = Some(name),
            Err(e) => warn!("the room is not told this machine's name, as there is no mDNS here: {e}"),
        }
    }

    fn script_facts(&self) -> ScriptFacts {
        let lan_mtu = self.lan_mtu.unwrap_or(LanMtu::MAX);
        ScriptFacts { interface: self.interface.clone(), mac: self.mac, lan_mtu, room: self.args.member.room.clone() }
    }
}

impl Host for LinuxHost {
    type Device = Tap;

    fn software(&self) -> &'static str {
        "lanparty-client"
    }

    fn program(&self) -> &'static str {
        "lanparty client"
    }

    fn interface(&self) -> &str {
        &self.interface
    }

    fn set_mtu(&mut self, tap: &mut Tap, mtu: LanMtu) -> io::Result<()> {
        tap.set_mtu(mtu)?;
        self.lan_mtu = Some(mtu);
        Ok(())
    }

    async fn plug_in(&mut self, tap: &mut Tap, _: &Joining) -> Result<(), Fault> {
        let name = self.interface.clone();
        let failed = |e: io::Error| {
            Fault::new(
                ExitCode::Permission,
                format!("cannot bring {name} up: {e}"),
                format!("run as root, grant CAP_NET_ADMIN, or do it beforehand: ip link set {name} up"),
            )
        };
        tap.set_up(true).map_err(&failed)?;
        tap.set_carrier(true).map_err(&failed)?;
        let index = tap.index().map_err(&failed)?;
        info!(interface = %name, mac = %self.mac, mtu = self.lan_mtu.map(LanMtu::bytes), "TAP is up");
        if !self.args.no_game_discovery {
            match discovery::route_discovery(index, self.args.metric).await {
                Ok(()) => info!("game discovery: limited broadcast and multicast leave by {name}"),
                Err(e) => warn!("game discovery needs two routes that could not be set ({e}); a server may have to be joined by address"),
            }
        }
        if let Some(script) = &self.args.up {
            run_script(script, &self.script_facts()).await;
        }
        self.index = Some(index);
        if self.args.mdns {
            self.publish_name(index);
        }
        if self.wants_dhcp {
            self.dhcp = Some(DhcpClient::start(&name, self.args.metric)?);
        }
        Ok(())
    }

    /// The socket stays on its uplink by itself (docs/decisions/0004).
    fn joined_again(&mut self, _: &Joining) -> Result<(), Fault> {
        Ok(())
    }

    fn look(&mut self) -> Result<HostFacts, Fault> {
        let addresses: Vec<Ipv4Addr> = ipv4_addresses(&self.interface);
        let mdns_name = self.name.as_mut().map(|name| name.look(told_addresses(&self.interface)));
        Ok(HostFacts { addresses, route_pinned: None, mdns_name })
    }

    async fn work(&mut self) -> Result<(), Fault> {
        let words = tokio::select! {
            words = ended(&mut self.dhcp) => words,
            () = tell(&mut self.name) => return Ok(()),
        };
        warn!("{words}; starting it again");
        let rest = self.dhcp.as_ref().map(DhcpClient::next_rest);
        if let Some(client) = &mut self.dhcp {
            client.leave_lease();
        }
        // The old one's files have the new one's names.
        self.dhcp = None;
        let client = DhcpClient::start(&self.interface, self.args.metric)?;
        self.dhcp = Some(match rest {
            Some(rest) => client.resting(rest),
            None => client,
        });
        Ok(())
    }

    async fn add_address(&mut self, address: IpNet) -> io::Result<()> {
        address::add_address(self.index.ok_or(io::ErrorKind::NotConnected)?, address, self.args.metric).await
    }

    async fn remove_address(&mut self, address: IpNet) -> io::Result<()> {
        address::remove_address(self.index.ok_or(io::ErrorKind::NotConnected)?, address).await
    }

    async fn add_route(&mut self, network: IpNet, member: MemberId, mac: MacAddr) -> io::Result<()> {
        route::add_route(self.index.ok_or(io::ErrorKind::NotConnected)?, network, member, mac).await
    }

    async fn remove_route(&mut self, network: IpNet, member: MemberId) -> io::Result<()> {
        route::remove_route(self.index.ok_or(io::ErrorKind::NotConnected)?, network, member).await
    }

    fn check_forwarding(&self, networks: &[IpNet]) {
        for (is_ipv4, switch) in [(true, "net/ipv4/ip_forward"), (false, "net/ipv6/conf/all/forwarding")] {
            let forwards = std::fs::read_to_string(format!("/proc/sys/{switch}")).is_ok_and(|text| text.trim() != "0");
            if !forwards && networks.iter().any(|net| net.addr().is_ipv4() == is_ipv4) {
                let name = switch.replace('/', ".");
                warn!("this machine does not forward packets, so nothing reaches the networks behind it: sysctl -w {name}=1");
            }
        }
    }

    fn detection(&self, address: IpAddr) -> Option<Detection> {
        address::detection(&self.interface, address)
    }

    fn other_networks(&self) -> Vec<(String, Ipv4Net)> {
        ipv4_networks(&self.interface)
    }

    async fn reopen(&mut self, error: io::Error, _: &Joining) -> Result<Tap, Fault> {
        let cause = format!("the TAP {} failed: {error}", self.interface);
        Err(Fault::new(ExitCode::Unexpected, cause, "start the client again"))
    }

    async fn fall_silent(&mut self) {
        if let Some(name) = self.name.take() {
            name.take_back().await;
        }
    }

    async fn leave(&mut self) {
        self.dhcp = None;
        if let (Some(script), Some(_)) = (&self.args.down, self.lan_mtu) {
            run_script(script, &self.script_facts()).await;
        }
    }
}
