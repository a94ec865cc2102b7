//! Datagrams of a bond's test (docs/wire-format.md §12): they measure what the bond carries, and carry nothing themselves.
//!
//! They are numbered as all datagrams of a bond are, and are no frames: whoever gets one that it did not agree to drops it.

/// High nibble of the first byte, as of the other kinds in [`crate::DatagramHeader`]'s place.
const KIND_TRIAL: u8 = 0x50;
const KIND_MASK: u8 = 0xf0;

/// What a datagram of a test is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrialPart {
    /// Fills the paths.
    Load,
    /// To be answered with as many bytes, and what a lost one would cost.
    Ask,
    /// The answer.
    Answer,
}

/// One datagram of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrialDatagram {
    /// What it is for.
    pub part: TrialPart,
    /// Which test.
    pub test: u32,
    /// Its number in it.
    pub sequence: u32,
}

impl TrialDatagram {
    /// Shortest one, in bytes.
    pub const LEN_MIN: usize = 9;

    /// The datagram, `len` bytes long, at least [`Self::LEN_MIN`].
    #[must_use]
    pub fn encode(self, len: usize) -> Vec<u8> {
        let part = match self.part {
            TrialPart::Load => 0,
            TrialPart::Ask => 1,
            TrialPart::Answer => 2,
        };
        let mut datagram = Vec::with_capacity(len.max(Self::LEN_MIN));
        datagram.push(KIND_TRIAL | part);
        datagram.extend(self.test.to_be_bytes());
        datagram.extend(self.sequence.to_be_bytes());
        datagram.resize(len.max(Self::LEN_MIN), 0);
        datagram
    }

    /// Whether a datagram belongs to some test, of this version or a newer one.
    #[must_use]
    pub const fn is_one(datagram: &[u8]) -> bool {
        matches!(datagram, [kind, ..] if *kind & KIND_MASK == KIND_TRIAL)
    }

    /// What a datagram of a test says; `None` when it is none that this version knows.
    #[must_use]
    pub const fn decode(datagram: &[u8]) -> Option<Self> {
        let [kind, a, b, c, d, e, f, g, h, ..] = datagram else { return None };
        let part = match *kind {
            0x50 => TrialPart::Load,
            0x51 => TrialPart::Ask,
            0x52 => TrialPart::Answer,
            _ => return None,
        };
        Some(Self { part, test: u32::from_be_bytes([*a, *b, *c, *d]), sequence: u32::from_be_bytes([*e, *f, *g, *h]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatagramHeader, Sequence, is_end_of_way, is_padding};

    #[test]
    fn a_datagram_of_a_test_survives_the_wire_and_is_nothing_else() {
        for part in [TrialPart::Load, TrialPart::Ask, TrialPart::Answer] {
            let one = TrialDatagram { part, test: 0x0102_0304, sequence: 0x0506_0708 };
            for len in [0, 9, 1400] {
                let bytes = one.encode(len);
                assert_eq!((bytes.len(), TrialDatagram::decode(&bytes)), (len.max(9), Some(one)));
                assert!(TrialDatagram::is_one(&bytes) && DatagramHeader::decode(&bytes).is_err());
                assert!(Sequence::decode(&bytes).is_none() && !is_padding(&bytes) && !is_end_of_way(&bytes));
            }
        }
        assert_eq!(TrialDatagram { part: TrialPart::Ask, test: 1, sequence: 2 }.encode(0), [0x51, 0, 0, 0, 1, 0, 0, 0, 2]);
    }

    #[test]
    fn what_is_short_or_of_a_newer_version_is_none_that_is_known() {
        let newer = [0x5f, 0, 0, 0, 1, 0, 0, 0, 2];
        assert!(TrialDatagram::is_one(&newer) && TrialDatagram::decode(&newer).is_none());
        assert!(TrialDatagram::decode(&[0x50, 0, 0, 0, 1, 0, 0, 0]).is_none());
        assert!(!TrialDatagram::is_one(&[0x10, 0, 1]) && !TrialDatagram::is_one(&[]));
    }
}
