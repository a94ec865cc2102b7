//! OpenVPN with a TAP over UDP, peers known by fingerprint. The kernel's data channel offload does not do TAPs.

use anyhow::{Context, Result};
use lanparty_lab::{Program, run};

use super::{INTERFACE, SETTLE, Variant, Who, printed_version};
use crate::bed::{Bed, Host, Route};
use crate::tools::{Needed, Tools};

const PROGRAM: Needed = Needed::debian("openvpn", "openvpn");
const OPENSSL: Needed = Needed::debian("openssl", "openssl");
const PORT: &str = "1194";

pub(super) static OPENVPN: Variant = Variant {
    name: "openvpn-tap",
    who: Who::Peer,
    layer: 2,
    crypto: "AES-256-GCM",
    route: Route::Direct,
    needs: &[PROGRAM, OPENSSL],
    settle: SETTLE,
    version,
    prepare,
    start,
};

fn version(tools: &Tools) -> Result<String> {
    printed_version(tools, PROGRAM, &["--version"])
}

/// A certificate per end, and its fingerprint for the other.
fn prepare(bed: &Bed) -> Result<()> {
    for host in Host::ENDS {
        let (key, certificate) = (text(bed, host, "key")?, text(bed, host, "crt")?);
        let subject = format!("/CN={}", host.name());
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9"];
        let files = ["-keyout", &key, "-out", &certificate, "-subj", &subject];
        run(&[&["openssl", "req", "-x509"], &curve[..], &files[..]].concat())?;
        let printed = run(&["openssl", "x509", "-in", &certificate, "-noout", "-fingerprint", "-sha256"])?.stdout;
        let fingerprint = printed.split_once('=').context("the fingerprint of openssl")?.1.trim();
        bed.file(&file(host, "fingerprint"), fingerprint)?;
    }
    Ok(())
}

fn start(bed: &Bed) -> Result<()> {
    for host in [Host::B, Host::A] {
        let path = bed.path(&file(host.peer(), "fingerprint"));
        let fingerprint = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (local, remote, inner) = (host.outer().to_string(), host.peer().outer().to_string(), host.inner().to_string());
        let role: &[&str] = if host == Host::B { &["--tls-server", "--dh", "none"] } else { &["--tls-client"] };
        let (key, certificate) = (text(bed, host, "key")?, text(bed, host, "crt")?);
        let program = Program::new(bed.tools.path(PROGRAM)?)
            .args(["--dev", INTERFACE, "--dev-type", "tap", "--ifconfig", &inner, "255.255.255.0"])
            .args(["--proto", "udp", "--local", &local, "--remote", &remote, "--port", PORT])
            .args(role)
            .args(["--cert", &certificate, "--key", &key, "--peer-fingerprint", &fingerprint])
            .args(["--data-ciphers", "AES-256-GCM", "--verb", "3"]);
        bed.spawn(host, program)?;
    }
    Ok(())
}

fn file(host: Host, kind: &str) -> String {
    format!("openvpn-{}.{kind}", host.name())
}

fn text(bed: &Bed, host: Host, kind: &str) -> Result<String> {
    bed.path(&file(host, kind)).into_os_string().into_string().ok().context("a path that is no text")
}
