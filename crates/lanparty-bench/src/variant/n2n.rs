//! n2n 3. Edges meet at the supernode and then talk directly, which is how it is meant to be used; where they cannot, the supernode hands
//! their packets on.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::Program;

use super::{INTERFACE, Variant, Who, nothing_to_prepare, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const EDGE: Needed = Needed { program: "edge", source: Source::Release("sid", "n2n") };
const SUPERNODE: Needed = Needed { program: "supernode", source: Source::Release("sid", "n2n") };
const PORT: u16 = 7_654;

const DIRECT: Variant = Variant {
    name: "n2n",
    who: Who::Peer,
    layer: 2,
    crypto: "AES-256-CBC",
    route: Route::Direct,
    needs: &[EDGE, SUPERNODE],
    // The edges find the direct way about a second after the first frame.
    settle: Duration::from_secs(3),
    version,
    prepare: nothing_to_prepare,
    start,
};

pub(crate) static N2N: Variant = DIRECT;
pub(super) static N2N_RELAYED: Variant = Variant { name: "n2n-relayed", route: Route::Relayed, ..DIRECT };

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, EDGE, &["-h"])
}

fn start(bed: &Bed) -> Result<()> {
    bed.spawn(Host::Relay, Program::new(bed.tools.path(SUPERNODE)?).args(["-f", "-p", &PORT.to_string()]))?;
    let supernode = Host::Relay.at(PORT).to_string();
    for host in Host::ENDS {
        let (inner, mac) = (format!("static:{}/24", host.inner()), format!("02:00:00:00:00:{:02x}", host.inner().octets()[3]));
        let community = ["-f", "-c", "bench", "-k", "bench-key", "-l", &supernode];
        bed.spawn(host, Program::new(bed.tools.path(EDGE)?).args(community).args(["-d", INTERFACE, "-a", &inner, "-m", &mac]))?;
    }
    Ok(())
}
