//! What a tunnel adds to the round trip over real distances: every host is at the end of a wire with a delay, and the tunnel's echo is
//! compared with those of the wires themselves, taken before and after in the same bed.

mod report;

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use lanparty_lab::{Uplink, Verdict};
use serde::Serialize;

use crate::bed::{Bed, Host, Route};
use crate::meter::echo::echoes;
use crate::meter::ping::Latency;
use crate::options::Options;
use crate::record::Metered;
use crate::round::{metered, start, wait_for_quiet};
use crate::schedule::{self, Expected, row};
use crate::table::Row;
use crate::tools::Tools;
use crate::variant::Variant;

/// Of each host's wire, one way: 20 ms there and back between any two.
const WIRE: &str = "delay=5ms";
const ECHOES: u16 = 200;
const ECHOES_QUICK: u16 = 100;
/// An echo by the relay, and the pause after it.
const ECHO: Duration = Duration::from_millis(50);
/// Building the network and starting what runs in it, and what that may take beyond.
const BED: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(10);

/// One variant in one round.
#[derive(Debug, Clone, Default, Serialize)]
struct Trip {
    variant: &'static str,
    round: u32,
    error: Option<String>,
    mtu: Option<u64>,
    tunnel: Option<Metered<Latency>>,
    /// The wires that its way uses, together: the median before and after.
    wires_ms: Option<f64>,
    /// The machine was too busy to be a wire.
    is_late: bool,
}

/// What was measured over a distance.
pub(crate) struct Distance {
    rows: Vec<Row>,
    trips: Vec<Trip>,
}

impl Distance {
    /// How long they take.
    pub(crate) fn takes(options: &Options, variants: &[&'static Variant]) -> Expected {
        let count = u32::from(if options.quick { ECHOES_QUICK } else { ECHOES });
        let expected = |variant: &&'static Variant| {
            let usual = BED + variant.settle + ECHO * count * 3;
            Expected { usual, at_most: usual + options.plan().quiet + LATE }
        };
        variants.iter().map(expected).sum::<Expected>().times(options.side_rounds())
    }

    /// All rounds of all variants that can run here.
    pub(crate) fn measure(options: &Options, variants: &[&'static Variant], tools: &Tools) -> Self {
        eprintln!("bench: wires of 20 ms there and back between any two hosts");
        let mut rows: Vec<Row> = variants.iter().map(|variant| row(variant, tools)).collect();
        let (quiet, count) = (options.plan().quiet, if options.quick { ECHOES_QUICK } else { ECHOES });
        let trips = schedule::in_rounds(options.side_rounds(), &rows, |variant, round| {
            wait_for_quiet(quiet);
            let trip = travel(variant, round, count, tools);
            let words = report::in_words(&trip);
            (trip, words)
        });
        for row in &mut rows {
            let mut of_variant = trips.iter().filter(|trip| trip.variant == row.variant.name);
            row.mtu = of_variant.clone().rev().find_map(|trip| trip.mtu);
            row.trouble = row.trouble.take().or_else(|| of_variant.find_map(|trip| trip.error.clone()));
        }
        Self { rows, trips }
    }
}

fn travel(variant: &'static Variant, round: u32, count: u16, tools: &Tools) -> Trip {
    let mut trip = Trip { variant: variant.name, round, ..Trip::default() };
    let outcome = Uplink::wire(WIRE).and_then(|wire| Bed::new(variant.name, variant.route, &wire, tools)).and_then(|bed| {
        let outcome = fill(&mut trip, variant, count, &bed);
        bed.end();
        outcome
    });
    trip.error = outcome.err().map(|error| format!("{error:#}"));
    trip
}

fn fill(trip: &mut Trip, variant: &Variant, count: u16, bed: &Bed) -> Result<()> {
    (variant.prepare)(bed)?;
    start(variant, bed)?;
    thread::sleep(variant.settle);
    bed.forget_lateness()?;
    let before = wires(bed, variant.route, count)?;
    trip.tunnel = Some(metered(bed, || echoes(bed.host(Host::A), Host::B.inner(), count))?);
    let after = wires(bed, variant.route, count)?;
    trip.wires_ms = Some(f64::midpoint(before, after));
    trip.is_late = bed.verdicts()?.iter().any(|verdict| matches!(verdict, Verdict::Inconclusive { .. }));
    trip.mtu = Some(bed.mtu(Host::A)?);
    bed.ended().map_or(Ok(()), |why| Err(anyhow!("a process did not last{why}")))
}

/// The round trip between the ends without a tunnel; by the relay, the sum of the two to it.
fn wires(bed: &Bed, route: Route, count: u16) -> Result<f64> {
    let legs = match route {
        Route::Direct => &[(Host::A, Host::B)][..],
        Route::Relayed => &[(Host::A, Host::Relay), (Host::B, Host::Relay)],
    };
    legs.iter().map(|(from, to)| Ok(echoes(bed.host(*from), to.outer(), count)?.median_ms)).sum()
}
