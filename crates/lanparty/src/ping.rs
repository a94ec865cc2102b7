//! `lanparty ping`: asks the client or gateway that runs here whether another member answers, how fast, and at which sizes.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Args;
use lanparty_node::{Ask, Conversation, ExitCode, Fault, PingAsk, member_sockets, program_at};
use serde_json::{Value, json};

use crate::fault;
use crate::program::unreadable;

/// Shortest and longest frame that can be asked for, in bytes: Ethernet's own limits.
const SIZE_RANGE: std::ops::RangeInclusive<i64> = 60..=1514;

#[derive(Args)]
#[command(after_help = "\
Exit codes: 0 answered (with --sweep: at every size), 1 not answered, 2 no such member, or no program here to ask.")]
pub(crate) struct PingArgs {
    /// The member: its peer number, its MAC address, or `gateway`
    member: String,

    /// Requests to send
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    count: u32,

    /// Time between two requests, in milliseconds
    #[arg(long, short, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    interval: u64,

    /// Length of each Ethernet frame, in bytes
    #[arg(long, short, value_name = "BYTES", default_value_t = 98, value_parser = clap::value_parser!(u16).range(SIZE_RANGE))]
    size: u16,

    /// Find which sizes pass, there and back
    #[arg(long, conflicts_with_all = ["count", "interval", "size"])]
    sweep: bool,

    /// Print JSON: one object with everything that was found
    #[arg(long)]
    json: bool,
}

/// The member does not answer, or not at every size.
const NOT_ANSWERED: u8 = 1;
/// There is nobody to ask, or by whom.
const NOBODY: u8 = 2;

/// For `main`: the program's exit code.
pub(crate) fn end(args: &PingArgs) -> std::process::ExitCode {
    let mut code = NOBODY;
    let ended = lanparty_node::block_on(async {
        code = run(args).await.unwrap_or_else(|fault| {
            fault::say(&fault, NOBODY, args.json);
            NOBODY
        });
        Ok(())
    });
    if ended == std::process::ExitCode::SUCCESS { code.into() } else { ended }
}

/// What the program ends with.
///
/// # Errors
/// When nobody could be asked.
async fn run(args: &PingArgs) -> Result<u8, Fault> {
    let ask = Ask::Ping(PingAsk {
        member: args.member.clone(),
        count: args.count,
        interval_ms: args.interval,
        size: args.size.into(),
        sweep: args.sweep,
    });
    let sockets = member_sockets().map_err(|e| unreadable(&e))?;
    let (mut refusal, mut silent) = (None, vec![]);
    // Several members of different rooms may run here: the first one that knows the member is asked.
    for socket in &sockets {
        match converse(socket, &ask, args).await {
            Ok(Outcome::Answered) => return Ok(0),
            Ok(Outcome::Vanishes) => return Ok(NOT_ANSWERED),
            Ok(Outcome::Silent) => {
                let fault = Fault::new(ExitCode::Unexpected, format!("{} does not answer", args.member), advice(args));
                // Its JSON is out already.
                fault::say(&fault, NOT_ANSWERED, false);
                return Ok(NOT_ANSWERED);
            }
            Ok(Outcome::Refused(answer)) => refusal = refusal.or(Some(answer)),
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => silent.push(program_at(socket)),
            Err(_) => {}
        }
    }
    Err(refused(refusal, &silent))
}

fn advice(args: &PingArgs) -> &'static str {
    if args.size > 60 && !args.sweep { "try --sweep, which tells sizes that vanish from a member that is gone" } else { "" }
}

enum Outcome {
    Answered,
    /// Some sizes do not pass.
    Vanishes,
    Silent,
    Refused(Value),
}

/// One conversation, printed as it goes.
async fn converse(socket: &Path, ask: &Ask, args: &PingArgs) -> std::io::Result<Outcome> {
    let mut talk = Conversation::open(socket, ask).await?;
    let (mut start, mut events) = (Value::Null, vec![]);
    while let Some(answer) = talk.next().await? {
        match answer["event"].as_str() {
            None => return Ok(Outcome::Refused(answer)),
            Some("start") => {
                say(args, &start_line(&answer, args));
                start = answer;
            }
            Some("done") => {
                clear_progress(args);
                say(args, &if args.sweep { sweep_summary(&answer, &start) } else { ping_summary(&answer) });
                if args.json {
                    print(&format!("{:#}\n", json!({ "format": fault::FORMAT, "start": start, "events": events, "done": answer })));
                }
                let answered = answer["answered"].as_u64().is_some_and(|n| n > 0);
                return Ok(match answered {
                    false => Outcome::Silent,
                    true if args.sweep && answer["whole"] != Value::Bool(true) => Outcome::Vanishes,
                    true => Outcome::Answered,
                });
            }
            Some(_) => {
                if args.sweep {
                    progress(args, &answer);
                } else {
                    say(args, &event_line(&answer));
                }
                events.push(answer);
            }
        }
    }
    Ok(Outcome::Refused(json!({ "error": "gone", "message": "the program ended amid the ping" })))
}

fn refused(refusal: Option<Value>, silent: &[String]) -> Fault {
    let Some(refusal) = refusal else {
        if !silent.is_empty() {
            let cause = format!("{} runs on this machine and does not answer", silent.join(", "));
            return Fault::new(ExitCode::Unexpected, cause, "look at its log, or start it again");
        }
        let cause = "no lanparty client or gateway runs on this machine, or it belongs to another user";
        return Fault::new(ExitCode::Unexpected, cause, "start one, or ask as the user who started it, often root");
    };
    let message = refusal["message"].as_str().unwrap_or("the running program did not understand").to_owned();
    if refusal["error"] != "no-such-member" {
        return Fault::new(ExitCode::Unexpected, message, "look at `lanparty status`");
    }
    let others = refusal["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let list: Vec<_> = others.iter().map(|m| format!("{} peer {} {}", text(&m["role"]).to_lowercase(), m["id"], text(&m["mac"]))).collect();
    let own = &refusal["self"];
    let this = format!("this is peer {} {}", own["id"], text(&own["mac"]));
    let next =
        if list.is_empty() { format!("nobody else is in the room; {this}") } else { format!("choose from {}; {this}", list.join(", ")) };
    Fault::new(ExitCode::Configuration, message, next)
}

fn start_line(start: &Value, args: &PingArgs) -> String {
    let what = if args.sweep { "which sizes pass".to_owned() } else { format!("frames of {} bytes", start["size"]) };
    let (role, mac) = (text(&start["role"]).to_lowercase(), text(&start["mac"]));
    let paths: Vec<_> = start["paths"].as_array().into_iter().flatten().map(text).collect();
    let by = if paths.is_empty() { String::new() } else { format!(" ({})", paths.join(", ")) };
    format!("{role} peer {} ({mac}) by {}{by}, LAN MTU {}: {what}\n", start["peer"], text(&start["way"]), start["lan_mtu"])
}

fn event_line(event: &Value) -> String {
    let (sequence, size) = (&event["sequence"], &event["size"]);
    match event["event"].as_str() {
        Some("reply") => format!("{size} bytes: seq={sequence} time={} ms\n", in_ms(&event["rtt_ms"])),
        Some("lost") => format!("{size} bytes: seq={sequence} no answer\n"),
        Some("refused") => format!("{size} bytes: seq={sequence} not sent, {}: {}\n", text(&event["reason"]), text(&event["explanation"])),
        Some("way") => format!("the way is by {} from here on\n", text(&event["way"])),
        _ => String::new(),
    }
}

fn ping_summary(done: &Value) -> String {
    let (asked, answered) = (done["asked"].as_u64().unwrap_or(0), done["answered"].as_u64().unwrap_or(0));
    let loss = 100.0 * asked.saturating_sub(answered) as f64 / asked.max(1) as f64;
    let mut out = format!("{asked} sent, {answered} answered, {loss:.0} % loss");
    if answered > 0 {
        let rtt = ["rtt_min_ms", "rtt_avg_ms", "rtt_max_ms"].map(|key| in_ms(&done[key]));
        out.push_str(&format!(", RTT min/avg/max {} ms", rtt.join("/")));
    }
    out.push('\n');
    out
}

fn sweep_summary(done: &Value, start: &Value) -> String {
    let mtu = &start["lan_mtu"];
    let Some(largest) = done["largest"].as_u64() else { return "no size is answered, not even 60 bytes\n".to_owned() };
    let mut out = if done["whole"] == Value::Bool(true) {
        format!("every size up to {largest} bytes passes (LAN MTU {mtu})\n")
    } else {
        format!("sizes up to {largest} bytes pass; the LAN MTU of {mtu} promises {}\n", done["promised"])
    };
    let refused = &done["refused"];
    if !refused.is_null() {
        out.push_str(&format!(
            "from {} bytes on not sent, {}: {}\n",
            refused["from"],
            text(&refused["reason"]),
            text(&refused["explanation"])
        ));
    } else if largest < done["promised"].as_u64().unwrap_or(0) {
        out.push_str(&format!("{} bytes vanish on the way, without a word\n", largest + 1));
    }
    let holes: Vec<_> = done["holes"].as_array().into_iter().flatten().map(Value::to_string).collect();
    if !holes.is_empty() {
        out.push_str(&format!("smaller ones vanish too: {} bytes\n", holes.join(", ")));
    }
    if let Some(reason) = done["beyond"].as_str() {
        out.push_str(&format!("larger frames are not sent: {reason}\n"));
    }
    out.push_str(&format!("{} requests, {} answered, RTT {} ms\n", done["asked"], done["answered"], in_ms(&done["rtt_min_ms"])));
    out
}

/// One line that changes, for a person who waits.
fn progress(args: &PingArgs, event: &Value) {
    if !args.json && std::io::stderr().is_terminal() {
        let word = if event["event"] == "passes" { "passes" } else { "does not pass" };
        let _ = write!(std::io::stderr(), "\r\x1b[K  {} bytes: {word}", event["size"]);
    }
}

fn clear_progress(args: &PingArgs) {
    if args.sweep && !args.json && std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn say(args: &PingArgs, line: &str) {
    if !args.json {
        print(line);
    }
}

fn print(text: &str) {
    // A closed pipe is no fault.
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

fn in_ms(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |ms| if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
