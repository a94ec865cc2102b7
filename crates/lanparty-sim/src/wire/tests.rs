//! The figures that a wire must show, in virtual time. Those of the prototype were measured with real clocks; the same must come out here.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What came out of a wire: when, and the number written into the frame.
struct Seen {
    wire: Wire,
    arrivals: Vec<(Duration, Duration, u64)>,
}

impl Seen {
    fn delays_ms(&self) -> Vec<f64> {
        let mut delays: Vec<f64> = self.arrivals.iter().map(|(sent, came, _)| (*came - *sent).as_secs_f64() * 1e3).collect();
        delays.sort_by(f64::total_cmp);
        delays
    }

    fn percentile_ms(&self, percent: usize) -> f64 {
        let delays = self.delays_ms();
        delays[(delays.len() - 1) * percent / 100]
    }

    fn mean_ms(&self) -> f64 {
        self.delays_ms().iter().sum::<f64>() / self.arrivals.len() as f64
    }

    /// The share of arrivals that some later-sent frame had overtaken.
    fn reordered(&self) -> f64 {
        let mut highest = 0;
        let late = self.arrivals.iter().filter(|(_, _, number)| {
            let overtaken = *number < highest;
            highest = highest.max(*number);
            overtaken
        });
        late.count() as f64 / self.arrivals.len() as f64
    }

    fn lost(&self) -> f64 {
        let offered = self.wire.stats().offered as f64;
        (offered - self.arrivals.len() as f64) / offered
    }
}

fn frame(number: u64, len: usize) -> Bytes {
    let mut bytes = vec![0xa5; len];
    bytes[42..50].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// `count` frames of `len` bytes at even distances, taken out exactly when they are due.
fn run(text: &str, count: u64, len: usize, gap: Duration) -> Seen {
    let mut seen = Seen { wire: Wire::new(text.parse().unwrap(), 42), arrivals: Vec::new() };
    let sent = |number: u64| gap * u32::try_from(number).unwrap();
    for number in 0..count {
        drain(&mut seen, sent(number), gap);
        seen.wire.push(sent(number), frame(number, len));
    }
    drain(&mut seen, Duration::MAX, gap);
    assert!(seen.wire.stats().conserved(0), "{:?}", seen.wire.stats());
    seen
}

fn drain(seen: &mut Seen, until: Duration, gap: Duration) {
    while let Some(due) = seen.wire.next_due().filter(|due| *due <= until) {
        let frame = seen.wire.pop_due(due).unwrap();
        let number = u64::from_be_bytes(frame[42..50].try_into().unwrap());
        seen.arrivals.push((gap * u32::try_from(number).unwrap_or(u32::MAX), due, number));
    }
}

/// The pace of `mbit` megabits per second.
fn gap(mbit: u64, len: usize) -> Duration {
    Duration::from_nanos(len as u64 * 8_000 / mbit)
}

fn assert_near(value: f64, wanted: f64, tolerance: f64) {
    assert!((value - wanted).abs() <= tolerance, "{value} is not {wanted} +- {tolerance}");
}

#[test]
fn a_perfect_wire_gives_back_what_it_got_at_once() {
    let mut wire = Wire::new(Impairment::default(), 1);
    assert_eq!(wire.next_due(), None);
    wire.push(MS, frame(7, 60));
    assert_eq!(wire.next_due(), Some(MS));
    assert_eq!(wire.pop_due(MS / 2), None);
    assert_eq!(wire.pop_due(MS), Some(frame(7, 60)));
    assert_eq!((wire.held(), wire.pop_due(MS)), (0, None));
}

#[test]
fn a_delay_of_20_ms_is_20_ms_for_every_frame() {
    let seen = run("delay=20ms", 10_000, 1_200, gap(200, 1_200));
    assert_eq!((seen.delays_ms()[0], seen.percentile_ms(100)), (20.0, 20.0));
    assert!(seen.reordered() == 0.0);
}

#[test]
fn at_60_mbit_into_50_the_queue_of_64000_adds_10_24_ms_and_50_come_out() {
    let count = 50_000;
    let seen = run("delay=10ms rate=50M queue=64000", count, 1_200, gap(60, 1_200));
    assert_near(seen.percentile_ms(50), 20.2, 0.1);
    assert!(seen.percentile_ms(100) <= 10.0 + 10.24 + 0.001, "{}", seen.percentile_ms(100));
    let (first, last) = (seen.arrivals[0].1, seen.arrivals.last().unwrap().1);
    let mbit = seen.arrivals.len() as f64 * 1_200.0 * 8.0 / (last - first).as_secs_f64() / 1e6;
    assert_near(mbit, 50.0, 0.1);
    assert_eq!(seen.wire.stats().queue_full + seen.wire.stats().delivered, count);
}

#[test]
fn independent_loss_is_what_was_asked_for() {
    assert_near(run("loss=5%", 100_000, 100, MS).lost(), 0.05, 0.003);
    assert_near(run("loss=20%", 100_000, 100, MS).lost(), 0.20, 0.005);
    assert!(run("loss=100%", 100, 100, MS).arrivals.is_empty());
}

#[test]
fn gilbert_elliott_loses_1_92_percent_and_in_bursts() {
    let seen = run("ge_p=0.8% ge_r=20% loss=50%", 1_000_000, 60, MS);
    // 0.8 / (0.8 + 20) of the time in the bad state, half of that lost.
    assert_near(seen.lost(), 0.0192, 0.0006);
    let pairs = seen.arrivals.windows(2).filter(|pair| pair[1].2 - pair[0].2 > 2).count();
    // Independent loss would show 1.92 % x 1.92 % = 369 runs of two and more.
    assert!(pairs > 2_000, "{pairs} runs of two or more");
}

#[test]
fn wandering_jitter_keeps_order_and_mean() {
    let seen = run("delay=20ms jitter=1ms", 200_000, 1_158, gap(200, 1_158));
    assert!(seen.reordered() == 0.0);
    assert_near(seen.mean_ms(), 20.0, 0.1);
    let (lowest, highest) = (seen.percentile_ms(0), seen.percentile_ms(100));
    assert!((19.0..19.2).contains(&lowest) && (20.8..=21.001).contains(&highest), "{lowest} .. {highest}");
}

#[test]
fn a_jitter_as_steep_as_its_period_still_keeps_order() {
    assert!(run("delay=50ms jitter=30ms wander=20ms", 50_000, 200, MS / 20).reordered() == 0.0);
}

#[test]
fn jitter_drawn_per_frame_reorders_most_of_them() {
    let seen = run("delay=20ms jitter=1ms wander=0ms", 50_000, 1_158, gap(200, 1_158));
    assert!(seen.reordered() > 0.8, "{}", seen.reordered());
    assert_near(seen.mean_ms(), 20.0, 0.02);
}

#[test]
fn one_in_a_hundred_is_overtaken() {
    let seen = run("delay=10ms reorder=1% reorder_by=5ms", 100_000, 100, MS);
    assert_near(seen.reordered(), 0.01, 0.001);
    assert_near(seen.percentile_ms(100), 15.0, 0.001);
}

#[test]
fn copies_and_flipped_bits_are_counted() {
    let seen = run("dup=1% corrupt=0.5%", 100_000, 60, MS);
    let stats = seen.wire.stats();
    assert_near(stats.duplicated as f64, 1_000.0, 100.0);
    assert_near(stats.corrupted as f64, 500.0, 80.0);
    assert_eq!(stats.delivered, 100_000 + stats.duplicated);
}

#[test]
fn a_flipped_bit_spares_the_headers() {
    let mut wire = Wire::new("corrupt=100%".parse().unwrap(), 3);
    for _ in 0..1_000 {
        wire.push(Duration::ZERO, frame(0, 64));
        let came = wire.pop_due(Duration::ZERO).unwrap();
        let flipped: Vec<usize> = (0..64).filter(|at| came[*at] != frame(0, 64)[*at]).collect();
        assert!(flipped.len() == 1 && flipped[0] >= 42, "{flipped:?}");
    }
}

#[test]
fn a_black_hole_swallows_by_ip_length() {
    let passes = |framing, len| {
        let mut wire = Wire::with_framing("mtu=1280".parse().unwrap(), 1, framing);
        wire.push(Duration::ZERO, frame(0, len));
        wire.stats().too_big == 0
    };
    assert!(passes(Framing::Ethernet, 1_294) && !passes(Framing::Ethernet, 1_295));
    assert!(passes(Framing::UdpPayload, 1_252) && !passes(Framing::UdpPayload, 1_253));
}

#[test]
fn fragments_vanish_and_the_rest_passes() {
    let ipv4 = |flags_offset: u16| {
        let mut bytes = vec![0; 60];
        bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
        bytes[20..22].copy_from_slice(&flags_offset.to_be_bytes());
        Bytes::from(bytes)
    };
    let mut wire = Wire::new("drop_frags".parse().unwrap(), 1);
    for flags_offset in [0x4000, 0x0000, 0x2000, 0x00b9] {
        wire.push(Duration::ZERO, ipv4(flags_offset));
    }
    wire.push(Duration::ZERO, Bytes::from_static(&[0; 14]));
    assert_eq!((wire.stats().fragments, wire.held()), (2, 3));
}

#[test]
fn a_cut_wire_takes_nothing_and_what_is_on_its_way_arrives() {
    let mut wire = Wire::new("delay=5ms".parse().unwrap(), 1);
    wire.push(Duration::ZERO, frame(1, 60));
    wire.set_down(true);
    wire.push(MS, frame(2, 60));
    wire.set_down(false);
    wire.push(MS * 2, frame(3, 60));
    assert_eq!(wire.pop_due(MS * 10), Some(frame(1, 60)));
    assert_eq!(wire.pop_due(MS * 10), Some(frame(3, 60)));
    assert!(wire.stats().down == 1 && wire.stats().conserved(0));
}

#[test]
fn a_wire_that_nobody_empties_is_bounded() {
    let mut wire = Wire::new("delay=1s".parse().unwrap(), 1);
    let big = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..100 {
        wire.push(Duration::ZERO, big.clone());
    }
    assert!(wire.held() <= 64 && wire.stats().queue_full >= 36, "{:?}", wire.stats());
    assert!(wire.stats().conserved(wire.held()));
}

#[test]
fn serving_late_is_noticed() {
    let mut wire = Wire::new("delay=5ms".parse().unwrap(), 1);
    for number in 0..100 {
        let now = MS * 10 * number;
        wire.push(now, frame(0, 60));
        let late = if number < 2 { MS * 3 } else { MS / 4 };
        assert!(wire.pop_due(now + MS * 5 + late).is_some());
    }
    assert!(!wire.lateness().is_conclusive(), "{}", wire.lateness());
    wire.forget_lateness();
    assert!(wire.lateness().is_conclusive());
}

#[test]
fn the_same_seed_repeats_the_same_run() {
    let arrivals = || run("delay=9ms jitter=2ms loss=3% dup=1% reorder=2% reorder_by=4ms", 5_000, 60, MS).arrivals;
    assert_eq!(arrivals(), arrivals());
}
