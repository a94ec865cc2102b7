//! Outbound, after the paths: what was sent is kept for a moment, so that the far end can have it once more when it was lost.
//!
//! The far end knows first what is missing ([`super::Restorer`]), and asks. What a line loses is then late by a round trip, which a transfer
//! does not feel, instead of lost, which halves it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use lanparty_proto::Sequence;

/// Most that is kept: a tenth of a second at 40 Mbit/s. A relay keeps as much for every member with a bond.
const KEPT_BYTES_MAX: usize = 512 * 1024;
/// And so long: whoever has not asked by then does not wait any more.
const KEPT_TIME: Duration = Duration::from_millis(400);
/// This share of what is sent may be sent once more: more than that is no noise on a line, but a queue that overflows.
const REPEATED_SHARE: usize = 10;
/// Most that is saved up of it, in bytes.
const CREDIT_MAX: usize = 64 * 1024;

/// Datagrams that were sent lately.
#[derive(Debug, Default)]
pub struct Repeats {
    /// By number, ascending; empty where it was given out.
    kept: VecDeque<(u32, Instant, Bytes)>,
    bytes: usize,
    credit: usize,
}

impl Repeats {
    /// Keeps a datagram of a transfer that is sent now, its place in the order on it. Numbers ascend.
    pub fn keep(&mut self, number: u32, numbered: Bytes, now: Instant) {
        self.credit = (self.credit + numbered.len() / REPEATED_SHARE).min(CREDIT_MAX);
        self.bytes += numbered.len();
        self.kept.push_back((number, now, numbered));
        while let Some((_, at, oldest)) = self.kept.front() {
            if self.bytes <= KEPT_BYTES_MAX && now.saturating_duration_since(*at) <= KEPT_TIME {
                break;
            }
            self.bytes -= oldest.len();
            self.kept.pop_front();
        }
    }

    /// A datagram that was lost, to be sent once more, ahead of what waits; each is given out once.
    pub fn take(&mut self, number: u32) -> Option<Bytes> {
        let (first, ..) = self.kept.front()?;
        let first = *first;
        let at = self.kept.binary_search_by_key(&number.wrapping_sub(first), |(number, ..)| number.wrapping_sub(first)).ok()?;
        let (.., numbered) = self.kept.get_mut(at)?;
        if numbered.is_empty() || numbered.len() > self.credit {
            return None;
        }
        let numbered = std::mem::take(numbered);
        self.bytes -= numbered.len();
        self.credit -= numbered.len();
        let place = Sequence { passes: true, ..Sequence::decode(&numbered)? }.encode();
        let mut again = BytesMut::from(&numbered[..]);
        again[..place.len()].copy_from_slice(&place);
        Some(again.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(number: u32) -> Bytes {
        let place = Sequence { number, flow: 3, back: 1, passes: false };
        [&place.encode()[..], &[7; 1392]].concat().into()
    }

    fn kept(numbers: impl IntoIterator<Item = u32>, now: Instant) -> Repeats {
        let mut repeats = Repeats::default();
        numbers.into_iter().for_each(|number| repeats.keep(number, datagram(number), now));
        repeats
    }

    #[test]
    fn what_was_sent_is_given_out_once_and_says_that_it_passes_others() {
        let mut repeats = kept((0..40).map(|n| 0xffff_fff0_u32.wrapping_add(n * 2)), Instant::now());
        let again = repeats.take(2).unwrap();
        assert_eq!(Sequence::decode(&again), Some(Sequence { number: 2, flow: 3, back: 1, passes: true }));
        assert_eq!(again[8..], datagram(2)[8..]);
        assert_eq!([repeats.take(2), repeats.take(3), repeats.take(0xffff_ffef), repeats.take(100)], [None, None, None, None]);
    }

    #[test]
    fn no_more_is_sent_again_than_a_share() {
        let mut repeats = kept(0..300, Instant::now());
        let given = (0..300).filter(|number| repeats.take(*number).is_some()).count();
        assert_eq!(given, 300 * 140 / 1400);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_time() {
        let start = Instant::now();
        let mut repeats = kept(0..1000, start);
        assert!(repeats.bytes <= KEPT_BYTES_MAX && repeats.kept.len() == KEPT_BYTES_MAX / 1400);
        repeats.keep(1000, datagram(1000), start + KEPT_TIME * 2);
        assert_eq!((repeats.bytes, repeats.kept.len()), (1400, 1));
    }
}
