//! What the doctor says about a room: where DHCP stops, who is looking for games, two gateways, no IPv6.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use lanparty_lab::{End, LAN, Namespace, Offloads, Party, PartyOptions, Requirements, Tool, Uplink};
use serde_json::Value;
use support::{Evening, SOON, TAP, eventually, ready};

/// Lengths of UDP that carry a DHCP message through the tunnel, and hardly anything else does.
const DHCP_INSIDE: &str = "udp length 370-480";

/// What `lanparty doctor --room` says on a host.
fn examine(evening: &Evening, host: &Namespace) -> Value {
    let output = evening.lanparty(host, &["doctor", "--room", "--json"]);
    serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", output.stdout, output.stderr))
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
}

/// Looks until the finding is there; what was said last when it never is.
fn eventually_says(evening: &Evening, host: &Namespace, code: &str) -> Value {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let report = examine(evening, host);
        if codes(&report).contains(&code) {
            println!("{}", report["verdict"].as_str().unwrap());
            return report;
        }
        assert!(std::time::Instant::now() < deadline, "{code} is not said: {report:#}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Drops packets on a host: `hook` is `input` or `output`.
fn drop_packets(host: &Namespace, hook: &str, rule: &str) {
    let table = format!("table inet t_{hook} {{ chain rules {{ type filter hook {hook} priority 0;\n{rule} drop\n}}\n}}");
    host.run(&["nft", &table]).unwrap();
}

#[test]
fn a_lease_is_seen_at_every_stage_and_searches_are_listed_with_their_answers() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lease");
    let all = evening.all();
    let pc = evening.party.pc(1);
    let search = |host: &Namespace, from: Ipv4Addr, to: u16| {
        let socket = host.enter(|| UdpSocket::bind((from, 0)).unwrap()).unwrap();
        socket.set_broadcast(true).unwrap();
        for _ in 0..3 {
            socket.send_to(b"\xff\xff\xff\xffgetinfo", ("10.73.42.255", to)).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        socket
    };
    // A server at home that answers the LAN's search; a search from home that nobody answers.
    let server = evening.party.home.enter(|| UdpSocket::bind(("0.0.0.0", 27_960)).unwrap()).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let player = search(pc, Party::pc_address(1), 27_960);
    let mut buffer = [0; 100];
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"\xff\xff\xff\xffinfoResponse", from).unwrap();
    player.set_read_timeout(Some(SOON)).unwrap();
    player.recv_from(&mut buffer).unwrap();
    let _unanswered = search(&evening.party.home, all.address, 27_015);
    let report = examine(&evening, &evening.party.home);
    assert_eq!(codes(&report), ["discovery-unanswered"], "{report:#}");
    let room = &report["facts"]["room"];
    let stages = ["discover_at_tap", "discover_at_relay", "discover_at_gateway", "discover_on_wire"];
    let back = ["offer_on_wire", "offer_at_gateway", "offer_at_relay", "offer_at_tap"];
    for stage in stages.iter().chain(&back) {
        assert!(room["dhcp"][stage]["seen"]["age_ms"].is_u64(), "{stage}: {:#}", room["dhcp"]);
    }
    let found =
        |port: u64| room["discovery"].as_array().unwrap().iter().find(|d| d["port"] == port).cloned().unwrap_or_else(|| panic!("{room:#}"));
    let (answered, unanswered) = (found(27_960), found(27_015));
    assert_eq!(
        (&answered["kind"]["game"], &answered["from_self"], &answered["answered"]),
        (&"Quake III".into(), &false.into(), &true.into())
    );
    assert_eq!((&unanswered["from_self"], &unanswered["answered"], &unanswered["count"]), (&true.into(), &false.into(), &3.into()));
    let own = room["members"].as_array().unwrap().iter().find(|m| m["is_self"] == true).unwrap();
    assert_eq!(own["underlay_is_ipv6"], false);
    assert_eq!((room["room"].as_str(), room["members"].as_array().map(Vec::len)), (Some("ROOM1"), Some(2)));
}

/// Sends `message` three times from `host` to all.
fn shout(host: &Namespace, from: Ipv4Addr, to: &str, message: &[u8]) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind((from, 0)).unwrap()).unwrap();
    socket.set_broadcast(true).unwrap();
    for _ in 0..3 {
        socket.send_to(message, to).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    socket
}

#[test]
fn every_kind_of_discovery_is_named_with_who_asked_and_whether_this_host_answered() {
    if !ready() {
        return;
    }
    let evening = Evening::new("kinds");
    let all = evening.all();
    let (pc, home) = (evening.party.pc(1), &evening.party.home);
    let address = Party::pc_address(1);
    for (host, interface) in [(pc, LAN), (home, TAP)] {
        host.ip(&format!("route add 224.0.0.0/4 dev {interface}")).unwrap();
    }
    // A game that home serves, and answers; one that a program at home waits for and does not.
    let server = home.enter(|| UdpSocket::bind(("0.0.0.0", 27_960)).unwrap()).unwrap();
    let _mute = home.enter(|| UdpSocket::bind(("0.0.0.0", 26_000)).unwrap()).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let asked = shout(pc, address, "10.73.42.255:27960", b"\xff\xff\xff\xffgetinfo");
    let mut buffer = [0; 100];
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"info", from).unwrap();
    asked.set_read_timeout(Some(SOON)).unwrap();
    asked.recv_from(&mut buffer).unwrap();
    let dns = |flags: u8| [&[0, 0, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x04game\x05local\0\0\x01\0\x01"].concat();
    let heard: [(&str, &[u8]); 9] = [
        ("224.0.0.251:5353", &dns(0)),
        ("239.255.255.250:1900", b"M-SEARCH * HTTP/1.1\r\n\r\n"),
        ("239.255.255.250:1900", b"NOTIFY * HTTP/1.1\r\n\r\n"),
        ("224.0.0.252:5355", &dns(0)),
        ("10.73.42.255:137", &dns(1)),
        ("10.73.42.255:138", b"\x11"),
        ("224.0.2.60:4445", b"[MOTD]World[/MOTD][AD]25565[/AD]"),
        ("10.73.42.255:26000", b"\x80\0\0\x0c\x02QUAKE\0\x03"),
        ("10.73.42.255:40000", b"anything"),
    ];
    let sockets: Vec<_> = heard.iter().map(|(to, message)| shout(pc, address, to, message)).collect();
    let own = shout(home, all.address, "224.0.0.251:5353", &dns(0));
    let answer = shout(pc, address, "224.0.0.251:5353", &dns(0x84));
    std::thread::sleep(Duration::from_millis(700));
    let report = examine(&evening, home);
    drop((sockets, own, answer));
    assert_eq!(codes(&report), ["discovery-unanswered"], "{report:#}");
    assert!(report["findings"][0]["evidence"].to_string().contains("Quake, Xonotic (UDP port 26000): asked 3 times"), "{report:#}");
    let seen: Vec<_> = report["seen"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let mac = pc.mac(LAN).unwrap();
    let said = |start: &str, end: &str| {
        let line = seen.iter().find(|line| line.starts_with(start) && line.contains("3 ") && line.ends_with(end));
        println!("{}", line.unwrap_or_else(|| panic!("`{start}…{end}` is not in {seen:#?}")));
    };
    for kind in ["mDNS (UDP 5353)", "SSDP (UDP 1900)", "LLMNR (UDP 5355)", "NetBIOS (UDP 137)", "other broadcast (UDP 40000)"] {
        said(&format!("{kind} from {mac}: 3 times"), ", this host did not answer");
    }
    said(&format!("Quake III (UDP 27960) from {mac}: 3 times"), ", this host answered");
    said("mDNS (UDP 5353) from this host: 3 times", ", answered");
    for told in ["mDNS (UDP 5353)", "SSDP (UDP 1900)", "NetBIOS (UDP 138)", "Minecraft (announcement) (UDP 4445)"] {
        said(&format!("{told} from {mac}: 3 announcements"), " ago");
    }
    // What the LAN's machines ask each other is answered where the gateway does not see it.
    let at_gateway = examine(&evening, &evening.party.gateway);
    let inside = at_gateway["facts"]["room"]["discovery"].as_array().unwrap().iter().find(|d| d["port"] == 26_000).unwrap();
    assert_eq!(inside["answered"], Value::Null, "{inside}");
}

#[test]
fn dhcp_is_followed_to_the_stage_at_which_it_stops() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let evening = Evening::new("stages");
    let (_relay, gateway) = (evening.relay(), evening.gateway());
    let (home, relay, venue) = (&evening.party.home, &evening.party.relay, &evening.party.gateway);
    let client = evening.client(&[]);
    eventually_says(&evening, home, "dhcp-stopped-at-tap");
    client.sigterm();
    client.exit_code(SOON).unwrap();
    let says = |code: &str| {
        let client = evening.client(&["--dhcp"]);
        let report = eventually_says(&evening, home, code);
        client.sigterm();
        client.exit_code(SOON).unwrap();
        assert_eq!(codes(&report), [code], "{report:#}");
    };
    let stopped_at = |host: &Namespace, hook: &str, rule: &str, code: &str| {
        drop_packets(host, hook, rule);
        says(code);
        host.run(&["nft", &format!("delete table inet t_{hook}")]).unwrap();
    };
    stopped_at(relay, "input", &format!("ip saddr 10.99.0.30 {DHCP_INSIDE}"), "dhcp-stopped-at-relay");
    stopped_at(venue, "input", &format!("ip saddr 10.99.0.1 {DHCP_INSIDE}"), "dhcp-stopped-at-gateway");
    stopped_at(relay, "input", &format!("ip saddr 10.99.0.20 {DHCP_INSIDE}"), "dhcp-offer-stopped-at-relay");
    stopped_at(home, "input", &format!("ip saddr 10.99.0.1 {DHCP_INSIDE}"), "dhcp-offer-stopped-at-tap");
    evening.party.switch.port_up("gateway", false).unwrap();
    says("dhcp-stopped-at-wire");
    evening.party.switch.port_up("gateway", true).unwrap();
    evening.party.switch.port_up("dhcp", false).unwrap();
    says("dhcp-server-silent");
    evening.party.switch.port_up("dhcp", true).unwrap();
    drop(gateway);
    let client = evening.client(&["--dhcp"]);
    eventually_says(&evening, home, "no-gateway-in-room");
    drop(client);
    let _gateway = evening.gateway();
    let (_client, _) = evening.client_with_lease();
    assert_eq!(codes(&examine(&evening, home)), [""; 0]);
}

/// The server uses another member's address: its answers look like that member's own frames, which go up no second time.
#[test]
fn an_offer_that_the_gateway_does_not_send_up_is_told_from_a_silent_server() {
    if !ready() {
        return;
    }
    let evening = Evening::new("offer");
    let _all = (evening.relay(), evening.gateway());
    let party = &evening.party;
    let friend = party.lab.namespace("friend").unwrap();
    party.internet.attach(&party.lab, &friend, 31, &Uplink::default()).unwrap();
    let member =
        evening.program(&friend, "lanparty").named("friend").args(["client", "--tap-name", TAP]).args(evening.join_options(&friend));
    let member = friend.spawn(member).unwrap();
    member.wait_for("TAP is up", SOON).unwrap();
    let own = party.dhcp.mac(LAN).unwrap();
    let use_address = |mac: &str| {
        for words in [format!("link set {LAN} down address {mac}"), format!("link set {LAN} up")] {
            party.dhcp.ip(&words).unwrap();
        }
    };
    use_address(&friend.mac(TAP).unwrap());
    let client = evening.client(&["--dhcp"]);
    let report = eventually_says(&evening, &party.home, "dhcp-offer-stopped-at-gateway");
    assert_eq!(codes(&report), ["dhcp-offer-stopped-at-gateway"], "{report:#}");
    use_address(&own);
    support::leased_address(&client, 0);
    assert_eq!(codes(&examine(&evening, &party.home)), [""; 0]);
}

#[test]
fn two_gateways_on_one_lan_notice_each_other() {
    if !ready() {
        return;
    }
    let evening = Evening::new("two");
    let (_relay, first) = (evening.relay(), evening.gateway());
    let party = &evening.party;
    let other = party.lab.namespace("gateway2").unwrap();
    party.switch.plug(End::new(&other, LAN), "gateway2", Offloads::Off).unwrap();
    party.internet.attach(&party.lab, &other, 21, &Uplink::default()).unwrap();
    assert!(!first.lines().iter().any(|line| line.contains("two-gateways")), "alone so far");
    let mut options = evening.join_options(&other);
    *options.iter_mut().find(|option| *option == support::ROOM).unwrap() = "ROOM2".into();
    let second = evening.program(&other, "lanparty-gateway").args(options).args(["--interface", LAN]);
    let second = other.spawn(second).unwrap();
    for gateway in [&first, &second] {
        gateway.wait_for("two-gateways-on-one-lan: another lanparty gateway at", SOON).unwrap();
    }
    let report = eventually_says(&evening, &party.gateway, "two-gateways-on-one-lan");
    let holders = report["facts"]["room"]["gateways_on_one_lan"].as_array().unwrap();
    assert_eq!(holders.len(), 2, "{holders:?}");
    // Members learn of it as well.
    let _client = evening.client_with_lease();
    eventually_says(&evening, &party.home, "two-gateways-on-one-lan");
}

#[test]
fn a_copied_identity_is_named_where_the_copy_joins() {
    if !ready() {
        return;
    }
    let evening = Evening::new("copy");
    let _all = (evening.relay(), evening.gateway());
    let (party, first) = (&evening.party, evening.client(&[]));
    let friend = party.lab.namespace("friend").unwrap();
    party.internet.attach(&party.lab, &friend, 31, &Uplink::default()).unwrap();
    let state = |host: &Namespace| evening.dir(host).join("state");
    std::fs::create_dir_all(state(&friend)).unwrap();
    for file in std::fs::read_dir(state(&party.home)).unwrap().flatten() {
        std::fs::copy(file.path(), state(&friend).join(file.file_name())).unwrap();
    }
    let copy = evening.program(&friend, "lanparty").named("copy").arg("client").args(evening.join_options(&friend));
    let copy = friend.spawn(copy).unwrap();
    copy.wait_for("duplicate-identity: a machine at 10.99.0.30", SOON).unwrap();
    assert_eq!(first.exit_code(SOON).unwrap(), 4, "the first one is told and ends");
    let report = eventually_says(&evening, &friend, "duplicate-identity");
    assert!(!codes(&report).contains(&"duplicate-mac"), "{report:#}");
    copy.sigterm();
    copy.exit_code(SOON).unwrap();
    // The same machine, started again, is no copy; nor is one that comes back after an outage.
    let again = evening.client(&["--dhcp"]);
    support::leased_address(&again, 0);
    assert_eq!(codes(&examine(&evening, &party.home)), [""; 0]);
}

#[test]
fn a_machine_on_the_lan_with_a_members_address_is_named() {
    if !ready() {
        return;
    }
    let evening = Evening::new("double");
    let _all = evening.all();
    let pc = evening.party.pc(2);
    assert!(!codes(&examine(&evening, &evening.party.home)).contains(&"duplicate-mac"));
    pc.ip(&format!("link set {LAN} down address {}", evening.client_mac())).unwrap();
    pc.ip(&format!("link set {LAN} up")).unwrap();
    let _ = lanparty_lab::ping(pc, Party::pc_address(1), 1);
    eventually_says(&evening, &evening.party.home, "duplicate-mac");
    eventually_says(&evening, &evening.party.gateway, "duplicate-mac");
}

#[test]
fn a_room_without_ipv6_says_so_on_every_member_at_once() {
    if !ready() {
        return;
    }
    let evening = Evening::with("ipv6", &PartyOptions { home: Uplink::wire("delay=2ms mtu=1300").unwrap(), ..PartyOptions::default() });
    let (_relay, gateway) = (evening.relay(), evening.gateway());
    let findings = |host: &Namespace| evening.status(host)["findings"].as_array().unwrap().clone();
    assert!(findings(&evening.party.gateway).is_empty(), "alone, the gateway carries IPv6");
    let client = evening.client(&[]);
    for (program, host) in [(&client, &evening.party.home), (&gateway, &evening.party.gateway)] {
        let line = program.wait_for("ipv6-needs-larger-path: this room carries no IPv6: its LAN MTU is", SOON).unwrap();
        println!("{line}");
        assert!(line.contains("raise the MTU of the small path to 13"), "{line}");
        eventually("the status has it", || findings(host).iter().any(|f| f["code"] == "ipv6-needs-larger-path"));
    }
    let seen = findings(&evening.party.gateway)[0]["evidence"][0].as_str().unwrap().to_owned();
    assert!(seen.contains("client peer 2"), "the gateway names whose path it is: {seen}");
    drop(client);
    eventually("the room carries IPv6 again", || findings(&evening.party.gateway).is_empty());
}
