//! The relay: rooms, their members, and the switch between them (station 6 of the walk).
//!
//! Forwards by membership, not by learning: a member's MAC address is what it announced and the relay accepted. Only the hosts of several
//! LANs in one room are learned.
//! Everything here can be rebuilt from the members, who announce themselves again after a restart; whose address is whose is kept
//! beside that, for the members that are away (docs/decisions/0036).

mod assign;
mod attach;
mod direct;
mod forward;
mod groups;
mod join;
mod lans;
mod moves;
mod report;
mod room;
mod rules;
mod sightings;
mod standby;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use lanparty_proto::{
    AssignedAddresses, Control, DatagramBudget, Description, IdentityId, LanMtu, MacAddr, MemberId, MulticastPolicy, Refusal, Role,
    RoomCode,
};

pub use direct::{INTRODUCTIONS_MAX, worth_trying};
pub use forward::{Copies, Delivery, Place};
pub use report::{MemberReport, RoomReport, RoomSummary, TrafficReport};
use room::Room;
pub use standby::StandbyReport;
use standby::Standbys;

use crate::limiter::{Limits, TokenBucket};
use crate::words::one_line;
use crate::{AddressBook, Counters, ProvenUser, RoomRules};

/// How often the rooms' LAN MTU is looked at.
const SIZE_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Most members of a room that any configuration allows: a welcome lists them all in one control message.
pub const MEMBERS_MAX: usize = 800;

/// One connection to the relay, as its driver numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// Limits of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayConfig {
    /// Most rooms at once.
    pub rooms_max: usize,
    /// Most members in one room, at most [`MEMBERS_MAX`].
    pub members_max: usize,
    /// Most LANs that one room joins, each by a gateway of its own whose owner agrees.
    pub lans_max: usize,
    /// No member makes its room smaller than this: what it says of its path, nobody else can check.
    pub lan_mtu_min: LanMtu,
    /// Which multicast its rooms carry.
    pub multicast: MulticastPolicy,
    /// Rate limits of each member.
    pub limits: Limits,
    /// Record every frame, not a sample.
    pub log_every_frame: bool,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            rooms_max: 1024,
            members_max: 256,
            lans_max: 1,
            lan_mtu_min: LanMtu::MIN,
            multicast: MulticastPolicy::default(),
            limits: Limits::default(),
            log_every_frame: false,
        }
    }
}

/// What the driver tells the relay.
#[derive(Debug)]
pub enum RelayInput {
    /// A control message arrived.
    Message {
        /// On this connection.
        link: LinkId,
        /// Whose handshake proved this identity.
        identity: IdentityId,
        /// From this address, for people.
        remote: String,
        /// The largest datagram the path to this member takes now.
        budget: DatagramBudget,
        /// The message.
        message: Box<Control>,
        /// In a hello: the user that it names, when the password is right.
        proven: Option<ProvenUser>,
    },
    /// The path to a member takes datagrams of this size now.
    Budget {
        /// The member's connection.
        link: LinkId,
        /// Largest datagram.
        budget: DatagramBudget,
        /// Its smoothed round-trip time.
        rtt: Duration,
    },
    /// A member's packets come from another address than before.
    SeenAt {
        /// The member's connection.
        link: LinkId,
        /// The address, for people.
        remote: String,
    },
    /// A connection ended.
    Closed {
        /// Which.
        link: LinkId,
        /// Why, in words.
        reason: String,
    },
    /// Time passed.
    Tick,
}

/// What the relay wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum RelayOutput {
    /// Send a control message.
    Send {
        /// On this connection.
        link: LinkId,
        /// The message.
        message: Control,
    },
    /// Send a refusal and close the connection.
    Refuse {
        /// This connection.
        link: LinkId,
        /// Stable code.
        code: Refusal,
        /// In words.
        message: String,
    },
    /// A member is carried by another connection from now on. What waits for it on the old one goes out there first, and the new
    /// one is read when the old one is drained.
    Moved {
        /// The old connection.
        from: LinkId,
        /// The new one, which gets a welcome next.
        to: LinkId,
    },
    /// Tell the operator.
    Event(RelayEvent),
    /// Give a [`RelayInput::Tick`] at that time; the text says what for.
    Timeout(Instant, &'static str),
}

/// What the operator of a relay reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum RelayEvent {
    Accepted {
        room: RoomCode,
        member: MemberId,
        role: Role,
        mac: MacAddr,
        identity: IdentityId,
        remote: String,
        software: String,
        description: Description,
        resumed: bool,
    },
    Left {
        room: RoomCode,
        member: MemberId,
        role: Role,
        mac: MacAddr,
        reason: String,
    },
    Refused {
        room: RoomCode,
        role: Role,
        mac: MacAddr,
        remote: String,
        code: Refusal,
        message: String,
    },
    Moved {
        room: RoomCode,
        member: MemberId,
        remote: String,
        previous: String,
    },
    LanMtu {
        room: RoomCode,
        mtu: LanMtu,
        reason: &'static str,
    },
    PathMtu {
        room: RoomCode,
        member: MemberId,
        mtu: Option<LanMtu>,
    },
    BelowMinimum {
        room: RoomCode,
        member: MemberId,
        mtu: LanMtu,
        minimum: LanMtu,
    },
    LanState {
        room: RoomCode,
        member: MemberId,
        up: bool,
    },
    LansJoined {
        room: RoomCode,
        count: usize,
    },
    Assigned {
        room: RoomCode,
        member: MemberId,
        addresses: AssignedAddresses,
    },
    Leased {
        room: RoomCode,
        gateway: MemberId,
        mac: MacAddr,
        address: Ipv4Net,
    },
    NoLease {
        room: RoomCode,
        mac: MacAddr,
        because: String,
    },
    AddressTaken {
        room: RoomCode,
        member: MemberId,
        address: Ipv4Addr,
        by: MacAddr,
    },
    StandsBy {
        room: RoomCode,
        mac: MacAddr,
        remote: String,
        behind: MemberId,
    },
}

/// The relay's state.
pub struct Relay {
    config: RelayConfig,
    rules: Arc<RoomRules>,
    rooms: BTreeMap<RoomCode, Room>,
    links: BTreeMap<LinkId, RoomCode>,
    joins: BTreeMap<IdentityId, TokenBucket>,
    standbys: BTreeMap<RoomCode, Standbys>,
    addresses: AddressBook,
    outputs: VecDeque<RelayOutput>,
    next_check: Option<Instant>,
    /// What was counted of members that have left.
    gone: Counters,
    gone_copies: Copies,
}

impl Relay {
    /// An empty relay, on which anybody may make a room.
    #[must_use]
    pub fn new(config: RelayConfig) -> Self {
        let config = RelayConfig { members_max: config.members_max.min(MEMBERS_MAX), ..config };
        Self {
            config,
            rules: Arc::new(RoomRules::open()),
            rooms: BTreeMap::new(),
            links: BTreeMap::new(),
            joins: BTreeMap::new(),
            standbys: BTreeMap::new(),
            addresses: AddressBook::default(),
            outputs: VecDeque::new(),
            next_check: None,
            gone: Counters::default(),
            gone_copies: Copies::default(),
        }
    }

    /// Something happened.
    pub fn handle_input(&mut self, input: RelayInput, now: Instant) {
        match input {
            RelayInput::Message { link, identity, remote, budget, message, proven } => match *message {
                Control::Hello(hello) => self.join(link, &join::Newcomer { identity, remote, budget, hello, proven }, now),
                Control::Move(wanted) => self.move_member(link, &moves::Mover { identity, remote, budget, wanted }, now),
                message => self.handle_message(link, message, now),
            },
            RelayInput::Budget { link, budget, rtt } => {
                if let Some((room, id)) = self.room_of(link) {
                    room.set_way_down(id, budget, rtt);
                }
            }
            RelayInput::SeenAt { link, remote } => self.seen_at(link, remote, now),
            RelayInput::Closed { link, reason } => {
                self.forget_standby(link);
                self.leave(link, &reason);
            }
            RelayInput::Tick => self.check_sizes(now),
        }
        self.fill_gateways(now);
    }

    /// What is to be done, in order. `None` until something happens again.
    pub fn poll_output(&mut self) -> Option<RelayOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.next_check.take().map(|at| RelayOutput::Timeout(at, "look at the rooms' LAN MTU"))
    }

    fn handle_message(&mut self, link: LinkId, message: Control, now: Instant) {
        let Some((room, id)) = self.room_of(link) else {
            // A member says on its present connection what it has to say.
            if self.links.contains_key(&link) || self.hear_standby(link, &message) {
                return;
            }
            let message = "the first message must be Hello; is this a lanparty client?".to_owned();
            return self.outputs.push_back(RelayOutput::Refuse { link, code: Refusal::Protocol, message });
        };
        match message {
            Control::Budget { budget } => room.set_budget_up(id, budget),
            Control::LanState { up, .. } if room.set_lan_state(id, up) => {
                let event = RelayEvent::LanState { room: room.code().clone(), member: id, up };
                let message = Control::LanState { up, id: Some(id) };
                let sends = room.others(id).map(|to| RelayOutput::Send { link: to, message: message.clone() }).collect::<Vec<_>>();
                self.outputs.extend(sends);
                self.outputs.push_back(RelayOutput::Event(event));
            }
            Control::Candidates { addresses } => self.introduce(link, &addresses, now),
            Control::AskSightings { mac } => self.ask_sightings(link, mac, now),
            answer @ Control::Sightings { .. } => self.pass_sightings(id, link, answer),
            Control::Loop { message, .. } => self.pass_loop(id, link, &message, now),
            Control::AddressTaken { address, by } => self.address_taken(link, address, by, now),
            Control::AskLease { mac, wanted, takes } => self.lease(link, (mac, wanted), takes, now),
            Control::LeaseTaken { mac, address } => self.lease_taken(link, mac, address, now),
            Control::Groups { groups, .. } => self.set_groups(link, groups.as_deref(), now),
            Control::SameLan { gateway } => self.same_lan(link, gateway, now),
            Control::Bye { reason } => self.leave(link, &reason),
            // What only a relay says, and what a newer member says, is ignored.
            _ => {}
        }
        self.schedule_check(now);
    }

    fn leave(&mut self, link: LinkId, reason: &str) {
        let Some(code) = self.links.remove(&link) else { return };
        let Some(room) = self.rooms.get_mut(&code) else { return };
        let Some(gone) = room.remove(link) else { return };
        self.gone.add_all(&gone.counters);
        self.gone_copies.add_all(&gone.copies);
        let reason = one_line(reason);
        let message = Control::MemberLeft { id: gone.id, reason: reason.clone() };
        self.outputs.extend(room.links().map(|to| RelayOutput::Send { link: to, message: message.clone() }));
        let event = RelayEvent::Left { room: code.clone(), member: gone.id, role: gone.role, mac: gone.mac, reason };
        self.outputs.push_back(RelayOutput::Event(event));
        if room.is_empty() {
            self.rooms.remove(&code);
        }
    }

    fn check_sizes(&mut self, now: Instant) {
        for room in self.rooms.values_mut() {
            let changed = room.observe_sizes(now);
            if let Some(message) = room.size_news(changed) {
                self.outputs.extend(room.links().map(|to| RelayOutput::Send { link: to, message: message.clone() }));
            }
            if let Some(mtu) = changed {
                let event = RelayEvent::LanMtu { room: room.code().clone(), mtu, reason: "the members' paths changed" };
                self.outputs.push_back(RelayOutput::Event(event));
            }
            for (id, mtu) in room.observe_ways(now) {
                let message = Control::PathMtu { id, mtu };
                self.outputs.extend(room.links().map(|to| RelayOutput::Send { link: to, message: message.clone() }));
                self.outputs.push_back(RelayOutput::Event(RelayEvent::PathMtu { room: room.code().clone(), member: id, mtu }));
            }
            let minimum = self.config.lan_mtu_min;
            for (link, member, mtu) in room.observe_below(now) {
                self.outputs.push_back(RelayOutput::Send { link, message: Control::Notice { message: too_small(mtu, minimum) } });
                self.outputs.push_back(RelayOutput::Event(RelayEvent::BelowMinimum { room: room.code().clone(), member, mtu, minimum }));
            }
        }
        self.schedule_check(now);
    }

    fn schedule_check(&mut self, now: Instant) {
        self.next_check = (!self.rooms.is_empty()).then(|| now + SIZE_CHECK_INTERVAL);
    }

    /// The member that this connection carries.
    fn room_of(&mut self, link: LinkId) -> Option<(&mut Room, MemberId)> {
        let room = self.rooms.get_mut(self.links.get(&link)?).filter(|room| room.is_current(link))?;
        let id = room.id_of(link)?;
        Some((room, id))
    }
}

fn too_small(mtu: LanMtu, minimum: LanMtu) -> String {
    format!(
        "this machine takes packets of {mtu} bytes only (its path, its --mtu or its LAN interface), and rooms of this relay carry at least {minimum}: larger ones toward it are dropped"
    )
}
