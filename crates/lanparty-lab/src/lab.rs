//! The lab itself: it makes namespaces and undoes everything it made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result};
use lanparty_sim::Impairment;
use rustix::process::{Pid, Signal, kill_process};

use crate::command::run;
use crate::labwire::LabWire;
use crate::link::End;
use crate::namespace::{Namespace, NamespaceOptions, OWNER_VARIABLE, etc_dir};
use crate::process::lock;

/// Set to keep logs and files of every lab (those of a panicking test are always kept).
pub const KEEP_VARIABLE: &str = "LANPARTY_LAB_KEEP";
/// Another seed for the wires of every lab.
pub const SEED_VARIABLE: &str = "LANPARTY_LAB_SEED";
/// Where labs put their logs and files, when not below `/run`.
pub const DIR_VARIABLE: &str = "LANPARTY_LAB_DIR";

/// Linux limits interface names to 15 bytes, not those of namespaces; this keeps log lines readable.
const NAME_LEN_MAX: usize = 32;

/// Tells labs of one process apart.
static LABS: AtomicU32 = AtomicU32::new(0);

/// A set of machines that exists as long as this value. Several labs can live at once, in one process or in many.
///
/// Everything happens inside namespaces called `lp<pid>-<n>-<lab>-<host>`: neither interfaces nor routes of the machine itself are touched.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    dir: PathBuf,
    seed: u64,
    namespaces: Mutex<Vec<Namespace>>,
    wires: Mutex<Vec<LabWire>>,
}

impl Lab {
    /// An empty lab. What labs of dead processes left behind is removed first.
    pub fn new(name: &str) -> Result<Self> {
        Self::seeded(name, std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1))
    }

    /// As [`Lab::new`], with a seed of the caller's: one of several runs that are to differ.
    pub fn seeded(name: &str, seed: u64) -> Result<Self> {
        let plain = name.len() <= NAME_LEN_MAX && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        anyhow::ensure!(plain, "a lab's name is 1 to {NAME_LEN_MAX} letters, digits and hyphens, not `{name}`");
        let root = root_dir();
        remove_leftovers(&root);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("lp{}-{number}-{name}", std::process::id());
        let dir = root.join(&prefix);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self { prefix, dir, seed, namespaces: Mutex::default(), wires: Mutex::default() })
    }

    /// The prefix of its namespaces.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Logs and files of this lab; deleted with it unless the test panics or `LANPARTY_LAB_KEEP` is set.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds a host with the usual options.
    pub fn namespace(&self, host: &str) -> Result<Namespace> {
        self.namespace_with(host, &NamespaceOptions::default())
    }

    /// Adds a host.
    pub fn namespace_with(&self, host: &str, options: &NamespaceOptions) -> Result<Namespace> {
        let namespace = Namespace::create(&self.prefix, host, &self.dir, options)?;
        lock(&self.namespaces).push(namespace.clone());
        Ok(namespace)
    }

    /// What the wires' chances are drawn from (`LANPARTY_LAB_SEED`, else 1): the losses of one run can be had again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Plugs a wire with a character between two hosts, the same both ways. Its ends are new interfaces, up and without address.
    pub fn labwire(&self, a: End<'_>, b: End<'_>, impairment: &Impairment) -> Result<LabWire> {
        let mut wires = lock(&self.wires);
        // Two directions a wire: each draws from a seed of its own.
        let seed = self.seed.wrapping_mul(1_000).wrapping_add(2 * wires.len() as u64);
        let wire = LabWire::plug(a, b, impairment, seed)?;
        wires.push(wire.clone());
        Ok(wire)
    }

    /// What all wires did, one line each, for the end of a scenario.
    pub fn report(&self) -> String {
        let line = |(number, wire): (usize, &LabWire)| match wire.stats() {
            Ok(stats) => format!("wire {number}: {stats}\n"),
            Err(error) => format!("wire {number}: {error:#}\n"),
        };
        let wires: String = lock(&self.wires).iter().enumerate().map(line).collect();
        format!("lab {} seed {}\n{wires}", self.prefix, self.seed)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for wire in lock(&self.wires).drain(..) {
            wire.end();
        }
        for namespace in lock(&self.namespaces).drain(..) {
            namespace.kill_all();
            remove_namespace(namespace.netns(), &self.prefix);
        }
        if !thread::panicking() && std::env::var_os(KEEP_VARIABLE).is_none() {
            // A file that cannot be removed now is removed by the next lab.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// `/run/lanparty-lab`, or below the temporary directory for who may not write there.
fn root_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os(DIR_VARIABLE) {
        return dir.into();
    }
    let run = PathBuf::from("/run/lanparty-lab");
    if fs::create_dir_all(&run).is_ok() { run } else { std::env::temp_dir().join("lanparty-lab") }
}

/// Removes namespaces and files of labs whose process is gone. Best effort: a lab that another process is removing is not our concern.
fn remove_leftovers(root: &Path) {
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| owner_is_dead(name)).collect()
    };
    for netns in names(Path::new("/run/netns")) {
        remove_namespace(&netns, &netns);
    }
    for netns in names(Path::new("/etc/netns")) {
        let _ = fs::remove_dir_all(etc_dir(&netns));
    }
    for name in names(root).into_iter().filter(|_| std::env::var_os(KEEP_VARIABLE).is_none()) {
        let _ = fs::remove_dir_all(root.join(name));
    }
}

/// Is this the name of something that a lab made whose process has ended?
fn owner_is_dead(name: &str) -> bool {
    let pid = name.strip_prefix("lp").and_then(|rest| rest.split_once('-')).and_then(|(pid, _)| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Deletes a namespace and kills what still runs in it, provided that the lab `owner` started it (`owner` begins with that lab's prefix).
fn remove_namespace(netns: &str, owner: &str) {
    let pids = run(&["ip", "netns", "pids", netns]).map(|output| output.stdout).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()).filter(|pid| started_by(*pid, owner)) {
        // An error means that it has ended meanwhile.
        let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
    }
    let _ = run(&["ip", "netns", "del", netns]);
    let _ = fs::remove_dir_all(etc_dir(netns));
}

/// Does this process carry the mark of the lab that made `owner`?
fn started_by(pid: i32, owner: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mark = environment.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(OWNER_VARIABLE.as_bytes())?.strip_prefix(b"="));
    mark.is_some_and(|mark| !mark.is_empty() && owner.as_bytes().starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_labs_are_leftovers() {
        assert!(!owner_is_dead(&format!("lp{}-0-party-relay", std::process::id())));
        assert!(owner_is_dead("lp4194999-0-party-relay"), "above the kernel's largest pid");
        for foreign in ["vpn", "lp", "lp-1", "lpx-relay", "lp12relay"] {
            assert!(!owner_is_dead(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_process_without_the_mark_is_not_ours() {
        assert!(!started_by(i32::try_from(std::process::id()).unwrap(), "lp1-0-party-relay"));
    }
}
