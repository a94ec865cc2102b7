//! What `lanparty status --watch` remembers: for every path of every program here, how fast it was at each look.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde_json::Value;

use super::{array, bond, silent, text};

/// Looks that are remembered: more than a wide terminal shows.
const LOOKS_MAX: usize = 240;

/// A path as it is at one look.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PathNow {
    /// Its name among those of its program.
    pub(super) name: String,
    /// Its state and what else is known of it, in words.
    pub(super) words: String,
    pub(super) is_alive: bool,
    /// Bytes out and in so far; nothing when it is no path now.
    bytes: Option<(u64, u64)>,
}

/// The rates of one path, oldest first, in bits per second.
#[derive(Default)]
pub(super) struct Course {
    before: Option<(Instant, (u64, u64))>,
    pub(super) out: VecDeque<u64>,
    pub(super) into: VecDeque<u64>,
}

/// A program with its paths.
pub(super) struct Program {
    pub(super) title: String,
    /// What holds for all of its paths.
    pub(super) notes: Vec<String>,
    pub(super) paths: Vec<PathNow>,
}

/// All that was seen.
#[derive(Default)]
pub(super) struct History {
    pub(super) programs: Vec<Program>,
    courses: BTreeMap<(String, String), Course>,
}

impl History {
    /// Takes in what the programs say at `now`.
    pub(super) fn look(&mut self, programs: &[Value], now: Instant) {
        self.programs = programs.iter().map(program).collect();
        for program in &self.programs {
            for path in &program.paths {
                self.courses.entry((program.title.clone(), path.name.clone())).or_default().look(path.bytes, now);
            }
        }
        let is_there = |title: &str| self.programs.iter().any(|program| program.title == title);
        self.courses.retain(|(title, _), _| is_there(title));
    }

    /// How a path went so far.
    pub(super) fn course(&self, program: &Program, path: &PathNow) -> Option<&Course> {
        self.courses.get(&(program.title.clone(), path.name.clone()))
    }
}

impl Course {
    fn look(&mut self, bytes: Option<(u64, u64)>, now: Instant) {
        let (out, into) = match (self.before, bytes) {
            (Some((at, before)), Some(bytes)) => {
                let seconds = now.saturating_duration_since(at).as_secs_f64().max(1e-3);
                // A new connection counts from 0.
                let rate = |now: u64, before: u64| (now.checked_sub(before).unwrap_or(now) as f64 * 8.0 / seconds) as u64;
                (rate(bytes.0, before.0), rate(bytes.1, before.1))
            }
            _ => (0, 0),
        };
        if self.before.is_some() {
            push(&mut self.out, out);
            push(&mut self.into, into);
        }
        self.before = Some((now, bytes.unwrap_or_default()));
    }
}

fn push(rates: &mut VecDeque<u64>, rate: u64) {
    rates.push_back(rate);
    if rates.len() > LOOKS_MAX {
        rates.pop_front();
    }
}

fn program(program: &Value) -> Program {
    let Some(name) = program["program"].as_str() else {
        return Program { title: silent(program).0, notes: vec![], paths: vec![] };
    };
    match name {
        "lanparty-client" | "lanparty-gateway" => member(name, program),
        "lanparty-relay" => relay(name, program),
        _ => Program { title: format!("{name} {}", text(&program["interface"])), notes: vec![], paths: vec![] },
    }
}

fn member(name: &str, program: &Value) -> Program {
    let title = format!("{name} {} in room {} at {}", text(&program["interface"]), text(&program["room"]), text(&program["relay"]));
    let (report, mut notes) = (&program["bond"], vec![]);
    if program["relay_reachable"] != Value::Bool(true) {
        let is_alone = array(&program["members"]).is_empty();
        notes.push(if is_alone { "not joined" } else { "the relay is away; those who are reached directly play on" }.to_owned());
    }
    if !report.is_null() {
        notes.push(bond::summary(report));
        return Program { title, notes, paths: paths(report, "") };
    }
    let frames = &program["frames"];
    let bytes = Some((number(&frames["outbound"]["bytes_forwarded"]), number(&frames["inbound"]["bytes_in"])));
    let name = if program["way"]["carrier"] == "stream" { "TLS (TCP)" } else { "QUIC (UDP)" };
    let packets = serde_json::json!({ "packets": [program["packets_sent"], program["packets_lost"]] });
    let words = measures(&program["rtt_ms"], &packets);
    let is_alive = program["relay_reachable"] == Value::Bool(true);
    Program { title, notes, paths: vec![PathNow { name: name.to_owned(), words, is_alive, bytes }] }
}

/// The members that are there by several paths.
fn relay(name: &str, program: &Value) -> Program {
    let mut all = vec![];
    for room in array(&program["rooms"]) {
        for m in array(&room["members"]).iter().filter(|m| !m["bond"].is_null()) {
            all.extend(paths(&m["bond"], &format!("{} peer {} ", text(&room["room"]), m["member"])));
        }
    }
    let notes = if all.is_empty() { vec!["no member is here by several paths".to_owned()] } else { vec![] };
    Program { title: format!("{name} at {}", text(&program["listen"])), notes, paths: all }
}

fn paths(report: &Value, whose: &str) -> Vec<PathNow> {
    let path = |path: &Value| PathNow {
        name: format!("{whose}{}", text(&path["name"])),
        words: format!("{}, {}{}", bond::state(path), text(&path["role"]), measures(&path["rtt_ms"], path)),
        is_alive: path["is_alive"] == Value::Bool(true),
        bytes: Some((number(&path["bytes"][0]), number(&path["bytes"][1]))),
    };
    let absent = |uplink: &Value| PathNow {
        name: format!("{whose}{}", text(&uplink["name"])),
        words: format!("not connected: {}", text(&uplink["because"])),
        is_alive: false,
        bytes: None,
    };
    array(&report["paths"]).iter().map(path).chain(array(&report["absent"]).iter().map(absent)).collect()
}

fn measures(rtt_ms: &Value, path: &Value) -> String {
    let rtt = rtt_ms.as_f64().map_or_else(String::new, |rtt| format!(", RTT {rtt:.1} ms"));
    let loss = bond::loss_percent(path).map_or_else(String::new, |loss| format!(", {loss:.1} % lost"));
    format!("{rtt}{loss}")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn client(bytes: u64) -> Value {
        json!({
            "program": "lanparty-client", "interface": "lan0", "room": "ROOM1", "relay": "192.0.2.1:443", "relay_reachable": true,
            "bond": {
                "paths": [{ "name": "dsl0", "role": "primary", "is_alive": true, "seconds": 9, "rtt_ms": 20.0, "packets": [100, 1], "bytes": [bytes, 0] }],
                "absent": [{ "name": "lte0", "because": "lte0 has no carrier" }],
                "goodput": [0, 0], "inbound": {},
            },
        })
    }

    #[test]
    fn rates_are_what_came_between_two_looks_also_after_a_new_connection() {
        let (mut history, start) = (History::default(), Instant::now());
        for (second, bytes) in [(0, 1000), (1, 126_000), (2, 50_000)] {
            history.look(&[client(bytes)], start + Duration::from_secs(second));
        }
        let program = &history.programs[0];
        let out: Vec<_> = history.course(program, &program.paths[0]).unwrap().out.iter().copied().collect();
        assert_eq!(out, [1_000_000, 400_000]);
        assert_eq!(program.paths[1].words, "not connected: lte0 has no carrier");
        history.look(&[], start + Duration::from_secs(3));
        assert!(history.courses.is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn a_member_without_a_bond_has_one_path() {
        let program = json!({
            "program": "lanparty-gateway", "interface": "eth0", "room": "R", "relay": "x", "relay_reachable": true, "bond": null,
            "way": { "carrier": "stream" }, "rtt_ms": 3.2, "packets_sent": 0, "packets_lost": 0,
            "frames": { "outbound": { "bytes_forwarded": 7 }, "inbound": { "bytes_in": 9 } },
        });
        let mut history = History::default();
        history.look(&[program], Instant::now());
        let paths = &history.programs[0].paths;
        let expected = PathNow { name: "TLS (TCP)".into(), words: ", RTT 3.2 ms".into(), is_alive: true, bytes: Some((7, 9)) };
        assert_eq!(paths, &[expected]);
    }
}
