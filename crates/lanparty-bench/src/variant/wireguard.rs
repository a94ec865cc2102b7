//! wireguard-go, the reference of the field, with segmentation offload on its TUN, which Debian 12 had not yet. It carries IP only.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lanparty_lab::{Output, Program, run};

use super::{SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const PROGRAM: Needed = Needed { program: "wireguard-go", source: Source::Release("sid", "wireguard-go") };
const WG: Needed = Needed::debian("wg", "wireguard-tools");
const PORT: u16 = 51_820;
const MTU: u16 = 1_420;
/// Where it listens for `wg`, by the interface's name, whatever the namespace.
const SOCKETS: &str = "/var/run/wireguard";
/// How long it may take to listen there.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) static WIREGUARD: Variant = Variant {
    name: "wireguard-go",
    who: Who::Peer,
    layer: 3,
    crypto: "ChaCha20-Poly1305",
    route: Route::Direct,
    needs: &[PROGRAM, WG],
    settle: SETTLE,
    version,
    prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, PROGRAM, &["--version"])
}

fn prepare(bed: &Bed) -> Result<()> {
    for host in Host::ENDS {
        let secret = run(&["wg", "genkey"])?.stdout;
        let file = bed.file(&key_file(host), &secret)?;
        let command = format!("wg pubkey < {}", file.display());
        bed.file(&public_file(host), run(&["sh", "-c", &command])?.stdout.trim())?;
    }
    Ok(())
}

/// B first: the first packet of A then finds it ready.
fn start(bed: &Bed) -> Result<()> {
    for host in Host::ENDS {
        let interface = interface(std::process::id(), host);
        bed.spawn(host, Program::new(bed.tools.path(PROGRAM)?).args(["-f", &interface]))?;
    }
    for host in [Host::B, Host::A] {
        let interface = interface(std::process::id(), host);
        bed.address(host, &interface)?;
        configure(bed, host, &interface)?;
        bed.attach(host, &interface, Some(MTU))?;
    }
    Ok(())
}

fn configure(bed: &Bed, host: Host, interface: &str) -> Result<()> {
    let path = bed.path(&public_file(host.peer()));
    let public = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let key = bed.path(&key_file(host)).display().to_string();
    let (endpoint, allowed) = (host.peer().at(PORT).to_string(), format!("{}/32", host.peer().inner()));
    let own = ["wg", "set", interface, "private-key", &key, "listen-port", &PORT.to_string()].map(str::to_owned);
    let peer = ["peer", &public, "endpoint", &endpoint, "allowed-ips", &allowed].map(str::to_owned);
    let words: Vec<&str> = own.iter().chain(&peer).map(String::as_str).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The interface is there a moment before the socket that wg needs.
        match bed.host(host).run_any(&words)?.success() {
            Ok(Output { .. }) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Removes the sockets of a bench that was killed.
pub(crate) fn remove_leftovers(bench: u32) {
    for host in Host::ENDS {
        // There is none unless the bench was killed at the wrong moment.
        let _ = fs::remove_file(Path::new(SOCKETS).join(format!("{}.sock", interface(bench, host))));
    }
}

/// Unique on the machine, as its socket must be: of at most 15 bytes, `wg` and a process id of at most 7 digits.
fn interface(bench: u32, host: Host) -> String {
    format!("wg{bench}{}", host.name())
}

fn key_file(host: Host) -> String {
    format!("wireguard-{}.key", host.name())
}

fn public_file(host: Host) -> String {
    format!("wireguard-{}.public", host.name())
}
