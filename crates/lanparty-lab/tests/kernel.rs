//! A real Linux kernel as the judge of what the ladder does: it believes a packet too big, and its path-MTU cache holds what was said; it
//! puts together what was cut up; and its TCP keeps to the MSS that it was told. Packets are made from a seed, with IP options and extension
//! headers, whole and damaged.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/injector.rs"]
mod injector;
#[path = "support/packets.rs"]
mod packets;
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use injector::Injector;
use lanparty_lab::{LAN, Namespace, Party, ping_with, transfer};
use packets::{Damage, Packets};
use support::{Evening, Members, TAP, eventually, ready};

const HOME_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x30);
const PC_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11);
const SEED: u64 = 0x1a9a_9a27;

/// Packets that are too large, each with another length and other options.
const CASES: u32 = 40;
/// Between two of them: a host is told of one path five times a second.
const PACE: Duration = Duration::from_millis(200);

/// The MTU that a host's kernel remembers for the path to `address`.
fn cached(host: &Namespace, address: &str) -> Option<u64> {
    let route = host.ip(&format!("route get {address}")).unwrap().stdout;
    route.split(" mtu ").nth(1)?.split_whitespace().next()?.parse().ok()
}

fn forget(host: &Namespace) {
    host.ip("route flush cache").unwrap();
    host.ip("-6 route flush cache").unwrap();
}

fn with_ipv6(evening: &Evening) {
    for (host, interface, address) in [(&evening.party.home, TAP, HOME_V6), (evening.party.pc(1), LAN, PC_V6)] {
        host.ip(&format!("addr add {address}/64 dev {interface} nodad")).unwrap();
    }
}

/// Packets from `pc1` to the player, and the sockets that its kernel looks for before it believes what is said of them.
fn packets_of_pc1(evening: &Evening, player: Ipv4Addr) -> (Packets, Injector, [UdpSocket; 2]) {
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let [dst, src] = [home.mac(TAP), pc.mac(LAN)].map(|mac| mac.unwrap().parse().unwrap());
    with_ipv6(evening);
    let ways: [(IpAddr, IpAddr); 2] = [(Party::pc_address(1).into(), player.into()), (PC_V6.into(), HOME_V6.into())];
    let sockets = ways.map(|(own, target)| {
        let socket = pc.enter(|| UdpSocket::bind((own, Packets::FROM_PORT))).unwrap().unwrap();
        socket.connect((target, Packets::TO_PORT)).unwrap();
        socket
    });
    let packets = Packets::new(SEED, (src, dst), (Party::pc_address(1), player), (PC_V6, HOME_V6));
    (packets, Injector::plug(pc, LAN), sockets)
}

#[test]
fn the_kernel_believes_answers_to_packets_with_options_and_headers_and_none_is_given_to_damaged_ones() {
    const CASES: usize = 60;
    if !ready() {
        return;
    }
    let evening = Evening::new("seeded");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    let pc = evening.party.pc(1);
    let lan_mtu = evening.status(&evening.party.home)["lan_mtu"].as_u64().unwrap();
    let (mut packets, mut injector, _sockets) = packets_of_pc1(&evening, address);
    let mut believed = [0; 2];
    for case in 0..CASES {
        let is_v6 = case % 2 == 1;
        let target = if is_v6 { HOME_V6.to_string() } else { address.to_string() };
        let len = packets.between(lan_mtu as usize + 1, 1500);
        forget(pc);
        let damage = Damage::ALL[case / 2 % Damage::ALL.len()];
        assert!(injector.send(&packets.too_large(is_v6, len, damage)));
        if damage == Damage::None {
            eventually(&format!("case {case}: {len} bytes to {target} are answered and believed"), || cached(pc, &target) == Some(lan_mtu));
            believed[usize::from(is_v6)] += 1;
        } else {
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(cached(pc, &target), None, "case {case}: {damage:?}");
        }
    }
    println!("seed {SEED:#x}: {believed:?} answers believed, {} damaged packets not answered", CASES - believed[0] - believed[1]);
    assert!(believed.iter().all(|count| *count > 5));
}

#[test]
fn the_kernel_puts_together_what_was_cut_up_with_its_options() {
    const CASES: usize = 40;
    if !ready() {
        return;
    }
    let evening = Evening::new("pieces");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    let home = &evening.party.home;
    let lan_mtu = evening.status(home)["lan_mtu"].as_u64().unwrap() as usize;
    let (mut packets, mut injector, _sockets) = packets_of_pc1(&evening, address);
    let receiver = home.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, Packets::TO_PORT))).unwrap().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for case in 0..CASES {
        let len = packets.between(lan_mtu + 1, 1500);
        let (frame, payload) = packets.may_be_cut(len);
        assert!(injector.send(&frame));
        let mut got = [0; 2000];
        let count = receiver.recv(&mut got).unwrap_or_else(|e| panic!("case {case}, {len} bytes: {e}"));
        assert!(got[..count] == payload[..], "case {case}, {len} bytes: another payload");
    }
    let ladder = &evening.status(&evening.party.gateway)["frames"]["ladder"];
    println!("seed {SEED:#x}: {CASES} packets arrived whole: {ladder}");
    assert_eq!((ladder["fragmented"].as_u64(), ladder["fragments"].as_u64()), (Some(CASES as u64), Some(2 * CASES as u64)));
}

/// The MSS that connections of `host` to the other end use now, by `ss`.
fn mss_in_use(host: &Namespace) -> Vec<u64> {
    let output = host.run(&["ss", "-tinH", "state", "established"]).unwrap().stdout;
    output.split(" mss:").skip(1).filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn the_kernels_tcp_keeps_to_the_mss_that_it_is_told_even_where_its_interface_would_take_more() {
    if !ready() {
        return;
    }
    let evening = Evening::new("mss");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    with_ipv6(&evening);
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let lan_mtu = evening.status(home)["lan_mtu"].as_u64().unwrap();
    // Now only the clamp keeps segments small.
    home.ip(&format!("link set dev {TAP} mtu 1500")).unwrap();
    for (target, headers) in [(IpAddr::from(address), 40), (HOME_V6.into(), 60)] {
        let seen = std::thread::scope(|scope| {
            let flow = scope.spawn(|| transfer(pc, home, target, 48 << 20).unwrap());
            eventually("the connection is seen", || !mss_in_use(pc).is_empty());
            let seen = [mss_in_use(pc), mss_in_use(home)].concat();
            flow.join().unwrap();
            seen
        });
        println!("to {target}: MSS in use {seen:?}, the LAN MTU allows {}", lan_mtu - headers);
        // Within it the timestamps option takes twelve bytes.
        assert!(seen.iter().all(|mss| (lan_mtu - headers - 12..=lan_mtu - headers).contains(mss)), "{seen:?}");
    }
    let counters = [&evening.party.gateway, home].map(|host| evening.status(host)["frames"]["ladder"].clone());
    assert!(counters.iter().all(|ladder| ladder["mss_clamped"].as_u64() >= Some(2) && ladder["too_big_v4"] == 0), "{counters:?}");
    let text = evening.lanparty(&evening.party.gateway, &["status"]).success().unwrap().stdout;
    assert!(text.contains("too large: 2 TCP connections clamped"), "the ladder has its line: {text}");
}

#[test]
fn the_kernel_of_a_lan_host_believes_every_answer_and_remembers_its_size() {
    if !ready() {
        return;
    }
    let evening = Evening::new("kernel");
    let all = evening.all();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    with_ipv6(&evening);
    let lan_mtu = evening.status(home)["lan_mtu"].as_u64().unwrap();
    let v4 = all.address.to_string();
    let mut told = [0; 2];
    for case in 0..CASES {
        let is_v6 = case % 3 == 0;
        // IPv4 options: record route (39 bytes and padding), timestamps with and without addresses.
        let options: &[&str] = if is_v6 { &[] } else { [&[][..], &["-R"], &["-T", "tsonly"], &["-T", "tsandaddr"]][case as usize % 4] };
        let headers = if is_v6 { 48 } else { 28 + if options.is_empty() { 0 } else { 40 } };
        // From one byte too many to a full Ethernet frame.
        let payload = lan_mtu - headers + 1 + u64::from(case) * (1500 - lan_mtu - 1) / u64::from(CASES - 1);
        let target = if is_v6 { "fd00::30" } else { v4.as_str() };
        std::thread::sleep(PACE);
        forget(pc);
        assert_eq!(cached(pc, target), None, "forgotten");
        let before = counters(&evening);
        let size = payload.to_string();
        let words = [&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", &size][..], options, &[target]].concat();
        let output = pc.run_any(&words).unwrap();
        let after = counters(&evening);
        assert_eq!(after.0 + after.1, before.0 + before.1 + 1, "one answer to {words:?}: {}", output.stdout);
        assert_eq!(cached(pc, target), Some(lan_mtu), "{words:?}: {}{}", output.stdout, output.stderr);
        told[usize::from(is_v6)] += 1;
    }
    println!("{} IPv4 and {} IPv6 packets answered and believed, LAN MTU {lan_mtu}", told[0], told[1]);
    assert!(told.iter().all(|count| *count > 0));
    // What fits still passes, with options as well.
    assert_eq!(ping_with(pc, all.address, 1, &["-M", "do", "-s", &(lan_mtu - 28).to_string()]).unwrap().received, 1);
}

/// Answers that the gateway gave, by IPv4 and IPv6.
fn counters(evening: &Evening) -> (u64, u64) {
    let ladder = &evening.status(&evening.party.gateway)["frames"]["ladder"];
    (ladder["too_big_v4"].as_u64().unwrap(), ladder["too_big_v6"].as_u64().unwrap())
}
