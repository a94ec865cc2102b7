//! A bond in words: what it carries in all, then a line for every path and every uplink that is none.

use serde_json::Value;

use super::{array, text};

/// The bond of a member, as its program or the relay reports it; nothing when there is none.
pub(super) fn in_words(bond: &Value, indent: &str, out: &mut String) {
    if bond.is_null() {
        return;
    }
    let (paths, absent) = (array(&bond["paths"]), array(&bond["absent"]));
    let word = if paths.len() == 1 { "path" } else { "paths" };
    out.push_str(&format!(
        "{indent}bond of {} {word}: out {} Mbit/s, in {} Mbit/s\n",
        paths.len(),
        mbit(&bond["goodput"][0]),
        mbit(&bond["goodput"][1])
    ));
    let patience = bond["patience_ms"].as_f64().unwrap_or(0.0);
    out.push_str(&format!("{indent}  in: {}; a flow waits {patience:.0} ms at most\n", restored(&bond["inbound"])));
    for one in paths {
        out.push_str(&format!("{indent}  {}\n", path(one, paths)));
    }
    for shared in array(&bond["shared"]) {
        let names: Vec<String> = array(&shared["names"]).iter().map(text).collect();
        let hint = "when they are one line, nothing adds up";
        out.push_str(&format!("{indent}  {} are seen at the same address, {}: {hint}\n", names.join(" and "), text(&shared["address"])));
    }
    for uplink in absent {
        out.push_str(&format!("{indent}  {}: not connected: {}\n", text(&uplink["name"]), text(&uplink["because"])));
    }
}

/// What it carries in all, in one line.
pub(super) fn summary(bond: &Value) -> String {
    let [out, into] = [0, 1].map(|at| mbit(&bond["goodput"][at]));
    format!("bond: out {out} Mbit/s, in {into} Mbit/s; {}", restored(&bond["inbound"]))
}

fn restored(inbound: &Value) -> String {
    format!(
        "{} duplicates removed, {} held for their order ({} now), {} sent once more, {} given up, {} late",
        inbound["duplicates"],
        inbound["held"],
        inbound["waiting"],
        inbound["repeated"].as_u64().unwrap_or(0),
        inbound["given_up"],
        inbound["late"]
    )
}

/// One of these paths.
pub(super) fn path(path: &Value, all: &[Value]) -> String {
    let mut out = format!("{}: {}, {}", text(&path["name"]), state(path), text(&path["role"]));
    out.push_str(if path["carrier"] == "stream" { ", by TLS (TCP)" } else { ", by QUIC (UDP)" });
    if let Some(remote) = path["remote"].as_str().filter(|remote| path["name"] != *remote) {
        out.push_str(&format!(" to {remote}"));
    }
    if let Some(rtt) = path["rtt_ms"].as_f64() {
        out.push_str(&format!(", RTT {rtt:.1} ms"));
    }
    if let Some(loss) = loss_percent(path) {
        out.push_str(&format!(", {loss:.1} % lost"));
    }
    for (at, way) in ["out", "in"].into_iter().enumerate() {
        out.push_str(&format!(", {way} {} Mbit/s{}", mbit(&path["rate"][at]), share(path, all, at)));
    }
    out.push_str(&format!(", takes {} Mbit/s and datagrams of {} bytes", mbit(&path["capacity"]), path["budget"]));
    out.push_str(&cap(path));
    out
}

/// Whether a path carries, and why not.
pub(super) fn state(path: &Value) -> String {
    if path["is_alive"] == Value::Bool(true) {
        return format!("alive for {} s", path["seconds"]);
    }
    let silent = path["silent_ms"].as_f64().map_or_else(|| "silent".to_owned(), |ms| format!("silent for {:.1} s", ms / 1e3));
    match path["trouble"].as_str() {
        Some(why) => format!("{silent} ({why})"),
        None => silent,
    }
}

/// Packets lost of those sent, in percent. A stream does not count them.
pub(super) fn loss_percent(path: &Value) -> Option<f64> {
    let (sent, lost) = (path["packets"][0].as_f64()?, path["packets"][1].as_f64()?);
    (sent > 0.0).then(|| 100.0 * lost / sent)
}

fn share(path: &Value, all: &[Value], at: usize) -> String {
    let rate = |path: &Value| path["rate"][at].as_f64().unwrap_or(0.0);
    let sum: f64 = all.iter().map(rate).sum();
    if sum > 0.0 { format!(" ({:.0} %)", 100.0 * rate(path) / sum) } else { String::new() }
}

/// What may be used in a month, and is, where that is known.
fn cap(path: &Value) -> String {
    let gigabytes = |bytes: f64| bytes / 1e9;
    match (path["cap"].as_f64(), path["cap_used"].as_f64()) {
        (Some(cap), Some(used)) => format!(", {:.2} of {:.1} GB used this month", gigabytes(used), gigabytes(cap)),
        (Some(cap), None) => format!(", {:.1} GB a month", gigabytes(cap)),
        (None, _) => String::new(),
    }
}

/// Bytes per second in Mbit/s.
fn mbit(rate: &Value) -> String {
    rate.as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{:.1}", rate * 8.0 / 1e6))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bond() -> Value {
        json!({
            "paths": [
                { "path": 0, "name": "dsl0", "carrier": "quic", "role": "primary", "is_alive": true, "silent_ms": null, "trouble": null,
                  "remote": "192.0.2.1:443", "rtt_ms": 20.26, "packets": [1000, 3], "bytes": [1, 2], "rate": [3_000_000, 0],
                  "capacity": 3_600_000, "budget": 1414, "cap": null, "seconds": 93 },
                { "path": 1, "name": "lte0", "carrier": "stream", "role": "backup", "is_alive": false, "silent_ms": 3210,
                  "trouble": "lte0 has no carrier", "remote": "192.0.2.1:443", "rtt_ms": null, "packets": [0, 0], "bytes": [0, 0],
                  "rate": [1_000_000, 0], "capacity": 1, "budget": 1300, "cap": 50_000_000_000u64, "cap_used": 3_140_000_000u64, "seconds": 95 },
            ],
            "shared": [{ "names": ["dsl0", "lte0"], "address": "192.0.2.7" }],
            "absent": [{ "name": "sat0", "role": "primary", "because": "there is no interface sat0" }],
            "inbound": { "duplicates": 12, "late": 1, "held": 340, "repeated": 5, "given_up": 2, "out_of_patience": 0, "waiting": 7 },
            "patience_ms": 75.2, "goodput": [3_750_000, 0], "bytes": [1, 2],
        })
    }

    #[test]
    fn every_path_has_a_line_and_every_missing_uplink_a_reason() {
        let mut out = String::new();
        in_words(&bond(), "  ", &mut out);
        let expected = "  bond of 2 paths: out 30.0 Mbit/s, in 0.0 Mbit/s
    in: 12 duplicates removed, 340 held for their order (7 now), 5 sent once more, 2 given up, 1 late; a flow waits 75 ms at most
    dsl0: alive for 93 s, primary, by QUIC (UDP) to 192.0.2.1:443, RTT 20.3 ms, 0.3 % lost, out 24.0 Mbit/s (75 %), in 0.0 Mbit/s, takes 28.8 Mbit/s and datagrams of 1414 bytes
    lte0: silent for 3.2 s (lte0 has no carrier), backup, by TLS (TCP) to 192.0.2.1:443, out 8.0 Mbit/s (25 %), in 0.0 Mbit/s, takes 0.0 Mbit/s and datagrams of 1300 bytes, 3.14 of 50.0 GB used this month
    dsl0 and lte0 are seen at the same address, 192.0.2.7: when they are one line, nothing adds up
    sat0: not connected: there is no interface sat0
";
        assert_eq!(out, expected);
    }

    #[test]
    fn who_has_no_bond_has_no_line() {
        let mut out = String::new();
        in_words(&Value::Null, "  ", &mut out);
        assert_eq!(out, "");
    }
}
