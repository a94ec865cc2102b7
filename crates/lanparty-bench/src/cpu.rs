//! Whose processor time was used: the tunnel's, the bench's own, or that of strangers, which is noise.
//!
//! Read from `/proc` in clock ticks. Interrupts and kernel threads belong to nobody: the traffic itself causes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bed::Host;

/// `USER_HZ` of every Linux this runs on (it is part of the kernel's ABI).
const TICKS_PER_SECOND: f64 = 100.0;
/// `PF_KTHREAD` of `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A step is noisy when strangers used more than this share of all processors.
pub(crate) const FOREIGN_SHARE_MAX: f64 = 0.08;

/// Processor time of one host's tunnel processes, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spent {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

impl Spent {
    pub(crate) fn total(self) -> f64 {
        self.user_s + self.system_s
    }
}

/// What was used between two moments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) wall_s: f64,
    /// The tunnel's processes.
    pub(crate) tunnel: BTreeMap<Host, Spent>,
    /// Share of all processors that strangers used, 0 to 1.
    pub(crate) foreign_share: f64,
}

impl Usage {
    pub(crate) fn is_noisy(&self) -> bool {
        self.foreign_share > FOREIGN_SHARE_MAX
    }

    pub(crate) fn tunnel_seconds(&self) -> f64 {
        self.tunnel.values().map(|spent| spent.total()).sum()
    }
}

/// The counters at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    at: Instant,
    counters: Counters,
}

impl Snapshot {
    /// Reads the counters; `tunnel` are the tunnel's processes and the hosts they run on.
    pub(crate) fn take(tunnel: &[(Host, u32)]) -> Result<Self> {
        let machine = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let machine = machine_ticks(&machine).context("the first line of /proc/stat")?;
        let processes = processes()?;
        Ok(Self { at: Instant::now(), counters: Counters::of(machine, &processes, std::process::id(), tunnel) })
    }

    /// What was used since.
    pub(crate) fn usage(&self, tunnel: &[(Host, u32)]) -> Result<Usage> {
        let now = Self::take(tunnel)?;
        let wall = now.at - self.at;
        let processors = thread::available_parallelism().map_or(1, |n| n.get());
        Ok(now.counters.since(&self.counters, wall, processors))
    }
}

/// Clock ticks since the machine started, but those of the tunnel since its processes did.
#[derive(Debug, Default)]
struct Counters {
    /// All processes and kernel threads.
    machine: u64,
    ours: u64,
    kernel: u64,
    tunnel: BTreeMap<Host, (u64, u64)>,
}

impl Counters {
    fn of(machine: u64, processes: &[Process], own_pid: u32, tunnel: &[(Host, u32)]) -> Self {
        let family = descendants(processes, own_pid);
        let ours = processes.iter().filter(|process| family.contains(&process.pid)).map(Process::ticks).sum();
        let kernel = processes.iter().filter(|process| process.kernel).map(Process::ticks).sum();
        let mut by_host: BTreeMap<Host, (u64, u64)> = BTreeMap::new();
        for (host, pid) in tunnel {
            let family = descendants(processes, *pid);
            let spent = by_host.entry(*host).or_default();
            for process in processes.iter().filter(|process| family.contains(&process.pid)) {
                *spent = (spent.0 + process.user, spent.1 + process.system);
            }
        }
        Self { machine, ours, kernel, tunnel: by_host }
    }

    fn since(&self, before: &Self, wall: Duration, processors: usize) -> Usage {
        let seconds = |now: u64, before: u64| now.saturating_sub(before) as f64 / TICKS_PER_SECOND;
        let tunnel = self.tunnel.iter().map(|(host, now)| {
            let before = before.tunnel.get(host).copied().unwrap_or_default();
            (*host, Spent { user_s: seconds(now.0, before.0), system_s: seconds(now.1, before.1) })
        });
        let known = seconds(self.ours, before.ours) + seconds(self.kernel, before.kernel);
        let foreign = seconds(self.machine, before.machine) - known;
        let foreign_share = (foreign / wall.as_secs_f64() / processors as f64).max(0.0);
        Usage { wall_s: wall.as_secs_f64(), tunnel: tunnel.collect(), foreign_share }
    }
}

#[derive(Debug, Clone, Copy)]
struct Process {
    pid: u32,
    parent: u32,
    kernel: bool,
    user: u64,
    system: u64,
    /// What its children had used when they ended.
    reaped: u64,
}

impl Process {
    fn ticks(&self) -> u64 {
        self.user + self.system + self.reaped
    }
}

fn processes() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc").context("read /proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process may end between the two reads.
    Ok(pids.filter_map(|pid| parse_process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect())
}

/// `/proc/PID/stat`, proc(5). The name in brackets may contain anything but ends with the last bracket.
fn parse_process(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
    // The time of ksoftirqd is interrupt time to /proc/stat, which does not count here in the first place.
    let kernel = field(9)? & KERNEL_THREAD != 0 && !name.starts_with("ksoftirqd/");
    // Of children that ended (fields 16 and 17) times are signed, hence the saturation.
    let reaped = field(16).unwrap_or(0) + field(17).unwrap_or(0);
    Some(Process { pid: pid.parse().ok()?, parent: field(4)? as u32, kernel, user: field(14)?, system: field(15)?, reaped })
}

/// User, nice and system time of all processors, without interrupts and what a hypervisor took.
fn machine_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|field| field.parse().ok()).collect();
    Some(fields.get(..3)?.iter().sum())
}

/// A process and all below it.
fn descendants(processes: &[Process], of: u32) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([of]);
    loop {
        let before = family.len();
        family.extend(processes.iter().filter(|process| family.contains(&process.parent)).map(|process| process.pid).collect::<Vec<_>>());
        if family.len() == before {
            return family;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, user: u64, system: u64) -> Process {
        Process { pid, parent, kernel: false, user, system, reaped: 0 }
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) (b) c) S 3 7 7 0 -1 4194304 100 0 0 0 31 11 5 2 20 0 1 0 5 0 0";
        let process = parse_process(stat).unwrap();
        assert_eq!((process.pid, process.parent, process.user, process.system, process.reaped), (7, 3, 31, 11, 7));
        assert!(!process.kernel);
        let stat = "12 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 9 0 0 20 0 1 0 5 0 0";
        assert!(parse_process(stat).unwrap().kernel);
        assert!(parse_process("7 (short) S 1").is_none());
    }

    #[test]
    fn the_machines_line_counts_neither_interrupts_nor_idling() {
        assert_eq!(machine_ticks("cpu  10 2 30 4000 5 6 7 8 0 0\ncpu0 1 1 1"), Some(42));
        assert_eq!(machine_ticks("intr 1 2 3"), None);
    }

    #[test]
    fn what_nobody_of_ours_used_is_foreign() {
        let own = 100;
        let tunnel = [(Host::A, 200), (Host::Relay, 300)];
        let kernel = |ticks| Process { kernel: true, ..process(2, 0, 0, ticks) };
        let before = [process(own, 1, 10, 0), process(200, own, 1, 1), process(300, own, 0, 0), process(900, 1, 50, 50), kernel(5)];
        let after = [
            process(own, 1, 20, 0),
            process(200, own, 31, 21),
            process(201, 200, 0, 10),
            process(300, own, 5, 5),
            process(900, 1, 90, 60),
            kernel(15),
        ];
        let before = Counters::of(1_000, &before, own, &tunnel);
        let after = Counters::of(1_000 + 10 + 70 + 50 + 10, &after, own, &tunnel);
        let usage = after.since(&before, Duration::from_secs(1), 2);
        assert_eq!(usage.tunnel[&Host::A], Spent { user_s: 0.3, system_s: 0.3 });
        assert_eq!(usage.tunnel[&Host::Relay], Spent { user_s: 0.05, system_s: 0.05 });
        assert!((usage.foreign_share - 0.25).abs() < 1e-9, "{usage:?}");
        assert!(usage.is_noisy());
    }
}
