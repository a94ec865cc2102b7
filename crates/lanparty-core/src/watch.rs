//! Follows DHCP and searches past one node: who asked, when, whether it went on, and whether anybody answered.
//!
//! Looks closely at frames to many; at frames to one only while an answer is awaited. So ordinary traffic costs it one
//! comparison a frame. Remembers a bounded number of askers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::{DhcpSights, Frame, MacAddr, Sight};

/// DHCP clients that are remembered: more than a room has members.
const CLIENTS_MAX: usize = 1024;
/// Searches that are remembered, by who and where to.
const SEARCHES_MAX: usize = 256;
/// When a table is full, what is older than this is forgotten; a flood of newcomers is not remembered meanwhile.
const KEPT: Duration = Duration::from_secs(10);
/// Between two times of forgetting, so that a flood of newcomers costs nothing.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer is awaited after a question. DHCP clients ask again after 4 s at first (RFC 2131 §4.1).
const ANSWER_WAIT: Duration = Duration::from_secs(5);

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

/// Somebody who looks for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenSearch {
    /// Who.
    pub from: MacAddr,
    /// Destination port of UDP; nothing for other broadcast.
    pub port: Option<u16>,
    /// How often.
    pub count: u64,
    /// How long ago the last time was.
    pub age: Duration,
    /// Whether it came from this node's device.
    pub from_device: bool,
    /// Whether somebody answered, from that port and to that address.
    pub answered: bool,
}

#[derive(Clone, Copy)]
struct Search {
    count: u64,
    at: Instant,
    from_device: bool,
    answered: bool,
}

#[derive(Clone, Copy, Default)]
struct Exchange {
    question_in: Option<Instant>,
    question_out: Option<Instant>,
    answer_in: Option<Instant>,
    answer_out: Option<Instant>,
    /// The first question since the last answer went on.
    asking_since: Option<Instant>,
}

impl Exchange {
    fn latest(&self) -> Option<Instant> {
        [self.question_in, self.question_out, self.answer_in, self.answer_out].into_iter().flatten().max()
    }
}

/// What one node saw.
#[derive(Default)]
pub struct Watch {
    dhcp: BTreeMap<MacAddr, Exchange>,
    searches: BTreeMap<(MacAddr, Option<u16>), Search>,
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
            Some(Sight::DhcpQuestion(client)) => self.note_dhcp(client, true, point, now),
            Some(Sight::DhcpAnswer(client)) => self.note_dhcp(client, false, point, now),
            Some(Sight::Search(port)) => self.note_search(frame.src(), Some(port), point, now),
            Some(Sight::OtherBroadcast) => self.note_search(frame.src(), None, point, now),
            Some(Sight::Reply(port)) => self.note_reply(frame.dst(), port, point),
            None => {}
        }
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

    /// Who looked for something, the latest last.
    #[must_use]
    pub fn searches(&self, now: Instant) -> Vec<SeenSearch> {
        let one = |(key, s): (&(MacAddr, Option<u16>), &Search)| SeenSearch {
            from: key.0,
            port: key.1,
            count: s.count,
            age: now.saturating_duration_since(s.at),
            from_device: s.from_device,
            answered: s.answered,
        };
        let mut all: Vec<_> = self.searches.iter().map(one).collect();
        all.sort_by_key(|search| std::cmp::Reverse(search.age));
        all
    }

    fn note_dhcp(&mut self, client: MacAddr, is_question: bool, point: Point, now: Instant) {
        if !self.dhcp.contains_key(&client) && self.dhcp.len() >= CLIENTS_MAX && !self.forget(now) {
            return;
        }
        let exchange = self.dhcp.entry(client).or_default();
        let slot = match (is_question, point.comes_in()) {
            (true, true) => &mut exchange.question_in,
            (true, false) => &mut exchange.question_out,
            (false, true) => &mut exchange.answer_in,
            (false, false) => &mut exchange.answer_out,
        };
        *slot = Some(now);
        if !is_question && !point.comes_in() {
            exchange.asking_since = None;
        }
        if is_question {
            exchange.asking_since.get_or_insert(now);
            self.attentive_until = Some(now + ANSWER_WAIT);
        }
    }

    /// Counted where it comes in, so that passing on does not count it again.
    fn note_search(&mut self, from: MacAddr, port: Option<u16>, point: Point, now: Instant) {
        if !point.comes_in() {
            return;
        }
        let key = (from, port);
        if !self.searches.contains_key(&key) && self.searches.len() >= SEARCHES_MAX && !self.forget(now) {
            return;
        }
        let from_device = point == Point::FromDevice;
        let search = self.searches.entry(key).or_insert(Search { count: 0, at: now, from_device, answered: false });
        (search.count, search.at, search.from_device) = (search.count + 1, now, from_device);
        if port.is_some() {
            self.attentive_until = Some(now + ANSWER_WAIT);
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

    /// An answer comes from the port that was asked, back to who asked.
    fn note_reply(&mut self, to: MacAddr, port: u16, point: Point) {
        if point.comes_in()
            && let Some(search) = self.searches.get_mut(&(to, Some(port)))
        {
            search.answered = true;
        }
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
    fn a_search_is_answered_by_its_port_back_to_who_asked() {
        let (mut watch, now, player, server) = (Watch::default(), Instant::now(), mac(1), mac(2));
        let search = udp(player, MacAddr::BROADCAST, 40_000, 27_960, b"getinfo");
        for _ in 0..3 {
            watch.look(&search, Point::FromDevice, now);
            watch.look(&search, Point::ToRoom, now);
        }
        watch.look(&udp(server, player, 27_961, 40_000, b"another port"), Point::FromRoom, now);
        assert!(!watch.searches(now)[0].answered);
        watch.look(&udp(server, player, 27_960, 40_000, b"info"), Point::FromRoom, now);
        let seen = SeenSearch { from: player, port: Some(27_960), count: 3, age: Duration::ZERO, from_device: true, answered: true };
        assert_eq!(watch.searches(now), [seen]);
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
