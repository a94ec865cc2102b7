//! `lanparty`: the one tool. Every role is a library; this file only chooses.

mod adapters;
mod bond;
mod change;
mod config;
mod doctor;
mod events;
mod fault;
mod filter;
mod manual;
mod ping;
mod program;
mod route;
mod rpc;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use lanparty_node::{block_on, serve};

/// Distant machines on one Ethernet.
///
/// A friend at home joins the LAN at the venue: gets a lease from its DHCP server, appears in its switch, and sees its game
/// servers. One program each: a relay that all can reach, a gateway on the LAN, a client per remote machine.
#[derive(Parser)]
#[command(name = "lanparty", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

const EXAMPLES: &str = "\
Examples:
  lanparty relay --open --dev-cert-der-out relay-cert.der
  lanparty gateway --relay relay.example.net --server-name lanparty-relay.local --relay-ca-cert relay-cert.der --room ROOM1 --interface eth0
  lanparty client  --relay relay.example.net --server-name lanparty-relay.local --relay-ca-cert relay-cert.der --room ROOM1 --dhcp

Exit codes: 0 ok, 1 unexpected, 2 configuration, 3 permission or missing driver, 4 refused by the peer.";

#[derive(Subcommand)]
enum Role {
    /// Join a room: this machine appears in its LAN through a TAP interface
    Client(lanparty_client_core::ClientArgs),
    /// Bridge a physical LAN into a room
    Gateway(lanparty_gateway::GatewayArgs),
    /// Run the relay that members of rooms meet at
    Relay(lanparty_relay::RelayCommand),
    /// Plug an Ethernet cable between two hosts, without a relay
    Cable(lanparty_cable::CableArgs),
    /// Run what a configuration file has a table for
    Run(config::RunArgs),
    /// List this machine's network interfaces, and what each could be used for
    Adapters(adapters::AdaptersArgs),
    /// Show what the lanparty programs on this machine are doing
    Status(status::StatusArgs),
    /// Reach networks behind other members
    Route(route::RouteArgs),
    /// Show what happens in a program that runs here, as it happens
    Events(events::EventsArgs),
    /// Leave the room, or pull the cable out, and end the program
    Leave(change::LeaveArgs),
    /// Add or remove a line of a running bond
    Uplink(change::UplinkArgs),
    /// Show or change what a running program logs
    LogLevel(change::LogLevelArgs),
    /// Call a method of a program that runs here, for scripts (docs/management.md)
    Rpc(rpc::RpcArgs),
    /// Say in words what is wrong with this host, or with the way to a relay
    Doctor(doctor::DoctorArgs),
    /// Ask another member of the room whether it answers, how fast, and at which sizes
    Ping(ping::PingArgs),
    /// Test what several lines are worth together
    Bond(bond::BondArgs),
    /// Check the rules of a traffic filter, and what they say of a packet
    Filter(filter::FilterArgs),
    /// Check a configuration file, print one with every option, or make one of n3n's
    Config(config::ConfigArgs),
    /// Print shell completions
    Completions {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    Manual {
        /// The directory, e.g. /usr/local/share/man/man1
        directory: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    run(&std::env::args_os().collect::<Vec<_>>())
}

fn run(arguments: &[OsString]) -> ExitCode {
    match lanparty_config::parse_tool::<Cli>(arguments).role {
        Role::Client(args) => serve(lanparty_client_core::run(args)),
        Role::Gateway(args) => serve(lanparty_gateway::run(args)),
        Role::Relay(command) => lanparty_relay::end(command),
        Role::Cable(args) => serve(lanparty_cable::run(args)),
        Role::Run(args) => match config::role_of(&args, &command()) {
            Ok(role) => run(&args.arguments(role)),
            Err(fault) => block_on(async { Err(fault) }),
        },
        Role::Adapters(args) => block_on(adapters::run(args)),
        Role::Status(args) => block_on(status::run(args)),
        Role::Route(args) => block_on(route::run(args)),
        Role::Events(args) => block_on(events::run(args)),
        Role::Leave(args) => block_on(change::leave(args)),
        Role::Uplink(args) => block_on(change::uplink(args)),
        Role::LogLevel(args) => block_on(change::log_level(args)),
        Role::Rpc(args) => block_on(rpc::run(args)),
        Role::Doctor(args) => doctor::end(&args),
        Role::Ping(args) => ping::end(&args),
        Role::Bond(args) => bond::end(&args),
        Role::Filter(args) => filter::end(args),
        Role::Config(args) => block_on(async { config::run(&args, &command()) }),
        Role::Completions { shell } => block_on(async { manual::completions(shell, &mut command()) }),
        Role::Manual { directory } => block_on(async { manual::write(&command(), &directory) }),
    }
}

/// The command line, with what its roles take from files and the environment.
fn command() -> clap::Command {
    lanparty_config::tool(Cli::command())
}
