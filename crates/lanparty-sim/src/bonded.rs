//! A bond in virtual time: the state machines that run in programs, over wires of any character, with TCP flows inside.
//!
//! Nothing here decides: numbering, choice of paths, congestion control, order and the fair queue are `lanparty-core`'s. What is modelled is
//! what surrounds them: a connection that acknowledges as QUIC does (RFC 9002), and TCP with CUBIC (RFC 9438). Every run of one seed is the
//! same run, so that a table of figures is a test: what gets worse is a difference in it.

mod connection;
mod flow;

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use lanparty_core::{Choice, FairQueue, Redundancy, RestoreReport, Restorer, Sequencer, choose, patience};
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
    /// The first line is cut at this time after the beginning, when it is.
    pub cut: Option<Duration>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct BondFigures {
    /// Payload of TCP, in Mbit/s.
    pub mbit_s: f64,
    /// Round trips of a lone packet beside it, in milliseconds: the median and the 95th percentile.
    pub ping_ms: (f64, f64),
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
    queue: FairQueue,
    flows: Vec<Flow>,
    pings: Pings,
    looked: Duration,
}

/// Lone packets beside the flows.
#[derive(Default)]
struct Pings {
    next: Duration,
    times: Vec<Duration>,
}

/// Runs `plan`.
#[must_use]
pub fn run(plan: &BondPlan) -> BondFigures {
    let mut world = World::new(plan);
    let (begin, end) = (plan.span, plan.span * 2);
    let mut counted = None;
    while world.now < end {
        if plan.cut.is_some_and(|at| at <= world.now)
            && let Some(line) = world.lines.first_mut()
        {
            line.wire.set_down(true);
        }
        if counted.is_none() && world.now >= begin {
            counted = Some((world.delivered(), world.carried()));
            world.pings.times.clear();
            world.flows.iter_mut().for_each(Flow::forget_standstill);
        }
        world.step();
    }
    let (delivered, carried) = counted.unwrap_or_default();
    let shares = world.carried().iter().zip(&carried).map(|(now, before)| now - before).collect();
    BondFigures {
        mbit_s: (world.delivered() - delivered) as f64 * 8.0 / plan.span.as_secs_f64() / 1e6,
        ping_ms: world.pings.percentiles(),
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
        Self { now: Duration::ZERO, epoch, lines, sequencer, restorer, queue, flows, pings: Pings::default(), looked: Duration::ZERO }
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
        let back = self.way_back();
        for datagram in out {
            match flow::read(&datagram) {
                flow::Content::Segment { flow, number } => {
                    if let Some(flow) = self.flows.get_mut(flow) {
                        flow.receive(number, now, now + back);
                    }
                }
                flow::Content::Ping { sent } => self.pings.times.push(now - sent + back),
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
        for (n, line) in (0..).zip(&mut self.lines) {
            if line.connection.look(at) == Some(false) {
                self.restorer.remove_path(n, at, &mut out);
            }
        }
        let rtts = self.lines.iter().filter(|line| line.connection.is_alive()).map(|line| line.connection.rtt());
        self.restorer.set_patience(patience(rtts));
        let rtts = self.lines.iter().filter(|line| line.connection.is_alive()).map(|line| line.connection.rtt());
        self.queue.set_rtt(rtts.max().unwrap_or_default());
    }

    fn produce(&mut self) {
        let (now, at) = (self.now, self.at());
        for flow in &mut self.flows {
            while let Some(segment) = flow.next_segment(now) {
                drop(self.queue.push(segment, at));
            }
        }
        if now >= self.pings.next {
            self.pings.next = now + Duration::from_millis(20);
            drop(self.queue.push(flow::ping(now), at));
        }
    }

    /// As programs fill their paths: while one has room for what is next.
    fn send(&mut self) {
        let at = self.at();
        let mut views: Vec<_> = (0..).zip(&mut self.lines).map(|(n, line)| line.connection.view(n, at)).collect();
        loop {
            let (Some(datagram), _) = self.queue.pop(at) else { break };
            let (len, judged) = (datagram.len() + SEQUENCE_LEN, self.sequencer.judge(&datagram, at));
            let Choice::By(first, second) = choose(&views, len, judged.class) else {
                self.queue.unpop(datagram, at);
                break;
            };
            let sequence = self.sequencer.number(judged, len, at);
            for place in [Some(first), second].into_iter().flatten() {
                let sequence = Sequence { passes: views[place].is_passed_by(judged.class), ..sequence };
                let mut numbered = BytesMut::with_capacity(len);
                numbered.put_slice(&sequence.encode());
                numbered.put_slice(&datagram);
                views[place].take(len, judged.class);
                self.lines[place].connection.queue(numbered.freeze(), judged.class);
            }
        }
        for line in &mut self.lines {
            while let Some(packet) = line.connection.next_packet(self.now, at) {
                line.wire.push(self.now, packet);
            }
        }
    }

    fn next_time(&self) -> Duration {
        let wires = self.lines.iter().filter_map(|line| line.wire.next_due());
        let connections = self.lines.iter().filter_map(|line| line.connection.next_time());
        let flows = self.flows.iter().filter_map(Flow::next_time);
        let soonest = wires.chain(connections).chain(flows).filter(|at| *at > self.now).min();
        let latest = self.now + STEP_MAX;
        soonest.map_or(latest, |at| at.min(latest))
    }
}

impl Pings {
    fn percentiles(&self) -> (f64, f64) {
        let mut times = self.times.clone();
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
