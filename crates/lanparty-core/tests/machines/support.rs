//! A relay at a desk: members join by one call, frames cross by one call, and time stands still until it is moved.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Delivery, FrameRecord, LinkId, MemberReport, Relay, RelayConfig, RelayEvent, RelayInput, RelayOutput};
use lanparty_proto::{
    Control, DatagramBudget, DatagramHeader, DropReason, Hello, IdentityId, LanMtu, MacAddr, MemberId, MemberInfo, Refusal, Role, Welcome,
};

/// A budget that allows a LAN MTU of 1,400.
pub(crate) const BUDGET: DatagramBudget = DatagramBudget(1417);
/// An EtherType that nothing looks into (IEEE 802 local experimental 1).
const EXPERIMENT: u16 = 0x88b5;

pub(crate) fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

pub(crate) fn identity(n: u8) -> IdentityId {
    IdentityId([n; 32])
}

pub(crate) fn lan_mtu(bytes: u16) -> LanMtu {
    LanMtu::new(bytes).unwrap()
}

/// The budget whose LAN MTU is `bytes`.
pub(crate) fn budget_for(bytes: u16) -> DatagramBudget {
    DatagramBudget(bytes + 17)
}

/// A client's hello with MAC address number `n`.
pub(crate) fn hello(n: u8) -> Hello {
    Hello { software: "test 1".into(), ..Hello::new(Role::Client, "ROOM1".parse().unwrap(), mac(n), BUDGET) }
}

pub(crate) fn gateway_hello(n: u8) -> Hello {
    Hello { role: Role::Gateway, ..hello(n) }
}

/// An Ethernet frame of `len` bytes.
pub(crate) fn frame(dst: MacAddr, src: MacAddr, len: usize) -> Vec<u8> {
    let mut frame = [&dst.0[..], &src.0, &EXPERIMENT.to_be_bytes()].concat();
    frame.resize(len, 0xa5);
    frame
}

/// The IPv4 UDP frame between those ports.
pub(crate) fn udp_frame(dst: MacAddr, src: MacAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let udp =
        [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &u16::try_from(8 + payload.len()).unwrap().to_be_bytes(), &[0, 0]].concat();
    let total = u16::try_from(20 + udp.len() + payload.len()).unwrap().to_be_bytes();
    let head = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1]].concat();
    [&dst.0[..], &src.0, &[8, 0], &head, &udp, payload].concat()
}

pub(crate) fn datagram(source: MemberId, frame: &[u8]) -> Bytes {
    [&DatagramHeader { source }.encode()[..], frame].concat().into()
}

/// A relay, the time, and everything it wanted done since it was last asked.
pub(crate) struct Desk {
    pub(crate) relay: Relay,
    pub(crate) now: Instant,
    pub(crate) outputs: Vec<RelayOutput>,
    pub(crate) records: Vec<FrameRecord>,
    tick_at: Option<Instant>,
}

impl Default for Desk {
    fn default() -> Self {
        Self::new(RelayConfig::default())
    }
}

impl Desk {
    pub(crate) fn new(config: RelayConfig) -> Self {
        Self { relay: Relay::new(config), now: Instant::now(), outputs: vec![], records: vec![], tick_at: None }
    }

    /// One input; what the relay wants done goes to `outputs`, timeouts are kept.
    pub(crate) fn input(&mut self, input: RelayInput) {
        self.relay.handle_input(input, self.now);
        while let Some(output) = self.relay.poll_output() {
            match output {
                RelayOutput::Timeout(at, _) => {
                    assert!(at > self.now, "a timeout lies ahead");
                    self.tick_at = Some(self.tick_at.map_or(at, |before| before.min(at)));
                }
                output => self.outputs.push(output),
            }
        }
    }

    /// Moves the time, with a tick whenever the relay asked for one.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.tick_at.filter(|at| *at <= end) {
            self.now = at;
            self.tick_at = None;
            self.input(RelayInput::Tick);
        }
        self.now = end;
    }

    pub(crate) fn message(&mut self, link: u64, message: Control) {
        self.message_from(link, identity(u8::try_from(link).unwrap()), BUDGET, message);
    }

    pub(crate) fn message_from(&mut self, link: u64, identity: IdentityId, budget: DatagramBudget, message: Control) {
        let remote = format!("192.0.2.{link}:4711");
        self.input(RelayInput::Message { link: LinkId(link), identity, remote, budget, message: Box::new(message), proven: None });
    }

    pub(crate) fn close(&mut self, link: u64) {
        self.input(RelayInput::Closed { link: LinkId(link), reason: "the cable was cut".into() });
    }

    /// Joins with identity number `link`; panics when refused.
    pub(crate) fn join(&mut self, link: u64, hello: Hello) -> Welcome {
        self.outputs.clear();
        self.message(link, Control::Hello(hello));
        self.welcome(link).expect("the relay welcomes")
    }

    pub(crate) fn welcome(&self, link: u64) -> Option<Welcome> {
        self.sent_to(link).into_iter().find_map(|m| if let Control::Welcome(w) = m { Some(w) } else { None })
    }

    /// Tries to join as `identity`; the refusal's code and words.
    pub(crate) fn refused(&mut self, link: u64, as_identity: u8, hello: Hello) -> (Refusal, String) {
        self.outputs.clear();
        self.message_from(link, identity(as_identity), BUDGET, Control::Hello(hello));
        self.refusal(link).expect("the relay refuses")
    }

    pub(crate) fn refusal(&self, link: u64) -> Option<(Refusal, String)> {
        self.outputs.iter().find_map(|o| match o {
            RelayOutput::Refuse { link: to, code, message } if to.0 == link => Some((*code, message.clone())),
            _ => None,
        })
    }

    pub(crate) fn sent_to(&self, link: u64) -> Vec<Control> {
        let of_link = |o: &RelayOutput| match o {
            RelayOutput::Send { link: to, message } if to.0 == link => Some(message.clone()),
            _ => None,
        };
        self.outputs.iter().filter_map(of_link).collect()
    }

    pub(crate) fn joined_seen_by(&self, link: u64) -> Vec<MemberInfo> {
        self.sent_to(link).into_iter().filter_map(|m| if let Control::MemberJoined { member } = m { Some(member) } else { None }).collect()
    }

    pub(crate) fn mtus_seen_by(&self, link: u64) -> Vec<u16> {
        self.sent_to(link).into_iter().filter_map(|m| if let Control::LanMtu { mtu, .. } = m { Some(mtu.bytes()) } else { None }).collect()
    }

    pub(crate) fn events(&self) -> Vec<RelayEvent> {
        self.outputs.iter().filter_map(|o| if let RelayOutput::Event(e) = o { Some(e.clone()) } else { None }).collect()
    }

    /// Sends a frame from the member at `link` under its own number: the links it goes to.
    pub(crate) fn send(&mut self, link: u64, frame: &[u8]) -> Vec<u64> {
        let member = self.relay.place(LinkId(link)).expect("a member").member();
        self.send_as(link, member, frame)
    }

    /// The same with that number in the header.
    pub(crate) fn send_as(&mut self, link: u64, source: MemberId, frame: &[u8]) -> Vec<u64> {
        self.deliveries(link, datagram(source, frame)).iter().map(|d| d.link.0).collect()
    }

    pub(crate) fn deliveries(&mut self, link: u64, datagram: Bytes) -> Vec<Delivery> {
        let place = self.relay.place(LinkId(link)).expect("a member");
        let mut out = vec![];
        self.relay.forward(&place, [datagram], self.now, &mut out, &mut self.records);
        out
    }

    /// Frames of that member dropped for `reason`, by name.
    pub(crate) fn dropped(&self, link: u64, reason: &str) -> u64 {
        let reason = DropReason::ALL.iter().find(|known| known.as_str() == reason).expect("a reason");
        self.member(link).from_member.dropped.count(*reason)
    }

    pub(crate) fn member(&self, link: u64) -> MemberReport {
        let place = self.relay.place(LinkId(link)).expect("a member");
        let rooms = self.relay.report(self.now);
        let room = rooms.into_iter().find(|r| r.room == place.room().as_str()).expect("its room");
        room.members.into_iter().find(|m| m.member == place.member().0).expect("its member")
    }
}
