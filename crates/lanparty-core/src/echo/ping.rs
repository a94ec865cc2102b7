//! A run of requests of one size at a steady interval, and its figures.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lanparty_proto::{DropReason, Echo};

use super::{EchoEvent, EchoOutput, REPLY_TIMEOUT};

/// What to ask.
#[derive(Clone, Copy, Debug)]
pub struct PingPlan {
    /// Tells this run's replies from others'.
    pub nonce: u64,
    /// Requests in all.
    pub count: u32,
    /// Time between two; never below [`PingPlan::INTERVAL_MIN`].
    pub interval: Duration,
    /// Length of each frame, in bytes.
    pub size: usize,
}

impl PingPlan {
    /// Most requests of one run: an hour at one a second.
    pub const COUNT_MAX: u32 = 3600;
    /// Shortest time between two requests: half of what the other side answers.
    pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingReport {
    /// Requests that were sent, or refused on the way out.
    pub asked: u32,
    /// Requests that were answered in time.
    pub answered: u32,
    /// Shortest round trip.
    pub rtt_min: Option<Duration>,
    /// Mean round trip.
    pub rtt_avg: Option<Duration>,
    /// Longest round trip.
    pub rtt_max: Option<Duration>,
}

/// A run of requests.
pub struct Ping {
    plan: PingPlan,
    next_at: Instant,
    waiting: BTreeMap<u32, Instant>,
    events: VecDeque<EchoEvent>,
    report: PingReport,
    rtt_sum: Duration,
}

impl Ping {
    /// A run that begins now.
    #[must_use]
    pub fn new(plan: PingPlan, now: Instant) -> Self {
        let plan = PingPlan { count: plan.count.min(PingPlan::COUNT_MAX), interval: plan.interval.max(PingPlan::INTERVAL_MIN), ..plan };
        let (waiting, events) = (BTreeMap::new(), VecDeque::new());
        Self { plan, next_at: now, waiting, events, report: PingReport::default(), rtt_sum: Duration::ZERO }
    }

    /// What is to be done, until it is a timeout or the end.
    pub fn poll_output(&mut self, now: Instant) -> EchoOutput {
        self.give_up_late(now);
        if let Some(event) = self.events.pop_front() {
            return EchoOutput::Event(event);
        }
        if self.report.asked < self.plan.count && self.next_at <= now {
            self.report.asked += 1;
            self.waiting.insert(self.report.asked, now);
            self.next_at = now + self.plan.interval;
            return EchoOutput::Send { echo: Echo { nonce: self.plan.nonce, sequence: self.report.asked }, size: self.plan.size };
        }
        let next = (self.report.asked < self.plan.count).then_some(self.next_at);
        let late = self.waiting.values().next().map(|at| *at + REPLY_TIMEOUT);
        match next.into_iter().chain(late).min() {
            Some(at) => EchoOutput::Timeout(at, "ask again, or give a reply up"),
            None => EchoOutput::Done,
        }
    }

    /// A reply came.
    pub fn handle_reply(&mut self, echo: Echo, now: Instant) {
        if echo.nonce != self.plan.nonce {
            return;
        }
        let Some(sent) = self.waiting.remove(&echo.sequence) else { return };
        let rtt = now.saturating_duration_since(sent);
        self.report.answered += 1;
        self.rtt_sum += rtt;
        self.report.rtt_min = Some(self.report.rtt_min.map_or(rtt, |min| min.min(rtt)));
        self.report.rtt_max = Some(self.report.rtt_max.map_or(rtt, |max| max.max(rtt)));
        self.report.rtt_avg = Some(self.rtt_sum / self.report.answered);
        self.events.push_back(EchoEvent::Reply { sequence: echo.sequence, size: self.plan.size, rtt });
    }

    /// A request did not leave this member.
    pub fn handle_refused(&mut self, echo: Echo, reason: DropReason) {
        if self.waiting.remove(&echo.sequence).is_some() {
            self.events.push_back(EchoEvent::Refused { sequence: echo.sequence, size: self.plan.size, reason });
        }
    }

    /// The figures so far.
    #[must_use]
    pub const fn report(&self) -> PingReport {
        self.report
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some((sequence, sent)) = self.waiting.first_key_value().map(|(s, at)| (*s, *at))
            && sent + REPLY_TIMEOUT <= now
        {
            self.waiting.remove(&sequence);
            self.events.push_back(EchoEvent::Lost { sequence, size: self.plan.size });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: PingPlan = PingPlan { nonce: 7, count: 2, interval: Duration::from_millis(100), size: 60 };

    fn echo(sequence: u32) -> Echo {
        Echo { nonce: 7, sequence }
    }

    #[test]
    fn replies_are_measured_and_silence_is_loss() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut ping = Ping::new(PLAN, start);
        assert_eq!(ping.poll_output(start), EchoOutput::Send { echo: echo(1), size: 60 });
        assert!(matches!(ping.poll_output(start), EchoOutput::Timeout(at, _) if at == start + ms(100)));
        ping.handle_reply(Echo { nonce: 8, sequence: 1 }, start + ms(1));
        ping.handle_reply(echo(1), start + ms(20));
        ping.handle_reply(echo(1), start + ms(21));
        let reply = EchoEvent::Reply { sequence: 1, size: 60, rtt: ms(20) };
        assert_eq!(ping.poll_output(start + ms(30)), EchoOutput::Event(reply));
        assert_eq!(ping.poll_output(start + ms(100)), EchoOutput::Send { echo: echo(2), size: 60 });
        assert!(matches!(ping.poll_output(start + ms(100)), EchoOutput::Timeout(at, _) if at == start + ms(1100)));
        let lost = EchoEvent::Lost { sequence: 2, size: 60 };
        assert_eq!(ping.poll_output(start + ms(1100)), EchoOutput::Event(lost));
        assert_eq!(ping.poll_output(start + ms(1100)), EchoOutput::Done);
        let report = ping.report();
        assert_eq!((report.asked, report.answered, report.rtt_avg), (2, 1, Some(ms(20))));
    }

    #[test]
    fn what_does_not_leave_is_said_with_its_reason() {
        let start = Instant::now();
        let mut ping = Ping::new(PingPlan { count: 1, ..PLAN }, start);
        ping.poll_output(start);
        ping.handle_refused(echo(1), DropReason::TapMtuExceeded);
        let refused = EchoEvent::Refused { sequence: 1, size: 60, reason: DropReason::TapMtuExceeded };
        assert_eq!(ping.poll_output(start), EchoOutput::Event(refused));
        assert_eq!(ping.poll_output(start), EchoOutput::Done);
    }

    #[test]
    fn a_run_is_bounded_in_count_and_rate() {
        let start = Instant::now();
        let plan = PingPlan { count: u32::MAX, interval: Duration::ZERO, ..PLAN };
        let ping = Ping::new(plan, start);
        assert_eq!((ping.plan.count, ping.plan.interval), (PingPlan::COUNT_MAX, PingPlan::INTERVAL_MIN));
    }
}
