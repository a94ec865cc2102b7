use super::*;

fn identity(n: u32) -> IdentityId {
    let mut id = [0x5a; 32];
    id[4..8].copy_from_slice(&n.to_be_bytes());
    IdentityId(id)
}

fn room(name: &str) -> RoomCode {
    name.parse().unwrap()
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// A book, the time, and who is there.
struct Desk {
    book: AddressBook,
    now: Instant,
    here: BTreeSet<IdentityId>,
}

impl Desk {
    fn new(pool: &str) -> Self {
        Self::with(pool, Leases::default())
    }

    fn with(pool: &str, leases: Leases) -> Self {
        Self { book: AddressBook::new(pool.parse().unwrap(), [7; 16], leases), now: Instant::now(), here: BTreeSet::new() }
    }

    fn ask(&mut self, room: &RoomCode, n: u32, had: Option<Ipv4Net>, networks: &[Ipv4Net]) -> Result<Ipv4Net, NoAddress> {
        let asked = Asked { room, identity: identity(n), had, networks, nets: &[] };
        let assigned = self.book.assign(&asked, |id| self.here.contains(&id), |_| false, self.now);
        self.here.insert(identity(n));
        assigned
    }

    fn join(&mut self, room: &RoomCode, n: u32) -> Ipv4Net {
        self.ask(room, n, None, &[]).unwrap()
    }

    /// What a relay has after it was killed: what it had written, and nobody in its rooms.
    fn restarted(&mut self) -> Self {
        let written = serde_json::to_string(&self.book.leases).unwrap();
        let leases: Leases = serde_json::from_str(&written).unwrap();
        leases.check().unwrap();
        Self::with(&self.book.pool.to_string(), leases)
    }
}

#[test]
fn everybody_has_an_address_of_the_rooms_network_and_keeps_it_over_a_restart() {
    let (mut desk, here) = (Desk::new("10.128.0.0-10.255.255.0/24"), room("ROOM1"));
    let first: Vec<_> = (0..100).map(|n| desk.join(&here, n)).collect();
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 100, "no two the same");
    assert!(first.iter().all(|address| address.trunc() == first[0].trunc() && is_host(address.trunc(), address.addr())));
    assert_eq!(desk.book.of(&here, identity(5)), Some(first[5]));
    let mut again = desk.restarted();
    // Others come first, and in another order.
    for n in 200..220 {
        again.join(&here, n);
    }
    (0..100).rev().for_each(|n| assert_eq!(again.join(&here, n as u32), first[n]));
}

#[test]
fn a_change_is_told_once() {
    let (mut desk, here) = (Desk::new("10.9.0.0/24"), room("ROOM1"));
    assert!(desk.book.take_changed().is_none());
    desk.join(&here, 1);
    assert!(desk.book.take_changed().is_some() && desk.book.take_changed().is_none());
    desk.join(&here, 1);
    assert!(desk.book.take_changed().is_none(), "the same again");
}

#[test]
fn what_members_had_is_honoured_when_the_relay_has_lost_everything_and_goes_to_one_alone() {
    let (mut desk, here) = (Desk::new("10.128.0.0-10.255.255.0/24"), room("ROOM1"));
    let had: Vec<_> = (0..20).map(|n| desk.join(&here, n)).collect();
    let mut lost = Desk::new("10.128.0.0-10.255.255.0/24");
    // A newcomer that claims the address of another one, before it is back.
    let thief = lost.ask(&here, 99, Some(had[3]), &[]).unwrap();
    for n in (0..20).filter(|n| *n != 3) {
        assert_eq!(lost.ask(&here, n as u32, Some(had[n]), &[]), Ok(had[n]));
    }
    let robbed = lost.ask(&here, 3, Some(had[3]), &[]).unwrap();
    assert!(thief == had[3] && robbed != had[3] && robbed.trunc() == had[3].trunc());
    // A relay that has lost nothing believes no such claim.
    let mut kept = desk.restarted();
    assert_ne!(kept.ask(&here, 99, Some(had[3]), &[]), Ok(had[3]));
    assert_eq!(kept.ask(&here, 3, Some(had[5]), &[]), Ok(had[3]), "nor one that is mistaken");
}

#[test]
fn claims_that_cannot_be_true_are_ignored() {
    let (mut desk, here) = (Desk::new("10.9.0.0-10.9.1.0/24"), room("ROOM1"));
    let network = desk.join(&here, 1).trunc();
    let outside = ["192.168.1.5/24", "10.9.0.0/24", "10.9.0.255/24", "10.9.1.0/24", "10.9.1.255/24", "10.9.0.5/8", "0.0.0.0/0"];
    for (n, had) in (2..).zip(outside) {
        let address = desk.ask(&here, n, Some(net(had)), &[]).unwrap();
        assert!(address.trunc() == network && is_host(network, address.addr()), "{had}: {address}");
    }
}

#[test]
fn rooms_have_networks_of_their_own_while_there_are_some_and_share_them_then() {
    let mut desk = Desk::new("10.9.0.0-10.9.3.0/24");
    let networks: BTreeSet<_> = (0..4).map(|n| desk.join(&room(&format!("ROOM{n}")), 1).trunc()).collect();
    assert_eq!(networks.len(), 4);
    assert!(networks.contains(&desk.join(&room("ONE-MORE"), 1).trunc()));
}

#[test]
fn a_network_in_which_the_machine_is_already_is_moved_or_refused() {
    let (mut desk, here) = (Desk::new("10.9.0.0-10.9.3.0/24"), room("ROOM1"));
    let first = desk.join(&here, 1);
    // Alone, it may move.
    let moved = desk.ask(&here, 1, None, &[first.trunc()]).unwrap();
    assert_ne!(moved.trunc(), first.trunc());
    desk.join(&here, 2);
    let refused = desk.ask(&here, 3, None, &[net("192.168.0.0/16"), moved.trunc()]).unwrap_err();
    assert_eq!(refused, NoAddress::Meets { network: moved.trunc(), own: moved.trunc() });
    assert!(refused.to_string().contains(&format!("the room's network {0} meets {0}", moved.trunc())), "{refused}");
    // A machine that is in all of it.
    let refused = desk.ask(&room("ROOM2"), 1, None, &[net("10.0.0.0/8")]).unwrap_err().to_string();
    assert!(refused.contains("every network of the relay's pool 10.9.0.0-10.9.3.0/24 meets"), "{refused}");
    let beside = desk.ask(&room("ROOM3"), 1, None, &[net("10.9.0.0/23"), net("10.9.3.128/25")]).unwrap();
    assert_eq!(beside.trunc(), net("10.9.2.0/24"), "the only one that is left, though shared");
}

#[test]
fn an_exhausted_network_is_said_until_somebody_was_away_for_an_hour() {
    let (mut desk, here) = (Desk::new("10.9.0.0/29"), room("ROOM1"));
    let all: BTreeSet<_> = (0..5).map(|n| desk.join(&here, n).addr()).collect();
    assert_eq!(all.len(), 5);
    let refused = desk.ask(&here, 9, None, &[]).unwrap_err().to_string();
    assert!(refused.contains("10.9.0.0/29 is exhausted: 5 members"), "{refused}");
    desk.now += AWAY_MIN;
    assert!(desk.ask(&here, 9, None, &[]).is_err(), "all of them are here");
    desk.here.remove(&identity(3));
    let reused = desk.join(&here, 9);
    assert_eq!(desk.book.of(&here, identity(3)), None);
    assert!(all.contains(&reused.addr()));
    // Right after a restart nobody counts as away.
    let mut again = desk.restarted();
    assert!(again.ask(&here, 8, None, &[]).is_err());
    again.now += AWAY_MIN;
    again.here = BTreeSet::new();
    assert!(again.ask(&here, 8, None, &[]).is_ok());
}

#[test]
fn an_address_that_somebody_has_set_by_hand_is_given_to_nobody() {
    let (mut desk, here) = (Desk::new("10.9.0.0/29"), room("ROOM1"));
    let first = desk.join(&here, 1);
    desk.book.give_up(&here, identity(2), first.addr()).unwrap();
    assert_eq!(desk.book.of(&here, identity(1)), Some(first), "another one's is not given up");
    desk.book.give_up(&here, identity(1), first.addr()).unwrap();
    let others: BTreeSet<_> = (1..5).map(|n| desk.join(&here, n)).collect();
    assert!(!others.contains(&first) && others.len() == 4);
    assert!(desk.ask(&here, 6, Some(first), &[]).is_err());
}

#[test]
fn nobody_can_spoil_a_network_for_ever() {
    let (mut desk, here) = (Desk::new("10.9.0.0/24"), room("ROOM1"));
    let mut given_up = 0;
    loop {
        let address = desk.join(&here, 1);
        if desk.book.give_up(&here, identity(1), address.addr()).is_err() {
            break;
        }
        given_up += 1;
    }
    assert_eq!(given_up, TAKEN_MAX);
}

#[test]
fn rooms_in_which_nobody_is_are_forgotten_when_there_are_too_many() {
    let mut desk = Desk::new("10.128.0.0-10.255.255.0/24");
    for n in 0..ROOMS_MAX + 10 {
        desk.now += Duration::from_millis(1);
        desk.join(&room(&format!("ROOM{n}")), 1);
    }
    assert!(desk.book.leases.rooms.len() <= ROOMS_MAX + 1);
    assert_eq!(desk.book.of(&room("ROOM0"), identity(1)), None);
    assert!(desk.book.of(&room(&format!("ROOM{}", ROOMS_MAX + 9)), identity(1)).is_some());
}

#[test]
fn ipv6_is_of_a_prefix_of_the_rooms_own_and_differs_by_member_room_and_relay() {
    let (desk, other) = (Desk::new("10.9.0.0/24"), AddressBook::new(AddressPool::default(), [8; 16], Leases::default()));
    let (one, two) = (room("ROOM1"), room("ROOM2"));
    let address = desk.book.ipv6(&one, identity(1), None);
    assert_eq!((address.addr().octets()[0], address.prefix_len(), address.addr().segments()[3]), (0xfd, 64, 0), "RFC 4193 §3.1");
    assert_eq!(address, desk.book.ipv6(&one, identity(1), None));
    let mut second = identity(1);
    second.0[0] ^= 1;
    assert_eq!(desk.book.ipv6(&one, second, None).trunc(), address.trunc());
    assert_ne!(desk.book.ipv6(&one, second, None), address);
    assert_ne!(desk.book.ipv6(&two, identity(1), None).trunc(), address.trunc());
    assert_ne!(other.ipv6(&one, identity(1), None).trunc(), address.trunc());
}

#[test]
fn damaged_leases_are_found() {
    let read = |json: &str| serde_json::from_str::<Leases>(json).map_err(|e| e.to_string()).and_then(|leases| leases.check());
    let of = |members: &str| format!(r#"{{"rooms":{{"ROOM1":{{"network":"10.9.0.0/24","members":{{{members}}}}}}}}}"#);
    let member = |n: u32, address: &str| format!(r#""{}":"{address}""#, identity(n).to_hex());
    assert_eq!(read(&of(&member(1, "10.9.0.7"))), Ok(()));
    for wrong in [member(1, "10.8.0.7"), member(1, "10.9.0.255"), [member(1, "10.9.0.7"), member(2, "10.9.0.7")].join(",")] {
        assert!(read(&of(&wrong)).is_err_and(|why| why.contains("in room ROOM1")), "{wrong}");
    }
    assert!(read("{").is_err());
}
