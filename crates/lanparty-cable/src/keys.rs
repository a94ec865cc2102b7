//! This host's key, and how it gets to the other one.

use std::net::IpAddr;

use lanparty_node::{CABLE_PORT, ExitCode, Fault, Identity, StateDir, StateFile, own_address};
use lanparty_proto::IdentityId;
use serde_json::json;
use tracing::warn;

use crate::CableArgs;

const IDENTITY_FILE: &str = "lanparty-cable-identity.json";

/// Loads this host's key, or makes one.
pub(crate) fn identity(args: &CableArgs) -> Result<(Identity, StateFile), Fault> {
    let path = StateDir::locate(args.state_dir.clone()).file(IDENTITY_FILE);
    let (identity, saved) = Identity::load_or_create(path, false)?;
    if let Some(why) = saved.unsaved() {
        warn!("this host's key is not saved, so the next run has another one and is refused; trying again: {why}");
    }
    Ok((identity, saved))
}

/// The other end's key, without which there is no cable.
pub(crate) fn peer(args: &CableArgs, own: IdentityId) -> Result<IdentityId, Fault> {
    let advice =
        format!("run `lanparty cable --new` on the other host, and give its key here with --peer; this host's key is {}", own.to_hex());
    match args.peer {
        None => Err(Fault::new(ExitCode::Configuration, "a cable needs the other end's key", advice)),
        Some(peer) if peer == own => Err(Fault::new(ExitCode::Configuration, "--peer is this host's own key", advice)),
        Some(peer) => Ok(peer),
    }
}

/// `--new`: prints the key and the line for the other host.
pub(crate) fn print(args: &CableArgs) -> Result<(), Fault> {
    let path = StateDir::locate(args.state_dir.clone()).file(IDENTITY_FILE);
    let (identity, saved) = Identity::load_or_create(path.clone(), false)?;
    if let Some(why) = saved.unsaved() {
        let advice = "run it as the user who will run the cable (root, often), or choose another --state-dir";
        return Err(Fault::new(ExitCode::Permission, format!("this host's key cannot be kept: {why}"), advice));
    }
    let (key, address) = (identity.id().to_hex(), own_address());
    let port = args.listen.map_or(CABLE_PORT, |addr| addr.port());
    let remote = address.map_or_else(|| "HOST".to_owned(), |address| remote(address, port));
    let line = format!("lanparty cable --peer {key} --remote {remote}");
    let text = if args.json {
        format!("{:#}\n", json!({ "key": key, "line": line, "address": address, "port": port, "file": path }))
    } else {
        let private = if address.is_some_and(is_private) { ", and forward that UDP port to it" } else { "" };
        format!(
            "{line}\n\nPaste this line on the other host, and start this end with the key that `lanparty cable --new` prints there:\n  \
             lanparty cable --peer KEY\n\
             From the internet, name this host by an address that leads here{private}. If none does, leave --remote out there and\n\
             give it here instead. The key is in {}; a cable of another user has another one.\n",
            path.display()
        )
    };
    lanparty_node::print(&text)
}

fn remote(address: IpAddr, port: u16) -> String {
    match (address, port) {
        (address, CABLE_PORT) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}

/// Whether an address leads here only from the same network.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}
