//! Everything that was measured, for people and for programs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::address::Address;
use crate::distance::Distance;
use crate::filters::Filters;
use crate::options::Options;
use crate::record::{Record, summarise};
use crate::small_wire::SmallWire;
use crate::table::{self, Row};
use crate::target::judge;
use crate::variant::LANPARTY;

/// What each part of the bench measured; nothing of a part that was not run.
pub(crate) struct Results {
    pub(crate) speed: Option<(Vec<Row>, Vec<Record>)>,
    pub(crate) small_wire: Option<SmallWire>,
    pub(crate) distance: Option<Distance>,
    pub(crate) filters: Option<Filters>,
    pub(crate) address: Option<Address>,
}

/// Prints the tables, and writes the file that was asked for.
pub(crate) fn publish(options: &Options, results: &Results) -> Result<()> {
    print(&format!("{}\n", machine_in_words(options)))?;
    let (rows, records) = results.speed.as_ref().map_or((&[][..], &[][..]), |(rows, records)| (rows, records));
    let summary = summarise(records);
    let verdicts = judge(&summary);
    if results.speed.is_some() {
        print(&format!("\n{}", table::figures(rows, &summary)))?;
    }
    if summary.contains_key(LANPARTY.name) {
        print(&format!("\n{}", table::targets(&verdicts)))?;
    }
    if let Some(small_wire) = &results.small_wire {
        print(&format!("\n{}", small_wire.text()))?;
    }
    if let Some(distance) = &results.distance {
        print(&format!("\n{}", distance.text()))?;
    }
    if let Some(filters) = &results.filters {
        print(&format!("\n{}", filters.text()))?;
    }
    if let Some(address) = &results.address {
        print(&format!("\n{}", address.text()))?;
    }
    let Some(path) = &options.json else { return Ok(()) };
    let variants: Vec<Value> = rows.iter().map(about).collect();
    let value = json!({
        "machine": machine(),
        "measured_at_unix_s": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        "rounds": options.rounds(), "quick": options.quick, "offload": !options.no_offload,
        "variants": variants, "summary": summary, "targets": verdicts, "records": records,
        "small_wire": results.small_wire.as_ref().map(SmallWire::json), "distance": results.distance.as_ref().map(Distance::json),
        "filters": results.filters.as_ref().map(Filters::json), "address": results.address.as_ref().map(Address::json),
    });
    write_json(path, &value)
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
        "name": variant.name, "layer": variant.layer, "crypto": variant.crypto, "way": way,
        "version": row.version, "mtu": row.mtu, "trouble": row.trouble,
    })
}

fn machine_in_words(options: &Options) -> String {
    let machine = machine();
    let offload = if options.no_offload { "off" } else { "on" };
    let text = |key: &str| machine[key].as_str().unwrap_or("?").to_owned();
    let processors = &machine["processors"];
    format!("{processors} x {}, Linux {}, offloads of the network {offload}, {} rounds", text("model"), text("kernel"), options.rounds())
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
    fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
}
