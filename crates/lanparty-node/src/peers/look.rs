//! An eye on every direct link: whether it answers, and whether frames take it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use lanparty_core::Roster;
use lanparty_proto::{DatagramBudget, IPV6_LAN_MTU_MIN, MacAddr};
use tracing::{debug, info};

use super::peer::Peer;
use super::{BUSY_LOOK_INTERVAL, Peers, QUIET_LOOK_INTERVAL, REST, SILENT_AFTER};

impl Peers {
    /// Looks at every link. Members to whom frames go directly from now on: the relay's way is to be ended for them first.
    pub(crate) fn look(&mut self, roster: &Roster, now: Instant) -> Vec<MacAddr> {
        self.end_unproven(now);
        self.dial_due(now);
        let (mut begin, mut is_busy) = (vec![], false);
        for (id, peer) in &mut self.live {
            let (received, sent) = (peer.link.received_packets(), peer.link.datagrams_sent());
            let patience = SILENT_AFTER + peer.link.rtt().unwrap_or_default() * 4;
            if received != peer.heard.0 {
                (peer.heard, peer.unanswered) = ((received, sent), None);
            } else if sent > peer.heard.1 {
                peer.unanswered.get_or_insert(now);
            }
            is_busy |= peer.unanswered.is_some() || sent > peer.sent_at_look;
            peer.sent_at_look = sent;
            let silent = peer.unanswered.is_some_and(|since| now.saturating_duration_since(since) > patience);
            if silent {
                peer.rests_until = now + REST;
            }
            let fits = peer.link.budget().lan_mtu().is_some_and(|mtu| mtu >= roster.lan_mtu());
            let ready = fits && peer.shared.settled.load(Ordering::Relaxed) && received > 0;
            if peer.carries && (silent || !fits) {
                peer.carries = false;
                debug!("the direct link to peer {id} is silent or too small; frames go by the relay");
            } else if !peer.carries && ready && now >= peer.rests_until {
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
