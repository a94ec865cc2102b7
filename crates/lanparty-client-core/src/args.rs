//! The command line of the client.

use std::path::PathBuf;

use clap::Args;
use lanparty_node::{Fault, MemberFlags};
use lanparty_proto::MacAddr;

use crate::mac_flag::check_mac;
use crate::{AddressFlag, AddressPlan, RouteFlag, RouteFrom};

/// Options of `lanparty client`.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub member: MemberFlags,

    /// Name of the TAP interface, at most 15 bytes: it is created, or was made beforehand for this user (ip tuntap add dev NAME mode tap
    /// user USER), and is used as it is then, without root. Without it: lp- and the room's name, as lp-friday; where that is taken, with
    /// digits of this machine's MAC address behind it
    #[arg(long, value_name = "NAME")]
    pub tap_name: Option<String>,

    /// Metric of the routes over the TAP, of its addresses' networks and for game discovery; lower ones are preferred
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub metric: Option<u32>,

    /// Another virtual MAC address than the identity's, for this run
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    pub mac: Option<MacAddr>,

    /// Take --mac also when it is one of a manufacturer's
    #[arg(long, requires = "mac")]
    pub allow_global_mac: bool,

    /// Where an address comes from: auto (the relay assigns it), dhcp (the LAN's server gives it to this machine's udhcpc or dhclient;
    /// takes no default route), static:192.168.8.5/24, static:fd00:1::6/64, or none; may be said several times. Without it: auto in a
    /// room that has no gateway, none in one that has
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub address: Vec<AddressFlag>,

    /// The same as --address dhcp
    #[arg(long)]
    pub dhcp: bool,

    /// This machine routes for a network behind it: packets of its addresses pass, too, not only those of this machine's own. As
    /// 192.168.50.0/24; any is for all the world, which a default route through this machine takes. May be said several times
    #[arg(long, value_name = "NETWORK", value_parser = parse_route_from)]
    pub route_from: Vec<RouteFrom>,

    /// Reach a network through a member, by its MAC address or peer number, as 192.168.50.0/24=02:…; default=MEMBER is all of IPv4. The
    /// member needs --route-from. May be said several times
    #[arg(long, value_name = "NETWORK=MEMBER", value_parser = parse_route)]
    pub route: Vec<RouteFlag>,

    /// Let the room find this machine as NAME.local by multicast DNS, where NAME is what --description says, else its host name; where another
    /// machine has that, NAME-2. Not needed where the system itself tells its name on every interface, as Avahi does
    #[arg(long)]
    pub mdns: bool,

    /// Run this when the interface is up (LANPARTY_INTERFACE, LANPARTY_MAC, LANPARTY_MTU, LANPARTY_ROOM are set)
    #[arg(long, value_name = "SCRIPT")]
    pub up: Option<PathBuf>,

    /// Run this before the interface goes away, with the same environment
    #[arg(long, value_name = "SCRIPT")]
    pub down: Option<PathBuf>,

    /// Leave limited broadcast and multicast to this machine's ordinary routes: game browsers may then miss the LAN
    #[arg(long)]
    pub no_game_discovery: bool,

    /// File that keeps this machine's identity and virtual MAC address
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,

    /// Become another machine: new identity, new MAC address; the old file is kept as *.bad
    #[arg(long)]
    pub new_identity: bool,
}

impl ClientArgs {
    /// What a client would refuse at its start, as far as its options and their files say it.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), Fault> {
        AddressPlan::new(&self.address, self.dhcp)?;
        self.mac.map(|mac| check_mac(mac, self.allow_global_mac)).transpose()?;
        self.member.filtering.rules().map(drop)
    }
}

fn parse_mac(text: &str) -> Result<MacAddr, String> {
    text.parse().map_err(|e: lanparty_proto::InvalidMac| e.to_string())
}

fn parse_route_from(text: &str) -> Result<RouteFrom, String> {
    text.parse()
}

fn parse_route(text: &str) -> Result<RouteFlag, String> {
    text.parse()
}

fn parse_address(text: &str) -> Result<AddressFlag, String> {
    text.parse()
}
