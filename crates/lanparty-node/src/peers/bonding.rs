//! Direct links of several paths. Connections come and go by any pair of uplinks, dialled by either side; of two members the one with the
//! smaller key says which of them is a path of their link, and of which run of it.

use std::collections::BTreeMap;
use std::time::Instant;

use lanparty_core::{Pair, PairUse};
use lanparty_proto::{BondRole, Control, IdentityId, MemberId, PeerPath};
use tracing::{debug, info};

use super::met::{Met, Terms};
use super::used::Used;
use super::{Peer, PeerEvent, Peers, REDIAL_FIRST};
use crate::membership::random_run;
use crate::{BOND_PATHS_MAX, BondLink, BondPathUp, Link, LinkEnded};

/// Why a connection is closed that nobody needs.
const ENOUGH: &str = "the direct link has paths by these uplinks";
/// Why a path ends that works.
const NOT_WANTED: &str = "its uplink is not to be used any more";

/// A numbered link that is being made: its first path is on its way, others wait for that.
pub(super) struct Forming {
    run: u64,
    waiting: Vec<(Box<Met>, Option<PeerPath>)>,
}

/// What a numbered link is, beside its paths.
pub(super) struct Bonding {
    run: u64,
    leads: bool,
    /// Paths that were offered, and not answered yet.
    offered: Vec<Pair>,
    /// So many lines has the other member, as it says.
    pub(super) their_lines: u8,
    /// What it was told of ours.
    told_lines: u8,
    since: Instant,
    /// What its paths go by.
    pub(super) used: BTreeMap<u8, Used>,
}

impl Bonding {
    /// Which link it is.
    #[cfg(test)]
    pub(super) const fn run(&self) -> u64 {
        self.run
    }
}

/// A connection is a path of the link of this run now, or is none.
pub(crate) struct PathMade {
    identity: IdentityId,
    run: u64,
    by_us: bool,
    terms: Terms,
    path: Result<BondPathUp, LinkEnded>,
}

impl Peer {
    /// The pairs of uplinks whose paths live.
    pub(super) fn alive(&self) -> Vec<Pair> {
        let Some((link, bond)) = self.link.bond().zip(self.bond.as_ref()) else { return vec![Pair { own: 0, theirs: 0 }] };
        link.living().into_iter().map(|path| Pair::of_path(path.path, bond.leads)).collect()
    }

    /// Those of them that carry bulk: backups do beside no others.
    pub(super) fn carrying(&self) -> Vec<Pair> {
        let Some((link, bond)) = self.link.bond().zip(self.bond.as_ref()) else { return self.alive() };
        let (backups, others): (Vec<_>, Vec<_>) = link.living().into_iter().partition(|path| path.role == BondRole::Backup);
        let carrying = if others.is_empty() { backups } else { others };
        carrying.into_iter().map(|path| Pair::of_path(path.path, bond.leads)).collect()
    }

    /// So many lines has the other member.
    pub(super) fn their_lines(&self) -> u8 {
        self.bond.as_ref().map_or(1, |bond| bond.their_lines)
    }

    /// Whether another path by this pair is worth it.
    fn wants(&self, pair: Pair, own_lines: u8, now: Instant) -> bool {
        let (mut alive, Some(bond)) = (self.alive(), self.bond.as_ref()) else { return false };
        alive.extend(&bond.offered);
        let pairs = PairUse { alive: &alive, own_lines, their_lines: bond.their_lines };
        alive.len() < BOND_PATHS_MAX && pairs.wants(pair, now.saturating_duration_since(bond.since))
    }

    /// Tells the other member how many lines we have, when it does not know.
    pub(super) fn tell_lines(&mut self, lines: u8) {
        let Some((link, bond)) = self.link.bond().zip(self.bond.as_mut()) else { return };
        if bond.told_lines != lines {
            bond.told_lines = lines;
            link.shared_arc().say(&Control::PeerLines { lines });
        }
    }
}

impl Peers {
    /// A connection that may become a path.
    pub(super) fn met(&mut self, met: Box<Met>, now: Instant) {
        let Some(own) = &self.own else { return };
        if !own.leads(met.identity) {
            let events = self.sender.clone();
            tokio::spawn(async move {
                // Whoever leads may not need it.
                if let Ok((met, path)) = met.hear_out().await {
                    let _ = events.send(PeerEvent::Asked(met, path)).await;
                }
            });
            return;
        }
        let Some((member, known)) = self.known.iter_mut().find(|(_, known)| known.identity == met.identity) else { return };
        if let Some(forming) = &mut known.forming {
            return forming.wait(met, None);
        }
        let live = self.live.get(member).filter(|peer| !peer.alive().is_empty());
        match live.and_then(|peer| Some((peer, peer.bond.as_ref()?, peer.link.bond()?))) {
            Some((peer, bond, link)) if peer.wants(met.terms.pair, self.own_lines, now) => {
                let path = PeerPath { run: bond.run, begins: false, heard: link.heard() };
                let (member, pair) = (*member, met.terms.pair);
                if let Some(bond) = self.live.get_mut(&member).and_then(|peer| peer.bond.as_mut()) {
                    bond.offered.push(pair);
                }
                self.make_path(met, path, true);
            }
            Some(_) => met.link.close(ENOUGH),
            None => {
                let path = PeerPath { run: random_run(), begins: true, heard: 0 };
                known.forming = Some(Forming { run: path.run, waiting: vec![] });
                self.make_path(met, path, true);
            }
        }
    }

    /// The member that leads wants a connection to be a path. Only the link that it has made itself, and we know, takes one.
    pub(super) fn asked(&mut self, met: Box<Met>, path: PeerPath) {
        let Some((member, known)) = self.known.iter_mut().find(|(_, known)| known.identity == met.identity) else { return };
        if path.begins {
            known.forming = Some(Forming { run: path.run, waiting: vec![] });
            return self.make_path(met, path, false);
        }
        if let Some(forming) = known.forming.as_mut().filter(|forming| forming.run == path.run) {
            return forming.wait(met, Some(path));
        }
        if self.live.get(member).and_then(|peer| peer.bond.as_ref()).is_some_and(|bond| bond.run == path.run) {
            return self.make_path(met, path, false);
        }
        debug!("peer {member} wants a path of a direct link that is not there");
        tokio::spawn(met.refuse());
    }

    /// Says on a connection that it is a path; the driver hears what came of it.
    fn make_path(&self, met: Box<Met>, path: PeerPath, leads: bool) {
        let events = self.sender.clone();
        let (identity, run, by_us, terms) = (met.identity, path.run, met.by_us, met.terms.clone());
        let bond = |peer: &Peer| peer.bond.as_ref().is_some_and(|bond| bond.run == run);
        let heard = self.live.values().find(|peer| bond(peer)).and_then(|peer| Some(peer.link.bond()?.heard()));
        tokio::spawn(async move {
            let made = if leads { met.offer(path).await } else { met.accept(path, heard.unwrap_or(0)).await };
            let _ = events.send(PeerEvent::PathMade(PathMade { identity, run, by_us, terms, path: made })).await;
        });
    }

    /// A connection became a path: the first one of a link, or a further one.
    pub(super) fn path_made(&mut self, made: PathMade, now: Instant) {
        let Some((member, known)) = self.known.iter_mut().find(|(_, known)| known.identity == made.identity) else { return };
        let member = *member;
        if let Some(forming) = known.forming.take_if(|forming| forming.run == made.run) {
            match made.path {
                Ok(path) => self.begin((member, made.identity), made.run, made.by_us, &made.terms, path, now),
                Err(ended) => debug!("no direct link to peer {member}: {ended}"),
            }
            for (met, path) in forming.waiting {
                match path {
                    Some(path) => self.asked(met, path),
                    None => self.met(met, now),
                }
            }
            return;
        }
        let peer = self.live.get_mut(&member);
        let Some((link, bond)) = peer.and_then(|peer| Some((peer.link.bond()?, peer.bond.as_mut()?))).filter(|(_, b)| b.run == made.run)
        else {
            return;
        };
        bond.offered.retain(|pair| *pair != made.terms.pair);
        bond.their_lines = made.terms.lines;
        bond.used.entry(made.terms.pair.path(bond.leads)).or_default().begin(&made.terms);
        match made.path.and_then(|path| link.attach(path)) {
            Ok(()) => info!("the direct link to peer {member} has another path"),
            Err(ended) => debug!("no further path to peer {member}: {ended}"),
        }
    }

    /// An uplink leads nowhere for now.
    pub(super) fn leave_paths_of(&self, uplink: u8) {
        for (peer, bond) in self.live.values().filter_map(|peer| Some((peer, peer.bond.as_ref()?))) {
            let Some(link) = peer.link.bond() else { continue };
            for pair in peer.alive().into_iter().filter(|pair| pair.own == uplink) {
                link.shared_arc().path_is_down(pair.path(bond.leads));
            }
        }
    }

    /// Ends all paths by uplinks that the owner does not want any more, and links that have no other path. Without a relay the only path
    /// that lives is kept until there is another: what it carries is more than nothing.
    pub(super) fn leave_unwanted(&mut self, now: Instant) {
        let Some(planned) = &self.planned else { return };
        let without_relay = self.own_lines == 0;
        self.live.retain(|member, peer| {
            let Some((link, bond)) = peer.link.bond().zip(peer.bond.as_ref()) else { return true };
            let shared = link.shared_arc();
            let is_unwanted = |used: &Used| used.interface.as_ref().is_some_and(|interface| !planned.allow(interface));
            let unwanted = bond.used.iter().filter(|(path, used)| is_unwanted(used) && shared.path_state(**path).is_some());
            let only_way = unwanted.filter(|(path, _)| !shared.leave(**path, NOT_WANTED)).count() > 0;
            if only_way && !without_relay {
                info!("the direct link to peer {member} ends: {NOT_WANTED}; it is dialled anew by the others");
                if let Some(known) = self.known.get_mut(member) {
                    (known.next, known.pause) = (Some(now), REDIAL_FIRST);
                }
            }
            !only_way || without_relay
        });
    }

    fn begin(&mut self, (member, identity): (MemberId, IdentityId), run: u64, by_us: bool, terms: &Terms, path: BondPathUp, now: Instant) {
        let leads = self.own.as_ref().is_some_and(|own| own.leads(identity));
        let link = Link::bonded(BondLink::start(path, self.redundancy, 0, self.captures.of_peer(member)));
        let mut used = BTreeMap::<u8, Used>::new();
        used.entry(terms.pair.path(leads)).or_default().begin(terms);
        let bond = Bonding { run, leads, offered: vec![], their_lines: terms.lines, told_lines: 0, since: now, used };
        self.insert(member, link, by_us, Some(bond), now);
    }
}

impl Forming {
    fn wait(&mut self, met: Box<Met>, path: Option<PeerPath>) {
        if self.waiting.len() < BOND_PATHS_MAX {
            self.waiting.push((met, path));
        }
    }
}
