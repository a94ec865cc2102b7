//! The room's own DHCP: consoles and other machines on the gateway's LAN that cannot run a client get addresses of the room, which the
//! relay knows (docs/decisions/0041).
//!
//! Pure: frames, the relay's messages and time come in, frames and messages go out. Whose address is whose, the relay decides; what is
//! remembered here only carries machines over an outage of the relay.

mod message;
mod rivals;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use dhcproto::v4::MessageType;
use ipnet::Ipv4Net;
use lanparty_node::Side;
use lanparty_proto::{Arp, AssignedAddresses, Control, MacAddr, is_private_network};
use schemars::JsonSchema;
use serde::Serialize;

use message::{Heard, LEASE_TIME, Question, Terms};
use rivals::{Rival, Rivals};

/// Questions that wait for the relay: more than a LAN has machines that ask in one moment.
const QUESTIONS_MAX: usize = 256;
/// What the relay has not answered by then the client has asked again.
const QUESTION_KEPT: Duration = Duration::from_secs(10);
/// Leases that are remembered.
const LEASES_MAX: usize = 1024;
/// While the relay is away a lease is renewed until it has not confirmed it for so long: it keeps an address for an hour.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(3600);
/// Without an address of its own there is nothing to do.
const IDLE: Duration = Duration::from_secs(60);
/// Why a machine has no address is told this often at most.
const NO_LEASE_INTERVAL: Duration = Duration::from_secs(60);

/// What happens.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// A frame that may concern it.
    Frame(Side, &'a [u8]),
    /// The relay assigned this gateway its own address, or did not; nothing from one that knows no leases.
    Assigned(Option<&'a AssignedAddresses>),
    /// The relay said something.
    Control(&'a Control),
    /// The room's LAN MTU now, in bytes.
    LanMtu(u16),
    /// The relay is away.
    Left,
    /// The LAN's cable was plugged in again.
    LanReturned,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    /// Send this frame.
    Say(Side, Vec<u8>),
    /// Tell the relay.
    Tell(Control),
    /// Tell the operator.
    News(News),
    /// Poll again at that time.
    Timeout(Instant),
}

/// What an operator should hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// It answers from now on.
    Serves { network: Ipv4Net },
    /// It does not, for the reason in words.
    Silent { because: String },
    /// A machine has an address.
    Leased { mac: MacAddr, address: Ipv4Addr },
    /// A machine has none, for the reason in words.
    NoLease { mac: MacAddr, because: String },
    /// A machine found that somebody else has its address.
    Declined { mac: MacAddr, address: Ipv4Addr },
}

/// A server, for `lanparty status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub(crate) struct DhcpReport {
    /// Whether machines are answered.
    serves: bool,
    /// Why not, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// The server's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    address: Option<Ipv4Net>,
    /// Machines that have an address, of those that asked here.
    leases: Vec<LeaseReport>,
}

/// The address of one machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
struct LeaseReport {
    /// Its MAC address.
    mac: MacAddr,
    /// Its address.
    address: Ipv4Addr,
    /// For how long it has it still, in seconds.
    seconds_left: u64,
}

struct Waiting {
    side: Side,
    question: Question,
    since: Instant,
}

struct Lease {
    address: Ipv4Addr,
    /// When the client had its last word, and the relay.
    given: Instant,
    confirmed: Instant,
}

/// The server.
pub(crate) struct DhcpServer {
    mac: MacAddr,
    own: Option<Ipv4Net>,
    /// Why it has no address of its own.
    because: Option<String>,
    mtu: u16,
    is_connected: bool,
    questions: BTreeMap<MacAddr, Waiting>,
    leases: BTreeMap<MacAddr, Lease>,
    rivals: Rivals,
    /// What the operator was told last.
    told: Option<News>,
    told_no_lease: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl DhcpServer {
    /// A server with that MAC address, which is no other's on the LAN.
    pub(crate) const fn new(mac: MacAddr, mtu: u16, now: Instant) -> Self {
        Self {
            mac,
            own: None,
            because: None,
            mtu,
            is_connected: false,
            questions: BTreeMap::new(),
            leases: BTreeMap::new(),
            rivals: Rivals::new(now),
            told: None,
            told_no_lease: None,
            outputs: VecDeque::new(),
        }
    }

    /// Its MAC address.
    pub(crate) const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The server's own address.
    pub(crate) const fn own(&self) -> Option<Ipv4Net> {
        self.own
    }

    /// Something happened.
    pub(crate) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Frame(side, bytes) => match message::read(bytes) {
                Some(Heard::Question(question)) => self.question(side, question, now),
                Some(Heard::Answer { from, server }) => self.other_answer(side, from, server, now),
                Some(Heard::Arp(arp)) => self.arp(side, &arp),
                None => {}
            },
            Input::Assigned(assigned) => self.assigned(assigned, now),
            Input::Control(Control::Addresses(assigned)) => self.assigned(Some(assigned), now),
            Input::Control(Control::Lease { mac, takes, address, because }) => self.leased(*mac, *takes, *address, because.as_deref(), now),
            Input::Control(_) => {}
            Input::LanMtu(mtu) => self.mtu = mtu,
            Input::Left => self.is_connected = false,
            Input::LanReturned => self.rivals.ask_anew(now),
        }
    }

    /// What is to be done now.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Output {
        // One that stands by would ask the one before it.
        if self.own.is_some()
            && self.rivals.is_due(now)
            && let Some(probe) = message::probe(self.mac)
        {
            self.outputs.push_back(Output::Say(Side::Device, probe));
        }
        self.rivals.take_gone(now);
        self.say_how_it_is(now);
        let next = if self.own.is_some() { self.rivals.next() } else { now + IDLE };
        self.outputs.pop_front().unwrap_or(Output::Timeout(next))
    }

    /// How it is, for `lanparty status`.
    pub(crate) fn report(&self, now: Instant) -> DhcpReport {
        let left = |lease: &Lease| Duration::from_secs(LEASE_TIME.into()).saturating_sub(now.saturating_duration_since(lease.given));
        let all =
            self.leases.iter().map(|(mac, lease)| LeaseReport { mac: *mac, address: lease.address, seconds_left: left(lease).as_secs() });
        let leases = all.filter(|lease| lease.seconds_left > 0).collect();
        let silent = self.silent(now);
        DhcpReport { serves: silent.is_none(), because: silent, address: self.own, leases }
    }

    fn assigned(&mut self, assigned: Option<&AssignedAddresses>, now: Instant) {
        self.is_connected = true;
        let older = || "the relay gives out no addresses for machines on a LAN; it is older than this gateway".to_owned();
        let judged = match assigned.map(|assigned| (assigned.ipv4, assigned.because.clone())) {
            None => Err(older()),
            Some((None, because)) => Err(because.unwrap_or_else(|| "the relay gives no reason".to_owned())),
            Some((Some(net), _)) if !is_private_network(net) => {
                Err(format!("the relay assigned {net}, which is in no private network (RFC 1918)"))
            }
            Some((Some(net), _)) => Ok(net),
        };
        let before = self.own;
        (self.own, self.because) = match judged {
            Ok(net) => (Some(net), None),
            Err(because) => (None, Some(because)),
        };
        if self.own.map(|net| net.trunc()) != before.map(|net| net.trunc()) {
            self.leases.clear();
        }
        if before.is_none() {
            self.rivals = Rivals::new(now);
        }
    }

    /// Why nobody is answered, in words.
    fn silent(&self, now: Instant) -> Option<String> {
        if self.own.is_none() {
            return Some(self.because.clone().unwrap_or_else(|| "the relay was not reached yet".to_owned()));
        }
        if let Some(rival) = self.rivals.current(now) {
            return Some(rival.in_words());
        }
        (!self.rivals.has_asked(now)).then(|| "the LAN is asked first whether it has a DHCP server".to_owned())
    }

    fn say_how_it_is(&mut self, now: Instant) {
        let news = match (self.own, self.silent(now)) {
            (Some(own), None) => News::Serves { network: own.trunc() },
            // These pass by themselves within seconds.
            (Some(_), Some(_)) if self.rivals.current(now).is_none() => return,
            (None, _) if self.because.is_none() => return,
            (_, because) => News::Silent { because: because.unwrap_or_default() },
        };
        if self.told.as_ref() != Some(&news) {
            self.told = Some(news.clone());
            self.outputs.push_back(Output::News(news));
        }
    }

    fn question(&mut self, side: Side, question: Question, now: Instant) {
        // Members ask for themselves alone. What another LAN's relay agent asks is for its own server.
        let is_anothers = side == Side::Room && question.from != question.client;
        let Some(own) = self.own.filter(|_| !is_anothers && !question.is_relayed && question.client != self.mac) else { return };
        if let Some(server) = question.server.filter(|server| *server != own.addr()) {
            self.other_chosen(side, &question, server, own, now);
            return;
        }
        if self.silent(now).is_some() {
            return;
        }
        match question.kind {
            MessageType::Discover => self.ask(side, question, false, now),
            MessageType::Request => self.request(side, question, own, now),
            MessageType::Inform => self.answer(side, &question, MessageType::Ack, None),
            MessageType::Decline => self.declined(&question),
            MessageType::Release => drop(self.leases.remove(&question.client)),
            _ => {}
        }
    }

    fn request(&mut self, side: Side, question: Question, own: Ipv4Net, now: Instant) {
        let Some(wanted) = question.wanted.or(question.has) else { return };
        if !own.contains(&wanted) {
            return self.answer(side, &question, MessageType::Nak, None);
        }
        if self.is_connected {
            return self.ask(side, question, true, now);
        }
        let unconfirmed = |lease: &Lease| now.saturating_duration_since(lease.confirmed);
        if let Some(lease) =
            self.leases.get_mut(&question.client).filter(|lease| lease.address == wanted && unconfirmed(lease) < UNCONFIRMED_MAX)
        {
            lease.given = now;
            self.answer(side, &question, MessageType::Ack, Some(wanted));
        }
    }

    fn ask(&mut self, side: Side, question: Question, takes: bool, now: Instant) {
        self.questions.retain(|_, waiting| now.saturating_duration_since(waiting.since) < QUESTION_KEPT);
        if !self.is_connected || (self.questions.len() >= QUESTIONS_MAX && !self.questions.contains_key(&question.client)) {
            return;
        }
        let (mac, wanted) = (question.client, question.wanted.or(question.has));
        self.questions.insert(mac, Waiting { side, question, since: now });
        self.outputs.push_back(Output::Tell(Control::AskLease { mac, wanted, takes }));
    }

    /// The relay answers.
    fn leased(&mut self, mac: MacAddr, takes: bool, address: Option<Ipv4Net>, because: Option<&str>, now: Instant) {
        let is_meant = |waiting: &Waiting| (waiting.question.kind == MessageType::Request) == takes;
        if !self.questions.get(&mac).is_some_and(is_meant) {
            return;
        }
        let Some(Waiting { side, question, .. }) = self.questions.remove(&mac) else { return };
        let wanted = question.wanted.or(question.has);
        let address = address.map(|net| net.addr()).filter(|address| self.own.is_some_and(|own| own.contains(address)));
        match address {
            Some(address) if !takes => self.answer(side, &question, MessageType::Offer, Some(address)),
            Some(address) if wanted == Some(address) => {
                self.note_lease(mac, address, now);
                self.answer(side, &question, MessageType::Ack, Some(address));
            }
            // It asks from the beginning, and hears which one it may have.
            Some(_) => self.answer(side, &question, MessageType::Nak, None),
            None => {
                self.no_lease(mac, because, now);
                if takes {
                    self.answer(side, &question, MessageType::Nak, None);
                }
            }
        }
    }

    fn note_lease(&mut self, mac: MacAddr, address: Ipv4Addr, now: Instant) {
        if self.leases.len() >= LEASES_MAX {
            self.leases.retain(|_, lease| now.saturating_duration_since(lease.given).as_secs() < LEASE_TIME.into());
        }
        let is_news = self.leases.get(&mac).is_none_or(|before| before.address != address);
        if self.leases.len() < LEASES_MAX || self.leases.contains_key(&mac) {
            self.leases.insert(mac, Lease { address, given: now, confirmed: now });
        }
        if is_news {
            self.outputs.push_back(Output::News(News::Leased { mac, address }));
        }
    }

    fn no_lease(&mut self, mac: MacAddr, because: Option<&str>, now: Instant) {
        self.leases.remove(&mac);
        if self.told_no_lease.is_none_or(|at| now.saturating_duration_since(at) >= NO_LEASE_INTERVAL) {
            self.told_no_lease = Some(now);
            let because = because.unwrap_or("the relay gives no reason").to_owned();
            self.outputs.push_back(Output::News(News::NoLease { mac, because }));
        }
    }

    fn declined(&mut self, question: &Question) {
        let (mac, Some(address)) = (question.client, question.wanted) else { return };
        self.leases.remove(&mac);
        self.outputs.push_back(Output::Tell(Control::LeaseTaken { mac, address }));
        self.outputs.push_back(Output::News(News::Declined { mac, address }));
    }

    fn answer(&mut self, side: Side, question: &Question, kind: MessageType, given: Option<Ipv4Addr>) {
        let Some(own) = self.own else { return };
        let frame = question.answered(kind, given, &Terms { mac: self.mac, own, mtu: self.mtu });
        self.outputs.extend(frame.map(|frame| Output::Say(side, frame)));
    }

    /// Clients renew at the server's own address, and ask for its MAC address first.
    fn arp(&mut self, side: Side, arp: &Arp) {
        if self.own.is_some_and(|own| own.addr() == arp.target) && arp.sender != arp.target && arp.sender_mac != self.mac {
            self.outputs.push_back(Output::Say(side, arp.answer(self.mac)));
        }
    }

    fn other_answer(&mut self, side: Side, from: MacAddr, server: Option<Ipv4Addr>, now: Instant) {
        let is_own = from == self.mac || self.own.is_some_and(|own| server == Some(own.addr()));
        if self.own.is_some() && !is_own && !self.is_of_the_room(server) {
            self.rivals.note(Rival { mac: Some(from), server, is_elsewhere: side == Side::Room }, now);
        }
    }

    /// A client took the offer of another server. Where its answers go past this gateway, that is all there is to see of it.
    fn other_chosen(&mut self, side: Side, question: &Question, server: Ipv4Addr, own: Ipv4Net, now: Instant) {
        if side == Side::Device && question.kind == MessageType::Request && !own.contains(&server) {
            self.rivals.note(Rival { mac: None, server: Some(server), is_elsewhere: false }, now);
        }
    }

    /// Another gateway of the room that hands out its addresses has one of them itself.
    fn is_of_the_room(&self, server: Option<Ipv4Addr>) -> bool {
        self.own.zip(server).is_some_and(|(own, server)| own.contains(&server))
    }
}

#[cfg(test)]
mod tests;
