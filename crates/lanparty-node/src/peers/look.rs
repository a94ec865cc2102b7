//! An eye on every direct link: whether it answers, and whether frames take it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use lanparty_core::{PairUse, Roster};
use lanparty_proto::{DatagramBudget, IPV6_LAN_MTU_MIN, MacAddr, MemberId};
use tracing::{debug, info};

use super::peer::Peer;
use super::{BUSY_LOOK_INTERVAL, Peers, QUIET_LOOK_INTERVAL, REST, SHORT_MAX, SILENT_AFTER};

impl Peers {
    /// Looks at every link, when so many lines carry our frames to the relay. Members to whom frames go directly from now on: the relay's
    /// way is to be ended for them first. Whom the relay does not know (`is_only_here`) it does not reach either, whatever it takes more of.
    pub(crate) fn look(&mut self, roster: &Roster, own_lines: u8, is_only_here: impl Fn(MemberId) -> bool, now: Instant) -> Vec<MacAddr> {
        self.set_lines(own_lines);
        self.follow_uplinks();
        self.leave_unwanted(now);
        self.end_unproven(now);
        self.dial_due(now);
        let (mut begin, mut is_busy) = (vec![], false);
        for (id, peer) in &mut self.live {
            peer.tell_lines(own_lines);
            let silent = peer.is_silent(now);
            is_busy |= peer.is_busy();
            if silent {
                peer.rests_until = now + REST;
            }
            let (fits, is_short) = (peer.fits(roster), peer.is_short(own_lines, now));
            let does_less = (!fits || is_short == Some(true)) && !is_only_here(*id);
            if peer.carries && (silent || does_less) {
                peer.carries = false;
                debug!(silent, fits, "the direct link to peer {id} does less than the relay; frames go by the relay");
            } else if !peer.carries && fits && peer.is_ready() && is_short.is_none() && now >= peer.rests_until {
                peer.carries = true;
                if let Some(member) = roster.member(*id) {
                    info!(
                        "frames to peer {id} go directly{}",
                        peer.link.remote_address().map_or_else(String::new, |a| format!(", to {a}"))
                    );
                    begin.push(member.mac);
                }
            }
        }
        self.look_at = now + if is_busy { BUSY_LOOK_INTERVAL } else { QUIET_LOOK_INTERVAL };
        begin
    }

    fn set_lines(&mut self, lines: u8) {
        self.own_lines = lines;
        if let Some(own) = &self.own {
            own.lines.store(lines, Ordering::Relaxed);
        }
    }

    /// The relay is gone: whoever can be reached directly is, however few lines lead there.
    pub(crate) fn without_relay(&mut self, roster: &Roster, now: Instant) {
        self.set_lines(0);
        for peer in self.live.values_mut() {
            peer.tell_lines(0);
            peer.carries |= peer.fits(roster) && peer.is_ready() && now >= peer.rests_until;
        }
    }

    /// A link that its member's new addresses have left behind makes place for another one.
    pub(super) fn end_unproven(&mut self, now: Instant) {
        self.live.retain(|id, peer| {
            let Some((until, packets)) = peer.to_prove else { return true };
            let is_heard = peer.link.received_packets() > packets;
            if is_heard {
                peer.to_prove = None;
            } else if now >= until {
                info!("the direct link to peer {id} is silent since an address changed; it is dialled anew");
            }
            is_heard || now < until
        });
    }

    /// The smallest direct path that is worth a smaller LAN MTU: it answers, and IPv6 fits.
    pub(crate) fn smallest(&self, now: Instant) -> Option<DatagramBudget> {
        let answers = |peer: &&Peer| peer.carries || (now >= peer.rests_until && peer.shared.settled.load(Ordering::Relaxed));
        let worth = |budget: &DatagramBudget| budget.lan_mtu().is_some_and(|mtu| mtu.bytes() >= IPV6_LAN_MTU_MIN);
        self.live.values().filter(answers).map(|peer| peer.link.budget()).filter(worth).min()
    }
}

impl Peer {
    /// Whether what was sent has been without an answer for too long; each of several paths is watched for itself.
    fn is_silent(&mut self, now: Instant) -> bool {
        if self.bond.is_some() {
            return self.alive().is_empty();
        }
        let (received, sent) = (self.link.received_packets(), self.link.datagrams_sent());
        let patience = SILENT_AFTER + self.link.rtt().unwrap_or_default() * 4;
        if received != self.heard.0 {
            (self.heard, self.unanswered) = ((received, sent), None);
        } else if sent > self.heard.1 {
            self.unanswered.get_or_insert(now);
        }
        self.unanswered.is_some_and(|since| now.saturating_duration_since(since) > patience)
    }

    fn is_busy(&mut self) -> bool {
        let sent = self.link.datagrams_sent();
        self.unanswered.is_some() || sent > std::mem::replace(&mut self.sent_at_look, sent)
    }

    fn fits(&self, roster: &Roster) -> bool {
        self.link.budget().lan_mtu().is_some_and(|mtu| mtu >= roster.lan_mtu())
    }

    fn is_ready(&self) -> bool {
        self.shared.settled.load(Ordering::Relaxed) && self.link.received_packets() > 0
    }

    /// Whether the way by the relay has more lines, and for how long: nothing, for a moment, or for good.
    fn is_short(&mut self, own_lines: u8, now: Instant) -> Option<bool> {
        let is_enough = PairUse { alive: &self.carrying(), own_lines, their_lines: self.their_lines() }.covers();
        self.short_since = (!is_enough).then(|| self.short_since.unwrap_or(now));
        self.short_since.map(|since| now.saturating_duration_since(since) >= SHORT_MAX)
    }
}
