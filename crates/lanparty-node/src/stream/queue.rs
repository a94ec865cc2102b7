//! Datagrams that wait for the stream, in our own memory, where what is dropped can be chosen and counted: the oldest.
//!
//! They wait as they will be sent, each behind its length, so that a message is taken out without another copy.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::framing::LEN_PREFIX;

/// Bytes that may wait, bookkeeping included: 100 ms at 40 Mbit/s. A faster line is not kept waiting.
pub(super) const QUEUE_LEN_MAX: usize = 512 * 1024;
/// A frame that waited longer is of no use to a game, and in front of everything newer.
pub(super) const QUEUE_AGE_MAX: Duration = Duration::from_millis(100);
/// Most bytes in one message.
pub(super) const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// A datagram that waits.
struct Entry {
    since: Instant,
    /// Without its length prefix.
    len: u16,
}

impl Entry {
    fn framed_len(&self) -> usize {
        LEN_PREFIX + usize::from(self.len)
    }

    fn cost(&self) -> usize {
        self.framed_len() + size_of::<Self>()
    }
}

/// The queue of one link.
#[derive(Default)]
pub(super) struct SendQueue {
    /// Memory of at most [`MESSAGE_LEN_MAX`] each, whole datagrams only.
    chunks: VecDeque<BytesMut>,
    entries: VecDeque<Entry>,
    len: usize,
    discarded: u64,
}

impl SendQueue {
    /// Appends `datagrams`, all of them; the oldest make room.
    pub(super) fn extend<'d>(&mut self, datagrams: impl Iterator<Item = &'d Bytes> + Clone, now: Instant) {
        let total = datagrams.clone().map(|d| LEN_PREFIX + d.len()).sum();
        for datagram in datagrams {
            // Nobody can offer more than the budget; a longer one would not have a length.
            let Ok(len) = u16::try_from(datagram.len()) else { continue };
            self.push(Entry { since: now, len }, datagram, total);
        }
    }

    fn push(&mut self, entry: Entry, datagram: &[u8], total: usize) {
        while self.len + entry.cost() > QUEUE_LEN_MAX && self.drop_oldest() {}
        let needed = entry.framed_len();
        if self.chunks.back().is_none_or(|c| c.capacity() - c.len() < needed) {
            // A lone datagram needs little memory; who has to wait will have company.
            let wanted = if self.entries.is_empty() { total.min(MESSAGE_LEN_MAX) } else { MESSAGE_LEN_MAX };
            self.chunks.push_back(BytesMut::with_capacity(wanted.max(needed)));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.put_u16(entry.len);
            chunk.put_slice(datagram);
        }
        self.len += entry.cost();
        self.entries.push_back(entry);
    }

    /// The next message, of at most `len_max` bytes unless a single datagram is longer. What is too old is dropped first.
    pub(super) fn take(&mut self, len_max: usize, now: Instant) -> Option<Bytes> {
        while self.entries.front().is_some_and(|e| now.saturating_duration_since(e.since) > QUEUE_AGE_MAX) {
            self.drop_oldest();
        }
        let chunk_len = self.chunks.front()?.len();
        let (mut len, mut count) = (0, 0);
        for entry in &self.entries {
            let next = len + entry.framed_len();
            if next > chunk_len || (count > 0 && next > len_max) {
                break;
            }
            (len, count) = (next, count + 1);
        }
        self.len -= self.entries.drain(..count).map(|e| e.cost()).sum::<usize>();
        if len == chunk_len {
            self.chunks.pop_front().map(BytesMut::freeze)
        } else {
            self.chunks.front_mut().map(|c| c.split_to(len).freeze())
        }
    }

    /// False when there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.len -= entry.cost();
        self.discarded += 1;
        if let Some(chunk) = self.chunks.front_mut() {
            // Not to be seen again, and not copied when the chunk is taken.
            let _ = chunk.split_to(entry.framed_len());
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        true
    }

    /// Bytes that wait, with their bookkeeping.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Drops everything that waits.
    pub(super) fn clear(&mut self) {
        while self.drop_oldest() {}
    }

    /// Datagrams dropped since the last call.
    pub(super) fn take_discarded(&mut self) -> u64 {
        std::mem::take(&mut self.discarded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing;
    use super::*;

    fn datagrams(numbers: std::ops::Range<u32>, len: usize) -> Vec<Bytes> {
        let datagram = |n: u32| [&n.to_be_bytes()[..], &vec![1; len - 4]].concat().into();
        numbers.map(datagram).collect()
    }

    fn drain(queue: &mut SendQueue, len_max: usize, now: Instant) -> Vec<u32> {
        let mut numbers = vec![];
        while let Some(mut message) = queue.take(len_max, now) {
            assert!(message.len() <= len_max);
            assert!(framing::count(&message).is_ok());
            numbers
                .extend(std::iter::from_fn(|| framing::take_first(&mut message)).map(|d| u32::from_be_bytes(d[..4].try_into().unwrap())));
        }
        assert_eq!((queue.len(), queue.entries.len(), queue.chunks.len()), (0, 0, 0));
        numbers
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_make_room() {
        let (mut queue, now) = (SendQueue::default(), Instant::now());
        for n in 0..4000 {
            queue.extend(datagrams(n..n + 1, 1400).iter(), now);
            assert!(queue.len() <= QUEUE_LEN_MAX);
            let memory: usize = queue.chunks.iter().map(BytesMut::capacity).sum();
            assert!(memory <= QUEUE_LEN_MAX + 2 * MESSAGE_LEN_MAX, "{memory} bytes of memory");
        }
        let dropped = u32::try_from(queue.take_discarded()).unwrap();
        assert_eq!(queue.take_discarded(), 0, "counted once");
        let left = drain(&mut queue, MESSAGE_LEN_MAX, now);
        assert_eq!(left, (dropped..4000).collect::<Vec<_>>(), "the newest are left, in order");
        assert!(left.len() * 1426 > QUEUE_LEN_MAX - 1426, "and no more than needed was dropped");
    }

    #[test]
    fn tiny_datagrams_cost_what_they_cost_us() {
        let (mut queue, now) = (SendQueue::default(), Instant::now());
        queue.extend(datagrams(0..100_000, 4).iter(), now);
        assert!(queue.entries.len() * (size_of::<Entry>() + 6) <= QUEUE_LEN_MAX);
        assert_eq!(drain(&mut queue, 700, now).last(), Some(&99_999));
    }

    #[test]
    fn what_waited_too_long_is_dropped_when_it_would_be_sent() {
        let (mut queue, start) = (SendQueue::default(), Instant::now());
        queue.extend(datagrams(0..10, 100).iter(), start);
        queue.extend(datagrams(10..20, 100).iter(), start + Duration::from_millis(60));
        let message = queue.take(50, start + QUEUE_AGE_MAX).unwrap();
        assert_eq!(message.len(), 102, "one at least, however small the message should be");
        assert_eq!(queue.take_discarded(), 0, "none is too old at the limit itself");
        let left = drain(&mut queue, MESSAGE_LEN_MAX, start + QUEUE_AGE_MAX + Duration::from_millis(1));
        assert_eq!((left, queue.take_discarded()), ((10..20).collect(), 9));
    }

    #[test]
    fn a_message_takes_what_there_is_up_to_its_size() {
        let (mut queue, now) = (SendQueue::default(), Instant::now());
        queue.extend(datagrams(0..100, 1400).iter(), now);
        let first = queue.take(MESSAGE_LEN_MAX, now).unwrap();
        assert_eq!(first.len(), MESSAGE_LEN_MAX / 1402 * 1402);
        let second = queue.take(3000, now).unwrap();
        assert_eq!(second.len(), 2 * 1402);
        assert_eq!(drain(&mut queue, MESSAGE_LEN_MAX, now), (48..100).collect::<Vec<_>>());
    }
}
