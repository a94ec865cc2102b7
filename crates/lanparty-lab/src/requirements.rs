//! What a lab needs of the machine, said in words when it is missing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

use crate::command::{run, run_any};

/// Set to `required` where a missing requirement must fail the tests instead of skipping them (CI).
pub const LAB_VARIABLE: &str = "LANPARTY_LAB";

/// Tells the attempts of one process's threads apart.
static TRIES: AtomicU32 = AtomicU32::new(0);

/// Programs that a test can ask for, and the Debian package that brings each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// `ip`, `bridge`: everything.
    Iproute,
    /// `ethtool`: switches offloads off.
    Ethtool,
    /// `chrt`: real-time priority for a program, [`Program::fifo`](crate::Program::fifo).
    Chrt,
    /// `nft`: NATs and firewalls.
    Nft,
    /// `ping`.
    Ping,
    /// `dhclient`.
    Dhclient,
    /// `dnsmasq`, the LAN's DHCP server.
    Dnsmasq,
    /// `avahi-daemon`, by which Linux machines find names of the LAN.
    Avahi,
    /// `avahi-resolve` and `avahi-browse`.
    AvahiResolve,
    /// `dbus-daemon`, by which Avahi is asked.
    Dbus,
    /// `busybox`, whose udhcpc consoles and routers have.
    Busybox,
    /// `teeworlds-server`, a game that is found by broadcast.
    GameServer,
    /// `iperf3`.
    Iperf,
    /// `conntrack`, to forget a NAT's mappings.
    Conntrack,
    /// `nginx`, an ordinary reverse proxy.
    Nginx,
    /// `tinyproxy`, an HTTP proxy.
    Tinyproxy,
    /// `miniupnpd`, which opens a home router's ports when it is asked to.
    Miniupnpd,
}

impl Tool {
    /// All there are.
    const ALL: [Self; 17] = [
        Self::Iproute,
        Self::Ethtool,
        Self::Chrt,
        Self::Nft,
        Self::Ping,
        Self::Dhclient,
        Self::Dnsmasq,
        Self::Avahi,
        Self::AvahiResolve,
        Self::Dbus,
        Self::Busybox,
        Self::GameServer,
        Self::Iperf,
        Self::Conntrack,
        Self::Nginx,
        Self::Tinyproxy,
        Self::Miniupnpd,
    ];

    const fn program_and_package(self) -> (&'static str, &'static str) {
        match self {
            Self::Iproute => ("ip", "iproute2"),
            Self::Ethtool => ("ethtool", "ethtool"),
            Self::Chrt => ("chrt", "util-linux"),
            Self::Nft => ("nft", "nftables"),
            Self::Ping => ("ping", "iputils-ping"),
            Self::Dhclient => ("dhclient", "isc-dhcp-client"),
            Self::Dnsmasq => ("dnsmasq", "dnsmasq-base"),
            Self::Avahi => ("avahi-daemon", "avahi-daemon"),
            Self::AvahiResolve => ("avahi-resolve", "avahi-utils"),
            Self::Dbus => ("dbus-daemon", "dbus"),
            Self::Busybox => ("busybox", "busybox"),
            Self::GameServer => ("teeworlds-server", "teeworlds-server"),
            Self::Iperf => ("iperf3", "iperf3"),
            Self::Conntrack => ("conntrack", "conntrack"),
            Self::Nginx => ("nginx", "nginx-light"),
            Self::Miniupnpd => ("miniupnpd", "miniupnpd-nftables"),
            Self::Tinyproxy => ("tinyproxy", "tinyproxy-bin"),
        }
    }
}

/// What one test, the demo or the bench needs.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    tools: BTreeSet<Tool>,
}

impl Requirements {
    /// Namespaces, TAPs and wires.
    pub fn wires() -> Self {
        Self { tools: [Tool::Iproute, Tool::Ethtool, Tool::Ping].into() }
    }

    /// A LAN party: DHCP server, DHCP client, game server.
    pub fn party() -> Self {
        Self::wires().and(&[Tool::Dhclient, Tool::Dnsmasq, Tool::GameServer])
    }

    /// Everything that any test asks for.
    pub fn everything() -> Self {
        Self { tools: Tool::ALL.into() }
    }

    /// These and more.
    pub fn and(mut self, tools: &[Tool]) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Checks the machine. Creating a namespace is tried, not guessed at from the user id: root in a container may lack the right.
    pub fn ready(&self) -> Result<(), Missing> {
        let packages = self.packages_missing();
        let mut reasons: Vec<String> = packages.iter().map(|(program, package)| format!("{program} (Debian: {package})")).collect();
        if !packages.iter().any(|(program, _)| *program == "ip") {
            reasons.extend(namespace_trouble());
        }
        reasons.extend(tap_trouble());
        if reasons.is_empty() { Ok(()) } else { Err(Missing { reasons }) }
    }

    /// For the first line of a test: true when the lab can run. Else prints `skipped: reason`, and panics where the lab is required.
    pub fn ready_or_skip(&self) -> bool {
        let Err(missing) = self.ready() else { return true };
        let required = std::env::var(LAB_VARIABLE).is_ok_and(|value| value == "required");
        assert!(!required, "the lab is required ({LAB_VARIABLE}=required), but {missing}");
        eprintln!("skipped: {missing}");
        false
    }

    /// Installs missing programs with apt, when this is Debian (or a child of it) and we are root. Says in words why it cannot.
    pub fn install_missing(&self) -> Result<()> {
        let packages: BTreeSet<_> = self.packages_missing().into_iter().map(|(_, package)| package).collect();
        if packages.is_empty() {
            return Ok(());
        }
        let list = packages.iter().copied().collect::<Vec<_>>().join(" ");
        if find_program("apt-get").is_none() {
            bail!("this is not Debian or a child of it (no apt-get): please install what Debian calls {list}");
        }
        if !rustix::process::geteuid().is_root() {
            bail!("installing needs root: please run `sudo apt-get install -y {list}`");
        }
        let env = ["env", "DEBIAN_FRONTEND=noninteractive"];
        // A game server that Debian would start as a service has no business on the machine itself: the lab starts its own, in a namespace.
        let install = ["RUNLEVEL=1", "apt-get", "install", "-y", "--no-install-recommends"];
        let words: Vec<&str> = env.into_iter().chain(install).chain(packages.iter().copied()).collect();
        if run_any(&words)?.status.success() {
            return Ok(());
        }
        run(&["apt-get", "update", "-q"])?;
        run(&words).map(drop)
    }

    fn packages_missing(&self) -> Vec<(&'static str, &'static str)> {
        self.tools.iter().map(|tool| tool.program_and_package()).filter(|(program, _)| find_program(program).is_none()).collect()
    }
}

/// Why the lab cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    /// One phrase per thing that is missing.
    pub reasons: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine lacks {}", self.reasons.join(", "))
    }
}

/// Where a program is, on [`tools_path`].
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&tools_path()).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// `PATH`, and where Debian puts games and what only root uses: every command of the lab is looked for here.
pub(crate) fn tools_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin:/usr/games");
    path
}

fn namespace_trouble() -> Option<String> {
    let name = format!("lp{}-{}-try", std::process::id(), TRIES.fetch_add(1, Ordering::Relaxed));
    let made = run(&["ip", "netns", "add", &name]);
    let _ = run_any(&["ip", "netns", "del", &name]);
    made.err().map(|error| format!("the right to make network namespaces ({error}); root, or `unshare -Urnm` with a tmpfs on /run, has it"))
}

fn tap_trouble() -> Option<String> {
    let device = Path::new("/dev/net/tun");
    let opened = fs::OpenOptions::new().read(true).write(true).open(device);
    opened.err().map(|error| format!("{} ({error}; `modprobe tun` may help)", device.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_one_line() {
        let missing = Missing { reasons: vec!["ip (Debian: iproute2)".into(), "/dev/net/tun (no such device)".into()] };
        assert_eq!(missing.to_string(), "this machine lacks ip (Debian: iproute2), /dev/net/tun (no such device)");
    }

    #[test]
    fn a_program_nobody_has_is_not_found() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
