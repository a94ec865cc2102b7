//! The LAN MTU as its owners see it: a LAN that carries less than the way to it, a member that asks for less or for more, a path that is
//! small for a moment.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use lanparty_lab::{LAN, Namespace, Narrow, Party, Probe, Requirements, Routers, Tool, ping_with};
use support::conservation::{Books, assert_conserved};
use support::flow::transfer;
use support::{Evening, Members, SOON, TAP, eventually, leased_address, promised, ready};

#[test]
fn a_lan_interface_of_1400_bytes_limits_the_room_and_nothing_vanishes() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lan1400");
    evening.party.gateway.ip(&format!("link set dev {LAN} mtu 1400")).unwrap();
    let Members { gateway, address, relay: _relay, client: _client } = evening.all();
    promised(&gateway, &format!("{LAN} carries packets of 1400 bytes only (its MTU), so the room is asked to carry no larger ones"));
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    assert_eq!(evening.status(home)["lan_mtu"], 1400);
    // Also the gateway itself, which was alone as it joined and limited nobody.
    let peer = evening.status(&evening.party.gateway)["peer"].clone();
    let limited_by = [home, &evening.party.gateway].map(|host| evening.status(host)["lan_mtu_limited_by"].clone());
    assert_eq!(limited_by, [peer.clone(), peer]);
    let largest = ping_with(home, Party::pc_address(1), 3, &["-s", "1372", "-M", "do", "-I", &address.to_string()]).unwrap();
    assert_eq!(largest.received, 3);
    // The LAN's hosts send up to 1,500 bytes, and what is larger than the gateway's interface does not even reach it: TCP never
    // sends that, since its MSS was clamped.
    transfer(home, pc, Party::pc_address(1), 3_000_000);
    transfer(pc, home, address, 3_000_000);
    assert_conserved(&evening, true);
}

#[test]
fn a_room_follows_a_lan_interface_and_what_that_refuses_until_then_is_counted() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lanshrinks");
    let Members { gateway, address, relay: _relay, client: _client } = evening.all();
    evening.party.gateway.ip(&format!("link set dev {LAN} mtu 1300")).unwrap();
    promised(&gateway, &format!("{LAN} carries packets of 1300 bytes only now (its MTU), and the room promises 1417"));
    let lost = ping_with(&evening.party.home, Party::pc_address(1), 3, &["-s", "1372", "-M", "do", "-I", &address.to_string()]).unwrap();
    assert_eq!(lost.received, 0);
    eventually("the refused frames are counted", || {
        let inbound = Books::read(&evening.status(&evening.party.gateway)["frames"]["inbound"]);
        inbound.assert_whole("gateway, inbound");
        inbound.dropped.get("DeviceError").is_some_and(|n| *n >= 3)
    });
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    eventually("the room is as small as the interface", || mtu_of(home, TAP) == 1300);
    assert_eq!(evening.status(home)["lan_mtu"], 1300);
    let largest = ping_with(home, Party::pc_address(1), 3, &["-s", "1272", "-M", "do", "-I", &address.to_string()]).unwrap();
    assert_eq!(largest.received, 3);
    transfer(home, pc, Party::pc_address(1), 2_000_000);
    evening.party.gateway.ip(&format!("link set dev {LAN} mtu 1500")).unwrap();
    promised(&gateway, &format!("{LAN} carries packets of 1500 bytes now (its MTU)"));
    eventually("the room is as large as before", || mtu_of(home, TAP) == 1417);
    assert_conserved(&evening, true);
}

/// The MTU of a host's interface, as its kernel has it.
fn mtu_of(host: &Namespace, interface: &str) -> u64 {
    let links = host.ip(&format!("-j link show dev {interface}")).unwrap().stdout;
    let links: serde_json::Value = serde_json::from_str(&links).unwrap();
    links[0]["mtu"].as_u64().unwrap()
}

#[test]
fn a_member_that_asks_for_less_gets_a_room_of_that_size() {
    if !ready() {
        return;
    }
    let evening = Evening::new("mtu-cap");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let client = evening.client(&["--dhcp", "--mtu", "1300"]);
    let address = leased_address(&client, 0);
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let sizes = [home, &evening.party.gateway].map(|host| evening.status(host)["lan_mtu"].as_u64());
    assert_eq!((sizes, mtu_of(home, TAP)), ([Some(1300); 2], 1300));
    let text = |host| evening.lanparty(host, &["status"]).success().unwrap().stdout;
    assert!(text(home).contains("LAN MTU 1300, as this one takes no more"), "{}", text(home));
    assert!(text(&evening.party.gateway).contains("LAN MTU 1300, as peer 2 takes no more"), "{}", text(&evening.party.gateway));
    transfer(pc, home, address, 2_000_000);
    transfer(home, pc, Party::pc_address(1), 2_000_000);
    assert!(!client.lines().iter().any(|line| line.contains("--mtu 1300")), "nothing to warn of: the path carries more");
    assert_conserved(&evening, true);
}

#[test]
fn a_relay_with_a_minimum_keeps_a_room_from_becoming_smaller() {
    if !ready() {
        return;
    }
    let evening = Evening::new("mtu-minimum");
    let relay = evening.relay_with(&["--listen", "0.0.0.0:8443", "--min-lan-mtu", "1280"]);
    let _gateway = evening.gateway();
    let client = evening.client(&["--dhcp", "--mtu", "600"]);
    let address = leased_address(&client, 0);
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let sizes = [home, &evening.party.gateway].map(|host| evening.status(host)["lan_mtu"].as_u64());
    assert_eq!((sizes, mtu_of(home, TAP)), ([Some(1280); 2], 1280));
    promised(&client, "this machine takes packets of 600 bytes only ... and rooms of this relay carry at least 1280");
    promised(&relay, "takes packets of 600 bytes only; the room carries 1280 all the same (--min-lan-mtu)");
    transfer(pc, home, address, 2_000_000);
    transfer(home, pc, Party::pc_address(1), 2_000_000);
    assert_conserved(&evening, true);
}

#[test]
fn a_member_that_asks_for_more_than_its_path_carries_is_told_the_numbers() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let evening = Evening::new("mtu-more");
    let party = &evening.party;
    let narrow = Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap();
    narrow.set_routers(Routers::Silent).unwrap();
    narrow.set_mtu(1400).unwrap();
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let searched = evening.client(&["--mtu", "1417"]);
    promised(&searched, "--mtu 1417 asks for more than the path to the relay carries: 13 ... bytes up, 13 ... down; the LAN MTU is 13");
    searched.sigterm();
    searched.exit_code(SOON).unwrap();
    // Without a search nothing but the warning would tell: the member's own side takes the size as it is said.
    let fixed = evening.client(&["--mtu", "1417", "--pmtu-discovery", "off"]);
    promised(&fixed, "--mtu 1417 with --pmtu-discovery off needs UDP payloads of 1472 bytes, and they do not reach the relay");
    fixed.sigterm();
    fixed.exit_code(SOON).unwrap();
    // What fits is used without a word.
    let fits = evening.client(&["--dhcp", "--mtu", "1280", "--pmtu-discovery", "off"]);
    let address = leased_address(&fits, 0);
    assert_eq!(evening.status(&party.home)["lan_mtu"], 1280);
    transfer(party.pc(1), &party.home, address, 2_000_000);
    assert!(!fits.lines().iter().any(|line| line.contains("--mtu 1280")));
}

#[test]
fn a_path_that_is_small_for_a_second_changes_no_tap() {
    dip_that_changes_no_tap("mtu-dip-1", Duration::from_millis(1000));
}

#[test]
fn a_path_that_is_small_while_it_is_searched_changes_no_tap() {
    dip_that_changes_no_tap("mtu-dip-2", Duration::from_millis(2200));
}

#[test]
fn a_path_that_is_small_for_some_seconds_changes_no_tap() {
    dip_that_changes_no_tap("mtu-dip-3", Duration::from_millis(3300));
}

fn dip_that_changes_no_tap(name: &str, dip: Duration) {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let evening = Evening::new(name);
    let party = &evening.party;
    let narrow = Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap();
    narrow.set_routers(Routers::DropFragments).unwrap();
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    let (home, pc) = (&party.home, party.pc(1));
    let before = mtu_of(home, TAP);
    let probe = Probe { payload: 1300, duration: Duration::from_secs(12), ..Probe::default() };
    let (report, seen) = probe
        .run_while(pc, home, address, || {
            thread::sleep(Duration::from_millis(500));
            narrow.set_mtu(1280).unwrap();
            thread::sleep(dip);
            narrow.set_mtu(1500).unwrap();
            // Longer than a room waits before it follows.
            let look = |_| {
                thread::sleep(Duration::from_millis(100));
                mtu_of(home, TAP)
            };
            (0..70).map(look).collect::<BTreeSet<_>>()
        })
        .unwrap();
    println!("{} of {} large packets came, {} refused; the TAP had an MTU of {seen:?}", report.received(), report.sent, report.refused);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [before]);
    assert!(report.received() < report.sent, "the wire was small");
    assert_conserved(&evening, false);
}
