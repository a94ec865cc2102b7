//! `lanparty filter check`: whether rules are right, and what they say of a packet, without a network.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lanparty_node::{Filter, FilterFlags, FilterRules, Judgement, PacketWords, Verdict, Why, parse_packet, print};
use serde_json::{Value, json};

use crate::fault;

#[derive(Args)]
pub(crate) struct FilterArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Say whether rules are right, and what becomes of packets
    Check(CheckArgs),
}

#[derive(Args)]
#[command(after_help = "\
Packets are judged in their order, as one host would see them: a later fragment shares the verdict of its first.

Examples:
  lanparty filter check rules.toml --packet udp,10.0.0.5:40000,192.168.8.1:27015 --packet arp
  lanparty filter check --filter-rule 0.0.0.0/0,192.168.8.0/24:27015,UDP+ --filter-default drop --packet icmp,10.0.0.5,192.168.8.1

Exit codes: 0 every packet passes, or none was asked about; 1 one is dropped; 2 the rules are wrong, or it cannot be printed.")]
struct CheckArgs {
    /// A file of rules; the same as --filter
    #[arg(value_name = "FILE", conflicts_with = "filter")]
    file: Option<PathBuf>,

    #[command(flatten)]
    filtering: FilterFlags,

    /// A packet: udp,FROM:PORT,TO:PORT, tcp,…, icmp,FROM,TO, NUMBER,FROM,TO, arp, or a whole frame as hex:…; may be said several times
    #[arg(long, value_name = "PACKET", value_parser = parse_packet)]
    packet: Vec<PacketWords>,

    /// Print JSON: one object with everything that was found
    #[arg(long)]
    json: bool,
}

/// What was found could not be printed.
const UNSAID: u8 = 2;
/// One of the packets is dropped.
const DROPPED: u8 = 1;
/// The rules are wrong.
const WRONG: u8 = 2;

/// For `main`: the program's exit code.
pub(crate) fn end(args: FilterArgs) -> ExitCode {
    let Task::Check(CheckArgs { file, filtering, packet, json }) = args.task;
    let filtering = FilterFlags { filter: file.or(filtering.filter), ..filtering };
    let rules = match filtering.rules() {
        Ok(rules) => rules.unwrap_or_default(),
        Err(fault) => {
            fault::say(&fault, WRONG, json);
            return WRONG.into();
        }
    };
    let mut filter = Filter::new(rules);
    let judged: Vec<_> = packet.iter().map(|packet| (packet, filter.explain(&packet.frame))).collect();
    let said = if json { format!("{:#}\n", as_json(filter.rules(), &judged)) } else { in_words(filter.rules(), &judged) };
    if let Err(fault) = print(&said) {
        fault::say(&fault, UNSAID, false);
        return UNSAID.into();
    }
    if judged.iter().any(|(_, judgement)| judgement.verdict == Verdict::Drop) { DROPPED.into() } else { ExitCode::SUCCESS }
}

fn in_words(rules: &FilterRules, judged: &[(&PacketWords, Judgement)]) -> String {
    let mut out = format!("{} rules, default {}\n", rules.rules().len(), rules.default_verdict().as_str());
    for gap in rules.gaps() {
        out.push_str(&format!("note: {gap}\n"));
    }
    for (packet, judgement) in judged {
        let verdict = if judgement.verdict == Verdict::Accept { "passes" } else { "is dropped" };
        out.push_str(&format!("{} {verdict}: {}\n", packet.text, reason(rules, judgement.why)));
    }
    out
}

fn as_json(rules: &FilterRules, judged: &[(&PacketWords, Judgement)]) -> Value {
    let packets = judged.iter().map(|(packet, Judgement { verdict, why })| {
        let rule = match why {
            Why::Rule(number) => Some(number + 1),
            _ => None,
        };
        json!({ "packet": packet.text, "verdict": verdict, "rule": rule, "because": reason(rules, *why) })
    });
    json!({
        "format": fault::FORMAT,
        "rules": rules.rules().iter().map(|rule| json!({ "name": rule.name, "rule": rule.to_string() })).collect::<Vec<_>>(),
        "default": rules.default_verdict(), "gaps": rules.gaps(), "packets": packets.collect::<Vec<_>>(),
    })
}

/// Why, in words.
fn reason(rules: &FilterRules, why: Why) -> String {
    match why {
        Why::Rule(number) => {
            let rule = rules.rules().get(number as usize).expect("INVARIANT: a verdict names a rule that is there");
            let name = rule.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            let bits = rule.specificity();
            format!(
                "rule {}{name}, `{rule}`, is the most specific of those that match: {bits} bits; of equals the first decides",
                number + 1
            )
        }
        Why::Default => format!("no rule speaks of it, and the default is {}", rules.default_verdict().as_str()),
        Why::Neighbours => "ARP, neighbour discovery and probes for loops always pass".to_owned(),
        Why::Unreadable(reason) => format!("what cannot be read does not pass ({reason}): {}", reason.explanation().trim()),
        Why::OverlapsFirst => "this fragment overlaps the first one, and could write over what was judged".to_owned(),
        Why::PassesAnyhow => "the first fragment of this packet is not known, and would pass whatever its ports are".to_owned(),
        Why::FirstUnknown => "the first fragment of this packet is not known, and might not pass".to_owned(),
    }
}
