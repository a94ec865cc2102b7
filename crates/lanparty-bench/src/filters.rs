//! What a traffic filter costs: a stream between two members by the relay, with rules at both, and the processor time of all programs for
//! each GiB. The rules are about the members' own network, so that each packet has some to be compared with; none of them is about the
//! stream, which the default lets pass.

use std::fmt::Write;
use std::thread;

use anyhow::{Result, anyhow};
use lanparty_lab::Uplink;
use serde::Serialize;
use serde_json::{Value, json};

use crate::bed::{Bed, Host};
use crate::meter::tcp::{self, Tcp};
use crate::options::Options;
use crate::record::{GIB, Metered};
use crate::round::{Plan, WARM_UP, calmly, start, wait_for_quiet};
use crate::schedule::row;
use crate::stats::{Spread, median};
use crate::table;
use crate::target::{Limit, Verdict};
use crate::tools::Tools;
use crate::variant::{FILTER_FILE, LANPARTY};

/// Rules at each member, and what they may cost beside none.
const STEPS: [(u32, Option<Limit>); 3] = [(0, None), (100, Some(Limit::Below(1.05))), (10_000, Some(Limit::Below(1.10)))];
/// Prefix lengths that the rules have on either side.
const LENS: u32 = 4;

/// One number of rules in one round.
#[derive(Debug, Clone, Serialize)]
struct Stream {
    rules: u32,
    round: u32,
    error: Option<String>,
    tcp: Option<Metered<Tcp>>,
}

/// What was measured of filters.
pub(crate) struct Filters {
    trouble: Option<String>,
    streams: Vec<Stream>,
}

impl Filters {
    /// All rounds: none, some, many, and again.
    pub(crate) fn measure(options: &Options, tools: &Tools) -> Self {
        let (trouble, plan) = (row(&LANPARTY, tools).trouble, options.plan());
        let mut streams = vec![];
        for round in (1..=options.rounds()).filter(|_| trouble.is_none()) {
            for (rules, _) in STEPS {
                eprintln!("bench: round {round} of {}, {rules} rules", options.rounds());
                let stream = stream(rules, round, &plan, tools);
                let figure = stream.cpu_per_gib().map_or_else(|| "no figure".to_owned(), |cpu| format!("{cpu:.2} s/GiB"));
                eprintln!("bench:   {figure}{}", stream.error.as_deref().map(|error| format!("; {error}")).unwrap_or_default());
                streams.push(stream);
            }
        }
        Self { trouble, streams }
    }

    /// The table, and what became of the promises.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![["rules", "TCP Mbit/s", "CPU s/GiB", "of none"].map(str::to_owned).to_vec()];
        lines.extend(STEPS.map(|(rules, _)| self.line(rules)));
        let legend = "One TCP stream by the relay, with so many rules at both members. CPU: of both members and the relay, median (min..max) of\n\
            the rounds. Of none: beside the same without rules, in the same round. `~`: other programs were busy meanwhile.\n";
        let errors: String =
            self.trouble.iter().chain(self.streams.iter().filter_map(|one| one.error.as_ref())).map(|why| format!("{why}\n")).collect();
        format!("{}\n{legend}{errors}\n{}", table::aligned(&lines), table::targets(&self.verdicts()))
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let summary = STEPS.map(|(rules, _)| {
            let figures = |of: fn(&Stream) -> Option<f64>| Spread::of(self.of(rules).filter_map(of));
            json!({
                "rules": rules, "tcp_mbit_s": figures(Stream::mbit_s), "cpu_s_per_gib": figures(Stream::cpu_per_gib), "of_none": self.of_none(rules),
                "noisy": self.is_noisy(rules),
            })
        });
        json!({ "summary": summary, "targets": self.verdicts(), "records": self.streams })
    }

    fn line(&self, rules: u32) -> Vec<String> {
        let figure = |of: fn(&Stream) -> Option<f64>, decimals| {
            let spread = Spread::of(self.of(rules).filter_map(of));
            spread.map_or_else(|| "-".to_owned(), |spread| table::spread(&spread, decimals, self.is_noisy(rules)))
        };
        let of_none = self.of_none(rules).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        vec![rules.to_string(), figure(Stream::mbit_s, 0), figure(Stream::cpu_per_gib, 2), of_none]
    }

    fn of(&self, rules: u32) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(move |stream| stream.rules == rules)
    }

    /// The middle of what the rounds say.
    fn of_none(&self, rules: u32) -> Option<f64> {
        let none = |round| self.of(0).find(|stream| stream.round == round)?.cpu_per_gib();
        median(self.of(rules).filter_map(|stream| Some(stream.cpu_per_gib()? / none(stream.round)?)))
    }

    fn is_noisy(&self, rules: u32) -> bool {
        self.of(rules).filter_map(|stream| stream.tcp.as_ref()).any(|tcp| tcp.noisy)
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let verdict = |(rules, limit): (u32, Option<Limit>)| {
            let noisy = self.is_noisy(0) || self.is_noisy(rules);
            Some(Verdict::of(format!("CPU per GiB with {rules} rules / with none"), limit?, self.of_none(rules), noisy))
        };
        STEPS.into_iter().filter_map(verdict).collect()
    }
}

impl Stream {
    fn mbit_s(&self) -> Option<f64> {
        Some(self.tcp.as_ref()?.value.mbit_s)
    }

    fn cpu_per_gib(&self) -> Option<f64> {
        let tcp = self.tcp.as_ref()?;
        Some(tcp.usage.tunnel_seconds() / (tcp.value.bytes as f64 / GIB))
    }
}

fn stream(rules: u32, round: u32, plan: &Plan, tools: &Tools) -> Stream {
    wait_for_quiet(plan.quiet);
    let outcome = Bed::new(&format!("rules-{rules}"), LANPARTY.route, &Uplink::Cable(plan.offloads), tools).and_then(|bed| {
        let tcp = carry(rules, plan, &bed);
        bed.end();
        tcp
    });
    let (tcp, error) = match outcome {
        Ok(tcp) => (Some(tcp), None),
        Err(error) => (None, Some(format!("{rules} rules: {error:#}"))),
    };
    Stream { rules, round, error, tcp }
}

fn carry(rules: u32, plan: &Plan, bed: &Bed) -> Result<Metered<Tcp>> {
    (LANPARTY.prepare)(bed)?;
    if rules > 0 {
        bed.file(FILTER_FILE, &file(rules))?;
    }
    start(&LANPARTY, bed)?;
    thread::sleep(LANPARTY.settle);
    let [a, b] = Host::ENDS.map(|host| bed.host(host));
    tcp::run(a, b, Host::B.inner(), 1, WARM_UP)?;
    let tcp = calmly(bed, || tcp::run(a, b, Host::B.inner(), 1, plan.tcp))?;
    bed.ended().map_or(Ok(tcp), |why| Err(anyhow!("a process did not last{why}")))
}

/// Rules from net to net of the tunnel's own, for games at ports where the stream is not.
fn file(rules: u32) -> String {
    let net = |number: u32, len: u32| {
        let [a, b, ..] = (number.wrapping_mul(2_654_435_761) | 1).to_be_bytes();
        let bits = u32::from_be_bytes([10, 77, if number.is_multiple_of(2) { 0 } else { a }, b]) & (u32::MAX << (32 - len));
        format!("{}/{len}", std::net::Ipv4Addr::from_bits(bits))
    };
    (0..rules).fold(String::new(), |mut text, n| {
        let (from, to) = (net(n, 32 - n % LENS), net(n ^ 0x5555, 32 - n / LENS % LENS));
        let rule = format!(
            "[[rule]]\nfrom = \"{from}\"\nto = \"{to}\"\nto-ports = \"{}-{}\"\naccept = \"tcp\"\ndrop = \"udp\"\n\n",
            1000 + n % 999,
            2000 + n % 999
        );
        // A string never refuses.
        let _ = text.write_str(&rule);
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cpu::{Spent, Usage};

    fn stream(rules: u32, round: u32, cpu_s: f64, noisy: bool) -> Stream {
        let tunnel = BTreeMap::from([(Host::A, Spent { user_s: cpu_s, system_s: 0.0 })]);
        let usage = Usage { wall_s: 1.0, tunnel, foreign_share: 0.0 };
        let value = Tcp { mbit_s: 900.0, bytes: 1 << 30, retransmits: 0 };
        Stream { rules, round, error: None, tcp: Some(Metered { value, usage, noisy }) }
    }

    #[test]
    fn what_rules_cost_is_said_beside_the_same_round_without_any() {
        let streams = vec![
            stream(0, 1, 10.0, false),
            stream(100, 1, 10.4, false),
            stream(10_000, 1, 12.0, false),
            stream(0, 2, 20.0, false),
            stream(100, 2, 20.8, false),
            stream(10_000, 2, 24.0, true),
        ];
        let filters = Filters { trouble: None, streams };
        let verdicts = filters.verdicts();
        let met: Vec<_> = verdicts.iter().map(|verdict| (verdict.met, verdict.noisy)).collect();
        assert_eq!(met, [(Some(true), false), (Some(false), true)], "{}", filters.text());
        assert!((verdicts[0].value.unwrap() - 1.04).abs() < 1e-9);
        assert!(filters.text().contains("| 1.200 "), "{}", filters.text());
    }

    #[test]
    fn there_are_as_many_rules_as_were_asked_for_and_no_two_files_of_a_kind() {
        let text = file(10_000);
        assert_eq!(text.matches("[[rule]]").count(), 10_000);
        assert!(text.contains("from = \"10.77.0."), "{}", &text[..200]);
    }
}
