//! The header in front of every frame in a datagram: kind and flags, source member (docs/wire-format.md §2); on a bonded link the
//! datagram's place in the order is in front of it (§11).

use crate::{DropReason, MemberId};

/// Length of the datagram header without optional fields, in bytes.
pub const DATAGRAM_HEADER_LEN: usize = 3;

/// High nibble of the first byte: an Ethernet frame follows.
const KIND_FRAME: u8 = 0x10;
/// High nibble of the first byte: padding follows, which means nothing.
const KIND_PADDING: u8 = 0x20;
/// High nibble of the first byte: the sender sends no more frames this way.
const KIND_END: u8 = 0x30;
/// High nibble of the first byte: a sequence number of a bonded link follows, and then another datagram.
const KIND_SEQUENCE: u8 = 0x40;
/// And it may have passed some of a smaller number on this path.
const KIND_SEQUENCE_PASSING: u8 = KIND_SEQUENCE | 0x1;
/// High nibble of the first byte: numbers of a bonded link follow, whose datagrams shall be sent once more.
const KIND_ASK: u8 = 0x60;
const KIND_MASK: u8 = 0xf0;
// Flags, the low nibble, are reserved and 0 today: 0x1 sealed payload, 0x2 sequence number (docs/wire-format.md §2).

/// A datagram of `len` bytes, at least one, that carries nothing: it shows the sender whether that size arrives.
#[must_use]
pub fn padding(len: usize) -> Vec<u8> {
    let mut datagram = vec![0; len.max(1)];
    if let Some(kind) = datagram.first_mut() {
        *kind = KIND_PADDING;
    }
    datagram
}

/// Whether a datagram is such padding: whoever receives it drops it before it counts as a frame.
#[must_use]
pub const fn is_padding(datagram: &[u8]) -> bool {
    matches!(datagram, [kind, ..] if *kind & KIND_MASK == KIND_PADDING)
}

/// A datagram that says that its sender has moved, and sends no more frames this way.
#[must_use]
pub fn end_of_way() -> Vec<u8> {
    vec![KIND_END]
}

/// Whether a datagram says that. It is no frame.
#[must_use]
pub const fn is_end_of_way(datagram: &[u8]) -> bool {
    matches!(datagram, [KIND_END])
}

/// Length of a [`Sequence`], in bytes.
pub const SEQUENCE_LEN: usize = 8;
/// Flows that the datagrams of a bonded link are told apart by, and the furthest that one may point back: twelve bits each.
pub const SEQUENCE_FLOWS: u16 = 1 << 12;

/// The place of a datagram among all of a bonded link, whatever path it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// Its number; the one after the largest is 0. Copies of one datagram have the same.
    pub number: u32,
    /// Its flow, less than [`SEQUENCE_FLOWS`]: datagrams of one are delivered in the order of their numbers, or not at all.
    pub flow: u16,
    /// So many numbers ago, less than [`SEQUENCE_FLOWS`], the one of its flow was sent that is waited for; 0 for none.
    pub back: u16,
    /// Whether it may have passed some of a smaller number on its path: its arrival does not say that those are lost.
    pub passes: bool,
}

impl Sequence {
    /// The bytes in front of the datagram.
    #[must_use]
    pub const fn encode(self) -> [u8; SEQUENCE_LEN] {
        let [a, b, c, d] = self.number.to_be_bytes();
        let [_, e, f, g] = (((self.flow as u32) << 12) | self.back as u32 & 0xfff).to_be_bytes();
        let kind = if self.passes { KIND_SEQUENCE_PASSING } else { KIND_SEQUENCE };
        [kind, a, b, c, d, e, f, g]
    }

    /// The place in front of a datagram; `None` when it has none, or flags that this version does not know.
    #[must_use]
    pub const fn decode(datagram: &[u8]) -> Option<Self> {
        match datagram {
            [kind @ (KIND_SEQUENCE | KIND_SEQUENCE_PASSING), a, b, c, d, e, f, g, ..] => {
                let (flow, back) = (u16::from_be_bytes([*e, *f]) >> 4, u16::from_be_bytes([*f, *g]) & 0xfff);
                Some(Self { number: u32::from_be_bytes([*a, *b, *c, *d]), flow, back, passes: *kind == KIND_SEQUENCE_PASSING })
            }
            _ => None,
        }
    }
}

/// Most numbers that one datagram asks for.
pub const ASKED_MAX: usize = 64;

/// A datagram that asks for others of a bonded link once more, by their numbers; of those beyond [`ASKED_MAX`] it says nothing.
#[must_use]
pub fn ask_again(numbers: &[u32]) -> Vec<u8> {
    let numbers = numbers.iter().take(ASKED_MAX).flat_map(|number| number.to_be_bytes());
    [KIND_ASK].into_iter().chain(numbers).collect()
}

/// The numbers that such a datagram asks for; `None` when it is none.
#[must_use]
pub fn asked_again(datagram: &[u8]) -> Option<impl Iterator<Item = u32>> {
    let (kind, numbers) = datagram.split_first()?;
    let (numbers, rest) = numbers.as_chunks::<4>();
    let is_one = *kind == KIND_ASK && rest.is_empty() && (1..=ASKED_MAX).contains(&numbers.len());
    is_one.then(|| numbers.iter().map(|number| u32::from_be_bytes(*number)))
}

/// Who sent the frame that follows, as the relay numbered it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramHeader {
    /// The member whose frame this is. A relay forwards it only when it is the sender's own.
    pub source: MemberId,
}

impl DatagramHeader {
    /// The header's bytes.
    #[must_use]
    pub const fn encode(self) -> [u8; DATAGRAM_HEADER_LEN] {
        let [high, low] = self.source.0.to_be_bytes();
        [KIND_FRAME, high, low]
    }

    /// Splits a datagram into header and frame.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] when it is too short, of an unknown kind, carries a flag this version does not know, or
    /// names member 0.
    pub const fn decode(datagram: &[u8]) -> Result<(Self, &[u8]), DropReason> {
        match datagram {
            [kind, high, low, frame @ ..] if *kind & KIND_MASK == KIND_FRAME && *kind & !KIND_MASK == 0 && (*high | *low) != 0 => {
                Ok((Self { source: MemberId(u16::from_be_bytes([*high, *low])) }, frame))
            }
            _ => Err(DropReason::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = DatagramHeader { source: MemberId(0x0102) };
        let mut datagram = header.encode().to_vec();
        datagram.extend_from_slice(b"frame");
        assert_eq!(DatagramHeader::decode(&datagram), Ok((header, &b"frame"[..])));
    }

    #[test]
    fn the_end_of_a_way_is_one_byte_and_nothing_else_is() {
        assert!(is_end_of_way(&end_of_way()) && DatagramHeader::decode(&end_of_way()).is_err());
        assert!(!is_end_of_way(&[KIND_END, 0]) && !is_end_of_way(&[KIND_END | 1]) && !is_end_of_way(&padding(1)) && !is_end_of_way(&[]));
    }

    #[test]
    fn a_sequence_survives_the_wire_and_is_no_frame() {
        let sequence = Sequence { number: 0x0102_0304, flow: 0xabc, back: 0xdef, passes: false };
        let datagram = [&sequence.encode()[..], &DatagramHeader { source: MemberId(1) }.encode(), b"frame"].concat();
        assert_eq!(datagram[..SEQUENCE_LEN], [0x40, 1, 2, 3, 4, 0xab, 0xcd, 0xef]);
        assert_eq!(Sequence::decode(&datagram), Some(sequence));
        assert_eq!(DatagramHeader::decode(&datagram), Err(DropReason::Malformed));
        assert!(DatagramHeader::decode(&datagram[SEQUENCE_LEN..]).is_ok());
        let passing = Sequence { passes: true, ..sequence };
        assert_eq!(passing.encode()[..2], [0x41, 1]);
        assert_eq!(Sequence::decode(&passing.encode()), Some(passing));
        for bad in [&datagram[..SEQUENCE_LEN - 1], &[0x42, 0, 0, 0, 1, 0, 0, 0], &datagram[SEQUENCE_LEN..], &[]] {
            assert_eq!(Sequence::decode(bad), None, "{bad:?}");
        }
        assert!(!is_padding(&datagram) && !is_end_of_way(&datagram));
    }

    #[test]
    fn padding_is_no_frame_and_no_frame_is_padding() {
        for len in [0, 1, 1434] {
            let datagram = padding(len);
            assert_eq!((datagram.len(), is_padding(&datagram)), (len.max(1), true));
            assert_eq!(DatagramHeader::decode(&datagram), Err(DropReason::Malformed));
        }
        assert!(!is_padding(&DatagramHeader { source: MemberId(1) }.encode()) && !is_padding(&[]));
    }

    #[test]
    fn unknown_kinds_flags_and_member_zero_are_malformed() {
        for bad in [&[][..], &[0x10, 0], &[0x10, 0, 0, 1], &[0x11, 0, 1], &[0x20, 0, 1], &[0x00, 0, 1], &[0x12, 0, 1]] {
            assert_eq!(DatagramHeader::decode(bad), Err(DropReason::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn numbers_that_are_asked_for_are_heard_and_nothing_else_is() {
        let numbers = |datagram: &[u8]| asked_again(datagram).map(Iterator::collect::<Vec<_>>);
        assert_eq!(numbers(&ask_again(&[7, u32::MAX])), Some(vec![7, u32::MAX]));
        assert_eq!(numbers(&ask_again(&[1; 100])).map(|numbers| numbers.len()), Some(ASKED_MAX));
        let too_many = [ask_again(&[1; ASKED_MAX]), vec![0; 4]].concat();
        for none in [&ask_again(&[])[..], &ask_again(&[7])[..4], &[0x61, 0, 0, 0, 7], &[0x40, 0, 0, 0, 7], &too_many, &[]] {
            assert_eq!(numbers(none), None, "{none:?}");
        }
    }
}
