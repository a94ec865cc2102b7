//! A responder for one name (RFC 6762): asks whether it is free, tells its addresses, defends it, and takes another one where somebody has it.
//!
//! Pure: messages and time come in, messages go out. `simple-dns` reads and writes them. (`mdns-sd` 0.20 would do all of this, but follows a
//! name that points at itself for ever, and says nothing of an address that is gone.)

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord};

/// The port of everybody who speaks it. Who asks from another one knows only DNS (RFC 6762 §6.7).
pub(super) const PORT: u16 = 5353;
/// How long a record of a host may be remembered, in seconds (RFC 6762 §10); by who knows only DNS.
const TTL_S: u32 = 120;
const LEGACY_TTL_S: u32 = 10;
/// Questions whether a name is free (RFC 6762 §8.1), and what is told when it is (§8.3).
const PROBES: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);
/// Who asks for the same name at the same time, and comes second, waits (§8.2).
const DEFER: Duration = Duration::from_secs(1);
/// A record goes to all this often at most (§6), more often to who is about to take the name.
const ANSWER_INTERVAL: Duration = Duration::from_secs(1);
const DEFENCE_INTERVAL: Duration = Duration::from_millis(250);
/// After so many conflicts within this time one more pause is made before the next name (§8.1).
const CONFLICTS_MAX: usize = 15;
const CONFLICT_WINDOW: Duration = Duration::from_secs(10);
const CONFLICT_PAUSE: Duration = Duration::from_secs(5);
/// Names behind the first: `NAME-99` is the last.
const NUMBER_MAX: u8 = 99;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Output {
    /// Send this message to all, or to one.
    Say(Vec<u8>, Option<SocketAddr>),
    /// Tell the user.
    News(News),
    /// Poll again at that time.
    Timeout(Instant),
    /// Nothing until something happens.
    Idle,
}

/// What a user should hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// The name is this machine's.
    Found(String),
    /// Somebody has it, so this one is tried.
    Renamed { from: String, to: String },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// There are no addresses.
    Silent,
    Probing {
        sent: u8,
        next: Instant,
    },
    Told {
        sent: u8,
        next: Option<Instant>,
    },
}

/// The responder.
pub(super) struct Responder {
    label: String,
    /// From 2 on it is a part of the name.
    number: u8,
    addresses: BTreeSet<IpAddr>,
    stage: Stage,
    answered: Option<Instant>,
    conflicts: VecDeque<Instant>,
    outputs: VecDeque<Output>,
}

impl Responder {
    /// For `label.local`, which is silent until it has addresses.
    pub(super) fn new(label: String) -> Self {
        let (addresses, conflicts, outputs) = (BTreeSet::new(), VecDeque::new(), VecDeque::new());
        Self { label, number: 1, addresses, stage: Stage::Silent, answered: None, conflicts, outputs }
    }

    /// The name as it is now.
    pub(super) fn name(&self) -> String {
        match self.number {
            1 => format!("{}.local", self.label),
            number => format!("{}-{number}.local", self.label),
        }
    }

    /// The machine has these addresses now.
    pub(super) fn set_addresses(&mut self, addresses: BTreeSet<IpAddr>, now: Instant) {
        if addresses == self.addresses {
            return;
        }
        let gone: Vec<IpAddr> = self.addresses.difference(&addresses).copied().collect();
        if matches!(self.stage, Stage::Told { .. }) && !gone.is_empty() {
            let farewell = self.answer(&gone, &[], 0);
            self.say(farewell, None);
        }
        self.addresses = addresses;
        self.stage = match self.stage {
            _ if self.addresses.is_empty() => Stage::Silent,
            Stage::Silent => Stage::Probing { sent: 0, next: now },
            Stage::Told { .. } => Stage::Told { sent: 0, next: Some(now) },
            probing @ Stage::Probing { .. } => probing,
        };
    }

    /// A message from the network.
    pub(super) fn handle_input(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        if self.stage == Stage::Silent {
            return;
        }
        if packet.has_flags(PacketFlag::RESPONSE) {
            // What answers from elsewhere is no part of this (RFC 6762 §11).
            if from.port() == PORT && packet.answers.iter().chain(&packet.additional_records).any(|record| self.is_in_conflict(record)) {
                self.conflict(now);
            }
            return;
        }
        let theirs: BTreeSet<IpAddr> = packet.name_servers.iter().filter(|r| self.is_named(&r.name)).filter_map(address).collect();
        match self.stage {
            Stage::Probing { .. } if loses(&self.addresses, &theirs) => self.stage = Stage::Probing { sent: 0, next: now + DEFER },
            Stage::Told { .. } => self.answer_questions(&packet, from, !theirs.is_empty(), now),
            _ => {}
        }
    }

    /// What is to be done now.
    pub(super) fn poll_output(&mut self, now: Instant) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        match self.stage {
            Stage::Silent | Stage::Told { next: None, .. } => Output::Idle,
            Stage::Probing { next, .. } | Stage::Told { next: Some(next), .. } if next > now => Output::Timeout(next),
            Stage::Probing { sent: PROBES, .. } => {
                self.stage = Stage::Told { sent: 0, next: Some(now) };
                Output::News(News::Found(self.name()))
            }
            Stage::Probing { sent, .. } => {
                self.stage = Stage::Probing { sent: sent + 1, next: now + PROBE_INTERVAL };
                self.probe().map_or(Output::Idle, |probe| Output::Say(probe, None))
            }
            Stage::Told { sent, .. } => {
                let next = (sent + 1 < ANNOUNCEMENTS).then(|| now + ANNOUNCE_INTERVAL);
                self.stage = Stage::Told { sent: sent + 1, next };
                self.answered = Some(now);
                let all: Vec<IpAddr> = self.addresses.iter().copied().collect();
                self.answer(&all, &[], TTL_S).map_or(Output::Idle, |answer| Output::Say(answer, None))
            }
        }
    }

    /// What takes the name back, when it was told.
    pub(super) fn farewell(&self) -> Option<Vec<u8>> {
        let all: Vec<IpAddr> = self.addresses.iter().copied().collect();
        self.answer(&all, &[], 0).filter(|_| matches!(self.stage, Stage::Told { .. }))
    }

    fn answer_questions(&mut self, packet: &Packet<'_>, from: SocketAddr, is_probe: bool, now: Instant) {
        let for_us: Vec<&Question<'_>> = packet.questions.iter().filter(|question| self.is_asked(question)).collect();
        let is_known = |ip: &IpAddr| packet.answers.iter().any(|r| self.is_named(&r.name) && r.ttl >= TTL_S / 2 && address(r) == Some(*ip));
        let is_wanted = |ip: &&IpAddr| for_us.iter().any(|question| asks_for(question.qtype, ip)) && !is_known(ip);
        let (wanted, others): (Vec<IpAddr>, Vec<IpAddr>) = self.addresses.iter().partition(is_wanted);
        if wanted.is_empty() {
            return;
        }
        if from.port() != PORT {
            let answer = self.legacy_answer(packet, &wanted);
            return self.say(answer, Some(from));
        }
        let answer = self.answer(&wanted, &others, TTL_S);
        if for_us.iter().all(|question| question.unicast_response) {
            return self.say(answer, Some(from));
        }
        let pause = if is_probe { DEFENCE_INTERVAL } else { ANSWER_INTERVAL };
        if self.answered.is_none_or(|at| now.saturating_duration_since(at) >= pause) {
            self.answered = Some(now);
            self.say(answer, None);
        }
    }

    /// Somebody else says that the name is theirs. Who has it asks again, who asks takes another (RFC 6762 §9).
    fn conflict(&mut self, now: Instant) {
        while self.conflicts.front().is_some_and(|at| now.saturating_duration_since(*at) >= CONFLICT_WINDOW) {
            self.conflicts.pop_front();
        }
        self.conflicts.push_back(now);
        let next = if self.conflicts.len() > CONFLICTS_MAX { now + CONFLICT_PAUSE } else { now };
        self.conflicts.truncate(CONFLICTS_MAX + 1);
        match self.stage {
            // One pause at a time, and no new name meanwhile.
            Stage::Probing { next, .. } if next > now + PROBE_INTERVAL => return,
            Stage::Probing { .. } => {
                let from = self.name();
                self.number = if self.number < NUMBER_MAX { self.number + 1 } else { 2 };
                self.outputs.push_back(Output::News(News::Renamed { from, to: self.name() }));
            }
            _ => {}
        }
        self.stage = Stage::Probing { sent: 0, next };
    }

    fn is_in_conflict(&self, record: &ResourceRecord<'_>) -> bool {
        record.ttl > 0 && self.is_named(&record.name) && address(record).is_some_and(|address| !self.addresses.contains(&address))
    }

    fn is_asked(&self, question: &Question<'_>) -> bool {
        matches!(question.qclass, QCLASS::ANY | QCLASS::CLASS(CLASS::IN)) && self.is_named(&question.qname)
    }

    fn is_named(&self, name: &Name<'_>) -> bool {
        name.to_string().eq_ignore_ascii_case(&self.name())
    }

    fn say(&mut self, message: Option<Vec<u8>>, to: Option<SocketAddr>) {
        self.outputs.extend(message.map(|message| Output::Say(message, to)));
    }

    fn probe(&self) -> Option<Vec<u8>> {
        let name = self.name();
        let name = Name::new(&name).ok()?;
        let mut packet = Packet::new_query(0);
        packet.questions.push(Question::new(name.clone(), QTYPE::ANY, QCLASS::CLASS(CLASS::IN), false));
        packet.name_servers = self.addresses.iter().map(|ip| record(&name, *ip, TTL_S)).collect();
        packet.build_bytes_vec_compressed().ok()
    }

    fn answer(&self, answers: &[IpAddr], others: &[IpAddr], ttl: u32) -> Option<Vec<u8>> {
        let name = self.name();
        let name = Name::new(&name).ok()?;
        let records = |all: &[IpAddr]| all.iter().map(|ip| record(&name, *ip, ttl).with_cache_flush(true)).collect();
        let mut packet = Packet::new_reply(0);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        (packet.answers, packet.additional_records) = (records(answers), records(others));
        packet.build_bytes_vec_compressed().ok()
    }

    /// As a server of DNS would answer.
    fn legacy_answer(&self, question: &Packet<'_>, answers: &[IpAddr]) -> Option<Vec<u8>> {
        let name = self.name();
        let name = Name::new(&name).ok()?;
        let mut packet = Packet::new_reply(question.id());
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        packet.questions = question.questions.iter().filter(|question| self.is_asked(question)).take(1).cloned().collect();
        packet.answers = answers.iter().map(|ip| record(&name, *ip, LEGACY_TTL_S)).collect();
        packet.build_bytes_vec_compressed().ok()
    }
}

fn record<'a>(name: &Name<'a>, ip: IpAddr, ttl: u32) -> ResourceRecord<'a> {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A { address: ip.into() }),
        IpAddr::V6(ip) => RData::AAAA(AAAA { address: ip.into() }),
    };
    ResourceRecord::new(name.clone(), CLASS::IN, ttl, data)
}

fn address(record: &ResourceRecord<'_>) -> Option<IpAddr> {
    match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(a.address.into())),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.address.into())),
        _ => None,
    }
}

fn asks_for(kind: QTYPE, ip: &IpAddr) -> bool {
    match kind {
        QTYPE::ANY => true,
        QTYPE::TYPE(simple_dns::TYPE::A) => ip.is_ipv4(),
        QTYPE::TYPE(simple_dns::TYPE::AAAA) => ip.is_ipv6(),
        _ => false,
    }
}

/// Of two that ask at the same time the one with the later records wins, in the order of RFC 6762 §8.2.1: by type, then by address; and the
/// one that has more of them.
fn loses(ours: &BTreeSet<IpAddr>, theirs: &BTreeSet<IpAddr>) -> bool {
    ours.iter().lt(theirs.iter())
}

#[cfg(test)]
mod tests;
