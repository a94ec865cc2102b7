//! The two halves of a member: what may leave its device, and what may enter it.

use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{Inbound, Outbound, OutboundWork, PathSize, Roster};
use lanparty_proto::{
    DatagramBudget, DropReason, FrameBatch, LanMtu, MacAddr, MemberId, MemberInfo, MulticastPolicy, PROTOCOL_VERSION, Role, Welcome,
};

use crate::support::{Desk, budget_for, datagram, frame, gateway_hello, hello, lan_mtu, mac, udp_frame};

/// A host of the LAN behind the gateway.
const HOST: MacAddr = MacAddr([0, 0x1b, 0x21, 0, 0, 0x10]);
const OTHER_HOST: MacAddr = MacAddr([0, 0x1b, 0x21, 0, 0, 0x11]);
/// Far above what the LAN MTU of 1,400 needs.
const WIDE: DatagramBudget = DatagramBudget(1500);

fn info(n: u8, role: Role) -> MemberInfo {
    MemberInfo { id: MemberId(u16::from(n)), role, mac: mac(n), lan_up: true, path_mtu: None, description: None }
}

/// Member 1 is the gateway, 2 and 3 are clients.
fn roster(own: u8) -> Roster {
    let all = [info(1, Role::Gateway), info(2, Role::Client), info(3, Role::Client)];
    let role = all[usize::from(own) - 1].role;
    let members = all.into_iter().filter(|m| m.id.0 != u16::from(own)).collect();
    let welcome = Welcome {
        replaced: None,
        bond: false,
        addresses: None,
        multicast: MulticastPolicy::All,
        version: PROTOCOL_VERSION,
        member: MemberId(u16::from(own)),
        lan_mtu: lan_mtu(1400),
        limited_by: None,
        budget_down: None,
        members,
    };
    Roster::new(role, mac(own), &welcome)
}

/// What became of one frame from the device of `role`.
fn leave(role: Role, roster: Option<&Roster>, budget: DatagramBudget, frame: &[u8]) -> Result<Bytes, DropReason> {
    let (mut outbound, mut batch, mut work) = (Outbound::new(role), FrameBatch::new(), OutboundWork::default());
    batch.push(&[frame]);
    outbound.process(&mut batch, roster, PathSize::settled(budget), Instant::now(), &mut work);
    assert!(outbound.counters().is_conserved(0) && outbound.counters().frames_in() == 1);
    work.datagrams.pop().ok_or_else(|| *DropReason::ALL.iter().find(|r| outbound.counters().dropped(**r) == 1).unwrap())
}

fn leave_client(frame: &[u8]) -> Result<Bytes, DropReason> {
    leave(Role::Client, Some(&roster(2)), WIDE, frame)
}

fn leave_gateway(frame: &[u8]) -> Result<Bytes, DropReason> {
    leave(Role::Gateway, Some(&roster(1)), WIDE, frame)
}

#[test]
fn a_gateway_that_joins_lans_sends_up_what_is_for_another_lan_and_takes_its_hosts_from_there_alone() {
    let (mut roster, now, there) = (roster(1), Instant::now(), MemberId(4));
    let up = |roster: &Roster, dst, src, len| leave(Role::Gateway, Some(roster), WIDE, &frame(dst, src, len)).map(drop);
    assert_eq!(up(&roster, OTHER_HOST, HOST, 100), Err(DropReason::UnknownDestination), "a room of one LAN");
    roster.insert(info(4, Role::Gateway));
    assert_eq!(up(&roster, OTHER_HOST, HOST, 100), Ok(()), "nobody knows where it is");
    assert_eq!(up(&roster, OTHER_HOST, HOST, 1500), Err(DropReason::UnknownDestination), "it may be here, and is told nothing of sizes");
    assert_eq!(up(&roster, mac(1), HOST, 100), Err(DropReason::UnknownDestination), "this very host");
    assert!(roster.learn(HOST, MemberId(1), now) && roster.learn(OTHER_HOST, there, now) && !roster.learn(OTHER_HOST, MemberId(1), now));
    assert_eq!(up(&roster, HOST, mac(9), 100), Err(DropReason::UnknownDestination), "it is here");
    assert_eq!(up(&roster, OTHER_HOST, HOST, 100), Ok(()));
    assert_eq!(up(&roster, MacAddr::BROADCAST, OTHER_HOST, 100), Err(DropReason::HairpinLoop));
    assert!(enter_with(Some(&roster), datagram(there, &frame(HOST, OTHER_HOST, 100))).is_ok());
    assert_eq!(enter_with(Some(&roster), datagram(there, &frame(OTHER_HOST, HOST, 100))), Err(DropReason::HairpinLoop));
    roster.remove(there);
    assert_eq!(up(&roster, OTHER_HOST, HOST, 100), Err(DropReason::UnknownDestination), "it went with its gateway");
}

fn enter(own: u8, datagram: Bytes) -> Result<Bytes, DropReason> {
    let roster = roster(own);
    enter_with(Some(&roster), datagram)
}

fn enter_with(roster: Option<&Roster>, datagram: Bytes) -> Result<Bytes, DropReason> {
    let role = roster.map_or(Role::Client, |r| r.own().role);
    let (mut inbound, mut out) = (Inbound::new(role), vec![]);
    inbound.process([datagram], roster, Instant::now(), &mut out, &mut vec![]);
    assert!(inbound.counters().is_conserved(0) && inbound.counters().frames_in() == 1);
    out.pop().ok_or_else(|| *DropReason::ALL.iter().find(|r| inbound.counters().dropped(**r) == 1).unwrap())
}

#[test]
fn a_frame_leaves_under_its_members_number_and_arrives_as_it_was() {
    let sent = frame(mac(3), mac(2), 100);
    let on_the_way = leave_client(&sent).unwrap();
    assert_eq!(on_the_way, datagram(MemberId(2), &sent));
    assert_eq!(enter(3, on_the_way).unwrap(), sent);
}

#[test]
fn without_a_roster_the_link_is_down_both_ways() {
    assert_eq!(leave(Role::Client, None, WIDE, &frame(mac(3), mac(2), 100)), Err(DropReason::LinkDown));
    assert_eq!(leave(Role::Gateway, None, WIDE, &frame(mac(3), HOST, 100)), Err(DropReason::LinkDown));
    assert_eq!(enter_with(None, datagram(MemberId(1), &frame(mac(2), HOST, 100))), Err(DropReason::LinkDown));
}

#[test]
fn a_client_speaks_as_itself_alone() {
    assert_eq!(leave_client(&frame(mac(3), HOST, 100)), Err(DropReason::UnauthorizedSourceMac));
    assert_eq!(leave_client(&frame(mac(3), mac(3), 100)), Err(DropReason::UnauthorizedSourceMac));
    assert_eq!(leave_client(&udp_frame(mac(3), mac(2), (67, 68), &[2; 300])), Err(DropReason::DhcpServerReply));
}

#[test]
fn a_gateway_keeps_the_lans_own_unicast_to_itself_whatever_it_is() {
    for len in [60, 1400, 1514, 9000] {
        assert_eq!(leave_gateway(&frame(OTHER_HOST, HOST, len)), Err(DropReason::UnknownDestination), "{len} bytes");
    }
    assert_eq!(leave_gateway(&frame(mac(1), HOST, 100)), Err(DropReason::UnknownDestination), "for the gateway's own host");
    let mut tagged = frame(OTHER_HOST, HOST, 100);
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    assert_eq!(leave_gateway(&tagged), Err(DropReason::UnknownDestination));
}

#[test]
fn a_gateway_sends_up_what_is_for_members_and_what_the_lan_floods() {
    assert!(leave_gateway(&frame(mac(2), HOST, 100)).is_ok());
    assert!(leave_gateway(&frame(MacAddr::BROADCAST, HOST, 100)).is_ok());
    assert!(leave_gateway(&frame(MacAddr::BROADCAST, mac(1), 100)).is_ok(), "what its own host says");
    assert!(leave_gateway(&udp_frame(mac(2), HOST, (67, 68), &[2; 300])).is_ok(), "a lease");
}

#[test]
fn what_a_member_sent_into_the_lan_does_not_come_back_up() {
    assert_eq!(leave_gateway(&frame(MacAddr::BROADCAST, mac(2), 100)), Err(DropReason::HairpinLoop));
    assert_eq!(leave_gateway(&frame(mac(3), mac(2), 100)), Err(DropReason::HairpinLoop));
}

#[test]
fn a_frame_that_claims_to_be_another_members_does_not_enter() {
    let from_gateway = |src| datagram(MemberId(1), &frame(MacAddr::BROADCAST, src, 100));
    assert!(enter(2, from_gateway(HOST)).is_ok());
    assert!(enter(2, from_gateway(mac(1))).is_ok());
    assert_eq!(enter(2, from_gateway(mac(3))), Err(DropReason::HairpinLoop), "another member's");
    assert_eq!(enter(2, from_gateway(mac(2))), Err(DropReason::HairpinLoop), "its own");
    assert_eq!(enter(2, datagram(MemberId(3), &frame(mac(2), HOST, 100))), Err(DropReason::UnauthorizedSourceMac));
}

#[test]
fn only_members_of_the_room_are_heard() {
    assert_eq!(enter(2, datagram(MemberId(9), &frame(mac(2), mac(9), 100))), Err(DropReason::UnknownSender));
    assert_eq!(enter(2, datagram(MemberId(2), &frame(mac(2), mac(2), 100))), Err(DropReason::UnknownSender), "oneself by detour");
    assert_eq!(enter(2, Bytes::from_static(&[0x20, 0, 1])), Err(DropReason::Malformed));
    assert_eq!(enter(2, Bytes::new()), Err(DropReason::Malformed));
}

#[test]
fn a_client_takes_what_is_for_it_and_a_gateway_takes_what_its_lan_may_want() {
    let sent = frame(HOST, mac(3), 100);
    assert_eq!(enter(2, datagram(MemberId(3), &sent)), Err(DropReason::UnknownDestination));
    assert!(enter(1, datagram(MemberId(3), &sent)).is_ok());
    assert!(enter(2, datagram(MemberId(3), &frame(MacAddr::BROADCAST, mac(3), 100))).is_ok());
}

/// Every size around the LAN MTU crosses all boundaries or none, for every direction.
#[test]
fn lan_mtu_and_14_passes_everywhere_and_one_byte_more_nowhere() {
    for mtu in [576, 1280, 1390, 1500] {
        let (fits, exceeds) = (usize::from(mtu) + 14, usize::from(mtu) + 15);
        let mut desk = Desk::default();
        let budget = budget_for(mtu);
        for (link, hello) in [(1, gateway_hello(1)), (2, hello(2)), (3, hello(3))] {
            desk.message_from(
                link,
                crate::support::identity(link as u8),
                budget,
                lanparty_proto::Control::Hello(lanparty_proto::Hello { budget, ..hello }),
            );
        }
        for (sender, from, receiver) in [(1, HOST, 2), (2, mac(2), 3), (2, mac(2), 1)] {
            let (mut here, mut there) = (roster(sender), roster(receiver));
            here.set_lan_mtu(lan_mtu(mtu), None);
            there.set_lan_mtu(lan_mtu(mtu), None);
            let role = here.own().role;
            let of = |len| frame(mac(receiver), from, len);
            let sent = leave(role, Some(&here), budget, &of(fits)).unwrap();
            assert_eq!(desk.deliveries(u64::from(sender), sent.clone()).len(), 1, "{mtu}: the relay");
            assert_eq!(enter_with(Some(&there), sent).unwrap().len(), fits);
            assert_eq!(leave(role, Some(&here), DatagramBudget(9000), &of(exceeds)), Err(DropReason::TapMtuExceeded));
            let smuggled = datagram(MemberId(u16::from(sender)), &of(exceeds));
            assert!(desk.deliveries(u64::from(sender), smuggled.clone()).is_empty(), "{mtu}: the relay");
            assert_eq!(enter_with(Some(&there), smuggled), Err(DropReason::TapMtuExceeded));
            assert_eq!(leave(role, Some(&here), DatagramBudget(budget.0 - 1), &of(fits)), Err(DropReason::DatagramBudget));
        }
    }
    assert_eq!(LanMtu::MAX.frame_len_max(), 1514);
}

#[test]
fn a_frame_taken_back_is_counted_as_dropped_and_no_longer_as_sent() {
    let (mut outbound, mut batch, mut work) = (Outbound::new(Role::Client), FrameBatch::new(), OutboundWork::default());
    let roster = roster(2);
    for _ in 0..3 {
        batch.push(&[&frame(mac(3), mac(2), 100)]);
    }
    outbound.process(&mut batch, Some(&roster), PathSize::settled(WIDE), Instant::now(), &mut work);
    outbound.take_back(&work.datagrams[2], DropReason::QueueFull);
    let counted = outbound.counters().snapshot();
    assert_eq!((counted.frames_in, counted.forwarded, counted.bytes_forwarded, counted.dropped.total()), (3, 2, 200, 1));
}

#[test]
fn a_member_that_comes_back_under_another_number_is_known_by_the_new_one() {
    let mut roster = roster(2);
    roster.remove(MemberId(3));
    roster.insert(MemberInfo { id: MemberId(7), ..info(3, Role::Client) });
    assert_eq!(roster.by_mac(mac(3)).unwrap().id, MemberId(7));
    assert!(enter_with(Some(&roster), datagram(MemberId(7), &frame(mac(2), mac(3), 100))).is_ok());
    assert_eq!(enter_with(Some(&roster), datagram(MemberId(3), &frame(mac(2), mac(3), 100))), Err(DropReason::UnknownSender));
}

#[test]
fn a_late_farewell_does_not_forget_who_has_the_mac_now() {
    let mut roster = roster(2);
    roster.insert(MemberInfo { id: MemberId(7), ..info(3, Role::Client) });
    roster.remove(MemberId(3));
    assert_eq!(roster.by_mac(mac(3)).map(|m| m.id), Some(MemberId(7)));
    assert_eq!(roster.members().filter(|m| m.mac == mac(3)).count(), 1);
}

#[test]
fn log_state_does_not_grow_with_members_that_are_gone() {
    let (mut inbound, mut records) = (Inbound::new(Role::Client), vec![]);
    for id in 10..2000 {
        let mut roster = roster(2);
        roster.insert(MemberInfo { id: MemberId(id), ..info(3, Role::Client) });
        inbound.process([datagram(MemberId(id), &frame(mac(2), mac(3), 60))], Some(&roster), Instant::now(), &mut vec![], &mut records);
    }
    assert!(inbound.logged_senders() <= 4, "{} kept", inbound.logged_senders());
    assert_eq!(records.len(), 1990, "each had its first line");
}

#[test]
fn who_left_limits_nobody_any_more() {
    let mut roster = roster(2);
    roster.set_lan_mtu(lan_mtu(1300), Some(MemberId(3)));
    roster.remove(MemberId(1));
    assert_eq!(roster.limited_by(), Some(MemberId(3)));
    roster.remove(MemberId(3));
    assert_eq!((roster.limited_by(), roster.lan_mtu()), (None, lan_mtu(1300)), "until the relay says more");
}
