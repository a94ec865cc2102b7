//! lanparty: two members of one room, through a relay, by QUIC or by TLS, or directly.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::Program;

use super::lanparty_relay::{self, CERTIFICATE, RELAY, SERVER_NAME};
use super::{INTERFACE, SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const CLIENT: Needed = Needed { program: "lanparty", source: Source::Workspace };
const ROOM: &str = "bench";
/// A traffic filter of both members, where there is such a file.
pub(crate) const FILTER_FILE: &str = "rules.toml";
const DIRECTLY: &str = "go directly";
/// What a gateway says when it is at work.
const BRIDGING: &str = "bridging frames";
/// The gateway's port on its LAN, where every host has the MTU that the room will have.
const LAN: &str = "lan";
const LAN_MTU: u16 = 1_400;
/// How long members may take to find the direct way.
const PATIENCE: Duration = Duration::from_secs(10);

const BY_QUIC: Variant = Variant {
    name: "lanparty",
    who: Who::Ours,
    layer: 2,
    crypto: "AES-128-GCM",
    route: Route::Relayed,
    needs: &[RELAY, CLIENT],
    settle: SETTLE,
    version,
    prepare: lanparty_relay::prepare,
    start: |bed| start(bed, &["--transport", "quic", "--no-direct"]),
};

/// The way that is preferred.
pub(crate) static LANPARTY: Variant = BY_QUIC;

/// The way through networks that pass no UDP.
pub(crate) static LANPARTY_TLS: Variant =
    Variant { name: "lanparty-tls", start: |bed| start(bed, &["--transport", "stream", "--no-direct"]), ..BY_QUIC };

/// Members that reach each other without the relay.
pub(crate) static LANPARTY_DIRECT: Variant = Variant { name: "lanparty-direct", route: Route::Direct, start: start_direct, ..BY_QUIC };

/// A host of a LAN behind a gateway, and a member far away that reaches the gateway directly.
pub(crate) static LANPARTY_GATEWAY: Variant = Variant { name: "lanparty-gateway", route: Route::Direct, start: start_gateway, ..BY_QUIC };

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, CLIENT, &["--version"])
}

/// What is measured begins when frames go directly.
fn start_direct(bed: &Bed) -> Result<()> {
    start(bed, &["--no-port-mapping"])?;
    bed.wait_for(DIRECTLY, PATIENCE)
}

/// A's own interface is on a LAN that ends at the gateway, which runs on A as well.
fn start_gateway(bed: &Bed) -> Result<()> {
    lanparty_relay::start(bed)?;
    bed.host(Host::A).ip(&format!("link add {INTERFACE} type veth peer name {LAN}"))?;
    bed.host(Host::A).ip(&format!("link set dev {LAN} up"))?;
    bed.attach(Host::A, INTERFACE, Some(LAN_MTU))?;
    bed.spawn(Host::A, program(bed, Host::A, "gateway")?.args(["--interface", LAN, "--no-port-mapping"]))?;
    bed.wait_for(BRIDGING, PATIENCE)?;
    join(bed, Host::B, &["--address", "none", "--no-port-mapping"])?;
    bed.wait_for(DIRECTLY, PATIENCE)?;
    bed.address(Host::B, INTERFACE)
}

fn start(bed: &Bed, way: &[&str]) -> Result<()> {
    lanparty_relay::start(bed)?;
    for host in [Host::B, Host::A] {
        join(bed, host, &[&["--address", "none"], way].concat())?;
    }
    // The client itself takes it up and chooses its MTU.
    Host::ENDS.iter().try_for_each(|host| bed.address(*host, INTERFACE))
}

/// A client with more options.
pub(crate) fn join(bed: &Bed, host: Host, more: &[&str]) -> Result<()> {
    let program = program(bed, host, "client")?.args(["--tap-name", INTERFACE]).args(more);
    let filter = Some(bed.path(FILTER_FILE)).filter(|file| file.exists());
    bed.spawn(host, filter.map_or(program.clone(), |file| program.arg("--filter").arg(file)))
}

fn program(bed: &Bed, host: Host, role: &str) -> Result<Program> {
    let relay = lanparty_relay::address();
    let program = Program::new(bed.tools.path(CLIENT)?)
        .args([role, "--relay", &relay, "--server-name", SERVER_NAME, "--room", ROOM])
        .arg("--relay-ca-cert")
        .arg(bed.path(CERTIFICATE))
        .arg("--state-dir");
    Ok(program.arg(bed.path(&format!("{role}-{}", host.name()))))
}
