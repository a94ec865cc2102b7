//! What the lab needs of this machine: installed when we are root, asked for in words when we are not.

use anyhow::Result;
#[cfg(target_os = "linux")]
use lanparty_lab::{Requirements, Tool};

#[cfg(target_os = "linux")]
use crate::report::say;

/// Makes the lab of the tests possible, with everything that any of them asks for.
#[cfg(target_os = "linux")]
pub(crate) fn prepare_lab(task: &str) -> Result<()> {
    prepare(&Requirements::party().and(&[Tool::Nft, Tool::Iperf, Tool::Conntrack]), task)
}

/// Makes the LAN party of the demo possible.
#[cfg(target_os = "linux")]
pub(crate) fn prepare_party(task: &str) -> Result<()> {
    prepare(&Requirements::party(), task)
}

#[cfg(target_os = "linux")]
fn prepare(requirements: &Requirements, task: &str) -> Result<()> {
    let Err(missing) = requirements.ready() else { return Ok(()) };
    say(&format!("==> preparing this machine: {missing}"));
    if let Err(error) = requirements.install_missing() {
        anyhow::bail!("{error:#}");
    }
    requirements.ready().map_err(|missing| anyhow::anyhow!("{missing}{}", advice(task)))
}

/// How to get what no package brings. A user namespace would give the namespaces and TAPs, but not the real-time priority of the wires.
#[cfg(target_os = "linux")]
fn advice(task: &str) -> String {
    if running_as_root() {
        return "\n  this root may not make network namespaces: in a container, give it CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_NICE and /dev/net/tun".into();
    }
    format!("\n  the lab needs root (a user namespace lacks real-time priority); run: sudo env \"PATH=$PATH\" cargo xtask {task}")
}

#[cfg(target_os = "linux")]
fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The lab is made of Linux' network namespaces.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare_lab(task: &str) -> Result<()> {
    anyhow::bail!("`cargo xtask {task}` needs Linux: the lab is made of its network namespaces")
}

/// The demo, too.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prepare_party(task: &str) -> Result<()> {
    prepare_lab(task)
}
