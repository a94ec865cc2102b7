use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};

use super::message::tests::{CONSOLE, asks, parsed};
use super::*;

const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 128, 5, 3);
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 128, 5, 77);

fn net(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::new(address, 24).unwrap()
}

/// A server on a LAN, and what it wanted done since it was last asked.
struct Desk {
    server: DhcpServer,
    now: Instant,
    outputs: Vec<Output>,
}

impl Desk {
    /// One that has joined, and asked the LAN for long enough.
    fn serving() -> Self {
        let mut desk = Self::new();
        desk.assign(Some(OWN));
        desk.pass(4);
        assert!(desk.news().contains(&News::Serves { network: net(OWN).trunc() }));
        desk.outputs.clear();
        desk
    }

    fn new() -> Self {
        let now = Instant::now();
        let mut desk = Self { server: DhcpServer::new(SERVER, 1380, now), now, outputs: vec![] };
        desk.run();
        desk
    }

    fn assign(&mut self, own: Option<Ipv4Addr>) {
        let assigned = AssignedAddresses { ipv4: own.map(net), ..AssignedAddresses::default() };
        self.input(Input::Assigned(Some(&assigned)));
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle_input(input, self.now);
        self.run();
    }

    fn run(&mut self) {
        loop {
            match self.server.poll_output(self.now) {
                Output::Timeout(at) => return assert!(at > self.now),
                output => self.outputs.push(output),
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.run();
        }
    }

    /// What the relay is asked, when the console says this.
    fn told(&mut self, frame: &[u8]) -> Option<Control> {
        self.outputs.clear();
        self.input(Input::Frame(Side::Device, frame));
        self.outputs.iter().find_map(|output| if let Output::Tell(control) = output { Some(control.clone()) } else { None })
    }

    /// What the console hears, when the relay says this.
    fn relay_says(&mut self, takes: bool, address: Option<Ipv4Addr>) -> Option<Message> {
        self.outputs.clear();
        let because = address.is_none().then(|| "the room's network 10.128.5.0/24 has no address left".to_owned());
        self.input(Input::Control(&Control::Lease { mac: CONSOLE, takes, address: address.map(net), because }));
        self.said()
    }

    fn said(&self) -> Option<Message> {
        self.outputs.iter().find_map(|output| if let Output::Say(Side::Device, frame) = output { Some(parsed(frame).0) } else { None })
    }

    fn news(&self) -> Vec<News> {
        self.outputs.iter().filter_map(|output| if let Output::News(news) = output { Some(news.clone()) } else { None }).collect()
    }

    /// The console gets its address.
    fn lease(&mut self) {
        self.told(&asks(MessageType::Discover, |_| ())).unwrap();
        assert_eq!(kind(self.relay_says(false, Some(GIVEN))), Some(MessageType::Offer));
        self.told(&request()).unwrap();
        assert_eq!(kind(self.relay_says(true, Some(GIVEN))), Some(MessageType::Ack));
    }
}

fn kind(message: Option<Message>) -> Option<MessageType> {
    message?.opts().msg_type()
}

/// The console takes the offer.
fn request() -> Vec<u8> {
    asks(MessageType::Request, |message| {
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(GIVEN));
        message.opts_mut().insert(DhcpOption::ServerIdentifier(OWN));
    })
}

fn renewal() -> Vec<u8> {
    asks(MessageType::Request, |message| {
        message.set_ciaddr(GIVEN);
    })
}

/// An answer of another server.
fn of_another(server: Ipv4Addr) -> Vec<u8> {
    let question = asks(MessageType::Discover, |_| ());
    let Some(Heard::Question(question)) = message::read(&question) else { panic!() };
    question
        .answered(
            MessageType::Offer,
            Some(Ipv4Addr::new(192, 168, 1, 50)),
            &Terms { mac: MacAddr([2, 0, 0, 0, 0, 1]), own: net(server), mtu: 1500 },
        )
        .unwrap()
}

#[test]
fn a_console_gets_the_address_that_the_relay_knows_and_renews_it() {
    let mut desk = Desk::serving();
    assert_eq!(desk.told(&asks(MessageType::Discover, |_| ())), Some(Control::AskLease { mac: CONSOLE, wanted: None, takes: false }));
    let offer = desk.relay_says(false, Some(GIVEN)).unwrap();
    assert_eq!((offer.opts().msg_type(), offer.yiaddr()), (Some(MessageType::Offer), GIVEN));
    assert!(matches!(offer.opts().get(OptionCode::ServerIdentifier), Some(DhcpOption::ServerIdentifier(OWN))));
    let asked = Some(Control::AskLease { mac: CONSOLE, wanted: Some(GIVEN), takes: true });
    assert_eq!(desk.told(&request()), asked);
    assert_eq!(kind(desk.relay_says(true, Some(GIVEN))), Some(MessageType::Ack));
    assert_eq!(desk.news(), [News::Leased { mac: CONSOLE, address: GIVEN }]);
    desk.pass(300);
    assert_eq!(desk.told(&renewal()), asked);
    assert_eq!(kind(desk.relay_says(true, Some(GIVEN))), Some(MessageType::Ack));
    assert_eq!(desk.news(), [], "said once");
    assert_eq!(desk.server.report(desk.now).leases.len(), 1);
    desk.pass(600);
    assert_eq!(desk.server.report(desk.now).leases.len(), 0);
}

#[test]
fn who_wants_an_address_that_is_not_his_is_refused_and_asks_from_the_beginning() {
    let mut desk = Desk::serving();
    let foreign = asks(MessageType::Request, |message| {
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(Ipv4Addr::new(192, 168, 1, 50)));
    });
    assert_eq!(desk.told(&foreign), None, "of another network: the relay is not asked");
    assert_eq!(kind(desk.said()), Some(MessageType::Nak));
    desk.told(&request());
    assert_eq!(kind(desk.relay_says(true, Some(Ipv4Addr::new(10, 128, 5, 78)))), Some(MessageType::Nak));
}

#[test]
fn a_pool_that_is_exhausted_is_told_in_words_once_a_minute() {
    let mut desk = Desk::serving();
    for (second, told) in [(0, 1), (30, 0), (60, 1)] {
        desk.pass(if second == 0 { 0 } else { 30 });
        desk.told(&asks(MessageType::Discover, |_| ()));
        assert_eq!(desk.relay_says(false, None), None, "no offer");
        assert_eq!(desk.news().len(), told, "{second}");
    }
    assert!(matches!(&desk.news()[0], News::NoLease { mac: CONSOLE, because } if because.contains("no address left")));
}

#[test]
fn while_the_relay_is_away_what_it_knew_is_renewed_for_an_hour_and_nothing_else_is_given() {
    let mut desk = Desk::serving();
    desk.lease();
    desk.input(Input::Left);
    for _ in 0..11 {
        desk.pass(300);
        assert_eq!((desk.told(&renewal()), kind(desk.said())), (None, Some(MessageType::Ack)));
    }
    desk.pass(300);
    assert_eq!((desk.told(&renewal()), desk.said()), (None, None), "somebody else may have it by now");
    assert_eq!((desk.told(&asks(MessageType::Discover, |_| ())), desk.said()), (None, None));
}

#[test]
fn another_server_on_the_lan_silences_this_one_until_it_is_gone() {
    let mut desk = Desk::new();
    assert_eq!(desk.outputs, [], "one that stands by asks nobody");
    desk.assign(Some(OWN));
    assert_eq!(desk.outputs.len(), 1, "the LAN is asked");
    desk.input(Input::Frame(Side::Device, &of_another(Ipv4Addr::new(192, 168, 1, 1))));
    desk.pass(5);
    let news = desk.news();
    assert!(
        matches!(&news[..], [News::Silent { because }] if because.contains("DHCP server already at 192.168.1.1 with MAC 02:00:00:00:00:01")),
        "{news:?}"
    );
    assert_eq!(desk.told(&asks(MessageType::Discover, |_| ())), None);
    desk.pass(150);
    assert!(desk.news().contains(&News::Serves { network: net(OWN).trunc() }));
    assert!(desk.told(&asks(MessageType::Discover, |_| ())).is_some());
    // A client that takes the offer of one whose answers are not seen here.
    let taken = asks(MessageType::Request, |message| {
        message.opts_mut().insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(192, 168, 1, 1)));
    });
    assert_eq!(desk.told(&taken), None);
    assert!(matches!(&desk.news()[..], [News::Silent { .. }]));
}

#[test]
fn other_gateways_of_the_room_are_no_rivals_and_other_lans_servers_are() {
    let mut desk = Desk::serving();
    desk.input(Input::Frame(Side::Room, &of_another(Ipv4Addr::new(10, 128, 5, 4))));
    assert_eq!(desk.news(), []);
    desk.input(Input::Frame(Side::Room, &of_another(Ipv4Addr::new(192, 168, 1, 1))));
    assert!(matches!(&desk.news()[..], [News::Silent { because }] if because.starts_with("another LAN of the room has a DHCP server")));
}

#[test]
fn a_member_asks_for_itself_alone_and_others_lans_for_nobody() {
    let mut desk = Desk::serving();
    let mut stranger = asks(MessageType::Discover, |_| ());
    stranger[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 66]);
    desk.input(Input::Frame(Side::Room, &stranger));
    let relayed = asks(MessageType::Discover, |message| {
        message.set_giaddr([192, 168, 7, 1]);
    });
    desk.input(Input::Frame(Side::Device, &relayed));
    assert_eq!(desk.outputs, []);
}

#[test]
fn a_flood_of_questions_is_not_remembered_without_end() {
    let mut desk = Desk::serving();
    for n in 0..2000u16 {
        let [a, b] = n.to_be_bytes();
        let flood = asks(MessageType::Discover, |message| {
            message.set_chaddr(&[2, 1, 0, 0, a, b]);
        });
        desk.input(Input::Frame(Side::Device, &flood));
    }
    assert_eq!((desk.outputs.len(), desk.server.questions.len()), (QUESTIONS_MAX, QUESTIONS_MAX));
    desk.pass(10);
    assert!(desk.told(&asks(MessageType::Discover, |_| ())).is_some());
}

#[test]
fn the_server_answers_for_its_address_on_the_side_that_asked() {
    let mut desk = Desk::serving();
    for side in [Side::Device, Side::Room] {
        desk.outputs.clear();
        desk.input(Input::Frame(side, &Arp::probe(CONSOLE, OWN)));
        desk.input(Input::Frame(side, &Arp::probe(CONSOLE, GIVEN)));
        let [Output::Say(of, frame)] = &desk.outputs[..] else { panic!("{:?}", desk.outputs) };
        let arp = Arp::read(&lanparty_proto::Frame::parse(frame).unwrap()).unwrap();
        assert_eq!((*of, arp.sender_mac, arp.sender), (side, SERVER, OWN));
    }
}

#[test]
fn a_declined_address_is_told_to_the_relay_and_an_inform_gets_none() {
    let mut desk = Desk::serving();
    let declined = asks(MessageType::Decline, |message| {
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(GIVEN));
    });
    assert_eq!(desk.told(&declined), Some(Control::LeaseTaken { mac: CONSOLE, address: GIVEN }));
    let inform = asks(MessageType::Inform, |message| {
        message.set_ciaddr(GIVEN);
    });
    assert_eq!(desk.told(&inform), None);
    let answer = desk.said().unwrap();
    assert!(answer.yiaddr().is_unspecified() && !answer.opts().contains(OptionCode::AddressLeaseTime));
    assert!(answer.opts().contains(OptionCode::InterfaceMtu));
}

#[test]
fn without_an_address_of_its_own_nobody_is_answered_and_the_reason_is_said() {
    let mut desk = Desk::new();
    desk.input(Input::Assigned(None));
    desk.pass(5);
    assert!(matches!(&desk.news()[..], [News::Silent { because }] if because.contains("older than this gateway")));
    assert_eq!(desk.told(&asks(MessageType::Discover, |_| ())), None);
    desk.assign(Some(OWN));
    desk.pass(4);
    assert_eq!(desk.news(), [News::Serves { network: net(OWN).trunc() }]);
}
