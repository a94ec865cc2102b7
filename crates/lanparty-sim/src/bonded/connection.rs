//! A connection as QUIC is one (RFC 9002), as far as a bond sees it: packets in flight, acknowledgements, loss, pace.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Acked, Class, DelayControl, Flight, Liveness, PathRecord, PathView};
use lanparty_proto::BondPath;

use super::{OUTER, outer};

/// As programs ask of the other side: an acknowledgement for so many packets, or after so long.
const ACK_EVERY: usize = 10;
const ACK_DELAY: Duration = Duration::from_millis(5);
/// A packet is lost when so many later ones are acknowledged (RFC 9002 §6.1.1).
const PACKET_THRESHOLD: u64 = 3;
const MTU: u16 = 1452;
/// Windows that may leave in each round trip (RFC 9002 §7.7).
const PACE: f64 = 1.25;

struct InFlight {
    sent: Duration,
    at: Instant,
    len: u64,
}

struct Ack {
    arrives: Duration,
    packets: Vec<u64>,
    delay: Duration,
}

/// One connection, both ends of it.
pub(super) struct Connection {
    control: DelayControl,
    next: u64,
    in_flight: BTreeMap<u64, InFlight>,
    bytes_in_flight: u64,
    /// What is urgent, and bulk.
    first: VecDeque<Bytes>,
    waiting: VecDeque<Bytes>,
    waiting_len: usize,
    free_at: Duration,
    /// At the far end: received and not acknowledged, and since when.
    unacknowledged: Vec<u64>,
    since: Option<Duration>,
    largest: (u64, Duration),
    acks: VecDeque<Ack>,
    rtt: Duration,
    min_rtt: Duration,
    liveness: Liveness,
    sent: u64,
    lost: u64,
    record: PathRecord,
    answers: u64,
    is_alive: bool,
    is_app_limited: bool,
}

/// The packet's number and its datagram.
pub(super) fn open(frame: &Bytes) -> Option<(u64, Bytes)> {
    let number = frame.first_chunk().copied().map(u64::from_be_bytes)?;
    (frame.len() > OUTER).then(|| (number, frame.slice(OUTER..)))
}

impl Connection {
    /// A connection whose handshake took `rtt`.
    pub(super) fn new(epoch: Instant, rtt: Duration) -> Self {
        Self {
            control: DelayControl::new(epoch, MTU),
            next: 0,
            in_flight: BTreeMap::new(),
            bytes_in_flight: 0,
            first: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_len: 0,
            free_at: Duration::ZERO,
            unacknowledged: vec![],
            since: None,
            largest: (0, Duration::ZERO),
            acks: VecDeque::new(),
            rtt,
            min_rtt: rtt,
            liveness: Liveness::new(0, 0),
            sent: 0,
            lost: 0,
            record: PathRecord::default(),
            answers: 0,
            is_alive: true,
            is_app_limited: true,
        }
    }

    pub(super) fn view(&mut self, id: u8, at: Instant) -> PathView {
        let flight = Flight {
            in_flight: self.bytes_in_flight,
            window: self.control.window(),
            rate_bytes_per_s: self.control.rate().map_or(0, |rate| rate as u64),
            rtt: self.rtt(),
            min_rtt: self.min_rtt,
            queued: self.first.iter().map(Bytes::len).sum(),
        };
        let committed = self.waiting_len;
        self.record.look(&flight, at);
        self.record.count((self.sent, self.lost));
        PathView::of(BondPath { path: id, ..BondPath::default() }, self.is_alive, 1434, &flight, committed, &self.record)
    }

    /// Bulk waits behind what is not.
    pub(super) fn queue(&mut self, datagram: Bytes, class: Class) {
        if class == Class::Bulk {
            self.waiting_len += datagram.len();
            self.waiting.push_back(datagram);
        } else {
            self.first.push_back(datagram);
        }
    }

    /// What waits here, for others to take.
    pub(super) fn take_back(&mut self) -> Vec<Bytes> {
        self.waiting_len = 0;
        self.first.drain(..).chain(self.waiting.drain(..)).collect()
    }

    /// The next packet, when window and pace let one out.
    pub(super) fn next_packet(&mut self, now: Duration, at: Instant) -> Option<Bytes> {
        let len = self.first.front().or_else(|| self.waiting.front())?.len() as u64 + OUTER as u64;
        if self.bytes_in_flight + len > self.control.window() {
            self.is_app_limited = false;
            return None;
        }
        if self.free_at > now {
            self.is_app_limited = false;
            return None;
        }
        let datagram = match self.first.pop_front() {
            Some(first) => first,
            None => {
                let datagram = self.waiting.pop_front()?;
                self.waiting_len -= datagram.len();
                datagram
            }
        };
        self.is_app_limited = self.waiting.is_empty() && self.first.is_empty();
        // A window and a quarter each round trip, in bursts of ten packets, as the pacer of our stack lets out.
        let took = self.rtt.mul_f64(len as f64 / PACE / self.control.window() as f64);
        self.free_at = self.free_at.max(now.saturating_sub(took * 10)) + took;
        let packet = self.next;
        (self.next, self.sent) = (packet + 1, self.sent + 1);
        self.in_flight.insert(packet, InFlight { sent: now, at, len });
        self.bytes_in_flight += len;
        Some(outer(packet, &datagram))
    }

    /// The far end has a packet.
    pub(super) fn received(&mut self, packet: u64, now: Duration) {
        self.unacknowledged.push(packet);
        self.largest = self.largest.max((packet, now));
        self.since.get_or_insert(now);
    }

    /// The far end acknowledges, and what it acknowledged before arrives here.
    pub(super) fn acknowledge(&mut self, now: Duration, at: Instant, delay: Duration, is_down: bool) {
        let is_due = self.since.is_some_and(|since| now >= since + ACK_DELAY) || self.unacknowledged.len() >= ACK_EVERY;
        if is_due {
            self.since = None;
            let waited = now - self.largest.1;
            let packets = std::mem::take(&mut self.unacknowledged);
            if !is_down {
                self.acks.push_back(Ack { arrives: now + delay, packets, delay: waited });
            }
        }
        while self.acks.front().is_some_and(|ack| ack.arrives <= now) {
            if let Some(ack) = self.acks.pop_front() {
                self.take(&ack, now, at);
            }
        }
    }

    fn take(&mut self, ack: &Ack, now: Duration, at: Instant) {
        self.answers += 1;
        let largest = ack.packets.iter().max().copied().unwrap_or(0);
        if let Some(packet) = self.in_flight.get(&largest) {
            let sample = (now - packet.sent).saturating_sub(ack.delay);
            self.min_rtt = self.min_rtt.min(sample);
            // RFC 9002 §5.3.
            self.rtt = (self.rtt * 7 + sample) / 8;
        }
        for number in &ack.packets {
            let Some(packet) = self.in_flight.remove(number) else { continue };
            self.bytes_in_flight -= packet.len;
            let (app_limited, rtt, rtt_min) = (self.is_app_limited, self.rtt(), self.min_rtt);
            self.control.acked(at, Acked { sent: packet.at, bytes: packet.len, app_limited, rtt, rtt_min });
        }
        let lost: Vec<u64> = self.in_flight.range(..largest.saturating_sub(PACKET_THRESHOLD)).map(|(number, _)| *number).collect();
        self.lost += lost.len() as u64;
        let bytes: u64 = lost.iter().filter_map(|number| self.in_flight.remove(number)).map(|packet| packet.len).sum();
        if bytes > 0 {
            self.bytes_in_flight -= bytes;
            self.control.lost(at, bytes, false);
        }
        self.control.end_acks(at, self.bytes_in_flight, self.is_app_limited);
    }

    /// Whether it lives or has just died; nothing when that has not changed.
    pub(super) fn look(&mut self, at: Instant) -> Option<bool> {
        let is_alive = self.liveness.look(self.sent, self.answers, self.rtt(), at);
        let changed = is_alive != self.is_alive;
        self.is_alive = is_alive;
        changed.then_some(is_alive)
    }

    pub(super) const fn rtt(&self) -> Duration {
        self.rtt
    }

    pub(super) const fn is_alive(&self) -> bool {
        self.is_alive
    }

    pub(super) fn next_time(&self) -> Option<Duration> {
        let ack = self.acks.front().map(|ack| ack.arrives);
        let pace = (!self.waiting.is_empty() || !self.first.is_empty()).then_some(self.free_at);
        let delayed = self.since.map(|since| since + ACK_DELAY);
        [ack, pace, delayed].into_iter().flatten().min()
    }
}
