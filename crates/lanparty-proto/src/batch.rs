//! Frames on their way out: one arena, a slice per frame, room for the datagram header in front of each.

use bytes::{BufMut, BytesMut};

use crate::header::DATAGRAM_HEADER_LEN;

/// A batch of outbound frames in one allocation.
///
/// A device pushes frames; the endpoint takes each with its headroom, writes the datagram header into that, and
/// freezes it: from the device to the socket a frame is copied once and allocated never on its own.
#[derive(Default)]
pub struct FrameBatch {
    arena: BytesMut,
    lens: std::collections::VecDeque<u32>,
}

impl FrameBatch {
    /// Bytes left free in front of each frame.
    pub const HEADROOM: usize = DATAGRAM_HEADER_LEN;
    /// Arena size asked for at once: two super-frames of 64 KiB with their headers.
    const ARENA_LEN: usize = 160 * 1024;

    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a frame made of `parts` in order, and gives it back for edits in place (checksums, lengths).
    pub fn push(&mut self, parts: &[&[u8]]) -> &mut [u8] {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        if self.arena.capacity() - self.arena.len() < Self::HEADROOM + len {
            self.arena.reserve(Self::ARENA_LEN.max(Self::HEADROOM + len));
        }
        self.arena.put_bytes(0, Self::HEADROOM);
        let start = self.arena.len();
        for part in parts {
            self.arena.put_slice(part);
        }
        self.lens.push_back(u32::try_from(len).expect("INVARIANT: a device hands over at most 64 KiB"));
        self.arena.get_mut(start..).unwrap_or_default()
    }

    /// The frames, oldest first, left where they are.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.arena[..];
        self.lens.iter().map(move |len| {
            let (_, frame) = rest.split_at_checked(Self::HEADROOM).unwrap_or_default();
            let (frame, behind) = frame.split_at_checked(*len as usize).unwrap_or_default();
            rest = behind;
            frame
        })
    }

    /// Takes the oldest frame, with [`Self::HEADROOM`] free bytes in front of it.
    pub fn pop(&mut self) -> Option<BytesMut> {
        let len = self.lens.pop_front()? as usize;
        Some(self.arena.split_to(Self::HEADROOM + len))
    }

    /// Frames in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Whether no frame is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_and_in_order_with_headroom() {
        let mut batch = FrameBatch::new();
        batch.push(&[b"first"]);
        batch.push(&[b"second ", b"frame"]);
        batch.pop();
        batch.push(&[b""]);
        assert!(batch.iter().eq([&b"second frame"[..], b""]), "they can be looked at, too");
        let mut batch = FrameBatch::new();
        batch.push(&[b"head", b"payload"])[0] = b'H';
        batch.push(&[b"two"]);
        assert_eq!(batch.len(), 2);
        assert_eq!(&batch.pop().unwrap()[FrameBatch::HEADROOM..], b"Headpayload");
        batch.push(&[&[7; 70_000]]);
        assert_eq!(&batch.pop().unwrap()[FrameBatch::HEADROOM..], b"two");
        assert_eq!(batch.pop().unwrap().len(), FrameBatch::HEADROOM + 70_000);
        assert!(batch.pop().is_none() && batch.is_empty());
    }
}
