//! A room whose multicast is snooped, for an hour: a sender that never pauses, hosts that answer as RFC 3376 says, no multicast router,
//! and a relay that restarts in between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{GroupSet, Inbound, LinkId, Listeners, ListenersOutput, Outbound, OutboundWork, PathSize, RelayConfig, Roster};
use lanparty_proto::{
    Checksum, Control, DatagramBudget, Frame, FrameBatch, GROUPS_MAX, MacAddr, MemberInfo, MulticastPolicy, MulticastUse, Role,
};

use crate::support::{Desk, gateway_hello, hello, mac};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const STEP: Duration = Duration::from_millis(100);

/// An IPv4 packet to a group, in a frame of its own.
fn packet(src: MacAddr, group: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = group.octets();
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let header = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 1, protocol, 0, 0, 10, 0, 0, src.0[5], a, b, c, d];
    [&[1, 0, 0x5e, b & 0x7f, c, d][..], &src.0, &[8, 0], &header, payload].concat()
}

fn udp(src: MacAddr, group: Ipv4Addr) -> Vec<u8> {
    packet(src, group, 17, &[0x13, 0x88, 0x13, 0x89, 0, 12, 0, 0, 1, 2, 3, 4])
}

fn igmp(src: MacAddr, kind: u8, group: Ipv4Addr) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], &group.octets()].concat();
    let sum = Checksum::default().with(&message).field();
    message[2..4].copy_from_slice(&sum);
    packet(src, group, 2, &message)
}

/// A machine: what its kernel has joined and has yet to answer, and its client.
struct Machine {
    link: u64,
    joined: BTreeSet<Ipv4Addr>,
    answers: BTreeMap<Ipv4Addr, Instant>,
    listeners: Listeners,
    outbound: Outbound,
    inbound: Inbound,
    roster: Roster,
    received: BTreeMap<Ipv4Addr, u64>,
    heard_reports: u64,
}

impl Machine {
    fn join(desk: &mut Desk, link: u64) -> Self {
        let number = u8::try_from(link).unwrap();
        let role = if link == 1 { Role::Gateway } else { Role::Client };
        let welcome = desk.join(link, if link == 1 { gateway_hello(1) } else { hello(number) });
        let mut listeners = Listeners::default();
        if role == Role::Client {
            listeners.start(desk.now);
        }
        Self {
            link,
            joined: BTreeSet::new(),
            answers: BTreeMap::new(),
            listeners,
            outbound: Outbound::new(role),
            inbound: Inbound::new(role),
            roster: Roster::new(role, mac(number), &welcome),
            received: BTreeMap::new(),
            heard_reports: 0,
        }
    }

    /// The relay is a new one.
    fn join_again(&mut self, desk: &mut Desk) {
        self.roster = Self::join(desk, self.link).roster;
        if self.link != 1 {
            self.listeners.start(desk.now);
            self.roster.set_own_groups(self.listeners.known(desk.now).unwrap_or_default());
        }
    }

    /// Those that came later were announced.
    fn meet_all(&mut self, desk: &Desk) {
        for other in (1..=5).filter(|other| *other != self.link) {
            let (role, mac) = (if other == 1 { Role::Gateway } else { Role::Client }, mac(u8::try_from(other).unwrap()));
            let id = desk.relay.place(LinkId(other)).unwrap().member();
            self.roster.insert(MemberInfo { id, role, mac, lan_up: true, path_mtu: None, description: None });
        }
    }

    fn mac(&self) -> MacAddr {
        self.roster.own().mac
    }

    fn kernel_joins(&mut self, group: Ipv4Addr, now: Instant) {
        self.joined.insert(group);
        self.answers.insert(group, now);
    }

    /// A question from its own client reaches the kernel, which answers some time within the limit it was given.
    fn kernel_hears(&mut self, query: &[u8], now: Instant, salt: u64) {
        if query[12..14] != [8, 0] {
            return;
        }
        let (within, group) = (u64::from(query[39]) * 100, Ipv4Addr::from(*query[42..46].first_chunk::<4>().unwrap()));
        let asked = self.joined.iter().filter(|joined| group.is_unspecified() || **joined == group);
        for (n, group) in (0..).zip(asked) {
            let answer = now + Duration::from_millis((salt * 7919 + n * 104_729 + self.link * 31) % within);
            self.answers.entry(*group).and_modify(|at| *at = (*at).min(answer)).or_insert(answer);
        }
    }

    /// A frame leaves its kernel; what becomes of it in the client.
    fn leaves(&mut self, frame: &[u8], now: Instant) -> Vec<Bytes> {
        self.listeners.look(frame, now);
        let (mut batch, mut work) = (FrameBatch::new(), OutboundWork::default());
        batch.push(&[frame]);
        self.outbound.process(&mut batch, Some(&self.roster), PathSize::settled(DatagramBudget(1500)), now, &mut work);
        work.datagrams
    }

    fn enters(&mut self, datagram: Bytes, now: Instant) {
        let mut frames = vec![];
        self.inbound.process([datagram], Some(&self.roster), now, &mut frames, &mut vec![]);
        for frame in frames {
            match MulticastUse::of(&Frame::parse(&frame).unwrap()) {
                Some(MulticastUse::Group(IpAddr::V4(group))) => *self.received.entry(group).or_default() += 1,
                Some(MulticastUse::Report) => self.heard_reports += 1,
                other => panic!("{other:?}"),
            }
        }
    }

    fn got(&self, group: Ipv4Addr) -> u64 {
        self.received.get(&group).copied().unwrap_or_default()
    }
}

/// Gateway 1, clients 2 to 5.
struct Room {
    desk: Desk,
    machines: Vec<Machine>,
    sent: u64,
    steps: u64,
}

impl Room {
    fn new(policy: MulticastPolicy) -> Self {
        let mut desk = Desk::new(RelayConfig { multicast: policy, ..RelayConfig::default() });
        let mut machines: Vec<_> = (1..=5).map(|link| Machine::join(&mut desk, link)).collect();
        machines.iter_mut().for_each(|machine| machine.meet_all(&desk));
        Self { desk, machines, sent: 0, steps: 0 }
    }

    fn machine(&mut self, link: u64) -> &mut Machine {
        &mut self.machines[usize::try_from(link).unwrap() - 1]
    }

    /// A frame of that machine's kernel, to wherever it comes.
    fn send(&mut self, link: u64, frame: &[u8]) {
        let now = self.desk.now;
        for datagram in self.machine(link).leaves(frame, now) {
            for delivery in self.desk.deliveries(link, datagram) {
                self.machine(delivery.link.0).enters(delivery.datagram, now);
            }
        }
    }

    /// Everybody does what is due, and client 2 sends to the group.
    fn step(&mut self, sends: bool) {
        self.desk.advance(STEP);
        self.steps += 1;
        for link in 2..=5 {
            self.work(link);
        }
        self.pass_groups_on();
        if sends {
            let (frame, mdns) = (udp(self.machine(2).mac(), GROUP), udp(self.machine(2).mac(), MDNS));
            self.send(2, &frame);
            self.send(2, &mdns);
            self.sent += 1;
        }
    }

    fn work(&mut self, link: u64) {
        let (now, salt) = (self.desk.now, self.steps);
        loop {
            match self.machine(link).listeners.poll_output(now) {
                ListenersOutput::Ask(frame) => self.machine(link).kernel_hears(&frame, now, salt),
                ListenersOutput::Tell(groups) => {
                    self.desk.message(link, groups.message(None));
                    self.machine(link).roster.set_own_groups(groups);
                }
                ListenersOutput::Timeout(..) | ListenersOutput::Idle => break,
            }
        }
        let machine = self.machine(link);
        let due: Vec<_> = machine.answers.iter().filter(|(_, at)| **at <= now).map(|(group, _)| *group).collect();
        for group in due {
            self.machine(link).answers.remove(&group);
            let report = igmp(self.machine(link).mac(), 0x16, group);
            self.send(link, &report);
        }
    }

    /// What the relay tells the gateway.
    fn pass_groups_on(&mut self) {
        let told = self.desk.sent_to(1);
        self.desk.outputs.clear();
        for message in told {
            if let Control::Groups { id: Some(id), groups } = message {
                self.machine(1).roster.set_groups(id, GroupSet::of(groups.as_deref()));
            }
        }
    }

    fn leave(&mut self, link: u64) {
        let frame = igmp(self.machine(link).mac(), 0x17, GROUP);
        let machine = self.machine(link);
        machine.joined.remove(&GROUP);
        machine.answers.remove(&GROUP);
        self.send(link, &frame);
    }
}

#[test]
fn an_hour_of_multicast_reaches_those_that_joined_and_nobody_else() {
    let mut room = Room::new(MulticastPolicy::Snooped);
    let now = room.desk.now;
    room.machine(3).kernel_joins(GROUP, now);
    room.machine(4).kernel_joins(GROUP, now);
    let minute = Duration::from_secs(60);
    (0..100).for_each(|_| room.step(false));
    let start = room.desk.now;
    let mut left_at = 0;
    let mut back_at = 0;
    while room.desk.now - start < 60 * minute {
        room.step(true);
        let at = room.desk.now - start;
        if at == 20 * minute {
            room.leave(4);
            left_at = room.sent;
        }
        if at == 30 * minute {
            let config = RelayConfig { multicast: MulticastPolicy::Snooped, ..RelayConfig::default() };
            let now = std::mem::replace(&mut room.desk, Desk::new(config)).now;
            room.desk.now = now;
            let Room { desk, machines, .. } = &mut room;
            machines.iter_mut().for_each(|machine| machine.join_again(desk));
            machines.iter_mut().for_each(|machine| machine.meet_all(desk));
        }
        if at == 40 * minute {
            let now = room.desk.now;
            room.machine(4).kernel_joins(GROUP, now);
            back_at = room.sent;
        }
    }
    let (sent, got) = (room.sent, |link: usize| room.machines[link - 1].got(GROUP));
    assert_eq!(sent, 36_000, "ten a second");
    assert_eq!((got(3), got(5)), (sent, 0), "who joined, and who did not");
    assert_eq!(got(1), sent, "the gateway has a LAN behind it");
    let while_joined = left_at + (sent - back_at);
    let extra = got(4) - while_joined;
    assert!((1..=25).contains(&extra), "until nobody answers, two seconds and a message: {extra}");
    for machine in &room.machines[2..] {
        assert_eq!(machine.got(MDNS), sent, "discovery needs no joining");
        assert_eq!(machine.heard_reports, 0, "or a host would keep silent about its own");
        assert!(machine.outbound.counters().is_conserved(0) && machine.inbound.counters().is_conserved(0));
    }
    assert!(room.machines[0].heard_reports > 50, "the LAN's switches and routers hear of them: {}", room.machines[0].heard_reports);
}

#[test]
fn what_nobody_joined_is_dropped_with_a_reason_and_the_gateway_keeps_it_in_its_lan() {
    let mut room = Room::new(MulticastPolicy::Snooped);
    let host = MacAddr([0, 0x1b, 0x21, 0, 0, 0x10]);
    let up = |room: &mut Room| {
        let now = room.desk.now;
        room.machine(1).leaves(&udp(host, GROUP), now).len()
    };
    assert_eq!(up(&mut room), 1, "nobody has said yet what it listens to");
    (0..100).for_each(|_| room.step(false));
    assert_eq!(up(&mut room), 0);
    assert_eq!(room.machines[0].outbound.counters().dropped(lanparty_proto::DropReason::Multicast), 1);
    let now = room.desk.now;
    room.machine(3).kernel_joins(GROUP, now);
    (0..5).for_each(|_| room.step(false));
    assert_eq!(up(&mut room), 1);
    room.desk.close(1);
    let frame = udp(mac(2), Ipv4Addr::new(239, 9, 9, 9));
    assert!(room.desk.send(2, &frame).is_empty());
    assert_eq!(room.desk.dropped(2, "Multicast"), 1);
    let stream = udp(mac(2), GROUP);
    assert_eq!(room.desk.send(2, &stream), [3]);
}

#[test]
fn the_policy_of_the_room_is_kept_by_the_relay_too_and_what_a_member_wants_less_of_it_does_not_get() {
    for (policy, stream, mdns) in
        [(MulticastPolicy::None, 0, 0), (MulticastPolicy::Discovery, 0, 4), (MulticastPolicy::Snooped, 4, 4), (MulticastPolicy::All, 4, 4)]
    {
        let mut desk = Desk::new(RelayConfig { multicast: policy, ..RelayConfig::default() });
        desk.join(1, gateway_hello(1));
        (2..=5).for_each(|link| assert_eq!(desk.join(link, hello(u8::try_from(link).unwrap())).multicast, policy));
        let (group, local) = (udp(mac(2), GROUP), udp(mac(2), MDNS));
        assert_eq!((desk.send(2, &group).len(), desk.send(2, &local).len()), (stream, mdns), "{policy}");
        assert!(desk.send(2, &igmp(mac(2), 0x11, GROUP)).is_empty(), "a client asks nobody who listens");
        assert_eq!(desk.dropped(2, "MulticastQuery"), 1);
        desk.message(3, GroupSet::These(BTreeSet::new()).message(None));
        assert_eq!(desk.send(2, &group).contains(&3), policy == MulticastPolicy::All, "{policy}");
    }
    let mut room = Room::new(MulticastPolicy::All);
    room.machine(3).roster.limit_multicast(MulticastPolicy::None);
    room.send(2, &udp(mac(2), MDNS));
    assert_eq!((room.machine(3).got(MDNS), room.machine(4).got(MDNS)), (0, 1));
    assert_eq!(room.machines[2].inbound.counters().dropped(lanparty_proto::DropReason::Multicast), 1);
    let now = room.desk.now;
    assert!(room.machine(3).leaves(&udp(mac(3), MDNS), now).is_empty());
}

#[test]
fn who_says_too_much_gets_everything() {
    let mut desk = Desk::new(RelayConfig { multicast: MulticastPolicy::Snooped, ..RelayConfig::default() });
    (2..=3).for_each(|link| drop(desk.join(link, hello(u8::try_from(link).unwrap()))));
    let groups = |count: usize| Some((0..count).map(|n| IpAddr::from([239, 7, 7, u8::try_from(n).unwrap()])).collect::<Vec<_>>());
    let says = |desk: &mut Desk, count| {
        desk.message(3, Control::Groups { id: None, groups: groups(count) });
        desk.send(2, &udp(mac(2), GROUP)).len()
    };
    assert_eq!((says(&mut desk, GROUPS_MAX), says(&mut desk, GROUPS_MAX + 1)), (0, 1));
    let kept = (0..100).filter(|n| says(&mut desk, n % 2) == 0).count();
    assert_eq!(kept, 18, "of twenty at once two are spent");
    desk.advance(Duration::from_secs(1));
    assert_eq!(says(&mut desk, 1), 0, "it says so again, and is believed");
}
