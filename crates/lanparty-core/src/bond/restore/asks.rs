//! What is asked for once more: numbers that every path has passed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lanparty_proto::{ASKED_MAX, DATAGRAM_HEADER_LEN, Frame, Purpose};

/// Asked for is where the answer comes within this; on longer ways whoever sends does it himself as soon.
const RTT_MAX: Duration = Duration::from_millis(120);
/// An answer takes a round trip and a half at most, and what queues and processors take.
const SLACK: Duration = Duration::from_millis(30);
/// After so many without one answer the other side is asked no more for a while: it keeps nothing, or too much is lost.
const VAIN_MAX: u32 = 32;
const REST: Duration = Duration::from_secs(2);

/// How long an answer is waited for on the shortest of these paths; `None` where nothing is asked for: on a single path what is asked for is
/// lost as easily as what was, and a transfer that fills a shallow buffer has to hear of it.
#[must_use]
pub fn answer_time(rtts: impl IntoIterator<Item = Duration>) -> Option<Duration> {
    let mut rtts = rtts.into_iter();
    let (first, second) = (rtts.next()?, rtts.next()?);
    let shortest = rtts.fold(first.min(second), Duration::min);
    (shortest <= RTT_MAX).then(|| shortest * 3 / 2 + SLACK)
}

/// Whether the flow that a datagram belongs to gains by waiting: a transfer does, a picture or a voice does not.
pub(super) fn is_worth_a_wait(datagram: &[u8]) -> bool {
    let frame = datagram.get(DATAGRAM_HEADER_LEN..).and_then(|frame| Frame::parse(frame).ok());
    frame.is_some_and(|frame| Purpose::of(&frame) == Purpose::Bulk)
}

/// Who is asked, and what for.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// See [`answer_time`].
    pub(super) answer_time: Option<Duration>,
    /// Asked for, and until when the answer is waited for.
    pub(super) asked: VecDeque<(Instant, u64)>,
    /// To be said.
    numbers: Vec<u32>,
    vain: u32,
    rest_until: Option<Instant>,
}

impl Asks {
    /// Asks for a number, when that makes sense now. Whether it did.
    pub(super) fn ask(&mut self, number: u64, now: Instant) -> bool {
        self.rest_until = self.rest_until.filter(|until| *until > now);
        let (Some(time), None) = (self.answer_time, self.rest_until) else { return false };
        if self.numbers.len() >= ASKED_MAX {
            return false;
        }
        self.numbers.push(number as u32);
        self.asked.push_back((now + time, number));
        true
    }

    /// One that was asked for came.
    pub(super) const fn answered(&mut self) {
        self.vain = 0;
    }

    /// One that was asked for did not come in time.
    pub(super) fn in_vain(&mut self, now: Instant) {
        self.vain += 1;
        if self.vain >= VAIN_MAX {
            (self.vain, self.rest_until) = (0, Some(now + REST));
        }
    }

    pub(super) fn take(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_answers_is_left_alone_for_a_while() {
        let (mut asks, now) = (Asks { answer_time: Some(SLACK), ..Asks::default() }, Instant::now());
        let asked = (0..50).filter(|number| {
            let asked = asks.ask(*number, now);
            asks.in_vain(now);
            asked
        });
        assert_eq!(asked.count(), VAIN_MAX as usize);
        assert!(!asks.ask(50, now + REST / 2) && asks.ask(51, now + REST));
        assert_eq!(asks.take().len(), VAIN_MAX as usize + 1);
    }

    #[test]
    fn a_long_way_and_a_single_one_are_not_asked() {
        let ms = Duration::from_millis;
        assert_eq!(answer_time([ms(600), ms(20)]), Some(ms(60)));
        assert_eq!([answer_time([ms(600), ms(700)]), answer_time([ms(20)]), answer_time([])], [None, None, None]);
    }

    #[test]
    fn a_transfer_waits_and_a_stream_of_pictures_does_not() {
        let builder = || etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let (mut tcp, mut udp) = (vec![0x10, 0, 1], vec![0x10, 0, 1]);
        builder().tcp(1, 2, 3, 4).ack(1).write(&mut tcp, &[0; 100]).unwrap();
        builder().udp(1, 2).write(&mut udp, &[0; 100]).unwrap();
        assert_eq!([is_worth_a_wait(&tcp), is_worth_a_wait(&udp), is_worth_a_wait(&[0x60, 0])], [true, false, false]);
    }
}
