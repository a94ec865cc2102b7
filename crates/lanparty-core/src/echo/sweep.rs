//! Which frame sizes pass to a member and back, found with few requests: the smallest, the largest that the room
//! promises, a few in between, one beyond; and when the largest does not come back, a search for the last that does.
//!
//! One request is under way at a time, and a size has vanished only after several tries, so that ordinary loss makes no
//! black hole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lanparty_proto::{DropReason, Echo, LAN_MTU_MAX, LanMtu, MemberFrame};

use super::{EchoEvent, EchoOutput, REPLY_TIMEOUT};

/// Tries before a size counts as vanished: at 20 % loss each way, one size in 170 is called so by mistake.
const TRIES: u32 = 5;
/// A try is given up after this many of the shortest round trip seen, but not before [`PATIENCE_MIN`].
const PATIENCE_RTTS: u32 = 4;
const PATIENCE_MIN: Duration = Duration::from_millis(200);
/// Sizes looked at between the smallest and the largest when both pass.
const SAMPLES: [usize; 6] = [128, 300, 590, 900, 1200, 1294];
const FRAME_LEN_MAX: usize = LAN_MTU_MAX as usize + 14;

/// What a sweep found. Sizes are of whole frames, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// The largest frame that the room promises to carry.
    pub promised: usize,
    /// The largest that came back; nothing when not even the smallest did.
    pub largest: Option<usize>,
    /// Above `largest` and within the promise: not sent for this reason, from this size on.
    pub refused: Option<(usize, DropReason)>,
    /// Sizes below `largest` that did not come back.
    pub holes: Vec<usize>,
    /// Why a frame above the promise is not sent; nothing when there is no such frame, or when it is.
    pub beyond: Option<DropReason>,
    /// Requests sent.
    pub requests: u32,
    /// Replies received.
    pub replies: u32,
    /// Shortest round trip.
    pub rtt_min: Option<Duration>,
}

impl SweepReport {
    /// Whether every size that the room promises passes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.largest == Some(self.promised) && self.holes.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Smallest,
    Largest,
    /// `passes` came back, `fails` did not.
    Search {
        passes: usize,
        fails: usize,
    },
    Sample(usize),
    Beyond,
    Done,
}

struct Trial {
    size: usize,
    tries: u32,
    first_sequence: u32,
    sent: Instant,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passes,
    Vanishes,
    Refused(DropReason),
}

/// A sweep.
pub struct Sweep {
    nonce: u64,
    stage: Stage,
    trial: Option<Trial>,
    events: VecDeque<EchoEvent>,
    report: SweepReport,
}

impl Sweep {
    /// A sweep in a room of that LAN MTU.
    #[must_use]
    pub fn new(nonce: u64, lan_mtu: LanMtu) -> Self {
        let report = SweepReport { promised: lan_mtu.frame_len_max(), ..SweepReport::default() };
        Self { nonce, stage: Stage::Smallest, trial: None, events: VecDeque::new(), report }
    }

    /// What is to be done, until it is a timeout or the end.
    pub fn poll_output(&mut self, now: Instant) -> EchoOutput {
        loop {
            if let Some(event) = self.events.pop_front() {
                return EchoOutput::Event(event);
            }
            match &self.trial {
                Some(trial) if trial.until > now => return EchoOutput::Timeout(trial.until, "try this size again"),
                Some(trial) if trial.tries >= TRIES => self.conclude(Verdict::Vanishes),
                Some(_) => return self.ask(now),
                None => match self.next_size() {
                    Some(size) => {
                        self.trial = Some(Trial { size, tries: 0, first_sequence: self.report.requests + 1, sent: now, until: now });
                    }
                    None => return EchoOutput::Done,
                },
            }
        }
    }

    fn ask(&mut self, now: Instant) -> EchoOutput {
        self.report.requests += 1;
        let patience = self.report.rtt_min.map_or(REPLY_TIMEOUT, |rtt| (rtt * PATIENCE_RTTS).clamp(PATIENCE_MIN, REPLY_TIMEOUT));
        let mut size = 0;
        if let Some(trial) = &mut self.trial {
            trial.tries += 1;
            (trial.sent, trial.until, size) = (now, now + patience, trial.size);
        }
        EchoOutput::Send { echo: Echo { nonce: self.nonce, sequence: self.report.requests }, size }
    }

    /// A reply came; one to an earlier try of the same size is as good, but measures nothing.
    pub fn handle_reply(&mut self, echo: Echo, now: Instant) {
        let Some(trial) = self.trial.as_ref().filter(|t| echo.nonce == self.nonce && echo.sequence >= t.first_sequence) else { return };
        self.report.replies += 1;
        if echo.sequence == self.report.requests {
            let rtt = now.saturating_duration_since(trial.sent);
            self.report.rtt_min = Some(self.report.rtt_min.map_or(rtt, |min| min.min(rtt)));
        }
        self.conclude(Verdict::Passes);
    }

    /// A request did not leave this member: no point in trying again.
    pub fn handle_refused(&mut self, echo: Echo, reason: DropReason) {
        if echo.sequence == self.report.requests {
            self.conclude(Verdict::Refused(reason));
        }
    }

    /// What was found so far.
    #[must_use]
    pub const fn report(&self) -> &SweepReport {
        &self.report
    }

    fn next_size(&self) -> Option<usize> {
        match self.stage {
            Stage::Smallest => Some(MemberFrame::LEN_MIN),
            Stage::Largest => Some(self.report.promised),
            Stage::Search { passes, fails } => Some(passes.midpoint(fails)),
            Stage::Sample(index) => SAMPLES.get(index).copied(),
            Stage::Beyond => Some(self.report.promised + 1),
            Stage::Done => None,
        }
    }

    fn conclude(&mut self, verdict: Verdict) {
        let Some(trial) = self.trial.take() else { return };
        let size = trial.size;
        self.events.push_back(match verdict {
            Verdict::Passes => EchoEvent::Passes { size },
            Verdict::Vanishes => EchoEvent::Vanishes { size },
            Verdict::Refused(reason) => EchoEvent::Refused { sequence: self.report.requests, size, reason },
        });
        self.record(size, verdict);
        self.stage = self.after(size, verdict == Verdict::Passes);
    }

    fn record(&mut self, size: usize, verdict: Verdict) {
        let beyond = size > self.report.promised;
        match verdict {
            Verdict::Passes if !beyond => self.report.largest = self.report.largest.max(Some(size)),
            Verdict::Passes => {}
            Verdict::Refused(reason) if beyond => self.report.beyond = Some(reason),
            Verdict::Refused(reason) => {
                if self.report.refused.is_none_or(|(from, _)| size < from) {
                    self.report.refused = Some((size, reason));
                }
            }
            Verdict::Vanishes if !beyond && Some(size) < self.report.largest => self.report.holes.push(size),
            Verdict::Vanishes => {}
        }
    }

    fn after(&self, size: usize, passed: bool) -> Stage {
        match (self.stage, passed) {
            (Stage::Smallest, true) => Stage::Largest,
            (Stage::Smallest, false) => Stage::Done,
            (Stage::Largest, true) => self.sample_from(0),
            (Stage::Largest, false) => search(MemberFrame::LEN_MIN, size),
            (Stage::Search { fails, .. }, true) => search(size, fails),
            (Stage::Search { passes, .. }, false) => search(passes, size),
            (Stage::Sample(index), _) => self.sample_from(index + 1),
            (Stage::Beyond | Stage::Done, _) => Stage::Done,
        }
    }

    fn sample_from(&self, index: usize) -> Stage {
        match SAMPLES.get(index) {
            Some(size) if *size < self.report.promised => Stage::Sample(index),
            _ if self.report.promised < FRAME_LEN_MAX => Stage::Beyond,
            _ => Stage::Done,
        }
    }
}

fn search(passes: usize, fails: usize) -> Stage {
    if fails - passes > 1 { Stage::Search { passes, fails } } else { Stage::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a path does to a frame of some size.
    #[derive(Clone, Copy)]
    enum Path {
        Carries,
        Eats,
        Refuses,
    }

    /// Runs a sweep over a path whose round trip is 20 ms; every `lost`-th request vanishes whatever its size.
    fn sweep(path: impl Fn(usize) -> Path, lost: u32) -> SweepReport {
        let (mut sweep, mut now) = (Sweep::new(3, LanMtu::new(1417).unwrap()), Instant::now());
        for _ in 0..10_000 {
            match sweep.poll_output(now) {
                EchoOutput::Send { echo, size } => match path(size) {
                    Path::Refuses => sweep.handle_refused(echo, DropReason::TapMtuExceeded),
                    Path::Carries if echo.sequence % lost != 0 => {
                        now += Duration::from_millis(20);
                        sweep.handle_reply(echo, now);
                    }
                    _ => {}
                },
                EchoOutput::Timeout(at, _) => now = at,
                EchoOutput::Event(_) => {}
                EchoOutput::Done => return sweep.report().clone(),
            }
        }
        panic!("a sweep ends");
    }

    fn up_to(largest: usize) -> impl Fn(usize) -> Path {
        move |size| if size <= largest { Path::Carries } else { Path::Eats }
    }

    #[test]
    fn a_whole_path_passes_every_size_and_the_next_is_refused_here() {
        let report = sweep(|size| if size <= 1431 { Path::Carries } else { Path::Refuses }, u32::MAX);
        assert!(report.is_whole());
        assert_eq!((report.largest, report.beyond, report.refused), (Some(1431), Some(DropReason::TapMtuExceeded), None));
        assert_eq!((report.requests, report.rtt_min), (9, Some(Duration::from_millis(20))));
    }

    #[test]
    fn a_black_hole_is_found_to_the_byte_wherever_it_is() {
        for largest in [60, 61, 700, 1294, 1429, 1430] {
            let report = sweep(up_to(largest), u32::MAX);
            assert_eq!((report.largest, report.is_whole()), (Some(largest), false));
            assert!(report.requests < 70, "{} requests", report.requests);
        }
    }

    #[test]
    fn loss_makes_no_black_hole() {
        assert!(sweep(|size| if size <= 1431 { Path::Carries } else { Path::Refuses }, 3).is_whole());
        assert_eq!(sweep(up_to(1000), 3).largest, Some(1000));
    }

    #[test]
    fn what_this_member_itself_refuses_is_told_apart_from_what_vanishes() {
        let report = sweep(|size| if size <= 1300 { Path::Carries } else { Path::Refuses }, u32::MAX);
        assert_eq!((report.largest, report.refused), (Some(1300), Some((1301, DropReason::TapMtuExceeded))));
    }

    #[test]
    fn silence_ends_at_once_and_a_hole_in_the_middle_is_named() {
        let silent = sweep(|_| Path::Eats, u32::MAX);
        assert_eq!((silent.largest, silent.requests), (None, TRIES));
        let holed = sweep(|size| if size == 590 { Path::Eats } else { Path::Carries }, u32::MAX);
        assert_eq!((holed.largest, holed.holes, holed.beyond), (Some(1431), vec![590], None));
    }
}
