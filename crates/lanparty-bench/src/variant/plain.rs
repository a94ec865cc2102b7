//! The yardstick: a TAP and a UDP socket, one read and one sendto per frame, no encryption. Directly, and by a plain relay.

use anyhow::Result;
use lanparty_lab::Program;

use super::{INTERFACE, SETTLE, Variant, Who, nothing_to_prepare};
use crate::bed::{Bed, Host, Route};
use crate::tools::Tools;

const PORT: u16 = 7_000;
/// An outer packet is the frame and 28 bytes of IP and UDP.
const MTU: u16 = 1_450;

pub(crate) static PLAIN: Variant = variant("plain", Route::Direct, start_direct);
pub(crate) static PLAIN_RELAYED: Variant = variant("plain-relayed", Route::Relayed, start_relayed);

const fn variant(name: &'static str, route: Route, start: fn(&Bed) -> Result<()>) -> Variant {
    Variant {
        name,
        who: Who::Yardstick,
        layer: 2,
        crypto: "none",
        route,
        needs: &[],
        settle: SETTLE,
        version,
        prepare: nothing_to_prepare,
        start,
    }
}

fn version(_: &Tools) -> Result<String> {
    Ok(env!("CARGO_PKG_VERSION").to_owned())
}

fn start_direct(bed: &Bed) -> Result<()> {
    start_ends(bed, Host::peer)
}

fn start_relayed(bed: &Bed) -> Result<()> {
    let members = Host::ENDS.map(|host| host.at(PORT).to_string()).join(",");
    let words = ["udp-relay", "--listen", &Host::Relay.at(PORT).to_string(), "--members", &members];
    bed.spawn(Host::Relay, Program::new(&bed.tools.bench).args(words))?;
    start_ends(bed, |_| Host::Relay)
}

fn start_ends(bed: &Bed, far: impl Fn(Host) -> Host) -> Result<()> {
    for host in Host::ENDS {
        let (listen, peer) = (host.at(PORT).to_string(), far(host).at(PORT).to_string());
        let words = ["forward", "--tap", INTERFACE, "--listen", &listen, "--peer", &peer];
        bed.spawn(host, Program::new(&bed.tools.bench).args(words))?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, Some(MTU)))
}
