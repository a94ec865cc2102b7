//! `lanparty leave`, `uplink` and `log-level`: change something about a running program.

use clap::{Args, Subcommand};
use lanparty_node::{Fault, call, print, program_at};
use serde_json::{Value, json};

use crate::program::{ProgramFlag, unanswered};
use crate::rpc::refused_words;

/// Programs that leave when they are told to. A relay is ended by whoever started it.
const LEAVING: [&str; 3] = ["client", "gateway", "cable"];

#[derive(Args)]
pub(crate) struct LeaveArgs {
    #[command(flatten)]
    program: ProgramFlag,
}

/// Leaves the room, or pulls the cable out.
pub(crate) async fn leave(args: LeaveArgs) -> Result<(), Fault> {
    let socket = args.program.socket(&LEAVING)?;
    ask(&socket, "leave", None).await?;
    print(&format!("{} leaves and ends\n", program_at(&socket)))
}

/// Add or remove a line of a running bond
#[derive(Args)]
pub(crate) struct UplinkArgs {
    #[command(subcommand)]
    command: UplinkCommand,
}

#[derive(Subcommand)]
enum UplinkCommand {
    /// Use one more uplink, until the program ends
    Add {
        /// Its interface, and what else --uplink takes: lte0,role=backup,cap=50GB/month
        #[arg(value_name = "IFACE[,KEY=VALUE...]")]
        uplink: String,
        #[command(flatten)]
        program: ProgramFlag,
    },
    /// Use an uplink no more
    Remove {
        /// Its interface
        interface: String,
        #[command(flatten)]
        program: ProgramFlag,
    },
}

pub(crate) async fn uplink(args: UplinkArgs) -> Result<(), Fault> {
    let (method, params, program, words) = match args.command {
        UplinkCommand::Add { uplink, program } => {
            let words = format!("uses {uplink} as well; `lanparty status` says how it goes");
            ("add_uplink", json!({ "uplink": uplink }), program, words)
        }
        UplinkCommand::Remove { interface, program } => {
            let words = format!("uses {interface} no more");
            ("remove_uplink", json!({ "interface": interface }), program, words)
        }
    };
    let socket = program.socket(&LEAVING)?;
    ask(&socket, method, Some(params)).await?;
    print(&format!("{} {words}\n", program_at(&socket)))
}

#[derive(Args)]
#[command(after_help = "\
Until the program ends; LANPARTY_LOG says what it begins with. Every single frame is logged where that was `trace` from the start.")]
pub(crate) struct LogLevelArgs {
    /// off, error, warn, info, debug or trace; or directives as in info,lanparty_node=debug. Without it, what is logged now is shown
    level: Option<String>,

    #[command(flatten)]
    program: ProgramFlag,
}

pub(crate) async fn log_level(args: LogLevelArgs) -> Result<(), Fault> {
    let socket = args.program.socket(&[])?;
    let now = match args.level {
        Some(level) => ask(&socket, "set_log_level", Some(json!({ "level": level }))).await?,
        None => ask(&socket, "log_level", None).await?,
    };
    print(&format!("{}\n", now.as_str().unwrap_or_default()))
}

async fn ask(socket: &std::path::Path, method: &str, params: Option<Value>) -> Result<Value, Fault> {
    let mut response = call(socket, method, params.as_ref()).await.map_err(|e| unanswered(socket, &e))?;
    match response.get("error") {
        Some(error) => Err(refused_words(error)),
        None => Ok(response["result"].take()),
    }
}
