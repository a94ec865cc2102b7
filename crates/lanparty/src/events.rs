//! `lanparty events`: what happens in a running program, as it happens.

use std::io::Write;

use clap::Args;
use lanparty_node::{ExitCode, Fault, listen, program_at, shutdown_requested};
use serde_json::Value;

use crate::program::{ProgramFlag, unanswered};

#[derive(Args)]
#[command(after_help = "\
Ends with Ctrl-C, or when the program ends. docs/management.md and `lanparty rpc rpc.discover` describe the events.

Example: every member that comes or goes
  lanparty events --program relay --json | jq 'select(.event | startswith(\"member_\"))'")]
pub(crate) struct EventsArgs {
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    program: ProgramFlag,
}

pub(crate) async fn run(args: EventsArgs) -> Result<(), Fault> {
    let socket = args.program.socket(&[])?;
    let mut texts = listen(&socket).await.map_err(|e| unanswered(&socket, &e))?;
    let mut shutdown = std::pin::pin!(shutdown_requested());
    loop {
        let event = tokio::select! {
            event = texts.next() => event.map_err(|e| unanswered(&socket, &e))?,
            _ = &mut shutdown => return Ok(()),
        };
        let Some(event) = event else {
            return Err(Fault::new(ExitCode::Unexpected, format!("{} tells nothing more", program_at(&socket)), ""));
        };
        let line = if args.json { format!("{event}\n") } else { in_words(&event) };
        // Who has closed the pipe has seen enough.
        if std::io::stdout().write_all(line.as_bytes()).and_then(|()| std::io::stdout().flush()).is_err() {
            return Ok(());
        }
        if event["event"] == "ending" {
            return Ok(());
        }
    }
}

/// The time, the event, and what belongs to it.
fn in_words(event: &Value) -> String {
    let mut out = format!("{} {}", time(event["at_ms"].as_u64().unwrap_or(0)), word(&event["event"]));
    for (key, value) in event.as_object().into_iter().flatten().filter(|(key, _)| !["at_ms", "event", "seq"].contains(&key.as_str())) {
        match value {
            Value::Null => {}
            // A member is its fields.
            Value::Object(fields) => {
                fields
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .for_each(|(key, value)| out.push_str(&format!(" {key}={}", word(value))));
            }
            value => out.push_str(&format!(" {key}={}", word(value))),
        }
    }
    out.push('\n');
    out
}

/// A text as it is, or in quotation marks when it is several words.
fn word(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"') => text.to_owned(),
        _ => value.to_string(),
    }
}

/// The time of day in UTC, as logs have it.
fn time(at_ms: u64) -> String {
    let (seconds, ms) = (at_ms / 1000, at_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let member = json!({ "id": 3, "role": "Client", "mac": "02:00:00:00:00:03", "lan_up": true });
        let event = json!({ "seq": 2, "at_ms": 1_700_000_000_123_u64, "event": "member_joined", "room": "ROOM1", "member": member, "remote": null });
        assert_eq!(in_words(&event), "22:13:20.123Z member_joined id=3 lan_up=true mac=02:00:00:00:00:03 role=Client room=ROOM1\n");
        let event = json!({ "seq": 3, "at_ms": 0, "event": "ending", "reason": "the user logs off" });
        assert_eq!(in_words(&event), "00:00:00.000Z ending reason=\"the user logs off\"\n");
    }
}
