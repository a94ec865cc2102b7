//! One room of two members, through which frames walk: out of the one's device, over the relay, into the other's device. All that is ours
//! between the two, without devices and without a network.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{
    Delivery, Inbound, LinkId, Outbound, OutboundWork, OwnAddresses, PathSize, Place, Relay, RelayConfig, RelayInput, RelayOutput, Roster,
    SideBySide,
};
use lanparty_proto::corpus::wire::{self, Ipv4};
use lanparty_proto::{Control, DatagramBudget, Description, FrameBatch, Hello, IdentityId, MacAddr, Role};

const HERE: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);
const THERE: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x02]);
/// What a wire of 1,500 bytes leaves for a datagram.
const BUDGET: DatagramBudget = DatagramBudget(1434);

/// The members, their relay, and what they keep between batches.
pub(crate) struct Walk {
    here: (Outbound, Roster),
    relay: (Relay, Place),
    there: (Inbound, Roster),
    /// Of two transfers, which take turns.
    frames: [Vec<u8>; 2],
    batch: FrameBatch,
    work: OutboundWork,
    deliveries: Vec<Delivery>,
    out: Vec<Bytes>,
    side_by_side: SideBySide,
    now: Instant,
}

impl Walk {
    /// Both have joined, as clients that speak for their own addresses. The frames are full-size segments of TCP over IPv4.
    pub(crate) fn new(now: Instant) -> Self {
        let mut relay = Relay::new(RelayConfig::default());
        let [here, there] = [(LinkId(1), HERE), (LinkId(2), THERE)];
        for (link, mac) in [here, there] {
            relay.handle_input(hello(link, mac), now);
        }
        let said: Vec<RelayOutput> = std::iter::from_fn(|| relay.poll_output()).collect();
        let [roster_here, roster_there] = [here, there].map(|(link, mac)| roster(&said, link, mac));
        let place = relay.place(here.0).expect("INVARIANT: it has joined");
        let (mut outbound, mut inbound) = (Outbound::new(Role::Client), Inbound::new(Role::Client));
        // An acknowledgement: only the first segments tell sizes.
        let mut tcp = wire::tcp();
        tcp[13] = 0x10;
        let packets = [1, 2].map(|port| {
            tcp[1] = port;
            Ipv4::new(wire::TCP).packet(&[&tcp[..], &[7; 1377]].concat())
        });
        let own = |at: usize| {
            let mut own = OwnAddresses::default();
            own.set(vec![<[u8; 4]>::try_from(&packets[0][at..at + 4]).expect("INVARIANT: four bytes").into()]);
            own
        };
        outbound.speak_for(own(12));
        inbound.listen_for(own(16));
        Self {
            here: (outbound, roster_here),
            relay: (relay, place),
            there: (inbound, roster_there),
            frames: packets.map(|packet| wire::ethernet(THERE, HERE, wire::IPV4, &packet)),
            batch: FrameBatch::new(),
            work: OutboundWork::default(),
            deliveries: vec![],
            out: vec![],
            side_by_side: SideBySide::default(),
            now,
        }
    }

    /// So many frames at once. How many came into the other's device.
    pub(crate) fn batch(&mut self, frames: usize) -> usize {
        // No faster than a relay lets a member be.
        self.now += Duration::from_millis(10);
        for frame in self.frames.iter().cycle().take(frames) {
            self.batch.push(&[frame]);
        }
        let (outbound, roster) = &mut self.here;
        outbound.process(&mut self.batch, Some(roster), PathSize::settled(BUDGET), self.now, &mut self.work);
        self.work.records.clear();
        let (relay, place) = &mut self.relay;
        relay.forward(place, self.work.datagrams.drain(..), self.now, &mut self.deliveries, &mut self.work.records);
        self.work.records.clear();
        let (inbound, roster) = &mut self.there;
        let datagrams = self.deliveries.drain(..).map(|delivery| delivery.datagram);
        inbound.process(datagrams, Some(roster), self.now, &mut self.out, &mut vec![]);
        self.side_by_side.arrange(&mut self.out);
        let came = self.out.len();
        self.out.clear();
        came
    }
}

fn hello(link: LinkId, mac: MacAddr) -> RelayInput {
    let room = "walk".parse().expect("INVARIANT: a room code");
    let description = Description::new("a machine with a name");
    let hello = Hello { description, ..Hello::new(Role::Client, room, mac, BUDGET) };
    let identity = IdentityId([mac.0[5]; 32]);
    RelayInput::Message { link, identity, remote: String::new(), budget: BUDGET, message: Box::new(Control::Hello(hello)), proven: None }
}

/// The room as the relay told it on this link.
fn roster(said: &[RelayOutput], link: LinkId, mac: MacAddr) -> Roster {
    let mut told = said.iter().filter_map(|output| match output {
        RelayOutput::Send { link: to, message } if *to == link => Some(message),
        _ => None,
    });
    let welcome = told.find_map(|message| if let Control::Welcome(welcome) = message { Some(welcome) } else { None });
    let mut roster = Roster::new(Role::Client, mac, welcome.expect("INVARIANT: it is let in"));
    for message in told {
        match message {
            Control::MemberJoined { member } => roster.insert(member.clone()),
            Control::LanMtu { mtu, limited_by } => roster.set_lan_mtu(*mtu, *limited_by),
            _ => {}
        }
    }
    roster
}
