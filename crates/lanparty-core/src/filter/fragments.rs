//! What was decided of first fragments: later ones have no ports, and share their verdict.
//!
//! A table of fixed size without a clock. A packet of the same number takes the place of an older one, and so does one that
//! happens to fall into the same place; who loses its place is judged as if its first had never come.

use super::{Family, Judgement, Subject};

/// Packets that are remembered: what a host has under way in fragments, many times over.
const PLACES: usize = 1024;

/// What the fragments of one packet have in common (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FragmentKey {
    family: Family,
    src: u128,
    dst: u128,
    protocol: u8,
    id: u32,
}

impl FragmentKey {
    /// An IPv6 receiver does not look at the protocol of later fragments.
    pub(super) const fn new(subject: &Subject, protocol: u8, id: u32) -> Self {
        let protocol = if matches!(subject.family, Family::V4) { protocol } else { 0 };
        Self { family: subject.family, src: subject.src, dst: subject.dst, protocol, id }
    }

    fn place(&self) -> usize {
        let ends = super::cache::mix(self.src) ^ super::cache::mix(self.dst).rotate_left(17);
        super::cache::place(ends ^ (u64::from(self.id) << 8) ^ u64::from(self.protocol), PLACES)
    }
}

/// A first fragment that was judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) judgement: Judgement,
    /// Where it ends, in bytes.
    pub(super) end: u16,
}

/// First fragments, the last ones seen.
#[derive(Debug)]
pub(super) struct Fragments(Box<[Option<(FragmentKey, Known)>]>);

impl Default for Fragments {
    fn default() -> Self {
        Self(vec![None; PLACES].into())
    }
}

impl Fragments {
    pub(super) fn keep(&mut self, key: FragmentKey, known: Known) {
        if let Some(place) = self.0.get_mut(key.place()) {
            *place = Some((key, known));
        }
    }

    pub(super) fn find(&self, key: &FragmentKey) -> Option<Known> {
        let (kept, known) = self.0.get(key.place())?.as_ref()?;
        (kept == key).then_some(*known)
    }
}
