//! `lanparty doctor`: what is wrong with this host, with the way to a relay, and in a room; in words, or as JSON.

mod cables;
mod room;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lanparty_doctor::{Code, Facts, HostFacts, NotExamined, Report, examine};
use lanparty_node::{
    Fault, PmtuDiscovery, ProbePorts, Proxy, RelayAddress, RelayExamination, RelayTrust, UnderlayFix, examine_host, print,
};
use lanparty_proto::{LanMtu, RoomCode};
use serde_json::json;

use crate::fault;

const EXAMPLES: &str = "\
Examples:
  lanparty doctor
  lanparty doctor --relay relay.example.net
  lanparty doctor --room ROOM1
  lanparty doctor --relay relay.example.net --server-name lanparty-relay.local --relay-ca-cert relay-cert.der -v
  lanparty doctor --explain path-black-hole

Exit codes: 0 no problem, 1 problems found, 2 the command line or a file is wrong, or not all could be examined.";
/// Problems were found, or could not be repaired.
const PROBLEMS: u8 = 1;
/// The command line or a file is wrong.
const NOT_EXAMINED: u8 = 2;

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

    /// HTTP proxy for the stream (TLS over TCP), as it is given to the member; without it https_proxy and no_proxy decide
    #[arg(long, value_name = "URL", requires = "relay")]
    proxy: Option<Proxy>,

    /// Where the relay takes streams, when that is neither HOST:PORT of --relay nor port 443 there
    #[arg(long, value_name = "HOST:PORT", requires = "relay")]
    relay_tls: Option<RelayAddress>,

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

    /// As it is given to the member with --mtu: off means that nothing corrects a size that is too large
    #[arg(long, value_name = "WHEN", default_value = "on", requires = "mtu")]
    pmtu_discovery: PmtuDiscovery,

    /// Repair what can be repaired safely: the MTU of WSL2's interface. Says what it changed and how to undo it
    #[arg(long)]
    fix: bool,

    /// Print JSON: verdict, findings, and every fact behind them
    #[arg(long, conflicts_with = "verbose")]
    json: bool,

    /// Show what each finding was seen by, and what to do about it
    #[arg(long, short)]
    verbose: bool,

    /// Print the page of a finding: what causes it, and what to do
    #[arg(long, value_name = "CODE", exclusive = true, hide_possible_values = true, value_parser = code_parser())]
    explain: Option<Code>,
}

fn code_parser() -> impl TypedValueParser<Value = Code> {
    PossibleValuesParser::new(Code::ALL.iter().map(|code| code.as_str())).try_map(|name| name.parse())
}

/// What the program ends with.
///
/// # Errors
/// When a file cannot be used.
async fn run(args: &DoctorArgs) -> Result<u8, Fault> {
    if let Some(code) = args.explain {
        print(code.explanation())?;
        return Ok(0);
    }
    let relay = args.relay_examination()?;
    let progress = Progress::of(args);
    let mut facts = Facts { host: args.host().await, ..Facts::default() };
    let repair = if args.fix { Some(repair(&mut facts, args, relay.as_ref()).await) } else { None };
    // The room first: whatever comes of it, the way to the relay is examined.
    let missing = if let Some(room) = &args.room {
        progress.show("asking the room");
        look_into_room(room.as_ref(), &mut facts).await
    } else {
        None
    };
    if let Some(relay) = relay {
        facts.relay = Some(relay.run(&|what| progress.show(what)).await);
    }
    progress.clear();
    let mut report = examine(facts);
    if let Some(Repair::Failed(_)) = repair {
        report.exit_code = report.exit_code.max(PROBLEMS);
    }
    let report = missing.into_iter().fold(report, Report::without);
    print(&args.text(&report, repair.as_ref()))?;
    Ok(report.exit_code)
}

/// Fills the facts of the room; or why they are not there.
async fn look_into_room(wanted: Option<&RoomCode>, facts: &mut Facts) -> Option<NotExamined> {
    match room::look_into(wanted).await {
        Ok(look) => {
            let missing = look.facts.is_none().then(|| look.missing(wanted));
            facts.host.silent_programs = Some(look.silent);
            facts.room = look.facts;
            missing
        }
        Err(e) => Some(room::unreadable(&e)),
    }
}

impl DoctorArgs {
    fn relay_examination(&self) -> Result<Option<RelayExamination>, Fault> {
        let Some(relay) = self.relay.clone() else { return Ok(None) };
        let trust = RelayTrust::load(self.relay_ca_cert.as_deref())?;
        let ports = self.probe_ports.unwrap_or_default();
        let stream_relay = self.relay_tls.clone();
        let proxy = Proxy::for_stream(self.proxy.as_ref(), stream_relay.as_ref().unwrap_or(&relay))?;
        Ok(Some(RelayExamination { relay, server_name: self.server_name.clone(), trust, ports, proxy, stream_relay }))
    }

    async fn host(&self) -> HostFacts {
        let lan_interface = self.interface.clone();
        let pmtu_discovery_off = self.mtu.map(|_| self.pmtu_discovery == PmtuDiscovery::Off);
        let (asked_lan_mtu, blocked_cables) = (self.mtu.map(LanMtu::bytes), cables::blocked().await);
        HostFacts { lan_interface, asked_lan_mtu, blocked_cables, pmtu_discovery_off, ..examine_host().await }
    }

    /// The report as it was asked for.
    fn text(&self, report: &Report, repair: Option<&Repair>) -> String {
        if self.json {
            let mut value = serde_json::to_value(report).expect("INVARIANT: a report is plain data with names for keys");
            value["repaired"] = json!(repair.and_then(Repair::done));
            value["not_repaired"] = json!(repair.and_then(Repair::why_not));
            return format!("{value:#}\n");
        }
        let repair = match repair {
            Some(Repair::Done(words)) => format!("{words}\n"),
            Some(Repair::Failed(words)) => format!("not repaired: {words}\n"),
            Some(Repair::Nothing) => format!("{NOTHING_TO_REPAIR}\n"),
            None => String::new(),
        };
        if self.verbose { format!("{repair}{report:#}") } else { format!("{repair}{report}") }
    }
}

/// What was said where `--fix` finds nothing for it.
const NOTHING_TO_REPAIR: &str = "nothing here that can be repaired safely";

/// What came of `--fix`, in words.
enum Repair {
    Done(String),
    Nothing,
    Failed(String),
}

impl Repair {
    fn done(&self) -> Option<&str> {
        if let Self::Done(words) = self { Some(words) } else { None }
    }

    fn why_not(&self) -> Option<&str> {
        match self {
            Self::Done(_) => None,
            Self::Nothing => Some(NOTHING_TO_REPAIR),
            Self::Failed(words) => Some(words),
        }
    }
}

/// Raises the MTU of WSL2's uplink for good.
async fn repair(facts: &mut Facts, args: &DoctorArgs, relay: Option<&RelayExamination>) -> Repair {
    let fix = match raise_mtu(facts, relay).await {
        Ok(Some(fix)) => fix,
        Ok(None) => return Repair::Nothing,
        Err(Fault { cause, advice, .. }) => return Repair::Failed(format!("{cause}; {advice}")),
    };
    let (interface, before, now) = fix.change();
    let words =
        format!("raised the MTU of `{interface}` from {before} to {now}; to undo it: sudo ip link set dev {interface} mtu {before}");
    fix.keep();
    facts.host = args.host().await;
    Repair::Done(words)
}

async fn raise_mtu(facts: &Facts, relay: Option<&RelayExamination>) -> Result<Option<UnderlayFix>, Fault> {
    if let Some(relay) = relay
        && let Some(fix) = UnderlayFix::apply_toward(&relay.relay.resolve().await.unwrap_or_default())?
    {
        return Ok(Some(fix));
    }
    let uplink = facts.host.default_routes.as_ref().and_then(|routes| routes.first());
    uplink.map_or(Ok(None), |route| UnderlayFix::apply(&route.interface))
}

/// What is being done, for who waits: one line that changes on a terminal, a line for each stage in a log, nothing beside
/// JSON.
enum Progress {
    Line,
    Lines,
    Silent,
}

impl Progress {
    fn of(args: &DoctorArgs) -> Self {
        match (args.json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Silent,
            (false, true) => Self::Line,
            (false, false) => Self::Lines,
        }
    }

    fn show(&self, what: &str) {
        let _ = match self {
            Self::Line => write!(std::io::stderr(), "\r\x1b[K  {what} …"),
            Self::Lines => writeln!(std::io::stderr(), "{what} …"),
            Self::Silent => Ok(()),
        };
    }

    fn clear(&self) {
        if matches!(self, Self::Line) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// For `main`: the program's exit code.
pub(crate) fn end(args: &DoctorArgs) -> std::process::ExitCode {
    let mut code = NOT_EXAMINED;
    let ended = lanparty_node::block_on(async {
        code = run(args).await.unwrap_or_else(|fault| {
            fault::say(&fault, NOT_EXAMINED, args.json);
            NOT_EXAMINED
        });
        Ok(())
    });
    if ended == std::process::ExitCode::SUCCESS { code.into() } else { ended }
}
