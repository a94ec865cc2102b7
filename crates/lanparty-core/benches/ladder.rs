//! Nanoseconds that the size ladder costs a full-size frame which needs none of it; `cargo bench -p lanparty-core --bench ladder`.
//!
//! The outbound half as it is, beside one that only admits and encodes; and the ladder's own two looks at each frame alone. In turns, and
//! the median of the rounds, because other programs run meanwhile.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "measures, and says what it measured")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{Outbound, OutboundWork, PathSize, Roster};
use lanparty_proto::corpus::wire::{self, Ipv4, Ipv6};
use lanparty_proto::{
    AdmissionPolicy, DatagramBudget, DatagramHeader, FrameBatch, LanMtu, MacAddr, MemberId, MemberInfo, MulticastPolicy, PROTOCOL_VERSION,
    Role, Source, Welcome, admit, clamp_mss, lower_told_mtu,
};

const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);
const GATEWAY: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x02]);
/// Frames of one super-frame.
const BATCH: usize = 46;
const BATCHES: usize = 4_000;
const ROUNDS: usize = 25;

fn main() {
    let ip = Ipv6::default();
    let full = |len| [&wire::tcp()[..], &vec![7; len]].concat();
    let frames = [
        ("IPv4", wire::ethernet(wire::HOST, CLIENT, wire::IPV4, &Ipv4::new(wire::TCP).packet(&full(1377)))),
        ("IPv6", wire::ethernet(wire::HOST, CLIENT, wire::IPV6, &ip.packet(&[], wire::TCP, &full(1357)))),
    ];
    for (name, frame) in frames {
        for role in [Role::Client, Role::Gateway] {
            let mut outbound = Outbound::new(role);
            let [mut whole, mut bare, mut looks] = [const { vec![] }; 3];
            for _ in 0..ROUNDS {
                whole.push(per_frame(|| process(&mut outbound, &frame, role)));
                bare.push(per_frame(|| only_admit(&frame, role)));
                looks.push(per_frame(|| look(&frame, role)));
            }
            let [whole, bare, looks] = [whole, bare, looks].map(median);
            println!(
                "{name} {role:7} outbound {whole:6.1} ns a frame, admit and encode alone {bare:6.1}, the ladder's looks alone {looks:5.1}"
            );
        }
    }
}

fn per_frame(mut batch: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..BATCHES).for_each(|_| batch());
    start.elapsed().as_secs_f64() * 1e9 / (BATCH * BATCHES) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn roster(role: Role) -> Roster {
    // A gateway's frame comes from a host of its LAN, and goes to a member.
    let (own, other) = if role == Role::Gateway { (GATEWAY, Role::Client) } else { (CLIENT, Role::Gateway) };
    let members = vec![MemberInfo { id: MemberId(2), role: other, mac: wire::HOST, lan_up: true, path_mtu: None, description: None }];
    let (member, lan_mtu, limited_by, budget_down, replaced) = (MemberId(1), mtu(), None, None, None);
    Roster::new(
        role,
        own,
        &Welcome {
            version: PROTOCOL_VERSION,
            member,
            lan_mtu,
            limited_by,
            budget_down,
            replaced,
            bond: false,
            addresses: None,
            multicast: MulticastPolicy::All,
            members,
        },
    )
}

fn mtu() -> LanMtu {
    LanMtu::new(1417).unwrap_or(LanMtu::MAX)
}

fn filled(frame: &[u8]) -> FrameBatch {
    let mut batch = FrameBatch::new();
    for _ in 0..BATCH {
        batch.push(&[black_box(frame)]);
    }
    batch
}

fn process(outbound: &mut Outbound, frame: &[u8], role: Role) {
    let (roster, mut work) = (roster(role), OutboundWork::default());
    let path = PathSize::settled(DatagramBudget(1434));
    outbound.process(&mut filled(frame), Some(&roster), path, Instant::now(), &mut work);
    assert_eq!(black_box(&work.datagrams).len(), BATCH);
}

fn only_admit(frame: &[u8], role: Role) {
    let (roster, mut batch, mut datagrams) = (roster(role), filled(frame), Vec::<Bytes>::new());
    let source = if role == Role::Gateway { Source::Gateway } else { Source::Client(CLIENT) };
    let header = DatagramHeader { source: roster.own().id }.encode();
    while let Some(mut datagram) = batch.pop() {
        let (headroom, frame) = datagram.split_at_mut(FrameBatch::HEADROOM);
        if admit(frame, source, &AdmissionPolicy::new(roster.lan_mtu()), Some(DatagramBudget(1434))).is_ok() {
            headroom.copy_from_slice(&header);
            datagrams.push(datagram.freeze());
        }
    }
    assert_eq!(black_box(&datagrams).len(), BATCH);
}

fn look(frame: &[u8], role: Role) {
    let mut frame = frame.to_vec();
    for _ in 0..BATCH {
        let frame = black_box(&mut frame[..]);
        let _ = black_box(clamp_mss(frame, mtu()));
        let _ = black_box(role == Role::Gateway && lower_told_mtu(frame, mtu()));
    }
}
