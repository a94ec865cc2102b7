//! Addresses of members in rooms without a gateway, as members ask for them.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use lanparty_core::{AddressBook, Leases, RelayConfig, RelayEvent};
use lanparty_proto::{AddressRequest, AssignedAddresses, Control, Hello};

use crate::support::{BUDGET, Desk, gateway_hello, hello, identity, mac};

fn desk(pool: &str) -> Desk {
    let mut desk = Desk::new(RelayConfig::default());
    let book = AddressBook::new(pool.parse().unwrap(), [1; 16], Leases::default());
    desk.relay = std::mem::replace(&mut desk.relay, lanparty_core::Relay::new(RelayConfig::default())).with_addresses(book);
    desk
}

fn asking(n: u8, unless_gateway: bool) -> Hello {
    Hello { addresses: Some(AddressRequest { unless_gateway, ..AddressRequest::default() }), ..hello(n) }
}

fn ipv4(assigned: Option<&AssignedAddresses>) -> Ipv4Addr {
    assigned.unwrap().ipv4.unwrap().addr()
}

#[test]
fn who_asks_is_assigned_addresses_and_who_does_not_is_not() {
    let mut desk = desk("10.9.0.0/24");
    assert_eq!(desk.join(1, hello(1)).addresses, None);
    assert!(desk.relay.take_changed_leases().is_none());
    let assigned = desk.join(2, asking(2, true)).addresses.unwrap();
    assert!(desk.relay.take_changed_leases().is_some(), "to be written down");
    assert!(desk.events().contains(&RelayEvent::Assigned {
        room: "ROOM1".parse().unwrap(),
        member: lanparty_proto::MemberId(2),
        addresses: assigned.clone()
    }));
    assert_eq!((assigned.ipv4.unwrap().prefix_len(), assigned.ipv6.unwrap().prefix_len(), &assigned.because), (24, 64, &None));
    assert_eq!(desk.member(2).address, assigned.ipv4);
    assert_ne!(ipv4(desk.join(3, asking(3, true)).addresses.as_ref()), ipv4(Some(&assigned)));
    // The same again, on another connection.
    desk.message_from(4, identity(2), BUDGET, Control::Hello(asking(2, true)));
    assert_eq!(desk.welcome(4).unwrap().addresses, Some(assigned));
}

#[test]
fn a_room_with_a_gateway_has_the_lans_addresses_unless_somebody_insists() {
    let mut desk = desk("10.9.0.0/24");
    desk.join(1, gateway_hello(1));
    assert_eq!(desk.join(2, asking(2, true)).addresses, None);
    assert!(desk.join(3, asking(3, false)).addresses.unwrap().ipv4.is_some());
}

/// A gateway that gives the room's addresses to machines on its LAN.
fn handing_out(n: u8) -> Hello {
    Hello { addresses: Some(AddressRequest::default()), ..gateway_hello(n) }
}

/// What a gateway hears that asks for a machine.
fn lease(desk: &mut Desk, gateway: u64, machine: u8, wanted: Option<Ipv4Addr>, takes: bool) -> Option<Result<Ipv4Addr, String>> {
    desk.outputs.clear();
    desk.message(gateway, Control::AskLease { mac: mac(machine), wanted, takes });
    desk.sent_to(gateway).into_iter().find_map(|message| match message {
        Control::Lease { mac: of, takes: took, address, because } => {
            assert_eq!((of, took), (mac(machine), takes));
            Some(address.map(|net| net.addr()).ok_or_else(|| because.unwrap()))
        }
        _ => None,
    })
}

fn leased(desk: &mut Desk, gateway: u64, machine: u8) -> Ipv4Addr {
    let offered = lease(desk, gateway, machine, None, false).unwrap().unwrap();
    assert_eq!(lease(desk, gateway, machine, Some(offered), true), Some(Ok(offered)));
    offered
}

#[test]
fn with_a_gateway_that_hands_out_the_rooms_addresses_members_have_them_as_well() {
    let mut desk = desk("10.9.0.0/24");
    let own = ipv4(desk.join(1, handing_out(1)).addresses.as_ref());
    let member = ipv4(desk.join(2, asking(2, true)).addresses.as_ref());
    let console = leased(&mut desk, 1, 100);
    assert!(own != member && own != console && member != console);
    let gateway = lanparty_proto::MemberId(1);
    let news = RelayEvent::Leased { room: "ROOM1".parse().unwrap(), gateway, mac: mac(100), address: Ipv4Net::new(console, 24).unwrap() };
    assert!(desk.events().contains(&news));
    assert_eq!(lease(&mut desk, 1, 100, Some(console), true), Some(Ok(console)));
    assert!(!desk.events().contains(&news), "said once");
    // A member has one address, however it asks.
    assert_eq!(lease(&mut desk, 1, 2, None, false), Some(Ok(member)));
    // With another LAN that has its own addresses, those hold.
    desk.close(1);
    desk.join(3, gateway_hello(3));
    assert_eq!(desk.join(4, asking(4, true)).addresses, None);
}

#[test]
fn only_a_gateway_that_said_so_is_answered_and_none_without_end() {
    let mut desk = desk("10.9.0.0/24");
    desk.join(1, asking(1, false));
    desk.join(2, gateway_hello(2));
    assert_eq!((lease(&mut desk, 1, 100, None, false), lease(&mut desk, 2, 100, None, false)), (None, None));
    desk.close(2);
    desk.join(3, handing_out(3));
    let answered = (0..1000).filter(|n| lease(&mut desk, 3, 100 + (n % 100) as u8, None, false).is_some()).count();
    assert!((200..300).contains(&answered), "{answered}");
}

#[test]
fn a_gateway_reads_why_there_is_no_address_and_the_relays_log_once_a_minute() {
    let mut desk = desk("10.9.0.0/29");
    desk.join(1, handing_out(1));
    assert_ne!(leased(&mut desk, 1, 100), leased(&mut desk, 1, 101));
    let mut logged = 0;
    for second in 0..61 {
        let why = lease(&mut desk, 1, 150, None, false).unwrap().unwrap_err();
        assert!(why.contains("10.9.0.0/29 has no address left for machines behind gateways: 2 have one"), "{why}");
        logged += desk.events().iter().filter(|event| matches!(event, RelayEvent::NoLease { .. })).count();
        assert_eq!(logged, if second < 60 { 1 } else { 2 });
        desk.advance(Duration::from_secs(1));
    }
}

#[test]
fn an_address_that_a_machine_found_in_use_is_given_to_nobody() {
    let mut desk = desk("10.9.0.0/24");
    desk.join(1, handing_out(1));
    let declined = leased(&mut desk, 1, 100);
    desk.message(1, Control::LeaseTaken { mac: mac(100), address: declined });
    assert!(desk.events().iter().any(|event| matches!(event, RelayEvent::AddressTaken { address, .. } if *address == declined)));
    for n in 100..200 {
        assert_ne!(leased(&mut desk, 1, n), declined);
        desk.advance(Duration::from_millis(100));
    }
}

#[test]
fn an_address_that_is_taken_is_replaced_and_a_member_cannot_ask_for_ever() {
    let mut desk = desk("10.9.0.0/24");
    let first = ipv4(desk.join(1, asking(1, true)).addresses.as_ref());
    desk.join(2, hello(2));
    let taken = |address: Ipv4Addr| Control::AddressTaken { address, by: mac(9) };
    let answer = |desk: &Desk| desk.sent_to(1).into_iter().find_map(|m| if let Control::Addresses(a) = m { Some(a) } else { None });
    desk.outputs.clear();
    desk.message(2, taken(first));
    desk.message(1, taken(Ipv4Addr::new(10, 9, 0, 255)));
    assert!(desk.outputs.is_empty(), "of another member, and not its own");
    desk.message(1, taken(first));
    let mut address = ipv4(answer(&desk).as_ref());
    assert_ne!(address, first);
    let mut replaced = 1;
    loop {
        desk.outputs.clear();
        desk.message(1, taken(address));
        let Some(assigned) = answer(&desk) else { break };
        address = ipv4(Some(&assigned));
        replaced += 1;
    }
    assert!(replaced < 5, "{replaced}");
}

#[test]
fn why_there_is_no_address_is_told_in_words() {
    let mut desk = desk("10.9.0.0/24");
    let request = AddressRequest { networks: vec!["10.0.0.0/8".parse().unwrap()], ..AddressRequest::default() };
    let assigned = desk.join(1, Hello { addresses: Some(request), ..hello(1) }).addresses.unwrap();
    assert!(assigned.ipv4.is_none() && assigned.ipv6.is_some());
    assert!(assigned.because.unwrap().contains("pool 10.9.0.0-10.9.0.0/24 meets"));
}
