//! The internet checksum (RFC 1071), and how it follows a change (RFC 1624).

/// The one's complement sum of some bytes, not yet folded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Checksum(u32);

impl Checksum {
    /// What a checksum field says of everything else it covers.
    #[must_use]
    pub const fn of_field(field: [u8; 2]) -> Self {
        Self(!u16::from_be_bytes(field) as u32)
    }

    /// With `bytes` as well; they start at an even position.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let (words, last) = bytes.as_chunks::<2>();
        let sum = words.iter().fold(self.0, |sum, word| fold(sum + u32::from(u16::from_be_bytes(*word))));
        Self(last.first().map_or(sum, |byte| fold(sum + (u32::from(*byte) << 8))))
    }

    /// After two bytes at position `at` of what is covered became others (RFC 1624 §3, equation 3). At an odd position
    /// they are the halves of two words, which sums the same with its bytes turned around (RFC 1071 §2 (B)).
    #[must_use]
    pub const fn replace(self, at: usize, before: [u8; 2], after: [u8; 2]) -> Self {
        let (before, after) = if at.is_multiple_of(2) {
            (u16::from_be_bytes(before), u16::from_be_bytes(after))
        } else {
            (u16::from_le_bytes(before), u16::from_le_bytes(after))
        };
        Self(self.0 + !before as u32 + after as u32)
    }

    /// The field that belongs to it.
    #[must_use]
    pub const fn field(self) -> [u8; 2] {
        (!(fold(fold(self.0)) as u16)).to_be_bytes()
    }
}

const fn fold(sum: u32) -> u32 {
    (sum & 0xffff) + (sum >> 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §1, word by word.
    fn slowly(bytes: &[u8]) -> [u8; 2] {
        let words = bytes.chunks(2).map(|w| u64::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)])));
        let mut sum: u64 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    proptest! {
        #[test]
        fn a_checksum_follows_a_change_at_any_position(mut bytes in prop::collection::vec(any::<u8>(), 4..64), at in 0usize..62, new: [u8; 2]) {
            // A protocol's own header is never all zero.
            bytes[0] |= 1;
            let at = 1 + at % (bytes.len() - 2);
            let (field, before) = (slowly(&bytes), [bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new);
            prop_assert_eq!(Checksum::of_field(field).replace(at, before, new).field(), slowly(&bytes));
        }
    }
}
