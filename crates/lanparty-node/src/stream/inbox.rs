//! What arrived and was not taken yet: messages with datagrams, and control messages, each bounded in its own way.

use std::collections::VecDeque;

use bytes::Bytes;
use lanparty_proto::{Control, is_padding};

use super::framing;

/// Bytes of datagrams kept for us, bookkeeping included, as QUIC keeps them: we take them at once, so this bounds a stall of ours.
pub(super) const DATAGRAMS_LEN_MAX: usize = 2 << 20;
/// What a message costs us besides its bytes.
const MESSAGE_OVERHEAD: usize = size_of::<Bytes>();
/// Bytes of control messages kept for us. At the limit nothing more is read: they are never dropped.
const CONTROL_LEN_MAX: usize = 256 * 1024;

/// The inbox of one link.
#[derive(Default)]
pub(super) struct Inbox {
    /// Whole datagrams behind their lengths, oldest first; the first message may be taken in part.
    messages: VecDeque<Bytes>,
    messages_len: usize,
    control: VecDeque<(Control, usize)>,
    control_len: usize,
    overrun: u64,
}

impl Inbox {
    /// Keeps a message that was judged by [`framing::count`]; the oldest make room.
    pub(super) fn push_datagrams(&mut self, message: Bytes) {
        self.messages_len += message.len() + MESSAGE_OVERHEAD;
        self.messages.push_back(message);
        while self.messages_len > DATAGRAMS_LEN_MAX
            && let Some(oldest) = self.messages.pop_front()
        {
            self.messages_len -= oldest.len() + MESSAGE_OVERHEAD;
            self.overrun += framing::count(&oldest).unwrap_or(0) as u64;
        }
    }

    /// Fills `into` from the front with frames; padding has done its work. How many they are.
    pub(super) fn take_datagrams(&mut self, into: &mut [Bytes]) -> usize {
        let mut frames = 0;
        for slot in into {
            let Some(datagram) = self.next_frame() else { break };
            *slot = datagram;
            frames += 1;
        }
        frames
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            let message = self.messages.front_mut()?;
            let before = message.len();
            let datagram = framing::take_first(message);
            self.messages_len -= before - message.len();
            if message.is_empty() {
                self.messages.pop_front();
                self.messages_len -= MESSAGE_OVERHEAD;
            }
            if let Some(datagram) = datagram.filter(|d| !is_padding(d)) {
                return Some(datagram);
            }
        }
    }

    /// Whether datagrams wait; nothing but padding may be among them.
    pub(super) fn has_datagrams(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Datagrams dropped since the last call, because nobody took them.
    pub(super) fn take_overrun(&mut self) -> u64 {
        std::mem::take(&mut self.overrun)
    }

    /// Keeps a control message that had `len` bytes.
    pub(super) fn push_control(&mut self, message: Control, len: usize) {
        let cost = len + size_of::<(Control, usize)>();
        self.control_len += cost;
        self.control.push_back((message, cost));
    }

    pub(super) fn take_control(&mut self) -> Option<Control> {
        let (message, cost) = self.control.pop_front()?;
        self.control_len -= cost;
        Some(message)
    }

    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Whether another control message may be read.
    pub(super) const fn takes_control(&self) -> bool {
        self.control_len < CONTROL_LEN_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(datagrams: &[&[u8]]) -> Bytes {
        datagrams.iter().flat_map(|d| [&u16::try_from(d.len()).unwrap().to_be_bytes(), *d].concat()).collect()
    }

    #[test]
    fn frames_come_out_in_order_over_messages_and_without_padding() {
        let (frame, pad): (&[u8], &[u8]) = (&[0x10, 0, 1, 5], &[0x20, 0]);
        let mut inbox = Inbox::default();
        inbox.push_datagrams(message(&[pad, &[0x10, 0, 1, 1], pad, frame]));
        inbox.push_datagrams(message(&[pad]));
        inbox.push_datagrams(message(&[&[0x10, 0, 1, 9]]));
        let mut into = [const { Bytes::new() }; 2];
        assert_eq!((inbox.take_datagrams(&mut into), &into[1][..]), (2, frame));
        assert_eq!((inbox.take_datagrams(&mut into), into[0][3]), (1, 9));
        assert_eq!((inbox.take_datagrams(&mut into), inbox.messages_len, inbox.has_datagrams()), (0, 0, false));
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_the_oldest_go() {
        let mut inbox = Inbox::default();
        for n in 0..100_u8 {
            inbox.push_datagrams(message(&[&[0x10, 0, 1, n], &[n; 60_000]]));
            assert!(inbox.messages_len <= DATAGRAMS_LEN_MAX);
        }
        let mut into = vec![Bytes::new(); 200];
        let left = inbox.take_datagrams(&mut into);
        assert_eq!(inbox.take_overrun(), 200 - left as u64);
        assert_eq!((into[left - 1][0], left % 2), (99, 0));
    }
}
