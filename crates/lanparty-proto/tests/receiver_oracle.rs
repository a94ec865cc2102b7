//! Random hostile frames go through admission into a receiver that believes everything. It must believe nothing wrong,
//! and honest frames must arrive. Mutants of the policy prove that the receiver would notice.

#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/scenario.rs"]
mod scenario;

use std::collections::{BTreeMap, BTreeSet};

use lanparty_proto::{AdmissionPolicy, DropReason, LanMtu, MacAddr, Source, admit};
use receiver::{Harm, Overlap, Receiver};
use scenario::{Random, Scenario, honest, hostile};

const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);
const POLICY: AdmissionPolicy = AdmissionPolicy::new(LanMtu::MAX);
const CASES: usize = 300_000;
/// A missing check is found within this many cases (RELIABILITY.md I2).
const MUTANT_CASES_MAX: usize = 10_000;

fn verdict(frame: &[u8]) -> Option<DropReason> {
    admit(frame, Source::Client(CLIENT), &POLICY, None).err()
}

/// What a receiver comes to believe from the frames that `passes`.
fn harms(scenario: &Scenario, passes: impl Fn(&[u8]) -> bool) -> BTreeSet<Harm> {
    let passed: Vec<_> = scenario.iter().filter(|frame| passes(frame)).collect();
    let believe = |overlap| {
        let mut receiver = Receiver::new(CLIENT.0, overlap);
        passed.iter().for_each(|frame| receiver.receive(frame));
        receiver.harms
    };
    if passed.is_empty() { BTreeSet::new() } else { &believe(Overlap::FirstWins) | &believe(Overlap::LastWins) }
}

#[test]
fn no_frame_that_passes_makes_a_receiver_believe_anything_wrong() {
    let mut random = Random::new(1);
    let mut unguarded: BTreeMap<Harm, usize> = BTreeMap::new();
    let mut frames = 0;
    for case in 0..CASES {
        let scenario = hostile(&mut random, CLIENT);
        let escaped = harms(&scenario, |frame| verdict(frame).is_none());
        assert!(escaped.is_empty(), "case {case}: {escaped:?} by {scenario:02x?}");
        frames += scenario.len();
        if case % 10 == 0 {
            for harm in harms(&scenario, |_| true) {
                *unguarded.entry(harm).or_default() += 1;
            }
        }
    }
    // Proof that there was something to escape: what the same frames do to a receiver without admission.
    println!("{CASES} cases, {frames} frames, 0 escapes; without admission, in a tenth of them: {unguarded:?}");
    assert_eq!(unguarded.len(), 10, "{unguarded:?}");
    assert!(unguarded.values().all(|count| *count >= 100), "{unguarded:?}");
}

#[test]
fn honest_frames_pass_byte_for_byte_and_harm_nobody() {
    let mut random = Random::new(2);
    for case in 0..30_000 {
        let scenario = honest(&mut random, CLIENT);
        for frame in &scenario {
            let passed = admit(frame, Source::Client(CLIENT), &POLICY, None).map(|passed| passed.bytes());
            assert_eq!(passed, Ok(&frame[..]), "case {case}: {frame:02x?}");
        }
        assert_eq!(harms(&scenario, |_| true), BTreeSet::new(), "case {case}");
    }
}

/// A policy with one check missing: which drops it forgives.
type Mutant = (&'static str, fn(&[u8], DropReason) -> bool);

const fn kind(frame: &[u8]) -> u16 {
    (frame[12] as u16) << 8 | frame[13] as u16
}

fn first_next_header(frame: &[u8]) -> Option<u8> {
    frame.get(20).copied()
}

/// How many extension headers a walker that knows them all steps over, up to ten.
fn headers(frame: &[u8]) -> usize {
    let (mut next, mut at, mut count) = (first_next_header(frame), 54, 0);
    while let (Some(0 | 43 | 44 | 51 | 60 | 135 | 139 | 140), [follows, len, ..]) = (next, frame.get(at..).unwrap_or_default()) {
        at += match next {
            Some(44) => 8,
            Some(51) => (usize::from(*len) + 2) * 4,
            _ => (usize::from(*len) + 1) * 8,
        };
        (next, count) = (Some(*follows), count + 1);
    }
    count
}

const RA: DropReason = DropReason::Ipv6RouterAdvertisement;
const DHCP: DropReason = DropReason::DhcpServerReply;
const TAG: DropReason = DropReason::VlanTaggedFrame;
const CONTROL: DropReason = DropReason::ControlPlaneEtherType;

const MUTANTS: &[Mutant] = &[
    ("no source check", |_, why| why == DropReason::UnauthorizedSourceMac),
    ("no check for invalid sources", |_, why| why == DropReason::InvalidSourceMac),
    ("zero source passes", |frame, why| why == DropReason::InvalidSourceMac && frame[6] == 0),
    ("802.1Q passes", |frame, why| why == TAG && kind(frame) == 0x8100),
    ("802.1ad passes", |frame, why| why == TAG && kind(frame) == 0x88a8),
    ("802.1ah passes", |frame, why| why == TAG && kind(frame) == 0x88e7),
    ("0x9100 passes", |frame, why| why == TAG && kind(frame) == 0x9100),
    ("0x9200 passes", |frame, why| why == TAG && kind(frame) == 0x9200),
    ("bridge group addresses end at 0x0f", |frame, why| why == CONTROL && frame[0] == 1 && frame[2] == 0xc2 && frame[5] > 0x0f),
    ("Cisco's addresses pass", |frame, why| why == CONTROL && frame[0] == 1 && frame[2] == 0x0c),
    ("LLC passes", |frame, why| why == CONTROL && kind(frame) < 0x600),
    ("LLDP passes", |frame, why| why == CONTROL && kind(frame) == 0x88cc),
    ("PPPoE passes", |frame, why| why == CONTROL && kind(frame) == 0x8863),
    ("no ARP check", |_, why| why == DropReason::ArpSpoof),
    ("ARP requests unchecked", |frame, why| why == DropReason::ArpSpoof && frame[21] == 1),
    ("ARP replies unchecked", |frame, why| why == DropReason::ArpSpoof && frame[21] == 2),
    ("ARP of another hardware type unchecked", |frame, why| why == DropReason::Malformed && kind(frame) == 0x0806),
    ("no ND option check", |_, why| why == DropReason::NdSpoof),
    ("only the first ND option checked", |frame, why| why == DropReason::NdSpoof && frame.windows(3).any(|o| *o == [14, 1, 1])),
    ("no hop limit check", |_, why| why == DropReason::BadNd),
    ("redirects pass", |_, why| why == DropReason::Ipv6Redirect),
    ("no RA guard", |_, why| why == RA),
    ("RA guard without extension headers", |frame, why| why == RA && headers(frame) > 0),
    ("RA guard stops after one header", |frame, why| why == RA && headers(frame) > 1),
    ("RA guard stops after eight headers", |frame, why| why == RA && headers(frame) > 8),
    ("RA guard does not know AH", |frame, why| why == RA && first_next_header(frame) == Some(51)),
    ("RA guard does not know mobility", |frame, why| why == RA && first_next_header(frame) == Some(135)),
    ("RA guard does not know HIP", |frame, why| why == RA && first_next_header(frame) == Some(139)),
    ("RA guard does not know shim6", |frame, why| why == RA && first_next_header(frame) == Some(140)),
    ("ND in fragments passes", |_, why| why == DropReason::Ipv6Fragment),
    ("ND in atomic fragments passes", |frame, why| why == DropReason::Ipv6Fragment && frame.get(56..58) == Some(&[0, 0])),
    ("cut chains pass", |_, why| why == DropReason::Ipv6Chain),
    ("no DHCP guard", |frame, why| why == DHCP && kind(frame) == 0x0800),
    ("DHCP servers on other ports pass", |frame, why| why == DHCP && kind(frame) == 0x0800 && frame.get(35) != Some(&67)),
    ("DHCP guard at a fixed offset", |frame, why| why == DHCP && kind(frame) == 0x0800 && frame[14] != 0x45),
    ("DHCP in first fragments passes", |frame, why| why == DHCP && kind(frame) == 0x0800 && frame[20] & 0x20 != 0),
    ("no DHCPv6 guard", |frame, why| why == DHCP && kind(frame) == 0x86dd),
    ("DHCPv6 guard without extension headers", |frame, why| why == DHCP && kind(frame) == 0x86dd && headers(frame) > 0),
    ("tiny first fragments pass", |frame, why| {
        why == DropReason::Malformed && kind(frame) == 0x0800 && frame[20] == 0x20 && frame[21] == 0
    }),
    ("IPv4 fragments at offset 1 pass", |frame, why| why == DropReason::Malformed && kind(frame) == 0x0800 && frame[21] == 1),
    ("lying IPv6 lengths pass", |frame, why| why == DropReason::Malformed && kind(frame) == 0x86dd),
];

#[test]
fn every_mutant_of_the_policy_is_caught_within_ten_thousand_cases() {
    let mut found = BTreeMap::new();
    let mut random = Random::new(3);
    for case in 0..MUTANT_CASES_MAX {
        let scenario = hostile(&mut random, CLIENT);
        let verdicts: Vec<_> = scenario.iter().map(|frame| verdict(frame)).collect();
        for (name, forgives) in MUTANTS {
            let forgiven =
                |(frame, why): (&Vec<u8>, &Option<DropReason>)| why.is_none_or(|why| forgives(frame, why)).then(|| frame.clone());
            let changed = scenario.iter().zip(&verdicts).any(|(frame, why)| why.is_some_and(|why| forgives(frame, why)));
            if changed && !found.contains_key(name) {
                let passed: Scenario = scenario.iter().zip(&verdicts).filter_map(forgiven).collect();
                let _ = !harms(&passed, |_| true).is_empty() && found.insert(name, case).is_none();
            }
        }
    }
    let missed: Vec<_> = MUTANTS.iter().map(|(name, _)| name).filter(|name| !found.contains_key(name)).collect();
    println!("{} mutants, the slowest needed {:?} cases", MUTANTS.len(), found.values().max());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// The filter one writes first: fixed offsets, well-known ports.
fn naive(frame: &[u8]) -> bool {
    let at = |index: usize| frame.get(index).copied().unwrap_or(0);
    let untagged = ![0x8100, 0x88a8, 0x88e7, 0x9100, 0x9200].contains(&kind(frame)) && kind(frame) >= 0x600 && frame[0] != 1;
    let dhcp_offer = kind(frame) == 0x0800 && at(23) == 17 && (at(34), at(35)) == (0, 67);
    let advertisement = kind(frame) == 0x86dd && at(20) == 58 && at(54) == 134;
    frame[6..12] == CLIENT.0 && untagged && !dhcp_offer && !advertisement
}

#[test]
fn a_naive_filter_leaks_a_router_and_a_dhcp_server_within_ten_thousand_cases() {
    let mut random = Random::new(4);
    let leaked: BTreeSet<Harm> = (0..MUTANT_CASES_MAX).flat_map(|_| harms(&hostile(&mut random, CLIENT), naive)).collect();
    assert!(leaked.is_superset(&[Harm::Router, Harm::Dhcp, Harm::Dhcpv6, Harm::NeighbourCache].into()), "{leaked:?}");
}
