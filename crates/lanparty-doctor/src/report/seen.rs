//! What was seen, one line for each subject: the facts that people ask for even when nothing is wrong.

use lanparty_proto::Role;

use crate::rules::path_lan_mtu;
use crate::words::{count, day, list, span};
use crate::{DirectionFacts, Discovery, DiscoveryKind, Facts, HostFacts, RelayFacts, RoomFacts, SizeFailure, SizeProbe};

pub(super) fn lines(facts: &Facts) -> Vec<String> {
    let mut lines = vec![];
    lines.extend(host(&facts.host));
    if let Some(r) = &facts.relay {
        lines.extend([reached(r), round_trip(r), sizes(r), others(r), room_over(r), nat(r), certificate(r)].into_iter().flatten());
    }
    if let Some(r) = &facts.room {
        lines.extend(room(r));
        let is_gateway = r.members.iter().flatten().any(|m| m.is_self && m.role == Role::Gateway);
        let here = if is_gateway { "the LAN of this gateway" } else { "this host" };
        lines.extend(r.discovery.iter().flatten().map(|d| discovery(d, here)));
    }
    lines
}

fn host(h: &HostFacts) -> Option<String> {
    let mut words = vec![format!("this machine: {}", h.os.as_deref()?)];
    words.extend(h.kernel.clone());
    words.extend(h.is_wsl2.filter(|wsl| *wsl).map(|_| "WSL2".to_owned()));
    let uplink = |i: &&crate::Interface| i.is_uplink;
    words.extend(h.interfaces.iter().flatten().filter(uplink).map(|i| format!("uplink {} with MTU {}", i.name, i.mtu)));
    words.extend(h.ipv6.map(|on| format!("IPv6 {}", if on { "on" } else { "off" })));
    Some(words.join(", "))
}

fn reached(r: &RelayFacts) -> Option<String> {
    if let Some(stream) = r.stream() {
        let took = stream.duration_ms.map_or_else(String::new, |ms| format!(" in {ms:.0} ms"));
        return Some(format!("the relay {} answers by TLS (TCP) at {}{took}", r.name, stream.place));
    }
    let quic = r.quic.as_ref().filter(|q| q.ok)?;
    let address = r.remote.map_or_else(String::new, |remote| format!(" at {remote}"));
    let took = quic.duration_ms.map_or_else(String::new, |ms| format!(" in {ms:.0} ms"));
    Some(format!("the relay {}{address} answers by QUIC{took}", r.name))
}

fn round_trip(r: &RelayFacts) -> Option<String> {
    let rtt = r.rtt.as_ref()?;
    let lost = format!("{} of {} lost", rtt.lost, count(rtt.sent.into(), "probe"));
    Some(match (rtt.min_ms, rtt.median_ms, rtt.max_ms) {
        (Some(min), Some(median), Some(max)) => format!("round trip {median:.1} ms ({min:.1} to {max:.1}), {lost}"),
        _ => lost,
    })
}

/// The sentence that ends the search: `safe size N, N+1 vanishes without a word`.
fn sizes(r: &RelayFacts) -> Option<String> {
    let probe = |d: &Option<DirectionFacts>| d.as_ref()?.with_df.clone();
    let (up, down) = (probe(&r.up), probe(&r.down));
    let carried = |p: &SizeProbe| p.passed.unwrap_or(0);
    let carries = match (&up, &down) {
        (Some(up), Some(down)) if carried(up) == carried(down) => format!("{} bytes up and down", carried(up)),
        (Some(up), Some(down)) => format!("{} bytes up and {} down", carried(up), carried(down)),
        (Some(up), None) => format!("{} bytes up", carried(up)),
        (None, Some(down)) => format!("{} bytes down", carried(down)),
        (None, None) => return None,
    };
    let smallest = [up, down].into_iter().flatten().min_by_key(carried)?;
    Some(format!("the path to the relay carries {carries}; {}", edge(&smallest)))
}

fn edge(p: &SizeProbe) -> String {
    let safe = p.passed.unwrap_or(0);
    match (p.failed, p.how) {
        (None, _) => format!("safe size {safe}, the largest that was tried"),
        (Some(failed), Some(SizeFailure::Silent)) => format!("safe size {safe}, {failed} vanishes without a word"),
        (Some(failed), Some(SizeFailure::Local)) => format!("safe size {safe}, {failed} is more than the own interface takes"),
        (Some(failed), Some(SizeFailure::IcmpTooBig { .. })) => format!("safe size {safe}, at {failed} a router says that it is too big"),
        (Some(failed), None) => format!("safe size {safe}, {failed} does not pass"),
    }
}

/// Fragments and ICMP.
fn others(r: &RelayFacts) -> Option<String> {
    let pass = |d: &Option<DirectionFacts>| d.as_ref()?.fragments_pass;
    let word = |pass: bool| if pass { "pass" } else { "are dropped" };
    let fragments = match (pass(&r.up), pass(&r.down)) {
        (Some(up), Some(down)) if up == down => Some(format!("IP fragments {} in both directions", word(up))),
        (Some(up), Some(down)) => Some(format!("IP fragments {} up and {} down", word(up), word(down))),
        (Some(up), None) => Some(format!("IP fragments {} up", word(up))),
        (None, Some(down)) => Some(format!("IP fragments {} down", word(down))),
        (None, None) => None,
    };
    let mut heard = [&r.up, &r.down].into_iter().flatten().filter_map(|d| d.icmp_too_big_heard).peekable();
    let icmp =
        heard.peek().is_some().then(|| format!("ICMP packet-too-big {}", if heard.any(|h| h) { "arrives" } else { "does not arrive" }));
    let said: Vec<_> = [fragments, icmp].into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn room_over(r: &RelayFacts) -> Option<String> {
    let mtu = path_lan_mtu(r)?;
    Some(format!("a room over this path has a LAN MTU of up to {mtu}"))
}

fn nat(r: &RelayFacts) -> Option<String> {
    let nat = r.nat.as_ref()?;
    let first = nat.observed.first()?.address;
    if nat.local == Some(first) {
        return Some(format!("no NAT: the relay sees {first}, which is this host's own address"));
    }
    let same = nat.observed.len() > 1 && nat.observed.iter().all(|o| o.address == first);
    Some(format!("NAT: the relay sees {first}{}", if same { ", the same from each of its ports" } else { "" }))
}

fn certificate(r: &RelayFacts) -> Option<String> {
    let c = r.certificate.as_ref()?;
    let until = c.not_after_s.map_or_else(String::new, |until| format!(", valid until {}", day(until)));
    let clock = r.clock_offset_s.map_or_else(String::new, |s| format!("; clocks differ by {:.1} s", s.abs()));
    Some(format!("the relay's certificate is for {}{until}{clock}", list(&c.names)))
}

fn room(r: &RoomFacts) -> Option<String> {
    let name = r.room.as_deref()?;
    let mtu = r.lan_mtu.map_or_else(String::new, |mtu| format!(", LAN MTU {mtu}"));
    let members = r.members.as_ref().map_or_else(String::new, |all| {
        let gateways = all.iter().filter(|m| m.role == Role::Gateway).count();
        format!(", {}, {}", count(all.len() as u64, "member"), count(gateways as u64, "gateway"))
    });
    Some(format!("room {name}{mtu}{members}"))
}

/// What `from` sent to all, and who answered: `here`, when it came from elsewhere.
fn discovery(d: &Discovery, here: &str) -> String {
    let kind = match &d.kind {
        DiscoveryKind::Mdns => "mDNS",
        DiscoveryKind::Ssdp => "SSDP",
        DiscoveryKind::Llmnr => "LLMNR",
        DiscoveryKind::NetBios => "NetBIOS",
        DiscoveryKind::Game(name) => name,
        DiscoveryKind::Other => "other broadcast",
    };
    let port = d.port.map_or_else(String::new, |port| format!(" (UDP {port})"));
    let from = if d.from_self { "this host".to_owned() } else { d.from.to_string() };
    let what = if d.is_announcement { "announcement" } else { "time" };
    let answered = match (d.answered, d.from_self) {
        (Some(true), true) => ", answered".to_owned(),
        (Some(false), true) => ", answered by nobody".to_owned(),
        (Some(true), false) => format!(", {here} answered"),
        (Some(false), false) => format!(", {here} did not answer"),
        (None, _) => String::new(),
    };
    let ago = span(i64::try_from(d.age_ms / 1_000).unwrap_or(i64::MAX));
    format!("{kind}{port} from {from}: {}, the last {ago} ago{answered}", count(d.count.max(1), what))
}
