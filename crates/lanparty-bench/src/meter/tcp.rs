//! TCP streams, taken with `iperf3`. The congestion control is asked for by name: a default of BBR flatters a tunnel that loses.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lanparty_lab::{Namespace, Program};
use serde::{Deserialize, Serialize};

/// What most machines at a LAN party use.
const CONGESTION_CONTROL: &str = "cubic";
/// Patience with a server that starts and with a client that ends late.
const GRACE: Duration = Duration::from_secs(15);

/// What all streams together carried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Tcp {
    /// Counted at the receiver.
    pub(crate) mbit_s: f64,
    pub(crate) bytes: u64,
    pub(crate) retransmits: u64,
}

/// Sends `streams` from `from` to the address `to` of `at` for `duration`.
pub(crate) fn run(from: &Namespace, at: &Namespace, to: Ipv4Addr, streams: u32, duration: Duration) -> Result<Tcp> {
    let (to, seconds, streams) = (to.to_string(), duration.as_secs().max(1).to_string(), streams.to_string());
    let server = at.spawn(Program::new("iperf3").named("iperf3-server").args(["-s", "-1", "--forceflush", "-B", &to]))?;
    server.wait_for("Server listening", GRACE)?;
    let words = ["-c", &to, "-t", &seconds, "-P", &streams, "-C", CONGESTION_CONTROL, "-J"];
    let client = from.spawn(Program::new("iperf3").named("iperf3-client").args(words))?;
    client.exit_code(duration + GRACE)?;
    // The reading threads may be a moment behind the end of the process.
    let text = client.wait_for_line(0, "}", |line| line == "}", GRACE).map(|_| client.lines().join("\n"));
    parse(&text?).with_context(|| format!("the answer of iperf3{}", client.tail()))
}

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(default)]
    end: End,
}

#[derive(Deserialize, Default)]
struct End {
    sum_sent: Option<Sum>,
    sum_received: Option<Sum>,
    sender_tcp_congestion: Option<String>,
}

#[derive(Deserialize)]
struct Sum {
    bytes: u64,
    bits_per_second: f64,
    retransmits: Option<u64>,
}

fn parse(json: &str) -> Result<Tcp> {
    let answer: Answer = serde_json::from_str(json)?;
    if let Some(error) = answer.error {
        bail!("iperf3: {error}");
    }
    let used = answer.end.sender_tcp_congestion.context("no congestion control named")?;
    ensure!(used == CONGESTION_CONTROL, "the stream used {used}, not {CONGESTION_CONTROL}");
    let received = answer.end.sum_received.context("no sum of what was received")?;
    ensure!(received.bytes > 0, "nothing was received");
    let retransmits = answer.end.sum_sent.and_then(|sent| sent.retransmits).unwrap_or(0);
    Ok(Tcp { mbit_s: received.bits_per_second / 1e6, bytes: received.bytes, retransmits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_receiver_counted_is_the_figure() {
        let json = r#"{"start": {"version": "iperf 3.12"}, "intervals": [], "end": {
            "streams": [], "sum_sent": {"bytes": 1300, "bits_per_second": 13e6, "retransmits": 7, "sender": true},
            "sum_received": {"bytes": 1250, "bits_per_second": 12.5e6, "sender": true},
            "sender_tcp_congestion": "cubic", "receiver_tcp_congestion": "bbr"}}"#;
        assert_eq!(parse(json).unwrap(), Tcp { mbit_s: 12.5, bytes: 1250, retransmits: 7 });
    }

    #[test]
    fn another_congestion_control_is_an_error_and_so_is_an_error() {
        let json = r#"{"end": {"sum_received": {"bytes": 1, "bits_per_second": 1}, "sender_tcp_congestion": "bbr"}}"#;
        assert!(parse(json).unwrap_err().to_string().contains("bbr"));
        let json = r#"{"start": {}, "end": {}, "error": "unable to connect to server: Connection refused"}"#;
        assert!(parse(json).unwrap_err().to_string().contains("Connection refused"));
    }
}
