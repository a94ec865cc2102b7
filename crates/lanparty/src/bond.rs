//! `lanparty bond test`: asks the client or gateway that runs here what each of its lines carries alone, and what all of them do.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use lanparty_node::{Ask, BondTestAsk, Conversation, ExitCode, Fault, member_sockets, program_at};
use serde_json::{Value, json};

use crate::fault;
use crate::program::unreadable;

/// Several lines at once
#[derive(Args)]
pub(crate) struct BondArgs {
    #[command(subcommand)]
    command: BondCommand,
}

#[derive(Subcommand)]
enum BondCommand {
    /// Measure each line alone and all together, both ways, and what the loss of each interrupts
    Test(TestArgs),
}

#[derive(Args)]
#[command(after_help = "\
The lines are filled for some seconds each, so others in the house notice. What is measured is between this member and its relay.

Exit codes: 0 the bond is worth it, 1 it carries less than its best line alone or a lost line interrupts for a second, 2 nothing could be measured.")]
struct TestArgs {
    /// Also use lines that have a cap: a test may carry some hundred megabytes
    #[arg(long)]
    yes: bool,

    /// Print JSON: one object with everything that was found
    #[arg(long)]
    json: bool,
}

/// The bond is not what it is for.
const NOT_WORTH_IT: u8 = 1;
/// There is nothing to measure, or nobody to ask.
const NOTHING: u8 = 2;
/// Measured beside other traffic, as good as the best line is within this.
const TOLERANCE: f64 = 0.95;
/// A transfer that stands still for so long is interrupted.
const INTERRUPTION_MAX_MS: f64 = 1000.0;

/// For `main`: the program's exit code.
pub(crate) fn end(args: &BondArgs) -> std::process::ExitCode {
    let BondCommand::Test(args) = &args.command;
    let mut code = NOTHING;
    let ended = lanparty_node::block_on(async {
        code = run(args).await.unwrap_or_else(|fault| {
            fault::say(&fault, NOTHING, args.json);
            NOTHING
        });
        Ok(())
    });
    if ended == std::process::ExitCode::SUCCESS { code.into() } else { ended }
}

async fn run(args: &TestArgs) -> Result<u8, Fault> {
    let sockets = member_sockets().map_err(|e| unreadable(&e))?;
    let (mut refusal, mut silent) = (None, vec![]);
    // Several members may run here: the first one that has a bond is asked.
    for socket in &sockets {
        match converse(socket, args).await {
            Ok(Outcome::Done(done)) => return Ok(if is_worth_it(&done) { 0 } else { NOT_WORTH_IT }),
            Ok(Outcome::Refused(answer)) if has_no_bond(&answer) => refusal = refusal.or(Some(answer)),
            Ok(Outcome::Refused(answer)) => return Err(refused(Some(&answer), &[])),
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => silent.push(program_at(socket)),
            Err(_) => {}
        }
    }
    Err(refused(refusal.as_ref(), &silent))
}

fn has_no_bond(answer: &Value) -> bool {
    ["no-bond", "not-joined", "unknown-request"].map(Value::from).contains(&answer["error"])
}

enum Outcome {
    Done(Value),
    Refused(Value),
}

/// One conversation, printed as it goes.
async fn converse(socket: &Path, args: &TestArgs) -> std::io::Result<Outcome> {
    let mut talk = Conversation::open(socket, &Ask::TestBond(BondTestAsk { yes: args.yes })).await?;
    let mut events = vec![];
    while let Some(answer) = talk.next().await? {
        match answer["event"].as_str() {
            None => return Ok(Outcome::Refused(answer)),
            Some("done") => {
                if args.json {
                    print(&format!("{:#}\n", json!({ "format": fault::FORMAT, "events": events, "done": answer })));
                } else {
                    print(&verdict(&answer));
                }
                return Ok(Outcome::Done(answer));
            }
            Some(_) => {
                if !args.json {
                    print(&progress(&answer));
                }
                events.push(answer);
            }
        }
    }
    Ok(Outcome::Refused(json!({ "error": "gone", "message": "the program ended amid the test" })))
}

fn refused(refusal: Option<&Value>, silent: &[String]) -> Fault {
    if let Some(refusal) = refusal {
        let message = refusal["message"].as_str().unwrap_or("the running program did not understand").to_owned();
        return Fault::new(ExitCode::Unexpected, message, "");
    }
    if !silent.is_empty() {
        let cause = format!("{} runs on this machine and does not answer", silent.join(", "));
        return Fault::new(ExitCode::Unexpected, cause, "look at its log, or start it again");
    }
    let cause = "no lanparty client or gateway runs on this machine, or it belongs to another user";
    Fault::new(ExitCode::Unexpected, cause, "start one with --bond, or ask as the user who started it, often root")
}

fn progress(event: &Value) -> String {
    let (what, way) = (text(&event["what"]), text(&event["way"]));
    match event["event"].as_str() {
        Some("start") => {
            let lines: Vec<_> = array(&event["lines"]).iter().map(text).collect();
            format!("testing {}, for about {} s; others in the house will notice\n", lines.join(" and "), event["seconds"])
        }
        Some("measuring") => format!("{what} {way} ... "),
        Some("measured") => format!("{} Mbit/s\n", mbit(&event["mbit_s"])),
        Some("losing") => format!("losing {what} ... "),
        Some("lost") => {
            let found = &event["found"];
            format!("a transfer stands still for {} ms, a game for {} ms\n", whole(&found["transfer_ms"]), whole(&found["ping_ms"]))
        }
        _ => String::new(),
    }
}

/// What was found, in words.
fn verdict(done: &Value) -> String {
    let mut out = String::new();
    for (word, key) in [("up", "up_mbit_s"), ("down", "down_mbit_s")] {
        let lines = array(&done["lines"]);
        let alone: Vec<_> = lines.iter().map(|line| format!("{} {}", text(&line["name"]), mbit(&line[key]))).collect();
        let sum: f64 = lines.iter().filter_map(|line| line[key].as_f64()).sum();
        let gives = mbit(&done["bond"][key]);
        out.push_str(&format!("{word}: {} Mbit/s alone; the bond gives {gives} of {sum:.1} Mbit/s\n", alone.join(", ")));
        if !is_better(done, key) {
            out.push_str(&format!("  that is less than the best line {word} alone\n"));
        }
    }
    let ping = |key: &str| done[key].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
    out.push_str(&format!(
        "ping under load {} ms ({} in 95 of 100); idle {} ms\n",
        ping("ping_loaded_ms"),
        ping("ping_loaded_p95_ms"),
        ping("ping_idle_ms")
    ));
    for line in array(&done["lines"]).iter().filter(|line| !line["lost"].is_null()) {
        let lost = &line["lost"];
        out.push_str(&format!(
            "losing {} interrupts a transfer for {} ms and a game for {} ms ({} of {} packets lost)\n",
            text(&line["name"]),
            whole(&lost["transfer_ms"]),
            whole(&lost["ping_ms"]),
            lost["pings_lost"],
            lost["pings"]
        ));
    }
    if array(&done["lines"]).len() < 2 {
        out.push_str("only one line carries anything now, so nothing was lost; `lanparty status` says what is with the others\n");
    }
    out
}

/// Whether the bond carries as much as its best line, and survives the loss of any.
fn is_worth_it(done: &Value) -> bool {
    let survives = |line: &Value| line["lost"].is_null() || line["lost"]["transfer_ms"].as_f64().is_some_and(|ms| ms < INTERRUPTION_MAX_MS);
    ["up_mbit_s", "down_mbit_s"].iter().all(|key| is_better(done, key)) && array(&done["lines"]).iter().all(survives)
}

fn is_better(done: &Value, key: &str) -> bool {
    let best = array(&done["lines"]).iter().filter_map(|line| line[key].as_f64()).fold(0.0, f64::max);
    done["bond"][key].as_f64().is_some_and(|bond| bond >= best * TOLERANCE)
}

fn print(text: &str) {
    // A closed pipe is no fault.
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

fn mbit(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |mbit| format!("{mbit:.1}"))
}

fn whole(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(bond_up: f64, transfer_ms: f64) -> Value {
        let lost = |ms: f64| json!({ "transfer_ms": ms, "ping_ms": 0.0, "pings": 80, "pings_lost": 0 });
        json!({
            "event": "done",
            "lines": [
                { "name": "dsl0", "up_mbit_s": 28.4, "down_mbit_s": 28.1, "lost": lost(transfer_ms) },
                { "name": "lte0", "up_mbit_s": 18.9, "down_mbit_s": 18.8, "lost": lost(75.4) },
            ],
            "bond": { "up_mbit_s": bond_up, "down_mbit_s": 45.0 },
            "ping_idle_ms": 21.2, "ping_idle_p95_ms": 22.0, "ping_loaded_ms": 30.9, "ping_loaded_p95_ms": 44.0,
        })
    }

    #[test]
    fn the_verdict_is_plain() {
        let expected = "up: dsl0 28.4, lte0 18.9 Mbit/s alone; the bond gives 46.1 of 47.3 Mbit/s
down: dsl0 28.1, lte0 18.8 Mbit/s alone; the bond gives 45.0 of 46.9 Mbit/s
ping under load 31 ms (44 in 95 of 100); idle 21 ms
losing dsl0 interrupts a transfer for 80 ms and a game for 0 ms (0 of 80 packets lost)
losing lte0 interrupts a transfer for 75 ms and a game for 0 ms (0 of 80 packets lost)
";
        assert_eq!(verdict(&done(46.1, 80.0)), expected);
    }

    #[test]
    fn a_bond_is_worth_it_when_it_carries_as_much_as_its_best_line_and_survives_any() {
        assert!(is_worth_it(&done(46.1, 80.0)) && is_worth_it(&done(28.0, 80.0)));
        assert!(!is_worth_it(&done(20.0, 80.0)) && !is_worth_it(&done(46.1, 1500.0)));
        assert!(verdict(&done(20.0, 80.0)).contains("less than the best line up alone"));
        assert!(!is_worth_it(&json!({})));
    }

    #[test]
    fn a_program_without_a_bond_is_passed_over_and_any_other_refusal_is_the_answer() {
        assert!(has_no_bond(&json!({ "error": "no-bond" })) && !has_no_bond(&json!({ "error": "capped" })));
        assert_eq!(refused(Some(&json!({ "error": "capped", "message": "lte0 has a cap" })), &[]).cause, "lte0 has a cap");
    }
}
