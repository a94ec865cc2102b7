//! Who is in the room: nobody to bridge it, two of the same, and searches that nobody answers.

use lanparty_proto::Role;

use crate::words::{count, list, span};
use crate::{Code, Discovery, DiscoveryKind, Duplicate, Finding, HostFacts, RoomFacts};

/// Searches without an answer before it is said: game browsers repeat theirs, and the first may fall into the join.
const UNANSWERED_MIN: u64 = 3;

/// A search that is older says nothing of how it is now, in milliseconds.
const RECENT_MS: u64 = 120_000;

pub(super) fn findings(room: &RoomFacts, host: &HostFacts, found: &mut Vec<Finding>) {
    found.extend(no_gateway(room));
    found.extend(loop_blocked(room));
    found.extend(two_gateways(room));
    found.extend(two_dhcp_servers(room));
    found.extend(room.duplicate_macs.iter().flatten().map(duplicate_mac));
    found.extend(room.duplicate_identities.iter().flatten().map(duplicate_identity));
    found.extend(discovery_unanswered(room, host));
}

fn no_gateway(room: &RoomFacts) -> Option<Finding> {
    let members = room.members.as_ref()?;
    if members.iter().any(|m| m.role == Role::Gateway) {
        return None;
    }
    let name = room.room.as_ref().map_or_else(|| "this room".to_owned(), |r| format!("room {r}"));
    Some(
        Finding::warning(
            Code::NoGatewayInRoom,
            format!("nobody bridges a LAN into {name}: there is no gateway, so no DHCP server and no router"),
        )
        .seen_by([format!("{} in the room, all of them clients", count(members.len() as u64, "member"))])
        .advise("start `lanparty gateway` on a machine of the LAN, with the same room code; or give the members fixed addresses")
        .hiding(Code::DHCP),
    )
}

fn loop_blocked(room: &RoomFacts) -> Option<Finding> {
    let interface = room.looped_interface.as_ref().filter(|name| !name.is_empty())?;
    let title = format!("a loop: {interface} is bridged to the LAN of this room's own gateway, so it carries nothing");
    let hides = [Code::DHCP, &[Code::DiscoveryUnanswered]].concat();
    Some(
        Finding::error(Code::LoopBlocked, title)
            .seen_by([format!("what {interface} gives to the room comes back by the gateway, and what the room gives it goes there")])
            .advise(format!(
                "take {interface} out of the bridge (`ip link set {interface} nomaster`); a machine on the LAN needs no client"
            ))
            .hiding(&hides),
    )
}

fn two_gateways(room: &RoomFacts) -> Option<Finding> {
    let gateways = room.gateways_on_one_lan.as_ref().filter(|g| g.len() > 1)?;
    let title =
        format!("{} gateways bridge the same LAN: what is sent in one room appears in the other's, and can run in circles", gateways.len());
    Some(
        Finding::error(Code::TwoGatewaysOnOneLan, title)
            .seen_by([format!("they hear each other on that LAN: {}", list(gateways))])
            .advise("stop all but one of them")
            .hiding(&[Code::DuplicateMac]),
    )
}

/// Two that share their work on purpose are found at firms, not at parties.
fn two_dhcp_servers(room: &RoomFacts) -> Option<Finding> {
    let servers = room.dhcp_servers.as_ref().filter(|servers| servers.len() > 1)?;
    let title =
        format!("{} DHCP servers answer here: whoever asks takes the first answer, with its addresses and its router", servers.len());
    let lans = room.members.iter().flatten().filter(|member| member.role == Role::Gateway).count();
    let joined = (lans > 1).then(|| format!("the room joins {lans} LANs"));
    Some(
        Finding::warning(Code::TwoDhcpServers, title)
            .seen_by(servers.iter().map(|server| format!("the machine {server} answered in the last ten minutes")).chain(joined))
            .advise("switch all of them off but one; where the room joins LANs, let one LAN have it"),
    )
}

fn duplicate_mac(duplicate: &Duplicate) -> Finding {
    let title = format!("the MAC address {} is used by more than one machine: {}", duplicate.what, list(&duplicate.holders));
    Finding::error(Code::DuplicateMac, title)
        .advise("give one of them another address; a client that was copied gets a new one with --new-identity")
}

fn duplicate_identity(duplicate: &Duplicate) -> Finding {
    let title = format!("one identity is used by more than one machine: {}", list(&duplicate.holders));
    Finding::error(Code::DuplicateIdentity, title)
        .seen_by([format!("identity {}", duplicate.what)])
        .advise("start the copied machine once with --new-identity")
        .hiding(&[Code::DuplicateMac])
}

/// Games only: everything else is asked all day, and most of it concerns nobody. A search of others concerns this host when
/// a program here waits for it.
fn discovery_unanswered(room: &RoomFacts, host: &HostFacts) -> Option<Finding> {
    let is_hosted = |d: &Discovery| d.port.is_some_and(|port| host.udp_listeners.iter().flatten().any(|here| *here == port));
    let is_unanswered = |d: &&Discovery| {
        let is_missed = d.answered == Some(false) && d.unanswered >= UNANSWERED_MIN && d.age_ms <= RECENT_MS;
        matches!(d.kind, DiscoveryKind::Game(_)) && !d.is_announcement && is_missed && (d.from_self || is_hosted(d))
    };
    let unanswered: Vec<_> = room.discovery.iter().flatten().filter(is_unanswered).collect();
    let title = match unanswered.as_slice() {
        [] => return None,
        all if all.iter().any(|d| d.from_self) => "this host looked for game servers and nobody answered",
        _ => "others looked for a game's server, which waits on this host, and it did not answer",
    };
    Some(
        Finding::info(Code::DiscoveryUnanswered, title)
            .seen_by(unanswered.iter().map(|d| searched(d)))
            .advise("check that the game's server runs and that the firewall of its host lets the game's port in; when no server should be here, nothing is wrong"),
    )
}

fn searched(d: &Discovery) -> String {
    let DiscoveryKind::Game(game) = &d.kind else { return String::new() };
    let from = if d.from_self { "this host".to_owned() } else { d.from.to_string() };
    let port = d.port.map_or_else(String::new, |port| format!(" (UDP port {port})"));
    let ago = span(i64::try_from(d.age_ms / 1_000).unwrap_or(i64::MAX));
    format!("{game}{port}: asked {} by {from} without an answer, the last {ago} ago", count(d.unanswered, "time"))
}
