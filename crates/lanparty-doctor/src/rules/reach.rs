//! Does anything come back from the relay?

use crate::words::list;
use crate::{AddressFacts, Code, Finding, Measurement, RelayFacts};

pub(super) fn findings(relay: &RelayFacts, found: &mut Vec<Finding>) {
    found.extend(name_unresolved(relay));
    found.extend(port_closed(relay));
    found.extend(udp_blocked(relay));
    found.extend(quic_handshake_failed(relay));
    found.extend(address_dead(relay));
    found.extend(probe_service_missing(relay));
    found.extend(measurement_incomplete(relay));
}

fn name_unresolved(relay: &RelayFacts) -> Option<Finding> {
    let nothing = relay.resolve_error.is_some() || relay.resolved.as_ref().is_some_and(Vec::is_empty);
    nothing.then(|| {
        // As the user wrote it, with its port.
        let name = relay.name.rsplit_once(':').map_or(relay.name.as_str(), |(host, _)| host);
        without_quic(
            relay,
            Code::RelayNameUnresolved,
            &format!("the relay's name `{name}` has no address"),
            "check the spelling of --relay, and this machine's name servers (/etc/resolv.conf)",
        )
        .seen_by(relay.resolve_error.clone())
        .hiding(&[Code::RelayPortClosed, Code::UdpBlocked])
        .hiding(behind(relay))
    })
}

fn port_closed(relay: &RelayFacts) -> Option<Finding> {
    (relay.port_unreachable? && relay.udp_reachable != Some(true)).then(|| {
        let (what, advice) = if relay.stream().is_some() {
            (
                format!("UDP to {} is refused: nothing listens there, or a firewall rejects it", relay.name),
                "let the relay listen by UDP as well, or ask for UDP to this port to be allowed",
            )
        } else {
            let what = format!("no relay runs at {}: its host says that nothing listens there", relay.name);
            (what, "start the relay, or correct the port in --relay")
        };
        without_quic(relay, Code::RelayPortClosed, &what, advice)
            .seen_by(asked(relay))
            .seen_by(["ICMP port unreachable came back".to_owned()])
            .hiding(&[Code::UdpBlocked])
            .hiding(behind(relay))
    })
}

fn udp_blocked(relay: &RelayFacts) -> Option<Finding> {
    (!relay.udp_reachable?).then(|| {
        let nothing = format!("nothing comes back from {} by UDP", relay.name);
        let (what, advice) = if relay.stream().is_some() {
            (nothing, "ask for UDP to this port to be allowed, here and in the relay's firewall; many networks pass UDP 443")
        } else {
            let advice = "try from another network, such as a phone's: when it works there, ask for UDP, or TCP, to this port to be allowed here; when it does not, look at the relay and its firewall";
            (format!("{nothing}: a network on the way blocks UDP, or no relay runs there"), advice)
        };
        without_quic(relay, Code::UdpBlocked, &what, advice)
            .seen_by(asked(relay))
            .seen_by(relay.quic.iter().filter_map(|q| q.error.clone()))
            .hiding(behind(relay))
    })
}

/// An error where nothing gets through; where members join by TLS instead, a warning that says what it costs.
pub(super) fn without_quic(relay: &RelayFacts, code: Code, what: &str, advice: &str) -> Finding {
    let tried = relay.streams.iter().flatten().map(|stream| match &stream.error {
        None => format!("TLS over TCP to {}: works", stream.place),
        Some(error) => format!("TLS over TCP to {}: {error}", stream.place),
    });
    let finding = match (relay.stream(), relay.streams.iter().flatten().find_map(|stream| stream.error.as_deref())) {
        (Some(_), _) => {
            let title = format!("{what}; members join by TLS over TCP, where each lost packet holds up those behind it");
            Finding::warning(code, title).advise(format!("nothing, when it plays well enough; else {advice}"))
        }
        (None, Some(error)) => Finding::error(code, format!("{what}; over TCP: {error}")).advise(advice),
        (None, None) => Finding::error(code, what).advise(advice),
    };
    finding.seen_by(tried)
}

/// What is not said without QUIC: a room is reached by a stream as well.
fn behind(relay: &RelayFacts) -> &'static [Code] {
    if relay.stream().is_some() { Code::BEHIND_UDP } else { Code::BEHIND_THE_RELAY }
}

fn asked(relay: &RelayFacts) -> Option<String> {
    let remote = relay.remote?;
    Some(match &relay.uplink {
        Some(uplink) => format!("asked {remote} through {}", uplink.interface),
        None => format!("asked {remote}"),
    })
}

/// Whatever else explains it hides it: certificate, clock, sizes.
fn quic_handshake_failed(relay: &RelayFacts) -> Option<Finding> {
    let quic = relay.quic.as_ref()?;
    (!quic.ok).then(|| {
        let what = if relay.stream().is_some() {
            format!("the QUIC handshake with {} fails", relay.name)
        } else {
            format!("{} cannot be joined: the QUIC handshake fails", relay.name)
        };
        let advice = "check that the port is the relay's and passes UDP through every firewall, that relay and this program are of compatible versions, and the relay's log";
        without_quic(relay, Code::QuicHandshakeFailed, &what, advice)
            .seen_by(asked(relay))
            .seen_by(quic.error.clone())
            .hiding(&[Code::ProbeServiceMissing])
    })
}

/// A host without a route to an address, such as one without IPv6, does not wait for it.
fn address_dead(relay: &RelayFacts) -> Option<Finding> {
    let all = relay.addresses.as_ref()?;
    let alive = all.iter().position(|a| a.quic.ok)?;
    let is_dead = |a: &AddressFacts| !a.quic.ok && a.has_route == Some(true);
    let (before, after) = all.split_at(alive);
    let dead: Vec<&AddressFacts> = before.iter().chain(after).filter(|a| is_dead(a)).collect();
    let name = |a: &AddressFacts| a.address.map_or_else(String::new, |address| address.to_string());
    let first = dead.first()?;
    let title = format!("{} of the relay does not answer, and {} does", name(first), all.get(alive).map(name)?);
    let finding = if before.iter().any(is_dead) {
        Finding::warning(Code::RelayAddressDead, format!("{title}: every join waits for the dead one first"))
    } else {
        Finding::info(Code::RelayAddressDead, format!("{title}: hosts that prefer the dead one wait for it with every join"))
    };
    let reason = |a: &&AddressFacts| {
        let probes = if a.udp_reachable { "; other UDP comes back from it" } else { "" };
        format!("{}: {}{probes}", name(a), a.quic.error.as_deref().unwrap_or("no answer"))
    };
    Some(finding.seen_by(dead.iter().map(reason)).advise(
        "take the address out of the relay's name (AAAA is IPv6, A is IPv4), or let the relay listen there and its firewall pass UDP; when it answers elsewhere, this network's IPv6 is broken",
    ))
}

fn measurement_incomplete(relay: &RelayFacts) -> Option<Finding> {
    let word = |m: &Measurement| match m {
        Measurement::RoundTrips => "round trips",
        Measurement::Nat => "NAT",
        Measurement::SizesUp => "sizes toward the relay",
        Measurement::SizesDown => "sizes from the relay",
        Measurement::ModestRate => "a modest rate",
    };
    let words: Vec<_> = relay.unmeasured.iter().map(word).collect();
    (!words.is_empty()).then(|| {
        let median = relay.rtt.as_ref().and_then(|rtt| rtt.median_ms);
        Finding::warning(Code::MeasurementIncomplete, format!("not measured, because time ran out: {}", list(&words)))
            .seen_by(median.map(|ms| format!("a round trip takes {ms:.0} ms")))
            .advise("look again when the line is idle; what is named here is unknown until then")
    })
}

fn probe_service_missing(relay: &RelayFacts) -> Option<Finding> {
    (!relay.probe_service?).then(|| {
        let title = format!("{} does not answer probes, so sizes, loss and NAT could not be measured", relay.name);
        let addresses = relay.resolved.as_ref().map(|all| format!("addresses: {}", list(all)));
        Finding::info(Code::ProbeServiceMissing, title)
            .seen_by(addresses)
            .advise("update the relay, and let its probe ports pass its firewall (UDP, next to its main port)")
    })
}
