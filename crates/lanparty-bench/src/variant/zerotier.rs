//! ZeroTier with a controller and a root server of the bench's own: a moon, as its documentation calls it, on the relay's host.

use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};
use serde_json::{Value, json};

use super::{INTERFACE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const WHY: &str = "ZeroTier is in no registry";
const PROGRAM: Needed = Needed { program: "zerotier-one", source: Source::Nowhere(WHY) };
const IDTOOL: Needed = Needed { program: "zerotier-idtool", source: Source::Nowhere(WHY) };
const PORT: u16 = 9_993;
/// Beside the controller's address, what names its network.
const NETWORK: &str = "000001";

pub(super) static ZEROTIER: Variant = Variant {
    name: "zerotier",
    who: Who::Peer,
    layer: 2,
    crypto: "AES-GMAC-SIV",
    route: Route::Direct,
    needs: &[PROGRAM, IDTOOL],
    // Its first frames go by the root server.
    settle: Duration::from_secs(6),
    version,
    prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, PROGRAM, &["-v"])
}

fn prepare(bed: &Bed) -> Result<()> {
    for host in Host::ALL {
        bed.file(&in_home(host, "local.conf"), &settings().to_string())?;
        idtool(bed, host, "generate identity.secret identity.public")?;
    }
    let root = std::fs::read_to_string(bed.path(&in_home(Host::Relay, "identity.public"))).context("the root server's identity")?;
    let (controller, _) = root.split_once(':').context("an identity has no address")?;
    let network = format!("{controller}{NETWORK}");
    bed.file(&in_home(Host::Relay, &format!("controller.d/network/{network}.json")), &network_of(&network).to_string())?;
    let moon = make_moon(bed)?;
    for host in Host::ENDS {
        let moons = bed.path(&in_home(host, "moons.d"));
        std::fs::create_dir_all(&moons)
            .and_then(|()| std::fs::copy(&moon, moons.join(moon_name(controller))))
            .context("hand out the moon")?;
        bed.file(&in_home(host, &format!("networks.d/{network}.conf")), "")?;
        bed.file(&in_home(host, "devicemap"), &format!("{network}={INTERFACE}\n"))?;
    }
    Ok(())
}

fn start(bed: &Bed) -> Result<()> {
    for host in [Host::Relay, Host::B, Host::A] {
        bed.spawn(host, Program::new(bed.tools.path(PROGRAM)?).arg(format!("-p{PORT}")).arg(bed.path(&in_home(host, ""))))?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, None))
}

/// Nothing of it looks for the world outside.
fn settings() -> Value {
    json!({ "settings": { "portMappingEnabled": false, "allowTcpFallbackRelay": false, "softwareUpdate": "disable", "interfacePrefixBlacklist": [INTERFACE] } })
}

/// A flat Ethernet that anybody may join.
fn network_of(id: &str) -> Value {
    json!({
        "id": id, "nwid": id, "objtype": "network", "name": "bench", "private": false, "creationTime": 1, "revision": 1, "mtu": 2_800,
        "multicastLimit": 32, "enableBroadcast": true, "v4AssignMode": { "zt": false },
        "v6AssignMode": { "rfc4193": false, "zt": false, "6plane": false }, "rules": [{ "not": false, "or": false, "type": "ACTION_ACCEPT" }],
        "routes": [], "ipAssignmentPools": [], "tags": [], "capabilities": [], "authTokens": [{}], "dns": [], "ssoEnabled": false,
    })
}

/// The signed file that says where the root server is.
fn make_moon(bed: &Bed) -> Result<std::path::PathBuf> {
    let mut moon: Value =
        serde_json::from_str(&idtool(bed, Host::Relay, "initmoon identity.public")?).context("the moon of zerotier-idtool")?;
    moon["roots"][0]["stableEndpoints"] = json!([format!("{}/{PORT}", Host::Relay.outer())]);
    bed.file(&in_home(Host::Relay, "moon.json"), &moon.to_string())?;
    idtool(bed, Host::Relay, "genmoon moon.json")?;
    Ok(bed.path(&in_home(Host::Relay, &moon_name(moon["id"].as_str().context("a moon has no number")?))))
}

fn moon_name(id: &str) -> String {
    format!("{id:0>16}.moon")
}

/// Runs it in that host's directory, where it writes its files.
fn idtool(bed: &Bed, host: Host, words: &str) -> Result<String> {
    let command = format!("cd '{}' && '{}' {words}", bed.path(&in_home(host, "")).display(), bed.tools.path(IDTOOL)?.display());
    Ok(run(&["sh", "-c", &command])?.stdout)
}

fn in_home(host: Host, file: &str) -> String {
    format!("zerotier-{}/{file}", host.name())
}
