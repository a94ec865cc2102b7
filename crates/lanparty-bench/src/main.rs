//! Measures lanparty beside other tunnels, in one run on one machine: throughput, packet rates, round trips, processor time,
//! memory, and the time until it works.
//!
//! Rounds are the outer loop (A, B, C, A, B, C), so that what changes on the machine meanwhile hits all variants alike.

mod address;
mod bed;
mod bond;
mod cpu;
mod crowd;
mod distance;
mod filters;
mod meter;
mod options;
mod picture;
mod program;
mod record;
mod report;
mod round;
mod schedule;
mod small_wire;
mod stats;
mod supervise;
mod table;
mod target;
mod tools;
mod variant;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use lanparty_lab::{Requirements, Tool};

use crate::address::Address;
use crate::bed::Route;
use crate::crowd::Crowd;
use crate::distance::Distance;
use crate::filters::Filters;
use crate::options::{Options, Section, Task};
use crate::record::{Figure, Record};
use crate::report::Results;
use crate::schedule::{Expected, row};
use crate::small_wire::SmallWire;
use crate::table::Row;
use crate::tools::Tools;
use crate::variant::{LANPARTY, Variant};

fn main() -> ExitCode {
    let options = Options::parse();
    run(&options).unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode> {
    match &options.task {
        Some(Task::Bond(bond)) => return bond.run(options.unsupervised),
        Some(Task::Draw { results, svg }) => {
            report::draw_again(results, svg)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Task::Yardstick(program)) => {
            program.run()?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let (variants, on_small_wire, over_distance) =
        (options.variants()?, options.variants_on_small_wire()?, options.variants_over_distance()?);
    let tools = Tools::locate()?;
    if options.list {
        report::print(&format!(
            "{}{}\n{}",
            list(&variants, &tools),
            report::absent(),
            expected(options, &variants, &on_small_wire, &over_distance)
        ))?;
    } else if options.unsupervised {
        supervise::end_with_supervisor()?;
        let speed = options.has(Section::Speed).then(|| measure(options, &variants, &tools));
        let small_wire = options.has(Section::SmallWire).then(|| SmallWire::measure(options, &on_small_wire, &tools));
        let distance = options.has(Section::Distance).then(|| Distance::measure(options, &over_distance, &tools));
        let crowd = options.has(Section::Crowd).then(|| Crowd::measure(options, &tools));
        let filters = options.has(Section::Filters).then(|| Filters::measure(options, &tools));
        let address = options.has(Section::Address).then(|| Address::measure(options, &tools));
        report::publish(options, &tools, &Results { speed, small_wire, distance, crowd, filters, address })?;
    } else {
        // Here, so that Ctrl-C ends an installation too.
        let of_speed = variants.iter().filter(|_| options.has(Section::Speed));
        let of_small_wire = on_small_wire.iter().filter(|_| options.has(Section::SmallWire));
        let of_distance = over_distance.iter().filter(|_| options.has(Section::Distance));
        let of_filters = [&LANPARTY].into_iter().filter(|_| options.has(Section::Filters) || options.has(Section::Address));
        get_ready(options, of_speed.chain(of_small_wire).chain(of_distance).copied().chain(of_filters), &tools)?;
        let [variants, on_small_wire, over_distance] = [variants, on_small_wire, over_distance].map(|all| able(&all, &tools));
        for line in expected(options, &variants, &on_small_wire, &over_distance).lines() {
            eprintln!("bench: {line}");
        }
        return supervise::run();
    }
    Ok(ExitCode::SUCCESS)
}

fn get_ready(options: &Options, variants: impl Iterator<Item = &'static Variant>, tools: &Tools) -> Result<()> {
    if !options.no_install {
        let needed: Vec<_> = variants.flat_map(|variant| variant.needs).copied().collect();
        tools.install(&needed)?;
    }
    let wires = Requirements::wires().and(&[Tool::Iperf, Tool::Nft]);
    wires.ready().map_err(|missing| anyhow!(missing))
}

/// Those whose programs are all there.
fn able(variants: &[&'static Variant], tools: &Tools) -> Vec<&'static Variant> {
    let has_all = |variant: &&&'static Variant| variant.needs.iter().all(|needed| tools.path(*needed).is_ok());
    variants.iter().filter(has_all).copied().collect()
}

/// How long each part takes, and all of them.
fn expected(
    options: &Options,
    variants: &[&'static Variant],
    on_small_wire: &[&'static Variant],
    over_distance: &[&'static Variant],
) -> String {
    let plan = options.plan();
    let speed: Expected = variants.iter().map(|variant| plan.takes(variant.settle)).sum();
    let parts = [
        (Section::Speed, "speed", speed.times(options.rounds())),
        (Section::SmallWire, "small-wire", SmallWire::takes(options, on_small_wire)),
        (Section::Distance, "distance", Distance::takes(options, over_distance)),
        (Section::Crowd, "crowd", Crowd::takes(options)),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(section, ..)| options.has(*section)).collect();
    let all: Expected = parts.iter().map(|(.., expected)| *expected).sum();
    let lines = parts.iter().map(|(_, name, expected)| format!("{name}: {}\n", expected.words()));
    let more: String = [(Section::Filters, "filters"), (Section::Address, "address")]
        .into_iter()
        .filter(|(section, _)| options.has(*section))
        .map(|(_, name)| format!("{name}: a few minutes, not counted here\n"))
        .collect();
    format!("{}{more}all of it: {}; a tunnel that hangs costs its patience beyond that\n", lines.collect::<String>(), all.words())
}

/// All rounds of all variants that can run here.
fn measure(options: &Options, variants: &[&'static Variant], tools: &Tools) -> (Vec<Row>, Vec<Record>) {
    let mut rows: Vec<Row> = variants.iter().map(|variant| row(variant, tools)).collect();
    let plan = options.plan();
    let records = schedule::in_rounds(options.rounds(), &rows, |variant, round| {
        let record = round::measure(variant, round, &plan, tools);
        let words = in_words(&record);
        (record, words)
    });
    for row in &mut rows {
        let mut of_variant = records.iter().filter(|record| record.variant == row.variant.name);
        row.mtu = of_variant.clone().find_map(|record| record.mtu);
        row.trouble = row.trouble.take().or_else(|| of_variant.find_map(|record| record.error.clone()));
    }
    (rows, records)
}

fn list(variants: &[&'static Variant], tools: &Tools) -> String {
    let line = |variant: &&'static Variant| {
        let row = row(variant, tools);
        let way = if variant.route == Route::Direct { "direct" } else { "relayed" };
        let words =
            [variant.name, if variant.layer == 2 { "2" } else { "3" }, variant.crypto, way, row.trouble.as_deref().unwrap_or(&row.version)];
        words.map(str::to_owned).to_vec()
    };
    table::list(&variants.iter().map(line).collect::<Vec<_>>())
}

fn in_words(record: &Record) -> String {
    let figure = |figure: Figure| {
        let (title, decimals) = figure.title();
        let noisy = if figure.is_noisy(record) { "~" } else { "" };
        figure.of(record).map(|value| format!("{title} {value:.decimals$}{noisy}"))
    };
    let figures: Vec<String> = Figure::ALL.into_iter().filter_map(figure).collect();
    let error = record.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    format!("{}{error}", figures.join(", "))
}
