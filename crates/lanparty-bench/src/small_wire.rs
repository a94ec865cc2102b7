//! The same TCP download through a wire that drops what is larger than 1400 bytes and tells nobody: who completes, who hangs,
//! and how fast next to a flow without a tunnel.
//!
//! Tunnels run with the defaults they are packaged with, and nobody tells them of the wire. No TCP without a tunnel could find out
//! either, so routes say how large a segment may be, as a router in front of such a wire does for its hosts: that is for the flow
//! that tunnels are compared with, and for connections that tunnels make themselves. Offloads are off, so that every packet is as
//! large as it looks.

mod black_hole;
mod report;

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use lanparty_lab::{Offloads, Uplink};
use serde::Serialize;

use crate::bed::{Bed, Host, UPLINK};
use crate::meter::download::{self, Download};
use crate::options::Options;
use crate::record::Metered;
use crate::round::{metered, start, wait_for_quiet};
use crate::schedule::{self, Expected, row};
use crate::small_wire::black_hole::BlackHole;
use crate::table::Row;
use crate::tools::Tools;
use crate::variant::{RAW, Variant};

/// The largest IP packet that passes.
const WIRE_MTU: u16 = 1_400;
/// Without options: IP 20, TCP 20.
const ADVERTISED_MSS: u16 = WIRE_MTU - 40;
/// Some seconds of a fast tunnel, so that how it finds the size counts but does not decide.
const DOWNLOAD: u64 = 256 << 20;
const DOWNLOAD_QUICK: u64 = 64 << 20;
/// What a round of one variant usually takes, its download included; one that hangs or is repeated takes longer.
const USUAL: Duration = Duration::from_secs(12);
const AT_MOST: Duration = Duration::from_secs(45);

/// One variant in one round.
#[derive(Debug, Clone, Default, Serialize)]
struct Crossing {
    variant: &'static str,
    round: u32,
    error: Option<String>,
    /// Of the tunnel's interface.
    mtu: Option<u64>,
    /// The first download; when others were busy meanwhile and it completed, the calmer of two.
    download: Option<Metered<Download>>,
    /// Packets that the wire dropped for their size, from the first process on.
    too_large: Option<u64>,
}

/// What was measured on the small wire.
pub(crate) struct SmallWire {
    rows: Vec<Row>,
    crossings: Vec<Crossing>,
    download: u64,
}

impl SmallWire {
    /// How long they take.
    pub(crate) fn takes(options: &Options, variants: &[&'static Variant]) -> Expected {
        let expected = |variant: &&'static Variant| {
            let around = variant.settle + USUAL;
            Expected { usual: around, at_most: around + options.plan().quiet + AT_MOST }
        };
        variants.iter().map(expected).sum::<Expected>().times(options.side_rounds())
    }

    /// All rounds of all variants that can run here.
    pub(crate) fn measure(options: &Options, variants: &[&'static Variant], tools: &Tools) -> Self {
        eprintln!("bench: a wire that drops packets above {WIRE_MTU} bytes without a word");
        let mut rows: Vec<Row> = variants.iter().map(|variant| row(variant, tools)).collect();
        let download = if options.quick { DOWNLOAD_QUICK } else { DOWNLOAD };
        let quiet = options.plan().quiet;
        let crossings = schedule::in_rounds(options.side_rounds(), &rows, |variant, round| {
            wait_for_quiet(quiet);
            let crossing = cross(variant, round, download, tools);
            let words = report::in_words(&crossing);
            (crossing, words)
        });
        for row in &mut rows {
            let mut of_variant = crossings.iter().filter(|crossing| crossing.variant == row.variant.name);
            row.mtu = of_variant.clone().rev().find_map(|crossing| crossing.mtu);
            row.trouble = row.trouble.take().or_else(|| of_variant.find_map(|crossing| crossing.error.clone()));
        }
        Self { rows, crossings, download }
    }
}

fn cross(variant: &'static Variant, round: u32, bytes: u64, tools: &Tools) -> Crossing {
    let mut crossing = Crossing { variant: variant.name, round, ..Crossing::default() };
    let outcome = Bed::new(variant.name, variant.route, &Uplink::Cable(Offloads::Off), tools).and_then(|bed| {
        let outcome = fill(&mut crossing, variant, bytes, &bed);
        bed.end();
        outcome
    });
    crossing.error = outcome.err().map(|error| format!("{error:#}"));
    crossing
}

fn fill(crossing: &mut Crossing, variant: &Variant, bytes: u64, bed: &Bed) -> Result<()> {
    let hole = BlackHole::open(bed, WIRE_MTU)?;
    clamp_own_tcp(bed, &Host::ALL, Host::outer)?;
    (variant.prepare)(bed)?;
    start(variant, bed)?;
    if variant.name == RAW.name {
        clamp_own_tcp(bed, &Host::ENDS, Host::inner)?;
    }
    thread::sleep(variant.settle);
    let fetch = || download::run(bed.host(Host::B), bed.host(Host::A), Host::A.inner(), bytes);
    let first = metered(bed, fetch)?;
    let again = first.noisy && first.value.completed;
    crossing.download = Some(if again { calmer(first, metered(bed, fetch)?) } else { first });
    crossing.mtu = Some(bed.mtu(Host::A)?);
    crossing.too_large = Some(hole.dropped(bed)?);
    bed.ended().map_or(Ok(()), |why| Err(anyhow!("a process did not last{why}")))
}

/// A download that does not complete is never calm: that it happened is the result.
fn calmer(first: Metered<Download>, second: Metered<Download>) -> Metered<Download> {
    let second_counts = !second.value.completed || second.usage.foreign_share < first.usage.foreign_share;
    if second_counts { second } else { first }
}

/// Says on these hosts how large a segment to the network of `address` may be.
fn clamp_own_tcp(bed: &Bed, hosts: &[Host], address: fn(Host) -> Ipv4Addr) -> Result<()> {
    for host in hosts {
        let own = address(*host);
        let [a, b, c, _] = own.octets();
        bed.host(*host).ip(&format!("route replace {a}.{b}.{c}.0/24 dev {UPLINK} scope link src {own} advmss {ADVERTISED_MSS}"))?;
    }
    Ok(())
}
