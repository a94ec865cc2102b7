//! `lanparty cable` between two hosts: real programs, real kernels at both ends, and whatever happens to the wire between them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/capture.rs"]
mod capture;
#[path = "support/injector.rs"]
mod injector;
#[path = "support/programs.rs"]
mod programs;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use capture::Capture;
use injector::Injector;
use lanparty_lab::{Namespace, Pair, PairOptions, Proc, Requirements, ping, transfer};
use lanparty_proto::MacAddr;
use programs::{Programs, SOON};
use serde_json::Value;

/// The interface of a cable, as it is called when nobody says otherwise.
const CABLE: &str = "cable0";

/// Two hosts that know each other's keys. On the cable, `a` is 10.66.0.1 and `b` is 10.66.0.2.
struct Bench {
    pair: Pair,
    programs: Programs,
    keys: [String; 2],
}

impl Bench {
    const A: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);

    fn new(name: &str) -> Self {
        Self::with(name, &PairOptions::default())
    }

    fn with(name: &str, options: &PairOptions) -> Self {
        let pair = Pair::build(name, options).unwrap();
        let programs = Programs::new(&pair.lab);
        let key = |host| {
            let printed = programs.run(host, &["lanparty", "cable", "--new", "--json"]).success().unwrap().stdout;
            serde_json::from_str::<Value>(&printed).unwrap()["key"].as_str().unwrap().to_owned()
        };
        let keys = [key(&pair.a), key(&pair.b)];
        Self { pair, programs, keys }
    }

    /// The end on `host`, started; nothing is waited for.
    fn start(&self, host: &Namespace, more: &[&str]) -> Proc {
        let peer = if host.host() == "a" { &self.keys[1] } else { &self.keys[0] };
        self.start_for(host, peer, more)
    }

    fn start_for(&self, host: &Namespace, peer: &str, more: &[&str]) -> Proc {
        let cable = self.programs.program(host, "lanparty").named("cable").args(["cable", "--peer", peer]).args(more);
        host.spawn(cable).unwrap()
    }

    /// Gives an end its address on the cable.
    fn address(&self, host: &Namespace) {
        let own = if host.host() == "a" { Self::A } else { Self::B };
        host.ip(&format!("addr replace {own}/24 dev {CABLE}")).unwrap();
    }

    /// `a` listens, `b` dials; both have addresses.
    fn plug_in(&self, more: &[&str]) -> (Proc, Proc) {
        let a = self.start(&self.pair.a, more);
        let b = self.start(&self.pair.b, &[&["--remote", "10.99.0.11"], more].concat());
        for (host, end) in [(&self.pair.a, &a), (&self.pair.b, &b)] {
            end.wait_for("the cable is plugged in", SOON).unwrap();
            self.address(host);
        }
        (a, b)
    }

    fn status(&self, host: &Namespace) -> Value {
        self.programs.status(host, "lanparty-cable")
    }

    /// Frames that `direction` of an end dropped for `reason`.
    fn dropped(&self, host: &Namespace, direction: &str, reason: &str) -> u64 {
        self.status(host)["frames"][direction]["dropped"][reason].as_u64().unwrap()
    }

    /// Bytes cross in both directions, each the one that was sent.
    fn transfer(&self, len: usize) {
        let Pair { a, b, .. } = &self.pair;
        transfer(a, b, Self::B.into(), len).unwrap();
        transfer(b, a, Self::A.into(), len).unwrap();
    }
}

fn ready() -> bool {
    Requirements::wires().ready_or_skip()
}

#[test]
fn a_ping_and_a_transfer_cross_bit_by_bit() {
    if !ready() {
        return;
    }
    let bench = Bench::new("cable");
    let (_a, _b) = bench.plug_in(&[]);
    let answered = ping(&bench.pair.a, Bench::B, 5).unwrap();
    assert_eq!(answered.received, 5);
    bench.transfer(5_000_000);
    let (a, b) = (bench.status(&bench.pair.a), bench.status(&bench.pair.b));
    assert_eq!((&a["lan_mtu"], &b["lan_mtu"]), (&Value::from(1417), &Value::from(1417)));
    assert_eq!((&a["key"], &a["peer"]), (&b["peer"], &b["key"]));
    let words = bench.programs.run(&bench.pair.b, &["lanparty", "status"]).success().unwrap().stdout;
    println!("{words}");
    for part in ["cable cable0: plugged in", "at 10.99.0.11:8442, RTT", &bench.keys[0], "none dropped"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// What LANs say to each other, from a host with this MAC address.
fn frames_of_lans(src: MacAddr) -> [(&'static str, Vec<u8>); 5] {
    let frame = |dst: [u8; 6], kind: u16, payload: &[u8]| [&dst[..], &src.0, &kind.to_be_bytes(), payload].concat();
    let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    let bpdu = [&[0x42, 0x42, 3][..], &[0; 43]].concat();
    [
        ("LLDP", frame(group(0x0e), 0x88cc, &[2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 2, 7, 3, 6, 2, 0, 120, 0, 0])),
        ("a spanning tree's BPDU", frame(group(0), 38, &bpdu)),
        ("LACP", frame(group(2), 0x8809, &[1; 110])),
        ("a VLAN tag", frame([0xff; 6], 0x8100, &[&[0, 5, 0x88, 0xb5][..], &[9; 60]].concat())),
        ("two tags", frame([0xff; 6], 0x88a8, &[&[0, 7, 0x81, 0, 0, 5, 0x88, 0xb5][..], &[8; 60]].concat())),
    ]
}

fn pause(src: MacAddr) -> Vec<u8> {
    [&[0x01, 0x80, 0xc2, 0, 0, 1][..], &src.0, &[0x88, 0x08, 0, 1, 0xff, 0xff], &[0; 42]].concat()
}

/// Whether `frame` comes out there.
fn arrives(capture: &mut Capture, frame: &[u8], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut seen = || capture.next(deadline.saturating_duration_since(Instant::now()));
    std::iter::from_fn(&mut seen).any(|came| came == frame)
}

#[test]
fn what_lans_say_to_each_other_crosses_and_pause_does_not() {
    if !ready() {
        return;
    }
    let bench = Bench::new("frames");
    let (_a, _b) = bench.plug_in(&[]);
    for (from, to) in [(&bench.pair.a, &bench.pair.b), (&bench.pair.b, &bench.pair.a)] {
        let mac: MacAddr = from.mac(CABLE).unwrap().parse().unwrap();
        let (mut injector, mut capture) = (Injector::plug(from, CABLE), Capture::open(to, CABLE));
        for (what, frame) in frames_of_lans(mac) {
            assert!(injector.send(&frame), "{what}");
            assert!(arrives(&mut capture, &frame, SOON), "{what} from {}", from.host());
        }
        injector.send(&pause(mac));
        assert!(!arrives(&mut capture, &pause(mac), Duration::from_millis(500)), "PAUSE");
        assert_eq!(bench.dropped(from, "outbound", "ControlPlaneEtherType"), 1);
    }
}

#[test]
fn an_isolated_end_lets_one_host_through_and_counts_the_rest() {
    if !ready() {
        return;
    }
    let bench = Bench::new("isolate");
    let a = bench.start(&bench.pair.a, &["--isolate"]);
    let b = bench.start(&bench.pair.b, &["--remote", "10.99.0.11"]);
    for (host, end) in [(&bench.pair.a, &a), (&bench.pair.b, &b)] {
        end.wait_for("the cable is plugged in", SOON).unwrap();
        bench.address(host);
    }
    assert_eq!(ping(&bench.pair.b, Bench::A, 3).unwrap().received, 3, "one host is let through");
    for (from, to, direction) in [(&bench.pair.a, &bench.pair.b, "outbound"), (&bench.pair.b, &bench.pair.a, "inbound")] {
        let mac: MacAddr = from.mac(CABLE).unwrap().parse().unwrap();
        let (mut injector, mut capture) = (Injector::plug(from, CABLE), Capture::open(to, CABLE));
        for (what, frame) in frames_of_lans(mac) {
            injector.send(&frame);
            assert!(!arrives(&mut capture, &frame, Duration::from_millis(200)), "{what} from {}", from.host());
        }
        let counted = ["ControlPlaneEtherType", "VlanTaggedFrame"].map(|reason| bench.dropped(&bench.pair.a, direction, reason));
        assert_eq!(counted, [3, 2], "{direction}");
    }
    let words = bench.programs.run(&bench.pair.a, &["lanparty", "status"]).success().unwrap().stdout;
    assert!(words.contains(", isolated") && words.contains("VlanTaggedFrame 2"), "{words}");
}
