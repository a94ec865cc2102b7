//! Which way a membership takes to its relay, and when another one is tried: up to QUIC, down to the stream, or over to a fresh
//! connection of the same kind.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{Climb, PathSize};

/// QUIC that hears nothing for this long is in trouble: heartbeats come every second, so one and a half are missing.
const SILENT_AFTER: Duration = Duration::from_millis(1600);
/// Loss is judged over this long…
const WINDOW: Duration = Duration::from_secs(1);
/// …when at least so many packets were sent in it…
const WINDOW_PACKETS_MIN: u64 = 25;
/// …and is useless when in two such windows in a row more than this many of a hundred were lost. Congestion loses a few; the padding
/// of a path that shrinks is over within one window.
const LOSS_PERCENT_MAX: u64 = 30;
/// First pause before QUIC is tried again, and the longest.
const UP_FIRST: Duration = Duration::from_secs(5);
const UP_LONGEST: Duration = Duration::from_secs(120);
/// QUIC that lasted this long was worth trying.
const UP_PROVEN: Duration = Duration::from_secs(60);
/// First pause between two tries of the stream while QUIC is in trouble, and the longest.
const DOWN_FIRST: Duration = Duration::from_secs(2);
const DOWN_LONGEST: Duration = Duration::from_secs(60);

/// What carries a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Stream,
    /// Several of them, by several uplinks.
    Bond,
}

impl Carrier {
    /// For people.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Quic => "QUIC (UDP)",
            Self::Stream => "TLS (TCP)",
            Self::Bond => "a bond of several uplinks",
        }
    }
}

/// What a link did so far.
#[derive(Clone, Copy, Debug)]
pub struct WayFacts {
    /// What its path takes.
    pub size: PathSize,
    /// Packets sent.
    pub sent: u64,
    /// Packets lost, those apart that probed for a larger size.
    pub lost: u64,
    /// Packets received.
    pub received: u64,
}

/// What to try. The link in use stays until that has succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A fresh connection of the same kind, if it takes larger datagrams.
    Larger,
    /// QUIC, if it does better than it did.
    Up,
    /// The stream.
    Down,
}

/// Tries one after the other, ever more rarely.
#[derive(Debug)]
struct Pace {
    first: Duration,
    longest: Duration,
    pause: Duration,
    next: Option<Instant>,
}

impl Pace {
    const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, pause: first, next: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|at| now >= at)
    }

    fn wait(&mut self, now: Instant) {
        self.next = Some(now + self.pause);
        self.pause = (self.pause * 2).min(self.longest);
    }

    const fn reset(&mut self) {
        self.pause = self.first;
        self.next = None;
    }
}

/// Watches the way in use.
#[derive(Debug)]
pub struct Ways {
    carrier: Carrier,
    since: Instant,
    climb: Climb,
    heard: (u64, Instant),
    window: Window,
    up: Pace,
    down: Pace,
    /// Why the stream is in use, or was about to be.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Window {
    began: Option<(Instant, u64, u64)>,
    lossy: u32,
    percent: u64,
}

impl Ways {
    /// A membership that began by `carrier`, because of `trouble` when that is not QUIC.
    #[must_use]
    pub fn new(carrier: Carrier, trouble: Option<String>, now: Instant) -> Self {
        let mut ways = Self {
            carrier,
            since: now,
            climb: Climb::new(lanparty_proto::DatagramBudget(0)),
            heard: (0, now),
            window: Window { began: None, lossy: 0, percent: 0 },
            up: Pace::new(UP_FIRST, UP_LONGEST),
            down: Pace::new(DOWN_FIRST, DOWN_LONGEST),
            trouble,
        };
        ways.up.wait(now);
        ways
    }

    /// What carries the membership.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Why not QUIC, in words.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.carrier == Carrier::Stream)
    }

    /// The link in use did `facts` so far. What to try now, if anything; its outcome is to be told.
    pub fn look(&mut self, facts: WayFacts, now: Instant) -> Option<Step> {
        match self.carrier {
            Carrier::Stream if self.up.is_due(now) => {
                self.up.wait(now);
                Some(Step::Up)
            }
            // A bond changes its paths by itself.
            Carrier::Stream | Carrier::Bond => None,
            Carrier::Quic => self.look_at_quic(facts, now),
        }
    }

    fn look_at_quic(&mut self, facts: WayFacts, now: Instant) -> Option<Step> {
        if facts.received != self.heard.0 {
            self.heard = (facts.received, now);
        }
        if now.saturating_duration_since(self.since) >= UP_PROVEN {
            self.up.reset();
        }
        let silence = now.saturating_duration_since(self.heard.1);
        let trouble = if silence >= SILENT_AFTER {
            Some("UDP brings nothing back from the relay any more".to_owned())
        } else if self.window.is_lossy(facts, now) {
            Some(format!("UDP loses {} of 100 packets on the way to the relay", self.window.percent))
        } else {
            None
        };
        match trouble {
            Some(trouble) if self.down.is_due(now) => {
                self.down.wait(now);
                self.trouble = Some(trouble);
                Some(Step::Down)
            }
            Some(_) => None,
            None => {
                if self.window.lossy == 0 {
                    self.down.reset();
                }
                self.climb.look(facts.size, now).then_some(Step::Larger)
            }
        }
    }

    /// The try succeeded: `carrier` carries the membership from now on.
    pub fn moved(&mut self, carrier: Carrier, now: Instant) {
        if carrier != self.carrier {
            self.since = now;
            self.climb = Climb::new(lanparty_proto::DatagramBudget(0));
            // What QUIC has to prove before it is trusted again outlasts a try that did not hold.
            self.up.wait(now);
            self.down.reset();
        }
        self.carrier = carrier;
        self.heard = (0, now);
        self.window = Window { began: None, lossy: 0, percent: 0 };
    }

    /// QUIC was tried and did not do: why not, in words.
    pub fn not_up(&mut self, why: String) {
        self.trouble = Some(why);
    }
}

impl Window {
    /// Whether the last two windows lost too much.
    fn is_lossy(&mut self, facts: WayFacts, now: Instant) -> bool {
        let (began, sent, lost) = *self.began.get_or_insert((now, facts.sent, facts.lost));
        if now.saturating_duration_since(began) >= WINDOW {
            let (sent, lost) = (facts.sent.saturating_sub(sent), facts.lost.saturating_sub(lost));
            if sent >= WINDOW_PACKETS_MIN {
                self.percent = (lost * 100 / sent).min(100);
                self.lossy = if self.percent > LOSS_PERCENT_MAX { self.lossy + 1 } else { 0 };
            }
            self.began = Some((now, facts.sent, facts.lost));
        }
        self.lossy >= 2
    }
}

#[cfg(test)]
mod tests {
    use lanparty_proto::DatagramBudget;

    use super::*;

    const SIZE: PathSize = PathSize::settled(DatagramBudget(1434));
    const LOOK: Duration = Duration::from_millis(100);

    /// Looks every 100 ms for `span`; each try with its time. `facts` says sent, lost and received at a time.
    fn watch(ways: &mut Ways, start: Instant, span: Duration, facts: impl Fn(f64) -> (f64, f64, f64)) -> Vec<(f64, Step)> {
        let mut tries = vec![];
        let mut at = Duration::ZERO;
        while at < span {
            let (sent, lost, received) = facts(at.as_secs_f64());
            let facts = WayFacts { size: SIZE, sent: sent as u64, lost: lost as u64, received: received as u64 };
            if let Some(step) = ways.look(facts, start + at) {
                tries.push((at.as_secs_f64(), step));
            }
            at += LOOK;
        }
        tries
    }

    fn quic() -> (Ways, Instant) {
        let start = Instant::now();
        (Ways::new(Carrier::Quic, None, start), start)
    }

    #[test]
    fn a_good_way_is_kept_whatever_it_carries() {
        for rate in [2.0, 100.0, 50_000.0] {
            let (mut ways, start) = quic();
            let tries = watch(&mut ways, start, Duration::from_secs(600), |t| (t * rate, t * rate * 0.05, t * rate));
            assert!(tries.is_empty(), "{rate} packets a second, five of a hundred lost: {tries:?}");
        }
    }

    #[test]
    fn a_silent_way_is_left_before_it_counts_as_dead() {
        let (mut ways, start) = quic();
        let tries = watch(&mut ways, start, Duration::from_secs(13), |t| (t * 50.0, 0.0, t.min(10.0) * 50.0));
        let (at, step) = tries[0];
        assert!(step == Step::Down && (11.5..12.0).contains(&at), "{tries:?}");
        ways.moved(Carrier::Stream, start + Duration::from_secs(13));
        assert!(ways.trouble().unwrap().contains("nothing back"));
    }

    #[test]
    fn a_way_that_loses_half_is_left_within_some_seconds_and_one_bad_moment_is_not() {
        let (mut ways, start) = quic();
        let tries = watch(&mut ways, start, Duration::from_secs(10), |t| (t * 100.0, (t - 5.0).max(0.0) * 50.0, t * 50.0));
        assert!(tries[0].1 == Step::Down && tries[0].0 < 8.0, "{tries:?}");
        let (mut ways, start) = quic();
        let moment = |t: f64| (t * 100.0, ((t - 5.0) * 100.0).clamp(0.0, 80.0), t * 50.0);
        assert!(watch(&mut ways, start, Duration::from_secs(60), moment).is_empty());
    }

    #[test]
    fn a_stream_tries_quic_soon_and_then_rarely() {
        let start = Instant::now();
        let mut ways = Ways::new(Carrier::Stream, Some("UDP does not get through".into()), start);
        let tries = watch(&mut ways, start, Duration::from_secs(3600), |_| (0.0, 0.0, 0.0));
        assert!(tries[0] == (5.0, Step::Up) && (30..36).contains(&tries.len()), "{tries:?}");
        assert_eq!(ways.trouble(), Some("UDP does not get through"));
    }

    #[test]
    fn quic_that_fails_again_soon_is_trusted_less() {
        let start = Instant::now();
        let mut ways = Ways::new(Carrier::Stream, None, start);
        let (mut now, mut pauses) = (start, vec![]);
        for _ in 0..4 {
            let tries = watch(&mut ways, now, Duration::from_secs(300), |_| (0.0, 0.0, 0.0));
            pauses.push(tries[0].0);
            now += Duration::from_secs_f64(tries[0].0);
            ways.moved(Carrier::Quic, now);
            now += Duration::from_secs(3);
            ways.moved(Carrier::Stream, now);
        }
        assert!(pauses.is_sorted() && pauses[3] >= 100.0, "{pauses:?}");
        ways.moved(Carrier::Quic, now);
        watch(&mut ways, now, UP_PROVEN + LOOK * 2, |t| (t, 0.0, t));
        ways.moved(Carrier::Stream, now + UP_PROVEN + LOOK);
        let again = watch(&mut ways, now + UP_PROVEN + LOOK, Duration::from_secs(60), |_| (0.0, 0.0, 0.0));
        assert!(again[0].0 <= 5.1, "what held for a minute is worth a try: {again:?}");
    }

    #[test]
    fn a_stream_that_cannot_be_had_is_not_asked_for_all_the_time() {
        let (mut ways, start) = quic();
        let tries = watch(&mut ways, start, Duration::from_secs(120), |t| (t * 100.0, t * 60.0, t * 40.0));
        assert!((5..10).contains(&tries.len()), "{tries:?}");
    }
}
