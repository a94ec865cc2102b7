//! fastd with a TAP and the MTU that its documentation advises for a path of 1500 bytes.

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};

use super::{INTERFACE, SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Tools};

const PROGRAM: Needed = Needed::debian("fastd", "fastd");
const PORT: u16 = 10_000;
const MTU: u16 = 1_426;
const METHOD: &str = "salsa2012+umac";

pub(super) static FASTD: Variant = Variant {
    name: "fastd",
    who: Who::Peer,
    layer: 2,
    crypto: METHOD,
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

fn prepare(bed: &Bed) -> Result<()> {
    let (a, b) = (Key::generate(bed, Host::A)?, Key::generate(bed, Host::B)?);
    configure(bed, Host::A, &a, &b)?;
    configure(bed, Host::B, &b, &a)
}

fn start(bed: &Bed) -> Result<()> {
    let fastd = bed.tools.path(PROGRAM)?;
    for host in [Host::B, Host::A] {
        bed.spawn(host, Program::new(&fastd).arg("-c").arg(bed.path(&config(host))))?;
    }
    Host::ENDS.iter().try_for_each(|host| bed.attach(*host, INTERFACE, None))
}

struct Key {
    secret: String,
    public: String,
}

impl Key {
    fn generate(bed: &Bed, host: Host) -> Result<Self> {
        let fastd = bed.tools.path(PROGRAM)?;
        let fastd = fastd.to_str().context("a path that is no text")?;
        let secret = run(&[fastd, "--generate-key", "--machine-readable"])?.stdout.trim().to_owned();
        let file = bed.file(&format!("fastd-{}.key", host.name()), &format!("secret \"{secret}\";\n"))?;
        let file = file.to_str().context("a path that is no text")?;
        let public = run(&[fastd, "-c", file, "--show-key", "--machine-readable"])?.stdout.trim().to_owned();
        Ok(Self { secret, public })
    }
}

fn configure(bed: &Bed, host: Host, own: &Key, peer: &Key) -> Result<()> {
    let Key { secret, .. } = own;
    let Key { public, .. } = peer;
    let (bind, remote) = (host.at(PORT), host.peer().at(PORT));
    let text = format!(
        "mode tap; interface \"{INTERFACE}\"; mtu {MTU}; bind {bind}; method \"{METHOD}\"; secret \"{secret}\"; log level info;\n\
         peer \"peer\" {{ key \"{public}\"; remote {remote}; }}\n"
    );
    bed.file(&config(host), &text).map(drop)
}

fn config(host: Host) -> String {
    format!("fastd-{}.conf", host.name())
}
