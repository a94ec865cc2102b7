use std::time::Duration;

use etherparse::PacketBuilder;

use super::*;
use crate::{AdmissionPolicy, LanMtu, MacAddr, Source, admit};

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const POLICIES: [MulticastPolicy; 4] = [MulticastPolicy::None, MulticastPolicy::Discovery, MulticastPolicy::Snooped, MulticastPolicy::All];

/// A UDP datagram to that address in a frame to that MAC address.
fn udp(to: &str, mac: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![];
    let ethernet = PacketBuilder::ethernet2(OWN.0, mac);
    let ip = match to.parse().unwrap() {
        IpAddr::V4(to) => ethernet.ipv4([10, 0, 0, 1], to.octets(), 1),
        IpAddr::V6(to) => ethernet.ipv6([0xfd; 16], to.octets(), 1),
    };
    ip.udp(5000, 5001).write(&mut frame, b"hello").unwrap();
    frame
}

/// IGMP with its checksum.
fn igmp(mut message: Vec<u8>, to: [u8; 4]) -> Vec<u8> {
    let sum = crate::Checksum::default().with(&message).field();
    message[2..4].copy_from_slice(&sum);
    let mut frame = vec![];
    let ip = etherparse::IpNumber(2);
    PacketBuilder::ethernet2(OWN.0, [1, 0, 0x5e, 0, 0, 1]).ipv4([10, 0, 0, 1], to, 1).write(&mut frame, ip, &message).unwrap();
    frame
}

fn mld(kind: u8, rest: &[u8]) -> Vec<u8> {
    let (from, to) = ([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], ALL_NODES.octets());
    let mut message = [&[kind, 0, 0, 0][..], rest].concat();
    let sum = query::icmpv6_checksum((from.into(), to.into()), &message);
    message[2..4].copy_from_slice(&sum);
    let len = u16::try_from(8 + message.len()).unwrap().to_be_bytes();
    let ipv6 = [0x60, 0, 0, 0, len[0], len[1], 0, 1];
    [&[0x33, 0x33, 0, 0, 0, 1][..], &OWN.0, &[0x86, 0xdd], &ipv6, &from, &to, &[58, 0, 5, 2, 0, 0, 1, 0], &message].concat()
}

/// The policies that let a frame pass, from the strictest on.
fn passing(frame: &[u8]) -> Vec<MulticastPolicy> {
    let frame = Frame::parse(frame).unwrap();
    POLICIES.into_iter().filter(|policy| policy.judge(&frame).is_ok()).collect()
}

fn changes(frame: &[u8]) -> Option<Vec<(String, Listening)>> {
    let all = GroupChange::read(&Frame::parse(frame).unwrap())?;
    Some(all.into_iter().map(|change| (change.group.to_string(), change.listening)).collect())
}

#[test]
fn a_group_passes_from_its_policy_on_and_whatever_frame_it_is_in() {
    for mac in [[1, 0, 0x5e, 1, 2, 3], [0xff; 6], [2, 0, 0, 0, 0, 9]] {
        for (to, from) in [
            ("10.0.0.9", 0),
            ("255.255.255.255", 0),
            ("ff02::1:ff00:9", 0),
            ("ff02::1:2", 0),
            ("ff05::1:3", 0),
            ("224.0.0.251", 1),
            ("224.0.0.252", 1),
            ("224.0.2.60", 1),
            ("239.255.255.250", 1),
            ("ff02::fb", 1),
            ("ff05::c", 1),
            ("ff02::1:3", 1),
            ("ff02::1", 1),
            ("ff04::696f:7175:616b:6533", 1),
            ("224.0.0.5", 2),
            ("239.1.2.3", 2),
            ("239.255.255.251", 2),
            ("ff02::5", 2),
            ("ff15::fb", 2),
            ("ff3e::8000:1", 2),
        ] {
            let is_for_no_group = mac[0] == 1 && from == 0 && to.contains('.');
            let expected = if is_for_no_group { 2 } else { from };
            assert_eq!(passing(&udp(to, mac)), POLICIES[expected..], "{to} in a frame to {mac:x?}");
        }
    }
    let strange = [&[0x09, 0, 7, 0, 0, 1][..], &OWN.0, &[0x88, 0xb6], &[0; 46]].concat();
    assert_eq!(passing(&strange), POLICIES[2..]);
}

#[test]
fn words_are_read_and_the_stricter_is_the_smaller() {
    for policy in POLICIES {
        assert_eq!(policy.to_string().parse(), Ok(policy));
        assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
    }
    assert!("some".parse::<MulticastPolicy>().unwrap_err().contains("none, discovery, snooped, all"));
    assert_eq!(MulticastPolicy::All.min(MulticastPolicy::default()), MulticastPolicy::Discovery);
}

#[test]
fn reports_of_every_version_say_who_joined_and_who_left() {
    let (joined, left) = (Listening::Joined, Listening::Left);
    let one = |listening| Some(vec![("239.1.2.3".to_owned(), listening)]);
    for (kind, listening) in [(0x12, joined), (0x16, joined), (0x17, left)] {
        assert_eq!(changes(&igmp(vec![kind, 0, 0, 0, 239, 1, 2, 3], [239, 1, 2, 3])), one(listening));
    }
    let record = |kind: u8, sources: u8| {
        let sources = [10, 0, 0, 7].repeat(usize::from(sources));
        [&[kind, 0, 0, u8::try_from(sources.len() / 4).unwrap(), 239, 1, 2, 3][..], &sources].concat()
    };
    let v3 = |records: &[Vec<u8>]| {
        let count = u8::try_from(records.len()).unwrap();
        igmp([&[0x22, 0, 0, 0, 0, 0, 0, count][..], &records.concat()].concat(), [224, 0, 0, 22])
    };
    for (kind, sources, listening) in [
        (2, 0, joined),
        (4, 0, joined),
        (4, 2, joined),
        (1, 1, joined),
        (5, 1, joined),
        (3, 0, left),
        (1, 0, left),
        (6, 1, Listening::Unchanged),
    ] {
        assert_eq!(changes(&v3(&[record(kind, sources)])), one(listening), "record {kind} with {sources} sources");
    }
    assert_eq!(changes(&v3(&[record(4, 2), record(3, 0)])).unwrap().len(), 2);
    let group: Ipv6Addr = "ff15::1:2:3".parse().unwrap();
    for (kind, listening) in [(131, joined), (132, left)] {
        assert_eq!(changes(&mld(kind, &[&[0; 4][..], &group.octets()].concat())), Some(vec![(group.to_string(), listening)]));
    }
    let v2 = mld(143, &[&[0, 0, 0, 1, 4, 0, 0, 0][..], &group.octets()].concat());
    assert_eq!(changes(&v2), Some(vec![(group.to_string(), joined)]));
}

#[test]
fn a_report_that_is_cut_off_or_damaged_says_nothing() {
    let whole = igmp(vec![0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3], [224, 0, 0, 22]);
    assert!(changes(&whole).is_some());
    for at in 34..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert_eq!(changes(&damaged), None, "byte {at}");
    }
    // More records, or sources, than there are bytes.
    for message in
        [vec![0x22, 0, 0, 0, 0, 0, 0xff, 0xff, 4, 0, 0, 0, 239, 1, 2, 3], vec![0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0xff, 0xff, 239, 1, 2, 3]]
    {
        assert_eq!(changes(&igmp(message, [224, 0, 0, 22])), None);
    }
    assert_eq!(changes(&udp("239.1.2.3", [1, 0, 0x5e, 1, 2, 3])), None);
}

#[test]
fn a_report_passes_where_one_of_its_groups_does() {
    let report = |group: [u8; 4]| igmp([&[0x16, 0, 0, 0][..], &group].concat(), group);
    assert_eq!(passing(&report([239, 1, 2, 3])), POLICIES[2..]);
    assert_eq!(passing(&report([239, 255, 255, 250])), POLICIES[1..]);
    let solicited = [&[0, 0, 0, 1, 4, 0, 0, 0, 0xff, 2][..], &[0; 9], &[1, 0xff, 0, 0, 9]].concat();
    assert_eq!(passing(&mld(143, &solicited)), POLICIES, "a LAN's switches must know who is solicited");
}

#[test]
fn only_a_gateways_routers_ask_who_listens() {
    let all = GroupQuery { group: None, within: Duration::from_secs(10) }.frames();
    let some = ["239.1.2.3", "ff15::1"].map(|group| GroupQuery { group: Some(group.parse().unwrap()), within: Duration::from_secs(1) });
    let frames: Vec<Vec<u8>> = all.into_iter().chain(some.into_iter().flat_map(GroupQuery::frames)).collect();
    assert_eq!(frames.len(), 4);
    for mut frame in frames {
        assert_eq!(MulticastUse::of(&Frame::parse(&frame).unwrap()), Some(MulticastUse::Query));
        assert_eq!(passing(&frame), POLICIES);
        frame[6..12].copy_from_slice(&OWN.0);
        let verdict = |source| admit(&frame, source, &AdmissionPolicy::new(LanMtu::MAX), None).err();
        assert_eq!((verdict(Source::Client(OWN)), verdict(Source::Gateway)), (Some(DropReason::MulticastQuery), None));
        etherparse::PacketHeaders::from_ethernet_slice(&frame).unwrap();
    }
}

#[test]
fn a_query_is_whole_with_right_checksums() {
    let frames = GroupQuery { group: None, within: Duration::from_secs(10) }.frames();
    let (v4, v6) = (&frames[0], &frames[1]);
    assert_eq!(crate::Checksum::default().with(&v4[14..38]).field(), [0; 2]);
    assert_eq!(crate::Checksum::default().with(&v4[38..]).field(), [0; 2]);
    assert_eq!((v4.len(), v4[39], &v4[26..30]), (50, 100, &[0; 4][..]), "ten seconds, from nobody");
    let packet = Ipv6Packet::read(&v6[14..]).unwrap();
    assert_eq!(query::icmpv6_checksum(packet.ends, packet.payload), [0; 2]);
    assert_eq!((v6.len(), be16(packet.payload, 4), packet.hop_limit), (90, Some(10_000), 1));
}
