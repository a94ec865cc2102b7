//! Multicast between a LAN and a room that is snooped.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was counted is printed")]

#[path = "support/capture.rs"]
mod capture;
#[path = "support/injector.rs"]
mod injector;
mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use capture::Capture;
use injector::Injector;
use lanparty_lab::{LAN, Party};
use lanparty_proto::GroupQuery;
use support::{Evening, SOON, TAP, ready};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const PORT: u16 = 5001;
/// The first questions of a client to its own host, and the answers, are over by then.
const KNOWN: Duration = Duration::from_secs(7);
const IGMP: u8 = 2;

#[test]
fn a_lans_stream_comes_while_somebody_has_joined_it_and_the_lans_switches_know() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lan-streams");
    let _relay = evening.relay_with(&["--listen", "0.0.0.0:8443", "--multicast", "snooped"]);
    let gateway = evening.gateway();
    let (_client, address) = evening.client_with_lease();
    thread::sleep(KNOWN);
    let (pc, home) = (evening.party.pc(1), &evening.party.home);
    pc.ip(&format!("route add 224.0.0.0/4 dev {LAN}")).unwrap();
    let sender = pc.enter(|| UdpSocket::bind((Party::pc_address(1), 0)).unwrap()).unwrap();
    let send = |count: u32| {
        for n in 0..count {
            sender.send_to(&n.to_be_bytes(), (GROUP, PORT)).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
    };
    let refused = || evening.status(&evening.party.gateway)["frames"]["outbound"]["dropped"]["Multicast"].as_u64().unwrap();
    send(20);
    assert_eq!(refused(), 20, "{}", gateway.tail());
    // Its report is heard in the LAN, and from then on the stream comes.
    let mut lan = Capture::open(evening.party.pc(2), LAN);
    let receiver = home.enter(|| {
        let socket = UdpSocket::bind((GROUP, PORT)).unwrap();
        socket.join_multicast_v4(&GROUP, &address).unwrap();
        socket
    });
    let receiver = receiver.unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    hears(&mut lan, is_report);
    let mut buffer = [0; 16];
    // The gateway hears of it from the relay, next to the report and not in order with it.
    let within = Instant::now() + SOON;
    while receiver.recv(&mut buffer).is_err() {
        assert!(Instant::now() < within, "{}", gateway.tail());
        send(1);
    }
    while receiver.recv(&mut buffer).is_ok() {}
    let before = refused();
    send(50);
    let received = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count();
    assert_eq!((received, refused()), (50, before));
    // And its routers are heard by the client.
    let mut tap = Capture::open(home, TAP);
    let query = GroupQuery { group: None, within: Duration::from_secs(1) }.frames().remove(0);
    assert!(Injector::plug(pc, LAN).send(&query));
    hears(&mut tap, |frame| frame.starts_with(&query));
}

fn hears(capture: &mut Capture, is_it: impl Fn(&[u8]) -> bool) {
    while !is_it(&capture.next(SOON).expect("it is heard before there is silence")) {}
}

/// An IGMPv3 report with the group in it.
fn is_report(frame: &[u8]) -> bool {
    let is_igmp = frame.len() > 46 && frame[12..14] == [8, 0] && frame[23] == IGMP;
    is_igmp && frame[30..34] == [224, 0, 0, 22] && frame.windows(4).any(|four| four == GROUP.octets())
}
