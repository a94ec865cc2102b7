//! How a tool that has its own exit codes says that it could not do its work.

use std::io::Write;

use lanparty_node::Fault;
use serde_json::{Value, json};

/// The shape of what a fault is as JSON (docs/doctor-json.md).
pub(crate) const FORMAT: u32 = 1;

/// A fault for scripts: where a report is awaited, never nothing.
pub(crate) fn as_json(fault: &Fault, exit_code: u8) -> Value {
    json!({ "format": FORMAT, "exit_code": exit_code, "error": { "cause": fault.cause, "advice": fault.advice } })
}

/// Says it to people, and to scripts that asked for JSON.
pub(crate) fn say(fault: &Fault, exit_code: u8, json: bool) {
    let _ = writeln!(std::io::stderr(), "error: {fault}");
    if json {
        let _ = writeln!(std::io::stdout(), "{:#}", as_json(fault, exit_code));
    }
}
