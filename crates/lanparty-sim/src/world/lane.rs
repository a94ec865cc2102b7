//! One direction between a member and its relay, as QUIC makes it out of a wire: datagrams that come once, whole or not
//! at all, and a control stream that is late when the wire is bad but never loses or reorders.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use lanparty_proto::DatagramBudget;

use crate::{Framing, Impairment, Rng, Wire};

/// Connection, packet number, checksum: what stands in front of a datagram on the wire.
const ENVELOPE_LEN: usize = 24;
/// Bytes of IPv4 and UDP that a wire's MTU counts besides.
const IP_UDP_LEN: usize = 28;
/// Datagrams on their way before the sender waits: a congestion window.
pub(super) const WINDOW: usize = 256;
/// Packet numbers remembered against copies.
const SEEN_MAX: usize = 2048;

/// What the control stream carries.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A connection begins; these are its first bytes. Given up at that time.
    Open { bytes: Vec<u8>, until: Duration },
    /// Bytes of control messages.
    Bytes(Vec<u8>),
    /// I am alive.
    Ping,
    /// The connection ends.
    Close(String),
    /// I know nothing of this connection (RFC 9000 §10.3).
    Reset,
}

/// What became of datagrams behind the wire.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) taken: u64,
    pub(super) corrupt: u64,
    pub(super) copies: u64,
    /// Of a connection that is over, or nobody there.
    pub(super) strays: u64,
}

pub(super) struct Lane {
    pub(super) wire: Wire,
    pub(super) arrived: Arrived,
    /// What the path takes.
    pub(super) budget: DatagramBudget,
    /// What the sender thinks it takes.
    pub(super) believed: DatagramBudget,
    pub(super) cut_until: Duration,
    /// When the world is to look at the wire next.
    pub(super) wake: Option<Duration>,
    delay: Duration,
    calm: Impairment,
    control: VecDeque<(Duration, u64, Item)>,
    last_due: Duration,
    next_number: u64,
    seen: BTreeSet<u64>,
}

impl Lane {
    pub(super) fn new(calm: &Impairment, budget: DatagramBudget, rng: &mut Rng) -> Self {
        let mut lane = Self {
            wire: Wire::with_framing(calm.clone(), rng.next_u64(), Framing::UdpPayload),
            arrived: Arrived::default(),
            budget,
            believed: budget,
            cut_until: Duration::ZERO,
            wake: None,
            delay: calm.delay,
            calm: calm.clone(),
            control: VecDeque::new(),
            last_due: Duration::ZERO,
            next_number: 0,
            seen: BTreeSet::new(),
        };
        lane.set(calm.clone());
        lane
    }

    /// Changes the wire's character, but for the size that the path takes.
    pub(super) fn set(&mut self, mut impairment: Impairment) {
        impairment.mtu = usize::from(self.budget.0) + ENVELOPE_LEN + IP_UDP_LEN;
        self.wire.set(impairment);
    }

    pub(super) fn worsen(&mut self, change: impl FnOnce(&mut Impairment)) {
        let mut impairment = self.calm.clone();
        change(&mut impairment);
        self.set(impairment);
    }

    pub(super) fn calm(&mut self) {
        self.set(self.calm.clone());
    }

    /// The path takes another size from now on; the sender finds out later.
    pub(super) fn resize(&mut self, budget: DatagramBudget) {
        self.budget = budget;
        self.set(self.wire.impairment().clone());
    }

    pub(super) fn cut(&mut self, until: Duration) {
        self.cut_until = self.cut_until.max(until);
        self.wire.set_down(true);
    }

    pub(super) fn mend(&mut self, now: Duration) {
        if now >= self.cut_until {
            self.wire.set_down(false);
        }
    }

    /// How many datagrams may be sent now.
    pub(super) fn space(&self) -> usize {
        if self.wire.impairment().down { 0 } else { WINDOW.saturating_sub(self.wire.held()) }
    }

    pub(super) fn send(&mut self, connection: u64, datagram: &[u8], now: Duration) {
        self.next_number += 1;
        let number = self.next_number;
        let mut packet = Vec::with_capacity(ENVELOPE_LEN + datagram.len());
        packet.extend(connection.to_be_bytes());
        packet.extend(number.to_be_bytes());
        packet.extend(checksum(connection, number, datagram).to_be_bytes());
        packet.extend_from_slice(datagram);
        self.wire.push(now, packet.into());
    }

    /// The next datagram that is due, with its connection; only the connection when that is over.
    pub(super) fn receive(&mut self, is_live: impl Fn(u64) -> bool, now: Duration) -> Option<(u64, Option<Bytes>)> {
        loop {
            let mut packet = self.wire.pop_due(now)?;
            let datagram = packet.split_off(ENVELOPE_LEN.min(packet.len()));
            let word = |at: usize| packet.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
            let (connection, number, sum) = (word(0), word(8), word(16));
            if sum != checksum(connection, number, &datagram) {
                self.arrived.corrupt += 1;
            } else if !is_live(connection) {
                self.arrived.strays += 1;
                return Some((connection, None));
            } else if !self.is_first(number) {
                self.arrived.copies += 1;
            } else {
                self.arrived.taken += 1;
                return Some((connection, Some(datagram)));
            }
        }
    }

    fn is_first(&mut self, number: u64) -> bool {
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_first();
        }
        self.seen.insert(number)
    }

    /// Sends on the control stream: when it arrives.
    pub(super) fn say(&mut self, connection: u64, item: Item, now: Duration, rng: &mut Rng) -> Duration {
        let handshake = if matches!(item, Item::Open { .. }) { 3 } else { 1 };
        let mut due = now.max(self.cut_until) + self.delay * handshake;
        while rng.chance(self.wire.impairment().loss.min(0.9)) {
            due += self.delay * 3 + Duration::from_millis(10);
        }
        due = due.max(self.last_due);
        self.last_due = due;
        self.control.push_back((due, connection, item));
        due
    }

    pub(super) fn hear(&mut self, now: Duration) -> Option<(u64, Item)> {
        self.control.front().filter(|(due, ..)| *due <= now)?;
        self.control.pop_front().map(|(_, connection, item)| (connection, item))
    }

    /// Is every datagram accounted for?
    pub(super) fn conserved(&self) -> bool {
        let (stats, arrived) = (self.wire.stats(), self.arrived);
        stats.conserved(self.wire.held()) && stats.delivered == arrived.taken + arrived.corrupt + arrived.copies + arrived.strays
    }
}

/// What an AEAD would notice. Eight bytes at a time, because every datagram pays for it twice.
fn checksum(connection: u64, number: u64, datagram: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let mut sum = step(step(0xcbf2_9ce4_8422_2325, connection), number);
    let (words, rest) = datagram.as_chunks::<8>();
    for word in words {
        sum = step(sum, u64::from_le_bytes(*word));
    }
    rest.iter().fold(step(sum, datagram.len() as u64), |sum, byte| step(sum, u64::from(*byte)))
}
