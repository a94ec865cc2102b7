//! `lanparty status`: what the programs on this machine are doing, in words or JSON.

use clap::Args;
use lanparty_node::{Fault, print, program_at, query_all};
use serde_json::Value;

use crate::program::unreadable;

mod bond;
mod dhcp;
mod filter;
mod history;
mod multicast;
mod view;
mod watch;

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Print JSON: an array with one object per program
    #[arg(long)]
    json: bool,

    /// Show every path live, with its rates: q or Ctrl-C ends. Without a terminal the same as text, once a second
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

pub(crate) async fn run(args: StatusArgs) -> Result<(), Fault> {
    if args.watch {
        return watch::run().await;
    }
    let programs = query_all().await.map_err(|e| unreadable(&e))?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&programs).expect("INVARIANT: a JSON value has a text"))
    } else if programs.is_empty() {
        "no lanparty program is running here, or it belongs to another user\n".to_owned()
    } else {
        programs.iter().map(in_words).collect::<Vec<_>>().join("\n")
    };
    print(&text)
}

fn in_words(program: &Value) -> String {
    let Some(name) = program["program"].as_str() else {
        let (title, advice) = silent(program);
        return format!("{title}\n  {}: {advice}\n", text(&program["socket"]));
    };
    let mut out = format!("{name} {}\n", text(&program["version"]));
    match name {
        "lanparty-relay" => relay(program, &mut out),
        "lanparty-cable" => cable(program, &mut out),
        "lanparty-client" | "lanparty-gateway" => member(program, &mut out),
        _ => {}
    }
    out
}

/// A program that was asked in vain: what is wrong, and what to do.
fn silent(program: &Value) -> (String, &'static str) {
    let name = program_at(std::path::Path::new(&text(&program["socket"])));
    match program["because"].as_str() {
        Some("not-permitted") => {
            let advice = "ask as the user who started it, often root, or as a member of its --management-group";
            (format!("{name} belongs to another user"), advice)
        }
        Some("no-answer") => (format!("{name} does not answer"), "look at its log, or start it again"),
        _ => (format!("{name} cannot be asked: {}", text(&program["error"])), "look at its log"),
    }
}

fn relay(program: &Value, out: &mut String) {
    out.push_str(&format!("  listening on {}, {} connections\n", text(&program["listen"]), program["connections"]));
    for room in array(&program["rooms"]) {
        out.push_str(&format!(
            "  room {}{}, LAN MTU {}{}, multicast {}\n",
            text(&room["room"]),
            allowed(room),
            room["lan_mtu"],
            limited_by(room),
            text(&room["multicast"])
        ));
        for standby in array(&room["standbys"]) {
            out.push_str(&format!("    Gateway {} from {} stands by\n", text(&standby["mac"]), text(&standby["remote"])));
        }
        for m in array(&room["members"]) {
            out.push_str(&format!(
                "    {} peer {} {}{}{}{} from {} for {} s, datagrams up {} down {}{}\n",
                text(&m["role"]),
                m["member"],
                text(&m["mac"]),
                calls_itself(m),
                m["user"].as_str().map_or_else(String::new, |user| format!(" (user {user})")),
                m["address"].as_str().map_or_else(String::new, |address| format!(" {address}")),
                text(&m["remote"]),
                m["joined_s_ago"],
                m["budget_up"],
                m["budget_down"],
                if m["lan_up"] == Value::Bool(false) { ", its LAN has no carrier" } else { "" },
            ));
            bond::in_words(&m["bond"], "      ", out);
            multicast::groups_in_words(&m["groups"], out);
            frames("from it", &m["from_member"], out);
            let why = m["copies_dropped_by"].as_object().into_iter().flatten().map(|(reason, n)| format!(" {reason} {n}"));
            out.push_str(&format!(
                "      toward it: {} sent, {} dropped{}\n",
                m["copies_out"],
                m["copies_dropped"],
                why.collect::<String>()
            ));
        }
    }
}

/// What the relay's operator says of a room.
fn allowed(room: &Value) -> String {
    let closed = if room["closed"] == Value::Bool(true) { " (closed)" } else { "" };
    let bandwidth = room["bandwidth"]["bits_per_second"].as_u64().map_or_else(String::new, |bits| {
        let dropped = &room["bandwidth"]["frames_dropped"];
        format!(", at most {:.1} Mbit/s ({dropped} frames dropped for that)", bits as f64 / 1e6)
    });
    format!("{closed}{bandwidth}")
}

/// What a member says of itself: for people, and no proof of anything.
fn calls_itself(member: &Value) -> String {
    let said = member["description"].as_str().filter(|said| !said.is_empty());
    said.map_or_else(String::new, |said| format!(" \"{said}\""))
}

/// Who keeps the LAN MTU as small as it is: `told` is a room, or a member that is in one.
fn limited_by(told: &Value) -> String {
    match told["lan_mtu_limited_by"].as_u64() {
        None => String::new(),
        Some(id) if told["peer"] == id => ", as this one takes no more (its path or its --mtu)".to_owned(),
        Some(id) => format!(", as peer {id} takes no more (its path or its --mtu)"),
    }
}

/// By which way the relay is reached, and why not by QUIC.
fn carrier(way: &Value, out: &mut String) {
    let name = match way["carrier"].as_str() {
        Some("quic") => "QUIC (UDP)",
        Some("stream") => "TLS (TCP)",
        Some("bond") => "a bond",
        _ => return,
    };
    out.push_str(&format!(", by {name} for {} s", way["seconds"]));
    if let Some(because) = way["because"].as_str() {
        out.push_str(&format!(": {because}"));
    }
    if let Some(address) = way["opened_port"]["address"].as_str() {
        out.push_str(&format!("\n  the router lets other members in at {address} ({})", text(&way["opened_port"]["protocol"])));
    }
}

fn member(program: &Value, out: &mut String) {
    let reachable = match program["standby"]["behind"].as_u64() {
        _ if program["relay_reachable"] == Value::Bool(true) => "joined".to_owned(),
        Some(peer) => format!("standby behind peer {peer} at {} for {} s", text(&program["standby"]["mac"]), program["standby"]["since_s"]),
        None if array(&program["members"]).is_empty() => "not joined".to_owned(),
        None => "the relay is away; those who are reached directly play on".to_owned(),
    };
    out.push_str(&format!("  room {} at {}: {reachable}", text(&program["room"]), text(&program["relay"])));
    if let Some(rtt) = program["rtt_ms"].as_f64() {
        out.push_str(&format!(", RTT {rtt:.1} ms"));
    }
    carrier(&program["way"], out);
    let (interface, mac) = (text(&program["interface"]), text(&program["mac"]));
    out.push_str(&format!("\n  interface {interface} MAC {mac}"));
    // Outside of a room there is none.
    if let Some(lan_mtu) = program["lan_mtu"].as_u64() {
        out.push_str(&format!(" LAN MTU {lan_mtu}{}", limited_by(program)));
    }
    let addresses: Vec<String> = array(&program["addresses"]).iter().map(text).collect();
    if !addresses.is_empty() {
        out.push_str(&format!(" address {}", addresses.join(", ")));
    }
    out.push('\n');
    if let Some(name) = program["mdns_name"].as_str() {
        out.push_str(&format!("    the room finds it as {name}\n"));
    }
    origins(program, out);
    bond::in_words(&program["bond"], "  ", out);
    let is_joined = program["relay_reachable"] == Value::Bool(true);
    for m in array(&program["members"]) {
        let reached =
            array(&program["peers"]).iter().find(|peer| peer["id"] == m["id"]).map_or_else(String::new, |peer| reached(peer, is_joined));
        out.push_str(&format!("    {} peer {} {}{}{}{reached}\n", text(&m["role"]), m["id"], text(&m["mac"]), calls_itself(m), way(m)));
    }
    if program["frames"]["is_bridged"] == Value::Bool(true) {
        out.push_str("    carries nothing, a loop is blocked: its interface is bridged to the LAN of this room's own gateway\n");
    }
    findings(&program["findings"], out);
    frames("out", &program["frames"]["outbound"], out);
    frames("in ", &program["frames"]["inbound"], out);
    ladder(&program["frames"]["ladder"], out);
    array(&program["routes"]).iter().for_each(|route| out.push_str(&format!("    route {}", crate::route::in_words(route))));
    multicast::in_words(&program["frames"]["multicast"], out);
    dhcp::in_words(&program["dhcp"], out);
    filter::in_words(&program["frames"]["filter"], out);
}

/// Where each address came from, and why there is none.
fn origins(program: &Value, out: &mut String) {
    for address in array(&program["address_origins"]) {
        let state = match address["state"].as_str() {
            Some("asking") => "the room is asked whether it is free".to_owned(),
            Some("tentative") => "the system asks whether it is free".to_owned(),
            Some("taken") => match address["by"].as_str() {
                Some(mac) => format!("not set, the machine with MAC {mac} has it"),
                None => "not set, another machine has it".to_owned(),
            },
            Some("refused") => format!("not set: {}", text(&address["because"])),
            _ => "set".to_owned(),
        };
        out.push_str(&format!("    address {} ({}): {state}\n", text(&address["address"]), text(&address["origin"])));
    }
    if let Some(because) = program["no_address_because"].as_str() {
        out.push_str(&format!("    no address of the relay: {because}\n"));
    }
}

/// One end of a cable.
fn cable(program: &Value, out: &mut String) {
    let is_plugged = program["plugged"] == Value::Bool(true);
    out.push_str(&format!(
        "  cable {}: {} for {} s",
        text(&program["interface"]),
        if is_plugged { "plugged in" } else { "unplugged" },
        program["since_s"]
    ));
    if is_plugged {
        out.push_str(&format!(
            ", LAN MTU {}, datagrams out {} back {}",
            program["lan_mtu"], program["frames"]["budget"], program["frames"]["budget_back"]
        ));
    } else if let Some(why) = program["last_end"].as_str() {
        out.push_str(&format!(" ({why})"));
    }
    let said = program["peer_description"].as_str().filter(|said| !said.is_empty()).map_or_else(String::new, |said| format!(" \"{said}\""));
    out.push_str(&format!("\n  other end {}{said}\n    ", text(&program["peer"])));
    match (program["remote"].as_str(), program["dials"].as_str()) {
        (Some(remote), _) => out.push_str(&format!("at {remote}")),
        (None, Some(dials)) => out.push_str(&format!("dialling {dials}, listening on {}", text(&program["listen"]))),
        (None, None) => out.push_str(&format!("listening for it on {}", text(&program["listen"]))),
    }
    if let Some(rtt) = program["rtt_ms"].as_f64() {
        out.push_str(&format!(", RTT {rtt:.1} ms, {} of {} packets lost", program["packets_lost"], program["packets_sent"]));
    }
    out.push_str(&format!("\n  this end {}\n    MAC {}", text(&program["key"]), text(&program["mac"])));
    if let Some(bridge) = program["bridge"].as_str() {
        out.push_str(&format!(", port of {bridge}"));
    }
    out.push_str(if program["isolated"] == Value::Bool(true) { ", isolated\n" } else { "\n" });
    findings(&program["findings"], out);
    frames("out", &program["frames"]["outbound"], out);
    frames("in ", &program["frames"]["inbound"], out);
    ladder(&program["frames"]["ladder"], out);
    filter::in_words(&program["frames"]["filter"], out);
}

/// What is wrong with the room.
fn findings(all: &Value, out: &mut String) {
    for finding in all.as_array().into_iter().flatten() {
        out.push_str(&format!(
            "    {}: {}: {}\n      {}\n",
            text(&finding["severity"]),
            text(&finding["code"]),
            text(&finding["title"]),
            text(&finding["advice"])
        ));
    }
}

/// By which way a member is reached, and why not directly.
fn reached(peer: &Value, has_relay: bool) -> String {
    let paths: String = array(&peer["paths"]).iter().map(|path| format!("\n        {}", bond::path(path, array(&peer["paths"])))).collect();
    if let Some(because) = peer["because"].as_str() {
        let way = if has_relay { "by the relay" } else { "not reached while the relay is away" };
        return format!("\n      {way}: {because}{paths}");
    }
    let rtt = peer["rtt_ms"].as_f64().map_or_else(String::new, |rtt| format!(", RTT {rtt:.1} ms"));
    let (sent, lost) = (&peer["packets"][0], &peer["packets"][1]);
    let way = match array(&peer["paths"]).len() {
        0 => format!("directly, at {}", text(&peer["address"])),
        1 => "directly by 1 path".to_owned(),
        several => format!("directly by {several} paths"),
    };
    format!("\n      {way}{rtt}, {lost} of {sent} packets lost, for {} s{paths}", peer["seconds"])
}

/// What the way to a member takes, when that is less than the LAN MTU.
fn way(member: &Value) -> String {
    member["path_mtu"].as_u64().map_or_else(String::new, |mtu| format!(", its path takes {mtu} bytes only for now"))
}

/// What became of frames that were too large, rung by rung.
fn ladder(counters: &Value, out: &mut String) {
    let c = |name: &str| counters[name].as_u64().unwrap_or(0);
    out.push_str(&format!(
        "      too large: {} TCP connections clamped; packet-too-big told {} times over IPv4, {} over IPv6, withheld {}; {} packets fragmented into {}\n",
        c("mss_clamped"),
        c("too_big_v4"),
        c("too_big_v6"),
        c("answers_withheld"),
        c("fragmented"),
        c("fragments"),
    ));
    if c("told_mtu_lowered") > 0 {
        out.push_str(&format!("      MTU lowered in {} DHCP and router messages of the LAN\n", c("told_mtu_lowered")));
    }
}

fn frames(label: &str, counters: &Value, out: &mut String) {
    out.push_str(&format!("      {label}: {} frames, {} forwarded", counters["frames_in"], counters["forwarded"]));
    if counters["answered"].as_u64().is_some_and(|n| n > 0) {
        out.push_str(&format!(", {} answered", counters["answered"]));
    }
    let drops: Vec<String> = counters["dropped"]
        .as_object()
        .map(|all| all.iter().filter(|(_, n)| n.as_u64().is_some_and(|n| n > 0)).map(|(reason, n)| format!("{reason} {n}")).collect())
        .unwrap_or_default();
    out.push_str(&if drops.is_empty() { ", none dropped\n".to_owned() } else { format!(", dropped: {}\n", drops.join(", ")) });
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_program_that_cannot_be_asked_is_named_with_the_reason() {
        let said = |because: &str| in_words(&json!({ "socket": "/run/lanparty/client-lan0.sock", "error": "told so", "because": because }));
        assert!(said("not-permitted").starts_with("the client lan0 belongs to another user\n"), "{}", said("not-permitted"));
        assert!(said("no-answer").starts_with("the client lan0 does not answer\n"), "{}", said("no-answer"));
        assert!(said("").starts_with("the client lan0 cannot be asked: told so\n"), "{}", said(""));
    }

    #[test]
    fn outside_of_a_room_there_is_no_lan_mtu_and_a_relay_that_is_away_is_named() {
        let frames = json!({ "frames_in": 0, "forwarded": 0, "dropped": {} });
        let mut member = json!({
            "program": "lanparty-gateway", "version": "1", "room": "R", "relay": "x", "relay_reachable": false, "interface": "eth0",
            "mac": "02:00:00:00:00:01", "lan_mtu": null, "members": [], "peers": [], "frames": { "outbound": frames, "inbound": frames },
        });
        let said = in_words(&member);
        assert!(!said.contains("null") && said.contains(": not joined\n"), "{said}");
        member["lan_mtu"] = json!(1400);
        member["members"] = json!([{ "id": 2, "role": "client", "mac": "02:00:00:00:00:02" }]);
        member["peers"] = json!([{ "id": 2, "because": "it is being tried", "paths": [] }]);
        let said = in_words(&member);
        assert!(said.contains("the relay is away") && said.contains("LAN MTU 1400"), "{said}");
        assert!(said.contains("not reached while the relay is away: it is being tried"), "{said}");
    }
}
