//! Nanoseconds per frame that admission costs; `cargo bench -p lanparty-proto`. Aim: below 60 for an ordinary frame.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "measures, and says what it measured")]

use std::hint::black_box;
use std::time::Instant;

use lanparty_proto::corpus::wire::{self, Header, Ipv4, Ipv6};
use lanparty_proto::{AdmissionPolicy, DatagramBudget, LanMtu, MacAddr, Source, admit};

const ROUNDS: u32 = 5_000_000;
const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);

fn main() {
    let ip = Ipv6::default();
    let full = |header: &[u8], len| [header, &vec![7; len]].concat();
    let frames = [
        ("IPv4/TCP, 1,390 bytes", wire::IPV4, Ipv4::new(wire::TCP).packet(&full(&wire::tcp(), 1336))),
        ("IPv4/UDP, 100 bytes", wire::IPV4, Ipv4::new(wire::UDP).packet(&wire::udp(27_005, 27_015, &[7; 58]))),
        ("IPv6/TCP, 1,390 bytes", wire::IPV6, ip.packet(&[], wire::TCP, &full(&wire::tcp(), 1316))),
        ("ARP", wire::ARP, wire::arp(1, (CLIENT, [10, 77, 0, 9]), (wire::HOST, [10, 77, 0, 1]))),
        ("NS with its own address", wire::IPV6, ip.packet(&[], wire::ICMPV6, &ip.icmp(135, &full(&[0; 20], 0)))),
        ("ping behind 100 headers", wire::IPV6, ip.packet(&vec![Header::new(60, 0); 100], wire::ICMPV6, &ip.icmp(128, &[0; 8]))),
    ];
    let policy = AdmissionPolicy::new(LanMtu::MAX);
    for (name, kind, packet) in frames {
        let frame = wire::ethernet(wire::HOST, CLIENT, kind, &packet);
        assert!(admit(&frame, Source::Client(CLIENT), &policy, None).is_ok(), "{name}");
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let verdict = admit(black_box(&frame), black_box(Source::Client(CLIENT)), black_box(&policy), Some(DatagramBudget(2000)));
            let _ = black_box(verdict);
        }
        let admitted = start.elapsed() / ROUNDS;
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let _ = black_box(lanparty_proto::Frame::parse(black_box(&frame)).map(|frame| frame.class()));
        }
        println!("{name:26} admit {:4} ns, class {:4} ns", admitted.as_nanos(), (start.elapsed() / ROUNDS).as_nanos());
    }
}
