//! `--doctor` and `--status`: what the shared crates know of this machine, of the way to a relay, and of the client that runs here.

use std::process::ExitCode as ProcessExit;

use lanparty_doctor::{Facts, RoomFacts, examine};
use lanparty_node::{
    Ask, Conversation, ExitCode, Fault, ProbePorts, Proxy, RelayExamination, RelayTrust, block_on, examine_host, member_sockets, query_all,
};

use super::host::print;
use crate::cli::{Alone, Cli};

/// The command line or a file is wrong, as `lanparty doctor` ends with it.
const NOT_EXAMINED: u8 = 2;

/// Ends with 0 when nothing is wrong, 1 when something is, 2 when it could not be examined.
pub(super) fn end(cli: &Cli) -> ProcessExit {
    let mut code = NOT_EXAMINED;
    let ended = block_on(async {
        code = examine_all(cli).await?;
        Ok(())
    });
    if ended == ProcessExit::SUCCESS { code.into() } else { NOT_EXAMINED.into() }
}

async fn examine_all(cli: &Cli) -> Result<u8, Fault> {
    let relay = relay_examination(&cli.alone)?;
    let mut facts = Facts { host: examine_host().await, room: room().await, ..Facts::default() };
    if let Some(relay) = relay {
        facts.relay = Some(relay.run(&|_| ()).await);
    }
    let report = examine(facts);
    print(&if cli.json { serde_json::to_string_pretty(&report).unwrap_or_default() + "\n" } else { format!("{report:#}") });
    Ok(report.exit_code)
}

fn relay_examination(alone: &Alone) -> Result<Option<RelayExamination>, Fault> {
    let Some(relay) = alone.relay.clone() else { return Ok(None) };
    let trust = RelayTrust::load(alone.relay_ca_cert.as_deref())?;
    let (server_name, stream_relay) = (alone.server_name.clone(), alone.relay_tls.clone());
    let proxy = Proxy::for_stream(alone.proxy.as_ref(), stream_relay.as_ref().unwrap_or(&relay))?;
    Ok(Some(RelayExamination { relay, server_name, trust, ports: ProbePorts::default(), proxy, stream_relay }))
}

/// The room that a client of this user is in, if there is one.
async fn room() -> Option<RoomFacts> {
    for socket in member_sockets().unwrap_or_default() {
        let Ok(mut conversation) = Conversation::open(&socket, &Ask::ExamineRoom).await else { continue };
        // A pipe that nobody answers is a dead program's.
        let Ok(Some(answer)) = conversation.next().await else { continue };
        if let Ok(facts) = serde_json::from_value::<RoomFacts>(answer) {
            return Some(facts);
        }
    }
    None
}

/// One object for each client that runs here.
pub(super) async fn status() -> Result<(), Fault> {
    let programs = query_all().await.map_err(|e| {
        let cause = format!("cannot look for running clients: {e}");
        Fault::new(ExitCode::Permission, cause, "ask as the user who started the client")
    })?;
    print(&(serde_json::to_string_pretty(&programs).unwrap_or_default() + "\n"));
    Ok(())
}
