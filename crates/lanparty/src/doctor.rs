//! `lanparty doctor`: what is wrong with this host, with the way to a relay, and in a room; in words, or as JSON.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use lanparty_doctor::{Facts, HostFacts, Report, RoomFacts, examine};
use lanparty_node::{
    Ask, Conversation, ExitCode, Fault, ProbePorts, RelayAddress, RelayExamination, RelayTrust, UnderlayFix, examine_host, member_sockets,
};
use lanparty_proto::{LanMtu, RoomCode};

const EXAMPLES: &str = "\
Examples:
  lanparty doctor
  lanparty doctor --relay relay.example.net
  lanparty doctor --room ROOM1
  lanparty doctor --relay relay.example.net --server-name lanparty-relay.local --relay-ca-cert relay-cert.der -v

Exit codes: 0 no problem, 1 problems found, 2 the command line or a file is wrong.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Look at the way to this relay as well, as HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    relay: Option<RelayAddress>,

    /// The name in the relay's certificate, when it is not HOST; lanparty-relay.local for a development certificate
    #[arg(long, value_name = "NAME", requires = "relay")]
    server_name: Option<String>,

    /// The relay's certificate (DER or PEM); without it this machine's certificate authorities decide
    #[arg(long, value_name = "FILE", requires = "relay")]
    relay_ca_cert: Option<PathBuf>,

    /// UDP ports of the relay's probe service, when they are not the two above its own, or off
    #[arg(long, value_name = "A,B|off", requires = "relay")]
    probe_ports: Option<ProbePorts>,

    /// Look into a room as well, in which a client or gateway runs on this machine; without CODE into the one that there is
    #[arg(long, value_name = "CODE", num_args = 0..=1)]
    room: Option<Option<RoomCode>>,

    /// The interface that a gateway here is to bridge
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// Check whether the way to the relay carries this LAN MTU, 576 to 1500
    #[arg(long, value_name = "BYTES", value_parser = lanparty_node::parse_lan_mtu, requires = "relay")]
    mtu: Option<LanMtu>,

    /// Repair what can be repaired safely: the MTU of WSL2's interface. Says what it changed and how to undo it
    #[arg(long)]
    fix: bool,

    /// Print JSON: verdict, findings, and every fact behind them
    #[arg(long, conflicts_with = "verbose")]
    json: bool,

    /// Show what each finding was seen by, and what to do about it
    #[arg(long, short)]
    verbose: bool,
}

/// What the program ends with.
///
/// # Errors
/// When a file cannot be used.
pub(crate) async fn run(args: DoctorArgs) -> Result<u8, Fault> {
    let relay = args.relay_examination()?;
    let progress = Progress { is_shown: !args.json && std::io::stderr().is_terminal() };
    let mut facts = Facts { host: args.host().await, ..Facts::default() };
    let repaired = if args.fix { repair(&mut facts, &args, relay.as_ref()).await? } else { None };
    if let Some(relay) = relay {
        facts.relay = Some(relay.run(&|what| progress.show(what)).await);
    }
    if let Some(room) = &args.room {
        progress.show("asking the room");
        facts.room = Some(look_into(room.as_ref()).await.inspect_err(|_| progress.clear())?);
    }
    progress.clear();
    let report = examine(facts);
    print(&args, &report, repaired.as_deref());
    Ok(report.exit_code)
}

impl DoctorArgs {
    fn relay_examination(&self) -> Result<Option<RelayExamination>, Fault> {
        let Some(relay) = self.relay.clone() else { return Ok(None) };
        let trust = RelayTrust::load(self.relay_ca_cert.as_deref())?;
        let ports = self.probe_ports.unwrap_or_default();
        Ok(Some(RelayExamination { relay, server_name: self.server_name.clone(), trust, ports }))
    }

    async fn host(&self) -> HostFacts {
        let lan_interface = self.interface.clone();
        HostFacts { lan_interface, asked_lan_mtu: self.mtu.map(LanMtu::bytes), ..examine_host().await }
    }
}

/// What the client or gateway that runs here knows of its room.
async fn look_into(room: Option<&RoomCode>) -> Result<RoomFacts, Fault> {
    let unreadable = |e: std::io::Error| {
        let advice = "ask as the user who started the program, often root";
        Fault::new(ExitCode::Permission, format!("cannot look for running programs: {e}"), advice)
    };
    let mut elsewhere = vec![];
    for socket in member_sockets().map_err(unreadable)? {
        // A socket that nobody listens on is a dead program's.
        let Ok(mut talk) = Conversation::open(&socket, &Ask::Room).await else { continue };
        let Ok(Some(answer)) = talk.next().await else { continue };
        let Ok(facts) = serde_json::from_value::<RoomFacts>(answer) else { continue };
        match (&facts.room, room) {
            (Some(found), Some(wanted)) if *found != wanted.to_string() => elsewhere.push(found.clone()),
            (Some(_), _) => return Ok(facts),
            (None, _) => {}
        }
    }
    let cause = match room {
        Some(room) => format!("no lanparty client or gateway on this machine is in room {room}"),
        None => "no lanparty client or gateway on this machine is in a room".to_owned(),
    };
    let advice = if elsewhere.is_empty() {
        "start one first, and ask as the user who started it, often root".to_owned()
    } else {
        format!("those that run here are in {}", elsewhere.join(", "))
    };
    Err(Fault::new(ExitCode::Configuration, cause, advice))
}

/// Raises the MTU of WSL2's uplink for good; what was done, in words.
async fn repair(facts: &mut Facts, args: &DoctorArgs, relay: Option<&RelayExamination>) -> Result<Option<String>, Fault> {
    let toward_relay = match relay {
        Some(relay) => UnderlayFix::apply_toward(&relay.relay.resolve().await.unwrap_or_default())?,
        None => None,
    };
    let uplink = facts.host.default_routes.as_ref().and_then(|routes| routes.first()).map(|route| route.interface.clone());
    let fix = match (toward_relay, uplink) {
        (Some(fix), _) => Some(fix),
        (None, Some(uplink)) => UnderlayFix::apply(&uplink)?,
        (None, None) => None,
    };
    let Some(fix) = fix else { return Ok(None) };
    let (interface, before, now) = fix.change();
    let words =
        format!("raised the MTU of `{interface}` from {before} to {now}; to undo it: sudo ip link set dev {interface} mtu {before}");
    fix.keep();
    facts.host = args.host().await;
    Ok(Some(words))
}

fn print(args: &DoctorArgs, report: &Report, repaired: Option<&str>) {
    let text = if args.json {
        let mut value = serde_json::to_value(report).unwrap_or_default();
        value["repaired"] = repaired.into();
        format!("{value:#}\n")
    } else {
        let repaired = match repaired {
            Some(words) => format!("{words}\n"),
            None if args.fix => "nothing here that can be repaired safely\n".to_owned(),
            None => String::new(),
        };
        if args.verbose { format!("{repaired}{report:#}") } else { format!("{repaired}{report}") }
    };
    // A closed pipe is no fault.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// One line that changes, for a person who waits.
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn show(&self, what: &str) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K  {what} …");
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// For `main`: the program's exit code.
pub(crate) fn end(args: DoctorArgs) -> std::process::ExitCode {
    let mut code = ExitCode::Unexpected as u8;
    let ended = lanparty_node::block_on(async {
        code = run(args).await?;
        Ok(())
    });
    if ended == std::process::ExitCode::SUCCESS { code.into() } else { ended }
}
