//! How soon a machine that has just been started reaches another one, where the relay assigns the addresses: a friend's first evening.
//! Every host is at the end of a wire with a delay.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lanparty_lab::{Uplink, Verdict as WireVerdict};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bed::{Bed, Host};
use crate::meter::first_reply::first_reply;
use crate::options::Options;
use crate::round::wait_for_quiet;
use crate::schedule::row;
use crate::stats::Spread;
use crate::table::{self, NOISY};
use crate::target::{Limit, Verdict};
use crate::tools::Tools;
use crate::variant::{INTERFACE, LANPARTY, join, lanparty_relay};

/// Of each host's wire, one way: 20 ms there and back between any two.
const WIRE: &str = "delay=5ms";
/// Starts in one round, each of another machine.
const STARTS: u32 = 5;
/// Seconds from the start of the program.
const LIMIT: Limit = Limit::Below(1.0);
/// The first machine has its address by then, and so has the second one.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
/// The prober has sent its first requests when the program starts.
const LEAD: Duration = Duration::from_millis(150);

/// One start.
#[derive(Debug, Clone, Serialize)]
struct Start {
    round: u32,
    first_ping_s: Option<f64>,
    /// The machine was too busy to be a wire.
    is_late: bool,
    error: Option<String>,
}

/// What was measured of assigned addresses.
pub(crate) struct Address {
    trouble: Option<String>,
    starts: Vec<Start>,
}

impl Address {
    /// All rounds.
    pub(crate) fn measure(options: &Options, tools: &Tools) -> Self {
        let (trouble, quiet) = (row(&LANPARTY, tools).trouble, options.plan().quiet);
        let mut starts = vec![];
        for round in (1..=options.rounds()).filter(|_| trouble.is_none()) {
            eprintln!("bench: round {round} of {}, {STARTS} machines that are assigned an address", options.rounds());
            for _ in 0..STARTS {
                wait_for_quiet(quiet);
                let start = begin(round, tools);
                let figure = start.first_ping_s.map_or_else(|| "no figure".to_owned(), |took| format!("{took:.3} s"));
                eprintln!("bench:   {figure}{}", start.error.as_deref().map(|error| format!("; {error}")).unwrap_or_default());
                starts.push(start);
            }
        }
        Self { trouble, starts }
    }

    /// The table, and what became of the promise.
    pub(crate) fn text(&self) -> String {
        let noisy = if self.is_noisy() { NOISY } else { "" };
        let figure = self.spread().map_or_else(|| "-".to_owned(), |s| format!("{:.3} ({:.3}..{:.3}){noisy}", s.median, s.min, s.max));
        let lines = [["starts", "first ping s"].map(str::to_owned).to_vec(), vec![self.starts.len().to_string(), figure]];
        let legend = "From the start of a client without --address to the first echo of another member's assigned address, by the relay, over wires of\n\
            20 ms there and back: it joins, is assigned an address, asks whether anybody has it, and sets it. Median (min..max) of all starts.\n\
            `~`: the machine was too busy to be a wire.\n";
        let errors = self.trouble.iter().chain(self.starts.iter().filter_map(|start| start.error.as_ref()));
        let errors: String = errors.map(|why| format!("{why}\n")).collect();
        format!("{}\n{legend}{errors}\n{}", table::aligned(&lines), table::targets(&[self.verdict()]))
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "wire": WIRE, "first_ping_s": self.spread(), "noisy": self.is_noisy(), "targets": [self.verdict()], "records": self.starts })
    }

    fn spread(&self) -> Option<Spread> {
        Spread::of(self.starts.iter().filter_map(|start| start.first_ping_s))
    }

    fn is_noisy(&self) -> bool {
        self.starts.iter().any(|start| start.is_late)
    }

    fn verdict(&self) -> Verdict {
        Verdict::of("first ping with an assigned address, s", LIMIT, self.spread().map(|spread| spread.median), self.is_noisy())
    }
}

fn begin(round: u32, tools: &Tools) -> Start {
    let outcome = Uplink::wire(WIRE).and_then(|wire| Bed::new("address", LANPARTY.route, &wire, tools)).and_then(|bed| {
        let outcome = first_ping(&bed);
        let is_late = bed.verdicts()?.iter().any(|verdict| matches!(verdict, WireVerdict::Inconclusive { .. }));
        bed.end();
        outcome.map(|took| (took, is_late))
    });
    match outcome {
        Ok((took, is_late)) => Start { round, first_ping_s: Some(took.as_secs_f64()), is_late, error: None },
        Err(error) => Start { round, first_ping_s: None, is_late: false, error: Some(format!("{error:#}")) },
    }
}

/// One machine is there; the other one is started.
fn first_ping(bed: &Bed) -> Result<Duration> {
    (LANPARTY.prepare)(bed)?;
    lanparty_relay::start(bed)?;
    join(bed, Host::B, &["--no-direct"])?;
    let (there, give_up) = (address(bed, Host::B)?, AtomicBool::new(false));
    bed.forget_lateness()?;
    thread::scope(|scope| {
        let probe = || first_reply(there, PATIENCE, &give_up);
        let prober = scope.spawn(move || bed.host(Host::A).enter(probe)?);
        thread::sleep(LEAD);
        let started = Instant::now();
        let joined = join(bed, Host::A, &["--no-direct"]);
        give_up.store(joined.is_err(), Ordering::Relaxed);
        let reply = prober.join().map_err(|_| anyhow!("the prober panicked"))?;
        joined?;
        let reply = reply?.with_context(|| format!("{there} did not answer in {PATIENCE:?}{}", bed.ended().unwrap_or_default()))?;
        Ok(reply.saturating_duration_since(started))
    })
}

/// What a host was assigned.
fn address(bed: &Bed, host: Host) -> Result<Ipv4Addr> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The interface may not be there yet.
        if let Ok(Some(address)) = bed.host(host).ipv4(INTERFACE) {
            return Ok(address);
        }
        if Instant::now() > deadline {
            bail!("host {} has no address{}", host.name(), bed.ended().unwrap_or_default());
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_start_is_judged_and_a_busy_machine_is_said() {
        let start = |took, is_late| Start { round: 1, first_ping_s: Some(took), is_late, error: None };
        let address = Address { trouble: None, starts: vec![start(0.7, false), start(1.4, true), start(0.8, false)] };
        let verdict = address.verdict();
        assert_eq!((verdict.met, verdict.noisy), (Some(true), true));
        assert!(address.text().contains("0.800 (0.700..1.400)~"), "{}", address.text());
        assert_eq!(Address { trouble: None, starts: vec![] }.verdict().word(), "not measured");
    }
}
