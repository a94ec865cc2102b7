//! One direction of a wire with a character: delay that wanders, a rate with a queue, loss, bursts, black holes.
//!
//! Pure and seeded: the caller passes `now` (time since any fixed start) and frames, and takes frames out when they are due.
//! The lab puts it between two TAPs, the simulator into virtual time. It promises exact books ([`WireStats::conserved`])
//! and measures how late it was served ([`Lateness`]), because a wire that is served late proves nothing about the tunnel.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::rng::Rng;

mod impairment;
mod lateness;

pub use impairment::{Impairment, ImpairmentError};
pub use lateness::Lateness;

/// Bytes a wire holds at most, in its queue and on its way: 1 Gbit/s for half a second. More is dropped as `queue_full`.
const HELD_BYTES_MAX: usize = 64 << 20;
/// What a frame costs to hold besides its bytes, so that tiny frames are bounded too.
const HELD_OVERHEAD: usize = 64;

const ETHERNET_HEADER_LEN: usize = 14;
const VLAN_TAG_LEN: usize = 4;
/// IPv4 without options, UDP.
const IP_UDP_HEADER_LEN: usize = 28;

/// What the bytes given to a wire are, which decides how `mtu`, `drop_frags` and `corrupt` look at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Ethernet frames, as a TAP gives them. Corruption spares the headers, so that a checksum finds it and not a switch.
    #[default]
    Ethernet,
    /// Payloads of UDP over IPv4, as a socket gives them: 28 bytes smaller than what the wire's MTU counts.
    UdpPayload,
}

/// What happened to the frames offered to a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WireStats {
    /// Frames pushed.
    pub offered: u64,
    /// Frames popped.
    pub delivered: u64,
    /// Lost by chance, alone or in a burst.
    pub lost: u64,
    /// Lost because the queue in front of the rate was full.
    pub queue_full: u64,
    /// Vanished for their size.
    pub too_big: u64,
    /// Vanished for being IPv4 fragments.
    pub fragments: u64,
    /// Pushed while the wire was cut.
    pub down: u64,
    /// Extra copies made.
    pub duplicated: u64,
    /// Held back so that later frames overtake them.
    pub reordered: u64,
    /// Delivered with one bit flipped.
    pub corrupted: u64,
}

impl WireStats {
    /// Do the books balance, with `held` frames still on the wire?
    pub const fn conserved(&self, held: usize) -> bool {
        self.offered + self.duplicated
            == self.delivered + self.lost + self.queue_full + self.too_big + self.fragments + self.down + held as u64
    }
}

impl fmt::Display for WireStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("lost", self.lost),
            ("queue_full", self.queue_full),
            ("too_big", self.too_big),
            ("fragments", self.fragments),
            ("down", self.down),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
        ];
        write!(f, "offered {} delivered {}", self.offered, self.delivered)?;
        named.iter().filter(|(_, count)| *count > 0).try_for_each(|(name, count)| write!(f, " {name} {count}"))
    }
}

/// One direction of a wire.
#[derive(Debug)]
pub struct Wire {
    impairment: Impairment,
    framing: Framing,
    rng: Rng,
    /// Gilbert-Elliott: in the bad state now?
    bursting: bool,
    /// When the last queued bit has left the sender.
    busy_until: Duration,
    /// When the last frame that keeps its place comes out.
    last_due: Duration,
    wander: Wander,
    held: BinaryHeap<Held>,
    held_bytes: usize,
    pushed: u64,
    stats: WireStats,
    lateness: Lateness,
}

impl Wire {
    /// A wire for Ethernet frames.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self::with_framing(impairment, seed, Framing::Ethernet)
    }

    /// A wire for frames of some other kind.
    pub fn with_framing(impairment: Impairment, seed: u64, framing: Framing) -> Self {
        Self {
            impairment,
            framing,
            rng: Rng::new(seed),
            bursting: false,
            busy_until: Duration::ZERO,
            last_due: Duration::ZERO,
            wander: Wander::default(),
            held: BinaryHeap::new(),
            held_bytes: 0,
            pushed: 0,
            stats: WireStats::default(),
            lateness: Lateness::default(),
        }
    }

    /// Its present character.
    pub fn impairment(&self) -> &Impairment {
        &self.impairment
    }

    /// Changes its character. Frames already on the wire arrive as they were promised to.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Cuts or mends the wire and leaves the rest of its character alone.
    pub fn set_down(&mut self, down: bool) {
        self.impairment.down = down;
    }

    /// What happened so far.
    pub fn stats(&self) -> WireStats {
        self.stats
    }

    /// How late frames were taken out, compared with when they were due.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Starts to measure lateness anew, for a test that measures only its second half.
    pub fn forget_lateness(&mut self) {
        self.lateness = Lateness::default();
    }

    /// Frames on the wire now.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Offers one frame at time `now`, which must not run backwards.
    pub fn push(&mut self, now: Duration, frame: Bytes) {
        self.stats.offered += 1;
        if self.swallows(&frame) {
            return;
        }
        if self.rng.chance(self.impairment.dup) {
            self.stats.duplicated += 1;
            self.carry(now, frame.clone());
        }
        self.carry(now, frame);
    }

    /// When the next frame is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.held.peek().map(|held| held.due)
    }

    /// Takes out the next frame that is due at `now`, if any. Call until it gives none, with a fresh `now` each time.
    pub fn pop_due(&mut self, now: Duration) -> Option<Bytes> {
        if self.next_due()? > now {
            return None;
        }
        let held = self.held.pop()?;
        self.held_bytes -= held.frame.len() + HELD_OVERHEAD;
        self.lateness.record(now - held.due);
        self.stats.delivered += 1;
        Some(held.frame)
    }

    /// Does the frame vanish before it reaches the queue? Counts why.
    fn swallows(&mut self, frame: &[u8]) -> bool {
        let counter = if self.impairment.down {
            &mut self.stats.down
        } else if self.is_lost() {
            &mut self.stats.lost
        } else if self.impairment.mtu > 0 && self.framing.ip_len(frame) > self.impairment.mtu {
            &mut self.stats.too_big
        } else if self.impairment.drop_frags && self.framing.is_ipv4_fragment(frame) {
            &mut self.stats.fragments
        } else {
            return false;
        };
        *counter += 1;
        true
    }

    fn is_lost(&mut self) -> bool {
        let character = &self.impairment;
        if character.ge_p > 0.0 {
            let change = if self.bursting { character.ge_r } else { character.ge_p };
            self.bursting ^= self.rng.chance(change);
            return self.bursting && self.rng.chance(character.loss);
        }
        self.rng.chance(character.loss)
    }

    /// Queues, serialises, delays and alters one frame.
    fn carry(&mut self, now: Duration, frame: Bytes) {
        let full = self.held_bytes + frame.len() + HELD_OVERHEAD > HELD_BYTES_MAX;
        let Some(sent) = self.serialised(now, frame.len()).filter(|_| !full) else {
            self.stats.queue_full += 1;
            return;
        };
        let mut due = self.delayed(sent);
        if self.rng.chance(self.impairment.reorder) {
            self.stats.reordered += 1;
            due += self.impairment.reorder_by;
        } else if !self.impairment.wander.is_zero() {
            // However steeply the jitter falls, a wire does not overtake itself.
            due = due.max(self.last_due);
            self.last_due = due;
        }
        let frame = if self.rng.chance(self.impairment.corrupt) { self.corrupted(frame) } else { frame };
        self.held_bytes += frame.len() + HELD_OVERHEAD;
        self.pushed += 1;
        self.held.push(Held { due, order: self.pushed, frame });
    }

    /// When the frame's last bit has left the sender; `None` when the queue is full.
    fn serialised(&mut self, now: Duration, len: usize) -> Option<Duration> {
        let rate = self.impairment.rate;
        if rate == 0 {
            return Some(now);
        }
        let start = self.busy_until.max(now);
        let waiting_bytes = (start - now).as_nanos() * u128::from(rate) / 8_000_000_000;
        let queue = self.impairment.queue;
        if queue > 0 && waiting_bytes + len as u128 > u128::from(queue) {
            return None;
        }
        self.busy_until = start + Duration::from_nanos(len as u64 * 8_000_000_000 / rate);
        Some(self.busy_until)
    }

    fn delayed(&mut self, sent: Duration) -> Duration {
        let jitter = self.impairment.jitter.as_nanos() as f64;
        let offset = if self.impairment.wander.is_zero() {
            if jitter > 0.0 { self.rng.signed_unit() * jitter } else { 0.0 }
        } else {
            self.wander.at(sent, self.impairment.wander, jitter, &mut self.rng)
        };
        let delay = self.impairment.delay.as_nanos() as f64 + offset;
        sent + Duration::from_nanos(delay.max(0.0) as u64)
    }

    /// The frame with one bit of its payload flipped; too short to have a payload, it stays as it is.
    fn corrupted(&mut self, frame: Bytes) -> Bytes {
        let first = self.framing.payload_offset();
        if frame.len() <= first {
            return frame;
        }
        let mut bytes = Vec::from(frame);
        let at = first + self.rng.below((bytes.len() - first) as u64) as usize;
        bytes[at] ^= 1 << self.rng.below(8);
        self.stats.corrupted += 1;
        bytes.into()
    }
}

impl Framing {
    /// Length as an interface's MTU counts it.
    fn ip_len(self, frame: &[u8]) -> usize {
        match self {
            Self::Ethernet => frame.len().saturating_sub(ethernet_payload(frame)),
            Self::UdpPayload => frame.len() + IP_UDP_HEADER_LEN,
        }
    }

    fn is_ipv4_fragment(self, frame: &[u8]) -> bool {
        let at = ethernet_payload(frame);
        let Some(header) = frame.get(at..at + 20).filter(|_| self == Self::Ethernet) else { return false };
        let is_ipv4 = frame[at - 2..at] == [8, 0] && header[0] >> 4 == 4;
        is_ipv4 && u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0
    }

    const fn payload_offset(self) -> usize {
        match self {
            Self::Ethernet => ETHERNET_HEADER_LEN + IP_UDP_HEADER_LEN,
            Self::UdpPayload => 0,
        }
    }
}

/// Where the IP header begins, behind at most one VLAN tag.
fn ethernet_payload(frame: &[u8]) -> usize {
    let tagged = frame.get(12..14) == Some(&[0x81, 0]);
    if tagged { ETHERNET_HEADER_LEN + VLAN_TAG_LEN } else { ETHERNET_HEADER_LEN }
}

/// Jitter that drifts in a straight line to a new target every period. Drawn per frame it would reorder nearly all of them.
#[derive(Debug, Default)]
struct Wander {
    start: Duration,
    from: f64,
    to: f64,
}

impl Wander {
    /// The offset in nanoseconds at `time`, within `-jitter..=jitter`.
    fn at(&mut self, time: Duration, period: Duration, jitter: f64, rng: &mut Rng) -> f64 {
        if jitter <= 0.0 {
            *self = Self::default();
            return 0.0;
        }
        if time >= self.start + period {
            *self = Self { start: time, from: self.to, to: rng.signed_unit() * jitter };
        }
        let passed = time.saturating_sub(self.start).as_secs_f64() / period.as_secs_f64();
        (self.to - self.from).mul_add(passed, self.from).clamp(-jitter, jitter)
    }
}

/// A frame on the wire. The heap gives the earliest first, and among equals the one that was pushed first.
#[derive(Debug)]
struct Held {
    due: Duration,
    order: u64,
    frame: Bytes,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests;
