//! lanparty cable: two hosts, no relay.

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};

use super::{INTERFACE, SETTLE, Variant, nothing_to_prepare, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source};

const LANPARTY: Needed = Needed { program: "lanparty", source: Source::Workspace };

pub(crate) static CABLE: Variant = Variant {
    name: "lanparty-cable",
    layer: 2,
    crypto: "AES-128-GCM",
    route: Route::Direct,
    needs: &[LANPARTY],
    settle: SETTLE,
    version: |tools| printed_version(tools, LANPARTY, &["--version"]),
    prepare: nothing_to_prepare,
    start,
};

fn start(bed: &Bed) -> Result<()> {
    let lanparty = bed.tools.path(LANPARTY)?;
    for host in [Host::B, Host::A] {
        let mut program = Program::new(&lanparty)
            .args(["cable", "--peer", &key(bed, host.peer())?, "--tap-name", INTERFACE])
            .arg("--state-dir")
            .arg(state(bed, host));
        if host == Host::A {
            program = program.args(["--remote", &host.peer().outer().to_string()]);
        }
        bed.spawn(host, program)?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.address(*host, INTERFACE))
}

/// Makes the key of a host where it has none.
fn key(bed: &Bed, host: Host) -> Result<String> {
    let (lanparty, state) = (bed.tools.path(LANPARTY)?, state(bed, host));
    let words = [lanparty.as_os_str(), "cable".as_ref(), "--new".as_ref(), "--json".as_ref(), "--state-dir".as_ref(), state.as_os_str()];
    let printed: serde_json::Value = serde_json::from_str(&run(&words)?.stdout)?;
    printed["key"].as_str().map(str::to_owned).context("`lanparty cable --new` prints no key")
}

fn state(bed: &Bed, host: Host) -> std::path::PathBuf {
    bed.path(&format!("cable-{}", host.name()))
}
