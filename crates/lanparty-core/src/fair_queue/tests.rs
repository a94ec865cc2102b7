use std::collections::BTreeSet;

use lanparty_proto::corpus::wire::{self, Ipv4};
use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A datagram of `len` bytes of UDP from `port`; its last eight bytes are `number`.
fn datagram(port: u16, len: usize, number: u64) -> Bytes {
    let payload = len - 3 - 14 - 20 - 8;
    let udp = wire::udp(port, 9, &[&vec![0; payload - 8][..], &number.to_be_bytes()].concat());
    let frame = wire::ethernet(wire::VICTIM, wire::HOST, wire::IPV4, &Ipv4::new(wire::UDP).packet(&udp));
    Bytes::from([&[0x10, 0, 1][..], &frame].concat())
}

fn number(datagram: &[u8]) -> u64 {
    u64::from_be_bytes(datagram[datagram.len() - 8..].try_into().unwrap())
}

fn push_all(queue: &mut FairQueue, port: u16, numbers: std::ops::Range<u64>, now: Instant) -> usize {
    numbers.map(|n| queue.push(datagram(port, 1400, n), now).len()).sum()
}

fn pop_all(queue: &mut FairQueue, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop(now).0).map(|d| number(&d)).collect()
}

#[test]
fn a_lone_datagram_passes_a_download_that_waits() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..100, now);
    let first: Vec<u64> = (0..3).map(|_| number(&queue.pop(now).0.unwrap())).collect();
    queue.push(datagram(2, 100, 777), now);
    assert_eq!((first, number(&queue.pop(now).0.unwrap())), (vec![0, 1, 2], 777));
}

#[test]
fn who_sends_much_passes_nobody_by_pausing() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..10, now);
    queue.pop(now);
    queue.pop(now);
    // One that comes with a datagram each time the last one went is no new flow each time (RFC 8290 §4.2).
    let mut theirs = 0;
    for turn in 0..10 {
        queue.push(datagram(2, 1400, 1000 + turn), now);
        theirs += usize::from(number(&queue.pop(now).0.unwrap()) >= 1000);
    }
    assert!((5..=6).contains(&theirs), "{theirs} of 10");
}

#[test]
fn flows_share_by_bytes_and_not_by_datagrams() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..100, now);
    (0..900).for_each(|n| drop(queue.push(datagram(2, 140, 1000 + n), now)));
    let mut bytes = [0; 2];
    for _ in 0..440 {
        let datagram = queue.pop(now).0.unwrap();
        bytes[usize::from(number(&datagram) >= 1000)] += datagram.len();
    }
    assert!(bytes[0].abs_diff(bytes[1]) <= 2 * QUANTUM, "{bytes:?}");
}

#[test]
fn on_a_fast_path_a_turn_is_a_train() {
    /// Lengths of the trains in which three downloads leave.
    fn trains(bytes_per_s: u64) -> Vec<usize> {
        let (mut queue, now) = (FairQueue::new(1), Instant::now());
        queue.set_rate(bytes_per_s);
        for flow in 1..=3 {
            let first = u64::from(flow) * 1000;
            push_all(&mut queue, flow, first..first + 100, now);
        }
        let flows: Vec<u64> = pop_all(&mut queue, now).iter().map(|number| number / 1000).collect();
        flows.chunk_by(|a, b| a == b).map(<[u64]>::len).collect()
    }
    assert_eq!(trains(600_000_000)[..3], [43, 43, 43], "60,000 bytes in 100 µs");
    assert_eq!(trains(u64::MAX)[0], 47, "never more than a super-frame and what it took to get there");
    assert!(trains(2_000_000).iter().take(100).all(|train| *train <= 2), "frame by frame where 100 µs are less than one");
    assert_eq!(trains(0), trains(2_000_000), "a rate that is not known is a low one");
}

#[test]
fn who_has_most_of_a_half_full_queue_loses_one_datagram_and_has_time_to_answer() {
    let (mut queue, start) = (FairQueue::new(1), Instant::now());
    (0..8).for_each(|n| drop(queue.push(datagram(2, 100, n), start)));
    assert_eq!(push_all(&mut queue, 1, 1000..1504, start), 0);
    let told = queue.push(datagram(2, 100, 8), start);
    assert_eq!(told.iter().map(|d| number(&d.datagram)).collect::<Vec<_>>(), [1000], "the head of the one that has most, whoever came");
    assert_eq!(told[0].reason, DropReason::QueueDelay);
    for wait in [MS / 2, MS * 2, CODEL_INTERVAL - MS] {
        assert_eq!(push_all(&mut queue, 1, 2000..2010, start + wait), 0, "{wait:?}: it has its time, and nobody else has much");
    }
    assert_eq!(push_all(&mut queue, 3, 3000..3300, start + CODEL_INTERVAL - MS), 0, "one that has less than its share so far");
    let told = queue.push(datagram(3, 100, 9), start + CODEL_INTERVAL + MS);
    assert_eq!(told.iter().map(|d| number(&d.datagram)).collect::<Vec<_>>(), [1001], "it did not answer");
}

#[test]
fn at_the_limit_the_fattest_flow_makes_room() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 2, 0..24, now);
    assert_eq!(push_all(&mut queue, 1, 99..1100, now), 1, "told early");
    assert!(!queue.has_room() && queue.len() == EGRESS_FRAMES_MAX);
    let made_room = queue.push(datagram(2, 100, 24), now);
    assert_eq!((made_room.len(), queue.len()), (DROP_BATCH, EGRESS_FRAMES_MAX + 1 - DROP_BATCH));
    let dropped: Vec<u64> = made_room.iter().map(|d| number(&d.datagram)).collect();
    assert_eq!(dropped, (100..164).collect::<Vec<_>>(), "from the head, of the one that has most");
    assert!(made_room.iter().all(|d| d.reason == DropReason::QueueFull));
    assert_eq!(Drops::from(&made_room[..]), Drops::of(DropReason::QueueFull, 64));
    let slots = queue.pool.capacity();
    push_all(&mut queue, 7, 0..5000, now);
    assert!(queue.pool.capacity() == slots && slots <= EGRESS_FRAMES_MAX + 1, "memory is used again");
}

#[test]
fn the_limit_in_bytes_holds_for_any_size() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    for n in 0..200 {
        queue.push(datagram(u16::try_from(n % 50).unwrap(), 60_000, n), now);
        assert!(queue.bytes() <= EGRESS_BYTES_MAX);
    }
    assert!(queue.bytes() > EGRESS_BYTES_MAX - 2 * 60_000, "no more than needed went");
}

#[test]
fn a_stale_frame_is_dropped_not_delivered_late() {
    let (mut queue, start) = (FairQueue::new(1), Instant::now());
    queue.push(datagram(1, 100, 1), start);
    queue.push(datagram(1, 100, 2), start + EGRESS_AGE_MAX);
    let (popped, discarded) = queue.pop(start + EGRESS_AGE_MAX + MS);
    assert_eq!((number(&popped.unwrap()), discarded.len(), discarded[0].reason), (2, 1, DropReason::QueueFull));
}

#[test]
fn a_frame_that_was_put_back_grows_no_younger_and_keeps_its_place() {
    let (mut queue, start) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..3, start);
    for ms in [40, 80] {
        let now = start + MS * ms;
        let (popped, _) = queue.pop(now);
        assert_eq!(number(popped.as_ref().unwrap()), 0);
        queue.unpop(popped.unwrap(), now);
    }
    let (popped, discarded) = queue.pop(start + EGRESS_AGE_MAX + MS);
    assert_eq!((popped, discarded.len(), queue.is_empty()), (None, 3, true));
}

#[test]
fn the_end_of_a_way_comes_behind_all_that_waited_before_it() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..5, now);
    push_all(&mut queue, 2, 5..7, now);
    queue.push_last(Bytes::from_static(b"the end!"));
    push_all(&mut queue, 3, 100..110, now);
    let order = pop_all(&mut queue, now);
    let end = u64::from_be_bytes(*b"the end!");
    let at = order.iter().position(|n| *n == end).unwrap();
    assert!((0..7).all(|n| order[..at].contains(&n)), "{order:?}");
    assert!(order[at..].contains(&109), "and need not wait for what came later: {order:?}");
    assert_eq!(order.len(), 18);
    queue.push_last(Bytes::from_static(b"the end!"));
    assert!(queue.pop(now + Duration::from_secs(9)).0.is_some(), "it does not age");
}

#[test]
fn who_does_not_know_the_seed_cannot_aim_at_a_place() {
    let places = |seed| (0..64).map(|port| FairQueue::new(seed).place(&datagram(port, 100, 0))).collect::<Vec<_>>();
    let (one, other) = (places(1), places(2));
    assert_ne!(one, other);
    assert_eq!(one, places(1));
    assert!(one.iter().collect::<BTreeSet<_>>().len() > 56, "flows mostly have a place of their own");
}

#[test]
fn what_is_drained_is_everything() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..5, now);
    push_all(&mut queue, 2, 5..9, now);
    queue.push_last(Bytes::from_static(b"the end!"));
    queue.pop(now);
    assert_eq!((queue.drain().len(), queue.len(), queue.bytes(), queue.fronts().next()), (9, 0, 0, None));
    push_all(&mut queue, 1, 0..5, now);
    assert_eq!(pop_all(&mut queue, now).len(), 5);
}

/// A sender as TCP is, over a path behind the queue, and pings beside it. Time is virtual.
struct Download {
    rate: f64,
    rtt: Duration,
    queue: FairQueue,
    start: Instant,
    window: f64,
    is_starting: bool,
    in_flight: f64,
    cut_at: Duration,
    /// When its sender hears of a datagram, and whether it arrived.
    news: VecDeque<(Duration, bool)>,
    delivered: usize,
    lost: usize,
    ping_waits: Vec<Duration>,
}

impl Download {
    const LEN: usize = 1400;

    /// Over a path of so many bytes per second.
    fn new(rate: f64, rtt: Duration) -> Self {
        Self {
            rate,
            rtt,
            queue: FairQueue::new(7),
            start: Instant::now(),
            window: 10.0,
            is_starting: true,
            in_flight: 0.0,
            cut_at: Duration::ZERO,
            news: VecDeque::new(),
            delivered: 0,
            lost: 0,
            ping_waits: vec![],
        }
    }

    /// As CUBIC does on a path this short (RFC 9438 §4.3): slow start, then half a datagram more a round trip, 0.7 at the first loss.
    fn hear(&mut self, now: Duration) {
        while let Some((_, arrived)) = self.news.pop_front_if(|(at, _)| *at <= now) {
            self.in_flight -= 1.0;
            if arrived {
                self.window += if self.is_starting { 1.0 } else { 0.53 / self.window };
            } else if now > self.cut_at + self.rtt * 2 {
                (self.window, self.is_starting, self.cut_at) = ((self.window * 0.7).max(2.0), false, now);
            }
        }
        while self.in_flight < self.window {
            self.in_flight += 1.0;
            let discarded = self.queue.push(datagram(1, Self::LEN, 0), self.start + now);
            self.tell(&discarded, now);
        }
    }

    fn tell(&mut self, discarded: &[Discarded], now: Duration) {
        self.lost += discarded.len();
        discarded.iter().for_each(|_| self.news.push_back((now + self.rtt, false)));
    }

    fn run(&mut self, from: Duration, until: Duration) {
        let (mut now, mut ping_at) = (from, from);
        while now < until {
            self.hear(now);
            if now >= ping_at {
                self.queue.push(datagram(2, 100, u64::try_from(now.as_nanos()).unwrap()), self.start + now);
                ping_at += MS * 20;
            }
            let (popped, discarded) = self.queue.pop(self.start + now);
            self.tell(&discarded, now);
            now += popped.as_ref().map_or(MS / 10, |d| Duration::from_secs_f64(d.len() as f64 / self.rate));
            match popped {
                Some(ping) if ping.len() == 100 => self.ping_waits.push(now - Duration::from_nanos(number(&ping))),
                Some(bulk) => {
                    self.delivered += bulk.len();
                    self.news.push_back((now + self.rtt, true));
                }
                None => {}
            }
        }
    }
}

#[test]
fn a_ping_beside_a_download_waits_under_ten_milliseconds_and_the_download_keeps_its_rate() {
    let (mut download, time) = (Download::new(20e6 / 8.0, MS * 30), Duration::from_secs(60));
    download.run(Duration::ZERO, time);
    let share = download.delivered as f64 / (download.rate * time.as_secs_f64());
    let slowest = download.ping_waits.iter().max().unwrap();
    assert!(download.ping_waits.len() > 2900 && *slowest < MS * 10, "{slowest:?} of {}", download.ping_waits.len());
    assert!(share > 0.9, "{share} of the path");
}

#[test]
fn a_download_over_a_fast_path_loses_single_datagrams() {
    let mut download = Download::new(5e9 / 8.0, MS);
    download.run(Duration::ZERO, MS * 300);
    let (first, delivered) = (download.lost, download.delivered);
    download.run(MS * 300, MS * 4000);
    let share = (download.delivered - delivered) as f64 / (download.rate * 3.7);
    assert!(share > 0.95, "{share} of the path");
    let lost = download.lost - first;
    assert!((1..=40).contains(&lost), "{lost} lost in 3.7 s, {first} before");
}

#[derive(Debug, Clone)]
enum Step {
    Push { port: u16, len: usize },
    PushLast,
    Pop { put_back: bool },
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u16, 60..1514usize).prop_map(|(port, len)| Step::Push { port, len }),
        1 => Just(Step::PushLast),
        6 => any::<bool>().prop_map(|put_back| Step::Pop { put_back }),
        2 => (0..40u64).prop_map(|ms| Step::Wait(MS * u32::try_from(ms).unwrap())),
    ]
}

/// What went in, came out and was dropped of one queue.
#[derive(Default)]
struct Books {
    pushed: u64,
    out: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
    /// The newest that came out of each flow.
    newest: [u64; 6],
}

impl Books {
    fn drop_all(&mut self, discarded: &[Discarded]) {
        for one in discarded {
            assert!(self.dropped.insert(number(&one.datagram)), "dropped twice");
        }
    }

    fn out(&mut self, datagram: &Bytes) {
        let n = number(datagram);
        assert!(self.out.insert(n), "came out twice");
        if datagram.len() > 8 {
            let port = usize::from(datagram[3 + 14 + 20 + 1]);
            assert!(std::mem::replace(&mut self.newest[port], n) < n, "a flow was reordered");
        }
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_once_is_dropped_once_or_waits(steps in prop::collection::vec(step(), 0..600), seed: u64) {
        let (mut queue, mut now, mut books) = (FairQueue::new(seed), Instant::now(), Books::default());
        for step in steps {
            match step {
                Step::Push { port, len } => {
                    books.pushed += 1;
                    let discarded = queue.push(datagram(port, len, books.pushed), now);
                    books.drop_all(&discarded);
                }
                Step::PushLast => {
                    books.pushed += 1;
                    let discarded = queue.push_last(Bytes::from(books.pushed.to_be_bytes().to_vec()));
                    books.drop_all(&discarded);
                }
                Step::Pop { put_back } => {
                    let fronts: Vec<Bytes> = queue.fronts().cloned().collect();
                    let (popped, discarded) = queue.pop(now);
                    books.drop_all(&discarded);
                    prop_assert!(!discarded.is_empty() || popped.as_ref().is_none_or(|popped| fronts.contains(popped)));
                    prop_assert_eq!(popped.is_none() && discarded.is_empty(), fronts.is_empty());
                    match popped {
                        Some(datagram) if put_back && books.pushed % 2 == 0 => queue.pass(datagram, now),
                        Some(datagram) if put_back => queue.unpop(datagram, now),
                        Some(datagram) => books.out(&datagram),
                        None => prop_assert!(queue.is_empty()),
                    }
                }
                Step::Wait(time) => now += time,
            }
            prop_assert_eq!(books.pushed, (books.out.len() + books.dropped.len() + queue.len()) as u64);
            prop_assert!(books.out.is_disjoint(&books.dropped));
        }
        let left = queue.drain();
        prop_assert_eq!(books.pushed, (books.out.len() + books.dropped.len() + left.len()) as u64);
        prop_assert_eq!((queue.bytes(), queue.len()), (0, 0));
    }
}

#[test]
fn who_is_passed_waits_at_the_front_of_its_flow_while_others_have_their_turn() {
    let (mut queue, now) = (FairQueue::new(1), Instant::now());
    push_all(&mut queue, 1, 0..2, now);
    push_all(&mut queue, 2, 2..4, now);
    let first = queue.pop(now).0.unwrap();
    queue.pass(first.clone(), now);
    let second = queue.pop(now).0.unwrap();
    assert_ne!(FlowKey::of_datagram(&first), FlowKey::of_datagram(&second));
    let rest: Vec<Bytes> = std::iter::from_fn(|| queue.pop(now).0).collect();
    assert_eq!(rest.len(), 3);
    let mut of_first = rest.iter().filter(|d| FlowKey::of_datagram(d) == FlowKey::of_datagram(&first));
    assert_eq!(of_first.next(), Some(&first), "nothing of its flow goes before it");
}
