//! tinc 1.0 in switch mode, its defaults otherwise.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};

use super::{INTERFACE, SETTLE, Variant, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Tools};

const TINCD: Needed = Needed::debian("tincd", "tinc");
/// How long a daemon may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) static TINC: Variant = Variant {
    name: "tinc",
    layer: 2,
    crypto: "AES-256-CBC + SHA256",
    route: Route::Direct,
    needs: &[TINCD],
    settle: SETTLE,
    version,
    prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, TINCD, &["--version"])
}

fn prepare(bed: &Bed) -> Result<()> {
    let tincd = bed.tools.path(TINCD)?;
    for host in Host::ENDS {
        let (name, dir) = (host.name(), dir(host));
        let connect = if host == Host::A { "ConnectTo = b\n" } else { "" };
        bed.file(&format!("{dir}/tinc.conf"), &format!("Name = {name}\nMode = switch\nInterface = {INTERFACE}\n{connect}"))?;
        bed.file(&format!("{dir}/hosts/{name}"), &format!("Address = {}\n", host.outer()))?;
        let dir = bed.path(&dir);
        run(&[tincd.as_os_str(), "-c".as_ref(), dir.as_os_str(), "-K".as_ref(), "2048".as_ref()])?;
    }
    for host in Host::ENDS {
        let public = format!("hosts/{}", host.name());
        let path = bed.path(&format!("{}/{public}", dir(host)));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        bed.file(&format!("{}/{public}", dir(host.peer())), &text)?;
    }
    Ok(())
}

fn start(bed: &Bed) -> Result<()> {
    let tincd = bed.tools.path(TINCD)?;
    for host in [Host::B, Host::A] {
        let dir = bed.path(&dir(host));
        let pid_file = format!("--pidfile={}", dir.join("pid").display());
        bed.spawn(host, Program::new(&tincd).arg("-c").arg(&dir).args(["-D", &pid_file]))?;
        // Who connects before the other listens tries again after five seconds.
        bed.wait_for("Ready", PATIENCE)?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, None))
}

fn dir(host: Host) -> String {
    format!("tinc-{}", host.name())
}
