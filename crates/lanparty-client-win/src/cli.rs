//! The command line.

use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use lanparty_client_core::{RouteFlag, RouteFrom};
use lanparty_node::{MemberFlags, Proxy, RelayAddress};

use crate::adapter::Wanted;

/// Options that do something else than joining a room, and need none.
const WITHOUT_ROOM: [&str; 6] = ["list_tap_adapters", "selftest", "undo", "service", "doctor", "status"];

/// A machine with Windows joins the LAN of a room through a TAP-Windows6 adapter.
///
/// Runs in an Administrator terminal: it opens the adapter and changes routes. What it changes on this machine is taken back when it
/// ends, and after a crash by the next start.
#[derive(Parser, Clone, Debug)]
#[command(name = "lanparty-client-win", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub member: Option<MemberFlags>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub machine: MachineFlags,

    /// Show the TAP-Windows6 adapters of this machine
    #[arg(long)]
    pub list_tap_adapters: bool,

    /// Try every call to Windows that the client makes, read it back, undo it, and say how it went
    #[arg(long)]
    pub selftest: bool,

    /// Say what is wrong with this machine, with --relay the way there too, and with the room that a client here is in
    #[arg(long)]
    pub doctor: bool,

    /// Show what the client on this machine is doing, as JSON
    #[arg(long)]
    pub status: bool,

    /// With --selftest, --list-tap-adapters or --doctor: print JSON
    #[arg(long)]
    pub json: bool,

    /// Take back what a run that crashed has left on this machine
    #[arg(long)]
    pub undo: bool,

    /// Install, remove or run the client as a service of Windows; `install` keeps the other options for its runs
    #[arg(long, value_name = "WHAT")]
    pub service: Option<ServiceTask>,

    #[arg(skip)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub alone: Alone,
}

/// Options of a member that mean something also where no room is joined.
#[derive(Clone, Debug, Default)]
pub struct Alone {
    /// The relay whose way there is examined.
    pub relay: Option<RelayAddress>,
    /// The name in its certificate.
    pub server_name: Option<String>,
    /// Its certificate.
    pub relay_ca_cert: Option<PathBuf>,
    /// The HTTP proxy for streams.
    pub proxy: Option<Proxy>,
    /// Where the relay takes streams.
    pub relay_tls: Option<RelayAddress>,
    /// Where the state of the run in question is.
    pub state_dir: Option<PathBuf>,
}

impl Alone {
    fn of(matches: &ArgMatches) -> Self {
        Self {
            relay: matches.get_one("relay").cloned(),
            server_name: matches.get_one("server_name").cloned(),
            relay_ca_cert: matches.get_one("relay_ca_cert").cloned(),
            proxy: matches.get_one("proxy").cloned(),
            relay_tls: matches.get_one("relay_tls").cloned(),
            state_dir: matches.get_one("state_dir").cloned(),
        }
    }
}

/// What to do with the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ServiceTask {
    /// Create it, to start with Windows
    Install,
    /// Stop and remove it
    Uninstall,
    /// Be it: Windows calls this
    Run,
}

/// What concerns this machine.
#[derive(Args, Clone, Debug)]
pub struct MachineFlags {
    /// The TAP-Windows6 adapter to use, when there are several: its {GUID} as --list-tap-adapters shows it
    #[arg(long, value_name = "ID", conflicts_with = "tap_name")]
    pub tap_instance_id: Option<String>,

    /// The same by the name that Windows shows
    #[arg(long, value_name = "NAME")]
    pub tap_name: Option<String>,

    /// Leave metric, firewall and network profile of the TAP to Windows: game browsers may then miss the LAN
    #[arg(long)]
    pub no_game_mode: bool,

    /// This machine routes for a network behind it: packets of its addresses pass, too, not only those of this machine's own. As
    /// 192.168.50.0/24; any is for all the world, which a default route through this machine takes. May be said several times
    #[arg(long, value_name = "NETWORK", value_parser = parse_route_from)]
    pub route_from: Vec<RouteFrom>,

    /// Reach a network through a member, by its MAC address or peer number, as 192.168.50.0/24=02:…; default=MEMBER is all of IPv4. The
    /// member needs --route-from. May be said several times
    #[arg(long, value_name = "NETWORK=MEMBER", value_parser = parse_route)]
    pub route: Vec<RouteFlag>,

    /// File that keeps this machine's identity and virtual MAC address
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,

    /// Become another machine: new identity, new MAC address; the old file is kept as *.bad
    #[arg(long)]
    pub new_identity: bool,

    /// Write what would be changed in Windows' network settings into this file, and change nothing
    #[arg(long, value_name = "FILE", hide = true)]
    pub dry_run_netcfg: Option<PathBuf>,
}

fn parse_route_from(text: &str) -> Result<RouteFrom, String> {
    text.parse()
}

fn parse_route(text: &str) -> Result<RouteFlag, String> {
    text.parse()
}

impl MachineFlags {
    /// The adapter that is asked for.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        let id = self.tap_instance_id.clone().map(Wanted::Id);
        id.or_else(|| self.tap_name.clone().map(Wanted::Name))
    }
}

const EXAMPLES: &str = "\
Examples:
  lanparty-client-win --list-tap-adapters
  lanparty-client-win --doctor --relay relay.example.net:8443
  lanparty-client-win --relay relay.example.net:8443 --server-name lanparty-relay.local --relay-ca-cert .\\relay-cert.der --room ROOM1

Exit codes: 0 ok, 1 unexpected, 2 configuration, 3 permission or missing driver, 4 refused by the peer.";

impl Cli {
    /// Reads a command line, and ends the program with words when it is none.
    #[must_use]
    pub fn read() -> Self {
        Self::of(&lanparty_config::matches(command(), lanparty_config::Role::Client)).unwrap_or_else(|e| e.exit())
    }

    /// Options in groups of their own are seen as absent together: where a relay is named there is a room to join.
    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self { alone: Alone::of(matches), ..Self::from_arg_matches(matches)? };
        if cli.member.is_none() && ["relay", "room"].iter().all(|id| matches.contains_id(id)) {
            cli.member = Some(MemberFlags::from_arg_matches(matches)?);
        }
        Ok(cli)
    }
}

/// The command: relay and room are left out where no room is joined.
#[must_use]
pub fn command() -> clap::Command {
    let optional = |arg: clap::Arg| arg.required(false).required_unless_present_any(WITHOUT_ROOM);
    Cli::command().mut_arg("relay", optional).mut_arg("room", optional)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        let matches = command().try_get_matches_from(["lanparty-client-win"].into_iter().chain(words.split_whitespace()))?;
        Cli::of(&matches)
    }

    #[test]
    fn the_command_line_of_the_guide_is_understood() {
        let words = "--relay relay.example.net:8443 --server-name lanparty-relay.local --relay-ca-cert .\\relay-cert.der --room ROOM1 \
                     --tap-instance-id {00000001-0000-0000-0000-4E6574446576}";
        let cli = parse(words).unwrap();
        assert_eq!(cli.member.unwrap().room.to_string(), "ROOM1");
        assert!(cli.machine.tap_instance_id.is_some() && !cli.machine.no_game_mode);
    }

    #[test]
    fn what_a_run_was_given_can_be_said_again_without_its_room() {
        let cli = parse("--undo --state-dir D:\\lanparty").unwrap();
        assert_eq!(cli.alone.state_dir, Some(PathBuf::from("D:\\lanparty")));
        let cli = parse("--doctor --relay relay.example.net --server-name lanparty-relay.local").unwrap();
        assert!(cli.member.is_none() && cli.alone.relay.is_some() && cli.alone.server_name.is_some());
        assert!(parse("--relay relay.example.net --room ROOM1 --state-dir D:\\x").unwrap().member.unwrap().state_dir.is_some());
    }

    #[test]
    fn a_room_is_needed_to_join_one_and_for_nothing_else() {
        for words in ["--list-tap-adapters", "--selftest --json", "--undo", "--service uninstall", "--doctor --json", "--status"] {
            assert!(parse(words).unwrap().member.is_none(), "{words}");
        }
        for words in ["", "--relay relay.example.net", "--room ROOM1", "--no-game-mode"] {
            assert!(parse(words).is_err(), "{words}");
        }
        command().debug_assert();
    }

    #[test]
    fn networks_behind_members_are_said_as_on_linux() {
        let cli =
            parse("--relay r --room ROOM1 --route-from 192.168.50.0/24 --route-from any --route default=2 --route fd00:51::/64=7").unwrap();
        assert_eq!((cli.machine.route_from.len(), cli.machine.route.len()), (2, 2));
        for words in ["--route-from 0.0.0.0/0", "--route-from 10.0.0.0/33", "--route 10.0.0.0/8", "--route 10.0.0.0/8=bob"] {
            assert!(parse(&format!("--relay r --room ROOM1 {words}")).is_err(), "{words}");
        }
    }
}
