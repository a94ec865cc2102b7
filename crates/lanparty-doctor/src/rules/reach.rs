//! Does anything come back from the relay?

use crate::words::list;
use crate::{Code, Finding, RelayFacts};

pub(super) fn findings(relay: &RelayFacts, found: &mut Vec<Finding>) {
    found.extend(name_unresolved(relay));
    found.extend(port_closed(relay));
    found.extend(udp_blocked(relay));
    found.extend(quic_handshake_failed(relay));
    found.extend(probe_service_missing(relay));
}

fn name_unresolved(relay: &RelayFacts) -> Option<Finding> {
    let nothing = relay.resolve_error.is_some() || relay.resolved.as_ref().is_some_and(Vec::is_empty);
    nothing.then(|| {
        Finding::error(Code::RelayNameUnresolved, format!("the relay's name `{}` has no address", relay.name))
            .seen_by(relay.resolve_error.clone())
            .advise("check the spelling of --relay, and this machine's name servers (/etc/resolv.conf)")
            .hiding(&[Code::RelayPortClosed, Code::UdpBlocked])
            .hiding(Code::BEHIND_THE_RELAY)
    })
}

fn port_closed(relay: &RelayFacts) -> Option<Finding> {
    (relay.port_unreachable? && relay.udp_reachable != Some(true)).then(|| {
        Finding::error(Code::RelayPortClosed, format!("no relay runs at {}: its host says that nothing listens there", relay.name))
            .seen_by(asked(relay))
            .seen_by(["ICMP port unreachable came back".to_owned()])
            .advise("start the relay, or correct the port in --relay")
            .hiding(&[Code::UdpBlocked])
            .hiding(Code::BEHIND_THE_RELAY)
    })
}

fn udp_blocked(relay: &RelayFacts) -> Option<Finding> {
    (!relay.udp_reachable?).then(|| {
        let title = format!("nothing comes back from {} by UDP: a network on the way blocks UDP, or no relay runs there", relay.name);
        Finding::error(Code::UdpBlocked, title)
            .seen_by(asked(relay))
            .seen_by(relay.quic.iter().filter_map(|q| q.error.clone()))
            .advise("try from another network, such as a phone's: when it works there, ask for UDP to this port to be allowed here; when it does not, look at the relay and its firewall")
            .hiding(Code::BEHIND_THE_RELAY)
    })
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
        Finding::error(Code::QuicHandshakeFailed, format!("{} cannot be joined: the QUIC handshake fails", relay.name))
            .seen_by(asked(relay))
            .seen_by(quic.error.clone())
            .advise("check that the port is the relay's, that relay and this program are of compatible versions, and the relay's log")
            .hiding(&[Code::ProbeServiceMissing])
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
