//! Everything that was measured, for people and for programs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lanparty_lab::run;
use serde_json::{Value, json};

use crate::address::Address;
use crate::crowd::Crowd;
use crate::distance::Distance;
use crate::filters::Filters;
use crate::options::Options;
use crate::picture;
use crate::record::{Record, summarise};
use crate::small_wire::SmallWire;
use crate::table::{self, Row};
use crate::target::judge;
use crate::tools::Tools;
use crate::variant::ABSENT;

/// What each part of the bench measured; nothing of a part that was not run.
pub(crate) struct Results {
    pub(crate) speed: Option<(Vec<Row>, Vec<Record>)>,
    pub(crate) small_wire: Option<SmallWire>,
    pub(crate) distance: Option<Distance>,
    pub(crate) crowd: Option<Crowd>,
    pub(crate) filters: Option<Filters>,
    pub(crate) address: Option<Address>,
}

/// Prints the tables, and writes them, the JSON and the picture.
pub(crate) fn publish(options: &Options, tools: &Tools, results: &Results) -> Result<()> {
    let (text, value) = (text(options, results), json(options, results));
    print(&text)?;
    let dir = options.out.as_ref().unwrap_or(&tools.results);
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    write(&dir.join("bench.md"), &text)?;
    for path in options.json.iter().chain([&dir.join("bench.json")]) {
        write_json(path, &value)?;
    }
    if results.speed.is_none() {
        eprintln!("bench: tables and figures are in {}/bench.md and bench.json", dir.display());
        return Ok(());
    }
    let picture = picture::draw(&value)?;
    for path in options.svg.iter().chain([&dir.join("bench.svg")]) {
        write(path, &picture)?;
    }
    eprintln!("bench: tables, figures and picture are in {}/bench.md, bench.json and bench.svg", dir.display());
    Ok(())
}

/// `lanparty-bench draw`.
pub(crate) fn draw_again(results: &Path, svg: &Path) -> Result<()> {
    let text = fs::read_to_string(results).with_context(|| format!("read {}", results.display()))?;
    let value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", results.display()))?;
    let picture = picture::draw(&value).with_context(|| format!("{} is not of this bench", results.display()))?;
    write(svg, &picture)
}

fn text(options: &Options, results: &Results) -> String {
    let mut parts = vec![format!("{}\n", machine_in_words(options))];
    if let Some((rows, records)) = &results.speed {
        parts.push(format!("{}{}", table::figures(rows, &summarise(records)), absent()));
        let verdicts = judge(records);
        if !verdicts.is_empty() {
            parts.push(format!("{}\nRatios are taken in each round; their median counts.\n", table::targets(&verdicts)));
        }
    }
    parts.extend(results.crowd.as_ref().map(Crowd::text));
    parts.extend(results.small_wire.as_ref().map(SmallWire::text));
    parts.extend(results.distance.as_ref().map(Distance::text));
    parts.extend(results.filters.as_ref().map(Filters::text));
    parts.extend(results.address.as_ref().map(Address::text));
    parts.join("\n")
}

/// Who has no row, and why.
pub(crate) fn absent() -> String {
    ABSENT.iter().map(|(names, why)| format!("{names}: not measured: {why}\n")).collect()
}

fn json(options: &Options, results: &Results) -> Value {
    let (rows, records) = results.speed.as_ref().map_or((&[][..], &[][..]), |(rows, records)| (rows, records));
    let variants: Vec<Value> = rows.iter().map(about).collect();
    json!({
        "machine": machine(), "measured_on": today(),
        "measured_at_unix_s": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        "rounds": options.rounds(), "quick": options.quick, "offload": !options.no_offload,
        "variants": variants, "absent": ABSENT.map(|(names, why)| json!({ "name": names, "trouble": why })), "summary": summarise(records), "targets": judge(records), "records": records,
        "crowd": results.crowd.as_ref().map(Crowd::json),
        "small_wire": results.small_wire.as_ref().map(SmallWire::json), "distance": results.distance.as_ref().map(Distance::json),
        "filters": results.filters.as_ref().map(Filters::json), "address": results.address.as_ref().map(Address::json),
    })
}

/// Writes to standard output; that nobody reads it is no failure of the bench.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("print the results"),
        _ => Ok(()),
    }
}

fn about(row: &Row) -> Value {
    let variant = row.variant;
    let way = format!("{:?}", variant.route).to_lowercase();
    json!({
        "name": variant.name, "who": variant.who, "layer": variant.layer, "crypto": variant.crypto, "way": way,
        "version": row.version, "mtu": row.mtu, "trouble": row.trouble,
    })
}

fn machine_in_words(options: &Options) -> String {
    let machine = machine();
    let offload = if options.no_offload { "off" } else { "on" };
    let text = |key: &str| machine[key].as_str().unwrap_or("?").to_owned();
    let processors = &machine["processors"];
    let (model, kernel, rounds) = (text("model"), text("kernel"), options.rounds());
    format!("{}: {processors} x {model}, Linux {kernel}, offloads of the network {offload}, {rounds} rounds", today())
}

/// As people here write it.
fn today() -> String {
    run(&["date", "+%F"]).map_or_else(|_| "?".to_owned(), |output| output.stdout.trim().to_owned())
}

pub(crate) fn machine() -> Value {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = thread::available_parallelism().map_or(1, |n| n.get());
    json!({ "processors": processors, "model": model.map_or("unknown processor", |(_, model)| model), "kernel": kernel.trim() })
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("the results as JSON")?;
    write(path, &(text + "\n"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
