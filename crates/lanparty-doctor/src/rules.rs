//! What follows from facts: one small function for each finding, in files by subject. Each says nothing about the unknown.

mod certificate;
mod dhcp;
mod host;
mod lan_interface;
mod nat;
mod quality;
mod reach;
mod room;
mod size;
mod size_room;
mod underlay;
mod uplinks;

use crate::{Facts, Finding};

pub use host::blocked_cable_finding;
pub(crate) use size_room::path_lan_mtu;
pub use size_room::{mtu_flag_finding, room_findings};
pub use uplinks::uplink_findings;

/// Every finding, consequences of others included.
pub(crate) fn all(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![];
    host::findings(&facts.host, facts.relay.as_ref(), &mut found);
    lan_interface::findings(&facts.host, &mut found);
    underlay::findings(facts, &mut found);
    if let Some(relay) = &facts.relay {
        reach::findings(relay, &mut found);
        certificate::findings(relay, &mut found);
        size::findings(relay, &facts.host, &mut found);
        quality::findings(relay, &mut found);
        nat::findings(relay, &mut found);
    }
    size_room::findings(facts, &mut found);
    if let Some(room) = &facts.room {
        room::findings(room, &facts.host, &mut found);
        dhcp::findings(room, &mut found);
        uplinks::findings(room, &mut found);
    }
    found
}
