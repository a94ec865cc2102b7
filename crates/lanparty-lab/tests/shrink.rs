//! A path that becomes smaller under running flows, and others who only claim that it did (RELIABILITY F18, THREATS C11).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/injector.rs"]
mod injector;
mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use injector::Injector;
use lanparty_lab::{Narrow, Party, Probe, ProbeReport, Requirements, Routers, Tool, WAN, transfer};
use lanparty_proto::Checksum;
use support::conservation::assert_conserved;
use support::flow::Echo;
use support::outage::without_arp;
use support::{Evening, Members, alone, eventually};

/// Large frames must pass again within this (RELIABILITY F18); a busy machine is given twice the goal.
const LARGE_AGAIN: Duration = Duration::from_secs(3);
/// How long the wire is watched before it shrinks, and altogether.
const LEAD: Duration = Duration::from_secs(2);
const SPAN: Duration = Duration::from_secs(9);
/// A game's packet, and one that fits the room before but not after.
const SMALL: usize = 100;
const LARGE: usize = 1250;
/// Long enough for the wire to shrink amid it.
const DOWNLOAD_LEN: usize = 256 << 20;

/// An evening whose client is behind a link that can become narrow, and whose routers say nothing and drop fragments.
fn behind_a_link(name: &str) -> (Evening, Narrow) {
    let evening = Evening::new(name);
    let narrow = {
        let party = &evening.party;
        Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap()
    };
    narrow.set_routers(Routers::DropFragments).unwrap();
    (evening, narrow)
}

/// Packets both ways.
struct Both {
    up: ProbeReport,
    down: ProbeReport,
}

impl Both {
    fn run(evening: &Evening, client: Ipv4Addr, payload: usize) -> Self {
        let probe = Probe { payload, duration: SPAN, ..Probe::default() };
        let (home, pc) = (&evening.party.home, evening.party.pc(1));
        thread::scope(|scope| {
            let up = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
            let down = probe.run(pc, home, client).unwrap();
            Self { up: up.join().unwrap(), down }
        })
    }

    /// The numbers of those that never came.
    fn lost(&self) -> [Vec<u64>; 2] {
        [&self.up, &self.down].map(|report| {
            let came: std::collections::BTreeSet<_> = report.arrivals.iter().map(|arrival| arrival.number).collect();
            (0..report.sent + report.refused).filter(|number| !came.contains(number)).collect()
        })
    }

    /// When, after `moment`, packets of either way arrive again for good.
    fn again_after(&self, moment: Duration) -> Duration {
        let rate = f64::from(Probe::default().rate);
        let last_lost = self.lost().into_iter().flatten().max().map(|number| Duration::from_secs_f64(number as f64 / rate));
        last_lost.map_or(Duration::ZERO, |at| at.saturating_sub(moment))
    }
}

#[test]
fn f18_a_wire_that_shrinks_in_silence_costs_small_frames_nothing_and_large_ones_a_moment() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let (evening, narrow) = behind_a_link("f18");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    without_arp(&evening, address);
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let mut flow = Echo::open(pc, home, address);
    flow.say("before;");
    flow.hear("before;");
    let (small, large) = thread::scope(|scope| {
        let small = scope.spawn(|| Both::run(&evening, address, SMALL));
        let large = scope.spawn(|| Both::run(&evening, address, LARGE));
        thread::sleep(LEAD);
        narrow.set_mtu(1280).unwrap();
        flow.say("meanwhile;");
        println!("F18 the TCP flow went on after {:?}", flow.hear("meanwhile;"));
        (small.join().unwrap(), large.join().unwrap())
    });
    let again = large.again_after(LEAD);
    let ([up, down], [large_up, large_down]) = (small.lost(), large.lost().map(|lost| lost.len()));
    println!("F18 small lost {up:?} up, {down:?} down; large {large_up} up, {large_down} down, again for good after {again:?}");
    assert_conserved(&evening, false);
    assert_eq!((up.len(), down.len()), (0, 0), "small frames: {up:?} up, {down:?} down");
    assert!(again <= 2 * LARGE_AGAIN, "{again:?}");
    assert!(large_up + large_down > 0, "the wire did shrink");
    eventually("the room follows", || evening.status(home)["lan_mtu"].as_u64() < Some(1200));
    flow.say("after;");
    flow.hear("after;");
}

#[test]
fn a_download_lives_on_over_a_wire_that_shrinks_in_silence() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let (evening, narrow) = behind_a_link("f18-tcp");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let bytes_in = || evening.status(home)["frames"]["inbound"]["bytes_forwarded"].as_u64().unwrap();
    let took = thread::scope(|scope| {
        let download = scope.spawn(|| transfer(pc, home, address.into(), DOWNLOAD_LEN).unwrap());
        // Well under way, and far from its end.
        eventually("the download runs", || bytes_in() > DOWNLOAD_LEN as u64 / 20);
        narrow.set_mtu(1280).unwrap();
        let behind = bytes_in();
        assert!(behind < DOWNLOAD_LEN as u64 / 2, "{behind} bytes before the wire shrank");
        download.join().unwrap()
    });
    println!("F18 {DOWNLOAD_LEN} bytes over the shrink, bit by bit, in {took:?}");
    eventually("the room follows", || evening.status(home)["lan_mtu"].as_u64() < Some(1200));
    assert_conserved(&evening, false);
}

/// The last router before the home, or who says that it is.
const LIAR: (&str, &str) = ("10.99.0.254", "fd99::fe");
/// What it claims to be able to carry: below everything, and not even a size.
const LIES: [u32; 3] = [68, 0, 1280];

/// A packet too big that a liar sends about a packet from `from` to `to`: ICMP type 3 code 4 (RFC 1191), ICMPv6 type 2 (RFC 4443 §3.2).
fn forged_too_big(from: SocketAddr, to: SocketAddr, mtu: u32) -> Vec<u8> {
    let udp = [&from.port().to_be_bytes()[..], &to.port().to_be_bytes(), &1452u16.to_be_bytes(), &[0, 0]].concat();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(victim), IpAddr::V4(relay)) => {
            let quoted = [&ipv4_header(17, 1472, victim, relay)[..], &udp].concat();
            let body = with_checksum([&[3, 4, 0, 0][..], &mtu.to_be_bytes(), &quoted].concat(), &[]);
            [&ipv4_header(1, 20 + body.len(), LIAR.0.parse().unwrap(), victim)[..], &body].concat()
        }
        (IpAddr::V6(victim), IpAddr::V6(relay)) => {
            let liar: std::net::Ipv6Addr = LIAR.1.parse().unwrap();
            let header = |next: u8, len: usize, from: &[u8; 16], to: &[u8; 16]| {
                let len = u16::try_from(len).unwrap().to_be_bytes();
                [&[0x60, 0, 0, 0, len[0], len[1], next, 64][..], from, to].concat()
            };
            let quoted = [header(17, 1452, &victim.octets(), &relay.octets()), udp].concat();
            let body = [&[2, 0, 0, 0][..], &mtu.to_be_bytes(), &quoted].concat();
            let pseudo = [&liar.octets()[..], &victim.octets(), &u32::try_from(body.len()).unwrap().to_be_bytes(), &[0, 0, 0, 58]].concat();
            let body = with_checksum(body, &pseudo);
            [header(58, body.len(), &liar.octets(), &victim.octets()), body].concat()
        }
        _ => unreachable!("both ends have one address family"),
    }
}

fn ipv4_header(protocol: u8, len: usize, from: Ipv4Addr, to: Ipv4Addr) -> [u8; 20] {
    let len = u16::try_from(len).unwrap().to_be_bytes();
    let mut header = [0x45, 0, len[0], len[1], 0, 7, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = Checksum::default().with(&header).field();
    header[10..12].copy_from_slice(&sum);
    header
}

fn with_checksum(mut icmp: Vec<u8>, pseudo: &[u8]) -> Vec<u8> {
    let sum = Checksum::default().with(pseudo).with(&icmp).field();
    icmp[2..4].copy_from_slice(&sum);
    icmp
}

/// Tells `victim`, at port `port` of the internet's switch, every lie about its packets to `to`.
fn lie(evening: &Evening, port: &str, victim: (&lanparty_lab::Namespace, SocketAddr), to: SocketAddr) {
    let internet = evening.party.internet.switch().host();
    let (host, from) = victim;
    let mac: lanparty_proto::MacAddr = host.mac(WAN).unwrap().parse().unwrap();
    let ethertype = if from.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
    let mut injector = Injector::plug(internet, port);
    for mtu in LIES {
        let frame = [&mac.0[..], &[2, 0, 0, 0, 0, 0xfe], &ethertype, &forged_too_big(from, to, mtu)].concat();
        assert!(injector.send(&frame));
    }
}

/// The route's MTU as a host's kernel has it, when it differs from the interface's.
fn route_mtu(host: &lanparty_lab::Namespace, to: IpAddr) -> Option<u32> {
    let route = host.ip(&format!("route get {to}")).unwrap().stdout;
    // `mtu lock 552` where it is below what the kernel takes for possible.
    route.split_whitespace().skip_while(|word| *word != "mtu").skip(1).find_map(|word| word.parse().ok())
}

/// Whoever believes a forged packet too big has a room of 1,197 bytes or less; nobody here does, in either direction.
fn a_liar_changes_nothing(name: &str, relay: SocketAddr, home: &str) {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let evening = Evening::new(name);
    let party = &evening.party;
    if relay.is_ipv6() {
        party.relay.ip(&format!("addr add {}/64 dev {WAN} nodad", relay.ip())).unwrap();
        party.home.ip(&format!("addr add {home}/64 dev {WAN} nodad")).unwrap();
    }
    let _relay = evening.relay_with(&["--listen", "[::]:8443"]);
    let _gateway = evening.gateway();
    let client = evening.client_of(&relay.to_string(), &["--dhcp"]);
    let address = support::leased_address(&client, 0);
    let before = evening.status(&party.home)["lan_mtu"].as_u64().unwrap();
    let members = evening.status(&party.relay)["rooms"][0]["members"].clone();
    let row = members.as_array().unwrap().iter().find(|m| m["role"] == "Client").unwrap();
    let victim: SocketAddr = row["remote"].as_str().unwrap().parse().unwrap();
    lie(&evening, "to-30", (&party.home, victim), relay);
    lie(&evening, "to-1", (&party.relay, relay), victim);
    // Their kernels did hear it: the lie was well told.
    assert!(route_mtu(&party.home, relay.ip()).is_some_and(|mtu| mtu <= 1280), "home: {:?}", route_mtu(&party.home, relay.ip()));
    assert!(route_mtu(&party.relay, victim.ip()).is_some_and(|mtu| mtu <= 1280), "relay: {:?}", route_mtu(&party.relay, victim.ip()));
    // Longer than a smaller path takes to change the room, with packets of every size under way.
    let probe = Probe { payload: usize::try_from(before).unwrap() - 28, duration: Duration::from_secs(6), ..Probe::default() };
    let (pc, player) = (party.pc(1), &party.home);
    let (up, down) = thread::scope(|scope| {
        let up = scope.spawn(|| probe.run(player, pc, Party::pc_address(1)).unwrap());
        (probe.run(pc, player, address).unwrap(), up.join().unwrap())
    });
    println!("{name}: {} of {} and {} of {} full-size packets came", up.received(), up.sent, down.received(), down.sent);
    assert_eq!((up.received(), down.received()), (up.sent, down.sent));
    let after = evening.status(&party.home);
    assert_eq!((after["lan_mtu"].as_u64(), after["frames"]["ladder"]["too_big_v4"].as_u64()), (Some(before), Some(0)));
}

#[test]
fn a_forged_packet_too_big_shrinks_nothing() {
    a_liar_changes_nothing("c11", "10.99.0.1:8443".parse().unwrap(), "10.99.0.30");
}

#[test]
fn a_forged_packet_too_big_of_ipv6_shrinks_nothing() {
    a_liar_changes_nothing("c11-v6", "[fd99::1]:8443".parse().unwrap(), "fd99::30");
}
