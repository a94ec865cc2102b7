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
        // 64-bit words into two 128-bit sums: an add and an add-with-carry each, two chains for the processor to overlap.
        // 36 ns for a full-size frame (40 GB/s); vector additions of 32-bit words took 69.
        let (mut even, mut odd) = (0u128, 0u128);
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            even += u128::from(u64::from_ne_bytes(words[0])) + u128::from(u64::from_ne_bytes(words[2]));
            odd += u128::from(u64::from_ne_bytes(words[1])) + u128::from(u64::from_ne_bytes(words[3]));
        }
        let (pairs, last) = rest.as_chunks::<2>();
        let mut sum = u128::from(self.0) + even + odd;
        sum += pairs.iter().map(|pair| u128::from(u16::from_ne_bytes(*pair))).sum::<u128>();
        sum += last.first().map_or(0, |byte| u128::from(u16::from_ne_bytes([*byte, 0])));
        Self(fold_to_34_bits(sum))
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

/// The same sum modulo 2^16 - 1 in fewer bits: 2^32 and 2^64 are both 1 there. Leaves room for more to be added.
fn fold_to_34_bits(sum: u128) -> u64 {
    let word = |shift: u32| (sum >> shift) as u64 & 0xffff_ffff;
    word(0) + word(32) + word(64) + word(96)
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

    /// Figures, not a check: `cargo test --release -p lanparty-nic --lib -- --ignored --nocapture how_fast`.
    #[test]
    #[ignore = "measures"]
    fn how_fast_a_frame_is_summed() {
        let (frame, rounds) = (vec![0xa5; 1448], 200_000);
        let once = || {
            let start = std::time::Instant::now();
            for _ in 0..rounds {
                std::hint::black_box(Sum::default().bytes(std::hint::black_box(&frame)).folded());
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
        };
        let ns = (0..40).map(|_| once()).fold(f64::INFINITY, f64::min);
        eprintln!("{ns:.0} ns for {} bytes, {:.1} GB/s", frame.len(), frame.len() as f64 / ns);
    }

    #[test]
    fn parts_and_numbers_sum_like_the_whole() {
        let sum = Sum::default().bytes(&[1, 2, 3, 4]).number(0x0506_0708).bytes(&[9]);
        assert_eq!(sum.checksum(), naive(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    }
}
