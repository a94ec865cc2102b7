//! At which stage a lease gets lost. The first missing stage is named; later ones are its consequences.

use crate::words::span;
use crate::{Code, DhcpTrace, Finding, RoomFacts, Sighting};

/// Time for a DHCP client to take an address into use: it looks whether another machine has it, for up to seven seconds
/// (RFC 5227 §2.1).
const USE_PATIENCE_MS: u64 = 12_000;

/// One stage: what it is when seen, its finding when missing.
struct Stage {
    seen: Option<Sighting>,
    what: &'static str,
    code: Code,
    title: &'static str,
    advice: &'static str,
}

pub(super) fn findings(room: &RoomFacts, found: &mut Vec<Finding>) {
    found.extend(room.dhcp.as_ref().and_then(|trace| stopped(trace).or_else(|| refused(trace)).or_else(|| unused(trace))));
}

fn stopped(trace: &DhcpTrace) -> Option<Finding> {
    if trace.has_lease == Some(true) {
        return None;
    }
    let stages = stages(trace);
    // What came further on cannot have stopped before.
    let last_seen = stages.iter().rposition(|s| matches!(s.seen, Some(Sighting::Seen { .. })));
    let mut later = stages.iter().skip(last_seen.map_or(0, |at| at + 1));
    let missing = later.find(|s| s.seen == Some(Sighting::NotSeen))?;
    Some(
        Finding::error(missing.code, format!("no address from DHCP: {}", missing.title))
            .seen_by(stages.iter().filter_map(in_words))
            .advise(missing.advice)
            .hiding(&[Code::DiscoveryUnanswered]),
    )
}

/// It came all the way, and was a no.
fn refused(trace: &DhcpTrace) -> Option<Finding> {
    let Some(Sighting::Seen { age_ms }) = trace.refused.filter(|_| trace.has_lease != Some(true)) else { return None };
    let ago = span(i64::try_from(age_ms / 1_000).unwrap_or(i64::MAX));
    Some(
        Finding::error(Code::DhcpRefused, "no address from DHCP: a DHCP server refuses the address that this host asks for (NAK)")
            .seen_by([format!("refusal at this host's TAP: {ago} ago")])
            .seen_by(stages(trace).iter().filter_map(in_words))
            .advise("delete the old lease of this host's DHCP client and start it again; look at the DHCP server's log and its reservations, and for a second server on the LAN")
            .hiding(&[Code::DiscoveryUnanswered]),
    )
}

/// It came all the way, and nothing became of it.
fn unused(trace: &DhcpTrace) -> Option<Finding> {
    let answered_for = trace.answered_for_ms.filter(|ms| *ms >= USE_PATIENCE_MS)?;
    (trace.has_lease == Some(false)).then(|| {
        let since = span(i64::try_from(answered_for / 1_000).unwrap_or(i64::MAX));
        Finding::error(Code::DhcpAnswerUnused, "no address from DHCP: answers reach this host's TAP, and its DHCP client does not use them")
            .seen_by([format!("answers have been reaching this host's TAP for {since}")])
            .seen_by(stages(trace).iter().filter_map(in_words))
            .advise("look at the log of this host's DHCP client, and at this host's firewall: UDP port 68 must be let in on the TAP")
            .hiding(&[Code::DiscoveryUnanswered])
    })
}

fn in_words(stage: &Stage) -> Option<String> {
    Some(match stage.seen? {
        Sighting::Seen { age_ms } => {
            format!("{}: yes, {} ago", stage.what, span(i64::try_from(age_ms / 1_000).unwrap_or(i64::MAX)))
        }
        Sighting::NotSeen => format!("{}: no", stage.what),
    })
}

/// In the order in which a lease is made.
fn stages(t: &DhcpTrace) -> [Stage; 8] {
    let stage = |seen, what, code, title, advice| Stage { seen, what, code, title, advice };
    [
        stage(
            t.discover_at_tap,
            "question at this host's TAP",
            Code::DhcpStoppedAtTap,
            "this host's DHCP client never asked",
            "start the client with --dhcp, or run a DHCP client on the TAP interface yourself",
        ),
        stage(
            t.discover_at_relay,
            "question at the relay",
            Code::DhcpStoppedAtRelay,
            "the question left this host and the relay did not pass it on",
            "look at the drop reasons of this client and of the relay in `lanparty status`",
        ),
        stage(
            t.discover_at_gateway,
            "question at the gateway",
            Code::DhcpStoppedAtGateway,
            "the relay passed the question on and the gateway did not receive it",
            "look at the gateway's connection: `lanparty status` there, and `lanparty doctor` on that machine",
        ),
        stage(
            t.discover_on_wire,
            "question on the gateway's LAN",
            Code::DhcpStoppedAtWire,
            "the gateway received the question and did not write it on its LAN",
            "look at the drop reasons and the carrier of the gateway's interface in `lanparty status` there",
        ),
        stage(
            t.offer_on_wire,
            "answer on the gateway's LAN",
            Code::DhcpServerSilent,
            "the question was on the gateway's LAN and no DHCP server there answered",
            "check that the LAN has a DHCP server with free addresses, and that no switch between it and the gateway limits MAC addresses (port security)",
        ),
        stage(
            t.offer_at_gateway,
            "answer sent up by the gateway",
            Code::DhcpOfferStoppedAtGateway,
            "a DHCP server answered on the LAN and the gateway did not send the answer up",
            "look at the drop reasons of the gateway in `lanparty status` there",
        ),
        stage(
            t.offer_at_relay,
            "answer at the relay",
            Code::DhcpOfferStoppedAtRelay,
            "the gateway sent the answer up and the relay did not pass it on",
            "look at the drop reasons of the relay and of the gateway in `lanparty status` there",
        ),
        stage(
            t.offer_at_tap,
            "answer at this host's TAP",
            Code::DhcpOfferStoppedAtTap,
            "the relay passed the answer on and it did not reach this host's TAP",
            "look at the drop reasons of this client in `lanparty status`, and at this host's firewall",
        ),
    ]
}
