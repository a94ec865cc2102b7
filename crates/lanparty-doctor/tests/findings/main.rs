//! Every code there is: provoked by a scenario, silent in a healthy one, with a page of its own.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod healthy;
mod pages;
mod scenarios;

use lanparty_doctor::{Code, Facts, RelayFacts, Report, RoomFacts, Severity, examine};

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
    assert!(!short.contains("what to do:") && long.contains("what to do:") && long.contains("docs/findings/path-black-hole.md"));
    assert!(long.contains("an IP packet of 1281"));
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
}

#[test]
fn facts_survive_their_json() {
    let facts = healthy();
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
}
