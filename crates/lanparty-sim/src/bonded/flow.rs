//! A TCP flow with CUBIC (RFC 9438) and selective acknowledgement, as far as a bond sees it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::INNER;

/// Payload of a segment, in bytes.
const PAYLOAD: usize = 1340;
/// RFC 9438 §4.1, §4.6.
const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// Segments that may be on their way at once.
const WINDOW_MAX: f64 = 6000.0;
/// As Linux has it.
const RTO_MIN: Duration = Duration::from_millis(200);
const RTO_LOOK: Duration = Duration::from_millis(20);
const HYSTART_SAMPLES: u32 = 8;
const HYSTART_MIN: Duration = Duration::from_millis(4);
const HYSTART_MAX: Duration = Duration::from_millis(16);
/// A segment is lost when so many later ones have arrived (RFC 5681 §2); Linux takes more once it has seen order change.
const DUP_THRESHOLD: u64 = 3;

/// Both ends of a flow.
pub(super) struct Flow {
    number: u16,
    next: u64,
    /// Lost, to be sent again.
    again: VecDeque<u64>,
    /// Sent once more: what is heard of them says nothing of the round trip (RFC 6298 §3).
    repeated: BTreeSet<u64>,
    /// Sent and not known to have arrived, by number, with when.
    out: std::collections::BTreeMap<u64, Duration>,
    window: f64,
    threshold: f64,
    w_max: f64,
    epoch: Option<Duration>,
    /// Losses of what was sent before are one event.
    recovery_until: u64,
    /// RFC 6298 §2.
    rtt: Duration,
    rtt_var: Duration,
    rtt_min: Duration,
    hystart: HyStart,
    highest: u64,
    /// Acknowledgements on their way back: when each arrives, of which segment.
    acks: VecDeque<(Duration, u64)>,
    /// At the receiver.
    got: BTreeSet<u64>,
    in_order: u64,
    last_new: Duration,
    longest: Duration,
    last_heard: Duration,
    rto_look: Duration,
}

/// HyStart: the beginning ends when the first packets of a round are late, before any is lost (as Linux has it; RFC 9406 §4.2).
#[derive(Default)]
struct HyStart {
    round_ends: u64,
    heard: u32,
    least: Option<Duration>,
}

impl HyStart {
    /// Whether so many round trips of a round are longer than the shortest ever that a queue must stand.
    fn is_late(&mut self, sample: Duration, shortest: Duration) -> bool {
        if self.heard >= HYSTART_SAMPLES {
            return false;
        }
        self.heard += 1;
        let least = self.least.map_or(sample, |least| least.min(sample));
        self.least = Some(least);
        self.heard == HYSTART_SAMPLES && least >= shortest + (shortest / 8).clamp(HYSTART_MIN, HYSTART_MAX)
    }

    fn heard(&mut self, number: u64, next: u64) {
        if number >= self.round_ends {
            *self = Self { round_ends: next, heard: 0, least: None };
        }
    }
}

/// What a datagram carries.
pub(super) enum Content {
    Segment { flow: usize, number: u64 },
    Ping { sent: Duration },
}

impl Flow {
    /// A flow whose handshake took `rtt`.
    pub(super) fn new(number: u16, rtt: Duration) -> Self {
        Self {
            number,
            next: 0,
            again: VecDeque::new(),
            repeated: BTreeSet::new(),
            out: std::collections::BTreeMap::new(),
            window: 10.0,
            threshold: f64::MAX,
            w_max: 0.0,
            epoch: None,
            recovery_until: 0,
            rtt,
            rtt_var: rtt / 2,
            rtt_min: rtt,
            hystart: HyStart::default(),
            highest: 0,
            acks: VecDeque::new(),
            got: BTreeSet::new(),
            in_order: 0,
            last_new: Duration::ZERO,
            longest: Duration::ZERO,
            last_heard: Duration::ZERO,
            rto_look: Duration::ZERO,
        }
    }

    /// Payload that has arrived in order, in bytes.
    pub(super) const fn delivered(&self) -> u64 {
        self.in_order * PAYLOAD as u64
    }

    pub(super) fn forget_standstill(&mut self) {
        self.longest = Duration::ZERO;
    }

    pub(super) fn standstill(&self, now: Duration) -> Duration {
        self.longest.max(now - self.last_new)
    }

    pub(super) fn next_segment(&mut self, now: Duration) -> Option<Bytes> {
        if self.out.len() as f64 >= self.window.min(WINDOW_MAX) {
            return None;
        }
        let number = self.again.pop_front().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.out.insert(number, now);
        Some(segment(self.number, number))
    }

    /// A segment arrived; what says so arrives at `back`.
    pub(super) fn receive(&mut self, number: u64, now: Duration, back: Duration) {
        self.acks.push_back((back, number));
        if number < self.in_order || !self.got.insert(number) {
            return;
        }
        while self.got.remove(&self.in_order) {
            self.in_order += 1;
            self.longest = self.longest.max(now - self.last_new);
            self.last_new = now;
        }
    }

    /// The sender hears.
    pub(super) fn hear(&mut self, now: Duration) {
        let before = self.acks.len();
        while self.acks.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, number)) = self.acks.pop_front() else { return };
            self.last_heard = now;
            if let Some(sent) = self.out.remove(&number) {
                if !self.repeated.remove(&number) {
                    self.note_rtt(now - sent);
                }
                self.grow(number, now);
            }
            self.highest = self.highest.max(number);
        }
        let is_news = self.acks.len() != before;
        let lost: Vec<u64> = if !is_news {
            vec![]
        } else {
            self.out.range(..self.highest.saturating_sub(DUP_THRESHOLD)).map(|(number, _)| *number).collect()
        };
        // One that was sent again is not lost again because of what came before it.
        let rtt = self.rtt;
        let lost: Vec<u64> = lost.into_iter().filter(|number| self.out.get(number).is_some_and(|sent| now - *sent > rtt)).collect();
        if !lost.is_empty() {
            self.lose(&lost, now);
        }
        if now < self.rto_look {
            return;
        }
        self.rto_look = now + RTO_LOOK;
        let rto = self.rtt + RTO_MIN.max(self.rtt_var * 4);
        if self.out.values().min().is_some_and(|sent| now - *sent > rto) && now - self.last_heard > rto {
            let all: Vec<u64> = self.out.keys().copied().collect();
            self.lose(&all, now);
            (self.window, self.last_heard) = (2.0, now);
        }
    }

    fn lose(&mut self, lost: &[u64], now: Duration) {
        for number in lost {
            self.out.remove(number);
            self.again.push_back(*number);
            self.repeated.insert(*number);
        }
        if lost.iter().any(|number| *number >= self.recovery_until) {
            self.recovery_until = self.next;
            self.w_max = self.window;
            self.window = (self.window * BETA).max(2.0);
            self.threshold = self.window;
            self.epoch = Some(now);
        }
    }

    fn note_rtt(&mut self, sample: Duration) {
        self.rtt_var = (self.rtt_var * 3 + self.rtt.abs_diff(sample)) / 4;
        self.rtt = (self.rtt * 7 + sample) / 8;
        self.rtt_min = self.rtt_min.min(sample);
        if self.window < self.threshold && self.hystart.is_late(sample, self.rtt_min) {
            self.threshold = self.window;
        }
    }

    fn grow(&mut self, number: u64, now: Duration) {
        self.hystart.heard(number, self.next);
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        if self.epoch.is_none() {
            (self.epoch, self.w_max) = (Some(now), self.window);
        }
        let (epoch, rtt) = (self.epoch.unwrap_or(now), self.rtt.as_secs_f64());
        let k = (self.w_max * (1.0 - BETA) / C).cbrt();
        let t = (now - epoch).as_secs_f64() + rtt;
        let target = C * (t - k).powi(3) + self.w_max;
        // RFC 9438 §4.3: at least as fast as Reno would.
        let reno = self.w_max * BETA + 3.0 * (1.0 - BETA) / (1.0 + BETA) * (t / rtt);
        self.window += ((target.max(reno) - self.window) / self.window).clamp(0.0, 0.5);
    }

    pub(super) fn next_time(&self) -> Option<Duration> {
        self.acks.front().map(|(at, _)| *at)
    }
}

/// A datagram with a TCP segment of `flow`.
fn segment(flow: u16, number: u64) -> Bytes {
    let mut frame = header(6, 5000 + flow, INNER - 3 - 14 - 20, PAYLOAD);
    frame.put_u64(number);
    frame.put_bytes(0, PAYLOAD - 8);
    frame.freeze()
}

/// A lone UDP packet that says when it left.
pub(super) fn ping(now: Duration) -> Bytes {
    let mut frame = header(17, 4000, 8, 64);
    frame.put_u64(u64::try_from(now.as_nanos()).unwrap_or(0));
    frame.put_bytes(0, 56);
    frame.freeze()
}

/// Our header, Ethernet, IPv4, and `upper` bytes of an upper header with ports.
fn header(protocol: u8, port: u16, upper: usize, payload: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(3 + 34 + upper + payload);
    frame.put_slice(&[0x10, 0, 1, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame.put_slice(&[0x45, 0]);
    frame.put_u16(u16::try_from(20 + upper + payload).unwrap_or(0));
    frame.put_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.put_u16(port);
    frame.put_u16(80);
    if protocol == 6 {
        frame.put_bytes(0, 8);
        // Header length and flags (RFC 9293 §3.1).
        frame.put_slice(&[u8::try_from(upper / 4).unwrap_or(5) << 4, 0x10]);
        frame.put_bytes(0, upper - 14);
    } else {
        frame.put_u16(u16::try_from(upper + payload).unwrap_or(0));
        frame.put_u16(0);
    }
    frame
}

/// What [`segment`] or [`ping`] made.
pub(super) fn read(datagram: &[u8]) -> Content {
    let at = |from: usize, len: usize| datagram.get(from..from + len).unwrap_or_default();
    let number = |from: usize| at(from, 8).first_chunk().copied().map_or(0, u64::from_be_bytes);
    let port = at(37, 2).first_chunk().copied().map_or(0, u16::from_be_bytes);
    match at(26, 1) {
        [17] => Content::Ping { sent: Duration::from_nanos(number(45)) },
        _ => Content::Segment { flow: usize::from(port.saturating_sub(5000)), number: number(INNER) },
    }
}
