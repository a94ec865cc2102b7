//! Follows DHCP and searches past one node: who asked, when, whether it went on, and whether anybody answered.
//!
//! Looks closely at frames to many; at frames to one only while an answer is awaited. So ordinary traffic costs it one
//! comparison a frame. Remembers a bounded number of askers.

mod search;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::{DhcpAnswer, DhcpSights, Frame, MacAddr, Ports, Sight};

pub use search::SeenSearch;
use search::{ANSWER_WAIT, Key, Search};

/// The port of mDNS, where an answer goes to all (RFC 6762 §6).
const MDNS: u16 = 5353;
/// A client whose last answer is older than this begins anew.
const EXCHANGE_GAP: Duration = Duration::from_secs(60);

/// DHCP clients that are remembered: more than a room has members.
const CLIENTS_MAX: usize = 1024;
/// Searches that are remembered, by who and where to.
const SEARCHES_MAX: usize = 256;
/// When a table is full, what is older than this is forgotten; a flood of newcomers is not remembered meanwhile.
const KEPT: Duration = Duration::from_secs(10);
/// A DHCP server that has answered nobody for this long says nothing of how it is now.
const SERVER_KEPT: Duration = Duration::from_secs(600);
/// DHCP servers that are remembered: two are too many.
const SERVERS_MAX: usize = 8;
/// Between two times of forgetting, so that a flood of newcomers costs nothing.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);
/// Where a frame is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// From this node's device, before anything is decided.
    FromDevice,
    /// On its way into the room.
    ToRoom,
    /// From the room, before anything is decided.
    FromRoom,
    /// On its way into this node's device.
    ToDevice,
}

impl Point {
    const fn comes_in(self) -> bool {
        matches!(self, Self::FromDevice | Self::FromRoom)
    }
}

/// What came of a client's questions at this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DhcpOutcome {
    /// How long ago a server refused the client its address, when none has been given since.
    pub refused: Option<Duration>,
    /// For how long servers have been answering in this exchange.
    pub answered_for: Option<Duration>,
}

#[derive(Clone, Copy, Default)]
struct Exchange {
    question_in: Option<Instant>,
    question_out: Option<Instant>,
    answer_in: Option<Instant>,
    answer_out: Option<Instant>,
    /// The first question since the last answer went on.
    asking_since: Option<Instant>,
    /// The first answer of this exchange that went on, and the last refusal.
    answered_since: Option<Instant>,
    refused_at: Option<Instant>,
}

impl Exchange {
    /// What was answered long ago is not of this exchange.
    fn begin_anew(&mut self, now: Instant) {
        if self.answer_out.is_some_and(|at| now.saturating_duration_since(at) > EXCHANGE_GAP) {
            (self.answered_since, self.refused_at) = (None, None);
        }
    }

    fn note_answer(&mut self, kind: DhcpAnswer, now: Instant) {
        self.asking_since = None;
        self.answered_since.get_or_insert(now);
        match kind {
            DhcpAnswer::Offer => {}
            DhcpAnswer::Ack => self.refused_at = None,
            DhcpAnswer::Nak => self.refused_at = Some(now),
        }
    }

    fn latest(&self) -> Option<Instant> {
        [self.question_in, self.question_out, self.answer_in, self.answer_out].into_iter().flatten().max()
    }
}

/// What one node saw.
#[derive(Default)]
pub struct Watch {
    dhcp: BTreeMap<MacAddr, Exchange>,
    searches: BTreeMap<Key, Search>,
    /// The addresses from which answers of DHCP came.
    servers: BTreeMap<MacAddr, Instant>,
    attentive_until: Option<Instant>,
    forgot_at: Option<Instant>,
}

impl Watch {
    /// A frame passes `point`.
    pub fn look(&mut self, frame: &[u8], point: Point, now: Instant) {
        // The group bit of the destination (IEEE 802 §8.2), without reading the rest.
        let to_many = frame.first().is_some_and(|octet| octet & 1 != 0);
        if !to_many && self.attentive_until.is_none_or(|until| now > until) {
            return;
        }
        let Ok(frame) = Frame::parse(frame) else { return };
        match Sight::of(&frame) {
            Some(Sight::DhcpQuestion(client)) => self.note_dhcp(client, None, point, now),
            Some(Sight::DhcpAnswer(client, kind)) => {
                self.note_server(frame.src(), point, now);
                self.note_dhcp(client, Some(kind), point, now);
            }
            // Counted where it comes in, so that passing on does not count it again.
            Some(_) if !point.comes_in() => {}
            Some(Sight::Search(ports)) => self.note_search(frame.src(), Some(ports), point, now),
            Some(Sight::Announcement(port)) => self.note_announcement(frame.src(), port, point, now),
            Some(Sight::OtherBroadcast) => self.note_search(frame.src(), None, point, now),
            Some(Sight::Reply(ports)) => self.note_reply(frame.dst(), ports, point, now),
            None => {}
        }
    }

    fn note_server(&mut self, server: MacAddr, point: Point, now: Instant) {
        self.servers.retain(|_, at| now.saturating_duration_since(*at) < SERVER_KEPT);
        if point.comes_in() && (self.servers.len() < SERVERS_MAX || self.servers.contains_key(&server)) {
            self.servers.insert(server, now);
        }
    }

    /// From which addresses DHCP was answered of late.
    pub fn dhcp_servers(&self, now: Instant) -> impl Iterator<Item = MacAddr> {
        self.servers.iter().filter(move |(_, at)| now.saturating_duration_since(**at) < SERVER_KEPT).map(|(server, _)| *server)
    }

    /// How far the DHCP of `client` came here.
    #[must_use]
    pub fn dhcp(&self, client: MacAddr, now: Instant) -> DhcpSights {
        let seen = self.dhcp.get(&client).copied().unwrap_or_default();
        let age = |at: Option<Instant>| at.map(|at| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX));
        DhcpSights {
            question_in: age(seen.question_in),
            question_out: age(seen.question_out),
            answer_in: age(seen.answer_in),
            answer_out: age(seen.answer_out),
        }
    }

    /// For how long `client` has asked without an answer; nothing when it was answered or never asked.
    #[must_use]
    pub fn asking_for(&self, client: MacAddr, now: Instant) -> Option<Duration> {
        self.dhcp.get(&client)?.asking_since.map(|since| now.saturating_duration_since(since))
    }

    /// What came of the questions of `client`.
    #[must_use]
    pub fn dhcp_outcome(&self, client: MacAddr, now: Instant) -> DhcpOutcome {
        let seen = self.dhcp.get(&client).copied().unwrap_or_default();
        let age = |at: Instant| now.saturating_duration_since(at);
        DhcpOutcome { refused: seen.refused_at.map(age), answered_for: seen.answered_since.map(age) }
    }

    /// Who looked for something or told of itself, the latest last.
    #[must_use]
    pub fn searches(&self, now: Instant) -> Vec<SeenSearch> {
        let mut all: Vec<_> = self.searches.iter().filter_map(|(key, search)| search.seen(key, now)).collect();
        all.sort_by_key(|search| std::cmp::Reverse(search.age));
        all
    }

    /// A question, or an answer of some kind.
    fn note_dhcp(&mut self, client: MacAddr, answer: Option<DhcpAnswer>, point: Point, now: Instant) {
        if !self.dhcp.contains_key(&client) && self.dhcp.len() >= CLIENTS_MAX && !self.forget(now) {
            return;
        }
        let exchange = self.dhcp.entry(client).or_default();
        let slot = match (answer, point.comes_in()) {
            (None, true) => &mut exchange.question_in,
            (None, false) => &mut exchange.question_out,
            (Some(_), true) => &mut exchange.answer_in,
            (Some(_), false) => &mut exchange.answer_out,
        };
        *slot = Some(now);
        match answer {
            None => {
                exchange.begin_anew(now);
                exchange.asking_since.get_or_insert(now);
                self.attentive_until = Some(now + ANSWER_WAIT);
            }
            Some(kind) if !point.comes_in() => exchange.note_answer(kind, now),
            Some(_) => {}
        }
    }

    fn note_search(&mut self, from: MacAddr, ports: Option<Ports>, point: Point, now: Instant) {
        let key = Key { from, port: ports.map(|ports| ports.to), is_announcement: false };
        self.count(key, ports.map_or(0, |ports| ports.from), point, now);
        if ports.is_some() {
            self.attentive_until = Some(now + ANSWER_WAIT);
        }
    }

    /// Some announcements are answers: those of mDNS, to whoever asked just now.
    fn note_announcement(&mut self, from: MacAddr, port: u16, point: Point, now: Instant) {
        self.count(Key { from, port: Some(port), is_announcement: true }, port, point, now);
        if port == MDNS {
            let asked = self.searches.iter_mut().filter(|(key, _)| key.port == Some(port) && !key.is_announcement && key.from != from);
            asked.for_each(|(_, search)| search.answer(point == Point::FromDevice, now));
        }
    }

    fn count(&mut self, key: Key, source_port: u16, point: Point, now: Instant) {
        if !self.searches.contains_key(&key) && self.searches.len() >= SEARCHES_MAX && !self.forget(now) {
            return;
        }
        self.searches.entry(key).or_insert_with(|| Search::new(now)).again(source_port, point == Point::FromDevice, now);
    }

    fn note_reply(&mut self, to: MacAddr, ports: Ports, point: Point, now: Instant) {
        let of_asker = |port: Option<u16>| Key { from: to, port, is_announcement: false };
        // The keys of one asker lie together.
        let all = self.searches.range_mut(of_asker(None)..=Key { is_announcement: true, ..of_asker(Some(u16::MAX)) });
        for (key, search) in all {
            if !key.is_announcement && key.port.is_some_and(|asked| search.is_reply(asked, ports)) {
                search.answer(point == Point::FromDevice, now);
            }
        }
    }

    /// Makes room for newcomers, when it is not too soon. Whether there is some.
    fn forget(&mut self, now: Instant) -> bool {
        if self.forgot_at.is_none_or(|at| now.saturating_duration_since(at) >= FORGET_INTERVAL) {
            self.forgot_at = Some(now);
            let is_recent = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < KEPT);
            self.dhcp.retain(|_, exchange| is_recent(exchange.latest()));
            self.searches.retain(|_, search| is_recent(Some(search.at)));
        }
        self.dhcp.len() < CLIENTS_MAX && self.searches.len() < SEARCHES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(n: u32) -> MacAddr {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    }

    fn udp(src: MacAddr, dst: MacAddr, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(28 + payload.len()).unwrap().to_be_bytes();
        let udp_len = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
        let ip = [0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7, 10, 0, 0, 9];
        [&dst.0[..], &src.0, &[8, 0], &ip, &from.to_be_bytes(), &to.to_be_bytes(), &udp_len, &[0, 0], payload].concat()
    }

    fn dhcp(op: u8, client: MacAddr) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[0] = op;
        message[28..34].copy_from_slice(&client.0);
        message
    }

    #[test]
    fn a_lease_is_followed_in_both_directions_and_its_unicast_answer_is_seen() {
        let (mut watch, now, client, server) = (Watch::default(), Instant::now(), mac(1), mac(2));
        let question = udp(client, MacAddr::BROADCAST, 68, 67, &dhcp(1, client));
        let answer = udp(server, client, 67, 68, &dhcp(2, client));
        watch.look(&answer, Point::FromDevice, now);
        assert_eq!(watch.dhcp(client, now), DhcpSights::default(), "nobody had asked: frames to one are not looked at");
        watch.look(&question, Point::FromRoom, now);
        watch.look(&question, Point::ToDevice, now);
        let later = now + Duration::from_secs(2);
        watch.look(&answer, Point::FromDevice, later);
        let sights = watch.dhcp(client, later + Duration::from_millis(5));
        assert_eq!(sights, DhcpSights { question_in: Some(2005), question_out: Some(2005), answer_in: Some(5), answer_out: None });
        assert_eq!(watch.dhcp(mac(9), later), DhcpSights::default());
        assert_eq!(watch.asking_for(client, later), Some(Duration::from_secs(2)), "the answer has not gone on");
        watch.look(&answer, Point::ToRoom, later);
        assert_eq!(watch.asking_for(client, later), None);
    }

    #[test]
    fn whoever_answers_is_a_dhcp_server_for_ten_minutes_and_a_flood_of_them_is_bounded() {
        let (mut watch, now, client) = (Watch::default(), Instant::now(), mac(1));
        let answer = |server| udp(server, MacAddr::BROADCAST, 67, 68, &dhcp(2, client));
        watch.look(&answer(mac(2)), Point::FromRoom, now);
        watch.look(&answer(mac(2)), Point::ToDevice, now);
        watch.look(&answer(mac(3)), Point::FromRoom, now + SERVER_KEPT / 2);
        assert_eq!(watch.dhcp_servers(now + SERVER_KEPT / 2).collect::<Vec<_>>(), [mac(2), mac(3)]);
        assert_eq!(watch.dhcp_servers(now + SERVER_KEPT).collect::<Vec<_>>(), [mac(3)]);
        (0..1000).for_each(|n| watch.look(&answer(mac(n)), Point::FromRoom, now));
        assert_eq!(watch.dhcp_servers(now).count(), SERVERS_MAX);
    }

    #[test]
    fn a_refusal_holds_until_an_address_is_given_and_the_next_exchange_begins_anew() {
        let (mut watch, now, client, server) = (Watch::default(), Instant::now(), mac(1), mac(2));
        let question = udp(client, MacAddr::BROADCAST, 68, 67, &dhcp(1, client));
        let answer = |kind: u8| udp(server, MacAddr::BROADCAST, 67, 68, &[&dhcp(2, client)[..], &[53, 1, kind, 255]].concat());
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        for (seconds, kind) in [(0, 6), (5, 2), (6, 6)] {
            watch.look(&question, Point::FromDevice, at(seconds));
            watch.look(&answer(kind), Point::ToDevice, at(seconds));
        }
        let outcome = watch.dhcp_outcome(client, at(8));
        assert_eq!(outcome, DhcpOutcome { refused: Some(Duration::from_secs(2)), answered_for: Some(Duration::from_secs(8)) });
        watch.look(&answer(5), Point::ToDevice, at(9));
        assert_eq!(watch.dhcp_outcome(client, at(9)).refused, None);
        watch.look(&question, Point::FromDevice, at(100));
        assert_eq!(watch.dhcp_outcome(client, at(100)), DhcpOutcome::default());
    }

    /// The one search of `from` at `port`.
    fn the_search(watch: &Watch, from: MacAddr, port: u16, now: Instant) -> SeenSearch {
        *watch.searches(now).iter().find(|s| s.from == from && s.port == Some(port) && !s.is_announcement).unwrap()
    }

    #[test]
    fn a_search_is_answered_by_its_port_back_to_who_asked() {
        let (mut watch, now, player, server) = (Watch::default(), Instant::now(), mac(1), mac(2));
        let search = udp(player, MacAddr::BROADCAST, 40_000, 27_960, b"getinfo");
        let ask = |watch: &mut Watch, at: Instant| {
            watch.look(&search, Point::FromDevice, at);
            watch.look(&search, Point::ToRoom, at);
        };
        ask(&mut watch, now);
        assert_eq!(the_search(&watch, player, 27_960, now).answered, None, "it has only just been sent");
        (0..2).for_each(|_| ask(&mut watch, now));
        watch.look(&udp(server, player, 27_961, 40_001, b"another's"), Point::FromRoom, now);
        assert_eq!(the_search(&watch, player, 27_960, now).answered, Some(false));
        watch.look(&udp(server, player, 27_960, 40_000, b"info"), Point::FromRoom, now);
        let expected = SeenSearch {
            from: player,
            port: Some(27_960),
            is_announcement: false,
            count: 3,
            unanswered: 0,
            age: Duration::ZERO,
            from_device: true,
            answered: Some(true),
        };
        assert_eq!(watch.searches(now), [expected]);
        // The server goes away: its last answer holds no longer, and some time later nothing of it is told.
        let later = now + Duration::from_secs(30);
        (0..2).for_each(|_| ask(&mut watch, later));
        assert_eq!(the_search(&watch, player, 27_960, later).answered, Some(true), "one or two may be lost");
        ask(&mut watch, later);
        assert_eq!(the_search(&watch, player, 27_960, later).answered, Some(false));
        assert_eq!(watch.searches(later + Duration::from_secs(601)), []);
        // Services answer from a port of their own, to the port that asked.
        watch.look(&udp(server, player, 50_000, 40_000, b"info"), Point::FromRoom, later);
        assert_eq!(the_search(&watch, player, 27_960, later).answered, Some(true));
    }

    #[test]
    fn an_answer_to_all_is_an_answer_and_what_is_told_unasked_is_no_search() {
        let (mut watch, now, here, there, third) = (Watch::default(), Instant::now(), mac(1), mac(2), mac(3));
        let mdns = MacAddr([1, 0, 0x5e, 0, 0, 0xfb]);
        let (question, answer) = ([0, 0, 0, 0, 0, 1], [0, 0, 0x84, 0, 0, 0]);
        watch.look(&udp(there, mdns, 5353, 5353, &question), Point::FromRoom, now);
        watch.look(&udp(here, mdns, 5353, 5353, &question), Point::FromDevice, now);
        watch.look(&udp(third, mdns, 5353, 5353, &answer), Point::FromRoom, now + Duration::from_secs(1));
        let soon = now + Duration::from_secs(1);
        assert_eq!(the_search(&watch, here, 5353, soon).answered, Some(true));
        assert_eq!(the_search(&watch, there, 5353, soon).answered, Some(false), "another answered, not this host");
        watch.look(&udp(here, mdns, 5353, 5353, &answer), Point::FromDevice, soon);
        assert_eq!(the_search(&watch, there, 5353, soon).answered, Some(true), "this host did");
        let told: Vec<_> = watch.searches(soon).into_iter().filter(|s| s.is_announcement).map(|s| (s.from, s.count, s.answered)).collect();
        assert_eq!(told, [(here, 1, None), (third, 1, None)]);
    }

    #[test]
    fn a_flood_of_askers_is_bounded_and_newcomers_are_heard_when_it_is_over() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let ask = |watch: &mut Watch, n: u32, at: Instant| {
            watch.look(&udp(mac(n), MacAddr::BROADCAST, 68, 67, &dhcp(1, mac(n))), Point::FromRoom, at);
            watch.look(&udp(mac(n), MacAddr::BROADCAST, 1, 5353, b"x"), Point::FromRoom, at);
        };
        for n in 0..3000 {
            ask(&mut watch, n, now + Duration::from_millis(n.into()));
        }
        assert_eq!((watch.dhcp.len(), watch.searches.len()), (CLIENTS_MAX, SEARCHES_MAX));
        let later = now + Duration::from_secs(14);
        ask(&mut watch, 5000, later);
        assert_eq!((watch.dhcp(mac(5000), later).question_in, watch.searches(later).len()), (Some(0), 1));
    }
}
