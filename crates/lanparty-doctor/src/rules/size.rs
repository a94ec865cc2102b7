//! Which sizes pass on the way to the relay and back, and what becomes of the others.

use super::reach::without_quic;
use crate::sizes::{ETHERNET_MTU, QUIC_PAYLOAD_MIN, headers};
use crate::{Code, DirectionFacts, Finding, HostFacts, RelayFacts, SizeFailure};

pub(super) fn findings(relay: &RelayFacts, host: &HostFacts, found: &mut Vec<Finding>) {
    found.extend(below_quic_minimum(relay));
    found.extend(black_hole(relay, host));
    found.extend(icmp_filtered(relay));
    found.extend(fragments_dropped(relay));
}

/// The two directions with their names.
fn directions(relay: &RelayFacts) -> impl Iterator<Item = (&'static str, &DirectionFacts)> {
    [("toward the relay", relay.up.as_ref()), ("from the relay", relay.down.as_ref())]
        .into_iter()
        .filter_map(|(name, direction)| Some((name, direction?)))
}

fn below_quic_minimum(relay: &RelayFacts) -> Option<Finding> {
    let too_small = |(name, d): (&'static str, &DirectionFacts)| {
        let probe = d.with_df.as_ref()?;
        probe.failed.filter(|failed| *failed <= QUIC_PAYLOAD_MIN)?;
        Some((name, probe.passed.unwrap_or(0)))
    };
    let small: Vec<_> = directions(relay).filter_map(too_small).collect();
    let (name, passed) = small.iter().min_by_key(|(_, passed)| *passed)?;
    let what = format!("packets {name} pass only up to {passed} bytes, and QUIC needs {QUIC_PAYLOAD_MIN}");
    let advice = "find the hop with the small MTU (`tracepath` toward the relay), raise it, or use another network";
    Some(
        without_quic(relay, Code::PathBelowQuicMinimum, &what, advice)
            .seen_by(small.iter().map(|(name, passed)| format!("{name}: {passed} bytes of UDP payload pass, {} do not", passed + 1)))
            .hiding(&[
                Code::PathBlackHole,
                Code::IcmpFiltered,
                Code::QuicHandshakeFailed,
                Code::Ipv6NeedsLargerPath,
                Code::MtuFlagTooLarge,
                Code::ProbeServiceMissing,
            ]),
    )
}

/// Size that passed and size that vanished, where that is less than an ordinary wire carries.
fn vanishes(relay: &RelayFacts, d: &DirectionFacts) -> Option<(u16, u16)> {
    let probe = d.with_df.as_ref().filter(|p| p.how == Some(SizeFailure::Silent))?;
    let (passed, failed) = (probe.passed?, probe.failed?);
    (failed + headers(relay.remote) <= ETHERNET_MTU).then_some((passed, failed))
}

fn black_hole(relay: &RelayFacts, host: &HostFacts) -> Option<Finding> {
    let holes: Vec<_> = directions(relay).filter_map(|(name, d)| Some((name, vanishes(relay, d)?))).collect();
    let title = match holes.as_slice() {
        [] => return None,
        [(_, up), (_, down)] if up == down => {
            format!("large packets vanish on the way to the relay and back: safe size {}, {} vanishes without a word", up.0, up.1)
        }
        [(name, (passed, failed))] => format!("large packets vanish {name}: safe size {passed}, {failed} vanishes without a word"),
        [(_, up), (_, down), ..] => {
            format!(
                "large packets vanish on the way to the relay and back: safe size {} up and {} down, one byte more vanishes without a word",
                up.0, down.0
            )
        }
    };
    let each = holes.iter().map(|(name, (passed, failed))| {
        let ip = failed + headers(relay.remote);
        format!("{name}: {passed} bytes of UDP payload with DF arrive, {failed} (an IP packet of {ip}) do not, and no ICMP says why")
    });
    Some(
        Finding::warning(Code::PathBlackHole, title)
            .seen_by(each)
            .seen_by(smaller_below(relay, host))
            .advise("lanparty keeps to the safe size by itself; for everything else on this path, raise the small hop's MTU or let ICMP packet-too-big pass"),
    )
}

/// Interfaces under the uplink that are smaller than itself: a likely place.
fn smaller_below(relay: &RelayFacts, host: &HostFacts) -> Option<String> {
    let name = &relay.uplink.as_ref()?.interface;
    let uplink = host.interfaces.as_ref()?.iter().find(|i| i.name == *name)?;
    if let Some(port) = uplink.smallest_port_mtu.filter(|mtu| *mtu < uplink.mtu) {
        return Some(format!("the bridge `{name}` has MTU {}, and a port of it only {port}", uplink.mtu));
    }
    let parent = uplink.vlan_parent.as_ref()?;
    let mtu = uplink.vlan_parent_mtu.filter(|mtu| *mtu < uplink.mtu)?;
    Some(format!("`{name}` has MTU {}, and `{parent}`, which it is a VLAN of, only {mtu}", uplink.mtu))
}

/// A router on the way knows the smaller MTU: it fragments what may be fragmented. So it should have answered the rest. That
/// it was a router shows only where the sender itself sent as large as it is that vanishes with DF; routers of IPv6 never
/// fragment (RFC 8200 §5).
fn icmp_filtered(relay: &RelayFacts) -> Option<Finding> {
    if relay.remote.is_some_and(|remote| remote.is_ipv6()) {
        return None;
    }
    let silent_router = |(name, d): (&'static str, &DirectionFacts)| {
        let (passed, failed) = vanishes(relay, d)?;
        d.sender_mtu.filter(|mtu| *mtu >= u32::from(failed + headers(relay.remote)))?;
        let larger = d.without_df.as_ref()?.passed.filter(|larger| *larger >= failed)?;
        (d.icmp_too_big_heard == Some(false)).then(|| {
            format!("{name}: {larger} bytes arrive when routers may fragment, only {passed} when not, and no packet-too-big came back")
        })
    };
    let evidence: Vec<_> = directions(relay).filter_map(silent_router).collect();
    (!evidence.is_empty()).then(|| {
        Finding::warning(Code::IcmpFiltered, "a network on the way filters ICMP, so no program learns which packet size is too large")
            .seen_by(evidence)
            .advise("lanparty finds the size without ICMP; let ICMP type 3 code 4 (IPv6: type 2) pass the firewall that filters it, for everything else")
    })
}

fn fragments_dropped(relay: &RelayFacts) -> Option<Finding> {
    let lost: Vec<_> = directions(relay).filter(|(_, d)| d.fragments_pass == Some(false)).map(|(name, _)| name).collect();
    let title = match lost.as_slice() {
        [] => return None,
        [one] => format!("IP fragments {one} are dropped on the way"),
        _ => "IP fragments are dropped on the way, in both directions".to_owned(),
    };
    Some(
        Finding::warning(Code::FragmentsDropped, title)
            .seen_by(lost.iter().map(|name| format!("{name}: a packet sent in fragments never arrived")))
            .advise("lanparty sends none; other programs with large UDP packets hang here: look at the NAT or firewall next to this host (Hyper-V's under WSL2 does it)"),
    )
}
