//! Every code there is: provoked by a scenario, silent in a healthy one, with a page of its own.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod healthy;
mod pages;
mod scenarios;

use lanparty_doctor::{
    Code, DirectionFacts, Facts, HostFacts, Interface, NotExamined, RelayFacts, Report, RoomFacts, Severity, SizeFailure, StreamFacts,
    ThrottleFacts, Unfit, UnknownCode, examine,
};

use healthy::healthy;
use scenarios::scenario;

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|f| f.code).collect()
}

#[test]
fn nothing_is_wrong_with_a_healthy_network() {
    let report = examine(healthy());
    assert_eq!(codes(&report), []);
    assert_eq!((report.verdict.as_str(), report.exit_code), ("No problem found.", 0));
}

#[test]
fn the_unknown_is_never_a_finding() {
    let nothing = Facts { relay: Some(RelayFacts::default()), room: Some(RoomFacts::default()), ..Facts::default() };
    assert_eq!(codes(&examine(nothing)), []);
}

#[test]
fn every_code_is_provoked_by_its_scenario_and_by_itself() {
    for code in Code::ALL {
        let report = examine(scenario(*code));
        assert_eq!(codes(&report), scenarios::seen_together(*code), "{code}:\n{report:#}");
    }
}

#[test]
fn every_finding_says_what_to_do_in_a_sentence_without_its_full_stop() {
    for code in Code::ALL {
        for finding in examine(scenario(*code)).findings {
            let (title, advice) = (&finding.title, &finding.advice);
            assert!(!advice.is_empty() && !advice.ends_with('.') && !title.ends_with('.'), "{finding:?}");
            assert!(!title.starts_with(|c: char| c.is_uppercase() && !title.starts_with("UDP") && !title.starts_with("IP ")), "{title}");
        }
    }
}

/// Otherwise two findings could hide each other, and nobody would hear of either.
#[test]
fn a_cause_stands_before_its_consequences() {
    for code in Code::ALL {
        let report = examine(scenario(*code));
        for finding in report.findings.iter().chain(report.hidden.iter().map(|h| &h.finding)) {
            assert!(finding.hides.iter().all(|hidden| finding.code < *hidden), "{finding:?}");
        }
    }
}

#[test]
fn names_are_kebab_case_and_each_is_there_once() {
    let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    let is_kebab =
        |s: &str| s.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    assert!(names.iter().all(|name| is_kebab(name)), "{names:?}");
}

#[test]
fn a_report_reads_verdict_first_and_shows_evidence_when_asked() {
    let report = examine(scenario(Code::PathBlackHole));
    let (short, long) = (format!("{report}"), format!("{report:#}"));
    let first = short.lines().next().unwrap();
    assert_eq!(first, "1 problem: large packets vanish toward the relay: safe size 1252, 1253 vanishes without a word.");
    assert!(short.contains("the path to the relay carries 1252 bytes up and 1472 down; safe size 1252, 1253 vanishes without a word"));
    assert!(!short.contains("what to do:") && long.contains("what to do:") && long.contains("lanparty doctor --explain path-black-hole"));
    assert!(long.contains("an IP packet of 1281"));
}

/// A room has one size for both directions. QUIC finds only the one up; the probes find both.
#[test]
fn the_smaller_direction_decides_what_a_room_over_the_path_carries() {
    let mut facts = Facts { room: None, ..healthy() };
    let relay = facts.relay.as_mut().unwrap();
    (relay.budget_up, relay.budget_down) = (Some(1434), None);
    relay.down = Some(healthy::direction(1230, 1231, SizeFailure::Silent));
    let report = examine(facts);
    let expected = [Code::PathBlackHole, Code::MtuFlagTooLarge, Code::Ipv6NeedsLargerPath];
    assert_eq!(codes(&report), expected, "{report}");
    assert!(report.to_string().contains("a room over this path has a LAN MTU of up to 1175"), "{report}");
}

#[test]
fn problems_are_counted_and_notes_are_none() {
    let mut facts = scenario(Code::PathSlow);
    facts.room.as_mut().unwrap().duplicate_macs = scenario(Code::DuplicateMac).room.unwrap().duplicate_macs;
    let report = examine(facts);
    assert!(report.verdict.starts_with("2 problems, the first: the MAC address"), "{}", report.verdict);
    assert_eq!(report.findings[0].severity, Severity::Error);
    let note = examine(scenario(Code::NatMappingVaries));
    assert_eq!((note.verdict.as_str(), note.exit_code), ("No problem found; 1 note.", 0));
}

#[test]
fn a_cause_hides_its_consequences_and_json_still_has_them() {
    let mut facts = scenario(Code::PathBlackHole);
    facts.relay.as_mut().unwrap().udp_reachable = Some(false);
    let report = examine(facts);
    assert_eq!(codes(&report), [Code::UdpBlocked]);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["hidden"][0]["finding"]["code"], "path-black-hole");
    assert_eq!(json["hidden"][0]["because_of"], "udp-blocked");
    assert_eq!((&json["findings"][0]["severity"], &json["exit_code"]), (&"error".into(), &1.into()));
    assert_eq!((&json["format"], &json["findings"][0]["page"]), (&1.into(), &"docs/findings/udp-blocked.md".into()));
}

#[test]
fn a_severity_has_one_word_in_text_and_json() {
    for code in Code::ALL {
        for finding in examine(scenario(*code)).findings {
            assert_eq!(serde_json::to_value(finding.severity).unwrap(), finding.severity.to_string());
        }
    }
}

#[test]
fn what_could_not_be_examined_is_said_beside_what_was() {
    let missing = NotExamined { what: "room".into(), cause: "no program runs".into(), advice: "start one".into() };
    for code in [Code::PathSlow, Code::NatMappingVaries] {
        let whole = examine(scenario(code));
        let report = whole.clone().without(missing.clone());
        assert_eq!((report.exit_code, &report.findings), (2, &whole.findings));
        assert!(report.to_string().contains("  room not examined: no program runs\n          what to do: start one\n"), "{report}");
    }
}

/// Nobody who only looks is told that something is wrong; who asks about a gateway is.
#[test]
fn a_missing_permission_is_a_problem_only_for_what_was_asked_for() {
    let severity = |lan_interface: Option<&str>, admin: bool, raw: bool| {
        let lan_interface = lan_interface.map(str::to_owned);
        let host = HostFacts { lan_interface, can_net_admin: Some(admin), can_net_raw: Some(raw), ..healthy().host };
        examine(Facts { host, ..Facts::default() }).findings.first().map(|f| (f.severity, f.title.contains("gateway")))
    };
    assert_eq!(severity(None, false, false), Some((Severity::Info, false)));
    assert_eq!(severity(None, true, false), Some((Severity::Info, true)));
    assert_eq!(severity(Some("eth0"), true, false), Some((Severity::Warning, true)));
    assert_eq!(severity(Some("eth0"), false, false), Some((Severity::Warning, true)));
    assert_eq!(severity(Some("eth0"), true, true), None);
}

/// What the gateway refuses, the doctor names.
#[test]
fn every_reason_against_an_interface_is_an_error() {
    let all =
        [Unfit::Loopback, Unfit::TunTap, Unfit::NotEthernet, Unfit::PartOf("bond0".into()), Unfit::Down, Unfit::NoCarrier, Unfit::Wireless];
    for why in all {
        let mut host = healthy().host;
        let other = Interface { name: "eth1".into(), ..healthy::interface("eth1") };
        host.interfaces.as_mut().unwrap()[0].unfit = Some(why.clone());
        host.interfaces.as_mut().unwrap()[0].is_candidate = false;
        host.interfaces.as_mut().unwrap().push(other);
        let finding = examine(Facts { host, ..Facts::default() }).findings.remove(0);
        assert_eq!(finding.severity, Severity::Error, "{why:?}");
        assert!(finding.advice.contains("`eth1`") || finding.advice == "use `bond0`", "{finding:?}");
    }
}

/// A laptop with containers is no gateway: what they are wired with does not count.
#[test]
fn only_wifi_is_said_where_nothing_else_is_offered() {
    let wifi = Interface { is_wireless: true, unfit: Some(Unfit::Wireless), is_candidate: false, ..healthy::interface("wlan0") };
    let docker = Interface { is_bridge: true, is_candidate: false, ..healthy::interface("docker0") };
    let said = |more: Interface| {
        let host = HostFacts { interfaces: Some(vec![wifi.clone(), docker.clone(), more]), lan_interface: None, ..healthy().host };
        codes(&examine(Facts { host, ..Facts::default() }))
    };
    assert_eq!(said(Interface { is_candidate: false, ..healthy::interface("veth1") }), [Code::LanInterfaceWifi]);
    assert_eq!(said(healthy::interface("eth0")), []);
}

#[test]
fn a_name_leads_to_its_page() {
    for code in Code::ALL {
        assert_eq!(code.as_str().parse(), Ok(*code));
        assert!(code.explanation().starts_with(&format!("# {code}\n")), "{code}");
    }
    assert_eq!("nat-is-fine".parse::<Code>(), Err(UnknownCode));
}

#[test]
fn facts_survive_their_json() {
    let facts = healthy();
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
}

/// Sizes toward the relay in which ICMP was silent, changed.
fn filtered(change: impl FnOnce(&mut RelayFacts, &mut DirectionFacts)) -> Vec<Code> {
    let mut facts = scenario(Code::IcmpFiltered);
    let relay = facts.relay.as_mut().unwrap();
    let mut up = relay.up.take().unwrap();
    change(relay, &mut up);
    relay.up = Some(up);
    codes(&examine(facts))
}

#[test]
fn icmp_is_said_to_be_filtered_only_where_a_router_fragments() {
    assert_eq!(filtered(|_, _| ()), [Code::PathBlackHole, Code::IcmpFiltered]);
    assert_eq!(filtered(|_, up| up.sender_mtu = Some(1400)), [Code::PathBlackHole], "this host cut it up by a size that it had learnt");
    assert_eq!(filtered(|_, up| up.sender_mtu = Some(1401)), [Code::PathBlackHole, Code::IcmpFiltered]);
    assert_eq!(filtered(|_, up| up.sender_mtu = None), [Code::PathBlackHole]);
    let over_ipv6 = filtered(|relay, _| relay.remote = "[2001:db8::1]:8443".parse().ok());
    assert_eq!(over_ipv6, [Code::PathBlackHole], "no router of IPv6 fragments");
}

fn burst(change: impl FnOnce(&mut ThrottleFacts)) -> Vec<Code> {
    let mut facts = scenario(Code::BandwidthLow);
    change(facts.relay.as_mut().unwrap().throttle.as_mut().unwrap());
    codes(&examine(facts))
}

#[test]
fn a_slow_line_keeps_packets_and_a_limit_drops_them() {
    assert_eq!(burst(|b| b.lost = 0), [Code::BandwidthLow], "late is not lost");
    assert_eq!(burst(|b| b.queued_ms = Some(3.0)), [Code::UdpThrottled]);
    assert_eq!(burst(|b| (b.lost, b.queued_ms) = (0, Some(3.0))), [], "a limit that takes all");
    assert_eq!(burst(|b| (b.lost, b.carried_kbit_s) = (0, Some(1_900))), [], "a queue that was there before");
}

#[test]
fn a_dead_address_is_a_problem_only_where_a_join_waits_for_it() {
    let with = |change: fn(&mut RelayFacts)| {
        let mut facts = scenario(Code::RelayAddressDead);
        change(facts.relay.as_mut().unwrap());
        examine(facts).findings.iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>()
    };
    assert_eq!(with(|_| ()), [(Code::RelayAddressDead, Severity::Warning)]);
    assert_eq!(with(|r| r.addresses.as_mut().unwrap().reverse()), [(Code::RelayAddressDead, Severity::Info)]);
    assert_eq!(with(|r| r.addresses.as_mut().unwrap()[0].has_route = Some(false)), [], "this host has no IPv6");
    let all_dead = with(|r| {
        (r.udp_reachable, r.addresses.as_mut().unwrap()[1].quic.ok) = (Some(false), false);
    });
    assert_eq!(all_dead, [(Code::UdpBlocked, Severity::Error)]);
}

/// The scenario of `code`, where each place for streams answers like this: nothing is wrong, or why not.
fn with_streams(code: Code, answers: &[Option<&str>]) -> Report {
    let mut facts = scenario(code);
    let stream = |(port, error): (u16, &Option<&str>)| StreamFacts {
        place: format!("203.0.113.5:{port}"),
        ok: error.is_none(),
        error: error.map(str::to_owned),
        duration_ms: Some(31.0),
    };
    facts.relay.as_mut().unwrap().note_streams([8443, 443].into_iter().zip(answers).map(stream).collect());
    examine(facts)
}

const WITHOUT_QUIC: [Code; 5] =
    [Code::RelayNameUnresolved, Code::RelayPortClosed, Code::UdpBlocked, Code::PathBelowQuicMinimum, Code::QuicHandshakeFailed];

#[test]
fn where_tcp_passes_a_member_joins_and_no_way_for_quic_is_a_warning_with_its_cost() {
    for code in WITHOUT_QUIC {
        let report = with_streams(code, &[Some("it does not answer (TCP)"), None]);
        let found = &report.findings[0];
        assert_eq!((codes(&report), found.severity, report.exit_code), (vec![code], Severity::Warning, 1), "{report:#}");
        assert!(found.title.ends_with("members join by TLS over TCP, where each lost packet holds up those behind it"), "{report}");
        assert!(!found.title.contains("cannot be joined") && !found.title.contains("no relay runs"), "{report}");
        let text = format!("{report:#}");
        assert!(text.contains("TLS over TCP to 203.0.113.5:443: works") && text.contains("203.0.113.5:8443: it does not answer"), "{text}");
        assert!(text.contains("answers by TLS (TCP) at 203.0.113.5:443 in 31 ms") && !text.contains("has a LAN MTU of up to"), "{text}");
    }
}

#[test]
fn where_neither_passes_it_is_an_error_and_each_way_has_its_cause() {
    for code in WITHOUT_QUIC {
        let report = with_streams(code, &[Some("it refuses connections (TCP)"), Some("it does not answer (TCP)")]);
        let found = &report.findings[0];
        assert_eq!((codes(&report), found.severity, report.exit_code), (vec![code], Severity::Error, 1), "{report:#}");
        assert!(found.title.ends_with("; over TCP: it refuses connections (TCP)"), "{report}");
        let tried = found.evidence.iter().filter(|e| e.starts_with("TLS over TCP to 203.0.113.5:")).count();
        assert_eq!(tried, 2, "{report:#}");
    }
}

/// Who joined by TLS is in the room, and what is wrong there is wrong for another reason.
#[test]
fn a_room_that_is_reached_by_tls_is_looked_into_without_udp() {
    let mut facts = scenario(Code::NoGatewayInRoom);
    let relay = facts.relay.as_mut().unwrap();
    relay.udp_reachable = Some(false);
    assert_eq!(codes(&examine(facts.clone())), [Code::UdpBlocked]);
    facts.relay.as_mut().unwrap().note_streams(vec![StreamFacts { ok: true, ..StreamFacts::default() }]);
    let mut found = codes(&examine(facts));
    found.sort();
    assert_eq!(found, [Code::UdpBlocked, Code::NoGatewayInRoom]);
}

#[test]
fn what_could_not_be_measured_is_in_the_verdict() {
    let report = examine(scenario(Code::MeasurementIncomplete));
    let verdict = "1 problem: not measured, because time ran out: sizes toward the relay, sizes from the relay.";
    assert_eq!((report.verdict.as_str(), report.exit_code), (verdict, 1));
    let report = examine(scenario(Code::ProbeServiceMissing));
    let verdict = "No problem found, but sizes could not be measured; 1 note.";
    assert_eq!((report.verdict.as_str(), report.exit_code), (verdict, 0));
}

/// A hole toward the relay, with another interface.
fn hole_evidence(change: impl FnOnce(&mut Interface)) -> String {
    let mut facts = scenario(Code::PathBlackHole);
    change(&mut facts.host.interfaces.as_mut().unwrap()[0]);
    let report = examine(facts);
    report.findings.iter().find(|f| f.code == Code::PathBlackHole).unwrap().evidence.join("\n")
}

#[test]
fn a_smaller_interface_below_the_uplink_is_evidence_of_a_black_hole() {
    let plain = hole_evidence(|_| ());
    assert!(!plain.contains("port of it") && !plain.contains("VLAN"), "{plain}");
    let bridge = hole_evidence(|i| i.smallest_port_mtu = Some(1280));
    assert!(bridge.ends_with("the bridge `eth0` has MTU 1500, and a port of it only 1280"), "{bridge}");
    assert_eq!(hole_evidence(|i| i.smallest_port_mtu = Some(1500)), plain, "a port of the same size explains nothing");
    let vlan = |mtu: Option<u32>| hole_evidence(|i| (i.vlan_parent, i.vlan_parent_mtu) = (Some("eth1".into()), mtu));
    assert!(vlan(Some(1280)).ends_with("`eth0` has MTU 1500, and `eth1`, which it is a VLAN of, only 1280"), "{}", vlan(Some(1280)));
    assert_eq!((vlan(Some(1500)), vlan(None)), (plain.clone(), plain));
}
