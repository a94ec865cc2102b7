//! The hand-named corpus: every frame meets the verdict it was named with, at any LAN MTU and for any client.

use std::collections::{BTreeMap, BTreeSet};

use lanparty_proto::corpus::{Case, corpus};
use lanparty_proto::{AdmissionPolicy, DropReason, LanMtu, MacAddr, admit};

const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);

fn disagreements(client: MacAddr, lan_mtu: LanMtu) -> Vec<String> {
    let policy = AdmissionPolicy::new(lan_mtu);
    let wrong = |case: &Case| {
        let verdict = admit(&case.frame, case.source.source(client), &policy, None);
        let untouched = verdict.is_err() || verdict.is_ok_and(|frame| frame.bytes() == case.frame);
        (verdict.err() != case.verdict || !untouched).then(|| format!("{}: {:?}, not {:?}", case.name, verdict.err(), case.verdict))
    };
    corpus(client, lan_mtu).iter().filter_map(wrong).collect()
}

#[test]
fn every_frame_of_the_corpus_meets_its_verdict() {
    for lan_mtu in [576, 1280, 1390, 1500] {
        for client in [CLIENT, MacAddr([0, 0x1b, 0x21, 0xff, 0xff, 0xff]), MacAddr([2, 0, 0, 0, 0, 0])] {
            let wrong = disagreements(client, LanMtu::new(lan_mtu).unwrap());
            assert!(wrong.is_empty(), "LAN MTU {lan_mtu}, client {client}:\n{}", wrong.join("\n"));
        }
    }
}

#[test]
fn names_are_unique_and_every_row_has_frames_on_both_sides() {
    let cases = corpus(CLIENT, LanMtu::MAX);
    assert!(cases.len() >= 400, "{} frames", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
    let mut rows: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for case in &cases {
        rows.entry(case.name.split_once(' ').unwrap().0).or_default()[usize::from(case.verdict.is_some())] += 1;
    }
    let expected: BTreeSet<_> = ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A14", "A15", "A16"].into();
    assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), expected);
    for (row, [passes, drops]) in rows {
        // No source address of A2 has a legal neighbour but those of A1.
        assert!(drops >= 5 && (passes >= 2 || row == "A2"), "{row}: {passes} pass, {drops} drop");
    }
}

#[test]
fn every_reason_that_admission_gives_is_in_the_corpus() {
    let seen: BTreeSet<_> = corpus(CLIENT, LanMtu::MAX).iter().filter_map(|case| case.verdict).collect();
    use DropReason::*;
    let admission = [
        Malformed,
        InvalidSourceMac,
        UnauthorizedSourceMac,
        ControlPlaneEtherType,
        VlanTaggedFrame,
        DhcpServerReply,
        Ipv6RouterAdvertisement,
        Ipv6Fragment,
        Ipv6Chain,
        Ipv6Redirect,
        BadNd,
        NdSpoof,
        ArpSpoof,
        TapMtuExceeded,
    ];
    assert_eq!(seen, admission.into());
}

#[test]
fn unknown_ipv6_headers_pass_when_the_room_allows_them() {
    let policy = AdmissionPolicy { allow_unknown_ipv6_headers: true, ..AdmissionPolicy::new(LanMtu::MAX) };
    let unknown: Vec<_> = corpus(CLIENT, LanMtu::MAX).into_iter().filter(|case| case.name.starts_with("A8 unknown next header")).collect();
    assert!(unknown.len() >= 10);
    for case in unknown {
        assert!(admit(&case.frame, case.source.source(CLIENT), &policy, None).is_ok(), "{}", case.name);
    }
}
