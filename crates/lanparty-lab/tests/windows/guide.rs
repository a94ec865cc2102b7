//! The guide, line by line, and what is left behind after it.

use std::fs;

use lanparty_lab::{LAN, Party, Proc, dhclient, ping, ping_with};
use serde_json::Value;

use crate::capture::Capture;
use crate::injector::Injector;
use crate::machine::{DRIVER_MAC, INSTANCE_ID, WINE_PATIENCE, Windows, ended, named, windows_ready};
use crate::support::{Evening, RELAY, ROOM, SOON, TAP, eventually, promised};

#[test]
fn the_guide_holds_for_a_player_with_windows() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("windows");
    let (relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::with_stack(&evening);
    let listing = windows.client(&["--list-tap-adapters"]);
    listing.wait_for(&format!(r"{INSTANCE_ID}  LAN Party  driver=root\tap0901 key=0007 NetworkAddress=not set"), WINE_PATIENCE).unwrap();
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    let client = windows.join();
    let lease = joins_as_promised(&windows, &client);
    the_lan_has_a_new_machine(&evening, lease);
    the_size_contract_holds(&evening, &client);
    it_says_how_it_is(&windows);
    let _relay = it_comes_back_with_the_relay(&evening, relay, &client);
    it_leaves_nothing_behind(&windows, &client);
}

#[test]
fn what_a_killed_client_has_left_is_taken_back_by_the_next() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winkill");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::with_stack(&evening);
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    let client = windows.join();
    client.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
    let journal = evening.dir(&evening.party.home).join("state/lanparty-client-journal.json");
    assert!(fs::read_to_string(&journal).unwrap().contains("\"route\""));
    client.kill9();
    client.exit_code(WINE_PATIENCE).unwrap();
    let again = windows.join();
    again.wait_for("the last run did not end by itself", WINE_PATIENCE).unwrap();
    again.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
    assert_eq!(windows.calls()[0]["call"], "remove-host-route", "before anything else");
    again.sigint();
    assert_eq!(again.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", again.tail());
    assert!(!journal.exists());
}

#[test]
fn ways_that_are_asked_for_are_taken() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winways");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::start(&evening);
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    for (options, carrier) in [(["--bond"].as_slice(), "bond"), (&["--transport", "stream"], "stream")] {
        let client = windows.join_with(options);
        client.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
        let status = ended(&windows.client(&["--status"]), &[0]);
        let status: Value = serde_json::from_str(&status.join("\n")).unwrap();
        assert_eq!(status[0]["way"]["carrier"], carrier, "{status:#}");
        client.sigint();
        assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", client.tail());
    }
}

#[test]
fn an_adapter_that_goes_is_opened_anew_and_ctrl_c_does_not_wait_for_it() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("wingone");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::with_stack(&evening);
    let (client, _) = windows.joined();
    windows.set_gone(true);
    client.wait_for("the TAP adapter LAN Party failed", WINE_PATIENCE).unwrap();
    windows.set_gone(false);
    client.wait_for("opened the TAP adapter LAN Party anew", WINE_PATIENCE).unwrap();
    windows.lan_answers();
    let mark = client.mark();
    windows.set_gone(true);
    client.wait_for_after(mark, "the TAP adapter LAN Party failed", WINE_PATIENCE).unwrap();
    client.sigint();
    assert_eq!(client.exit_code(SOON).unwrap(), 0, "{}", client.tail());
    promised(&client, "media disconnected, and everything on this machine is as it was before");
    it_took_everything_back(&windows);
}

#[test]
fn the_selftest_makes_each_call_and_changes_nothing() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winself");
    let windows = Windows::with_stack(&evening);
    let selftest = windows.client(&["--selftest", "--dry-run-netcfg", "netcfg.json"]);
    let lines = ended(&selftest, &[0]);
    let is_good = |line: &String| line.starts_with("ok ") || line.starts_with("skipped ");
    assert!(lines.len() > 25 && lines.iter().all(is_good), "{lines:#?}");
    assert!(lines.contains(&format!("ok      MAC address of the driver: {DRIVER_MAC}")), "{lines:#?}");
    let calls = windows.calls();
    assert_eq!(named(&calls, "add-firewall-rule").len(), 1, "{calls:?}");
    let json = ended(&windows.client(&["--selftest", "--json", "--dry-run-netcfg", "netcfg.json"]), &[0]);
    let steps: Vec<Value> = serde_json::from_str(&json.join("\n")).unwrap();
    assert_eq!(steps.len(), lines.len());
    assert!(steps.iter().all(|step| step["outcome"] != "failed" && step["name"].is_string()), "{steps:#?}");
}

pub(crate) fn a_driver_with_another_address_stops_it(windows: &Windows<'_>) {
    let client = windows.join();
    let lines = ended(&client, &[1]).join("\n");
    assert!(lines.contains("reports MAC 02:aa:bb:cc:dd:ee") && lines.contains("NetworkAddress"), "{lines}");
    let calls = windows.calls();
    let changed = |name: &str| named(&calls, name).len();
    assert_eq!((changed("set-network-address"), changed("add-host-route"), changed("remove-host-route")), (2, 1, 1), "{calls:?}");
}

/// Line by line, and the address by the LAN's own DHCP server.
fn joins_as_promised(windows: &Windows<'_>, client: &Proc) -> std::net::Ipv4Addr {
    let mac = DRIVER_MAC;
    let line = |pattern: &str| client.wait_for_line(0, pattern, |line| in_order(line, pattern), WINE_PATIENCE).unwrap();
    let lines = [
        line(&format!("prepared TAP adapter LAN Party: MAC {mac} configured and media disconnected before relay connect")),
        line("lanparty-client-win connected as peer "),
        line("relay route pinned before TAP ... (created)"),
        line(&format!("TAP driver reports MAC {mac} and MTU 1500")),
        line("relay route verified after TAP activation"),
        line("client diagnostics: relay reachable yes gateway connected yes route pinned yes ... IP unknown"),
        line("Waiting for TAP IP"),
    ];
    let all = client.lines();
    let places: Vec<_> = lines.iter().map(|line| all.iter().position(|other| other == line).unwrap()).collect();
    assert!(places.is_sorted(), "in the guide's order: {places:?}\n{}", client.tail());
    let home = &windows.evening.party.home;
    let lease = dhclient(home, TAP, WINE_PATIENCE).unwrap();
    client.wait_for(&format!("DHCP received: {}", lease.address), WINE_PATIENCE).unwrap();
    eventually("the LAN is trusted and let in", || {
        let calls = windows.calls();
        !named(&calls, "trust").is_empty() && !named(&calls, "add-firewall-rule").is_empty()
    });
    lease.address
}

fn in_order(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split(" ... ").all(|part| rest.find(part).map(|at| rest = &rest[at + part.len()..]).is_some())
}

fn the_lan_has_a_new_machine(evening: &Evening, address: std::net::Ipv4Addr) {
    let party = &evening.party;
    assert_eq!(party.leases().unwrap()[0].mac, DRIVER_MAC);
    eventually("the LAN answers", || ping(&party.home, Party::pc_address(1), 1).is_ok_and(|pings| pings.received == 1));
    // Until so many are answered: on a busy machine an answer by Wine may take longer than ping waits for it.
    let out = ping_with(&party.home, Party::pc_address(1), 5, &["-w", "30", "-I", &address.to_string()]).unwrap();
    let back = ping_with(party.pc(2), address, 5, &["-w", "30"]).unwrap();
    assert_eq!((out.received, back.received), (5, 5));
    assert_eq!(party.switch.port_of(DRIVER_MAC).unwrap().as_deref(), Some(Party::gateway_port()));
}

/// A frame of LAN MTU + 14 bytes passes, one of a byte more is counted.
fn the_size_contract_holds(evening: &Evening, client: &Proc) {
    let set = client.wait_for("LAN MTU is ", SOON).unwrap();
    let lan_mtu: u32 = set.split_once("LAN MTU is ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    println!("LAN MTU {lan_mtu}");
    let home = &evening.party.home;
    let of_size = |bytes: u32| ping_with(home, Party::pc_address(1), 3, &["-w", "30", "-M", "do", "-s", &(bytes - 28).to_string()]);
    assert_eq!(of_size(lan_mtu).unwrap().received, 3, "LAN MTU {lan_mtu}");
    // A byte more is answered with the size that fits: Linux, which stands in for Windows' stack here, then sends no more of them.
    assert_eq!(of_size(lan_mtu + 1).map_or(0, |pings| pings.received), 0);
    promised(client, "client frame direction=TapToRelay ... action=Answered");
    // What is not IP cannot be answered.
    let mut stranger = Injector::plug(home, TAP);
    let mut lan = Capture::open(evening.party.pc(1), LAN);
    let frame = |bytes: u32| {
        let mut frame = vec![0xff; 6];
        frame.extend([0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x88, 0xb5]);
        frame.resize(bytes as usize, 0x5a);
        frame
    };
    for bytes in [lan_mtu + 15, lan_mtu + 14] {
        assert!(stranger.send(&frame(bytes)));
    }
    promised(client, "client frame direction=TapToRelay ... drop_reason=TapMtuExceeded");
    let arrived = std::iter::from_fn(|| lan.next(SOON)).find(|frame| frame[12..14] == [0x88, 0xb5]);
    assert_eq!(arrived.map(|frame| frame.len()), Some(lan_mtu as usize + 14), "it alone passes");
}

/// By the same means as `lanparty status` and `lanparty doctor`.
fn it_says_how_it_is(windows: &Windows<'_>) {
    let json = |words: &[&str], codes: &[i32]| serde_json::from_str::<Value>(&ended(&windows.client(words), codes).join("\n")).unwrap();
    let status = json(&["--status"], &[0]);
    assert_eq!(status[0]["program"], "lanparty-client-win", "{status:#}");
    assert_eq!((&status[0]["gateway_connected"], &status[0]["way"]["carrier"]), (&true.into(), &"quic".into()), "{status:#}");
    let relay = ["--relay", RELAY, "--server-name", "lanparty-relay.local", "--relay-ca-cert", "relay-cert.der"];
    let report = json(&[&["--doctor", "--json"][..], &relay].concat(), &[0, 1]);
    println!("doctor: {}", report["findings"]);
    assert_eq!(report["facts"]["relay"]["addresses"][0]["quic"]["ok"], true, "{report:#}");
    assert_eq!(report["facts"]["room"]["room"], ROOM, "{report:#}");
}

fn it_comes_back_with_the_relay(evening: &Evening, relay: Proc, client: &Proc) -> Proc {
    relay.kill9();
    drop(relay);
    let mark = client.mark();
    let again = evening.relay();
    client.wait_for_after(mark, "lanparty-client-win connected as peer", WINE_PATIENCE).unwrap();
    eventually("the LAN answers again", || ping(&evening.party.home, Party::pc_address(1), 1).is_ok_and(|pings| pings.received == 1));
    again
}

fn it_leaves_nothing_behind(windows: &Windows<'_>, client: &Proc) {
    client.sigint();
    assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", client.tail());
    promised(client, "lanparty-client-win ending: Ctrl-C");
    promised(client, "media disconnected, and everything on this machine is as it was before");
    it_took_everything_back(windows);
    the_recording_is_as_expected(&windows.calls());
}

/// All that would have been changed on the machine, in order; the room's LAN MTU alone may have changed in between.
fn the_recording_is_as_expected(calls: &[Value]) {
    let mut is_set = false;
    let is_first = |call: &&Value| {
        let is_ours = call["call"] == "set-ip-settings" && call["settings"]["automatic_metric"] == false;
        !is_ours || !std::mem::replace(&mut is_set, true)
    };
    let kept: Vec<&Value> = calls.iter().filter(is_first).collect();
    let mut names: Vec<&str> = kept.iter().filter_map(|call| call["call"].as_str()).collect();
    names.dedup();
    let joined = ["set-network-address", "add-host-route", "set-ip-settings", "add-firewall-rule", "trust"];
    let left = ["note-category", "set-ip-settings", "remove-host-route", "set-network-address", "remove-firewall-rule"];
    assert_eq!(names, [joined, left].concat(), "{calls:#?}");
    let value = |name: &str, field: &str| named(calls, name)[0][field].clone();
    assert_eq!(value("set-network-address", "address"), "02AABBCCDDEE");
    assert_eq!(value("add-host-route", "remote"), RELAY.split(':').next().unwrap());
    assert_eq!(value("add-host-route", "via"), value("remove-host-route", "via"));
    assert_eq!(value("set-ip-settings", "settings")["ignores_default_routes"], true, "the internet stays where it is");
    assert_eq!(value("add-firewall-rule", "rule"), format!("lanparty-{}", INSTANCE_ID.trim_matches(['{', '}'])));
    assert_eq!((value("trust", "category"), value("note-category", "category")), ("Private".into(), "Public".into()));
}

/// What was recorded: each change once, as the guide says it, and each taken back.
pub(crate) fn it_took_everything_back(windows: &Windows<'_>) {
    let calls = windows.calls();
    let count = |name: &str| named(&calls, name).len();
    assert_eq!(count("add-host-route"), count("remove-host-route"), "{calls:?}");
    assert_eq!(count("add-firewall-rule"), count("remove-firewall-rule"), "{calls:?}");
    assert_eq!(named(&calls, "set-network-address").last().unwrap()["address"], Value::Null, "{calls:?}");
    let ip = named(&calls, "set-ip-settings");
    assert_eq!(ip.first().unwrap()["settings"]["metric"], 1, "{calls:?}");
    assert_eq!(ip.last().unwrap()["settings"]["automatic_metric"], true, "{calls:?}");
    let journal = windows.evening.dir(&windows.evening.party.home).join("state/lanparty-client-journal.json");
    assert!(!journal.exists());
}
