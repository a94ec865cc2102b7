//! Gateways that stand by: on the LAN of the room's gateway, connected, and not in the room. One of them takes its place as soon
//! as it is gone or has lost its LAN (docs/decisions/0016-standby-gateways.md).

use std::collections::BTreeSet;
use std::time::Instant;

use lanparty_proto::{Control, IdentityId, MacAddr, Refusal, RoomCode};

use super::join::Newcomer;
use super::{LinkId, Relay, RelayEvent, RelayOutput};

/// Gateways that stand by in one room: more are a mistake, or an attack.
const STANDBYS_MAX: usize = 4;
/// Gateways of one LAN that are remembered for a room.
const PARTNERS_MAX: usize = 8;

/// One that waits.
pub(super) struct Standby {
    link: LinkId,
    newcomer: Newcomer,
}

/// Those of one room.
#[derive(Default)]
pub(super) struct Standbys {
    waiting: Vec<Standby>,
    /// Who has been seen to share the LAN: they may stand by again while it is down, and nobody hears anybody.
    partners: BTreeSet<IdentityId>,
}

/// A gateway that stands by, for the relay's operator.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct StandbyReport {
    pub mac: MacAddr,
    pub remote: String,
    pub lan_up: bool,
}

impl Relay {
    /// Whether somebody who may not enter as a second gateway may wait: it hears the first one on its LAN, or did.
    pub(super) fn may_stand_by(&self, newcomer: &Newcomer) -> bool {
        let code = &newcomer.hello.room;
        let Some(gateway) = self.rooms.get(code).and_then(|room| room.gateway()) else { return false };
        let standbys = self.standbys.get(code);
        let is_partner = standbys.is_some_and(|s| s.partners.contains(&newcomer.identity) && s.partners.contains(&gateway.identity));
        let others = standbys.map_or(0, |s| s.waiting.iter().filter(|s| s.newcomer.identity != newcomer.identity).count());
        (is_partner || newcomer.hello.hears.contains(&gateway.mac)) && others < STANDBYS_MAX
    }

    /// Lets a gateway wait on its connection.
    pub(super) fn stand_by(&mut self, link: LinkId, newcomer: &Newcomer, now: Instant) {
        let code = newcomer.hello.room.clone();
        let Some((behind, mac, identity)) = self.rooms.get(&code).and_then(|room| room.gateway()).map(|g| (g.id, g.mac, g.identity)) else {
            return;
        };
        let standbys = self.standbys.entry(code.clone()).or_default();
        let (old, waiting) = std::mem::take(&mut standbys.waiting).into_iter().partition(|s| s.newcomer.identity == newcomer.identity);
        standbys.waiting = waiting;
        standbys.waiting.push(Standby { link, newcomer: newcomer.clone() });
        if standbys.partners.len() < PARTNERS_MAX {
            standbys.partners.extend([identity, newcomer.identity]);
        }
        self.outputs.extend(old.into_iter().map(|old: Standby| RelayOutput::Refuse {
            link: old.link,
            code: Refusal::Replaced,
            message: "this identity stands by again".to_owned(),
        }));
        self.outputs.push_back(RelayOutput::Send { link, message: Control::Standby { behind, mac } });
        let (remote, mac) = (newcomer.remote.clone(), newcomer.hello.mac);
        self.outputs.push_back(RelayOutput::Event(RelayEvent::StandsBy { room: code.clone(), mac, remote, behind }));
        self.tell_standbys(&code);
        self.fill_gateways(now);
    }

    /// What one that waits says. Whether the connection is one of theirs.
    pub(super) fn hear_standby(&mut self, link: LinkId, message: &Control) -> bool {
        let Some((code, at)) = self.standby_at(link) else { return false };
        match message {
            Control::LanState { up } => {
                if let Some(standby) = self.standbys.get_mut(&code).and_then(|s| s.waiting.get_mut(at)) {
                    standby.newcomer.hello.lan_up = *up;
                }
            }
            Control::Budget { budget } => {
                if let Some(standby) = self.standbys.get_mut(&code).and_then(|s| s.waiting.get_mut(at)) {
                    standby.newcomer.hello.budget = *budget;
                }
            }
            Control::Bye { .. } => self.forget_standby(link),
            _ => {}
        }
        true
    }

    /// The connection of the gateway behind which `link` waits.
    #[must_use]
    pub fn gateway_before(&self, link: LinkId) -> Option<LinkId> {
        let (code, _) = self.standby_at(link)?;
        self.rooms.get(&code)?.gateway().map(|gateway| gateway.link)
    }

    fn standby_at(&self, link: LinkId) -> Option<(RoomCode, usize)> {
        self.standbys.iter().find_map(|(code, s)| Some((code.clone(), s.waiting.iter().position(|standby| standby.link == link)?)))
    }

    /// Its connection ended.
    pub(super) fn forget_standby(&mut self, link: LinkId) {
        let Some((code, at)) = self.standby_at(link) else { return };
        if let Some(standbys) = self.standbys.get_mut(&code) {
            standbys.waiting.remove(at);
        }
        self.tell_standbys(&code);
    }

    /// Whether the room's gateway should give its sign often.
    fn tell_standbys(&mut self, code: &RoomCode) {
        let count = self.standbys.get(code).map_or(0, |s| s.waiting.len());
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        if let Some(link) = self.rooms.get(code).and_then(|room| room.gateway()).map(|gateway| gateway.link) {
            self.outputs.push_back(RelayOutput::Send { link, message: Control::Standbys { count } });
        }
    }

    /// Lets those who wait in where a room has no gateway, or one whose LAN is down while theirs is up.
    pub(super) fn fill_gateways(&mut self, now: Instant) {
        for code in self.standbys.keys().cloned().collect::<Vec<_>>() {
            self.fill_gateway(&code, now);
        }
        self.standbys.retain(|code, s| !s.waiting.is_empty() || self.rooms.contains_key(code));
    }

    fn fill_gateway(&mut self, code: &RoomCode, now: Instant) {
        let Some(standbys) = self.standbys.get_mut(code) else { return };
        let with_lan = standbys.waiting.iter().position(|s| s.newcomer.hello.lan_up);
        let gateway = self.rooms.get(code).and_then(|room| room.gateway()).map(|gateway| (gateway.link, gateway.lan_up));
        let next = match gateway {
            None => with_lan.or((!standbys.waiting.is_empty()).then_some(0)),
            Some((_, true)) => None,
            Some((_, false)) => with_lan,
        };
        let Some(next) = next else { return };
        let Standby { link, newcomer } = standbys.waiting.remove(next);
        if let Some((before, _)) = gateway {
            let message = format!("the LAN has no carrier here, and the gateway at {} has: it takes over", newcomer.remote);
            self.outputs.push_back(RelayOutput::Refuse { link: before, code: Refusal::StandBy, message });
            self.leave(before, "its LAN has no carrier, and another gateway takes over");
        }
        self.join(link, &newcomer, now);
        self.tell_standbys(code);
    }

    pub(super) fn standby_reports(&self, code: &RoomCode) -> Vec<StandbyReport> {
        let one =
            |s: &Standby| StandbyReport { mac: s.newcomer.hello.mac, remote: s.newcomer.remote.clone(), lan_up: s.newcomer.hello.lan_up };
        self.standbys.get(code).map(|s| s.waiting.iter().map(one).collect()).unwrap_or_default()
    }
}
