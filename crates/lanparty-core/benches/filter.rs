//! Nanoseconds that a traffic filter costs a full-size frame; `cargo bench -p lanparty-core --bench filter`.
//!
//! With 0, 100 and 10,000 rules, for a download (its flow is remembered) and for packets of which each is the first of its flow
//! (every one is looked up). Rules have few pairs of prefix lengths, as people write them, or as many as there are: the worst.
//! In turns, and the median of the rounds, because other programs run meanwhile.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "measures, and says what it measured")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use lanparty_core::{Filter, FilterRule, FilterRules, Net, PortRange, Verdict};
use lanparty_proto::corpus::wire::{self, Ipv4};

const FRAMES: u32 = 100_000;
const ROUNDS: usize = 15;
/// Full-size frames of one GiB.
const FRAMES_PER_GIB: f64 = (1u64 << 30) as f64 / 1391.0;

fn main() {
    for (name, count, lens) in
        [("no rules", 0, 1), ("100 rules", 100, 4), ("10,000 rules", 10_000, 4), ("10,000 rules of many lengths", 10_000, 24)]
    {
        let started = Instant::now();
        let rules = Arc::new(FilterRules::compile(rules(count, lens), Verdict::Accept).unwrap_or_default());
        let compiled = started.elapsed();
        let mut filter = Filter::new(Arc::clone(&rules));
        let [mut download, mut strangers] = [const { vec![] }; 2];
        for _ in 0..ROUNDS {
            download.push(per_frame(&mut filter, |_| 0));
            strangers.push(per_frame(&mut filter, |n| n));
        }
        let [download, strangers] = [download, strangers].map(median);
        println!(
            "{name:29} download {download:7.1} ns a frame, {:.3} s of CPU per GiB; first packets of flows {strangers:8.1} ns; compiled in {compiled:?}",
            download * FRAMES_PER_GIB / 1e9
        );
    }
}

/// Rules for nets of as many lengths on both sides.
fn rules(count: u32, lens: u32) -> Vec<FilterRule> {
    let net = |number: u32, len: u32| {
        let len = u8::try_from(len).unwrap_or(32);
        let bits = (0x0a00_0000 | (number.wrapping_mul(2_654_435_761) & 0x00ff_ffff)) & (u32::MAX << (32 - u32::from(len)));
        Net::new(Ipv4Addr::from_bits(bits).into(), len).ok()
    };
    let rule = |n: u32| FilterRule {
        name: None,
        src: net(n, 32 - n % lens),
        src_ports: PortRange::ALL,
        dst: net(n ^ 0x5555, 32 - n / lens % lens),
        dst_ports: PortRange { first: 1000, last: 30_000 },
        verdicts: [Some(Verdict::Accept), Some(Verdict::Drop), None, None],
    };
    (0..count).map(rule).collect()
}

/// Each frame from the address of that number.
fn per_frame(filter: &mut Filter, number: impl Fn(u32) -> u32) -> f64 {
    let payload = [&wire::tcp()[..], &vec![7; 1337]].concat();
    let header = Ipv4 { dst: Ipv4Addr::new(10, 200, 0, 1), ..Ipv4::new(wire::TCP) };
    let mut frame = wire::ethernet(wire::HOST, wire::VICTIM, wire::IPV4, &header.packet(&payload));
    let started = Instant::now();
    for n in 0..FRAMES {
        // The source's lower bytes; the filter does not ask for the checksum.
        if let Some(at) = frame.get_mut(27..30) {
            at.copy_from_slice(&number(n).to_be_bytes()[1..]);
        }
        let _ = black_box(filter.judge(black_box(&frame)));
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(FRAMES)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
