//! Round trips, taken with the system's `ping`.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Namespace, Proc, Program};
use serde::Serialize;

use crate::stats::{median, percentile};

/// How long an answer is waited for.
const WAIT: &str = "1";

/// The distribution of round trips, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) received: usize,
    pub(crate) median_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Latency {
    pub(super) fn of(times: &[f64]) -> Option<Self> {
        let times = || times.iter().copied();
        Some(Self {
            received: times().count(),
            median_ms: median(times())?,
            p99_ms: percentile(times(), 99.0)?,
            max_ms: percentile(times(), 100.0)?,
        })
    }
}

/// When to send echo requests, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pings {
    /// So many.
    Count(u32),
    /// For so long.
    For(Duration),
}

/// Starts `ping`; [`answers`] reads what came of it.
pub(crate) fn start(host: &Namespace, to: Ipv4Addr, interval: Duration, pings: Pings) -> Result<Proc> {
    let limit = match pings {
        Pings::Count(count) => ["-c".to_owned(), count.to_string()],
        Pings::For(time) => ["-w".to_owned(), time.as_secs().max(1).to_string()],
    };
    let interval = interval.as_secs_f64().to_string();
    host.spawn(Program::new("ping").args(["-n", "-i", &interval, "-W", WAIT]).args(limit).arg(to.to_string()))
}

/// Waits for the end of `ping` and reads its answers.
pub(crate) fn answers(ping: &Proc, timeout: Duration) -> Result<Latency> {
    ping.exit_code(timeout)?;
    Latency::of(&times(&ping.lines())).with_context(|| format!("no echo came back{}", ping.tail()))
}

/// Milliseconds of each answer.
fn times(lines: &[String]) -> Vec<f64> {
    let time = |line: &String| line.split_once("time=")?.1.split(' ').next()?.parse().ok();
    lines.iter().filter_map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_everything_else_is_passed_over() {
        let text = "PING 10.77.0.2 (10.77.0.2) 56(84) bytes of data.\n\
            64 bytes from 10.77.0.2: icmp_seq=1 ttl=64 time=0.167 ms\n\
            From 10.77.0.1 icmp_seq=2 Destination Host Unreachable\n\
            64 bytes from 10.77.0.2: icmp_seq=3 ttl=64 time=12 ms\n\
            3 packets transmitted, 2 received, 33% packet loss, time 2ms\n\
            rtt min/avg/max/mdev = 0.167/6.08/12.000/5.9 ms";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(times(&lines), [0.167, 12.0]);
        let latency = Latency::of(&times(&lines)).unwrap();
        assert_eq!((latency.received, latency.p99_ms), (2, 12.0));
        assert_eq!(Latency::of(&[]), None);
    }
}
