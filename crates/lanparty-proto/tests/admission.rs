//! What holds of admission for any bytes at all, and what a stranger's parser thinks of the same frames.

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, PacketBuilder, SlicedPacket,
    TransportSlice,
};
use lanparty_proto::corpus::wire::{self, Header, Ipv4, Ipv6};
use lanparty_proto::corpus::{Case, corpus};
use lanparty_proto::{AdmissionPolicy, DatagramBudget, DropReason, Frame, LanMtu, MacAddr, Source, TrafficClass, admit};
use proptest::prelude::*;

const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);
const POLICY: AdmissionPolicy = AdmissionPolicy::new(LanMtu::MAX);

/// Asks everything that can be asked of these bytes; what passes is what came.
fn ask(bytes: &[u8], allow: bool) -> Result<(), TestCaseError> {
    let policy = AdmissionPolicy { allow_unknown_ipv6_headers: allow, allow_ipx: allow, ..POLICY };
    for source in [Source::Client(CLIENT), Source::Gateway] {
        for budget in [None, Some(DatagramBudget(200))] {
            if let Ok(frame) = admit(bytes, source, &policy, budget) {
                prop_assert_eq!(frame.bytes(), bytes);
                prop_assert!(source == Source::Gateway || frame.src() == CLIENT);
                prop_assert_eq!(Frame::parse(bytes).map(|frame| frame.class()), Ok(frame.class()));
            }
        }
    }
    prop_assert_eq!(Frame::parse(bytes).is_ok(), bytes.len() >= 14);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_bytes_make_admission_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), allow: bool) {
        ask(&bytes, allow)?;
    }

    #[test]
    fn no_payload_behind_a_known_ethertype_makes_admission_panic(
        kind in prop::sample::select(vec![0x0800u16, 0x0806, 0x86dd, 0x8137, 46]),
        first in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60, 0, 0xe0]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
        allow: bool,
    ) {
        ask(&wire::ethernet(wire::HOST, CLIENT, kind, &[&[first][..], &rest].concat()), allow)?;
    }

    #[test]
    fn no_mutation_of_the_corpus_makes_admission_panic(
        case in prop::sample::select(corpus(CLIENT, LanMtu::new(576).unwrap())),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        allow: bool,
    ) {
        let Case { frame: mut bytes, .. } = case;
        for (at, value) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        ask(&bytes, allow)?;
    }
}

/// etherparse shares nothing with us but the RFCs.
#[test]
fn frames_that_another_library_builds_pass_for_client_and_gateway() {
    let (src, dst) = (CLIENT.0, wire::HOST.0);
    let v4 = || PacketBuilder::ethernet2(src, dst).ipv4([10, 77, 0, 9], [10, 77, 0, 1], 64);
    let v6 = || PacketBuilder::ethernet2(src, dst).ipv6([0xfe; 16], [0xff; 16], 64);
    let mut frames = vec![vec![]; 6];
    v4().tcp(5000, 80, 1, 1024).write(&mut frames[0], &[1; 900]).unwrap();
    v6().tcp(5000, 80, 1, 1024).write(&mut frames[1], &[1; 900]).unwrap();
    v4().udp(27_005, 27_015).write(&mut frames[2], &[1; 30]).unwrap();
    v6().udp(27_005, 27_015).write(&mut frames[3], &[1; 30]).unwrap();
    v4().icmpv4_echo_request(1, 1).write(&mut frames[4], &[1; 56]).unwrap();
    v6().icmpv6_echo_request(1, 1).write(&mut frames[5], &[1; 56]).unwrap();
    for frame in frames {
        for source in [Source::Client(CLIENT), Source::Gateway] {
            assert_eq!(admit(&frame, source, &POLICY, None).map(|frame| frame.bytes()), Ok(&frame[..]));
        }
    }
}

#[test]
fn extension_headers_that_another_library_writes_are_followed() {
    let raw = |len: usize| Ipv6RawExtHeader::new_raw(IpNumber::UDP, &vec![0; len]).unwrap();
    let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, IpFragOffset::ZERO, false, 7);
    let mut extensions = Ipv6Extensions { hop_by_hop_options: Some(raw(6)), destination_options: Some(raw(62)), ..Default::default() };
    extensions.fragment = Some(fragment);
    let first = extensions.set_next_headers(IpNumber::UDP);
    for (ports, verdict) in [((546, 547), None), ((547, 546), Some(DropReason::DhcpServerReply))] {
        let message = Ipv6::default().udp(ports.0, ports.1, &[1, 2, 3, 4]);
        let mut packet = vec![];
        let payload_length = u16::try_from(extensions.header_len() + message.len()).unwrap();
        Ipv6Header { payload_length, next_header: first, ..Default::default() }.write(&mut packet).unwrap();
        extensions.write(&mut packet, first).unwrap();
        packet.extend(message);
        let frame = wire::ethernet(wire::HOST, CLIENT, wire::IPV6, &packet);
        assert_eq!(admit(&frame, Source::Client(CLIENT), &POLICY, None).err(), verdict);
    }
}

#[test]
fn ipv4_options_that_another_library_writes_are_stepped_over() {
    let message = wire::udp(6767, 68, &wire::dhcp(2, 5));
    let mut header = Ipv4Header::new(message.len() as u16, 64, IpNumber::UDP, [10, 77, 0, 9], [10, 77, 0, 1]).unwrap();
    header.options = [1; 40][..].try_into().unwrap();
    header.set_payload_len(message.len()).unwrap();
    let mut packet = vec![];
    header.write(&mut packet).unwrap();
    packet.extend(message);
    let frame = wire::ethernet(wire::HOST, CLIENT, wire::IPV4, &packet);
    assert_eq!(admit(&frame, Source::Client(CLIENT), &POLICY, None), Err(DropReason::DhcpServerReply));
}

#[test]
fn no_client_frame_passes_in_which_another_library_reads_a_server_port() {
    for case in corpus(CLIENT, LanMtu::MAX).iter().filter(|case| case.verdict.is_none()) {
        let from_client = admit(&case.frame, Source::Client(CLIENT), &POLICY, None).is_ok();
        let Ok(SlicedPacket { transport: Some(TransportSlice::Udp(udp)), .. }) = SlicedPacket::from_ethernet(&case.frame) else { continue };
        let ports = (udp.source_port(), udp.destination_port());
        assert!(!from_client || !matches!(ports, (67 | 547, _) | (_, 68 | 546)), "{}: {ports:?}", case.name);
    }
}

#[test]
fn a_frame_to_many_is_charged_to_the_class_of_its_purpose() {
    use TrafficClass::{ArpNd, Dhcp, Discovery, Other};
    let udp4 = |from, to| (wire::IPV4, Ipv4::new(wire::UDP).packet(&wire::udp(from, to, &[0; 20])));
    let icmp6 = |kind| (wire::IPV6, Ipv6::default().packet(&[], wire::ICMPV6, &Ipv6::default().icmp(kind, &[0; 20])));
    let many = MacAddr::BROADCAST;
    let cases = [
        (many, (wire::ARP, wire::arp(1, (CLIENT, [0; 4]), (CLIENT, [0; 4]))), ArpNd),
        (many, icmp6(135), ArpNd),
        (many, icmp6(134), ArpNd),
        (many, icmp6(143), Discovery),
        (many, icmp6(128), Other),
        (many, udp4(68, 67), Dhcp),
        (many, (wire::IPV6, Ipv6::default().packet(&[], wire::UDP, &wire::udp(546, 547, &[1]))), Dhcp),
        (many, udp4(27_005, 27_015), Discovery),
        (wire::HOST, udp4(27_005, 27_015), Other),
        (wire::HOST, udp4(5353, 5353), Discovery),
        (wire::HOST, udp4(40_000, 3702), Discovery),
        (wire::HOST, udp4(137, 40_000), Discovery),
        (many, (wire::IPV4, Ipv4::new(2).packet(&[0x16, 0, 0, 0])), Discovery),
        (many, (wire::IPV4, Ipv4::new(wire::UDP).fragment(9, false).packet(&[0; 40])), Discovery),
        (wire::HOST, (wire::IPV4, Ipv4::new(wire::UDP).fragment(9, false).packet(&wire::udp(67, 68, &[]))), Other),
        (many, (wire::IPV4, Ipv4::new(wire::TCP).packet(&wire::tcp())), Other),
        (many, (wire::IPV6, Ipv6::default().packet(&[], wire::TCP, &[135; 20])), Other),
        (many, (wire::IPV6, Ipv6::default().packet(&[Header::fragment(9, false)], wire::ICMPV6, &[135; 40])), Other),
        (many, (wire::IPV6, Ipv6::default().packet(&[Header::fragment(9, false)], wire::UDP, &[135; 40])), Discovery),
        (wire::HOST, (wire::IPV6, Ipv6::default().packet(&[Header::fragment(9, false)], wire::UDP, &wire::udp(547, 546, &[]))), Other),
        (wire::HOST, (wire::IPV6, Ipv6::default().packet(&[Header::new(0, 0)], wire::UDP, &wire::udp(5355, 50_000, &[]))), Discovery),
        (many, (wire::EXPERIMENT, vec![0; 46]), Other),
        (many, (wire::IPV4, vec![0x45; 3]), Other),
    ];
    for (at, (dst, (kind, packet), class)) in cases.into_iter().enumerate() {
        assert_eq!(Frame::parse(&wire::ethernet(dst, CLIENT, kind, &packet)).unwrap().class(), class, "case {at}");
    }
    assert_eq!(TrafficClass::ALL.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ArpNd", "Dhcp", "Discovery", "Other"]);
}
