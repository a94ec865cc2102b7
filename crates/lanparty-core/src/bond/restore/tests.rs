//! Arrivals in every order, and what is delivered.

use super::*;

struct Bench {
    restorer: Restorer,
    start: Instant,
    out: Vec<Bytes>,
}

impl Bench {
    fn new(paths: &[u8]) -> Self {
        let mut restorer = Restorer::default();
        paths.iter().for_each(|path| restorer.add_path(*path));
        restorer.set_patience(Duration::from_millis(50));
        Self { restorer, start: Instant::now(), out: vec![] }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// A datagram of flow 0, or of none that matters when it points at none.
    fn take(&mut self, path: u8, number: u32, back: u16, ms: u64) -> Arrival {
        self.take_of(if back == 0 { 1 + (number % 4000) as u16 } else { 0 }, path, number, back, ms)
    }

    fn take_of(&mut self, flow: u16, path: u8, number: u32, back: u16, ms: u64) -> Arrival {
        let datagram = Bytes::copy_from_slice(&number.to_be_bytes());
        self.restorer.take(path, Sequence { number, flow, back, passes: false }, datagram, self.at(ms), &mut self.out)
    }

    fn expire(&mut self, ms: u64) {
        self.restorer.expire(self.at(ms), &mut self.out);
    }

    fn delivered(&mut self) -> Vec<u32> {
        self.out.drain(..).map(|d| u32::from_be_bytes(d[..].try_into().unwrap())).collect()
    }
}

#[test]
fn a_flow_waits_for_its_own_and_for_nobody_else() {
    let mut bench = Bench::new(&[0, 1]);
    assert_eq!(bench.take(0, 1, 0, 0), Arrival::Delivered);
    // 2 is of the same flow and comes by the slower path; 3 follows it; 4 is of another flow.
    assert_eq!(bench.take(0, 3, 1, 1), Arrival::Held);
    assert_eq!(bench.take(0, 4, 0, 1), Arrival::Delivered);
    assert_eq!(bench.take(1, 2, 1, 30), Arrival::Delivered);
    assert_eq!(bench.delivered(), [1, 4, 2, 3]);
}

#[test]
fn a_copy_is_removed_whether_the_first_was_delivered_or_is_held() {
    let mut bench = Bench::new(&[0, 1]);
    bench.take(0, 1, 0, 0);
    assert_eq!(bench.take(1, 1, 0, 5), Arrival::Duplicate);
    assert_eq!(bench.take(0, 3, 1, 5), Arrival::Held);
    assert_eq!(bench.take(1, 3, 1, 6), Arrival::Duplicate);
    assert_eq!(bench.restorer.report().duplicates, 2);
}

#[test]
fn patience_ends_a_wait_and_what_comes_later_is_dropped() {
    let mut bench = Bench::new(&[0, 1]);
    bench.take(0, 1, 0, 0);
    bench.take(0, 3, 1, 0);
    assert_eq!(bench.restorer.next_timeout(), Some(bench.at(50)));
    bench.expire(49);
    assert_eq!(bench.delivered(), [1]);
    bench.expire(50);
    assert_eq!(bench.delivered(), [3]);
    assert_eq!((bench.take(1, 2, 1, 60), bench.delivered()), (Arrival::Late, vec![]));
    assert_eq!(bench.restorer.next_timeout(), None);
}

#[test]
fn what_every_path_has_passed_is_lost_and_hardly_waited_for() {
    let mut bench = Bench::new(&[0, 1]);
    bench.take(0, 1, 0, 0);
    bench.take(0, 3, 1, 0);
    assert_eq!(bench.restorer.next_timeout(), Some(bench.at(50)), "the other path may bring it");
    bench.take(1, 4, 0, 5);
    assert_eq!(bench.restorer.next_timeout(), Some(bench.at(5) + GRACE_MIN));
    bench.expire(8);
    assert_eq!(bench.delivered(), [1, 4, 3]);
}

#[test]
fn one_that_was_only_overtaken_teaches_patience() {
    let mut bench = Bench::new(&[0]);
    bench.take(0, 1, 0, 0);
    bench.take(0, 3, 1, 0);
    bench.expire(3);
    assert_eq!(bench.take(0, 2, 1, 4), Arrival::Late);
    bench.take(0, 4, 1, 5);
    bench.take(0, 6, 1, 5);
    bench.expire(5 + 3);
    assert_eq!(bench.take(0, 5, 1, 9), Arrival::Delivered, "the second time it is waited for longer");
    assert_eq!(bench.delivered(), [1, 3, 4, 5, 6]);
}

/// What a flow of TCP carries, as number `number` of a link.
fn segment(number: u32) -> Bytes {
    let mut datagram = vec![0x10, 0, 1];
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, number, 4).ack(1);
    builder.write(&mut datagram, &number.to_be_bytes()).unwrap();
    datagram.into()
}

impl Bench {
    /// A segment of a transfer, the one after another of its flow; `again` when it was asked for.
    fn take_segment(&mut self, path: u8, number: u32, again: bool, ms: u64) -> Arrival {
        let sequence = Sequence { number, flow: 7, back: u16::from(number > 1), passes: again };
        self.restorer.take(path, sequence, segment(number), self.at(ms), &mut self.out)
    }
}

/// 1, 3 and 4 of a transfer came by one path, 2 is lost; so the other end is asked for it.
fn asking() -> Bench {
    let mut bench = Bench::new(&[0]);
    bench.restorer.set_answer_time(Some(Duration::from_millis(60)));
    for number in [1, 3, 4] {
        bench.take_segment(0, number, false, 0);
    }
    assert_eq!(bench.restorer.take_asks(), [0_u32; 0], "it may have been overtaken");
    bench.expire(2);
    assert_eq!((bench.restorer.take_asks(), bench.restorer.next_timeout()), (vec![2], Some(bench.at(62))));
    bench
}

#[test]
fn what_is_lost_is_asked_for_once_and_a_transfer_waits_for_it() {
    let mut bench = asking();
    assert_eq!(bench.take_segment(0, 2, true, 30), Arrival::Delivered);
    assert_eq!(bench.out, [1, 2, 3, 4].map(segment));
    assert_eq!(bench.take_segment(0, 2, true, 31), Arrival::Duplicate);
    let report = bench.restorer.report();
    assert_eq!((report.asked, report.repeated, report.given_up, bench.restorer.next_timeout()), (1, 1, 0, None));
}

#[test]
fn an_answer_that_does_not_come_is_given_up_and_dropped_when_it_does() {
    let mut bench = asking();
    bench.expire(62);
    assert_eq!(bench.out, [1, 3, 4].map(segment));
    assert_eq!((bench.take_segment(0, 2, true, 63), bench.restorer.grace), (Arrival::Late, GRACE_MIN));
    assert!(bench.restorer.take_asks().is_empty());
}

#[test]
fn what_was_asked_for_and_comes_by_itself_was_overtaken() {
    let mut bench = asking();
    assert_eq!(bench.take_segment(0, 2, false, 5), Arrival::Delivered);
    assert_eq!((bench.restorer.report().repeated, bench.restorer.grace), (0, GRACE_MIN * 2));
}

#[test]
fn what_is_no_transfer_goes_on_without_what_is_lost() {
    let mut bench = Bench::new(&[0]);
    bench.restorer.set_answer_time(Some(Duration::from_millis(60)));
    bench.take(0, 1, 0, 0);
    bench.take(0, 3, 1, 0);
    bench.expire(2);
    assert_eq!((bench.delivered(), bench.restorer.take_asks()), (vec![1, 3], vec![2]));
}

#[test]
fn a_path_that_dies_keeps_nobody_waiting() {
    let mut bench = Bench::new(&[0, 1]);
    bench.take(1, 1, 0, 0);
    bench.take(0, 3, 1, 0);
    bench.restorer.remove_path(1, bench.start, &mut bench.out);
    assert_eq!(bench.restorer.next_timeout(), Some(bench.at(0) + GRACE_MIN));
    bench.expire(2);
    assert_eq!(bench.delivered(), [1, 3]);
}

#[test]
fn numbers_go_round_and_old_ones_are_late() {
    let mut bench = Bench::new(&[0]);
    bench.take(0, u32::MAX, 0, 0);
    assert_eq!(bench.take(0, 1, 1, 0), Arrival::Held);
    assert_eq!(bench.take(0, 0, 1, 0), Arrival::Delivered);
    assert_eq!(bench.delivered(), [u32::MAX, 0, 1]);
    let far = u32::try_from(WINDOW).unwrap() + 10;
    assert_eq!(bench.take(0, far, 0, 1), Arrival::Delivered);
    assert_eq!(bench.take(0, 2, 1, 1), Arrival::Late);
}

#[test]
fn what_is_held_is_bounded() {
    let mut bench = Bench::new(&[0, 1]);
    bench.restorer.set_patience(PATIENCE_MAX);
    bench.take(1, 0, 0, 0);
    for n in 0..HELD_MAX as u32 + 500 {
        // Every second one is missing.
        bench.take(0, 2 * n + 2, 1, 0);
        assert!(bench.restorer.held.len() <= HELD_MAX + 1 && bench.restorer.missing.len() <= HELD_MAX + 1);
    }
    assert!(bench.restorer.report().given_up > 0);
    bench.expire(601);
    assert_eq!(bench.restorer.report().waiting, 0);
}

#[test]
fn the_paths_spread_says_how_long_is_waited() {
    let ms = Duration::from_millis;
    assert_eq!(patience([ms(20), ms(120)]), ms(150) + PATIENCE_MIN);
    assert_eq!(patience([ms(20)]), PATIENCE_MIN);
    assert_eq!(patience([]), PATIENCE_MIN);
    assert_eq!(patience([ms(1), ms(3000)]), PATIENCE_MAX);
}

proptest::proptest! {
    /// Whatever an end claims that is none of ours: nothing stays, and nothing is delivered twice.
    #[test]
    fn lies_leave_nothing_behind(claims in proptest::collection::vec((0u8..3, 0u32..60, 0u16..4, 0u16..40, 0u64..4), 1..200)) {
        let (mut bench, mut at) = (Bench::new(&[0, 1]), 0);
        bench.restorer.set_answer_time(Some(Duration::from_millis(3)));
        for (path, number, flow, back, pause) in claims {
            at += pause;
            bench.take_of(flow, path, number, back, at);
        }
        bench.expire(100_000);
        let mut delivered = bench.delivered();
        let all = delivered.len();
        delivered.sort_unstable();
        delivered.dedup();
        let Restorer { held, followers, missing, .. } = &bench.restorer;
        proptest::prop_assert_eq!((all, held.len(), followers.len(), missing.len()), (delivered.len(), 0, 0, 0));
    }

    /// Whatever the paths lose, copy and delay: every flow is in order, nothing is delivered twice, and nothing stays.
    #[test]
    fn no_flow_is_out_of_order_and_nothing_is_delivered_twice(
        seed in proptest::prelude::any::<u32>(),
        plan in proptest::collection::vec((0u8..4, 0u8..3, 0u8..10, 0u64..80), 1..300),
    ) {
        let mut last = [None::<u32>; 4];
        let mut arrivals = vec![];
        for (n, (flow, path, luck, delay)) in plan.iter().enumerate() {
            let number = seed.wrapping_add(n as u32);
            let before = last[usize::from(*flow)].replace(number);
            let back = before.map_or(0, |b| u16::try_from(number.wrapping_sub(b)).unwrap());
            let sent = n as u64;
            if *luck > 0 {
                arrivals.push((sent + delay, n, *path, number, back, *flow));
            }
            if *luck > 7 {
                arrivals.push((sent + delay / 2, n, (path + 1) % 3, number, back, *flow));
            }
        }
        arrivals.sort_unstable();
        let mut bench = Bench::new(&[0, 1, 2]);
        bench.restorer.set_answer_time(Some(Duration::from_millis(30)));
        for (at, _, path, number, back, flow) in &arrivals {
            bench.take_of(u16::from(*flow), *path, *number, *back, *at);
        }
        bench.expire(100_000);
        let flow_of: BTreeMap<u32, u8> = arrivals.iter().map(|a| (a.3, a.5)).collect();
        let mut newest = [None::<u32>; 4];
        let delivered = bench.delivered();
        for number in &delivered {
            let flow = usize::from(flow_of[number]);
            let place = number.wrapping_sub(seed);
            proptest::prop_assert!(newest[flow].is_none_or(|n| n < place), "flow {} got {} after {:?}", flow, place, newest[flow]);
            newest[flow] = Some(place);
        }
        let report = bench.restorer.report();
        proptest::prop_assert_eq!(delivered.len() as u64 + report.duplicates + report.late, arrivals.len() as u64);
        proptest::prop_assert_eq!(report.waiting, 0);
        proptest::prop_assert_eq!(bench.restorer.followers.len() + bench.restorer.missing.len(), 0);
    }
}
