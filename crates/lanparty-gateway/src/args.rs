//! The command line of the gateway.

use clap::Args;
use lanparty_node::MemberFlags;

/// Options of `lanparty-gateway` and `lanparty gateway`.
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub member: MemberFlags,

    /// The wired Ethernet interface that is plugged into the LAN
    #[arg(long, visible_alias = "iface", value_name = "IFACE")]
    pub interface: String,

    /// Let the room join this LAN to those of its other gateways, where their owners agree as well and the relay allows it (--lans)
    #[arg(long)]
    pub join_lans: bool,

    /// Give machines on this LAN, such as consoles, addresses of the room's by DHCP: for a LAN without a router and without a DHCP server.
    /// While another DHCP server answers there, nobody is answered
    #[arg(long)]
    pub dhcp_server: bool,

    /// Pass on the MTU that the LAN's DHCP server and routers tell (DHCP option 26, the MTU of router advertisements) as they tell
    /// it; otherwise members hear the LAN MTU, when that is smaller
    #[arg(long)]
    pub no_mtu_rewrite: bool,
}
