//! Other DHCP servers: two on one LAN give machines addresses of either, so this one is silent as long as there is another.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_proto::MacAddr;

/// Before the first answer the LAN is asked so often, a second apart: whoever has a lease to give says so by then.
const PROBES: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Later on: a server may be plugged in at any time.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// One that has answered nobody for so long is gone: two questions missed.
const GONE_AFTER: Duration = Duration::from_secs(150);

/// Another server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rival {
    /// Where its answers come from, when they were seen.
    pub(super) mac: Option<MacAddr>,
    /// What it calls itself.
    pub(super) server: Option<Ipv4Addr>,
    /// Behind another gateway of the room.
    pub(super) is_elsewhere: bool,
}

impl Rival {
    /// Why nobody is answered.
    pub(super) fn in_words(&self) -> String {
        let mac = self.mac.map_or_else(String::new, |mac| format!(" with MAC {mac}"));
        let server = self.server.map_or_else(String::new, |server| format!(" at {server}"));
        let place = if self.is_elsewhere { "another LAN of the room has a DHCP server" } else { "this LAN has a DHCP server" };
        format!("{place} already{server}{mac}, and machines would get addresses of either: switch one of the two off")
    }
}

/// What is known of other servers.
pub(super) struct Rivals {
    asked: u8,
    next: Instant,
    seen: Option<(Rival, Instant)>,
}

impl Rivals {
    /// Nothing yet; asks first.
    pub(super) const fn new(now: Instant) -> Self {
        Self { asked: 0, next: now, seen: None }
    }

    /// Asks anew, as at first: the LAN may be another one.
    pub(super) const fn ask_anew(&mut self, now: Instant) {
        (self.asked, self.next) = (0, now);
    }

    /// Somebody answered. The one that was seen first is spoken of as long as any is there.
    pub(super) fn note(&mut self, rival: Rival, now: Instant) {
        let known = self.current(now).filter(|known| known.mac.is_some() || rival.mac.is_none());
        self.seen = Some((known.unwrap_or(rival), now));
    }

    /// The one that is there now.
    pub(super) fn current(&self, now: Instant) -> Option<Rival> {
        self.seen.filter(|(_, at)| now.saturating_duration_since(*at) < GONE_AFTER).map(|(rival, _)| rival)
    }

    /// Forgets one that is gone, and says so.
    pub(super) fn take_gone(&mut self, now: Instant) -> Option<Rival> {
        self.seen.take_if(|(_, at)| now.saturating_duration_since(*at) >= GONE_AFTER).map(|(rival, _)| rival)
    }

    /// Whether the LAN was asked for long enough.
    pub(super) fn has_asked(&self, now: Instant) -> bool {
        self.asked >= PROBES && (self.asked > PROBES || now >= self.next)
    }

    /// Whether to ask now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let asks = self.asked != PROBES;
        self.asked = self.asked.saturating_add(1).min(PROBES + 1);
        self.next = now + if self.asked <= PROBES { PROBE_INTERVAL } else { LOOK_INTERVAL };
        asks
    }

    pub(super) const fn next(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIVAL: Rival = Rival { mac: Some(MacAddr([2, 0, 0, 0, 0, 5])), server: None, is_elsewhere: false };

    #[test]
    fn the_lan_is_asked_three_times_before_anybody_is_answered_and_once_a_minute_then() {
        let start = Instant::now();
        let (mut rivals, mut now) = (Rivals::new(start), start);
        let mut asked = vec![];
        while now < start + Duration::from_secs(130) {
            if rivals.is_due(now) {
                asked.push(now.duration_since(start).as_secs());
            }
            assert_eq!(rivals.has_asked(now), now >= start + Duration::from_secs(3), "{:?}", now - start);
            now += Duration::from_millis(500);
        }
        assert_eq!(asked, [0, 1, 2, 63, 123]);
    }

    #[test]
    fn a_rival_is_the_same_while_any_is_there_and_gone_after_two_questions_without_an_answer() {
        let start = Instant::now();
        let mut rivals = Rivals::new(start);
        rivals.note(Rival { mac: None, ..RIVAL }, start);
        rivals.note(RIVAL, start);
        rivals.note(Rival { mac: Some(MacAddr([2, 0, 0, 0, 0, 6])), ..RIVAL }, start + LOOK_INTERVAL);
        let gone = start + LOOK_INTERVAL + GONE_AFTER;
        assert_eq!((rivals.current(gone - PROBE_INTERVAL), rivals.take_gone(gone - PROBE_INTERVAL)), (Some(RIVAL), None));
        assert_eq!((rivals.current(gone), rivals.take_gone(gone), rivals.take_gone(gone)), (None, Some(RIVAL), None));
    }
}
