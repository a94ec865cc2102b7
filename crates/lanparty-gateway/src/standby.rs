//! What a gateway does whose room has one already: it listens for that one's sign on its LAN, and stands by behind it when it hears
//! it. Without a sign the two are on different LANs: they are joined where everybody agrees, and else there is nothing to do but to say so.

use std::time::{Duration, Instant};

use lanparty_core::{Neighbours, SIGN_INTERVAL};
use lanparty_node::{Behind, Fault, StandbyLine};
use lanparty_proto::{Control, MacAddr};

/// Time for the other gateway's sign to be heard: two of them, and some.
const LISTEN: Duration = Duration::from_secs(SIGN_INTERVAL.as_secs() * 2 + 1);
/// The sign of a gateway that is watched comes three times in this.
const SILENT_AFTER: Duration = Duration::from_millis(950);
/// Gateways of this LAN that are remembered as its room's own.
const STOOD_BEHIND_MAX: usize = 16;
const ADVICE: &str = "its sign is not heard on this LAN, so it bridges another one. A room has one LAN: stop one of the two, or use another room code, or join the LANs \
     (--join-lans on every gateway, --lans 2 on the relay); on one LAN, this gateway would stand by (is the LAN's cable plugged in? does a switch filter EtherType 0x88B5?)";

/// What is to be done.
pub(crate) enum Verdict {
    Nothing,
    /// Said once.
    StandsBy(Behind),
    /// There is no point in going on.
    GivesUp(Fault),
}

/// Where this gateway stands.
pub(crate) struct Standing {
    line: StandbyLine,
    listening: Option<(Instant, Fault)>,
    /// Since when the LAN has been listened to.
    up_since: Option<Instant>,
    /// Once it has listened for long enough, it tries to join its LAN to the room's: that is the owner's wish, and not tried yet.
    may_join_lans: bool,
    /// The signs that the relay was told of last.
    offered: Vec<MacAddr>,
    said: Option<Behind>,
    stood_behind: Vec<MacAddr>,
    /// It has been in the room, or stood by: it belongs there, and waits for as long as it takes.
    belongs: bool,
}

impl Standing {
    pub(crate) const fn new(line: StandbyLine, joins_lans: bool) -> Self {
        Self {
            line,
            listening: None,
            up_since: None,
            may_join_lans: joins_lans,
            offered: vec![],
            said: None,
            stood_behind: vec![],
            belongs: false,
        }
    }

    /// Refused, because the room has a gateway.
    pub(crate) fn listen(&mut self, fault: Fault, now: Instant) {
        self.listening = Some((now + LISTEN, fault));
    }

    pub(crate) const fn listens(&self) -> bool {
        self.listening.is_some()
    }

    /// Behind whom it stands by now.
    pub(crate) fn behind(&self) -> Option<Behind> {
        self.line.behind()
    }

    pub(crate) fn has_stood_behind(&self, mac: MacAddr) -> bool {
        self.stood_behind.contains(&mac)
    }

    /// Looks at what is heard on the LAN.
    pub(crate) fn look(&mut self, neighbours: &Neighbours, is_in: bool, is_up: bool, now: Instant) -> Verdict {
        let heard = neighbours.gateways(now);
        self.line.set_hears(heard.clone());
        let since = self.up_since.filter(|_| is_up).unwrap_or(now);
        self.up_since = is_up.then_some(since);
        self.line.set_has_listened(now.saturating_duration_since(since) >= LISTEN);
        self.belongs |= is_in || self.line.behind().is_some();
        if let Some((until, fault)) = &self.listening {
            if heard.iter().any(|mac| !self.offered.contains(mac)) || (self.belongs && now >= *until) {
                (self.offered, self.listening) = (heard, None);
            } else if now >= *until && self.may_join_lans {
                (self.may_join_lans, self.listening) = (false, None);
            } else if now >= *until {
                return Verdict::GivesUp(Fault::new(fault.code, fault.cause.clone(), ADVICE));
            }
            return Verdict::Nothing;
        }
        let behind = self.line.behind();
        if let Some(behind) = behind
            && is_up
            && now.saturating_duration_since(neighbours.heard(behind.mac).unwrap_or(behind.since).max(behind.since)) >= SILENT_AFTER
        {
            self.line.say(Control::GatewaySilent);
        }
        match std::mem::replace(&mut self.said, behind) {
            before if before != behind => self.tell(behind),
            _ => Verdict::Nothing,
        }
    }

    fn tell(&mut self, behind: Option<Behind>) -> Verdict {
        self.offered.clear();
        let Some(behind) = behind else { return Verdict::Nothing };
        if !self.stood_behind.contains(&behind.mac) && self.stood_behind.len() < STOOD_BEHIND_MAX {
            self.stood_behind.push(behind.mac);
        }
        Verdict::StandsBy(behind)
    }
}
