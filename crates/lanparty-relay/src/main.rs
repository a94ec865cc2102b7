//! `lanparty-relay`: a thin main over the library of the same name.

use clap::Parser;
use lanparty_relay::RelayCommand;

/// The public relay of lanparty: members join rooms, and frames go between the members of a room.
///
/// Members reach it by UDP. It keeps no data: after a restart the members come back by themselves.
#[derive(Parser)]
#[command(
    name = "lanparty-relay",
    version,
    after_help = "Examples:\n  lanparty-relay --listen 0.0.0.0:8443 --open --dev-cert-der-out relay-cert.der\n  lanparty-relay --cert chain.pem --key key.pem --rooms rooms.toml\n\nExit codes: 0 ok, 1 unexpected, 2 configuration, 3 permission, 4 refused by the peer."
)]
struct Cli {
    #[command(flatten)]
    command: RelayCommand,
}

fn main() -> std::process::ExitCode {
    lanparty_relay::end(lanparty_config::parse::<Cli>(lanparty_config::Role::Relay).command)
}
