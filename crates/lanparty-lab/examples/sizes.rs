//! Measures the size matrix and prints it as a table; every frame that vanished is named on stderr, and is a failure.
//!
//! `--full` sends every size; without it, those at which things change.

#![expect(clippy::print_stdout, reason = "its table goes to stdout")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use lanparty_lab::Offloads;
use lanparty_lab::sizes::{Plan, Row, WIRE_MTUS, measure, table};

fn main() -> Result<ExitCode> {
    let plan = if std::env::args().any(|arg| arg == "--full") { Plan::full() } else { Plan::short() };
    let mut rows: Vec<Row> = Vec::new();
    for wire_mtu in WIRE_MTUS {
        let start = Instant::now();
        rows.extend(measure(wire_mtu, Offloads::Off, &plan)?);
        eprintln!("sizes: wire of {wire_mtu} bytes, {:.0} s", start.elapsed().as_secs_f64());
    }
    let lost: Vec<String> = rows.iter().flat_map(Row::unexplained).collect();
    for line in &lost {
        eprintln!("sizes: {line}");
    }
    print!("{}", table(&rows));
    Ok(if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
