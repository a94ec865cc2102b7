//! One variant in one round, from an empty network to its figures.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lanparty_lab::{Offloads, Uplink};

use crate::bed::{Bed, Host};
use crate::cpu::{FOREIGN_SHARE_MAX, Snapshot};
use crate::meter::blast::{self, Blast, Sink};
use crate::meter::first_reply::first_reply;
use crate::meter::ping::{self, Latency, Pings};
use crate::meter::search::{Found, STEPS_MAX, Search};
use crate::meter::tcp::{self, Tcp};
use crate::record::{LARGE, Load, Memory, Metered, Phase, Record, SMALL};
use crate::schedule::Expected;
use crate::tools::Tools;
use crate::variant::Variant;

/// The prober has sent its first requests when the tunnel starts.
const PROBER_LEAD: Duration = Duration::from_millis(150);
/// A tunnel that carries nothing by then is taken as broken.
const FIRST_REPLY_PATIENCE: Duration = Duration::from_secs(40);
const IDLE_INTERVAL: Duration = Duration::from_millis(5);
const LOAD_INTERVAL: Duration = Duration::from_millis(20);
/// The first stream finds the path MTU and neighbours; it does not count.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
/// Of the step with several streams.
const STREAMS: u32 = 4;
const UDP_PORT: u16 = 5_201;
/// How long a look at the machine's noise takes.
const LOOK: Duration = Duration::from_millis(500);
/// Building and removing the network, and starting what runs in it.
const BED: Duration = Duration::from_secs(4);
/// What starting may take beyond that.
const START_LATE: Duration = Duration::from_secs(10);
/// Between two steps of a search, which usually has so many.
const BLAST_REST: Duration = Duration::from_millis(50);
const STEPS_USUAL: usize = 8;
/// What pings may take beyond their time.
const GRACE: Duration = Duration::from_secs(30);

/// How long the steps are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) pings: u32,
    /// One stream.
    pub(crate) tcp: Duration,
    /// Several streams.
    pub(crate) four: Duration,
    /// One stream without offloads.
    pub(crate) wire: Duration,
    /// Each step of a search.
    pub(crate) blast: Duration,
    pub(crate) offloads: Offloads,
    /// Longest wait for a quiet machine before a variant.
    pub(crate) quiet: Duration,
}

impl Plan {
    pub(crate) fn new(quick: bool, offloads: Offloads) -> Self {
        let (pings, [tcp, four, wire, quiet], blast) = if quick { (200, [3, 2, 2, 2], 400) } else { (500, [8, 4, 4, 10], 700) };
        let [tcp, four, wire, quiet] = [tcp, four, wire, quiet].map(Duration::from_secs);
        Self { pings, tcp, four, wire, blast: Duration::from_millis(blast), offloads, quiet }
    }

    /// What a round of one variant takes on a quiet machine, and at most where steps are repeated and searches are long.
    pub(crate) fn takes(&self, settle: Duration) -> Expected {
        let wire = if self.offloads == Offloads::On { self.wire } else { Duration::ZERO };
        let calm = IDLE_INTERVAL * self.pings + self.tcp + self.four + wire;
        let search = |steps: usize| (self.blast + BLAST_REST) * 2 * steps as u32;
        let usual = BED + settle + WARM_UP * 2 + calm + search(STEPS_USUAL);
        Expected { usual, at_most: self.quiet + usual + START_LATE + calm + search(STEPS_MAX - STEPS_USUAL) }
    }
}

/// Measures a variant. What goes wrong ends it and is part of the record; what was measured before stays.
pub(crate) fn measure(variant: &'static Variant, round: u32, plan: &Plan, tools: &Tools) -> Record {
    let mut record = Record { variant: variant.name, round, ..Record::default() };
    wait_for_quiet(plan.quiet);
    let bed = match Bed::new(variant.name, variant.route, &Uplink::Cable(plan.offloads), tools) {
        Ok(bed) => bed,
        Err(error) => return Record { error: Some(format!("{error:#}")), ..record },
    };
    if let Err(error) = fill(&mut record, variant, plan, &bed) {
        record.error = Some(format!("{error:#}"));
    }
    bed.end();
    record
}

fn fill(record: &mut Record, variant: &Variant, plan: &Plan, bed: &Bed) -> Result<()> {
    (variant.prepare)(bed)?;
    record.first_reply_s = Some(start(variant, bed)?.as_secs_f64());
    record.mtu = Some(bed.mtu(Host::A)?);
    thread::sleep(variant.settle);
    record.idle = Some(calmly(bed, || pings(bed, plan.pings))?);
    record.memory.insert(Phase::Idle, memory(bed)?);
    streams(bed, 1, WARM_UP).context("the warm-up")?;
    let load = calmly(bed, || load(bed, plan.tcp))?;
    let guess = load.value.tcp.mbit_s * 1e6 / 8.0 / LARGE as f64 * 0.5;
    record.load = Some(load);
    record.four = Some(calmly(bed, || streams(bed, STREAMS, plan.four))?);
    record.memory.insert(Phase::Tcp, memory(bed)?);
    let large = search(bed, LARGE, guess, plan.blast)?;
    record.udp_large = Some(large);
    record.udp_small = Some(search(bed, SMALL, large.peak_pps * 0.8, plan.blast)?);
    record.memory.insert(Phase::Flood, memory(bed)?);
    if plan.offloads == Offloads::On {
        record.wire = Some(without_offloads(bed, plan.wire)?);
    }
    bed.ended().map_or(Ok(()), |why| Err(anyhow!("a process did not last{why}")))
}

/// Starts the tunnel under the eyes of a prober: the time from its first process to the first echo reply.
pub(crate) fn start(variant: &Variant, bed: &Bed) -> Result<Duration> {
    let give_up = AtomicBool::new(false);
    let reply = thread::scope(|scope| -> Result<Option<Instant>> {
        let probe = || first_reply(Host::B.inner(), FIRST_REPLY_PATIENCE, &give_up);
        let prober = scope.spawn(move || bed.host(Host::A).enter(probe)?);
        thread::sleep(PROBER_LEAD);
        let started = (variant.start)(bed);
        give_up.store(started.is_err(), Ordering::Relaxed);
        let reply = prober.join().map_err(|_| anyhow!("the prober panicked"))?;
        started.and(reply)
    })?;
    match (bed.started(), reply) {
        (Some(started), Some(reply)) => Ok(reply.saturating_duration_since(started)),
        _ => bail!("no echo came back in {FIRST_REPLY_PATIENCE:?}{}", bed.ended().unwrap_or_default()),
    }
}

/// Runs a step, and once more when strangers were busy; of the two, the calmer counts.
pub(crate) fn calmly<T>(bed: &Bed, step: impl Fn() -> Result<T>) -> Result<Metered<T>> {
    let first = metered(bed, &step)?;
    if !first.noisy {
        return Ok(first);
    }
    let second = metered(bed, &step)?;
    Ok(if second.usage.foreign_share < first.usage.foreign_share { second } else { first })
}

pub(crate) fn metered<T>(bed: &Bed, step: impl Fn() -> Result<T>) -> Result<Metered<T>> {
    let before = Snapshot::take(&bed.processes())?;
    let value = step()?;
    let usage = before.usage(&bed.processes())?;
    let noisy = usage.is_noisy();
    Ok(Metered { value, usage, noisy })
}

fn pings(bed: &Bed, count: u32) -> Result<Latency> {
    let ping = ping::start(bed.host(Host::A), Host::B.inner(), IDLE_INTERVAL, Pings::Count(count))?;
    ping::answers(&ping, IDLE_INTERVAL * count + GRACE)
}

fn load(bed: &Bed, duration: Duration) -> Result<Load> {
    // It ends before the stream does, so that every ping meets the load.
    let pings = Pings::For(duration.saturating_sub(WARM_UP));
    let ping = ping::start(bed.host(Host::A), Host::B.inner(), LOAD_INTERVAL, pings)?;
    let tcp = streams(bed, 1, duration)?;
    Ok(Load { tcp, ping: ping::answers(&ping, GRACE)? })
}

fn streams(bed: &Bed, count: u32, duration: Duration) -> Result<Tcp> {
    tcp::run(bed.host(Host::A), bed.host(Host::B), Host::B.inner(), count, duration)
}

/// One stream when every packet crosses alone: neither segments cut by the wires nor packets joined after them.
fn without_offloads(bed: &Bed, duration: Duration) -> Result<Metered<Tcp>> {
    bed.switch_offloads_off()?;
    streams(bed, 1, WARM_UP).context("the warm-up without offloads")?;
    calmly(bed, || streams(bed, 1, duration))
}

/// The packet rate that arrives with less than 1 % loss.
fn search(bed: &Bed, size: usize, guess: f64, duration: Duration) -> Result<Found> {
    let sink = Sink::default();
    let mut search = Search::new(guess);
    let socket = bed.host(Host::B).enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, UDP_PORT)))?.context("open the sink")?;
    thread::scope(|scope| {
        let server = scope.spawn(|| sink.serve(&socket));
        let outcome = steps(bed, &sink, &mut search, size, duration);
        sink.end();
        server.join().map_err(|_| anyhow!("the sink panicked"))?.and(outcome)
    })?;
    Ok(search.found())
}

fn steps(bed: &Bed, sink: &Sink, search: &mut Search, size: usize, duration: Duration) -> Result<()> {
    while let Some(pps) = search.next_rate() {
        let before = Snapshot::take(&[])?;
        let blast = Blast { size, pps, duration };
        let step = bed.host(Host::A).enter(|| blast::step(sink, (Host::B.inner(), UDP_PORT), blast))??;
        search.handle_step(step, before.usage(&[])?.is_noisy());
    }
    Ok(())
}

/// The largest process of each host.
pub(crate) fn memory(bed: &Bed) -> Result<BTreeMap<Host, Memory>> {
    let mut by_host: BTreeMap<Host, Memory> = BTreeMap::new();
    for (host, pid) in bed.processes() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
        let memory = parse_memory(&status).with_context(|| format!("process {pid} has no memory"))?;
        if by_host.get(&host).is_none_or(|other| other.peak_mib < memory.peak_mib) {
            by_host.insert(host, memory);
        }
    }
    Ok(by_host)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let mib = |name: &str| -> Option<f64> {
        let kib: f64 = status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1_024.0)
    };
    Some(Memory { rss_mib: mib("VmRSS:")?, peak_mib: mib("VmHWM:")? })
}

/// Waits until strangers leave the processors alone, but not for ever: figures of a busy machine are marked, not lost.
pub(crate) fn wait_for_quiet(patience: Duration) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let Ok(before) = Snapshot::take(&[]) else { return };
        thread::sleep(LOOK);
        if before.usage(&[]).is_ok_and(|usage| usage.foreign_share < FOREIGN_SHARE_MAX / 2.0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mib() {
        let status = "Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        let memory = parse_memory(status).unwrap();
        assert_eq!((memory.rss_mib, memory.peak_mib), (10.0, 20.0));
        assert!(parse_memory("Name:\tkthreadd\n").is_none());
    }
}
