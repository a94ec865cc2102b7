//! The Internet checksum (RFC 1071), over every byte that crosses a device: so it adds words as wide as the machine's.
//!
//! A one's complement sum does not depend on byte order (RFC 1071 §2(B)): words are added as they lie in memory, and
//! the result is stored as it lies in memory.

/// An unfinished sum. Parts are added in order; every part but the last must have an even length.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds `bytes`, an odd one at the end padded with zero.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        // Four independent lanes of 32-bit words in 64-bit sums: no carry to propagate below 16 GiB, and the compiler turns
        // the loop into vector additions.
        let mut lanes = [0u64; 8];
        let mut blocks = bytes.chunks_exact(32);
        for block in &mut blocks {
            for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
                *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
            }
        }
        let mut sum: u64 = lanes.iter().sum();
        let mut words = blocks.remainder().chunks_exact(2);
        for word in &mut words {
            sum += u64::from(u16::from_ne_bytes([word[0], word[1]]));
        }
        if let [odd] = words.remainder() {
            sum += u64::from(u16::from_ne_bytes([*odd, 0]));
        }
        Self(self.0 + sum)
    }

    /// Adds a number as its four bytes in network order.
    pub(crate) fn number(self, number: u32) -> Self {
        Self(self.0 + u64::from(u32::from_ne_bytes(number.to_be_bytes())))
    }

    /// The sum folded to 16 bits, as it lies in memory.
    pub(crate) fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the loop above ends at 16 bits")]
        (sum as u16).to_ne_bytes()
    }

    /// The checksum: the complement of the folded sum, as it lies in memory.
    pub(crate) fn checksum(self) -> [u8; 2] {
        let [a, b] = self.folded();
        [!a, !b]
    }

    /// Whether a sum that included a checksum says that nothing changed (RFC 1071 §1).
    pub(crate) fn is_intact(self) -> bool {
        self.folded() == [0xff, 0xff]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 §4.1, word by word in network order.
    fn naive(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!u16::try_from(sum).unwrap()).to_be_bytes()
    }

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), [0xdd, 0xf2]);
    }

    #[test]
    fn wide_additions_agree_with_the_naive_sum_at_every_length_and_offset() {
        let bytes: Vec<u8> = (0..700u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for start in 0..9 {
            for len in 0..bytes.len() - start {
                let part = &bytes[start..start + len];
                assert_eq!(Sum::default().bytes(part).checksum(), naive(part), "{start}+{len}");
            }
        }
        let ones = vec![0xff; 70_000];
        assert_eq!(Sum::default().bytes(&ones).checksum(), naive(&ones));
    }

    #[test]
    fn parts_and_numbers_sum_like_the_whole() {
        let sum = Sum::default().bytes(&[1, 2, 3, 4]).number(0x0506_0708).bytes(&[9]);
        assert_eq!(sum.checksum(), naive(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    }
}
