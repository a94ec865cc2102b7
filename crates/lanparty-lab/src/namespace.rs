//! One machine of the lab: a network namespace with its own interfaces, addresses, routes and processes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use anyhow::{Context, Result, anyhow};
use lanparty_nic::realtime::enter_netns;

use crate::command::{Output, run, run_any};
use crate::process::{self, Proc, Program, lock};

/// Every process of a lab carries this variable; its value is the lab's prefix. The lab kills nothing that does not carry it.
pub(crate) const OWNER_VARIABLE: &str = "LANPARTY_LAB_OWNER";

/// How a namespace behaves before anyone touches it.
#[derive(Debug, Clone)]
pub struct NamespaceOptions {
    /// IPv6 stays switched on, but no interface makes itself a link-local address or listens to router advertisements,
    /// so that a test sees only the frames it caused. Default: true.
    pub ipv6_quiet: bool,
    /// TCP congestion control of its sockets. Default: cubic, what most machines at a LAN party use; the kernel's own default when absent.
    pub congestion_control: String,
    /// The name server its programs ask. Default: none, so that a look-up fails at once instead of waiting for one outside the lab.
    pub nameserver: Option<Ipv4Addr>,
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        Self { ipv6_quiet: true, congestion_control: "cubic".into(), nameserver: None }
    }
}

/// A namespace of a [`Lab`](crate::Lab). Cheap to clone; the lab deletes it.
#[derive(Debug, Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: String,
    netns: String,
    owner: String,
    dir: PathBuf,
    procs: Mutex<Vec<Weak<process::Shared>>>,
    spawned: Mutex<usize>,
}

impl Namespace {
    /// Creates the namespace `netns`; `host` is what the test calls it, `dir` is where its logs go.
    pub(crate) fn create(owner: &str, host: &str, dir: &Path, options: &NamespaceOptions) -> Result<Self> {
        let netns = format!("{owner}-{host}");
        run(&["ip", "netns", "add", &netns])?;
        write_resolv_conf(&netns, options.nameserver);
        let inner =
            Inner { host: host.into(), netns, owner: owner.into(), dir: dir.into(), procs: Mutex::default(), spawned: Mutex::default() };
        let namespace = Self { inner: Arc::new(inner) };
        namespace.ip("link set dev lo up")?;
        if options.ipv6_quiet {
            for (key, value) in [("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")] {
                namespace.sysctl(&format!("net/ipv6/conf/default/{key}"), value)?;
            }
        }
        // A kernel without this algorithm keeps its own default.
        let _ = namespace.sysctl("net/ipv4/tcp_congestion_control", &options.congestion_control);
        Ok(namespace)
    }

    /// What the test calls it: `relay`, `pc1`.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Its name for `ip netns`.
    pub fn netns(&self) -> &str {
        &self.inner.netns
    }

    /// Where logs and files of this host go; deleted with the lab.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Starts a program that runs on.
    pub fn spawn(&self, program: Program) -> Result<Proc> {
        let number = {
            let mut spawned = lock(&self.inner.spawned);
            *spawned += 1;
            *spawned
        };
        let log = self.inner.dir.join(format!("{}-{number}-{}.log", self.host(), program.name));
        let program = program.env(OWNER_VARIABLE, &self.inner.owner);
        let proc = Proc::spawn(&program, self.netns(), log).with_context(|| format!("on host {}", self.host()))?;
        lock(&self.inner.procs).push(Arc::downgrade(&proc.shared()));
        Ok(proc)
    }

    /// Runs a command to its end; it must succeed.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.run_any(argv)?.success()
    }

    /// Runs a command to its end, whatever its exit code.
    pub fn run_any(&self, argv: &[&str]) -> Result<Output> {
        let mut words = vec!["ip", "netns", "exec", self.netns()];
        words.extend(argv);
        run_any(&words)
    }

    /// `ip` inside this namespace, its arguments separated by blanks: `ns.ip("addr add 10.0.0.1/24 dev eth0")`.
    pub fn ip(&self, args: &str) -> Result<Output> {
        let mut words = vec!["ip", "-n", self.netns()];
        words.extend(args.split_whitespace());
        run(&words)
    }

    /// Writes a network setting of this namespace; `key` is its path below `/proc/sys`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        anyhow::ensure!(key.starts_with("net/"), "{path} is not a setting of a network namespace");
        self.enter(|| std::fs::write(&path, value))?.with_context(|| format!("write {value} to {path} of host {}", self.host()))
    }

    /// Calls `work` on a thread that stands in this namespace: sockets it opens belong to this host.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = Path::new("/run/netns").join(self.netns());
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter_netns(&path).with_context(|| format!("enter {}", path.display()))?;
                Ok(work())
            });
            thread.join().map_err(|_| anyhow!("the work inside host {} panicked", self.host()))?
        })
    }

    /// The MAC address of an interface, as `aa:bb:cc:dd:ee:ff`.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let links = self.ip(&format!("-j link show dev {interface}"))?;
        let links: Vec<serde_json::Value> = serde_json::from_str(&links.stdout).context("the answer of `ip -j link`")?;
        let mac = links.first().and_then(|link| link["address"].as_str());
        Ok(mac.with_context(|| format!("{interface} of {} has no MAC address", self.host()))?.to_owned())
    }

    /// The first IPv4 address of an interface, if it has one.
    pub fn ipv4(&self, interface: &str) -> Result<Option<Ipv4Addr>> {
        let links = self.ip(&format!("-j -4 addr show dev {interface}"))?;
        let links: Vec<serde_json::Value> = serde_json::from_str(&links.stdout).context("the answer of `ip -j addr`")?;
        let address = links.first().and_then(|link| link["addr_info"][0]["local"].as_str());
        address.map(|address| address.parse().with_context(|| format!("the address {address}"))).transpose()
    }

    /// Takes an interface's link up or down.
    pub fn link_up(&self, interface: &str, up: bool) -> Result<()> {
        self.ip(&format!("link set dev {interface} {}", if up { "up" } else { "down" })).map(drop)
    }

    /// Kills what was started here and is still running.
    pub(crate) fn kill_all(&self) {
        for proc in lock(&self.inner.procs).drain(..).filter_map(|proc| proc.upgrade()) {
            proc.kill();
        }
    }
}

/// Where `ip netns exec` takes the namespace's own files of `/etc` from.
pub(crate) fn etc_dir(netns: &str) -> PathBuf {
    Path::new("/etc/netns").join(netns)
}

/// Names are looked up on the loopback, where nobody answers, or at the name server asked for. Where `/etc` cannot be written
/// (a user namespace), programs of the lab see the machine's own file, and a look-up takes its time to fail.
fn write_resolv_conf(netns: &str, nameserver: Option<Ipv4Addr>) {
    let dir = etc_dir(netns);
    let address = nameserver.unwrap_or(Ipv4Addr::LOCALHOST);
    let _ = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join("resolv.conf"), format!("nameserver {address}\n")));
}
