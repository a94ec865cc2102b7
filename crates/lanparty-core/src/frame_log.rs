//! Which frames get a log line: the first of each (member, direction, action, reason), then one a second that says how
//! many were left out. One [`FrameLog`] belongs to one member and direction.

use std::time::{Duration, Instant};

use lanparty_proto::{DropReason, MacAddr};

/// Time between two lines of the same kind.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
const FORWARDED: usize = DropReason::ALL.len();
const ANSWERED: usize = FORWARDED + 1;
const KINDS: usize = ANSWERED + 1;

/// One line of the frame log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameRecord {
    /// Its sender was told that it is too large.
    pub answered: bool,
    /// Why it was dropped; `None` when it was not.
    pub drop_reason: Option<DropReason>,
    /// Source MAC address, when the frame has a header.
    pub src: Option<MacAddr>,
    /// Destination MAC address, when the frame has a header.
    pub dst: Option<MacAddr>,
    /// Length in bytes, Ethernet header included.
    pub len: usize,
    /// Members it went to.
    pub targets: usize,
    /// Frames of this kind since the last line that got none.
    pub suppressed: u64,
}

impl FrameRecord {
    /// `Forwarded`, `Answered` or `Dropped`, as logs spell it.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match (self.drop_reason, self.answered) {
            (Some(_), _) => "Dropped",
            (None, true) => "Answered",
            (None, false) => "Forwarded",
        }
    }

    /// The source MAC address, or `-` when the frame has no header.
    #[must_use]
    pub fn src_text(&self) -> String {
        self.src.map_or_else(|| "-".to_owned(), |mac| mac.to_string())
    }

    /// The destination MAC address, or `-` when the frame has no header.
    #[must_use]
    pub fn dst_text(&self) -> String {
        self.dst.map_or_else(|| "-".to_owned(), |mac| mac.to_string())
    }

    /// The reason, or `-`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.drop_reason {
            Some(reason) => reason.as_str(),
            None => "-",
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// When the next line may come.
    next: Option<Instant>,
    suppressed: u64,
}

/// The sampling state of one member and direction.
pub struct FrameLog {
    slots: [Slot; KINDS],
    every_frame: bool,
}

impl Default for FrameLog {
    fn default() -> Self {
        Self { slots: [Slot::default(); KINDS], every_frame: false }
    }
}

impl FrameLog {
    /// A log that leaves out nothing, for who wants to see every frame; or one that samples.
    #[must_use]
    pub fn new(every_frame: bool) -> Self {
        Self { every_frame, ..Self::default() }
    }

    /// Notes a frame; a record when this one is to be logged.
    pub fn note(&mut self, frame: &[u8], outcome: Result<usize, DropReason>, now: Instant) -> Option<FrameRecord> {
        let kind = outcome.err().map_or(FORWARDED, |r| r as usize);
        self.record(kind, frame, outcome, now)
    }

    /// Notes a frame whose sender was told that it is too large.
    pub fn note_answered(&mut self, frame: &[u8], now: Instant) -> Option<FrameRecord> {
        self.record(ANSWERED, frame, Ok(0), now)
    }

    fn record(&mut self, kind: usize, frame: &[u8], outcome: Result<usize, DropReason>, now: Instant) -> Option<FrameRecord> {
        let slot = &mut self.slots[kind];
        if !self.every_frame && slot.next.is_some_and(|next| now < next) {
            slot.suppressed += 1;
            return None;
        }
        slot.next = Some(now + SAMPLE_INTERVAL);
        let suppressed = std::mem::take(&mut slot.suppressed);
        let mac = |at: usize| frame.get(at..at + 6).and_then(|b| b.try_into().ok()).map(MacAddr);
        Some(FrameRecord {
            answered: kind == ANSWERED,
            drop_reason: outcome.err(),
            src: mac(6),
            dst: mac(0),
            len: frame.len(),
            targets: outcome.unwrap_or(0),
            suppressed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_then_one_a_second_with_the_number_left_out() {
        let (mut log, start) = (FrameLog::default(), Instant::now());
        assert_eq!(log.note(&[0; 60], Ok(1), start).unwrap().suppressed, 0);
        for ms in 1..1000 {
            assert_eq!(log.note(&[0; 60], Ok(1), start + Duration::from_millis(ms)), None);
        }
        let record = log.note(&[0; 60], Ok(1), start + Duration::from_secs(1)).unwrap();
        assert_eq!((record.suppressed, record.action(), record.reason()), (999, "Forwarded", "-"));
    }

    #[test]
    fn a_log_of_every_frame_leaves_out_none() {
        let (mut log, now) = (FrameLog::new(true), Instant::now());
        assert_eq!((0..100).filter(|_| log.note(&[0; 60], Ok(1), now).is_some_and(|r| r.suppressed == 0)).count(), 100);
    }

    #[test]
    fn each_reason_has_a_first_line_of_its_own() {
        let (mut log, now) = (FrameLog::default(), Instant::now());
        assert!(log.note(&[0; 60], Ok(1), now).is_some());
        for reason in DropReason::ALL {
            assert_eq!(log.note(&[1; 5], Err(*reason), now).unwrap().reason(), reason.as_str());
        }
    }
}
