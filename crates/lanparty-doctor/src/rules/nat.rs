//! How addresses change on the way.

use crate::{Code, Finding, RelayFacts};

pub(super) fn findings(relay: &RelayFacts, found: &mut Vec<Finding>) {
    found.extend(mapping_varies(relay));
}

/// RFC 4787 §4.1: endpoint-independent mapping is what direct links need.
fn mapping_varies(relay: &RelayFacts) -> Option<Finding> {
    let nat = relay.nat.as_ref()?;
    let first = nat.observed.first()?;
    if nat.observed.iter().all(|o| o.address == first.address) {
        return None;
    }
    Some(
        Finding::info(
            Code::NatMappingVaries,
            "the mapping of this host's NAT varies by destination: play goes through the relay, not directly",
        )
        .seen_by(nat.observed.iter().map(|o| format!("port {} of the relay sees {}", o.relay_port, o.address)))
        .advise("nothing is needed to play; a router without \"symmetric NAT\", or with UPnP switched on, allows direct links"),
    )
}
