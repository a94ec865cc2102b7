//! What all connections share: the relay's state, and the way out to each member.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{
    AddressBook, Carrier, Copies, CountersSnapshot, Delivery, Drops, FrameRecord, LinkId, MemberReport, PasswordCheck, Place, ProvenUser,
    Relay, RelayConfig, RelayEvent, RelayInput, RelayOutput, RoomReport, RoomRules, RoomSummary, TrafficReport,
};
use lanparty_node::{BondLink, BondReport, Events, Link, TrialSeat};
use lanparty_proto::{Attach, Control, Hello, IdentityId, Password, Refusal, RoomCode};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::addresses::AddressFile;
use crate::outbox::Outbox;
use crate::passwords::{Checked, Passwords};
use crate::rooms::RoomsFile;
use crate::told::told;

/// Control messages waiting for one member. One that reads so little is closed.
const CONTROL_QUEUE_MAX: usize = 256;

/// A gateway that gives no sign on its LAN, and of which nothing came here for so long, is gone. One that lives sends a packet a second at least.
const SILENT_AFTER: Duration = Duration::from_millis(1100);

/// What a connection's task is told by others. A channel has room for 32 of them from its beginning, so each is a pointer.
pub(crate) enum Command {
    Send(Box<Control>),
    /// Read nothing before this older connection of the same member is drained.
    After(Box<Link>),
    /// Say this, and close.
    Refuse(Box<Control>),
}

const _: () = assert!(size_of::<Command>() <= 16);

struct Way {
    outbox: Arc<Outbox>,
    commands: mpsc::Sender<Command>,
}

/// A member of a room, for who asks.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RoomMember {
    #[serde(flatten)]
    report: MemberReport,
    /// The paths by which it is reached at once, when it has several.
    #[serde(serialize_with = "paths_now")]
    #[schemars(with = "Option<BondReport>")]
    bond: Option<BondLink>,
}

/// A bond has a lock of its own: its paths are looked at by whoever writes this down, not while everybody waits.
fn paths_now<S: Serializer>(bond: &Option<BondLink>, serializer: S) -> Result<S::Ok, S::Error> {
    bond.as_ref().map(BondLink::report).serialize(serializer)
}

struct State {
    relay: Relay,
    ways: HashMap<LinkId, Way>,
    next_link: u64,
    tick_at: Option<Instant>,
    deliveries: Vec<Delivery>,
    records: Vec<FrameRecord>,
    address_file: AddressFile,
    events: Events,
}

/// The shared state. One lock, taken once per batch of frames or control message.
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Where one member at a time tests its bond; nothing when none may.
    bond_tests: Option<TrialSeat>,
    passwords: Passwords,
    events: Events,
}

impl Hub {
    pub(crate) fn new(
        config: RelayConfig,
        rules: RoomRules,
        bond_tests: Option<TrialSeat>,
        book: AddressBook,
        address_file: AddressFile,
    ) -> Arc<Self> {
        let relay = Relay::new(config).with_addresses(book).with_rules(rules, Instant::now());
        let (deliveries, records, events) = (vec![], vec![], Events::default());
        let told = events.clone();
        let state = State { relay, ways: HashMap::new(), next_link: 0, tick_at: None, deliveries, records, address_file, events: told };
        Arc::new(Self { state: Mutex::new(state), bond_tests, passwords: Passwords::new(), events })
    }

    pub(crate) const fn bond_tests(&self) -> Option<&TrialSeat> {
        self.bond_tests.as_ref()
    }

    /// Where what happens is told.
    pub(crate) const fn events(&self) -> &Events {
        &self.events
    }

    /// A new connection: its number, and the commands for its task.
    pub(crate) fn register(&self, outbox: Arc<Outbox>) -> (LinkId, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(CONTROL_QUEUE_MAX);
        let mut state = self.lock();
        state.next_link += 1;
        let link = LinkId(state.next_link);
        state.ways.insert(link, Way { outbox, commands });
        (link, receiver)
    }

    /// A connection ended. What waited for it is in the books as dropped.
    pub(crate) fn unregister(&self, link: LinkId, reason: &str) {
        let mut state = self.lock();
        if let Some(way) = state.ways.remove(&link) {
            let mut left = way.outbox.give_up();
            left.add_all(&way.outbox.link().take_left());
            state.relay.count_copies_dropped(link, &left);
        }
        state.relay.handle_input(RelayInput::Closed { link, reason: reason.to_owned() }, Instant::now());
        state.carry_out();
    }

    /// The user that a newcomer at `from` is, when it names one and the password is right. It is not kept in the hello.
    ///
    /// # Errors
    /// In words for the newcomer, when the password was not compared.
    pub(crate) async fn prove(&self, hello: &mut Hello, identity: IdentityId, from: IpAddr) -> Result<Option<ProvenUser>, String> {
        let check = self.lock().relay.password_check(hello, identity);
        let Some(login) = &mut hello.login else { return Ok(None) };
        let shown = login.clone();
        login.password = Password(String::new());
        let (hash, in_vain) = match check {
            PasswordCheck::None => return Ok(None),
            PasswordCheck::With(hash) => (hash, false),
            PasswordCheck::InVain(hash) => (hash, true),
        };
        match self.passwords.check(from, identity, &shown, &hash, in_vain).await {
            Checked::Right => Ok(Some(ProvenUser { user: shown.user, password: hash })),
            Checked::Wrong => Ok(None),
            Checked::TooMany => {
                warn!(%from, room = %hello.room, "too many wrong passwords: the next are not compared for a while");
                Err("too many wrong passwords from this address; wait a minute, and check user and password".to_owned())
            }
            Checked::Busy => Err("too many members log in at this moment; trying again helps".to_owned()),
        }
    }

    /// Reads the rooms anew, and lets those go that may stay no longer.
    pub(crate) fn reload_rooms(&self, file: &RoomsFile) {
        let mut state = self.lock();
        if let Some(rules) = file.reload(state.relay.rules()) {
            state.relay.set_rules(rules, Instant::now());
            state.carry_out();
        }
    }

    /// The link of the member whose further path a connection wants to become.
    pub(crate) fn attach(&self, identity: IdentityId, wanted: &Attach) -> Result<Link, (Refusal, String)> {
        let mut state = self.lock();
        let link = state.relay.attach(identity, wanted, Instant::now())?;
        let way = state.ways.get(&link).ok_or_else(|| (Refusal::NotMoved, "there is no such membership here".to_owned()))?;
        Ok(way.outbox.link().clone())
    }

    /// Something happened: decide, and pass the decisions on.
    pub(crate) fn input(&self, input: RelayInput) {
        let mut state = self.lock();
        state.relay.handle_input(input, Instant::now());
        state.carry_out();
    }

    /// Stations 6 to 8 for a batch of datagrams from one member.
    pub(crate) fn forward(&self, link: LinkId, datagrams: impl IntoIterator<Item = Bytes>) {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(place) = state.relay.place(link) else { return };
        let State { relay, deliveries, records, ways, .. } = &mut *state;
        relay.forward(&place, datagrams, now, deliveries, records);
        records.drain(..).for_each(|record| log_frame(&place, &record));
        // Runs of deliveries to one member are handed over together: one lock, one super-frame.
        let mut run: Vec<Bytes> = Vec::with_capacity(deliveries.len());
        let mut all = deliveries.drain(..).peekable();
        while let Some(delivery) = all.next() {
            let to = delivery.link;
            run.push(delivery.datagram);
            if all.peek().is_some_and(|next| next.link == to) {
                continue;
            }
            if let Some(dropped) = ways.get(&to).and_then(|way| way.outbox.offer(&run, now)) {
                relay.count_copies_dropped(to, &dropped);
            }
            run.clear();
        }
    }

    /// A gateway that stands by does not see the sign of the one before it any more. When the relay does not hear that one either, it is
    /// gone; else the two are not on one LAN any more.
    pub(crate) fn gateway_silent(&self, standby: LinkId) {
        let mut state = self.lock();
        let gone =
            state.relay.gateway_before(standby).filter(|link| state.ways.get(link).is_some_and(|way| way.outbox.silence() >= SILENT_AFTER));
        if let Some(way) = gone.and_then(|link| state.ways.get(&link)) {
            way.outbox.link().close("it gives no sign, neither on its LAN nor here");
            return;
        }
        state.relay.unheard(standby, Instant::now());
        state.carry_out();
    }

    /// Frames toward a member were dropped behind the switch.
    pub(crate) fn count_dropped(&self, link: LinkId, dropped: &Drops) {
        self.lock().relay.count_copies_dropped(link, dropped);
    }

    /// How long until the next tick, at most `longest`.
    pub(crate) fn until_tick(&self, longest: Duration) -> Duration {
        self.lock().tick_at.map_or(longest, |at| at.saturating_duration_since(Instant::now()).min(longest))
    }

    /// Gives the relay its tick when it is due.
    pub(crate) fn tick_if_due(&self) {
        let due = {
            let mut state = self.lock();
            let due = state.tick_at.is_some_and(|at| at <= Instant::now());
            if due {
                state.tick_at = None;
            }
            due
        };
        if due {
            self.input(RelayInput::Tick);
        }
    }

    /// Writes down what a busy moment or a full disk kept back.
    pub(crate) fn keep_addresses(&self) {
        let mut state = self.lock();
        state.address_file.retry();
        state.keep_addresses(Instant::now());
    }

    /// Connections past their handshake.
    pub(crate) fn connections(&self) -> usize {
        self.lock().ways.len()
    }

    /// Those of them that are QUIC's.
    pub(crate) fn quic_connections(&self) -> usize {
        self.lock().ways.values().filter(|way| way.outbox.link().carrier() == Carrier::Quic).count()
    }

    /// What became of all frames that ever came from members.
    pub(crate) fn totals(&self) -> CountersSnapshot {
        self.lock().relay.totals()
    }

    /// What became of all copies that were ever to go to members.
    pub(crate) fn copies(&self) -> Copies {
        self.lock().relay.copies()
    }

    /// What became of the frames of all members that are there.
    pub(crate) fn traffic(&self) -> TrafficReport {
        self.lock().relay.traffic()
    }

    /// The rooms, without their members.
    pub(crate) fn summaries(&self) -> Vec<RoomSummary> {
        self.lock().relay.summaries()
    }

    /// The rooms; members on several paths with those.
    pub(crate) fn report(&self) -> Vec<RoomReport<RoomMember>> {
        let state = self.lock();
        let rooms = state.relay.report(Instant::now());
        rooms.into_iter().map(|room| room.map_members(|member| state.with_bond(member))).collect()
    }

    /// One of them.
    pub(crate) fn report_of(&self, room: &RoomCode) -> Option<RoomReport<RoomMember>> {
        let state = self.lock();
        let report = state.relay.report_of(room, Instant::now())?;
        Some(report.map_members(|member| state.with_bond(member)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn with_bond(&self, report: MemberReport) -> RoomMember {
        let bond = self.ways.get(&report.link).and_then(|way| way.outbox.link().bond());
        RoomMember { bond: bond.cloned(), report }
    }

    /// Before anybody hears of an address it is on disk.
    fn keep_addresses(&mut self, now: Instant) {
        if self.address_file.is_due(now)
            && let Some(leases) = self.relay.take_changed_leases()
        {
            self.address_file.write(leases, now);
        }
    }

    fn carry_out(&mut self) {
        self.keep_addresses(Instant::now());
        while let Some(output) = self.relay.poll_output() {
            match output {
                RelayOutput::Send { link, message } => self.command(link, Command::Send(Box::new(message))),
                RelayOutput::Refuse { link, code, message } => {
                    self.command(link, Command::Refuse(Box::new(Control::Refused { code, message })));
                }
                RelayOutput::Moved { from, to } => self.moved(from, to),
                RelayOutput::Event(event) => {
                    log_event(&event);
                    if let Some(event) = told(&event) {
                        self.events.tell(event);
                    }
                }
                RelayOutput::Timeout(at, _) => self.tick_at = Some(self.tick_at.map_or(at, |before| before.min(at))),
            }
        }
    }

    /// Behind what waits on the old connection, its end is said there.
    fn moved(&mut self, from: LinkId, to: LinkId) {
        let Some(way) = self.ways.get(&from) else { return };
        way.outbox.end();
        let before = Box::new(way.outbox.link().clone());
        self.command(to, Command::After(before));
    }

    fn command(&mut self, link: LinkId, command: Command) {
        let Some(way) = self.ways.get(&link) else { return };
        if way.commands.try_send(command).is_err() {
            way.outbox.link().close("too many unread control messages");
        }
    }
}

fn log_frame(place: &Place, record: &FrameRecord) {
    let (room, peer_id) = (place.room(), place.member());
    let (src, dst) = (record.src_text(), record.dst_text());
    let (action, drop_reason) = (record.action(), record.reason());
    info!(%room, %peer_id, %src, %dst, len = record.len, %action, %drop_reason, targets = record.targets, suppressed = record.suppressed, "relay frame");
}

fn log_event(event: &RelayEvent) {
    match event {
        RelayEvent::Accepted { room, member, role, mac, identity, remote, software, description, resumed } => {
            info!(%mac, %remote, %identity, %software, %description, resumed, "accepted {role} peer {member} in room {room}");
        }
        RelayEvent::Left { room, member, role, mac, reason } => info!(%mac, "{role} peer {member} left room {room}: {reason}"),
        RelayEvent::Refused { room, role, mac, remote, code, message } => {
            warn!(%mac, %remote, ?code, "refused {role} peer in room {room}: {message}");
        }
        RelayEvent::Moved { room, member, remote, previous } => info!("peer {member} in room {room} moved from {previous} to {remote}"),
        RelayEvent::LanMtu { room, mtu, reason } => info!("LAN MTU of room {room} is now {mtu}: {reason}"),
        RelayEvent::PathMtu { room, member, mtu: Some(mtu) } => {
            info!("the path to peer {member} in room {room} carries packets of {mtu} bytes only");
        }
        RelayEvent::PathMtu { room, member, mtu: None } => info!("the path to peer {member} in room {room} carries the LAN MTU again"),
        RelayEvent::BelowMinimum { room, member, mtu, minimum } => {
            warn!(
                "peer {member} in room {room} takes packets of {mtu} bytes only; the room carries {minimum} all the same (--min-lan-mtu)"
            );
        }
        RelayEvent::Assigned { room, member, addresses } => match (&addresses.ipv4, &addresses.because) {
            (_, Some(because)) => warn!("no IPv4 address for peer {member} in room {room}: {because}"),
            (address, None) => {
                let all = address.iter().map(ToString::to_string).chain(addresses.ipv6.iter().map(ToString::to_string));
                info!("addresses of peer {member} in room {room}: {}", all.collect::<Vec<_>>().join(", "));
            }
        },
        RelayEvent::Leased { room, gateway, mac, address } => {
            info!(%mac, "address {address} of room {room} is leased to a machine behind gateway peer {gateway}");
        }
        RelayEvent::NoLease { room, mac, because } => warn!(%mac, "no address for a machine in room {room}: {because}"),
        RelayEvent::AddressTaken { room, member, address, by } => {
            warn!("{address} of peer {member} in room {room} is used by the machine with MAC {by} already");
        }
        RelayEvent::LansJoined { room, count } => info!("room {room} joins {count} LANs now"),
        RelayEvent::StandsBy { room, mac, remote, behind } => {
            info!(%mac, %remote, "a gateway on the same LAN stands by behind peer {behind} in room {room}");
        }
        RelayEvent::LanState { room, member, up } => {
            info!("LAN behind gateway peer {member} in room {room} is {}", if *up { "up" } else { "down: no carrier" });
        }
    }
}
