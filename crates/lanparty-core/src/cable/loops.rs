//! Loops that a cable is part of: two cables between the same two LANs, or a LAN that both its ends are plugged into
//! (docs/decisions/0015-loops.md).
//!
//! An end sends probes into its LAN, and a cable carries those of newer cables only. So a probe that comes back through its own cable
//! has gone round over older ones: the newest cable of a loop knows that it is on one, and no other does. It is blocked: then it
//! carries its own probes only, and is opened again when they do not come back any more.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lanparty_proto::{DropReason, Frame, LoopProbe, MacAddr, PortName, PortRank};
use serde::Serialize;

use crate::mac_moves::{MacMoves, Moved, Side};

/// How often probes go out: until bridges have settled, …
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// … while something is new, or the cable is blocked, …
const FRESH_INTERVAL: Duration = Duration::from_secs(1);
/// … and always: as often as a spanning tree says hello (IEEE 802.1D §8.10.2), so that a loop is blocked within three seconds.
const STEADY_INTERVAL: Duration = Duration::from_secs(2);
const FIRST_FOR: Duration = Duration::from_secs(2);
const FRESH_FOR: Duration = Duration::from_secs(30);
/// Addresses that move do not make an end send faster than this.
const PROMPT_INTERVAL: Duration = Duration::from_millis(100);
/// Another port is there for so long after a probe: more than two steady intervals.
const HEARD_FOR: Duration = Duration::from_secs(5);
/// Without its own probe for so long a blocked cable is opened, at first …
const QUIET_MIN: Duration = Duration::from_secs(5);
/// … and twice as long each time that the loop is back soon, up to this.
const QUIET_MAX: Duration = Duration::from_secs(320);
/// A loop that comes back later than this is a new one.
const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// For so long a blocked end waits for older ports to show themselves before it says who goes on.
const NAME_WITHIN: Duration = Duration::from_millis(500);
/// What strangers on a LAN can cause to be said is said no more often.
const SAID_INTERVAL: Duration = Duration::from_secs(1);
/// Probes that are known again, of this end and of others: a minute of them, and more.
const NONCES_MAX: usize = 64;
/// Other ports that are remembered. A LAN with more cables has other problems.
const PORTS_MAX: usize = 32;

/// What an end has to say to its owner, and to the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoopNews {
    /// This cable carries nothing from now on: frames come back. An older cable on the same LAN, when there is one.
    Blocked(Option<PortName>),
    /// A newer cable on the same LAN is blocked.
    BlockedBeside(PortName),
    /// The loop is gone: this cable carries again.
    Cleared,
    /// The LAN sends its own frames back by itself: not by a loop that this cable is part of.
    Reflected,
    /// An address changes sides too often.
    Moving(MacAddr),
}

/// For `lanparty status`.
#[derive(Clone, Copy, Debug, Serialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct LoopReport {
    pub blocked: bool,
    pub blocked_there: bool,
    pub probes_sent: u64,
    pub probes_back: u64,
    pub macs_damped: usize,
}

/// Another cable's port on this end's LAN, or beyond.
#[derive(Clone, Copy)]
struct Heard {
    rank: PortRank,
    name: PortName,
    is_blocked: bool,
    /// That it is blocked was said.
    is_said: bool,
    at: Instant,
}

/// What one end knows of loops.
pub struct CableLoops {
    name: PortName,
    mac: MacAddr,
    rank: Option<PortRank>,
    /// When a probe came back last, while blocked.
    blocked: Option<Instant>,
    /// It is blocked, and that is said at the latest then.
    say_by: Option<Instant>,
    is_blocked_there: bool,
    sent: VecDeque<[u8; 16]>,
    passed: VecDeque<[u8; 16]>,
    heard: BTreeMap<u64, Heard>,
    moves: MacMoves,
    news: VecDeque<LoopNews>,
    due: Instant,
    sent_at: Option<Instant>,
    first_until: Instant,
    fresh_until: Instant,
    quiet: Duration,
    cleared_at: Option<Instant>,
    said_moving: Option<Instant>,
    said_beside: Option<Instant>,
    has_said_reflected: bool,
    probes_sent: u64,
    probes_back: u64,
}

impl CableLoops {
    /// An end whose TAP has that name and that MAC address.
    #[must_use]
    pub fn new(name: &str, mac: MacAddr, now: Instant) -> Self {
        Self {
            name: PortName::new(name),
            mac,
            rank: None,
            blocked: None,
            say_by: None,
            is_blocked_there: false,
            sent: VecDeque::new(),
            passed: VecDeque::new(),
            heard: BTreeMap::new(),
            moves: MacMoves::default(),
            news: VecDeque::new(),
            due: now,
            sent_at: None,
            first_until: now,
            fresh_until: now,
            quiet: QUIET_MIN,
            cleared_at: None,
            said_moving: None,
            said_beside: None,
            has_said_reflected: false,
            probes_sent: 0,
            probes_back: 0,
        }
    }

    /// The cable is plugged in, anew.
    pub fn plug_in(&mut self, rank: PortRank, now: Instant) {
        self.rank = Some(rank);
        (self.blocked, self.say_by, self.is_blocked_there) = (None, None, false);
        self.heard.clear();
        self.has_said_reflected = false;
        self.moves.forgive();
        self.look_again(now);
    }

    /// The cable is unplugged.
    pub fn unplug(&mut self) {
        self.rank = None;
        (self.blocked, self.say_by, self.is_blocked_there) = (None, None, false);
    }

    /// The LAN is another one: its interface went into a bridge, or out of one.
    pub fn look_again(&mut self, now: Instant) {
        (self.first_until, self.fresh_until) = (now + FIRST_FOR, now + FRESH_FOR);
        self.due = now;
    }

    /// The other end says whether it carries nothing.
    pub fn set_blocked_there(&mut self, blocked: bool, now: Instant) {
        self.is_blocked_there = blocked;
        self.moves.forgive();
        self.look_again(now);
    }

    /// Whether a frame that came in on `side` may pass.
    ///
    /// # Errors
    /// [`DropReason::Loop`] while the cable carries nothing, and for a probe that has come back; [`DropReason::MacMoves`].
    pub fn judge(&mut self, frame: &Frame<'_>, side: Side, now: Instant) -> Result<(), DropReason> {
        if let Some(probe) = LoopProbe::read(frame) {
            return self.judge_probe(probe, side, now);
        }
        if self.carries_nothing() {
            return Err(DropReason::Loop);
        }
        match self.moves.note(frame.src(), side, now) {
            Moved::No => Ok(()),
            Moved::Yes => {
                self.be_prompt(now);
                Ok(())
            }
            Moved::Damped => Err(DropReason::MacMoves),
            Moved::TooOften => {
                self.be_prompt(now);
                if is_time(&mut self.said_moving, now) {
                    self.tell(LoopNews::Moving(frame.src()));
                }
                Err(DropReason::MacMoves)
            }
        }
    }

    fn judge_probe(&mut self, probe: LoopProbe, side: Side, now: Instant) -> Result<(), DropReason> {
        if self.sent.contains(&probe.nonce) {
            match side {
                Side::Link => self.came_back(now),
                Side::Device if !std::mem::replace(&mut self.has_said_reflected, true) => self.tell(LoopNews::Reflected),
                Side::Device => {}
            }
            return Err(DropReason::Loop);
        }
        // Once is enough, or it would go round for ever.
        if self.passed.contains(&probe.nonce) {
            return Err(DropReason::Loop);
        }
        remember(&mut self.passed, probe.nonce);
        let Some(own) = self.rank else { return Ok(()) };
        let may_pass = if own.port == probe.rank.port {
            // The other end's has come round and goes home; through the cable only one can come that this end has forgotten.
            side == Side::Device
        } else {
            self.hear(probe, side, now);
            own < probe.rank && !self.carries_nothing()
        };
        if may_pass { Ok(()) } else { Err(DropReason::Loop) }
    }

    fn carries_nothing(&self) -> bool {
        self.is_blocked_there || self.blocked.is_some()
    }

    fn hear(&mut self, probe: LoopProbe, side: Side, now: Instant) {
        if self.heard.len() >= PORTS_MAX && !self.heard.contains_key(&probe.rank.port) {
            self.heard.retain(|_, heard| now.saturating_duration_since(heard.at) < HEARD_FOR);
            if self.heard.len() >= PORTS_MAX {
                return;
            }
        }
        let (rank, name, is_blocked) = (probe.rank, probe.name, probe.is_blocked);
        let before = self.heard.get(&rank.port).filter(|before| before.is_blocked).map(|before| before.is_said);
        if is_blocked && before.is_none() {
            // What went round is why addresses moved.
            self.moves.forgive();
            self.be_prompt(now);
        }
        // Named is the end on this end's own LAN, whichever was heard first.
        let mut is_said = is_blocked && before.unwrap_or_default();
        if is_blocked && !is_said && side == Side::Device && is_time(&mut self.said_beside, now) {
            self.tell(LoopNews::BlockedBeside(name));
            self.be_prompt(now);
            is_said = true;
        }
        self.heard.insert(rank.port, Heard { rank, name, is_blocked, is_said, at: now });
    }

    fn came_back(&mut self, now: Instant) {
        self.probes_back += 1;
        if self.blocked.replace(now).is_some() {
            return;
        }
        let is_flapping = self.cleared_at.is_some_and(|at| now.saturating_duration_since(at) < FLAP_WINDOW);
        self.quiet = if is_flapping { (self.quiet * 2).min(QUIET_MAX) } else { QUIET_MIN };
        self.moves.forgive();
        self.look_again(now);
        self.say_by = Some(now + NAME_WITHIN);
    }

    /// The newest of the older ports on this LAN that carry: one of those over which the probes come back.
    fn older(&self, now: Instant) -> Option<PortName> {
        let is_here = |heard: &&Heard| now.saturating_duration_since(heard.at) < HEARD_FOR;
        let is_older = |heard: &&Heard| Some(heard.rank) < self.rank && !heard.is_blocked;
        self.heard.values().filter(is_here).filter(is_older).max_by_key(|heard| heard.rank).map(|heard| heard.name)
    }

    /// Sends a probe soon, without being driven to send many.
    fn be_prompt(&mut self, now: Instant) {
        let soon = self.sent_at.map_or(now, |at| at + PROMPT_INTERVAL);
        self.due = self.due.min(soon.max(now));
    }

    /// When [`Self::handle_timeout`] wants to be called; nothing while unplugged.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.rank?;
        let opened = self.blocked.map(|last| last + self.quiet);
        Some([opened, self.say_by].into_iter().flatten().fold(self.due, Instant::min))
    }

    /// Time has passed. The frame to put into the TAP, when one is due; `nonce` is fresh and random.
    pub fn handle_timeout(&mut self, nonce: [u8; 16], now: Instant) -> Option<Vec<u8>> {
        if self.blocked.is_some_and(|last| now.saturating_duration_since(last) >= self.quiet) {
            self.clear(now);
        }
        let older = self.older(now);
        if self.say_by.take_if(|by| older.is_some() || now >= *by).is_some() {
            self.tell(LoopNews::Blocked(older));
        }
        if now < self.due {
            return None;
        }
        let rank = self.rank?;
        (self.due, self.sent_at) = (now + self.interval(now), Some(now));
        remember(&mut self.sent, nonce);
        self.probes_sent += 1;
        Some(LoopProbe { nonce, rank, name: self.name, is_blocked: self.carries_nothing() }.encode(self.mac))
    }

    fn interval(&self, now: Instant) -> Duration {
        match () {
            () if now < self.first_until => FIRST_INTERVAL,
            () if now < self.fresh_until || self.blocked.is_some() => FRESH_INTERVAL,
            () => STEADY_INTERVAL,
        }
    }

    fn clear(&mut self, now: Instant) {
        (self.blocked, self.say_by, self.cleared_at) = (None, None, Some(now));
        self.moves.forgive();
        self.look_again(now);
        self.tell(LoopNews::Cleared);
    }

    fn tell(&mut self, news: LoopNews) {
        // Whoever does not listen hears the newest.
        if self.news.len() >= PORTS_MAX {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    /// What happened, in order.
    pub fn poll_news(&mut self) -> Option<LoopNews> {
        self.news.pop_front()
    }

    /// Without its probe for how long a blocked cable is opened.
    #[must_use]
    pub const fn quiet(&self) -> Duration {
        self.quiet
    }

    /// What is to be shown.
    #[must_use]
    pub fn report(&self, now: Instant) -> LoopReport {
        LoopReport {
            blocked: self.blocked.is_some(),
            blocked_there: self.is_blocked_there,
            probes_sent: self.probes_sent,
            probes_back: self.probes_back,
            macs_damped: self.moves.damped(now),
        }
    }
}

/// Whether this may be said again.
fn is_time(said: &mut Option<Instant>, now: Instant) -> bool {
    let is_time = said.is_none_or(|at| now.saturating_duration_since(at) >= SAID_INTERVAL);
    if is_time {
        *said = Some(now);
    }
    is_time
}

fn remember(nonces: &mut VecDeque<[u8; 16]>, nonce: [u8; 16]) {
    if nonces.len() >= NONCES_MAX {
        nonces.pop_front();
    }
    nonces.push_back(nonce);
}

#[cfg(test)]
mod tests;
