//! Addresses of members in rooms without a gateway, as members ask for them.

use std::net::Ipv4Addr;

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
    assert_eq!(desk.member(2).address, assigned.ipv4.map(|net| net.to_string()));
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
    let gateway = Hello { addresses: Some(AddressRequest::default()), room: "ROOM2".parse().unwrap(), ..gateway_hello(4) };
    assert_eq!(desk.join(4, gateway).addresses, None, "a gateway has none");
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
