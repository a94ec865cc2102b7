//! What the path's size means for the room: IPv6, and what was asked for with `--mtu`.

use lanparty_proto::{IPV6_LAN_MTU_MIN, Role};

use crate::sizes::{lan_mtu_of_budget, lan_mtu_of_payload, payload_for, wire_for_ipv6};
use crate::{Code, DirectionFacts, Facts, Finding, MemberFacts, RelayFacts, Way};

/// What the IPv6 header of the underlay costs more than IPv4's, in bytes.
const IPV6_UNDERLAY_COST: u16 = 20;

pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    let carries = facts.relay.as_ref().and_then(path_lan_mtu);
    match &facts.room {
        Some(room) if room.lan_mtu.is_some() => {
            let members = room.members.as_deref().unwrap_or_default();
            found.extend(room.lan_mtu.into_iter().flat_map(|mtu| room_findings(mtu, members)));
        }
        _ => found.extend(carries.and_then(|mtu| path_too_small(mtu, facts.relay.as_ref()))),
    }
    let asked = facts.host.asked_lan_mtu.zip(carries);
    found.extend(asked.and_then(|(asked, carries)| mtu_flag_finding(asked, carries, facts.host.pmtu_discovery_off.unwrap_or(false))));
}

/// The LAN MTU that the path allows: the smaller of the two directions, as a room has one size for both. QUIC finds the size
/// up; down only the relay knows it, so there the probes tell, and up where QUIC did not. A stream takes every size.
pub(crate) fn path_lan_mtu(relay: &RelayFacts) -> Option<u16> {
    if relay.way == Some(Way::Stream) {
        return None;
    }
    let direction = |budget: Option<u16>, probed: &Option<DirectionFacts>| {
        let probed = || Some(lan_mtu_of_payload(probed.as_ref()?.with_df.as_ref()?.passed?));
        budget.map(lan_mtu_of_budget).or_else(probed)
    };
    [direction(relay.budget_up, &relay.up), direction(relay.budget_down, &relay.down)].into_iter().flatten().min()
}

fn path_too_small(carries: u16, relay: Option<&RelayFacts>) -> Option<Finding> {
    let remote = relay.and_then(|r| r.remote);
    let title = format!("a room over this path carries no IPv6: it allows a LAN MTU of {carries}, and IPv6 needs {IPV6_LAN_MTU_MIN}");
    (carries < IPV6_LAN_MTU_MIN).then(|| {
        Finding::warning(Code::Ipv6NeedsLargerPath, title)
            .seen_by([format!("IPv6 in the room needs {} bytes of UDP payload outside", payload_for(IPV6_LAN_MTU_MIN))])
            .advise(advice(remote.is_some_and(|r| r.is_ipv6()), carries, wire_for_ipv6(remote)))
    })
}

/// What a room's own numbers say, for a member or gateway that runs: `ipv6-needs-larger-path` with those responsible.
///
/// `lan_mtu` in bytes; `members` may be empty where they are unknown.
#[must_use]
pub fn room_findings(lan_mtu: u16, members: &[MemberFacts]) -> Vec<Finding> {
    if lan_mtu >= IPV6_LAN_MTU_MIN {
        return vec![];
    }
    let title = format!("this room carries no IPv6: its LAN MTU is {lan_mtu}, and IPv6 needs {IPV6_LAN_MTU_MIN}");
    let mut responsible: Vec<_> = members.iter().filter_map(|m| Some((m.path_mtu.filter(|mtu| *mtu < IPV6_LAN_MTU_MIN)?, m))).collect();
    responsible.sort_by_key(|(mtu, m)| (*mtu, m.id));
    let over_ipv6 = responsible.iter().any(|(_, m)| m.underlay_is_ipv6 == Some(true));
    let remote = over_ipv6.then(|| ([0u16; 8], 0).into());
    let finding = Finding::warning(Code::Ipv6NeedsLargerPath, title)
        .seen_by(responsible.iter().map(|(mtu, m)| format!("the path of {} allows {mtu}", who(m))))
        .advise(advice(over_ipv6, lan_mtu, wire_for_ipv6(remote)));
    vec![finding]
}

fn who(m: &MemberFacts) -> String {
    let role = match m.role {
        Role::Gateway => "gateway",
        Role::Client => "client",
    };
    if m.is_self { format!("this {role} (peer {})", m.id) } else { format!("{role} peer {} ({})", m.id, m.mac) }
}

/// The cheapest thing that helps comes first.
fn advice(over_ipv6: bool, carries: u16, wire: u16) -> String {
    let other_family = if over_ipv6 && carries + IPV6_UNDERLAY_COST >= IPV6_LAN_MTU_MIN {
        "reach the relay by its IPv4 address, which saves 20 bytes; or "
    } else {
        ""
    };
    format!(
        "{other_family}raise the MTU of the small path to {wire} or more; or play over IPv4 and leave IPv6 off in this LAN: IPv4 works as it is"
    )
}

/// Whether `--mtu` asks for more than the path carries; both are LAN MTUs in bytes. `pinned` by `--pmtu-discovery off`.
#[must_use]
pub fn mtu_flag_finding(asked: u16, carries: u16, pinned: bool) -> Option<Finding> {
    if asked <= carries {
        return None;
    }
    let title = format!("--mtu {asked} asks for more than the path carries, which is {carries}");
    let evidence = format!("a LAN MTU of {asked} needs {} bytes of UDP payload outside", payload_for(asked));
    let finding = if pinned {
        Finding::error(Code::MtuFlagTooLarge, title)
            .seen_by([evidence, "--pmtu-discovery off: larger frames vanish until that is noticed".to_owned()])
    } else {
        Finding::warning(Code::MtuFlagTooLarge, title).seen_by([evidence])
    };
    Some(finding.advise(format!("use --mtu {carries} or less, or leave --mtu and --pmtu-discovery out")))
}
