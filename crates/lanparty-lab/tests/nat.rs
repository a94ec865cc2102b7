//! Every kind of NAT does what RFC 4787 calls it, and two households have of each other what the lab says they can.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/punch.rs"]
mod punch;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lanparty_lab::{
    Class, Dependence, Household, HouseholdOptions, Internet, Lab, NatKind, Requirements, Tool, Uplink, WAN, expected, transfer_within,
};
use punch::{Reflector, Socket, punch};

/// The third parties' numbers.
const THIRD: [u8; 2] = [2, 3];

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

/// An internet with two third parties that say what they see, and any households.
struct Town {
    reflectors: Vec<Reflector>,
    internet: Internet,
    lab: Lab,
}

impl Town {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let reflectors = THIRD.map(|number| {
            let host = lab.namespace(&format!("third{number}")).unwrap();
            internet.attach(&lab, &host, number, &Uplink::default()).unwrap();
            internet.attach_ipv6(&host, WAN, number).unwrap();
            Reflector::start(&host)
        });
        Self { reflectors: reflectors.into(), internet, lab }
    }

    fn household(&self, name: &str, number: u8, kind: NatKind, options: HouseholdOptions) -> Household {
        Household::attach(&self.lab, &self.internet, name, number, kind, options).unwrap()
    }

    /// One of each kind, with the same options.
    fn one_of_each(&self, name: &str, first_number: u8, options: &HouseholdOptions) -> Vec<Household> {
        let numbered = NatKind::ALL.into_iter().zip(first_number..);
        numbered.map(|(kind, number)| self.household(&format!("{name}{number}"), number, kind, options.clone())).collect()
    }

    /// Where a third party can be asked by IPv4.
    fn third(&self, which: usize) -> SocketAddr {
        (Internet::address(THIRD[which]), self.reflectors[which].port).into()
    }
}

#[test]
fn a_mapping_varies_by_destination_only_where_it_should() {
    if !ready() {
        return;
    }
    let town = Town::new("mapping");
    for household in town.one_of_each("h", 11, &HouseholdOptions::default()) {
        let socket = Socket::open(&household.host);
        let [first, second] = [0, 1].map(|which| socket.external(town.third(which)).unwrap());
        println!("{:16}{} is {first} to one and {second} to another", household.kind, socket.port());
        assert_eq!([first.ip(), second.ip()], [household.external_address(); 2], "{}", household.kind);
        assert_eq!(first == second, household.kind.mapping() == Dependence::EndpointIndependent, "{}", household.kind);
        assert_eq!(socket.external(town.third(0)), Some(first), "{}: as long as it is used it stays", household.kind);
        let neighbour = Socket::open(&household.host);
        assert_ne!(neighbour.external(town.third(0)), Some(first), "{}: everybody has their own", household.kind);
    }
}

#[test]
fn a_filter_lets_in_whom_it_should() {
    if !ready() {
        return;
    }
    let town = Town::new("filtering");
    for household in town.one_of_each("h", 11, &HouseholdOptions::default()) {
        let socket = Socket::open(&household.host);
        let external = socket.external(town.third(0)).unwrap();
        let other_port = Socket::open(&town.reflectors[0].host);
        let other_address = Socket::open(&town.reflectors[1].host);
        let comes_in = [&other_port, &other_address].map(|stranger| {
            stranger.send(external);
            socket.hears().is_some()
        });
        println!("{:16}another port comes in: {}, another address: {}", household.kind, comes_in[0], comes_in[1]);
        assert_eq!(comes_in, [household.kind.filtering() == Dependence::EndpointIndependent; 2], "{}", household.kind);
        // Whom it did not want to hear before, it hears after it wrote there.
        let stranger: SocketAddr = (Internet::address(THIRD[1]), other_address.port()).into();
        socket.send(stranger);
        let from = other_address.hears().unwrap();
        other_address.send(from);
        assert_eq!(socket.hears(), Some(stranger), "{}", household.kind);
    }
}

#[test]
fn two_households_have_of_each_other_what_the_lab_says() {
    if !ready() {
        return;
    }
    let town = Town::new("grid");
    let (left, right) = (town.one_of_each("a", 11, &HouseholdOptions::default()), town.one_of_each("b", 21, &HouseholdOptions::default()));
    println!("{:16}{}", "", right.iter().map(|b| format!("{:16}", b.kind)).collect::<String>());
    let mut wrong = vec![];
    for a in &left {
        let mut row = String::new();
        for b in &right {
            let class = if punch(&a.host, &b.host, town.third(0)) { Class::Direct } else { Class::Relay };
            row += &format!("{class:16}");
            if class != expected(a.kind, b.kind) {
                wrong.push(format!("{} and {}: {class}", a.kind, b.kind));
            }
        }
        println!("{:16}{row}", a.kind);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_hairpin_leads_back_by_the_external_address_where_there_is_one() {
    if !ready() {
        return;
    }
    let town = Town::new("hairpin");
    for (first, hairpin) in [(11, true), (21, false)] {
        let options = HouseholdOptions { hairpin, ..HouseholdOptions::default() };
        for household in town.one_of_each("h", first, &options) {
            let works = punch(&household.host, &household.host, town.third(0));
            println!("{:16}hairpin {hairpin}: {works}", household.kind);
            let wanted = match household.kind {
                NatKind::Open => true,
                NatKind::Symmetric => false,
                _ => hairpin,
            };
            assert_eq!(works, wanted, "{}", household.kind);
            if household.kind != NatKind::Open {
                let mate = household.housemate(&town.lab, &format!("{}-mate", household.host.host()), 4).unwrap();
                assert_eq!(punch(&household.host, &mate, town.third(0)), wanted, "{}: two hosts of one household", household.kind);
            }
        }
    }
}

#[test]
fn after_a_rebinding_the_old_port_is_dead_and_another_one_leads_back() {
    if !ready() {
        return;
    }
    let town = Town::new("rebinding");
    for mut household in town.one_of_each("h", 11, &HouseholdOptions::default()) {
        if household.kind == NatKind::Open {
            assert!(household.rebind().is_err());
            continue;
        }
        let socket = Socket::open(&household.host);
        let before = socket.external(town.third(0)).unwrap();
        household.rebind().unwrap();
        town.reflectors[0].send(before);
        assert_eq!(socket.hears(), None, "{}", household.kind);
        let after = socket.external(town.third(0)).unwrap();
        println!("{:16}{before} became {after}", household.kind);
        assert!(before.ip() == after.ip() && before.port() != after.port(), "{}", household.kind);
    }
}

#[test]
fn a_host_whose_address_changed_goes_on_from_another_one() {
    if !ready() {
        return;
    }
    let town = Town::new("moving");
    for mut household in town.one_of_each("h", 11, &HouseholdOptions::default()) {
        let socket = Socket::open(&household.host);
        let (own, before) = (household.address(), socket.external(town.third(0)).unwrap());
        household.change_address().unwrap();
        let after = socket.external(town.third(0)).unwrap();
        println!("{:16}{own} became {}, {before} became {after}", household.kind, household.address());
        assert!(own != household.address() && before != after, "{}", household.kind);
        household.change_address().unwrap();
        assert!(own == household.address() && socket.external(town.third(0)).is_some(), "{}", household.kind);
    }
}

#[test]
fn blocked_udp_is_blocked_and_tcp_is_not() {
    if !ready() {
        return;
    }
    let town = Town::new("blocked");
    let options = HouseholdOptions { udp_blocked: true, ipv6: true, ..HouseholdOptions::default() };
    let free = town.household("free", 31, NatKind::Open, HouseholdOptions::default());
    for mut household in town.one_of_each("h", 11, &options) {
        let socket = Socket::open(&household.host);
        assert_eq!(socket.external(town.third(0)), None, "{}", household.kind);
        assert_eq!(household.expected(&free), Class::Stream);
        let third = Internet::address(THIRD[0]).into();
        transfer_within(&household.host, &town.reflectors[0].host, third, 10_000, Duration::from_secs(5)).unwrap();
        household.set_udp(true).unwrap();
        assert!(socket.external(town.third(0)).is_some(), "{}", household.kind);
        assert_eq!(household.expected(&free), Class::Direct);
    }
}

#[test]
fn by_ipv6_there_is_no_nat_and_only_replies_come_in() {
    if !ready() {
        return;
    }
    let town = Town::new("ipv6");
    let options = HouseholdOptions { ipv6: true, ..HouseholdOptions::default() };
    for household in town.one_of_each("h", 11, &options) {
        let socket = Socket::open(&household.host);
        let third = SocketAddr::from((Internet::ipv6(THIRD[0]), town.reflectors[0].port));
        let own = SocketAddr::from((household.ipv6().unwrap(), socket.port()));
        assert_eq!(socket.external(third), Some(own), "{}", household.kind);
        Socket::open(&town.reflectors[1].host).send(own);
        assert_eq!(socket.hears(), None, "{}", household.kind);
        household.lose_ipv4().unwrap();
        assert_eq!((socket.external(town.third(0)), socket.external(third)), (None, Some(own)), "{}", household.kind);
    }
}

#[test]
fn a_household_around_a_host_that_was_in_public() {
    if !ready() {
        return;
    }
    let town = Town::new("around");
    let host = town.lab.namespace("host").unwrap();
    town.internet.attach(&town.lab, &host, 11, &Uplink::default()).unwrap();
    let options = HouseholdOptions { uplink: Uplink::wire("delay=20ms").unwrap(), ..HouseholdOptions::default() };
    let household = Household::put_before(&town.lab, &town.internet, &host, 11, NatKind::PortRestricted, options).unwrap();
    let external = Socket::open(&host).external(town.third(0)).unwrap();
    assert_eq!((household.address(), external.ip()), (Ipv4Addr::new(10, 97, 11, 2), Internet::address(11).into()));
    assert!(household.wire.unwrap().stats().is_ok());
}
