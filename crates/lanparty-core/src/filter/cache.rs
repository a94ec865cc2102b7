//! What was decided of the flows seen last, so that most packets cost one look.
//!
//! A table of fixed size in which a flow has one place. Who loses it is asked about once more.

use super::{RuleNumber, Subject, Verdict};

/// Flows that are remembered: a download, a game and everything a desktop does beside it, many times over.
const PLACES: usize = 4096;

/// What a verdict depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CacheKey {
    pub(super) subject: Subject,
    pub(super) ports: (u16, u16),
}

impl CacheKey {
    fn place(&self) -> usize {
        let ends = mix(self.subject.src) ^ mix(self.subject.dst).rotate_left(17);
        place(ends ^ (u64::from(self.ports.0) << 24) ^ (u64::from(self.ports.1) << 4) ^ self.subject.protocol as u64, PLACES)
    }
}

/// The rule that decides, and its verdict; nothing for the default.
type Decided = Option<(RuleNumber, Verdict)>;

/// Flows and what was decided of them.
#[derive(Debug)]
pub(super) struct Cache(Box<[Option<(CacheKey, Decided)>]>);

impl Default for Cache {
    fn default() -> Self {
        Self(vec![None; PLACES].into())
    }
}

impl Cache {
    pub(super) fn find_or(&mut self, key: CacheKey, decide: impl FnOnce() -> Decided) -> Decided {
        let Some(place) = self.0.get_mut(key.place()) else { return decide() };
        match place {
            Some((kept, decided)) if *kept == key => *decided,
            _ => {
                let decided = decide();
                *place = Some((key, decided));
                decided
            }
        }
    }
}

/// Both halves of an address in one.
pub(super) const fn mix(address: u128) -> u64 {
    (address >> 64) as u64 ^ address as u64
}

/// One of `places` for this value, whatever bits of it differ (Fibonacci hashing).
pub(super) const fn place(value: u64, places: usize) -> usize {
    let spread = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread >> 32) as usize % places
}
