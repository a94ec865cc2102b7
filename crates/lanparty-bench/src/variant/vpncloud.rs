//! VpnCloud as a switch, from the crate registry.

use anyhow::Result;
use lanparty_lab::Program;

use super::{INTERFACE, SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const PROGRAM: Needed = Needed { program: "vpncloud", source: Source::Crate("vpncloud@2.3.0") };
const PORT: u16 = 3_210;

pub(super) static VPNCLOUD: Variant = Variant {
    name: "vpncloud",
    who: Who::Peer,
    layer: 2,
    crypto: "AES-128-GCM",
    route: Route::Direct,
    needs: &[PROGRAM],
    settle: SETTLE,
    version,
    prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, PROGRAM, &["--version"])
}

/// It finds its own address by asking for the default route.
fn prepare(bed: &Bed) -> Result<()> {
    Host::ENDS.iter().try_for_each(|host| bed.host(*host).ip(&format!("route add default via {}", Host::Relay.outer())).map(drop))
}

fn start(bed: &Bed) -> Result<()> {
    for host in [Host::B, Host::A] {
        let (listen, peer) = (host.at(PORT).to_string(), host.peer().at(PORT).to_string());
        let program = Program::new(bed.tools.path(PROGRAM)?)
            .args(["-t", "tap", "-m", "switch", "-d", INTERFACE, "-p", "bench-key", "-l", &listen, "-c", &peer])
            .args(["--no-port-forwarding", "--algorithm", "aes128"]);
        bed.spawn(host, program)?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, None))
}
