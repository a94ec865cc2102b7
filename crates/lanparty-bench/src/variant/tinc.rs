//! tinc in switch mode, its defaults otherwise: 1.0, which distributions have, and 1.1 with its newer protocol. Directly, and by a third
//! daemon that both connect to.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};

use super::{INTERFACE, SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const OLD: Needed = Needed::debian("tincd", "tinc");
const NEW: Needed = Needed { program: "tincd", source: Source::Release("experimental", "tinc") };
/// Makes the keys of 1.1.
const NEW_TINC: Needed = Needed { program: "tinc", source: Source::Release("experimental", "tinc") };
/// How long a daemon may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

const TINC_DIRECT: Variant = Variant {
    name: "tinc",
    who: Who::Peer,
    layer: 2,
    crypto: "AES-256-CBC + SHA256",
    route: Route::Direct,
    needs: &[OLD],
    settle: SETTLE,
    version: |tools| version(tools, OLD),
    prepare: |bed| prepare(bed, &Host::ENDS, make_old_keys),
    start: |bed| start(bed, OLD),
};

pub(crate) static TINC: Variant = TINC_DIRECT;

pub(super) static TINC_11: Variant = Variant {
    name: "tinc-1.1",
    crypto: "ChaCha20-Poly1305",
    needs: &[NEW, NEW_TINC],
    version: |tools| version(tools, NEW),
    prepare: |bed| prepare(bed, &Host::ENDS, make_new_keys),
    start: |bed| start(bed, NEW),
    ..TINC_DIRECT
};

pub(super) static TINC_11_RELAYED: Variant = Variant {
    name: "tinc-1.1-relayed",
    crypto: "ChaCha20-Poly1305",
    route: Route::Relayed,
    needs: &[NEW, NEW_TINC],
    version: |tools| version(tools, NEW),
    prepare: |bed| prepare(bed, &Host::ALL, make_new_keys),
    start: |bed| start(bed, NEW),
    ..TINC_DIRECT
};

fn version(tools: &Tools, tincd: Needed) -> Result<String> {
    printed_version(tools, tincd, &["--version"])
}

/// A directory for each daemon, which knows all others. A relay is who both ends connect to, and has no device.
fn prepare(bed: &Bed, hosts: &[Host], make_keys: fn(&Bed, &Path) -> Result<()>) -> Result<()> {
    let relayed = hosts.contains(&Host::Relay);
    let hub = if relayed { Host::Relay } else { Host::B };
    for host in hosts {
        let (name, dir) = (host.name(), dir(*host));
        let connect = if *host == hub { String::new() } else { format!("ConnectTo = {}\n", hub.name()) };
        let device = if *host == Host::Relay { "DeviceType = dummy\n".to_owned() } else { format!("Interface = {INTERFACE}\n") };
        bed.file(&format!("{dir}/tinc.conf"), &format!("Name = {name}\nMode = switch\n{device}{connect}"))?;
        let indirect = if relayed && *host != hub { "IndirectData = yes\n" } else { "" };
        bed.file(&format!("{dir}/hosts/{name}"), &format!("Address = {}\n{indirect}", host.outer()))?;
        make_keys(bed, &bed.path(&dir))?;
    }
    for host in hosts {
        let public = format!("hosts/{}", host.name());
        let path = bed.path(&format!("{}/{public}", dir(*host)));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for other in hosts.iter().filter(|other| *other != host) {
            bed.file(&format!("{}/{public}", dir(*other)), &text)?;
        }
    }
    Ok(())
}

fn make_old_keys(bed: &Bed, dir: &Path) -> Result<()> {
    let tincd = bed.tools.path(OLD)?;
    run(&[tincd.as_os_str(), "-c".as_ref(), dir.as_os_str(), "-K".as_ref(), "2048".as_ref()]).map(drop)
}

fn make_new_keys(bed: &Bed, dir: &Path) -> Result<()> {
    let tinc = bed.tools.path(NEW_TINC)?;
    run::<&OsStr>(&[tinc.as_os_str(), "-c".as_ref(), dir.as_os_str(), "generate-ed25519-keys".as_ref()]).map(drop)
}

fn start(bed: &Bed, tincd: Needed) -> Result<()> {
    let tincd = bed.tools.path(tincd)?;
    // The hub first: who connects before the other listens tries again after five seconds.
    for host in [Host::Relay, Host::B, Host::A] {
        let dir = bed.path(&dir(host));
        if !dir.is_dir() {
            continue;
        }
        let pid_file = format!("--pidfile={}", dir.join("pid").display());
        bed.spawn(host, Program::new(&tincd).named("tincd").arg("-c").arg(&dir).args(["-D", &pid_file]))?;
        bed.wait_for("Ready", PATIENCE)?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, None))
}

fn dir(host: Host) -> String {
    format!("tinc-{}", host.name())
}
