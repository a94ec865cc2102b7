//! What a relay needs for members that are there and say nothing: real ones, each with a QUIC connection of its own.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use lanparty_lab::{Offloads, Program, Uplink};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bed::{Bed, Host, Route};
use crate::options::Options;
use crate::record::{Memory, Metered};
use crate::round::{memory, metered, wait_for_quiet};
use crate::schedule::Expected;
use crate::stats::Spread;
use crate::table::{self, NOISY};
use crate::target::{Limit, Verdict};
use crate::tools::Tools;
use crate::variant::lanparty_relay;

const MEMBERS: u32 = 2_000;
const ROOMS: u32 = 200;
/// For all of them.
const MEMORY: Limit = Limit::AtMost(96.0);
/// All that idle members leave of a thing of one moment is gone by then.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_QUICK: Duration = Duration::from_secs(5);
/// How long half of them may take to join.
const PATIENCE: Duration = Duration::from_secs(120);
/// What joining takes of all of them, usually.
const JOINING: Duration = Duration::from_secs(25);

/// One round.
#[derive(Debug, Clone, Default, Serialize)]
struct Gathering {
    round: u32,
    error: Option<String>,
    /// Before anybody joined.
    empty: Option<Memory>,
    /// From the first one's first packet to the last one's welcome; members and relay share the machine.
    joining_s: Option<f64>,
    /// When all had been idle for a while.
    full: Option<Metered<Memory>>,
}

/// What was measured of a relay with a crowd.
pub(crate) struct Crowd {
    version: String,
    gatherings: Vec<Gathering>,
}

impl Crowd {
    /// All rounds.
    pub(crate) fn measure(options: &Options, tools: &Tools) -> Self {
        eprintln!("bench: a relay with {MEMBERS} idle members in {ROOMS} rooms");
        let (idle, plan) = (if options.quick { IDLE_QUICK } else { IDLE }, options.plan());
        let round = |round| {
            wait_for_quiet(plan.quiet);
            let gathering = gather(round, idle, tools);
            eprintln!("bench:   round {round}: {}", in_words(&gathering));
            gathering
        };
        let version = lanparty_relay::version(tools).unwrap_or_else(|_| "-".to_owned());
        Self { version, gatherings: (1..=options.side_rounds()).map(round).collect() }
    }

    /// How long all rounds take.
    pub(crate) fn takes(options: &Options) -> Expected {
        let usual = JOINING + if options.quick { IDLE_QUICK } else { IDLE };
        Expected { usual, at_most: usual + options.plan().quiet + PATIENCE * 2 - JOINING }.times(options.side_rounds())
    }

    /// The table, and what became of the promise.
    pub(crate) fn text(&self) -> String {
        let head = ["lanparty-relay", "members", "rooms", "RSS MiB", "before them", "KiB a member", "CPU idle %", "all joined in s"];
        let cell = |figure: fn(&Gathering) -> Option<f64>, decimals| {
            self.spread(figure).map_or_else(|| "-".to_owned(), |spread| table::spread(&spread, decimals, self.is_noisy()))
        };
        let figures = [cell(full, 1), cell(empty, 1), cell(kib_each, 1), cell(cpu_percent, 1), cell(|it| it.joining_s, 1)];
        let words = [self.version.clone(), MEMBERS.to_string(), ROOMS.to_string()];
        let lines = [head.map(str::to_owned).to_vec(), words.into_iter().chain(figures).collect()];
        let troubles = self.gatherings.iter().filter_map(|it| Some(format!("round {}: {}\n", it.round, it.error.as_ref()?)));
        let legend = "RSS: of the relay, when all had joined and been idle for a while; each sends a sign of life a second. CPU: of one processor.\n";
        format!("{}\n{legend}{}\n{}", table::aligned(&lines), troubles.collect::<String>(), table::targets(&self.verdicts()))
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "members": MEMBERS, "rooms": ROOMS, "version": self.version, "rss_mib": self.spread(full), "empty_rss_mib": self.spread(empty),
            "kib_a_member": self.spread(kib_each), "cpu_percent": self.spread(cpu_percent), "joining_s": self.spread(|it| it.joining_s),
            "noisy": self.is_noisy(), "targets": self.verdicts(), "records": self.gatherings,
        })
    }

    fn verdicts(&self) -> Vec<Verdict> {
        // Who else is busy changes no byte of it.
        vec![Verdict::of_rounds(format!("memory of a relay with {MEMBERS} idle members, MiB"), MEMORY, self.spread(full), false)]
    }

    fn spread(&self, figure: fn(&Gathering) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.gatherings.iter().filter_map(figure))
    }

    fn is_noisy(&self) -> bool {
        self.gatherings.iter().any(|it| it.full.as_ref().is_some_and(|full| full.noisy))
    }
}

fn gather(round: u32, idle: Duration, tools: &Tools) -> Gathering {
    let mut gathering = Gathering { round, ..Gathering::default() };
    let outcome = Bed::new("crowd", Route::Direct, &Uplink::Cable(Offloads::On), tools).and_then(|bed| {
        let outcome = fill(&mut gathering, idle, &bed);
        bed.end();
        outcome
    });
    gathering.error = outcome.err().map(|error| format!("{error:#}"));
    gathering
}

fn fill(gathering: &mut Gathering, idle: Duration, bed: &Bed) -> Result<()> {
    lanparty_relay::prepare(bed)?;
    lanparty_relay::start(bed)?;
    gathering.empty = Some(of_relay(bed)?);
    let begin = Instant::now();
    // Half of them on each host: one process alone would be busier than the relay.
    for (number, host) in (0..).zip(Host::ENDS) {
        bed.spawn(host, members(bed, host, number * MEMBERS / 2)?)?;
        bed.wait_for("members are there", PATIENCE)?;
    }
    gathering.joining_s = Some(begin.elapsed().as_secs_f64());
    gathering.full = Some(metered(bed, || {
        thread::sleep(idle);
        of_relay(bed)
    })?);
    bed.ended().map_or(Ok(()), |why| Err(anyhow!("the crowd did not last{why}")))
}

fn members(bed: &Bed, host: Host, first: u32) -> Result<Program> {
    let [first, count, rooms] = [first, MEMBERS / 2, ROOMS].map(|number| number.to_string());
    let program = Program::new(&bed.tools.bench)
        .named("members")
        .args(["members", "--first", &first, "--count", &count, "--rooms", &rooms])
        .args(["--relay", &lanparty_relay::address(), "--server-name", lanparty_relay::SERVER_NAME])
        .arg("--certificate")
        .arg(bed.path(lanparty_relay::CERTIFICATE));
    Ok(program.arg("--identities").arg(bed.path(&format!("members-{}", host.name()))))
}

fn of_relay(bed: &Bed) -> Result<Memory> {
    memory(bed)?.get(&Host::Relay).copied().context("the relay is gone")
}

fn full(gathering: &Gathering) -> Option<f64> {
    Some(gathering.full.as_ref()?.value.rss_mib)
}

fn empty(gathering: &Gathering) -> Option<f64> {
    Some(gathering.empty?.rss_mib)
}

fn kib_each(gathering: &Gathering) -> Option<f64> {
    Some((full(gathering)? - empty(gathering)?) * 1_024.0 / f64::from(MEMBERS))
}

fn cpu_percent(gathering: &Gathering) -> Option<f64> {
    let usage = &gathering.full.as_ref()?.usage;
    Some(usage.tunnel.get(&Host::Relay)?.total() / usage.wall_s * 100.0)
}

/// One round, as progress.
fn in_words(gathering: &Gathering) -> String {
    let noisy = if gathering.full.as_ref().is_some_and(|full| full.noisy) { NOISY } else { "" };
    let figure = full(gathering).map_or_else(|| "no figure".to_owned(), |mib| format!("{mib:.1} MiB{noisy}"));
    let error = gathering.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    format!("{figure}{error}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cpu::{Spent, Usage};

    #[test]
    fn the_relays_share_is_told_from_its_members() {
        let memory = |rss_mib| Memory { rss_mib, peak_mib: 200.0 };
        let spent = |user_s| Spent { user_s, system_s: 0.5 };
        let usage = Usage { wall_s: 10.0, tunnel: BTreeMap::from([(Host::A, spent(9.0)), (Host::Relay, spent(0.5))]), foreign_share: 0.5 };
        let full = Some(Metered { value: memory(100.0), usage, noisy: true });
        let gathering = Gathering { round: 1, empty: Some(memory(5.0)), joining_s: Some(7.0), full, ..Gathering::default() };
        let crowd = Crowd {
            version: "1".into(),
            gatherings: vec![gathering, Gathering { round: 2, error: Some("no".into()), ..Gathering::default() }],
        };
        assert_eq!(crowd.spread(cpu_percent).map(|spread| spread.median), Some(10.0));
        assert_eq!(crowd.spread(kib_each).map(|spread| spread.median), Some(95.0 * 1_024.0 / 2_000.0));
        let text = crowd.text();
        assert!(text.contains("MISSED") && text.contains("100.0~") && text.contains("round 2: no"), "{text}");
        assert_eq!(crowd.json()["targets"][0]["met"], false);
    }
}
