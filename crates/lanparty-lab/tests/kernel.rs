//! A real Linux kernel as the judge of what the ladder answers: it believes the packet-too-big, and its path-MTU cache holds
//! what was said; also when the packets carry IP options or extension headers.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use lanparty_lab::{Namespace, ping_with};
use support::{Evening, TAP, ready};

/// Packets that are too large, each with another length and other options.
const CASES: u32 = 40;

/// The MTU that a host's kernel remembers for the path to `address`.
fn cached(host: &Namespace, address: &str) -> Option<u64> {
    let route = host.ip(&format!("route get {address}")).unwrap().stdout;
    route.split(" mtu ").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[test]
fn the_kernel_of_a_lan_host_believes_every_answer_and_remembers_its_size() {
    if !ready() {
        return;
    }
    let evening = Evening::new("kernel");
    let all = evening.all();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    for (host, interface, address) in [(home, TAP, "fd00::30/64"), (pc, lanparty_lab::LAN, "fd00::11/64")] {
        host.ip(&format!("addr add {address} dev {interface} nodad")).unwrap();
    }
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
        pc.ip("route flush cache").unwrap();
        pc.ip("-6 route flush cache").unwrap();
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
