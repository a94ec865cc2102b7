//! n3n, n2n's successor. Edges meet at the supernode and then talk directly; where they cannot, the supernode hands their packets on.

use std::time::Duration;

use anyhow::Result;
use lanparty_lab::Program;

use super::{INTERFACE, Variant, Who, nothing_to_prepare, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const EDGE: Needed = Needed { program: "n3n-edge", source: Source::Nowhere("n3n is in no registry yet") };
const SUPERNODE: Needed = Needed { program: "n3n-supernode", source: Source::Nowhere("n3n is in no registry yet") };
const PORT: u16 = 7_654;

const DIRECT: Variant = Variant {
    name: "n3n",
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

pub(super) static N3N: Variant = DIRECT;
pub(super) static N3N_RELAYED: Variant = Variant { name: "n3n-relayed", route: Route::Relayed, ..DIRECT };

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, EDGE, &["help", "version"])
}

fn start(bed: &Bed) -> Result<()> {
    let bind = format!("connection.bind={PORT}");
    bed.spawn(Host::Relay, Program::new(bed.tools.path(SUPERNODE)?).args(["-O", &bind, "start", &session(Host::Relay)]))?;
    for host in Host::ENDS {
        let settings = [
            format!("community.supernode={}", Host::Relay.at(PORT)),
            "community.name=bench".to_owned(),
            "community.key=bench-key".to_owned(),
            format!("tuntap.name={INTERFACE}"),
            "tuntap.address_mode=static".to_owned(),
            format!("tuntap.address={}/24", host.inner()),
            format!("tuntap.macaddr=02:00:00:00:00:{:02x}", host.inner().octets()[3]),
        ];
        let words = settings.iter().flat_map(|setting| ["-O", setting]);
        bed.spawn(host, Program::new(bed.tools.path(EDGE)?).args(words).args(["start", &session(host)]))?;
    }
    Ok(())
}

/// Names its socket in the file system, which all hosts share.
fn session(host: Host) -> String {
    format!("bench-{}", host.name())
}
