//! lanparty's relay, for what is measured through it and of it.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::Program;

use super::printed_version;
use crate::bed::{Bed, Host};
use crate::tools::{Needed, Source, Tools};

pub(super) const RELAY: Needed = Needed { program: "lanparty-relay", source: Source::Workspace };
/// The name in a relay's development certificate.
pub(crate) const SERVER_NAME: &str = "lanparty-relay.local";
/// Its file in the bed.
pub(crate) const CERTIFICATE: &str = "relay.der";
const PORT: u16 = 8_443;
const LISTENING: &str = "listening on";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, RELAY, &["--version"])
}

/// Where members reach it.
pub(crate) fn address() -> String {
    Host::Relay.at(PORT).to_string()
}

/// A relay makes its certificate when it first runs; its members have it before they start.
pub(crate) fn prepare(bed: &Bed) -> Result<()> {
    let relay = bed.host(Host::Relay).spawn(program(bed)?.named("relay-first-run"))?;
    relay.wait_for(LISTENING, PATIENCE)?;
    relay.sigterm();
    relay.exit_code(PATIENCE).map(drop)
}

/// Starts it, and returns when it listens.
pub(crate) fn start(bed: &Bed) -> Result<()> {
    bed.spawn(Host::Relay, program(bed)?)?;
    bed.wait_for(LISTENING, PATIENCE)
}

fn program(bed: &Bed) -> Result<Program> {
    let program = Program::new(bed.tools.path(RELAY)?).args(["--listen", &address()]);
    Ok(program.arg("--state-dir").arg(bed.path("relay")).args(["--open", "--dev-cert-der-out"]).arg(bed.path(CERTIFICATE)))
}
