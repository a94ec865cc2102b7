//! What was measured, as data: one record per variant and round, and the figures that are read from it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bed::Host;
use crate::cpu::Usage;
use crate::meter::ping::Latency;
use crate::meter::search::Found;
use crate::meter::tcp::Tcp;
use crate::stats::Spread;

/// UDP payloads of the two searches: a full game update, and the smallest one.
pub(crate) const LARGE: usize = 1_200;
pub(crate) const SMALL: usize = 64;

/// Bytes of one GiB.
pub(crate) const GIB: f64 = (1_u64 << 30) as f64;

/// A step's result, and whose processor time was used meanwhile.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Metered<T> {
    #[serde(flatten)]
    pub(crate) value: T,
    pub(crate) usage: Usage,
    /// Strangers used more than they may, in the repetition too.
    pub(crate) noisy: bool,
}

/// The TCP step.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Load {
    #[serde(flatten)]
    pub(crate) tcp: Tcp,
    /// Round trips meanwhile.
    pub(crate) ping: Latency,
}

/// Memory of a host's largest tunnel process, in MiB.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_mib: f64,
    /// The most it ever had.
    pub(crate) peak_mib: f64,
}

/// When memory was looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It has answered pings.
    Idle,
    /// It has carried TCP streams.
    Tcp,
    /// It has been given more packets than it can carry.
    Flood,
}

/// One variant in one round. A field is absent when its step was not reached.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Record {
    pub(crate) variant: &'static str,
    pub(crate) round: u32,
    pub(crate) error: Option<String>,
    pub(crate) mtu: Option<u64>,
    /// From the start of the first process to the first echo reply.
    pub(crate) first_reply_s: Option<f64>,
    pub(crate) idle: Option<Metered<Latency>>,
    pub(crate) load: Option<Metered<Load>>,
    /// Four streams at once.
    pub(crate) four: Option<Metered<Tcp>>,
    /// One stream over wires that carry each packet alone.
    pub(crate) wire: Option<Metered<Tcp>>,
    pub(crate) udp_large: Option<Found>,
    pub(crate) udp_small: Option<Found>,
    pub(crate) memory: BTreeMap<Phase, BTreeMap<Host, Memory>>,
}

/// One column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    TcpMbitS,
    FourMbitS,
    WireMbitS,
    UdpLargeMbitS,
    UdpSmallKpps,
    IdleMedianMs,
    IdleP99Ms,
    LoadMedianMs,
    LoadP99Ms,
    CpuSecondsPerGib,
    RelayCpuSecondsPerGib,
    PeakMib,
    FirstReplyS,
    ForeignPercent,
}

impl Figure {
    pub(crate) const ALL: [Self; 14] = [
        Self::TcpMbitS,
        Self::FourMbitS,
        Self::WireMbitS,
        Self::UdpLargeMbitS,
        Self::UdpSmallKpps,
        Self::IdleMedianMs,
        Self::IdleP99Ms,
        Self::LoadMedianMs,
        Self::LoadP99Ms,
        Self::CpuSecondsPerGib,
        Self::RelayCpuSecondsPerGib,
        Self::PeakMib,
        Self::FirstReplyS,
        Self::ForeignPercent,
    ];

    /// Head of the column, and decimals worth showing.
    pub(crate) const fn title(self) -> (&'static str, usize) {
        match self {
            Self::TcpMbitS => ("TCP Mbit/s", 0),
            Self::FourMbitS => ("4 TCP Mbit/s", 0),
            Self::WireMbitS => ("TCP, no offload", 0),
            Self::UdpLargeMbitS => ("UDP 1200 B Mbit/s", 0),
            Self::UdpSmallKpps => ("UDP 64 B kpps", 1),
            Self::IdleMedianMs => ("idle RTT ms", 3),
            Self::IdleP99Ms => ("idle p99 ms", 3),
            Self::LoadMedianMs => ("load RTT ms", 2),
            Self::LoadP99Ms => ("load p99 ms", 2),
            Self::CpuSecondsPerGib => ("CPU s/GiB", 2),
            Self::RelayCpuSecondsPerGib => ("its relay's", 2),
            Self::PeakMib => ("RSS MiB", 1),
            Self::FirstReplyS => ("first ping s", 3),
            Self::ForeignPercent => ("foreign CPU %", 0),
        }
    }

    pub(crate) fn of(self, record: &Record) -> Option<f64> {
        let load = record.load.as_ref();
        let rate = |found: &Option<Found>| Some(found.as_ref()?.best?.received_pps);
        match self {
            Self::TcpMbitS => Some(load?.value.tcp.mbit_s),
            Self::FourMbitS => Some(record.four.as_ref()?.value.mbit_s),
            Self::WireMbitS => Some(record.wire.as_ref()?.value.mbit_s),
            Self::UdpLargeMbitS => Some(rate(&record.udp_large)? * LARGE as f64 * 8.0 / 1e6),
            Self::UdpSmallKpps => Some(rate(&record.udp_small)? / 1e3),
            Self::IdleMedianMs => Some(record.idle.as_ref()?.value.median_ms),
            Self::IdleP99Ms => Some(record.idle.as_ref()?.value.p99_ms),
            Self::LoadMedianMs => Some(load?.value.ping.median_ms),
            Self::LoadP99Ms => Some(load?.value.ping.p99_ms),
            Self::CpuSecondsPerGib => cpu_per_gib(load?),
            Self::RelayCpuSecondsPerGib => Some(load?.usage.tunnel.get(&Host::Relay)?.total() / gib(load?)),
            Self::PeakMib => record.memory.values().flat_map(BTreeMap::values).map(|memory| memory.peak_mib).max_by(f64::total_cmp),
            Self::FirstReplyS => record.first_reply_s,
            Self::ForeignPercent => Some(load?.usage.foreign_share * 100.0),
        }
    }

    /// Whether the step behind it was noisy.
    pub(crate) fn is_noisy(self, record: &Record) -> bool {
        match self {
            Self::FourMbitS => record.four.as_ref().is_some_and(|four| four.noisy),
            Self::WireMbitS => record.wire.as_ref().is_some_and(|wire| wire.noisy),
            Self::UdpLargeMbitS => record.udp_large.is_some_and(|found| found.noisy),
            Self::UdpSmallKpps => record.udp_small.is_some_and(|found| found.noisy),
            Self::IdleMedianMs | Self::IdleP99Ms => record.idle.as_ref().is_some_and(|idle| idle.noisy),
            Self::TcpMbitS | Self::LoadMedianMs | Self::LoadP99Ms | Self::CpuSecondsPerGib | Self::RelayCpuSecondsPerGib => {
                record.load.as_ref().is_some_and(|load| load.noisy)
            }
            Self::PeakMib | Self::FirstReplyS | Self::ForeignPercent => false,
        }
    }
}

fn cpu_per_gib(load: &Metered<Load>) -> Option<f64> {
    (!load.usage.tunnel.is_empty()).then(|| load.usage.tunnel_seconds() / gib(load))
}

fn gib(load: &Metered<Load>) -> f64 {
    load.value.tcp.bytes as f64 / GIB
}

/// All rounds of one variant's figure.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cell {
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// Some round was noisy.
    pub(crate) noisy: bool,
}

/// Every figure of every variant that was measured.
pub(crate) type Summary = BTreeMap<&'static str, BTreeMap<Figure, Cell>>;

pub(crate) fn summarise(records: &[Record]) -> Summary {
    let mut summary = Summary::new();
    for variant in records.iter().map(|record| record.variant) {
        summary.entry(variant).or_insert_with(|| {
            let rounds: Vec<&Record> = records.iter().filter(|record| record.variant == variant).collect();
            Figure::ALL.into_iter().filter_map(|figure| Some((figure, cell(figure, &rounds)?))).collect()
        });
    }
    summary
}

fn cell(figure: Figure, rounds: &[&Record]) -> Option<Cell> {
    let spread = Spread::of(rounds.iter().filter_map(|record| figure.of(record)))?;
    Some(Cell { spread, noisy: rounds.iter().any(|record| figure.is_noisy(record)) })
}

/// Records with known figures, for the tests of who reads them.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::cpu::Spent;

    /// A round with this throughput, idle round trip and processor time.
    pub(crate) fn record(variant: &'static str, mbit_s: f64, idle_ms: f64, cpu_s: f64, noisy: bool) -> Record {
        let latency = Latency { received: 1, median_ms: idle_ms, p99_ms: idle_ms, max_ms: idle_ms };
        let tunnel = BTreeMap::from([(Host::A, Spent { user_s: cpu_s, system_s: 0.0 })]);
        let usage = Usage { wall_s: 1.0, tunnel, foreign_share: 0.01 };
        let tcp = Tcp { mbit_s, bytes: GIB as u64, retransmits: 0 };
        Record {
            variant,
            first_reply_s: Some(0.2),
            idle: Some(Metered { value: latency, usage: usage.clone(), noisy }),
            load: Some(Metered { value: Load { tcp, ping: latency }, usage, noisy }),
            memory: BTreeMap::from([(Phase::Tcp, BTreeMap::from([(Host::A, Memory { rss_mib: 9.0, peak_mib: 10.0 })]))]),
            ..Record::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_a_variant_become_one_line() {
        let rounds = [(100.0, false), (300.0, true), (200.0, false)];
        let mut records: Vec<Record> = rounds.map(|(mbit_s, noisy)| fixtures::record("x", mbit_s, 0.1, 3.0, noisy)).into();
        records.push(Record { variant: "x", error: Some("it did not start".into()), ..Record::default() });
        let summary = summarise(&records);
        let tcp = summary["x"][&Figure::TcpMbitS];
        assert_eq!((tcp.spread.median, tcp.spread.min, tcp.spread.max, tcp.spread.rounds), (200.0, 100.0, 300.0, 3));
        assert!(tcp.noisy);
        assert_eq!(summary["x"][&Figure::CpuSecondsPerGib].spread.median, 3.0);
        assert_eq!(summary["x"][&Figure::PeakMib].spread.median, 10.0);
        assert!(!summary["x"].contains_key(&Figure::UdpSmallKpps), "that step was not reached");
    }
}
