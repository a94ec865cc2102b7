use proptest::prelude::*;

use super::*;

const ALL: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 128, 0, 9)), PORT);
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 128, 0, 9)), 40_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set(all: &[&str]) -> BTreeSet<IpAddr> {
    all.iter().map(|text| ip(text)).collect()
}

/// A responder, the time, and what it wanted done since it was last asked.
struct Desk {
    responder: Responder,
    now: Instant,
    said: Vec<(Vec<u8>, Option<SocketAddr>)>,
    news: Vec<News>,
}

impl Desk {
    fn new(label: &str) -> Self {
        Self { responder: Responder::new(label.to_owned()), now: Instant::now(), said: vec![], news: vec![] }
    }

    /// One whose name is told.
    fn told(addresses: &[&str]) -> Self {
        let mut desk = Self::new("anna");
        desk.set(addresses);
        desk.pass(3000);
        assert_eq!(desk.news, [News::Found("anna.local".to_owned())]);
        desk.said.clear();
        desk.news.clear();
        desk
    }

    fn set(&mut self, addresses: &[&str]) {
        self.responder.set_addresses(set(addresses), self.now);
        self.pass(0);
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            match self.responder.poll_output(self.now) {
                Output::Say(message, to) => self.said.push((message, to)),
                Output::News(news) => self.news.push(news),
                Output::Timeout(at) if at <= end => self.now = at,
                Output::Timeout(_) | Output::Idle => break,
            }
        }
        self.now = end;
    }

    fn hear(&mut self, message: &[u8], from: SocketAddr) {
        self.responder.handle_input(message, from, self.now);
        self.pass(0);
    }

    fn ask(&mut self, name: &str, kind: QTYPE, known: &[&str], from: SocketAddr) -> Option<Vec<IpAddr>> {
        self.said.clear();
        let mut packet = Packet::new_query(7);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name.clone(), kind, QCLASS::CLASS(CLASS::IN), false));
        packet.answers = known.iter().map(|text| record(&name, ip(text), TTL_S)).collect();
        self.hear(&packet.build_bytes_vec().unwrap(), from);
        self.said.first().map(|(message, _)| answers(message))
    }
}

fn answers(message: &[u8]) -> Vec<IpAddr> {
    Packet::parse(message).unwrap().answers.iter().filter_map(address).collect()
}

/// What somebody else says of a name.
fn claim(name: &str, address: &str) -> Vec<u8> {
    let mut packet = Packet::new_reply(0);
    packet.answers.push(record(&Name::new(name).unwrap(), ip(address), TTL_S));
    packet.build_bytes_vec().unwrap()
}

fn a() -> QTYPE {
    QTYPE::TYPE(simple_dns::TYPE::A)
}

#[test]
fn a_name_is_asked_for_three_times_and_then_told_twice() {
    let mut desk = Desk::new("anna");
    desk.pass(5000);
    assert!(desk.said.is_empty(), "without an address there is nothing to tell");
    desk.set(&["10.128.0.5", "fd00::5"]);
    desk.pass(749);
    let probes: Vec<Packet<'_>> = desk.said.iter().map(|(message, _)| Packet::parse(message).unwrap()).collect();
    assert!(probes.len() == 3 && desk.news.is_empty());
    assert!(probes.iter().all(|p| p.questions[0].qname.to_string() == "anna.local" && p.name_servers.len() == 2));
    desk.said.clear();
    desk.pass(1);
    assert_eq!(desk.news, [News::Found("anna.local".to_owned())]);
    desk.pass(5000);
    assert_eq!(desk.said.len(), 2);
    for (message, to) in &desk.said {
        let packet = Packet::parse(message).unwrap();
        assert!(to.is_none() && packet.answers.iter().all(|record| record.cache_flush && record.ttl == TTL_S));
        assert_eq!(answers(message), [ip("10.128.0.5"), ip("fd00::5")]);
    }
}

#[test]
fn who_asks_is_answered_once_a_second_and_not_what_he_knows() {
    let mut desk = Desk::told(&["10.128.0.5", "fd00::5"]);
    assert_eq!(desk.ask("ANNA.local", a(), &[], ALL), Some(vec![ip("10.128.0.5")]));
    let (message, to) = &desk.said[0];
    assert!(to.is_none() && Packet::parse(message).unwrap().additional_records.iter().filter_map(address).eq([ip("fd00::5")]));
    assert_eq!(desk.ask("anna.local", a(), &[], ALL), None, "everybody has just heard it");
    desk.pass(1000);
    assert_eq!(desk.ask("anna.local", QTYPE::ANY, &["10.128.0.5"], ALL), Some(vec![ip("fd00::5")]));
    desk.pass(1000);
    for (name, kind) in [("berta.local", a()), ("anna.local.local", a()), ("anna", a()), ("anna.local", QTYPE::TYPE(simple_dns::TYPE::TXT))]
    {
        assert_eq!(desk.ask(name, kind, &[], ALL), None, "{name}");
    }
    // Who knows only DNS.
    assert_eq!(desk.ask("anna.local", a(), &[], RESOLVER), Some(vec![ip("10.128.0.5")]));
    let (message, to) = &desk.said[0];
    let packet = Packet::parse(message).unwrap();
    assert_eq!((*to, packet.id(), packet.questions.len()), (Some(RESOLVER), 7, 1));
    assert!(packet.answers.iter().all(|record| !record.cache_flush && record.ttl == LEGACY_TTL_S));
}

#[test]
fn a_name_that_somebody_has_is_left_to_him() {
    let mut desk = Desk::new("anna");
    desk.set(&["10.128.0.5"]);
    desk.hear(&claim("anna.local", "10.128.0.9"), ALL);
    assert_eq!(desk.news, [News::Renamed { from: "anna.local".to_owned(), to: "anna-2.local".to_owned() }]);
    desk.hear(&claim("anna-2.local", "10.128.0.5"), ALL);
    desk.pass(3000);
    assert_eq!(desk.news[1..], [News::Found("anna-2.local".to_owned())], "one's own address is no conflict");
    desk.hear(&claim("anna-2.local", "10.128.0.9"), RESOLVER);
    assert_eq!(desk.responder.stage, Stage::Told { sent: 2, next: None }, "nor is what comes from elsewhere");
}

#[test]
fn who_has_a_name_asks_again_when_somebody_else_says_it() {
    let mut desk = Desk::told(&["10.128.0.5"]);
    desk.hear(&claim("anna.local", "10.128.0.9"), ALL);
    desk.pass(3000);
    assert_eq!(desk.news, [News::Found("anna.local".to_owned())], "he was not heard of again");
    desk.hear(&claim("anna.local", "10.128.0.9"), ALL);
    desk.hear(&claim("anna.local", "10.128.0.9"), ALL);
    assert_eq!(desk.news[1..], [News::Renamed { from: "anna.local".to_owned(), to: "anna-2.local".to_owned() }]);
}

#[test]
fn of_two_that_ask_at_once_the_one_with_the_later_address_has_the_name() {
    let mut desks = [Desk::new("anna"), Desk::new("anna")];
    desks[0].set(&["10.128.0.5"]);
    desks[1].set(&["10.128.0.9"]);
    for _ in 0..40 {
        let said: Vec<Vec<u8>> = desks.iter_mut().flat_map(|desk| desk.said.drain(..).map(|(message, _)| message)).collect();
        for (desk, own) in desks.iter_mut().zip(["10.128.0.5", "10.128.0.9"]) {
            let is_others = |message: &&Vec<u8>| {
                let packet = Packet::parse(message).unwrap();
                packet.answers.iter().chain(&packet.name_servers).filter_map(address).all(|address| address != ip(own))
            };
            said.iter().filter(is_others).for_each(|message| desk.hear(message, ALL));
            desk.pass(100);
        }
    }
    assert_eq!(desks.map(|desk| desk.responder.name()), ["anna-2.local", "anna.local"]);
}

#[test]
fn an_address_that_is_gone_is_taken_back_and_so_is_the_name_at_the_end() {
    let mut desk = Desk::told(&["10.128.0.5", "fd00::5"]);
    desk.set(&["10.128.0.7", "fd00::5"]);
    let farewell = Packet::parse(&desk.said[0].0).unwrap();
    assert!(farewell.answers.iter().all(|record| record.ttl == 0) && answers(&desk.said[0].0) == [ip("10.128.0.5")]);
    assert_eq!(answers(&desk.said[1].0), [ip("10.128.0.7"), ip("fd00::5")]);
    let farewell = desk.responder.farewell().unwrap();
    assert!(Packet::parse(&farewell).unwrap().answers.iter().all(|record| record.ttl == 0) && answers(&farewell).len() == 2);
    desk.set(&[]);
    assert_eq!((desk.responder.stage, desk.responder.farewell()), (Stage::Silent, None));
}

#[test]
fn a_flood_of_claims_makes_no_flood_of_names() {
    let mut desk = Desk::told(&["10.128.0.5"]);
    for _ in 0..1000 {
        let name = desk.responder.name();
        desk.hear(&claim(&name, "10.128.0.9"), ALL);
        desk.pass(10);
    }
    assert!(desk.news.len() <= 40, "{} names in ten seconds", desk.news.len());
    assert!(desk.responder.conflicts.len() <= CONFLICTS_MAX + 1);
}

proptest! {
    #[test]
    fn no_bytes_are_a_reason_to_fall(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>(), byte: u8, cut in any::<usize>()) {
        let mut desk = Desk::told(&["10.128.0.5", "fd00::5"]);
        desk.hear(&bytes, ALL);
        let mut message = claim("anna.local", "10.128.0.9");
        message.extend(&bytes);
        let (at, cut) = (at % message.len(), cut % message.len());
        message[at] = byte;
        desk.hear(&message, ALL);
        desk.hear(&message[..cut], ALL);
    }

    #[test]
    fn a_name_that_points_in_circles_is_no_name(target in 0u8..40) {
        let mut desk = Desk::told(&["10.128.0.5"]);
        for flags in [[0, 0], [0x84, 0]] {
            let head = [&[0, 0][..], &flags, &[0, 1, 0, 1, 0, 0, 0, 0]].concat();
            let name = [4, b'a', b'n', b'n', b'a', 0xc0, target, 0, 1, 0, 1, 0xc0, 0x11, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 128, 0, 9];
            desk.hear(&[&head[..], &name].concat(), ALL);
        }
    }
}
