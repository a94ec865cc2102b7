//! Several datagrams in one binary message: each behind its length in two bytes, big-endian (docs/wire-format.md §8).

use bytes::{Buf, Bytes};

/// Bytes in front of each datagram.
pub(super) const LEN_PREFIX: usize = 2;

/// What is wrong with a binary message. It ends the link: whoever writes one thing wrong writes all of it wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    /// Nothing in it.
    #[error("an empty message")]
    Empty,
    /// A single byte where a length must be.
    #[error("half a length at the end of a message")]
    HalfLength,
    /// A datagram of no bytes.
    #[error("a datagram of no bytes in a message")]
    EmptyDatagram,
    /// A length above what is left.
    #[error("a datagram that claims {claimed} bytes where {left} are left in its message")]
    TooLong {
        /// What its length says.
        claimed: usize,
        /// What the message has left.
        left: usize,
    },
}

/// How many datagrams a message has, when it has nothing else.
pub(super) fn count(mut message: &[u8]) -> Result<usize, FramingError> {
    let mut datagrams = 0;
    while !message.is_empty() {
        let Some((prefix, rest)) = message.split_first_chunk::<LEN_PREFIX>() else { return Err(FramingError::HalfLength) };
        let claimed = usize::from(u16::from_be_bytes(*prefix));
        if claimed == 0 {
            return Err(FramingError::EmptyDatagram);
        }
        message = rest.get(claimed..).ok_or(FramingError::TooLong { claimed, left: rest.len() })?;
        datagrams += 1;
    }
    if datagrams == 0 { Err(FramingError::Empty) } else { Ok(datagrams) }
}

/// Takes the first datagram off a message that [`count`] found whole: a slice of the same memory, no copy.
pub(super) fn take_first(message: &mut Bytes) -> Option<Bytes> {
    let len = usize::from(message.try_get_u16().ok()?);
    (len <= message.len()).then(|| message.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(datagrams: &[&[u8]]) -> Vec<u8> {
        datagrams.iter().flat_map(|d| [&u16::try_from(d.len()).unwrap().to_be_bytes(), *d].concat()).collect()
    }

    #[test]
    fn datagrams_come_out_as_they_went_in() {
        let datagrams: [&[u8]; 4] = [b"a", &[7; 1517], &[0; 65_535], b"last"];
        let whole = message(&datagrams);
        assert_eq!(count(&whole), Ok(4));
        let mut left = Bytes::from(whole);
        let got: Vec<_> = std::iter::from_fn(|| take_first(&mut left)).collect();
        assert_eq!(got, datagrams);
        assert!(left.is_empty());
    }

    #[test]
    fn a_message_that_lies_about_its_lengths_is_refused_wherever_it_is_cut() {
        let whole = message(&[b"one", b"two", &[9; 300]]);
        let boundaries = [5, 10, whole.len()];
        for len in 0..=whole.len() {
            assert_eq!(count(&whole[..len]).is_ok(), boundaries.contains(&len), "{len} of {} bytes", whole.len());
        }
        assert_eq!(count(&[]), Err(FramingError::Empty));
        assert_eq!(count(&[0]), Err(FramingError::HalfLength));
        assert_eq!(count(&[0, 0]), Err(FramingError::EmptyDatagram));
        assert_eq!(count(&[0, 1, 5, 0, 0]), Err(FramingError::EmptyDatagram));
        assert_eq!(count(&[0xff, 0xff, 1]), Err(FramingError::TooLong { claimed: 65_535, left: 1 }));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic_and_taken_apart_as_counted() {
        let mut seed = 1_u32;
        for _ in 0..20_000 {
            let len = seed as usize % 24;
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Small values, so that many lengths are plausible.
                    (seed >> 24) as u8 % 4
                })
                .collect();
            seed = seed.wrapping_add(1);
            let judged = count(&bytes);
            let mut left = Bytes::from(bytes);
            let got = std::iter::from_fn(|| take_first(&mut left)).count();
            if let Ok(count) = judged {
                assert_eq!((got, left.len()), (count, 0));
            }
        }
    }
}
