//! The hole in the wire: packets above a size vanish at the switch, in every direction, and nobody is told.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bed::{Bed, Host};

/// IP and ICMP headers around what `ping -s` counts.
const PING_HEADERS: u16 = 28;

/// A rule on the [`Bed`]'s switch.
pub(crate) struct BlackHole {
    dropped_before: u64,
}

impl BlackHole {
    /// Lets nothing above `mtu` bytes of IP pass from now on, and makes sure that exactly this is so.
    pub(crate) fn open(bed: &Bed, mtu: u16) -> Result<Self> {
        // The header of IPv6 does not count itself.
        let (v4, v6) = (format!("ip length > {mtu} counter drop"), format!("ip6 length > {} counter drop", mtu - 40));
        let rules = format!("table bridge hole {{\nchain forward {{\ntype filter hook forward priority 0\n{v4}\n{v6}\n}}\n}}\n");
        let file = bed.file("hole.nft", &rules)?;
        let file = file.to_str().context("a path that is no text")?;
        bed.switch().run(&["nft", "-f", file])?;
        for host in Host::ENDS {
            ensure!(passes(bed, host, mtu)?, "a packet of {mtu} bytes does not pass");
            ensure!(!passes(bed, host, mtu + 1)?, "a packet of {} bytes passes", mtu + 1);
        }
        Ok(Self { dropped_before: dropped(bed)? })
    }

    /// Packets that vanished since.
    pub(crate) fn dropped(&self, bed: &Bed) -> Result<u64> {
        Ok(dropped(bed)? - self.dropped_before)
    }
}

/// Whether one of three echo requests of `len` bytes of IP comes back.
fn passes(bed: &Bed, from: Host, len: u16) -> Result<bool> {
    let (payload, relay) = ((len - PING_HEADERS).to_string(), Host::Relay.outer().to_string());
    let words = ["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "1", "-M", "do", "-s", &payload, &relay];
    Ok(bed.host(from).run_any(&words)?.status.success())
}

fn dropped(bed: &Bed) -> Result<u64> {
    let json = bed.switch().run(&["nft", "-j", "list", "table", "bridge", "hole"])?.stdout;
    let json: Value = serde_json::from_str(&json).context("the answer of nft")?;
    Ok(packets(&json))
}

/// The sum of all counters.
fn packets(ruleset: &Value) -> u64 {
    let rules = ruleset["nftables"].as_array().into_iter().flatten().filter_map(|object| object["rule"]["expr"].as_array());
    rules.flatten().filter_map(|expression| expression["counter"]["packets"].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packets_of_all_rules_are_counted() {
        let counter =
            |packets: u64| json!({ "rule": { "expr": [{ "match": {} }, { "counter": { "packets": packets } }, { "drop": null }] } });
        assert_eq!(packets(&json!({ "nftables": [{ "metainfo": {} }, { "table": {} }, counter(3), counter(4)] })), 7);
    }
}
