//! `lanparty-gateway`: a thin main over the library of the same name.

use clap::Parser;
use lanparty_gateway::GatewayArgs;

/// Bridges a physical LAN into a room: remote members get leases from its DHCP server and appear in its switch.
///
/// Needs a wired Ethernet interface and the right to use it raw (root or CAP_NET_RAW).
#[derive(Parser)]
#[command(
    name = "lanparty-gateway",
    version,
    after_help = "Example:\n  lanparty-gateway --relay relay.example.net:8443 --server-name lanparty-relay.local --relay-ca-cert relay-cert.der --room ROOM1 --interface eth0\n\nExit codes: 0 ok, 1 unexpected, 2 configuration, 3 permission, 4 refused by the peer."
)]
struct Cli {
    #[command(flatten)]
    args: GatewayArgs,
}

fn main() -> std::process::ExitCode {
    lanparty_node::serve(lanparty_gateway::run(lanparty_config::parse::<Cli>(lanparty_config::Role::Gateway).args))
}
