//! n2n as Debian has it. Edges meet at the supernode and then talk directly, which is how it is meant to be used.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::Program;

use super::{INTERFACE, Variant, nothing_to_prepare, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Tools};

const EDGE: Needed = Needed::debian("edge", "n2n");
const SUPERNODE: Needed = Needed::debian("supernode", "n2n");
const PORT: u16 = 7_654;

pub(crate) static N2N: Variant = Variant {
    name: "n2n",
    layer: 2,
    crypto: "Twofish",
    route: Route::Direct,
    needs: &[EDGE, SUPERNODE],
    // The edges find the direct way about a second after the first frame.
    settle: Duration::from_secs(3),
    version,
    prepare: nothing_to_prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, EDGE, &["-h"])
}

fn start(bed: &Bed) -> Result<()> {
    bed.spawn(Host::Relay, Program::new(bed.tools.path(SUPERNODE)?).args(["-l", &PORT.to_string()]))?;
    let supernode = Host::Relay.at(PORT).to_string();
    for host in Host::ENDS {
        let (inner, mac) = (host.inner().to_string(), format!("02:00:00:00:00:{:02x}", host.inner().octets()[3]));
        let community = ["-c", "bench", "-k", "bench-key", "-l", &supernode];
        let interface = ["-d", INTERFACE, "-a", &inner, "-s", "255.255.255.0", "-m", &mac];
        bed.spawn(host, Program::new(bed.tools.path(EDGE)?).args(community).args(interface))?;
    }
    Ok(())
}
