//! lanparty: two members of one room, through a relay, by QUIC or by TLS, or directly.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::Program;

use super::{INTERFACE, SETTLE, Variant, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const RELAY: Needed = Needed { program: "lanparty-relay", source: Source::Workspace };
const CLIENT: Needed = Needed { program: "lanparty", source: Source::Workspace };
const PORT: u16 = 8_443;
const ROOM: &str = "bench";
/// The name in a relay's development certificate.
const SERVER_NAME: &str = "lanparty-relay.local";
const CERTIFICATE: &str = "relay.der";
/// A traffic filter of both members, where there is such a file.
pub(crate) const FILTER_FILE: &str = "rules.toml";
const LISTENING: &str = "listening on";
const DIRECTLY: &str = "go directly";
/// How long a relay may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

const BY_QUIC: Variant = Variant {
    name: "lanparty",
    layer: 2,
    crypto: "AES-128-GCM",
    route: Route::Relayed,
    needs: &[RELAY, CLIENT],
    settle: SETTLE,
    version,
    prepare,
    start: |bed| start(bed, &["--transport", "quic", "--no-direct"]),
};

/// The way that is preferred.
pub(crate) static LANPARTY: Variant = BY_QUIC;

/// The way through networks that pass no UDP.
pub(crate) static LANPARTY_TLS: Variant =
    Variant { name: "lanparty-tls", start: |bed| start(bed, &["--transport", "stream", "--no-direct"]), ..BY_QUIC };

/// Members that reach each other without the relay.
pub(crate) static LANPARTY_DIRECT: Variant = Variant { name: "lanparty-direct", route: Route::Direct, start: start_direct, ..BY_QUIC };

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, CLIENT, &["--version"])
}

/// A relay makes its certificate when it first runs; its members have it before they start.
fn prepare(bed: &Bed) -> Result<()> {
    let relay = bed.host(Host::Relay).spawn(relay(bed)?.named("relay-first-run"))?;
    relay.wait_for(LISTENING, PATIENCE)?;
    relay.sigterm();
    relay.exit_code(PATIENCE).map(drop)
}

/// What is measured begins when frames go directly.
fn start_direct(bed: &Bed) -> Result<()> {
    start(bed, &["--no-port-mapping"])?;
    bed.wait_for(DIRECTLY, PATIENCE)
}

fn start(bed: &Bed, way: &[&str]) -> Result<()> {
    listen(bed)?;
    for host in [Host::B, Host::A] {
        join(bed, host, &[&["--address", "none"], way].concat())?;
    }
    // The client itself takes it up and chooses its MTU.
    Host::ENDS.iter().try_for_each(|host| bed.address(*host, INTERFACE))
}

/// A relay that listens.
pub(crate) fn listen(bed: &Bed) -> Result<()> {
    bed.spawn(Host::Relay, relay(bed)?)?;
    bed.wait_for(LISTENING, PATIENCE)
}

/// A client with more options.
pub(crate) fn join(bed: &Bed, host: Host, more: &[&str]) -> Result<()> {
    let relay = Host::Relay.at(PORT).to_string();
    let program = Program::new(bed.tools.path(CLIENT)?)
        .args(["client", "--relay", &relay, "--server-name", SERVER_NAME, "--room", ROOM, "--tap-name", INTERFACE])
        .args(more)
        .arg("--relay-ca-cert")
        .arg(bed.path(CERTIFICATE))
        .arg("--state-dir")
        .arg(bed.path(&format!("client-{}", host.name())));
    let filter = Some(bed.path(FILTER_FILE)).filter(|file| file.exists());
    bed.spawn(host, filter.map_or(program.clone(), |file| program.arg("--filter").arg(file)))
}

fn relay(bed: &Bed) -> Result<Program> {
    let program = Program::new(bed.tools.path(RELAY)?).args(["--listen", &Host::Relay.at(PORT).to_string()]);
    Ok(program.arg("--state-dir").arg(bed.path("relay")).args(["--open", "--dev-cert-der-out"]).arg(bed.path(CERTIFICATE)))
}
