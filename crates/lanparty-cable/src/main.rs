//! `lanparty-cable`: a thin main over the library of the same name.

use clap::Parser;
use lanparty_cable::CableArgs;

/// Plug an Ethernet cable between two hosts, without a relay.
#[derive(Parser)]
#[command(name = "lanparty-cable", version)]
struct Cli {
    #[command(flatten)]
    args: CableArgs,
}

fn main() -> std::process::ExitCode {
    lanparty_node::serve(lanparty_cable::run(lanparty_config::parse::<Cli>(lanparty_config::Role::Cable).args))
}
