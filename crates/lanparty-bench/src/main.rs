//! Measures lanparty beside other tunnels, in one run on one machine: throughput, packet rates, round trips, processor time,
//! memory, and the time until it works.
//!
//! Rounds are the outer loop (A, B, C, A, B, C), so that what changes on the machine meanwhile hits all variants alike.

mod bed;
mod cpu;
mod meter;
mod options;
mod program;
mod record;
mod report;
mod round;
mod stats;
mod supervise;
mod table;
mod target;
mod tools;
mod variant;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Parser;
use lanparty_lab::{Requirements, Tool};

use crate::bed::Route;
use crate::options::Options;
use crate::record::{Figure, Record};
use crate::table::Row;
use crate::tools::Tools;
use crate::variant::Variant;

fn main() -> ExitCode {
    let options = Options::parse();
    run(&options).unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode> {
    if let Some(program) = &options.program {
        program.run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let variants = options.variants()?;
    let tools = Tools::locate()?;
    if options.list {
        report::print(&list(&variants, &tools))?;
    } else if options.unsupervised {
        supervise::end_with_supervisor()?;
        let (rows, records) = measure(options, &variants, &tools);
        report::publish(options, &rows, &records)?;
    } else {
        // Here, so that Ctrl-C ends an installation too.
        get_ready(options, &variants, &tools)?;
        return supervise::run();
    }
    Ok(ExitCode::SUCCESS)
}

fn get_ready(options: &Options, variants: &[&Variant], tools: &Tools) -> Result<()> {
    if !options.no_install {
        let needed: Vec<_> = variants.iter().flat_map(|variant| variant.needs).copied().collect();
        tools.install(&needed)?;
    }
    Requirements::wires().and(&[Tool::Iperf]).ready().map_err(|missing| anyhow!(missing))
}

/// All rounds of all variants that can run here.
fn measure(options: &Options, variants: &[&'static Variant], tools: &Tools) -> (Vec<Row>, Vec<Record>) {
    let mut rows: Vec<Row> = variants.iter().map(|variant| row(variant, tools)).collect();
    let able: Vec<&'static Variant> = rows.iter().filter(|row| row.trouble.is_none()).map(|row| row.variant).collect();
    let plan = options.plan();
    let (started, steps) = (Instant::now(), able.len() * options.rounds() as usize);
    let mut records = Vec::new();
    for round in 1..=options.rounds() {
        for variant in &able {
            let left = remaining(started.elapsed(), records.len(), steps);
            eprintln!("bench: round {round} of {}, {}{left}", options.rounds(), variant.name);
            let record = round::measure(variant, round, &plan, tools);
            eprintln!("bench:   {}", in_words(&record));
            records.push(record);
        }
    }
    for row in &mut rows {
        let mut of_variant = records.iter().filter(|record| record.variant == row.variant.name);
        row.mtu = of_variant.clone().find_map(|record| record.mtu);
        row.trouble = row.trouble.take().or_else(|| of_variant.find_map(|record| record.error.clone()));
    }
    (rows, records)
}

/// A variant that lacks a program is not measured, and says why.
fn row(variant: &'static Variant, tools: &Tools) -> Row {
    let missing = variant.needs.iter().find_map(|needed| tools.path(*needed).err());
    let version = missing.map_or_else(|| (variant.version)(tools), Err);
    let (version, trouble) = match version {
        Ok(version) => (version, None),
        Err(error) => ("-".to_owned(), Some(format!("not measured: {error:#}"))),
    };
    Row { variant, version, mtu: None, trouble }
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

fn remaining(elapsed: Duration, done: usize, all: usize) -> String {
    if done == 0 {
        return String::new();
    }
    let left = elapsed.as_secs_f64() / done as f64 * (all - done) as f64;
    format!(" (about {:.0} min left)", (left / 60.0).ceil())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_guessed_from_what_was_done() {
        assert_eq!(remaining(Duration::from_secs(9), 0, 4), "");
        assert_eq!(remaining(Duration::from_secs(60), 1, 4), " (about 3 min left)");
    }
}
