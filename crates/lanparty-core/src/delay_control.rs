//! Congestion control that keeps a path full and its queue short.
//!
//! CUBIC fills whatever buffer a modem has before it learns anything: 200 ms in front of everybody's game. This one has in flight what
//! the path holds, measured as rate times shortest round trip, and a few milliseconds more. It learns the rate as BBR does
//! (draft-ietf-ccwg-bbr): from acknowledged bytes, packet by packet, the highest of some round trips; the few milliseconds more are what
//! finds a rate that has grown. Loss alone means little, a queue that grows or a loss of every tenth packet does.
//!
//! Pure, so that the simulator runs what the programs run; a driver tells it what its connection hears and loses. How the window is spread
//! over a round trip is the connection's business (RFC 9002 §7.7).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The queue that is kept at the bottleneck: long enough to notice that there is more to have, too short to be felt. Of a long path it
/// is a share, or finding more would take for ever.
const QUEUE_MIN: Duration = Duration::from_millis(3);
/// A wire within a house is not late by milliseconds, as radio is: on a path that short it is so many lengths of the path, at least so
/// long, and no less than so many packets take.
const QUEUE_LENGTHS: u32 = 2;
const QUEUE_SHORTEST: Duration = Duration::from_millis(1);
const QUEUE_PACKETS: f64 = 32.0;
const QUEUE_SHARE: u32 = 12;
const QUEUE_MAX: Duration = Duration::from_millis(40);
/// Least queue that a path with a shallow buffer is left with.
const QUEUE_FLOOR: Duration = Duration::from_millis(1);
/// A rate is believed for so many round trips, and so long at least.
const RATE_ROUNDS: u64 = 8;
/// In the beginning the window doubles with every round, until so many of them have brought less than a quarter more.
const STARTUP_GAIN: f64 = 2.77;
const STARTUP_ROUNDS: u32 = 3;
const STARTUP_GROWTH: f64 = 1.25;
/// Or until more than this share of a round was lost.
const STARTUP_LOSS_MAX: f64 = 0.02;
/// The shortest round trip is looked for anew when none so short was seen for this long, because our own queue may hide it; unless one
/// came that was longer by less than this share of the queue we keep, which no queue of ours is, and by less than a millisecond.
const MIN_RTT_KEPT: Duration = Duration::from_secs(10);
const MIN_RTT_NOISE: Duration = Duration::from_millis(1);
const MIN_RTT_NOISE_SHARE: u32 = 3;
/// For that the window is this share of what the path holds, for so long.
const DRAIN_SHARE: f64 = 0.7;
const DRAIN_TIME: Duration = Duration::from_millis(60);
/// More than this share lost in a round is no noise.
const LOSS_MAX: f64 = 0.1;
const LOSS_CUT: f64 = 0.8;
/// The window in packets: in the beginning, and never less.
const WINDOW_FIRST: u64 = 16;
const WINDOW_MIN: u64 = 4;

/// A queue that stays although it is longer than wanted is somebody else's: the window gives way by this share at most.
const CUT_MAX: f64 = 0.15;
/// Packets leave in bursts of so many, the last of which waits for the others and is what a round trip is measured by. Up to this long
/// that is no queue: who gives way to itself never leaves a window of a few packets.
const BURST_PACKETS: f64 = 10.0;
const BURST_TIME_MAX: f64 = 0.025;
/// Acknowledgements come in bunches, and of few packets late: what is on its way back meanwhile must not stop the sender.
const ACK_DELAY: Duration = Duration::from_millis(5);
const ACK_PACKETS: f64 = 10.0;
const ACK_SLACK: f64 = 2.0;

/// What an acknowledgement says of one packet, see [`DelayControl::acked`].
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "explained where it is taken")]
pub struct Acked {
    pub sent: Instant,
    pub bytes: u64,
    pub app_limited: bool,
    pub rtt: Duration,
    pub rtt_min: Duration,
}

/// What was known from an acknowledgement on: packets that left after it, and before the next one, bring what has arrived since.
#[derive(Debug, Clone, Copy)]
struct Known {
    from: Instant,
    delivered: u64,
    /// When they began to arrive: from then on, or when the first of them left, if nothing was on its way.
    delivered_since: Option<Instant>,
}

/// The controller of one path.
#[derive(Debug, Clone)]
pub struct DelayControl {
    mtu: u64,
    /// The one first that the oldest packet in flight belongs to.
    known: VecDeque<Known>,
    delivered: u64,
    /// The highest rates, in bytes per second, with the round of each, the highest first.
    rates: VecDeque<(u64, f64)>,
    round: u64,
    /// A round has passed when this much is delivered.
    round_ends: u64,
    min_rtt: Option<(Duration, Instant)>,
    /// The shortest since then.
    least_since: Duration,
    /// Smoothed, and less what the other side waited before it answered.
    rtt: Duration,
    /// In this round so far the path was always asked for all it gives.
    is_asked: bool,
    startup: Option<Startup>,
    drain_until: Option<Instant>,
    /// The queue that this path takes, when it has shown that it does not take the usual one.
    queue_limit: Duration,
    round_bytes: u64,
    round_lost: u64,
    window: u64,
}

/// How the beginning goes.
#[derive(Debug, Clone, Copy, Default)]
struct Startup {
    best: f64,
    rounds: u32,
}

impl DelayControl {
    /// A controller of a fresh path with packets of `mtu` bytes.
    #[must_use]
    pub fn new(now: Instant, mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            known: [Known { from: now, delivered: 0, delivered_since: None }].into(),
            delivered: 0,
            rates: VecDeque::new(),
            round: 0,
            round_ends: 0,
            min_rtt: None,
            least_since: Duration::MAX,
            rtt: Duration::ZERO,
            is_asked: true,
            startup: Some(Startup::default()),
            drain_until: None,
            queue_limit: QUEUE_MAX,
            round_bytes: 0,
            round_lost: 0,
            window: WINDOW_FIRST * mtu,
        }
    }

    /// A packet of `bytes` that left at `sent` arrived, as an acknowledgement says. `app_limited`: nobody had more to send. `rtt` is
    /// smoothed and less what the other side waited, `rtt_min` the shortest so far.
    pub fn acked(&mut self, now: Instant, acked: Acked) {
        let Acked { sent, bytes, app_limited, rtt, rtt_min } = acked;
        self.delivered += bytes;
        self.round_bytes += bytes;
        self.note_rtt(now.saturating_duration_since(sent).max(rtt_min), now);
        self.rtt = rtt;
        self.is_asked &= !app_limited;
        let Some((delivered, since)) = self.known_at(sent) else { return };
        let took = now.saturating_duration_since(since).max(rtt_min);
        let rate = (self.delivered - delivered) as f64 / took.as_secs_f64().max(1e-6);
        // What nobody asked more of says only that the path takes that much.
        if !app_limited || self.rate().is_none_or(|before| rate > before) {
            self.note_rate(rate);
        }
        if delivered >= self.round_ends {
            self.end_round();
        }
    }

    /// What had been delivered when a packet left, and since when more was on its way. Of packets that are acknowledged behind later ones
    /// that is not known any more.
    fn known_at(&mut self, sent: Instant) -> Option<(u64, Instant)> {
        while self.known.get(1).is_some_and(|next| next.from <= sent) {
            self.known.pop_front();
        }
        let known = self.known.front_mut().filter(|known| known.from <= sent)?;
        // After a pause nothing was delivered because nothing was sent.
        Some((known.delivered, *known.delivered_since.get_or_insert(sent)))
    }

    /// An acknowledgement has been dealt with; `in_flight` bytes are still on their way.
    pub fn end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let delivered_since = (in_flight > 0).then_some(now);
        let says_nothing = |last: &Known| last.delivered == self.delivered && (last.delivered_since.is_none() || in_flight > 0);
        if !self.known.back().is_some_and(says_nothing) {
            self.known.push_back(Known { from: now, delivered: self.delivered, delivered_since });
        }
        self.set_window(!app_limited, now);
    }

    /// Packets of `bytes` together are lost; `is_persistent`: everything for so long that the path must be learnt anew (RFC 9002 §7.6).
    pub fn lost(&mut self, now: Instant, bytes: u64, is_persistent: bool) {
        self.round_lost += bytes;
        // Lost while a queue stood: the buffer is shallower than the queue we keep.
        let queue = self.queue();
        if queue > QUEUE_FLOOR {
            self.queue_limit = self.queue_limit.min(queue * 3 / 4).max(QUEUE_FLOOR);
        }
        if is_persistent {
            self.rates.clear();
            self.startup = Some(Startup::default());
            self.window = WINDOW_MIN * self.mtu;
        }
        self.set_window(true, now);
    }

    /// Packets have another size from now on.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu);
        self.window = self.window.max(WINDOW_MIN * self.mtu);
    }

    /// Bytes that may be in flight.
    #[must_use]
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// The window in the beginning, in bytes.
    #[must_use]
    pub const fn first_window(&self) -> u64 {
        WINDOW_FIRST * self.mtu
    }

    /// Bytes per second that the path delivers, as far as it was asked.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rates.front().map(|(_, rate)| *rate)
    }

    fn note_rate(&mut self, rate: f64) {
        while self.rates.back().is_some_and(|(_, lower)| *lower <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
        while self.rates.len() > 1 && self.rates.front().is_some_and(|(round, _)| round + RATE_ROUNDS < self.round) {
            self.rates.pop_front();
        }
    }

    fn note_rtt(&mut self, rtt: Duration, now: Instant) {
        self.least_since = self.least_since.min(rtt);
        let Some((least, at)) = self.min_rtt.filter(|(least, _)| rtt > *least) else { return self.set_min_rtt(rtt, now) };
        if now.saturating_duration_since(at) <= MIN_RTT_KEPT || self.drain_until.is_some() {
            return;
        }
        let kept = self.rate().map_or(QUEUE_MIN, |rate| self.queue_wanted(least, rate));
        if self.least_since <= least + (kept / MIN_RTT_NOISE_SHARE).min(MIN_RTT_NOISE) {
            return self.set_min_rtt(self.least_since, now);
        }
        self.drain_until = Some(now + DRAIN_TIME.max(rtt));
        self.set_min_rtt(rtt, now);
    }

    const fn set_min_rtt(&mut self, rtt: Duration, now: Instant) {
        self.min_rtt = Some((rtt, now));
        self.least_since = Duration::MAX;
    }

    /// How long packets wait at the bottleneck, beyond the path's own length.
    fn queue(&self) -> Duration {
        self.min_rtt.map_or(Duration::ZERO, |(least, _)| self.rtt.saturating_sub(least))
    }

    /// The queue that may always stand, at a rate in bytes per second.
    fn queue_wanted(&self, min_rtt: Duration, rate: f64) -> Duration {
        let packets = Duration::from_secs_f64((QUEUE_PACKETS * self.mtu as f64 / rate.max(1.0)).min(QUEUE_MIN.as_secs_f64()));
        let least = (min_rtt * QUEUE_LENGTHS).max(packets).clamp(QUEUE_SHORTEST, QUEUE_MIN);
        (min_rtt / QUEUE_SHARE).clamp(least, QUEUE_MAX).min(self.queue_limit)
    }

    /// The queue that may stand before it is too long.
    fn queue_accepted(&self, min_rtt: Duration, rate: f64) -> Duration {
        let wanted = self.queue_wanted(min_rtt, rate);
        let burst = (BURST_PACKETS * self.mtu as f64 / rate.max(1.0)).min(BURST_TIME_MAX);
        (wanted * 2).max(wanted + Duration::from_secs_f64(burst))
    }

    fn end_round(&mut self) {
        self.round += 1;
        self.round_ends = self.delivered + self.window.min(self.round_bytes.max(self.mtu));
        let lost = self.round_lost as f64 / (self.round_bytes + self.round_lost).max(1) as f64;
        if lost > LOSS_MAX {
            self.rates.iter_mut().for_each(|(_, rate)| *rate *= LOSS_CUT);
            self.startup = None;
        }
        self.queue_limit = (self.queue_limit + Duration::from_micros(100)).min(QUEUE_MAX);
        let is_much = self.round_bytes >= self.first_window();
        (self.round_bytes, self.round_lost) = (0, 0);
        let is_asked = std::mem::replace(&mut self.is_asked, true);
        self.look_at_startup(is_asked, is_much, lost);
    }

    /// Whether the beginning is over: the path is full. A queue says so also when nobody asked for more than what makes it, if that
    /// `is_much`: else it is what others send.
    fn look_at_startup(&mut self, is_asked: bool, is_much: bool, lost: f64) {
        let (Some(rate), Some((least, _)), queue) = (self.rate(), self.min_rtt, self.queue()) else { return };
        let is_queued = queue > self.queue_accepted(least, rate);
        let Some(startup) = &mut self.startup else { return };
        if rate >= startup.best * STARTUP_GROWTH {
            *startup = Startup { best: rate, rounds: 0 };
        } else if is_asked || (is_queued && is_much) {
            startup.rounds += 1;
        }
        let is_full = startup.rounds > 0 && (is_queued || lost > STARTUP_LOSS_MAX);
        if startup.rounds >= STARTUP_ROUNDS || is_full {
            self.startup = None;
        }
    }

    /// What is acknowledged together, and so is in flight for longer than the path is long.
    fn acks_behind(&self, rate: f64) -> f64 {
        (rate * ACK_DELAY.as_secs_f64()).min(ACK_PACKETS * self.mtu as f64).max(ACK_SLACK * self.mtu as f64)
    }

    fn set_window(&mut self, is_asked_for_all: bool, now: Instant) {
        let (Some(rate), Some((min_rtt, _))) = (self.rate(), self.min_rtt) else { return };
        let held = rate * min_rtt.as_secs_f64();
        if self.drain_until.is_some_and(|until| until <= now) {
            self.drain_until = None;
        }
        let wanted = self.queue_wanted(min_rtt, rate);
        // A queue that is longer than wanted is more than the path gave when its rate was measured.
        let excess = self.queue().saturating_sub(self.queue_accepted(min_rtt, rate));
        let target = if self.drain_until.is_some() {
            // A short path holds less than what its acknowledgements wait for.
            held * DRAIN_SHARE + self.acks_behind(rate)
        } else if self.startup.is_some() {
            held * STARTUP_GAIN
        } else {
            let less = (excess.as_secs_f64() / min_rtt.as_secs_f64().max(1e-6)).min(CUT_MAX);
            held * (1.0 - less) + rate * wanted.as_secs_f64() + self.acks_behind(rate)
        };
        let target = (target as u64).max(WINDOW_MIN * self.mtu);
        // Who sends little hears late: that says nothing against the window, unless a queue stands.
        self.window = if is_asked_for_all || self.drain_until.is_some() {
            target
        } else if self.startup.is_none() && !excess.is_zero() {
            target.max(self.window.min(self.first_window()))
        } else {
            target.max(self.window)
        };
        if self.startup.is_some() {
            self.window = self.window.max(WINDOW_FIRST * self.mtu);
        }
    }
}

#[cfg(test)]
mod tests;
