//! The corpus of hand-named frames through the real programs: from a wire into the gateway, and from a host's stack into the client's TAP.
//! Each frame meets the one verdict that the unit tests and the relay's tests hold it to (RELIABILITY I4).
//!
//! Frames are sent as they are, runts included, because a frame that padding made longer is another frame. Three things cannot be: a frame
//! shorter than its own header cannot be given to the kernel at all; one that ends inside its VLAN tag is thrown away by the kernel before
//! anybody sees it, so that it is sent padded, as a wire would have it; and what the gateway puts on a wire is padded to 60 bytes by it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lanparty_lab::{End, Internet, Lab, Namespace, Offloads, Proc, Requirements, Uplink, veth};
use lanparty_nic::{Device, PacketSocket};
use lanparty_proto::corpus::{Case, CaseSource, corpus, wire};
use lanparty_proto::{AdmissionPolicy, DropReason, LanMtu, MacAddr, admit};
use serde_json::Value;

#[path = "support/capture.rs"]
mod capture;
#[path = "support/injector.rs"]
mod injector;
#[path = "support/programs.rs"]
mod programs;

use capture::Capture;
use injector::Injector;
use programs::{Programs, ROOM, SOON};

/// Longest wait for a frame that must come.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Shortest frame on a wire, without FCS.
const WIRE_FRAME_LEN_MIN: usize = 60;
/// The kernel reads this much behind an EtherType that announces a tag (`skb_vlan_untag`), and throws a shorter frame away.
const TAGGED_FRAME_LEN_MIN: usize = 20;

/// A LAN host on a cable to the gateway, and a client at home, in one room.
struct Room {
    pc: Namespace,
    gateway: Namespace,
    home: Namespace,
    relay: Namespace,
    client_mac: MacAddr,
    lan_mtu: LanMtu,
    programs: Programs,
    _running: [Proc; 3],
    _internet: Internet,
    _lab: Lab,
}

impl Room {
    fn build(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let [pc, gateway, home, relay] = ["pc", "gateway", "home", "relay"].map(|host| lab.namespace(host).unwrap());
        for (host, number) in [(&relay, 1), (&gateway, 20), (&home, 30)] {
            internet.attach(&lab, host, number, &Uplink::default()).unwrap();
        }
        veth(End::new(&pc, "lan"), End::new(&gateway, "lan"), Offloads::Off).unwrap();
        for host in [&pc, &gateway] {
            // The longest frame of the corpus must get as far as the gateway.
            host.ip("link set dev lan mtu 65535").unwrap();
        }
        let programs = Programs::new(&lab);
        // Frames of every kind, to and from any address.
        let running = [programs.relay_with(&relay, &["--multicast", "all"]), programs.gateway(&gateway), routing_client(&programs, &home)];
        let status = programs.status(&home, "lanparty-client");
        let client_mac = status["mac"].as_str().unwrap().parse().unwrap();
        let lan_mtu = LanMtu::new(u16::try_from(status["lan_mtu"].as_u64().unwrap()).unwrap()).unwrap();
        Self { pc, gateway, home, relay, client_mac, lan_mtu, programs, _running: running, _internet: internet, _lab: lab }
    }

    /// The cases of `source`, those addressed to another LAN host readdressed to the client: the gateway sends up nothing else.
    fn cases(&self, source: CaseSource) -> Vec<Case> {
        let of_source = corpus(self.client_mac, self.lan_mtu).into_iter().filter(|case| case.source == source);
        of_source.map(|case| if source == CaseSource::Gateway { readdressed(case, self.client_mac) } else { case }).collect()
    }

    /// The verdict of a frame that was changed on the way in, by the function that every node asks.
    fn verdict(&self, source: CaseSource, frame: &[u8]) -> Option<DropReason> {
        admit(frame, source.source(self.client_mac), &AdmissionPolicy::new(self.lan_mtu), None).err()
    }

    /// Sends `cases` into the end of `source` and compares what becomes of each with its verdict.
    fn judge(&self, cases: &[Case], sender: &mut dyn FnMut(&[u8]), source: CaseSource) {
        let (end, program) = match source {
            CaseSource::Client => (&self.home, "lanparty-client"),
            CaseSource::Gateway => (&self.gateway, "lanparty-gateway"),
        };
        let mut receiver = match source {
            CaseSource::Client => Capture::open(&self.pc, "lan"),
            CaseSource::Gateway => Capture::open(&self.home, "lan0"),
        };
        let mut wrong = vec![];
        for (verdict, group) in by_verdict(cases) {
            let before = Counters::read(&self.programs.status(end, program));
            for (number, case) in group.iter().enumerate() {
                wrong.extend(self.deliver(case, number, sender, &mut receiver, source));
            }
            let counted = Counters::read(&self.programs.status(end, program)).since(&before);
            let expected = Counters::expected(verdict, group.len() as u64);
            if counted != expected {
                wrong.push(format!("{} frames for {verdict:?} were counted as {counted:?}, not {expected:?}", group.len()));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases went wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        assert_eq!(self.dropped_at_the_relay(), 0, "what the ends let through, the relay lets through");
    }

    /// One case, then a mark; what is wrong with what came before the mark.
    fn deliver(
        &self,
        case: &Case,
        number: usize,
        sender: &mut dyn FnMut(&[u8]),
        receiver: &mut Capture,
        source: CaseSource,
    ) -> Option<String> {
        let (from, to) = match source {
            CaseSource::Client => (self.client_mac, wire::HOST),
            CaseSource::Gateway => (wire::HOST, self.client_mac),
        };
        let mark = wire::ethernet(to, from, wire::EXPERIMENT, format!("mark {number:4} of {:50}", case.name).as_bytes());
        sender(&case.frame);
        sender(&mark);
        let came: Vec<_> = until(receiver, &mark).into_iter().filter(|frame| !self.is_chatter(frame, source)).collect();
        let expected: Vec<_> = case.verdict.is_none().then(|| on_the_wire(&case.frame, source)).into_iter().collect();
        (came != expected).then(|| format!("{} ({:?}): {came:02x?} came, not {expected:02x?}", case.name, case.verdict))
    }

    /// What the receiving host says itself (its stack answers what it hears), and the gateway's own announcements of the client.
    fn is_chatter(&self, frame: &[u8], source: CaseSource) -> bool {
        match source {
            CaseSource::Gateway => frame[6..12] == self.client_mac.0,
            CaseSource::Client => frame[..6] == [0xff; 6] && frame[12..14] == [0x80, 0x35],
        }
    }

    fn dropped_at_the_relay(&self) -> u64 {
        let status = self.programs.status(&self.relay, "lanparty-relay");
        let members = status["rooms"][0]["members"].as_array().unwrap();
        assert_eq!(members.len(), 2);
        members.iter().flat_map(|member| member["from_member"]["dropped"].as_object().unwrap().values()).filter_map(Value::as_u64).sum()
    }
}

/// What came before `last`, which must come.
fn until(receiver: &mut Capture, last: &[u8]) -> Vec<Vec<u8>> {
    let mut before = vec![];
    loop {
        let frame = receiver.next(ARRIVAL).unwrap_or_else(|| panic!("{last:02x?} did not come; {} others did", before.len()));
        if frame == last {
            return before;
        }
        before.push(frame);
    }
}

/// What a member counted of the frames from its device.
#[derive(Debug, PartialEq, Eq)]
struct Counters {
    /// Cases and marks.
    forwarded: u64,
    dropped: BTreeMap<String, u64>,
}

impl Counters {
    fn read(status: &Value) -> Self {
        let outbound = &status["frames"]["outbound"];
        let dropped = outbound["dropped"].as_object().unwrap().iter().map(|(reason, count)| (reason.clone(), count.as_u64().unwrap()));
        Self { forwarded: outbound["forwarded"].as_u64().unwrap(), dropped: dropped.collect() }
    }

    fn since(&self, before: &Self) -> Self {
        let dropped = self.dropped.iter().map(|(reason, count)| (reason.clone(), count - before.dropped[reason]));
        Self { forwarded: self.forwarded - before.forwarded, dropped: dropped.filter(|(_, count)| *count > 0).collect() }
    }

    /// `count` cases of one verdict, and as many marks.
    fn expected(verdict: Option<DropReason>, count: u64) -> Self {
        match verdict {
            None => Self { forwarded: 2 * count, dropped: BTreeMap::new() },
            Some(reason) => Self { forwarded: count, dropped: [(reason.as_str().to_owned(), count)].into() },
        }
    }
}

/// A client that speaks for everybody. A direct way would begin with a frame of the programs' own among those that are counted, and keep what
/// the ends let through from the relay.
fn routing_client(programs: &Programs, home: &Namespace) -> Proc {
    let client = programs.start_client(home, ROOM, &["--route-from", "any", "--no-direct"]);
    client.wait_for("TAP is up", SOON).unwrap();
    client
}

fn by_verdict(cases: &[Case]) -> BTreeMap<Option<DropReason>, Vec<&Case>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in cases {
        groups.entry(case.verdict).or_default().push(case);
    }
    groups
}

fn readdressed(mut case: Case, client: MacAddr) -> Case {
    if let Some(dst) = case.frame.first_chunk_mut::<6>().filter(|dst| dst[0] & 1 == 0) {
        *dst = client.0;
    }
    case
}

/// The frame as the other end gets it.
fn on_the_wire(frame: &[u8], source: CaseSource) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if source == CaseSource::Client {
        frame.resize(frame.len().max(WIRE_FRAME_LEN_MIN), 0);
    }
    frame
}

fn padded(frame: &[u8]) -> Vec<u8> {
    on_the_wire(frame, CaseSource::Client)
}

fn ends_inside_its_tag(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8])) && frame.len() < TAGGED_FRAME_LEN_MIN
}

/// Every case of one side, with the tags carried as the kernel carries them, beside the bytes.
fn judge_every_case(room: &Room, host: &Namespace, interface: &str, source: CaseSource) {
    let mut injector = Injector::plug(host, interface);
    let all = room.cases(source);
    let total = all.len();
    let (mut cases, too_short): (Vec<_>, Vec<_>) = all.into_iter().partition(|case| case.frame.len() >= 14);
    for case in &too_short {
        assert!(!injector.send(&case.frame), "{} is refused by the kernel", case.name);
    }
    let mut lengthened = 0;
    for case in cases.iter_mut().filter(|case| ends_inside_its_tag(&case.frame)) {
        case.frame = padded(&case.frame);
        assert_eq!(room.verdict(source, &case.frame), case.verdict, "{}, padded", case.name);
        lengthened += 1;
    }
    room.judge(&cases, &mut |frame| assert!(injector.send(frame)), source);
    println!(
        "{source:?}: {} of {total} cases judged, {lengthened} of them padded because they end inside their VLAN tag; \
         not applicable: {} frames shorter than an Ethernet header, which the kernel does not take",
        cases.len(),
        too_short.len()
    );
    assert!(cases.len() >= 200, "{}", cases.len());
}

/// The tagged cases once more, the tag in the bytes as a host with raw access sends them.
fn judge_tags_in_the_bytes(room: &Room, host: &Namespace, interface: &str, source: CaseSource) {
    let mut sender = host.enter(|| PacketSocket::open(interface)).unwrap().unwrap();
    let mut tagged: Vec<_> = room.cases(source).into_iter().filter(|case| case.verdict == Some(DropReason::VlanTaggedFrame)).collect();
    for case in &mut tagged {
        case.frame = padded(&case.frame);
    }
    room.judge(&tagged, &mut |frame| assert_eq!(sender.send_batch(&[Bytes::copy_from_slice(frame)]).unwrap(), 1), source);
    println!("{source:?}: {} tagged frames with the tag in their bytes", tagged.len());
    assert!(tagged.len() >= 20);
}

#[test]
fn every_frame_from_the_wire_meets_its_verdict_in_the_gateway() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let room = Room::build("corpus-lan");
    judge_every_case(&room, &room.pc, "lan", CaseSource::Gateway);
    judge_tags_in_the_bytes(&room, &room.pc, "lan", CaseSource::Gateway);
}

#[test]
fn every_frame_from_a_hosts_stack_meets_its_verdict_in_the_client() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let room = Room::build("corpus-tap");
    // The client sets the LAN MTU; a stack that ignores it must still be stopped.
    room.home.ip("link set dev lan0 mtu 65521").unwrap();
    judge_every_case(&room, &room.home, "lan0", CaseSource::Client);
    judge_tags_in_the_bytes(&room, &room.home, "lan0", CaseSource::Client);
}
