//! Counters of one direction: every drop reason from the start, at zero.

use std::collections::BTreeMap;

use lanparty_proto::DropReason;
use serde::{Serialize, Serializer};

/// What happened to the frames of one direction. `frames_in + split = forwarded + answered + dropped + queued`, always.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    frames_in: u64,
    bytes_in: u64,
    forwarded: u64,
    bytes_forwarded: u64,
    answered: u64,
    split: u64,
    dropped: Drops,
}

impl Counters {
    /// A frame of `bytes` came in.
    pub const fn count_in(&mut self, bytes: usize) {
        self.frames_in += 1;
        self.bytes_in += bytes as u64;
    }

    /// It went on.
    pub const fn count_forwarded(&mut self, bytes: usize) {
        self.forwarded += 1;
        self.bytes_forwarded += bytes as u64;
    }

    /// It was for this member itself, or was answered in its sender's place.
    pub const fn count_answered(&mut self) {
        self.answered += 1;
    }

    /// It goes on as `pieces` frames, each of them counted when it does.
    pub const fn count_split(&mut self, pieces: u64) {
        self.split += pieces.saturating_sub(1);
    }

    /// It went no further, for this reason.
    pub const fn count_dropped(&mut self, reason: DropReason) {
        self.dropped.add(reason, 1);
    }

    /// A frame counted as forwarded was dropped after all, further along.
    pub const fn recount_as_dropped(&mut self, bytes: usize, reason: DropReason) {
        self.forwarded = self.forwarded.saturating_sub(1);
        self.bytes_forwarded = self.bytes_forwarded.saturating_sub(bytes as u64);
        self.count_dropped(reason);
    }

    /// A frame counted as answered was dropped after all: its answer did not go out.
    pub const fn recount_answered_as_dropped(&mut self, reason: DropReason) {
        self.answered = self.answered.saturating_sub(1);
        self.count_dropped(reason);
    }

    /// Those of `other` as well.
    pub fn add_all(&mut self, other: &Self) {
        self.frames_in += other.frames_in;
        self.bytes_in += other.bytes_in;
        self.forwarded += other.forwarded;
        self.bytes_forwarded += other.bytes_forwarded;
        self.answered += other.answered;
        self.split += other.split;
        self.dropped.add_all(&other.dropped);
    }

    /// Frames dropped for `reason`.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.count(reason)
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.total()
    }

    /// Frames that came in.
    #[must_use]
    pub const fn frames_in(&self) -> u64 {
        self.frames_in
    }

    /// Frames that went on.
    #[must_use]
    pub const fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Whether every frame that came in is accounted for, `queued` of them still waiting.
    #[must_use]
    pub fn is_conserved(&self, queued: u64) -> bool {
        self.frames_in + self.split == self.forwarded + self.answered + self.dropped_total() + queued
    }

    /// For `lanparty status`.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        CountersSnapshot {
            frames_in: self.frames_in,
            bytes_in: self.bytes_in,
            forwarded: self.forwarded,
            bytes_forwarded: self.bytes_forwarded,
            answered: self.answered,
            split: self.split,
            dropped: self.dropped.clone(),
        }
    }
}

/// [`Counters`] as a report: frames, bytes, and frames dropped by reason, those that there were none of among them. A copy of numbers, which
/// get their names as they are written down.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of `Counters`")]
pub struct CountersSnapshot {
    pub frames_in: u64,
    pub bytes_in: u64,
    pub forwarded: u64,
    pub bytes_forwarded: u64,
    pub answered: u64,
    /// Frames that exist because one was cut up.
    pub split: u64,
    #[serde(serialize_with = "every_reason")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub dropped: Drops,
}

fn every_reason<S: Serializer>(drops: &Drops, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(drops.every().map(|(reason, frames)| (reason.as_str(), frames)))
}

/// Frames that went no further, by reason. As JSON a map of the reasons that there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// `frames` of them, for this reason.
    #[must_use]
    pub fn of(reason: DropReason, frames: u64) -> Self {
        let mut drops = Self::default();
        drops.add(reason, frames);
        drops
    }

    /// `frames` more, for this reason.
    pub const fn add(&mut self, reason: DropReason, frames: u64) {
        self.0[reason as usize] += frames;
    }

    /// Those of `other` as well.
    pub fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, more)| *mine += more);
    }

    /// For any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// For `reason`.
    #[must_use]
    pub const fn count(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason, with how many.
    pub fn every(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.count(*reason)))
    }

    /// The reasons that there were, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.every().filter(|(_, frames)| *frames > 0)
    }
}

impl Serialize for Drops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(reason, frames)| (reason.as_str(), frames)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_there_from_the_start_at_zero() {
        let written = serde_json::to_value(Counters::default().snapshot()).unwrap();
        let dropped = written["dropped"].as_object().unwrap();
        assert_eq!(dropped.len(), DropReason::ALL.len());
        assert!(dropped.values().all(|n| n == 0));
        assert_eq!(serde_json::to_value(Drops::of(DropReason::QueueFull, 3)).unwrap(), serde_json::json!({ "QueueFull": 3 }));
    }

    #[test]
    fn what_came_in_went_out_or_was_dropped() {
        let mut c = Counters::default();
        c.count_in(60);
        assert!(!c.is_conserved(0) && c.is_conserved(1));
        c.count_forwarded(60);
        assert!(c.is_conserved(0));
        c.recount_as_dropped(60, DropReason::QueueFull);
        assert!(c.is_conserved(0) && c.dropped(DropReason::QueueFull) == 1);
        let mut sum = c.clone();
        sum.add_all(&c);
        assert!(sum.is_conserved(0) && sum.dropped(DropReason::QueueFull) == 2 && sum.frames_in() == 2);
    }
}
