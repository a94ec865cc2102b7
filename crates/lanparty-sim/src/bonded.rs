//! A bond in virtual time: the state machines that run in programs, over wires of any character, with TCP flows inside.
//!
//! Nothing here decides: numbering, choice of paths, congestion control, order and the fair queue are `lanparty-core`'s. What is modelled is
//! what surrounds them: a connection that acknowledges as QUIC does (RFC 9002), and TCP with CUBIC (RFC 9438). Every run of one seed is the
//! same run, so that a table of figures is a test: what gets worse is a difference in it.

mod connection;
mod flow;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use lanparty_core::{Choice, Class, FairQueue, Redundancy, Repeats, RestoreReport, Restorer, Sequencer, answer_time, choose, patience};
use lanparty_proto::{SEQUENCE_LEN, Sequence};

use crate::{Impairment, Wire};
use connection::Connection;
use flow::Flow;

/// How often the bond's watch looks: as programs do.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes of IP, UDP and QUIC around a datagram.
const OUTER: usize = 60;
/// Bytes of an inner packet that are no payload: Ethernet, IPv4, TCP with time stamps, and our header.
const INNER: usize = 14 + 20 + 32 + 3;
/// A lone packet leaves so often, and has arrived after so long or is lost.
const PING_INTERVAL: Duration = Duration::from_millis(10);
const PING_TIME_MAX: Duration = Duration::from_millis(700);
/// So many flows are asked for what they have first, as in programs.
const FRONTS_MAX: usize = 32;
/// Longest step: a wait for nothing in particular.
const STEP_MAX: Duration = Duration::from_millis(1);

/// What is measured.
#[derive(Clone, Debug)]
pub struct BondPlan {
    /// One wire a line, as it carries what is sent; what comes back has the same delay.
    pub lines: Vec<Impairment>,
    /// TCP flows.
    pub flows: usize,
    /// For how long goodput is counted, after as long a time to begin.
    pub span: Duration,
    /// Draws losses.
    pub seed: u64,
    /// A line dies without a word, when one does.
    pub cut: Option<LineCut>,
}

/// A line that carries nothing any more, either way.
#[derive(Clone, Copy, Debug)]
pub struct LineCut {
    /// Its place in the list.
    pub line: usize,
    /// When, after the beginning.
    pub at: Duration,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct BondFigures {
    /// Payload of TCP, in Mbit/s.
    pub mbit_s: f64,
    /// Round trips of a lone packet beside it, in milliseconds: the median and the 95th percentile.
    pub ping_ms: (f64, f64),
    /// The longest time between two of them that arrived in the span, in milliseconds; they leave every 10 ms.
    pub ping_gap_ms: f64,
    /// How many of them never arrived, though there was time.
    pub pings_lost: usize,
    /// The longest time without anything new for the flows' receivers, in the span.
    pub standstill: Duration,
    /// Bytes that each line carried in the span.
    pub shares: Vec<u64>,
    /// What the far end did.
    pub restored: RestoreReport,
}

/// A line, seen from the sender.
struct Line {
    wire: Wire,
    delay: Duration,
    connection: Connection,
    carried: u64,
}

struct World {
    now: Duration,
    epoch: Instant,
    lines: Vec<Line>,
    sequencer: Sequencer,
    restorer: Restorer,
    repeats: Repeats,
    /// What the far end asks for once more, and when that is heard here.
    asks: VecDeque<(Duration, Vec<u32>)>,
    queue: FairQueue,
    flows: Vec<Flow>,
    pings: Pings,
    looked: Duration,
}

/// Lone packets beside the flows.
#[derive(Default)]
struct Pings {
    next: Duration,
    /// When each that is counted left.
    sent: Vec<Duration>,
    arrived: Vec<Pong>,
}

struct Pong {
    sent: Duration,
    came: Duration,
    round_trip: Duration,
}

/// Runs `plan`.
#[must_use]
pub fn run(plan: &BondPlan) -> BondFigures {
    let mut world = World::new(plan);
    let (begin, end) = (plan.span, plan.span * 2);
    let mut counted = None;
    while world.now < end {
        if let Some(cut) = plan.cut.filter(|cut| cut.at <= world.now)
            && let Some(line) = world.lines.get_mut(cut.line)
        {
            line.wire.set_down(true);
        }
        if counted.is_none() && world.now >= begin {
            counted = Some((world.delivered(), world.carried()));
            world.pings.count_from_now();
            world.flows.iter_mut().for_each(Flow::forget_standstill);
        }
        world.step();
    }
    let (delivered, carried) = counted.unwrap_or_default();
    let shares = world.carried().iter().zip(&carried).map(|(now, before)| now - before).collect();
    BondFigures {
        mbit_s: (world.delivered() - delivered) as f64 * 8.0 / plan.span.as_secs_f64() / 1e6,
        ping_ms: world.pings.percentiles(),
        ping_gap_ms: world.pings.longest_gap_ms(),
        pings_lost: world.pings.lost(end),
        standstill: world.flows.iter().map(|flow| flow.standstill(world.now)).max().unwrap_or_default(),
        shares,
        restored: world.restorer.report(),
    }
}

impl World {
    fn new(plan: &BondPlan) -> Self {
        // Instants are only compared with each other.
        let epoch = Instant::now();
        let mut restorer = Restorer::default();
        let line = |(n, impairment): (u64, &Impairment)| Line {
            wire: Wire::new(impairment.clone(), plan.seed.wrapping_mul(31).wrapping_add(n)),
            delay: impairment.delay,
            connection: Connection::new(epoch, impairment.delay * 2),
            carried: 0,
        };
        let lines: Vec<Line> = (0..).zip(&plan.lines).map(line).collect();
        (0..).zip(&lines).for_each(|(n, _)| restorer.add_path(n));
        let first_rtt = plan.lines.iter().map(|line| line.delay * 2).min().unwrap_or_default();
        let flows = (0..plan.flows).map(|n| Flow::new(u16::try_from(n).unwrap_or(0), first_rtt)).collect();
        let (sequencer, queue) = (Sequencer::new(plan.seed, Redundancy::Auto), FairQueue::new(plan.seed));
        Self {
            now: Duration::ZERO,
            epoch,
            lines,
            sequencer,
            restorer,
            repeats: Repeats::default(),
            asks: VecDeque::new(),
            queue,
            flows,
            pings: Pings::default(),
            looked: Duration::ZERO,
        }
    }

    fn at(&self) -> Instant {
        self.epoch + self.now
    }

    fn delivered(&self) -> u64 {
        self.flows.iter().map(Flow::delivered).sum()
    }

    fn carried(&self) -> Vec<u64> {
        self.lines.iter().map(|line| line.carried).collect()
    }

    fn step(&mut self) {
        self.arrive();
        self.acknowledge();
        if self.now - self.looked >= LOOK_INTERVAL {
            self.look();
        }
        self.repeat();
        self.produce();
        self.send();
        self.now = self.next_time();
    }

    /// What the wires bring: acknowledged, restored, given to its flow.
    fn arrive(&mut self) {
        let (now, at) = (self.now, self.at());
        let mut out = vec![];
        for (n, line) in (0..).zip(&mut self.lines) {
            while let Some(frame) = line.wire.pop_due(now) {
                let Some((packet, datagram)) = connection::open(&frame) else { continue };
                line.carried += frame.len() as u64;
                line.connection.received(packet, now);
                if let Some(sequence) = Sequence::decode(&datagram) {
                    self.restorer.take(n, sequence, datagram.slice(SEQUENCE_LEN..), at, &mut out);
                }
            }
        }
        self.restorer.expire(at, &mut out);
        self.deliver(out);
        let asks = self.restorer.take_asks();
        if !asks.is_empty() {
            self.asks.push_back((now + self.way_back(), asks));
        }
    }

    fn deliver(&mut self, restored: Vec<Bytes>) {
        let (now, back) = (self.now, self.way_back());
        for datagram in restored {
            match flow::read(&datagram) {
                flow::Content::Segment { flow, number } => {
                    if let Some(flow) = self.flows.get_mut(flow) {
                        flow.receive(number, now, now + back);
                    }
                }
                flow::Content::Ping { sent } => self.pings.arrived.push(Pong { sent, came: now, round_trip: now - sent + back }),
            }
        }
    }

    /// Acknowledgements are small and go by the best line that lives.
    fn way_back(&self) -> Duration {
        let best = self.lines.iter().min_by_key(|line| (!line.connection.is_alive(), line.delay));
        best.map_or(Duration::ZERO, |line| line.delay)
    }

    fn acknowledge(&mut self) {
        let (now, at) = (self.now, self.at());
        for line in &mut self.lines {
            let is_down = line.wire.impairment().down;
            line.connection.acknowledge(now, at, line.delay, is_down);
        }
        for flow in &mut self.flows {
            flow.hear(now);
        }
    }

    fn look(&mut self) {
        self.looked = self.now;
        let at = self.at();
        let mut out = vec![];
        let mut held = vec![];
        for (n, line) in (0..).zip(&mut self.lines) {
            if line.connection.look(at) == Some(false) {
                self.restorer.remove_path(n, at, &mut out);
                held.extend(line.connection.take_back());
            }
        }
        self.deliver(out);
        self.send_again(held);
        let rtts = self.lines.iter().filter(|line| line.connection.is_alive()).map(|line| line.connection.rtt());
        self.restorer.set_patience(patience(rtts.clone()));
        self.restorer.set_answer_time(answer_time(rtts));
        let rtts = self.lines.iter().filter(|line| line.connection.is_alive()).map(|line| line.connection.rtt());
        self.queue.set_rtt(rtts.max().unwrap_or_default());
    }

    /// What was asked for goes once more, ahead of what waits.
    fn repeat(&mut self) {
        let at = self.at();
        while let Some((_, numbers)) = self.asks.pop_front_if(|(heard, _)| *heard <= self.now) {
            let mut views: Vec<_> = (0..).zip(&mut self.lines).map(|(n, line)| line.connection.view(n, at)).collect();
            for again in numbers.into_iter().filter_map(|number| self.repeats.take(number)) {
                let Choice::By(first, second) = choose(&views, again.len(), Class::Urgent) else { continue };
                for place in [Some(first), second].into_iter().flatten() {
                    views[place].take(again.len(), Class::Urgent);
                    self.lines[place].connection.queue(again.clone(), Class::Urgent);
                }
            }
        }
    }

    fn produce(&mut self) {
        let (now, at) = (self.now, self.at());
        for flow in &mut self.flows {
            while let Some(segment) = flow.next_segment(now) {
                drop(self.queue.push(segment, at));
            }
        }
        if now >= self.pings.next {
            self.pings.next = now + PING_INTERVAL;
            self.pings.sent.push(now);
            drop(self.queue.push(flow::ping(now), at));
        }
    }

    /// As programs fill their paths: while one has room for what a flow has next.
    fn send(&mut self) {
        let at = self.at();
        let mut views: Vec<_> = (0..).zip(&mut self.lines).map(|(n, line)| line.connection.view(n, at)).collect();
        let mut passed = 0;
        while passed == 0 || passed < self.queue.fronts().take(FRONTS_MAX).count() {
            let (Some(datagram), _) = self.queue.pop(at) else { break };
            let (len, judged) = (datagram.len() + SEQUENCE_LEN, self.sequencer.judge(&datagram, at));
            let Choice::By(first, second) = choose(&views, len, judged.class) else {
                self.queue.pass(datagram, at);
                passed += 1;
                continue;
            };
            let sequence = self.sequencer.number(judged, len, at);
            for place in [Some(first), second].into_iter().flatten() {
                let sequence = Sequence { passes: views[place].is_passed_by(judged.class), ..sequence };
                let mut numbered = BytesMut::with_capacity(len);
                numbered.put_slice(&sequence.encode());
                numbered.put_slice(&datagram);
                let numbered = numbered.freeze();
                views[place].take(len, judged.class);
                if judged.is_repeatable {
                    self.repeats.keep(sequence.number, numbered.clone(), at);
                }
                self.lines[place].connection.queue(numbered, judged.class);
            }
        }
        for line in &mut self.lines {
            while let Some(packet) = line.connection.next_packet(self.now, at) {
                line.wire.push(self.now, packet);
            }
        }
    }

    /// What a dead line held goes by others, numbers on, as full as they may be.
    fn send_again(&mut self, held: Vec<Bytes>) {
        let at = self.at();
        let mut views: Vec<_> = (0..).zip(&mut self.lines).map(|(n, line)| line.connection.view(n, at)).collect();
        views.iter_mut().for_each(|view| view.room = usize::MAX);
        for datagram in held {
            let Choice::By(place, _) = choose(&views, datagram.len(), Class::Bulk) else { return };
            views[place].take(datagram.len(), Class::Bulk);
            self.lines[place].connection.queue(datagram, Class::Bulk);
        }
    }

    fn next_time(&self) -> Duration {
        let wires = self.lines.iter().filter_map(|line| line.wire.next_due());
        let connections = self.lines.iter().filter_map(|line| line.connection.next_time());
        let flows = self.flows.iter().filter_map(Flow::next_time);
        let asks = self.asks.front().map(|(heard, _)| *heard);
        let soonest = wires.chain(connections).chain(flows).chain(asks).filter(|at| *at > self.now).min();
        let latest = self.now + STEP_MAX;
        soonest.map_or(latest, |at| at.min(latest))
    }
}

impl Pings {
    fn count_from_now(&mut self) {
        (self.sent, self.arrived) = (vec![], vec![]);
    }

    fn longest_gap_ms(&self) -> f64 {
        let gaps = self.arrived.windows(2).filter_map(|two| Some(two.last()?.came - two.first()?.came));
        gaps.max().unwrap_or_default().as_secs_f64() * 1e3
    }

    /// Of those that have had their time until `end`.
    fn lost(&self, end: Duration) -> usize {
        let arrived: BTreeSet<Duration> = self.arrived.iter().map(|pong| pong.sent).collect();
        self.sent.iter().filter(|sent| **sent + PING_TIME_MAX <= end && !arrived.contains(sent)).count()
    }

    fn percentiles(&self) -> (f64, f64) {
        let mut times: Vec<Duration> = self.arrived.iter().map(|pong| pong.round_trip).collect();
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        let ms = |time: Option<&Duration>| time.map_or(f64::NAN, |t| t.as_secs_f64() * 1e3);
        (ms(at(50)), ms(at(95)))
    }
}

/// A datagram as the wire carries it.
fn outer(packet: u64, datagram: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(OUTER + datagram.len());
    frame.put_u64(packet);
    frame.put_bytes(0, OUTER - 8);
    frame.put_slice(datagram);
    frame.freeze()
}
