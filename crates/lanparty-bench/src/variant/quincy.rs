//! quincy, a VPN over QUIC datagrams in Rust, from the crate registry. It carries IP only. Keys by Noise, and the settings of its examples.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};

use super::{SETTLE, Variant, Who};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Source, Tools};

const VERSION: &str = "3.1.1";
const SERVER: Needed = Needed { program: "quincy-server", source: Source::Crate("quincy-server@3.1.1") };
const CLIENT: Needed = Needed { program: "quincy-client", source: Source::Crate("quincy-client@3.1.1") };
const IDENTITY: Needed = Needed { program: "quincy-identity", source: Source::Crate("quincy-identity@3.1.1") };
const PORT: u16 = 55_555;
const MTU: u16 = 1_400;
/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) static QUINCY: Variant = Variant {
    name: "quincy",
    who: Who::Peer,
    layer: 3,
    crypto: "ChaCha20-Poly1305",
    route: Route::Direct,
    needs: &[SERVER, CLIENT, IDENTITY],
    settle: SETTLE,
    version,
    prepare,
    start,
};

/// Its programs do not tell.
fn version(_: &Tools) -> Result<String> {
    Ok(VERSION.to_owned())
}

/// B is the server: its clients get the addresses beside its own, so that A has the first.
fn prepare(bed: &Bed) -> Result<()> {
    let (a, b) = (Key::generate(bed, Host::A)?, Key::generate(bed, Host::B)?);
    let users = bed.file("quincy-users.toml", &format!("[users.a]\nauthorized_keys = [\"{}\"]\nauthorized_certs = []\n", a.public))?;
    let noise = "[protocol]\nmode = \"noise\"\nkey_exchange = \"standard\"\nprivate_key";
    let rest = format!("[connection]\nmtu = {MTU}\n");
    let server = format!(
        "name = \"tun0\"\ntunnel_network = \"{}/24\"\nusers_file = \"{}\"\nbind_address = \"{}\"\nbind_port = {PORT}\n\
         {noise} = \"{}\"\n{rest}[log]\nlevel = \"info\"\n",
        Host::B.inner(),
        users.display(),
        Host::B.outer(),
        b.secret,
    );
    let client = format!(
        "connection_string = \"{}\"\n{noise} = \"{}\"\nserver_public_key = \"{}\"\n{rest}[network]\nroutes = []\ndns_servers = []\n\
         [log]\nlevel = \"info\"\n",
        Host::B.at(PORT),
        a.secret,
        b.public,
    );
    bed.file(SERVER_FILE, &server)?;
    bed.file(CLIENT_FILE, &client).map(drop)
}

const SERVER_FILE: &str = "quincy-server.toml";
const CLIENT_FILE: &str = "quincy-client.toml";

/// The interfaces and their addresses are its own work.
fn start(bed: &Bed) -> Result<()> {
    bed.spawn(Host::B, Program::new(bed.tools.path(SERVER)?).arg("--config-path").arg(bed.path(SERVER_FILE)))?;
    bed.wait_for("Starting", PATIENCE)?;
    bed.spawn(Host::A, Program::new(bed.tools.path(CLIENT)?).arg("--config-path").arg(bed.path(CLIENT_FILE)))
}

struct Key {
    secret: String,
    public: String,
}

impl Key {
    fn generate(bed: &Bed, host: Host) -> Result<Self> {
        let identity = bed.tools.path(IDENTITY)?;
        let identity = identity.to_str().context("a path that is no text")?;
        let secret = run(&[identity, "noise", "genkey"])?.stdout.trim().to_owned();
        let file = bed.file(&format!("quincy-{}.key", host.name()), &secret)?;
        let public = piped(identity, &file)?;
        Ok(Self { secret, public })
    }
}

/// The public key of the secret one in a file.
fn piped(identity: &str, file: &Path) -> Result<String> {
    let command = format!("'{identity}' noise pubkey < '{}'", file.display());
    Ok(run(&["sh", "-c", &command])?.stdout.trim().to_owned())
}
