use lanparty_proto::corpus::wire::{self, Ipv4, Ipv6};
use proptest::prelude::*;

use super::*;

/// Number `n` of a flow, which its last byte tells.
fn frame(kind: u8, flow: u8, n: u8) -> Bytes {
    let port = u16::from(flow) + 1;
    let segment = match kind {
        0 | 1 => wire::udp(port, 9, &[n]),
        _ => vec![n; 30],
    };
    let (ethertype, packet) = match kind {
        0 => (wire::IPV4, Ipv4::new(wire::UDP).packet(&segment)),
        1 => (wire::IPV6, Ipv6::default().packet(&[], wire::UDP, &segment)),
        // Bytes that look like ports where there are none.
        2 => (wire::IPV4, Ipv4::new(wire::UDP).fragment(4, false).packet(&segment)),
        3 => (wire::ARP, segment),
        _ => (0x88b5, segment),
    };
    Bytes::from(wire::ethernet(wire::VICTIM, wire::HOST, ethertype, &packet))
}

fn arranged(mut frames: Vec<Bytes>) -> Vec<Bytes> {
    SideBySide::default().arrange(&mut frames);
    frames
}

fn flow(frame: &Bytes) -> Flow {
    Flow::of(&Frame::parse(frame).unwrap())
}

#[test]
fn flows_in_turns_come_one_after_the_other() {
    let turns = |order: &[(u8, u8)]| order.iter().map(|(flow, n)| frame(0, *flow, *n)).collect::<Vec<_>>();
    let mixed = turns(&[(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 3), (2, 2)]);
    assert_eq!(arranged(mixed), turns(&[(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1), (2, 2)]));
}

#[test]
fn more_flows_than_are_told_apart_lose_nothing_and_keep_their_order() {
    let mixed: Vec<_> = (0..3).flat_map(|n| (0..40).map(move |flow| frame(0, flow, n))).collect();
    let together = arranged(mixed.clone());
    assert_eq!(together.len(), mixed.len());
    for of in 0..40 {
        let numbers = |frames: &[Bytes]| frames.iter().filter(|f| flow(f) == flow(&frame(0, of, 0))).cloned().collect::<Vec<_>>();
        assert_eq!(numbers(&together), numbers(&mixed), "flow {of}");
    }
}

proptest! {
    #[test]
    fn every_flow_keeps_its_order_and_is_together(mixed in proptest::collection::vec((0_u8..5, 0_u8..4, any::<u8>()), 0..64)) {
        let mixed: Vec<_> = mixed.into_iter().map(|(kind, flow, n)| frame(kind, flow, n)).collect();
        let together = arranged(mixed.clone());
        let mut seen: Vec<Flow> = vec![];
        for frame in &together {
            let its = flow(frame);
            if seen.last() != Some(&its) {
                prop_assert!(!seen.contains(&its), "{its:?} is in two places");
                seen.push(its);
            }
        }
        for of in seen {
            let numbers = |frames: &[Bytes]| frames.iter().filter(|f| flow(f) == of).cloned().collect::<Vec<_>>();
            prop_assert_eq!(numbers(&together), numbers(&mixed));
        }
    }
}
