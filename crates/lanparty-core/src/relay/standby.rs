//! Gateways that stand by: on the LAN of the room's gateway, connected, and not in the room. One of them takes its place as soon
//! as it is gone or has lost its LAN (docs/decisions/0016-standby-gateways.md).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::{Control, Hello, IdentityId, MacAddr, MemberId, Refusal, RoomCode};

use super::join::Newcomer;
use super::lans::APART_AFTER;
use super::{LinkId, Relay, RelayEvent, RelayOutput};

/// Gateways that stand by in one room: more are a mistake, or an attack.
const STANDBYS_MAX: usize = 4;
/// Pairs of gateways of one LAN that are remembered for a room.
const PARTNERS_MAX: usize = 16;
/// One that does not hear the gateway before it says so several times a second; after a pause it has heard it.
const SAYS_WITHIN: Duration = Duration::from_secs(2);

/// One that waits.
pub(super) struct Standby {
    link: LinkId,
    newcomer: Newcomer,
    /// The gateway whose place it takes.
    behind: MemberId,
    /// Since when it says that it does not hear that one, and when it said so last.
    unheard: Option<(Instant, Instant)>,
}

/// Those of one room.
#[derive(Default)]
pub(super) struct Standbys {
    waiting: Vec<Standby>,
    /// Who has been seen to share a LAN, and when: they may stand by again while it is down, and nobody hears anybody.
    partners: BTreeMap<(IdentityId, IdentityId), Instant>,
}

/// A gateway that stands by, for the relay's operator.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct StandbyReport {
    pub mac: MacAddr,
    pub remote: String,
    pub lan_up: bool,
}

impl Relay {
    /// The gateway behind which somebody who may not enter beside it may wait: it hears it on its LAN, or did.
    pub(super) fn may_stand_by(&self, newcomer: &Newcomer) -> Option<MemberId> {
        let room = self.rooms.get(&newcomer.hello.room)?;
        let standbys = self.standbys.get(room.code());
        let others = standbys.map_or(0, |s| s.waiting.iter().filter(|s| s.newcomer.identity != newcomer.identity).count());
        let is_partner = |gateway| standbys.is_some_and(|s| s.partners.contains_key(&pair(gateway, newcomer.identity)));
        let heard = room.gateways().find(|gateway| newcomer.hello.hears.contains(&gateway.mac));
        let before = heard.or_else(|| room.gateways().find(|gateway| is_partner(gateway.identity)));
        before.filter(|_| others < STANDBYS_MAX).map(|gateway| gateway.id)
    }

    /// Whether two gateways have been seen on one LAN of late.
    pub(super) fn were_together(&self, code: &RoomCode, one: IdentityId, other: IdentityId, now: Instant) -> bool {
        let seen = self.standbys.get(code).and_then(|s| s.partners.get(&pair(one, other)));
        seen.is_some_and(|at| now.saturating_duration_since(*at) < APART_AFTER)
    }

    /// Two gateways are on one LAN.
    pub(super) fn note_together(&mut self, code: &RoomCode, one: IdentityId, other: IdentityId, now: Instant) {
        let (partners, pair) = (&mut self.standbys.entry(code.clone()).or_default().partners, pair(one, other));
        if partners.len() < PARTNERS_MAX || partners.contains_key(&pair) {
            partners.insert(pair, now);
        }
    }

    /// Lets a gateway wait on its connection.
    pub(super) fn stand_by(&mut self, link: LinkId, newcomer: &Newcomer, behind: MemberId, now: Instant) {
        let code = newcomer.hello.room.clone();
        let Some((mac, identity)) = self.rooms.get(&code).and_then(|room| room.gateway(behind)).map(|g| (g.mac, g.identity)) else {
            return;
        };
        self.note_together(&code, identity, newcomer.identity, now);
        let standbys = self.standbys.entry(code.clone()).or_default();
        let (old, waiting) = std::mem::take(&mut standbys.waiting).into_iter().partition(|s| s.newcomer.identity == newcomer.identity);
        standbys.waiting = waiting;
        standbys.waiting.push(Standby { link, newcomer: newcomer.clone(), behind, unheard: None });
        self.outputs.extend(old.into_iter().map(|old: Standby| RelayOutput::Refuse {
            link: old.link,
            code: Refusal::Replaced,
            message: "this identity stands by again".to_owned(),
        }));
        self.outputs.push_back(RelayOutput::Send { link, message: Control::Standby { behind, mac } });
        let (remote, mac) = (newcomer.remote.clone(), newcomer.hello.mac);
        self.outputs.push_back(RelayOutput::Event(RelayEvent::StandsBy { room: code.clone(), mac, remote, behind }));
        self.tell_standbys(&code, behind);
        self.fill_gateways(now);
    }

    /// What one that waits says. Whether the connection is one of theirs.
    pub(super) fn hear_standby(&mut self, link: LinkId, message: &Control) -> bool {
        let Some((code, at)) = self.standby_at(link) else { return false };
        match message {
            Control::LanState { up, .. } => {
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
        let (code, at) = self.standby_at(link)?;
        let behind = self.standbys.get(&code)?.waiting.get(at)?.behind;
        self.rooms.get(&code)?.gateway(behind).map(|gateway| gateway.link)
    }

    /// One that waits does not hear the gateway before it. Who it is, once it has not for long enough.
    pub(super) fn note_unheard(&mut self, link: LinkId, now: Instant) -> Option<(RoomCode, Newcomer)> {
        let (code, at) = self.standby_at(link)?;
        let standby = self.standbys.get_mut(&code)?.waiting.get_mut(at)?;
        let goes_on = standby.unheard.filter(|(_, last)| now.saturating_duration_since(*last) < SAYS_WITHIN);
        let since = goes_on.map_or(now, |(since, _)| since);
        standby.unheard = Some((since, now));
        (now.saturating_duration_since(since) >= APART_AFTER).then(|| (code, standby.newcomer.clone()))
    }

    /// Who waits in which room, and who it is.
    pub(super) fn standing_by(&self) -> Vec<(LinkId, RoomCode, Newcomer)> {
        let all = self.standbys.iter().flat_map(|(code, s)| s.waiting.iter().map(move |standby| (code, standby)));
        all.map(|(code, standby)| (standby.link, code.clone(), standby.newcomer.clone())).collect()
    }

    fn standby_at(&self, link: LinkId) -> Option<(RoomCode, usize)> {
        self.standbys.iter().find_map(|(code, s)| Some((code.clone(), s.waiting.iter().position(|standby| standby.link == link)?)))
    }

    /// Its connection ended.
    pub(super) fn forget_standby(&mut self, link: LinkId) {
        let Some((code, at)) = self.standby_at(link) else { return };
        let gone = self.standbys.get_mut(&code).map(|standbys| standbys.waiting.remove(at));
        if let Some(gone) = gone {
            self.tell_standbys(&code, gone.behind);
        }
    }

    /// Whether a gateway should give its sign often.
    fn tell_standbys(&mut self, code: &RoomCode, gateway: MemberId) {
        let count = self.standbys.get(code).map_or(0, |s| s.waiting.iter().filter(|s| s.behind == gateway).count());
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        if let Some(link) = self.rooms.get(code).and_then(|room| room.gateway(gateway)).map(|gateway| gateway.link) {
            self.outputs.push_back(RelayOutput::Send { link, message: Control::Standbys { count } });
        }
    }

    /// Lets those who wait in where the gateway before them is gone, or its LAN is down while theirs is up.
    pub(super) fn fill_gateways(&mut self, now: Instant) {
        for code in self.standbys.keys().cloned().collect::<Vec<_>>() {
            self.fill_gateway(&code, now);
        }
        self.standbys.retain(|code, s| !s.waiting.is_empty() || self.rooms.contains_key(code));
    }

    fn fill_gateway(&mut self, code: &RoomCode, now: Instant) {
        let Some(standbys) = self.standbys.get_mut(code) else { return };
        let room = self.rooms.get(code);
        let due = |(at, s): (usize, &Standby)| match room.and_then(|room| room.gateway(s.behind)) {
            None => Some((at, s.newcomer.hello.lan_up, None)),
            Some(gateway) => (!gateway.lan_up && s.newcomer.hello.lan_up).then_some((at, true, Some(gateway.link))),
        };
        let Some((next, _, before)) = standbys.waiting.iter().enumerate().filter_map(due).min_by_key(|(_, lan_up, _)| !lan_up) else {
            return;
        };
        let Standby { link, newcomer, behind, .. } = standbys.waiting.remove(next);
        if let Some(before) = before {
            let message = format!("the LAN has no carrier here, and the gateway at {} has: it takes over", newcomer.remote);
            self.outputs.push_back(RelayOutput::Refuse { link: before, code: Refusal::StandBy, message });
            self.leave(before, "its LAN has no carrier, and another gateway takes over");
        }
        // It is known to be on the LAN of the one that it follows, which is no other's.
        let newcomer = Newcomer { hello: Hello { hears: vec![], has_listened: true, ..newcomer.hello }, ..newcomer };
        self.join(link, &newcomer, now);
        self.wait_behind(code, behind, newcomer.identity, now);
    }

    /// Those who waited behind a gateway that is gone wait behind the one that took its place.
    fn wait_behind(&mut self, code: &RoomCode, gone: MemberId, follower: IdentityId, now: Instant) {
        let Some((id, mac)) = self.rooms.get(code).and_then(|room| room.by_identity(follower)).map(|m| (m.id, m.mac)) else { return };
        let waiting = self.standbys.get_mut(code).map(|s| &mut s.waiting).into_iter().flatten().filter(|s| s.behind == gone);
        let mut partners = vec![];
        for standby in waiting {
            (standby.behind, standby.unheard) = (id, None);
            partners.push(standby.newcomer.identity);
            self.outputs.push_back(RelayOutput::Send { link: standby.link, message: Control::Standby { behind: id, mac } });
        }
        partners.into_iter().for_each(|partner| self.note_together(code, follower, partner, now));
        self.tell_standbys(code, id);
    }

    pub(super) fn standby_reports(&self, code: &RoomCode) -> Vec<StandbyReport> {
        let one =
            |s: &Standby| StandbyReport { mac: s.newcomer.hello.mac, remote: s.newcomer.remote.clone(), lan_up: s.newcomer.hello.lan_up };
        self.standbys.get(code).map(|s| s.waiting.iter().map(one).collect()).unwrap_or_default()
    }
}

/// The same whichever comes first.
fn pair(one: IdentityId, other: IdentityId) -> (IdentityId, IdentityId) {
    (one.min(other), one.max(other))
}
