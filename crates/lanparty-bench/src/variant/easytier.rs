//! EasyTier, whose core comes as a Python package. It carries IP only. By a third node: directly it is another thing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};
use serde_json::{Value, json};

use super::{INTERFACE, Variant, Who, nothing_to_prepare};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const MODULE: Needed = Needed { program: "easytier_pyo3", source: Source::Python("easytier-pyo3==0.1.3") };
const PYTHON: Needed = Needed::debian("python3", "python3");
const PORT: u16 = 11_010;
/// A node, as long as it lives.
const NODE: &str = "import json, sys\nfrom easytier_pyo3 import Node\nnode = Node(json.loads(sys.argv[1]))\nnode.start()\nprint('started', flush=True)\nnode.wait()";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) static EASYTIER_RELAYED: Variant = Variant {
    name: "easytier-relayed",
    who: Who::Peer,
    layer: 3,
    crypto: "AES-128-GCM",
    route: Route::Relayed,
    needs: &[MODULE, PYTHON],
    // Its routes take some seconds to be final.
    settle: Duration::from_secs(4),
    version,
    prepare: nothing_to_prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    let path = tools.path(MODULE)?;
    let dir = path.parent().and_then(Path::to_str).context("a path that is no text")?;
    let words = format!("PYTHONPATH={dir}");
    let output = run(&["env", &words, "python3", "-c", "import easytier_pyo3; print(easytier_pyo3.version())"])?;
    super::find_version(&output.stdout).with_context(|| format!("`{}` names no version", output.stdout.trim()))
}

fn start(bed: &Bed) -> Result<()> {
    let module = bed.tools.path(MODULE)?;
    let dir = module.parent().context("INVARIANT: a module is in a directory")?;
    for host in [Host::Relay, Host::B, Host::A] {
        let program = Program::new("python3").named("easytier").env("PYTHONPATH", dir).args(["-c", NODE, &settings(host).to_string()]);
        bed.spawn(host, program)?;
        bed.wait_for("started", PATIENCE)?;
    }
    Ok(())
}

/// A relay has no device. Nobody asks servers outside for anything.
fn settings(host: Host) -> Value {
    let mut settings = json!({
        "instance_name": host.name(), "network_identity": { "network_name": "bench", "network_secret": "bench-key" }, "stun_servers": [],
        "listeners": [format!("udp://{}", host.at(PORT))],
        "flags": { "default_protocol": "udp", "dev_name": INTERFACE, "disable_p2p": true, "disable_upnp": true, "no_tun": host == Host::Relay },
    });
    if host != Host::Relay {
        settings["ipv4"] = format!("{}/24", host.inner()).into();
        settings["peer"] = json!([{ "uri": format!("udp://{}", Host::Relay.at(PORT)) }]);
    }
    settings
}
