//! Where a traffic filter stands: first behind the device, last before it, in members and in cables.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{
    CableEnd, CableGuard, CableInbound, CableLoops, CableOutbound, Counters, Filter, FilterRules, Inbound, Outbound, OutboundWork,
    PathSize, Verdict,
};
use lanparty_proto::corpus::wire::{self, Ipv4};
use lanparty_proto::{DatagramBudget, DropReason, FrameBatch, LanMtu, Role};

use crate::support::{datagram, frame, mac};

/// A game's port and nothing else.
fn game() -> Filter {
    let rules = vec!["10.0.0.0/8,10.0.0.0/8:27015,UDP+".parse().unwrap()];
    Filter::new(Arc::new(FilterRules::compile(rules, Verdict::Drop).unwrap()))
}

fn udp(port: u16) -> Vec<u8> {
    wire::ethernet(mac(3), mac(2), wire::IPV4, &Ipv4::new(wire::UDP).packet(&wire::udp(1, port, &[0; 30])))
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat()
}

fn batch(frames: &[Vec<u8>]) -> FrameBatch {
    let mut batch = FrameBatch::new();
    for frame in frames {
        batch.push(&[frame]);
    }
    batch
}

fn dropped(counters: &Counters, reason: DropReason) -> u64 {
    assert!(counters.is_conserved(0));
    counters.dropped(reason)
}

#[test]
fn a_member_asks_its_filter_before_anything_else() {
    let (mut outbound, mut work) = (Outbound::new(Role::Client), OutboundWork::default());
    outbound.set_filter(game());
    // Without a relay all are lost, and what the filter drops is so for that reason.
    let mut frames = batch(&[udp(27015), udp(27016), frame(mac(3), mac(9), 100)]);
    outbound.process(&mut frames, None, PathSize::settled(DatagramBudget(1500)), Instant::now(), &mut work);
    let counters = outbound.counters();
    assert_eq!((dropped(counters, DropReason::Filtered), dropped(counters, DropReason::LinkDown)), (2, 1));
}

#[test]
fn a_member_asks_its_filter_last_of_what_comes_from_the_room() {
    let (mut inbound, mut out) = (Inbound::new(Role::Client), vec![]);
    inbound.set_filter(game());
    let sent = [udp(27015), udp(27016)].map(|frame| datagram(lanparty_proto::MemberId(2), &frame));
    inbound.process(sent, None, Instant::now(), &mut out, &mut vec![]);
    // In no room nothing is admitted, and the filter is not asked.
    assert_eq!((dropped(inbound.counters(), DropReason::LinkDown), dropped(inbound.counters(), DropReason::Filtered)), (2, 0));
}

#[test]
fn a_cable_is_filtered_both_ways_beneath_its_tags() {
    let (now, end) = (Instant::now(), CableEnd::new(true, LanMtu::MAX));
    let loops = &mut CableLoops::new("cable0", mac(2), now);
    let (mut outbound, mut inbound) = (CableOutbound::new(CableGuard::Open, false), CableInbound::new(CableGuard::Open, false));
    outbound.set_filter(game());
    inbound.set_filter(game());
    let frames = [udp(27015), tagged(&udp(27015)), udp(27016), tagged(&udp(27016))];
    let mut work = OutboundWork::default();
    outbound.process(&mut batch(&frames), Some(&end), loops, PathSize::settled(DatagramBudget(1600)), now, &mut work);
    assert_eq!((work.datagrams.len(), dropped(outbound.counters(), DropReason::Filtered)), (2, 2));
    let (mut out, mut records) = (vec![], vec![]);
    let sent = frames.iter().map(|frame| datagram(lanparty_proto::MemberId(2), frame));
    inbound.process(sent, Some(&end), loops, now, &mut out, &mut records);
    assert_eq!(out, [udp(27015), tagged(&udp(27015))].map(Bytes::from));
    assert_eq!(dropped(inbound.counters(), DropReason::Filtered), 2);
}
