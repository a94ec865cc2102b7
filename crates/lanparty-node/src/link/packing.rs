//! Keeps small frames out of packets that a smaller path would lose.
//!
//! The QUIC stack puts every waiting datagram that fits into one packet. A game's 100 bytes that travel behind 1,300 others are lost
//! with them where the path has just become smaller, though they would have passed alone. So a datagram waits for the next packet
//! when it, or one already in the packet, would pass on the smallest path that carries QUIC, and the packet together would not.
//!
//! A model of the stack, not a part of it: it sees what is handed over and when the stack has sent everything.

use bytes::Bytes;

use crate::sizing::{PACKET_OVERHEAD, UDP_PAYLOAD_BASE};

/// A DATAGRAM frame's type and length in front of its bytes (RFC 9221 §4).
const FRAME_OVERHEAD: usize = 3;
/// What a packet takes above one datagram of the budget: the stack reserves a longer frame header and packet number than it mostly writes.
const RESERVE: usize = 12;
/// What fits into the smallest packets of QUIC (RFC 9000 §14.1).
const SAFE_LEN: usize = (UDP_PAYLOAD_BASE - PACKET_OVERHEAD) as usize + FRAME_OVERHEAD;
/// A batch of more than this is bulk: what holds it up costs more than what it could lose for a second.
const BULK_MIN: usize = 32;

/// The packet that the stack would put the next datagram into.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packing {
    len: usize,
    has_small: bool,
}

impl Packing {
    /// How many of the front of `datagrams` may be handed over before the stack has sent what it has. `budget` is the largest datagram
    /// that its packets take.
    pub(super) fn admit(&mut self, datagrams: &[Bytes], budget: usize) -> usize {
        let admitted = datagrams.iter().take_while(|datagram| self.admits_one(datagram, budget, datagrams.len()));
        admitted.count()
    }

    /// Whether the next one of `waiting` datagrams may.
    pub(super) fn admits_one(&mut self, datagram: &Bytes, budget: usize, waiting: usize) -> bool {
        let next = self.with(datagram.len(), budget);
        let rides_along = next.has_small && next.len > SAFE_LEN && waiting <= BULK_MIN;
        if !rides_along {
            *self = next;
        }
        !rides_along
    }

    /// A datagram goes whatever it travels with: the stack would not empty.
    pub(super) fn force(&mut self, datagram: &Bytes, budget: usize) {
        *self = self.with(datagram.len(), budget);
    }

    fn with(self, datagram_len: usize, budget: usize) -> Self {
        let len = datagram_len + FRAME_OVERHEAD;
        let small = len <= SAFE_LEN;
        if self.len + len > budget + RESERVE {
            return Self { len, has_small: small };
        }
        Self { len: self.len + len, has_small: self.has_small || small }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = 1434;

    fn batch(lens: &[usize]) -> Vec<Bytes> {
        lens.iter().map(|len| Bytes::from(vec![0; *len])).collect()
    }

    fn admitted(lens: &[usize]) -> usize {
        Packing::default().admit(&batch(lens), BUDGET)
    }

    #[test]
    fn a_small_datagram_does_not_ride_with_a_large_one() {
        assert_eq!(admitted(&[1300, 100]), 1);
        assert_eq!(admitted(&[100, 1300]), 1);
        assert_eq!(admitted(&[1000, 100, 100]), 2, "two fit the smallest packet, three do not");
    }

    #[test]
    fn what_the_stack_sends_apart_anyway_is_not_held_up() {
        assert_eq!(admitted(&[1434, 1434, 1434, 60]), 4, "full packets have no room for it");
        assert_eq!(admitted(&[400, 400, 300]), 3);
        assert_eq!(admitted(&[1200, 1200, 1200]), 3, "none of them would pass alone");
    }

    #[test]
    fn a_flood_is_not_held_up() {
        assert_eq!(admitted(&[100; 128]), 128);
    }

    #[test]
    fn the_packet_is_remembered_until_the_stack_has_sent_it() {
        let mut packing = Packing::default();
        assert_eq!(packing.admit(&batch(&[1300]), BUDGET), 1);
        assert_eq!(packing.admit(&batch(&[100]), BUDGET), 0);
        packing.force(&batch(&[100])[0], BUDGET);
        assert_eq!(packing.admit(&batch(&[1434, 100]), BUDGET), 2);
    }
}
