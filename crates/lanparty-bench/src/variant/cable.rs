//! lanparty's cable: two hosts and no relay.

use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::Program;
use serde_json::Value;

use super::{INTERFACE, SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const CABLE: Needed = Needed { program: "lanparty", source: Source::Workspace };
const PORT: u16 = 8_442;
const PLUGGED: &str = "the cable is plugged in";
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) static LANPARTY_CABLE: Variant = Variant {
    name: "lanparty-cable",
    who: Who::Ours,
    layer: 2,
    crypto: "AES-128-GCM",
    route: Route::Direct,
    needs: &[CABLE],
    settle: SETTLE,
    version,
    prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, CABLE, &["--version"])
}

/// Each end makes its key, which the other end is told.
fn prepare(bed: &Bed) -> Result<()> {
    for host in Host::ENDS {
        let state = bed.path(&state_dir(host));
        let program = bed.tools.path(CABLE)?;
        let words =
            [program.to_string_lossy(), "cable".into(), "--new".into(), "--json".into(), "--state-dir".into(), state.to_string_lossy()];
        let printed = bed.host(host).run(&words.iter().map(AsRef::as_ref).collect::<Vec<&str>>())?.stdout;
        let printed: Value = serde_json::from_str(&printed).context("the answer of `lanparty cable --new --json`")?;
        bed.file(&key_file(host), printed["key"].as_str().context("a key")?)?;
    }
    Ok(())
}

/// B listens, A dials. The interface has a carrier, and so carries what it is given an address for, once the cable is plugged in.
fn start(bed: &Bed) -> Result<()> {
    for host in [Host::B, Host::A] {
        let peer = std::fs::read_to_string(bed.path(&key_file(host.peer()))).context("the other end's key")?;
        let program = Program::new(bed.tools.path(CABLE)?)
            .named("lanparty-cable")
            .args(["cable", "--peer", peer.trim(), "--tap-name", INTERFACE, "--listen", &host.at(PORT).to_string()])
            .arg("--state-dir")
            .arg(bed.path(&state_dir(host)));
        let remote = host.peer().at(PORT).to_string();
        let program = if host == Host::A { program.args(["--remote", &remote]) } else { program };
        bed.spawn(host, program)?;
    }
    bed.wait_for(PLUGGED, PATIENCE)?;
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, None))
}

fn state_dir(host: Host) -> String {
    format!("cable-{}", host.name())
}

fn key_file(host: Host) -> String {
    format!("cable-{}.key", host.name())
}
