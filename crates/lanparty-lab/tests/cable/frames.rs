//! What passes a cable, and what does not.

use std::time::{Duration, Instant};

use lanparty_lab::ping;
use lanparty_proto::MacAddr;

use crate::bench::{Bench, CABLE, ready};
use crate::capture::Capture;
use crate::injector::Injector;
use crate::programs::SOON;

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
