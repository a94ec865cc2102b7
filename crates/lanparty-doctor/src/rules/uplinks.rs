//! Several uplinks at once: one that carries nothing, two that are one line, sizes that differ.

use crate::words::list;
use crate::{BondUplink, Code, Finding, RoomFacts};

/// Paths whose LAN MTUs differ by less are alike: the headers of IPv6, of a NAT or of PPPoE make no more.
const MTU_DIFFERENCE_MIN: u16 = 64;

pub(super) fn findings(room: &RoomFacts, found: &mut Vec<Finding>) {
    found.extend(room.uplinks.iter().flat_map(|uplinks| uplink_findings(uplinks)));
}

/// What is wrong with the uplinks of a bond.
#[must_use]
pub fn uplink_findings(uplinks: &[BondUplink]) -> Vec<Finding> {
    let mut found: Vec<_> = uplinks.iter().filter_map(without_path).collect();
    found.extend(pairs(uplinks).filter_map(|(one, other)| on_one_line(one, other)));
    found.extend(mtus_differ(uplinks));
    found
}

fn pairs(uplinks: &[BondUplink]) -> impl Iterator<Item = (&BondUplink, &BondUplink)> {
    uplinks.iter().enumerate().flat_map(|(n, one)| uplinks.iter().skip(n + 1).map(move |other| (one, other)))
}

fn without_path(uplink: &BondUplink) -> Option<Finding> {
    let trouble = uplink.trouble.as_ref()?;
    Some(
        Finding::warning(Code::UplinkWithoutPath, format!("the uplink {} carries nothing: {trouble}", uplink.interface)).advise(
            "`ip -brief address` and `ip route` show what the interface has; as soon as it leads to the relay it is used, nothing has to be restarted",
        ),
    )
}

/// Two homes' routers often have the same address: what is seen is said, and not more.
fn on_one_line(one: &BondUplink, other: &BondUplink) -> Option<Finding> {
    let routers = one.routers.iter().filter(|router| other.routers.contains(router)).map(ToString::to_string);
    let routers: Vec<_> = routers.collect();
    let networks: Vec<_> = one.networks.iter().filter(|network| other.networks.contains(network)).cloned().collect();
    if routers.is_empty() && networks.is_empty() {
        return None;
    }
    let title = format!(
        "the uplinks {} and {} seem to be the same line: together they carry no more than that line, and go down with it",
        one.interface, other.interface
    );
    let seen = |what: &str, all: &[String]| (!all.is_empty()).then(|| format!("both have the {what} {}", list(all)));
    Some(
        Finding::warning(Code::UplinksOnOneLine, title)
            .seen_by([seen("router", &routers), seen("network", &networks)].into_iter().flatten())
            .advise(
                "leave one of them out, or make it role=backup; if these are two routers of the same address on two lines, all is well",
            ),
    )
}

fn mtus_differ(uplinks: &[BondUplink]) -> Option<Finding> {
    let known = || uplinks.iter().filter_map(|uplink| Some((uplink.lan_mtu?, uplink)));
    let (least, most) = (known().min_by_key(|(mtu, _)| *mtu)?, known().max_by_key(|(mtu, _)| *mtu)?);
    if most.0 - least.0 < MTU_DIFFERENCE_MIN {
        return None;
    }
    let title = format!(
        "the uplink {} takes packets of {} bytes and {} of {}: all of the room's packets are as small as the smaller uplink needs",
        least.1.interface, least.0, most.1.interface, most.0
    );
    Some(
        Finding::info(Code::UplinkMtusDiffer, title)
            .seen_by(known().map(|(mtu, uplink)| format!("LAN MTU by {}: {mtu}", uplink.interface)))
            .advise("nothing is lost; to carry larger packets raise that line's MTU, or leave it out"),
    )
}
