//! The test bed of one measurement: two hosts and a third between them, and the tunnel's processes.
//!
//! ```text
//! [a] eth0 10.99.0.1 --\
//! [b] eth0 10.99.0.2 ---- switch, MTU 1500
//! [r] eth0 10.99.0.3 --/
//! ```
//! A tunnel's inner addresses are 10.77.0.1 (a) and 10.77.0.2 (b). Everything is gone when the bed is.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lanparty_lab::{End, Lab, LabWire, Namespace, Proc, Program, Switch, Uplink, Verdict, address, switch_offloads_off};
use rustix::net::netdevice::name_to_index;
use serde::Serialize;

use crate::tools::Tools;

/// The interface on the outer network.
pub(crate) const UPLINK: &str = "eth0";
/// How long a tunnel may take to make its interface.
const INTERFACE_PATIENCE: Duration = Duration::from_secs(15);
const INTERFACE_POLL: Duration = Duration::from_millis(2);
/// How long a process may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A host of the bed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Host {
    /// Sends.
    A,
    /// Receives.
    B,
    /// Stands between them.
    Relay,
}

impl Host {
    /// The two ends of a tunnel.
    pub(crate) const ENDS: [Self; 2] = [Self::A, Self::B];
    /// Those and the relay.
    pub(crate) const ALL: [Self; 3] = [Self::A, Self::B, Self::Relay];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Relay => "r",
        }
    }

    /// The other end. A relay has none.
    pub(crate) const fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
            Self::Relay => Self::Relay,
        }
    }

    /// Its address on the network that tunnels run over.
    pub(crate) const fn outer(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number())
    }

    /// Its address inside the tunnel.
    pub(crate) const fn inner(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number())
    }

    /// A socket address on the outer network.
    pub(crate) const fn at(self, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(self.outer()), port)
    }

    const fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// Whether the two ends reach each other without the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// They do.
    Direct,
    /// Only the relay reaches both.
    Relayed,
}

/// Two hosts, a relay, and what runs on them.
pub(crate) struct Bed {
    // Processes go before the namespaces they run in.
    running: Mutex<Vec<(Host, Proc)>>,
    started: OnceLock<Instant>,
    /// The uplinks, where they are wires.
    wires: Vec<LabWire>,
    hosts: [Namespace; 3],
    switch: Switch,
    lab: Lab,
    pub(crate) tools: Tools,
}

impl Bed {
    /// Builds the network. Every host has spoken with every other before the route between the ends is closed.
    pub(crate) fn new(name: &str, route: Route, uplinks: &Uplink, tools: &Tools) -> Result<Self> {
        let lab = Lab::new(&format!("bench-{name}"))?;
        let switch = Switch::new(lab.namespace("i")?)?;
        let hosts = [lab.namespace("a")?, lab.namespace("b")?, lab.namespace("r")?];
        let mut wires = vec![];
        for (host, namespace) in Host::ALL.iter().zip(&hosts) {
            let (uplink, port) = (End::new(namespace, UPLINK), port(*host));
            match uplinks {
                Uplink::Cable(offloads) => switch.plug(uplink, &port, *offloads)?,
                Uplink::Wire(character) => {
                    wires.push(lab.labwire(uplink, End::new(switch.host(), &port), character)?);
                    switch.join(&port)?;
                }
            }
            address(uplink, &format!("{}/24", host.outer()))?;
        }
        let bed = Self { running: Mutex::default(), started: OnceLock::new(), wires, hosts, switch, lab, tools: tools.clone() };
        for (from, to) in [(Host::A, Host::B), (Host::A, Host::Relay), (Host::B, Host::Relay)] {
            bed.host(from).run(&["ping", "-n", "-c", "1", "-W", "2", &to.outer().to_string()])?;
        }
        if route == Route::Relayed {
            for host in Host::ENDS {
                bed.host(host).ip(&format!("route add blackhole {}/32", host.peer().outer()))?;
            }
        }
        Ok(bed)
    }

    pub(crate) fn host(&self, host: Host) -> &Namespace {
        &self.hosts[host as usize]
    }

    /// The machine that every packet between hosts crosses.
    pub(crate) fn switch(&self) -> &Namespace {
        self.switch.host()
    }

    /// Writes a file that only root reads, as keys must be; `name` may contain directories.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let dir = path.parent().context("INVARIANT: the file has a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(|| format!("protect {}", path.display()))?;
        Ok(path)
    }

    /// Where [`Bed::file`] puts a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    /// Starts a process of the tunnel: the first one starts the clock, and all are accounted for.
    pub(crate) fn spawn(&self, host: Host, program: Program) -> Result<()> {
        self.start_clock();
        let proc = self.host(host).spawn(program)?;
        lock(&self.running).push((host, proc));
        Ok(())
    }

    /// Waits for a line of the process started last.
    pub(crate) fn wait_for(&self, needle: &str, timeout: Duration) -> Result<()> {
        let running = lock(&self.running);
        let (_, proc) = running.last().context("INVARIANT: a process was started before")?;
        proc.wait_for(needle, timeout).map(drop)
    }

    /// Says that the tunnel starts now, where no process does.
    pub(crate) fn start_clock(&self) {
        self.started.get_or_init(Instant::now);
    }

    /// When the first process started.
    pub(crate) fn started(&self) -> Option<Instant> {
        self.started.get().copied()
    }

    /// Gives an interface its inner address as soon as the tunnel has made it.
    pub(crate) fn address(&self, host: Host, interface: &str) -> Result<()> {
        self.wait_for_interface(host, interface)?;
        self.host(host).ip(&format!("addr replace {}/24 dev {interface}", host.inner())).map(drop)
    }

    /// Gives an interface its inner address and takes it up, with an MTU where the tunnel needs to be told.
    pub(crate) fn attach(&self, host: Host, interface: &str, mtu: Option<u16>) -> Result<()> {
        self.address(host, interface)?;
        let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        self.host(host).ip(&format!("link set dev {interface}{mtu} up")).map(drop)
    }

    fn wait_for_interface(&self, host: Host, interface: &str) -> Result<()> {
        let deadline = Instant::now() + INTERFACE_PATIENCE;
        let found = self.host(host).enter(|| -> Result<bool> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("open a socket")?;
            while name_to_index(&socket, interface).is_err() {
                if Instant::now() > deadline || self.ended().is_some() {
                    return Ok(false);
                }
                thread::sleep(INTERFACE_POLL);
            }
            Ok(true)
        })??;
        if !found {
            let why = self.ended().unwrap_or_else(|| lock(&self.running).iter().map(|(_, proc)| proc.tail()).collect());
            bail!("{interface} did not appear on host {}{why}", host.name());
        }
        Ok(())
    }

    /// The last words of a tunnel process that has ended, if one has.
    pub(crate) fn ended(&self) -> Option<String> {
        let running = lock(&self.running);
        let ended = running.iter().find(|(_, proc)| !proc.running());
        ended.map(|(host, proc)| format!(": {} ended on host {}{}", proc.name(), host.name(), proc.tail()))
    }

    /// The tunnel's processes.
    pub(crate) fn processes(&self) -> Vec<(Host, u32)> {
        lock(&self.running).iter().map(|(host, proc)| (*host, proc.pid())).collect()
    }

    /// The MTU of the interface that has the inner address.
    pub(crate) fn mtu(&self, host: Host) -> Result<u64> {
        let links = self.host(host).ip("-j addr show")?.stdout;
        let links: Vec<serde_json::Value> = serde_json::from_str(&links).context("the answer of `ip -j addr`")?;
        let inner = host.inner().to_string();
        let has_inner = |link: &&serde_json::Value| {
            link["addr_info"].as_array().is_some_and(|addresses| addresses.iter().any(|address| address["local"] == inner.as_str()))
        };
        links.iter().find(has_inner).and_then(|link| link["mtu"].as_u64()).with_context(|| format!("no interface has {inner}"))
    }

    /// Makes cables of the kernel carry each packet alone from now on, as real wires do; there is no way back.
    pub(crate) fn switch_offloads_off(&self) -> Result<()> {
        for host in Host::ALL {
            switch_offloads_off(End::new(self.host(host), UPLINK))?;
            switch_offloads_off(End::new(self.switch(), &port(host)))?;
        }
        Ok(())
    }

    /// Measures the wires' lateness anew.
    pub(crate) fn forget_lateness(&self) -> Result<()> {
        self.wires.iter().try_for_each(LabWire::forget_lateness)
    }

    /// Whether each wire was served in time since then.
    pub(crate) fn verdicts(&self) -> Result<Vec<Verdict>> {
        self.wires.iter().map(LabWire::verdict).collect()
    }

    /// Asks the tunnel to end, so that it may remove what it keeps outside the namespaces; the rest is the lab's.
    pub(crate) fn end(self) {
        let running = std::mem::take(&mut *lock(&self.running));
        for (_, proc) in &running {
            proc.sigterm();
        }
        let deadline = Instant::now() + END_PATIENCE;
        for (_, proc) in &running {
            // Who does not listen is killed when `running` is dropped.
            let _ = proc.exit_code(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

/// The switch's end of a host's cable.
fn port(host: Host) -> String {
    format!("to-{}", host.name())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_the_addresses_of_the_drawing() {
        assert_eq!(Host::A.outer().to_string(), "10.99.0.1");
        assert_eq!(Host::Relay.at(7).to_string(), "10.99.0.3:7");
        assert_eq!(Host::B.inner().to_string(), "10.77.0.2");
        assert_eq!(Host::A.peer(), Host::B);
    }
}
