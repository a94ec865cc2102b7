//! Direct links to other members of the room: who may be tried, who is reached, and whether a frame takes that way.
//!
//! A direct link carries unicast between two members. The relay stays the way for everything else, and for these frames too as soon as
//! the direct one says nothing.

mod bonding;
mod carry;
mod dial;
mod look;
mod met;
mod offer;
mod peer;
mod probes;
mod report;
mod round;
mod sockets;
#[cfg(test)]
mod tests;
mod used;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Drops, INTRODUCTIONS_MAX, Redundancy, Roster, worth_trying};
use lanparty_proto::{DatagramHeader, IdentityId, MacAddr, MemberId, PeerPath, Role};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::port_mapping::PortMapping;
use crate::{Captures, Link, LinkEnded, Outbox, PlannedUplinks, UseBook};
use bonding::{Bonding, Forming, PathMade};
use carry::{Dropped, Shared};
use met::{Met, Own, Reached};
use offer::Offer;
use peer::{Hold, Peer};
use probes::{Probes, Tries};
use sockets::Listening;

pub use report::PeerReport;
pub(crate) use sockets::{PeerSocket, PeerSockets, SocketUplink};

/// Events that wait for the driver, of at most [`RECV_BATCH`](crate::RECV_BATCH) frames each: some 6 MB. Whoever has more waits, and the kernel
/// and the stack keep it.
const EVENTS_MAX: usize = 16;
/// First pause before a member is dialled again, and the longest.
const REDIAL_FIRST: Duration = Duration::from_secs(5);
const REDIAL_LONGEST: Duration = Duration::from_secs(300);
/// Frames that come directly wait so long for those that came before by the relay.
const HOLD_MAX: Duration = Duration::from_millis(300);
/// Frames that wait so.
const HELD_MAX: usize = 1024;
/// A direct link to which something was sent, and which has said nothing for so long and four round trips, carries nothing more.
const SILENT_AFTER: Duration = Duration::from_millis(300);
/// A link that was silent rests for so long after it is heard again.
const REST: Duration = Duration::from_secs(2);
/// A direct link with fewer lines than the way by the relay is used for so long at most: when a line dies, it dies by both ways, and one
/// of them notices first.
const SHORT_MAX: Duration = Duration::from_secs(3);
/// How often links are looked at that carry something, and others.
const BUSY_LOOK_INTERVAL: Duration = Duration::from_millis(100);
const QUIET_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Members that dialled us before the relay told us of them, and how long they may wait.
const STRANGERS_MAX: usize = 16;
const STRANGER_PATIENCE: Duration = Duration::from_secs(2);

/// A member that has other addresses than before is heard within this time on the link that is there, or dialled anew: its heartbeat
/// comes once a second.
const PROOF_WITHIN: Duration = Duration::from_millis(1500);

/// Connections that one member has dialled and that are no path yet: more than there are pairs of uplinks that make sense.
const SEATS_MAX: usize = 16;
/// Machines whose key is remembered.
const PINNED_MAX: usize = 4096;

/// What a direct link, or a try of one, tells the driver.
pub(crate) enum PeerEvent {
    /// Somebody with this key is there.
    Up { identity: IdentityId, reached: Reached, by_us: bool },
    /// All tries to reach a member have ended.
    Tried { member: MemberId, serial: u64 },
    /// The member that leads wants this connection to be a path.
    Asked(Box<Met>, PeerPath),
    /// A connection became a path, or did not.
    PathMade(PathMade),
    /// A member has so many lines.
    Lines { member: MemberId, serial: u64, lines: u8 },
    /// Datagrams came.
    Frames { member: MemberId, serial: u64, frames: Vec<Bytes> },
    /// Frames have waited long enough for those that came before by the relay.
    HeldLongEnough { member: MemberId },
    /// The interface of this uplink has no carrier.
    CarrierLost { uplink: u8 },
    /// A link ended.
    Ended { member: MemberId, serial: u64, ended: LinkEnded },
}

/// A member that may be reached directly.
struct Known {
    identity: IdentityId,
    addresses: Vec<SocketAddr>,
    /// The try that is under way.
    dialling: Option<Dialling>,
    pause: Duration,
    next: Option<Instant>,
    /// Rounds of tries so far.
    round: usize,
    tries: Tries,
    /// For connections of its own that are no path yet.
    seats: Arc<Semaphore>,
    /// A link of several paths that is being made.
    forming: Option<Forming>,
}

impl Known {
    /// To be tried now; what it has cost `before` counts.
    fn new(identity: IdentityId, addresses: Vec<SocketAddr>, before: Option<Self>, now: Instant) -> Self {
        let (tries, seats, forming) = before.map_or_else(
            || (Tries::new(now), Arc::new(Semaphore::new(SEATS_MAX)), None),
            |before| (before.tries, before.seats, before.forming.filter(|_| before.identity == identity)),
        );
        Self { identity, addresses, dialling: None, pause: REDIAL_FIRST, next: Some(now), round: 0, tries, seats, forming }
    }
}

/// A try to reach a member, which ends with this.
struct Dialling {
    serial: u64,
    task: JoinHandle<()>,
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All direct links of a member.
pub(crate) struct Peers {
    events: mpsc::Receiver<PeerEvent>,
    sender: mpsc::Sender<PeerEvent>,
    own: Option<Arc<Own>>,
    own_interface: Option<String>,
    offer: Offer,
    maps_ports: bool,
    port_mapping: Option<PortMapping>,
    listening: Vec<Listening>,
    /// Where what the uplinks carry is counted.
    book: Option<Arc<UseBook>>,
    /// Where what the paths of direct links carry is written down.
    captures: Captures,
    /// What goes by two paths at once.
    redundancy: Redundancy,
    /// The uplinks that the owner names, when they are named.
    planned: Option<PlannedUplinks>,
    /// So many lines carry our frames to the relay.
    own_lines: u8,
    known: BTreeMap<MemberId, Known>,
    live: BTreeMap<MemberId, Peer>,
    /// What became of datagrams that direct links took.
    dropped: Arc<Dropped>,
    strangers: Vec<(Instant, IdentityId, Reached)>,
    /// The key that the relay named first for each machine.
    pinned: BTreeMap<MacAddr, IdentityId>,
    probes: Probes,
    serial: u64,
    look_at: Instant,
}

impl Default for Peers {
    fn default() -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (known, live, pinned) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            events,
            sender,
            own: None,
            own_interface: None,
            offer: Offer::default(),
            maps_ports: false,
            port_mapping: None,
            listening: vec![],
            book: None,
            captures: Captures::default(),
            redundancy: Redundancy::default(),
            planned: None,
            own_lines: 1,
            known,
            live,
            dropped: Arc::default(),
            strangers: vec![],
            pinned,
            probes: Probes::new(Instant::now()),
            serial: 0,
            look_at: Instant::now(),
        }
    }
}

impl Peers {
    /// The relay says where a member may be: it is tried now.
    pub(crate) fn introduce(&mut self, (member, mac): (MemberId, MacAddr), identity: IdentityId, addresses: &[SocketAddr], now: Instant) {
        let is_full = self.known.len() >= INTRODUCTIONS_MAX && !self.known.contains_key(&member);
        if self.own.is_none() || is_full {
            return;
        }
        if *self.pinned.entry(mac).or_insert(identity) != identity {
            warn!(
                "the relay names another key for the machine {mac} than before: it is not reached directly (has it a new identity, or is the relay lying?)"
            );
            return;
        }
        if self.pinned.len() > PINNED_MAX {
            self.pinned.retain(|known, _| *known == mac);
        }
        let addresses = worth_trying(addresses.iter().copied());
        // A try at the old addresses ends here.
        let before = self.known.remove(&member);
        self.known.insert(member, Known::new(identity, addresses, before, now));
        // Each path of several has a watch of its own.
        if let Some(peer) = self.live.get_mut(&member).filter(|peer| peer.bond.is_none()) {
            peer.to_prove = Some((now + PROOF_WITHIN, peer.link.received_packets()));
        }
        let waiting: Vec<_> = self.strangers.extract_if(.., |(_, who, _)| *who == identity).collect();
        for (_, identity, reached) in waiting {
            self.up(identity, reached, false, now);
        }
        self.dial_due(now);
    }

    /// A member left the room.
    pub(crate) fn forget(&mut self, member: MemberId) {
        self.known.remove(&member);
        self.live.remove(&member);
    }

    /// Whoever is not in the room any more, or has another key or number, is forgotten.
    pub(crate) fn retain(&mut self, roster: &Roster) {
        self.known.retain(|id, _| roster.member(*id).is_some());
        self.live.retain(|id, _| roster.member(*id).is_some());
    }

    /// The next thing that happens. Cancel-safe.
    pub(crate) async fn next(&mut self) -> PeerEvent {
        self.events.recv().await.expect("INVARIANT: we hold a sender")
    }

    /// When there is something to do, and what: frames of that member have waited long enough for those that came before by the relay, or
    /// without one it is time to look at the links.
    pub(crate) fn due(&self) -> Option<(Instant, Option<MemberId>)> {
        let held = self.live.iter().filter_map(|(id, peer)| match peer.inbound {
            Hold::Waiting { since: Some(since), .. } => Some((since + HOLD_MAX, Some(*id))),
            _ => None,
        });
        let look = (!self.live.is_empty()).then_some((self.look_at, None));
        held.chain(look).min_by_key(|(at, _)| *at)
    }

    /// Deals with an event. Datagrams that may be taken for arrived.
    pub(crate) fn handle(&mut self, event: PeerEvent, now: Instant) -> Vec<Bytes> {
        match event {
            PeerEvent::Up { identity, reached, by_us } => self.up(identity, reached, by_us, now),
            PeerEvent::Asked(met, path) => self.asked(met, path),
            PeerEvent::PathMade(made) => self.path_made(made, now),
            PeerEvent::Lines { member, serial, lines } => {
                let peer = self.live.get_mut(&member).filter(|peer| peer.serial == serial);
                if let Some(bond) = peer.and_then(|peer| peer.bond.as_mut()) {
                    bond.their_lines = lines;
                }
            }
            PeerEvent::Tried { member, serial } => {
                let tried = self.known.get_mut(&member).filter(|known| known.dialling.as_ref().is_some_and(|d| d.serial == serial));
                if let Some(known) = tried {
                    known.dialling = None;
                    known.next = Some(now + known.pause);
                    known.pause = (known.pause * 2).min(REDIAL_LONGEST);
                }
            }
            PeerEvent::Frames { member, serial, frames } => return self.frames(member, serial, frames, now),
            PeerEvent::HeldLongEnough { member } => return self.open(member),
            PeerEvent::CarrierLost { uplink } => self.leave_paths_of(uplink),
            PeerEvent::Ended { member, serial, ended } => {
                if self.live.get(&member).is_some_and(|peer| peer.serial == serial) {
                    info!("the direct link to peer {member} ended: {ended}; frames go by the relay");
                    // One that has lived was worth it, and the other side dials now as well.
                    let has_lived = self.live.remove(&member).is_some_and(|peer| peer.has_lived(now) || peer.to_prove.is_some());
                    if let Some(known) = self.known.get_mut(&member) {
                        let next = if has_lived { now } else { now + REDIAL_FIRST };
                        (known.dialling, known.next, known.pause) = (None, Some(next), REDIAL_FIRST);
                    }
                    self.dial_due(now);
                }
            }
        }
        vec![]
    }

    fn up(&mut self, identity: IdentityId, reached: Reached, by_us: bool, now: Instant) {
        let Some((member, known)) = self.known.iter_mut().find(|(_, known)| known.identity == identity) else {
            self.strangers.retain(|(since, _, _)| now.saturating_duration_since(*since) < STRANGER_PATIENCE);
            if self.strangers.len() < STRANGERS_MAX {
                self.strangers.push((now, identity, reached));
            }
            return;
        };
        let member = *member;
        known.pause = REDIAL_FIRST;
        let link = match reached {
            Reached::Alone(link) => link,
            Reached::Met(met) => return self.met(met, now),
            Reached::Guest(guest) => {
                if let (Some(own), Ok(seat)) = (self.own.clone(), Arc::clone(&known.seats).try_acquire_owned()) {
                    let events = self.sender.clone();
                    tokio::spawn(async move {
                        if let Ok(reached) = guest.greet(&own, seat).await {
                            let _ = events.send(PeerEvent::Up { identity, reached, by_us }).await;
                        }
                    });
                }
                return;
            }
        };
        if by_us {
            known.dialling = None;
        }
        // Of two that cross, both ends keep the one that the smaller key has dialled.
        let leads = self.own.as_ref().is_some_and(|own| own.leads(identity));
        let crossing = self.live.get(&member).is_some_and(|peer| peer.by_us != by_us && !peer.has_lived(now));
        if crossing && by_us != leads {
            return link.close("the other direct link stays");
        }
        self.insert(member, link, by_us, None, now);
    }

    /// A member has this link from now on.
    fn insert(&mut self, member: MemberId, link: Link, by_us: bool, bond: Option<Bonding>, now: Instant) {
        self.serial += 1;
        let (outbox, shared) = (Arc::new(Outbox::new(link.clone())), Arc::new(Shared::new(&self.dropped)));
        let task = tokio::spawn(carry::carry((member, self.serial), Arc::clone(&outbox), self.sender.clone(), Arc::clone(&shared)));
        let inbound = Hold::Waiting { since: None, frames: vec![] };
        let peer = Peer {
            serial: self.serial,
            by_us,
            link,
            outbox,
            bond,
            task,
            shared,
            since: now,
            carries: false,
            heard: (0, 0),
            sent_at_look: 0,
            unanswered: None,
            rests_until: now,
            short_since: None,
            to_prove: None,
            inbound,
        };
        self.live.insert(member, peer);
    }

    fn frames(&mut self, member: MemberId, serial: u64, mut frames: Vec<Bytes>, now: Instant) -> Vec<Bytes> {
        let Some(peer) = self.live.get_mut(&member).filter(|peer| peer.serial == serial) else { return vec![] };
        // Nobody speaks for others on a direct link.
        frames.retain(|datagram| DatagramHeader::decode(datagram).is_ok_and(|(header, _)| header.source == member));
        match &mut peer.inbound {
            Hold::Open => frames,
            Hold::Waiting { since, frames: held } => {
                since.get_or_insert(now);
                held.extend(frames);
                if held.len() > HELD_MAX { self.open(member) } else { vec![] }
            }
        }
    }

    /// By the relay nothing more of this member comes that is older: what waited may go on.
    pub(crate) fn open(&mut self, member: MemberId) -> Vec<Bytes> {
        let Some(peer) = self.live.get_mut(&member) else { return vec![] };
        match std::mem::replace(&mut peer.inbound, Hold::Open) {
            Hold::Waiting { frames, .. } => frames,
            Hold::Open => vec![],
        }
    }

    /// Takes datagrams whose frames go to `member`; not when it is not reached directly, and so goes by the relay.
    pub(crate) fn take(&self, member: MemberId, datagrams: &[Bytes], now: Instant) -> bool {
        let Some(peer) = self.live.get(&member).filter(|peer| peer.carries) else { return false };
        if let Some(dropped) = peer.outbox.offer(datagrams, now) {
            self.dropped.count(&dropped);
        }
        true
    }

    /// Whether something waits for a direct link.
    pub(crate) fn are_behind(&self) -> bool {
        self.live.values().any(|peer| peer.outbox.is_behind())
    }

    /// The member that a frame from `roster`'s own member goes to, when it goes to one alone.
    pub(crate) fn target(roster: &Roster, dst: MacAddr) -> Option<MemberId> {
        if dst.is_group() {
            return None;
        }
        let behind_gateway = || roster.only_gateway().filter(|_| roster.own().role == Role::Client);
        roster.by_mac(dst).or_else(behind_gateway).map(|member| member.id)
    }

    /// Whether frames to a member go directly.
    pub(crate) fn carries(&self, member: MemberId) -> bool {
        self.live.get(&member).is_some_and(|peer| peer.carries)
    }

    /// Whether there are direct links, be they silent or not.
    pub(crate) fn has_links(&self) -> bool {
        !self.live.is_empty()
    }

    /// Everybody that is reached directly.
    pub(crate) fn reached(&self) -> Vec<MemberId> {
        self.live.iter().filter(|(_, peer)| peer.carries).map(|(id, _)| *id).collect()
    }

    /// Datagrams that direct links took and gave up since the last call, links that are gone among them.
    pub(crate) fn take_discarded(&self) -> Drops {
        let mut all = self.dropped.take();
        self.live.values().for_each(|peer| all.add_all(&peer.link.take_discarded()));
        all
    }

    /// Datagrams that wait for a direct link.
    pub(crate) fn waiting(&self) -> usize {
        self.live.values().map(|peer| peer.outbox.len()).sum()
    }
}
