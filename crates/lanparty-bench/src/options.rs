//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use lanparty_lab::Offloads;

use crate::bond::BondArgs;
use crate::program::YardstickProgram;
use crate::round::Plan;
use crate::variant::{ON_SMALL_WIRE, OVER_DISTANCE, QUICK, VARIANTS, Variant};

/// Rounds of a full run.
const ROUNDS: u32 = 5;
/// Rounds of the parts that no target of the fast lane is set against.
const SIDE_ROUNDS: u32 = 3;

/// A part of the bench that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Throughput with and without offloads, packet rates, round trips, processor time, memory
    Speed,
    /// A download through a wire that drops packets above 1400 bytes without a word
    SmallWire,
    /// What a tunnel adds to the round trip over wires of 20 ms
    Distance,
    /// A relay's memory with 2000 idle members in 200 rooms
    Crowd,
    /// What 100 and 10,000 rules of a traffic filter cost
    Filters,
    /// How soon a machine with an assigned address reaches another one
    Address,
}

/// Measures lanparty beside other tunnels, in one run on one machine.
///
/// Everything runs in network namespaces that it makes and removes; nothing leaves the machine. Both ends, the relay and the
/// meters share the processors, so compare figures of one run with each other and never with those of another machine.
///
/// Other tunnels are got from the registries (Debian, crates.io) into a directory of the bench's own, once. Tables, JSON and a picture are
/// written to --out.
#[derive(Debug, Clone, Parser)]
#[command(name = "lanparty-bench", version)]
pub(crate) struct Options {
    /// How often each variant is measured; all once before any again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,

    /// One round of short steps, and only the variants that targets are set against: some minutes; --list says how many
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure these variants
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Measure only these parts; all of them unless told otherwise
    #[arg(long, value_name = "SECTIONS", value_enum, value_delimiter = ',')]
    section: Vec<Section>,

    /// Write bench.md, bench.json and bench.svg into this directory; target/bench unless told otherwise
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Write everything that was measured to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the picture to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Show the variants, their versions and what they lack, and how long a run takes
    #[arg(long)]
    pub(crate) list: bool,

    /// Let the network between the hosts carry each packet alone, as a real wire does
    #[arg(long)]
    pub(crate) no_offload: bool,

    /// Install nothing: what is missing is not measured
    #[arg(long)]
    pub(crate) no_install: bool,

    /// Measure in this process, which cannot clean up after its own death
    #[arg(long, hide = true)]
    pub(crate) unsupervised: bool,

    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

/// What else this program does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Task {
    Bond(BondArgs),
    /// Draw the picture of an earlier run again
    Draw {
        /// What --json wrote, or bench.json
        results: PathBuf,
        /// Where the picture goes
        #[arg(long, value_name = "FILE")]
        svg: PathBuf,
    },
    #[command(flatten)]
    Yardstick(YardstickProgram),
}

impl Options {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS })
    }

    /// Of a part that is not the fast lane's.
    pub(crate) fn side_rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { SIDE_ROUNDS })
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::new(self.quick, if self.no_offload { Offloads::Off } else { Offloads::On })
    }

    /// Whether that part is to be run.
    pub(crate) fn has(&self, section: Section) -> bool {
        self.section.is_empty() || self.section.contains(&section)
    }

    /// What is to be measured, in the order of a round.
    pub(crate) fn variants(&self) -> Result<Vec<&'static Variant>> {
        self.chosen(if self.quick { &QUICK } else { &VARIANTS })
    }

    /// What is to be measured on the small wire: its target is set against whichever is best, so haste leaves out nobody.
    pub(crate) fn variants_on_small_wire(&self) -> Result<Vec<&'static Variant>> {
        self.chosen_of(&ON_SMALL_WIRE)
    }

    /// What is to be measured over a distance.
    pub(crate) fn variants_over_distance(&self) -> Result<Vec<&'static Variant>> {
        self.chosen_of(&OVER_DISTANCE)
    }

    /// Those of `usual` that were asked for by name, or all of them.
    fn chosen_of(&self, usual: &[&'static Variant]) -> Result<Vec<&'static Variant>> {
        let chosen = self.chosen(usual)?;
        Ok(chosen.into_iter().filter(|variant| usual.iter().any(|other| other.name == variant.name)).collect())
    }

    /// The variants that were asked for by name, or else `usual`.
    fn chosen(&self, usual: &[&'static Variant]) -> Result<Vec<&'static Variant>> {
        if self.only.is_empty() {
            return Ok(usual.to_vec());
        }
        if let Some(unknown) = self.only.iter().find(|name| !VARIANTS.iter().any(|variant| variant.name == **name)) {
            let names: Vec<&str> = VARIANTS.iter().map(|variant| variant.name).collect();
            bail!("there is no variant `{unknown}`; there are {}", names.join(", "));
        }
        Ok(VARIANTS.into_iter().filter(|variant| self.only.iter().any(|name| name == variant.name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Result<Vec<&'static str>> {
        let options = Options::try_parse_from(["lanparty-bench"].iter().chain(words))?;
        Ok(options.variants()?.into_iter().map(|variant| variant.name).collect())
    }

    #[test]
    fn variants_are_chosen_by_name_or_by_haste() {
        assert_eq!(names(&[]).unwrap().len(), VARIANTS.len());
        assert_eq!(
            names(&["--quick"]).unwrap(),
            [
                "raw",
                "plain",
                "plain-relayed",
                "tinc",
                "tinc-1.1",
                "vpncloud",
                "zerotier",
                "wireguard-go",
                "quincy",
                "lanparty",
                "lanparty-tls",
                "lanparty-direct"
            ]
        );
        assert_eq!(names(&["--quick", "--only", "lanparty,fastd"]).unwrap(), ["fastd", "lanparty"]);
        assert!(names(&["--only", "tink"]).unwrap_err().to_string().contains("tinc"));
    }

    #[test]
    fn a_part_is_run_alone_when_it_is_asked_for() {
        let parse = |words: &[&str]| Options::try_parse_from(["lanparty-bench"].iter().chain(words)).unwrap();
        let has = |options: &Options| Section::value_variants().iter().map(|section| options.has(*section)).collect::<Vec<_>>();
        assert_eq!(has(&parse(&[])), [true; 6]);
        assert_eq!(has(&parse(&["--section", "small-wire"])), [false, true, false, false, false, false]);
        let on_small_wire = parse(&["--quick", "--only", "fastd,lanparty"]).variants_on_small_wire().unwrap();
        assert_eq!(on_small_wire.iter().map(|variant| variant.name).collect::<Vec<_>>(), ["lanparty"]);
        assert_eq!(parse(&["--quick"]).variants_on_small_wire().unwrap().len(), ON_SMALL_WIRE.len());
    }

    #[test]
    fn a_quick_run_has_one_round_unless_told_otherwise() {
        let rounds = |words: &[&str]| Options::try_parse_from(["lanparty-bench"].iter().chain(words)).unwrap().rounds();
        assert_eq!((rounds(&[]), rounds(&["--quick"]), rounds(&["--quick", "--rounds", "2"])), (ROUNDS, 1, 2));
    }
}
