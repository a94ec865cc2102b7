//! `ping`, the one that people use, read back as numbers.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::process::{Proc, Program};

/// What a ping that ends by itself may take beyond its time: the last answers, and a busy machine.
const GRACE: Duration = Duration::from_secs(10);

/// What `ping` counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PingStats {
    /// Echo requests sent.
    pub sent: u32,
    /// Answers that came.
    pub received: u32,
    /// Answers beyond the first to the same request.
    pub duplicates: u32,
    /// Smallest round trip; `None` when no answer came, here and below.
    pub min: Option<Duration>,
    /// Mean round trip.
    pub mean: Option<Duration>,
    /// Largest round trip.
    pub max: Option<Duration>,
}

/// Pings five times a second and waits up to a second for each answer. No answer is a result, not an error.
pub fn ping(host: &Namespace, to: Ipv4Addr, count: u32) -> Result<PingStats> {
    ping_with(host, to, count, &[])
}

/// As [`ping`], with more of ping's own options: `&["-s", "1372", "-M", "do"]`.
pub fn ping_with(host: &Namespace, to: Ipv4Addr, count: u32, options: &[&str]) -> Result<PingStats> {
    let (count, to) = (count.to_string(), to.to_string());
    let mut words = vec!["ping", "-n", "-i", "0.2", "-W", "1", "-c", &count];
    words.extend(options);
    words.push(&to);
    let output = host.run_any(&words)?;
    // 1 means that no answer came; everything else is a failure of ping itself.
    let output = if output.status.code() == Some(1) { output } else { output.success()? };
    parse(&output.stdout).with_context(|| format!("the summary of `{}`: {}{}", output.command, output.stdout, output.stderr))
}

/// Pings that go on while something else is done.
#[derive(Debug)]
pub struct Pinging {
    ping: Proc,
    duration: Duration,
}

/// The round trips of [`Pinging`], in the order of their answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoundTrips {
    /// Echo requests sent.
    pub sent: u32,
    /// The answers, duplicates left out.
    pub times: Vec<Duration>,
}

impl Pinging {
    /// Pings every `interval` for `duration`. Each answer is waited for up to a second.
    pub fn start(host: &Namespace, to: Ipv4Addr, interval: Duration, duration: Duration) -> Result<Self> {
        let count = (duration.as_secs_f64() / interval.as_secs_f64()).round().max(1.0);
        let words = ["-n".to_owned(), "-i".into(), interval.as_secs_f64().to_string(), "-W".into(), "1".into(), "-c".into()];
        let ping = host.spawn(Program::new("ping").args(words).arg(count.to_string()).arg(to.to_string()))?;
        Ok(Self { ping, duration })
    }

    /// Waits for its end.
    pub fn finish(self) -> Result<RoundTrips> {
        let code = self.ping.exit_code(self.duration + GRACE)?;
        // 1 means that answers are missing.
        anyhow::ensure!(code <= 1, "ping ended with {code}{}", self.ping.tail());
        // The reading threads may be a moment behind the end of the process.
        self.ping.wait_for("packets transmitted", GRACE)?;
        round_trips(&self.ping.lines().join("\n")).with_context(|| format!("the answers of ping{}", self.ping.tail()))
    }
}

impl RoundTrips {
    /// The round trip that `percent` of the answers stayed within; `None` when no answer came.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (percent / 100.0 * times.len() as f64).ceil() as usize;
        times.get(rank.max(1) - 1).copied()
    }
}

fn round_trips(text: &str) -> Option<RoundTrips> {
    let answers = text.lines().filter(|line| line.contains("icmp_seq=") && !line.contains("DUP!"));
    let time = |line: &str| -> Option<Duration> {
        let milliseconds: f64 = line.split_once("time=")?.1.split(' ').next()?.parse().ok()?;
        Some(Duration::from_nanos((milliseconds * 1e6).round() as u64))
    };
    Some(RoundTrips { sent: parse(text)?.sent, times: answers.filter_map(time).collect() })
}

fn parse(text: &str) -> Option<PingStats> {
    let summary = text.lines().find(|line| line.contains("packets transmitted"))?;
    let count = |what: &str| -> Option<u32> {
        summary.split(", ").find(|part| part.contains(what))?.trim_start_matches('+').split(' ').next()?.parse().ok()
    };
    let times = text.lines().find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
    let time = |index: usize| -> Option<Duration> {
        let milliseconds: f64 = times?.split(['/', ' ']).nth(index)?.parse().ok()?;
        Some(Duration::from_nanos((milliseconds * 1e6).round() as u64))
    };
    let (sent, received, duplicates) = (count("transmitted")?, count("received")?, count("duplicates").unwrap_or(0));
    Some(PingStats { sent, received, duplicates, min: time(0), mean: time(1), max: time(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read_with_and_without_answers() {
        let text = "3 packets transmitted, 2 received, +1 duplicates, 33% packet loss, time 402ms\nrtt min/avg/max/mdev = 0.036/0.051/1.500/0.012 ms\n";
        let stats = parse(text).unwrap();
        assert_eq!((stats.sent, stats.received, stats.duplicates), (3, 2, 1));
        assert_eq!((stats.min, stats.max), (Some(Duration::from_micros(36)), Some(Duration::from_micros(1_500))));
        let text = "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n\n";
        assert_eq!(parse(text).unwrap(), PingStats { sent: 1, ..PingStats::default() });
        assert_eq!(parse("ping: unknown host"), None);
    }

    #[test]
    fn each_answer_is_a_round_trip_and_a_duplicate_is_none() {
        let text = "64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=12.5 ms\n64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=13 ms (DUP!)\n\
            From 10.0.0.1 icmp_seq=2 Destination Host Unreachable\n64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=20 ms\n\n\
            3 packets transmitted, 2 received, +1 duplicates, +1 errors, 33% packet loss, time 402ms\n";
        let trips = round_trips(text).unwrap();
        assert_eq!((trips.sent, trips.times.len()), (3, 2));
        assert_eq!(trips.percentile(95.0), Some(Duration::from_millis(20)));
        assert_eq!(trips.percentile(50.0), Some(Duration::from_micros(12_500)));
        assert_eq!(RoundTrips::default().percentile(50.0), None);
    }
}
