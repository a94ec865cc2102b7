//! `ping`, the one that people use, read back as numbers.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

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
}
