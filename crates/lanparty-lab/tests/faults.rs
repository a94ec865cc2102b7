//! What breaks at a LAN party, and how long it is felt (RELIABILITY.md §4.2). Each test prints what it measured and asserts twice the goal.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{End, Internet, LAN, Namespace, Offloads, Party, PartyOptions, Proc, Uplink, WAN, ping, run};
use serde_json::Value;
use support::conservation::assert_conserved;
use support::flow::{Echo, transfer};
use support::outage::{Outage, without_arp};
use support::{Evening, Members, SOON, TAP, alone, eventually, leased_address, promised, promised_after, ready};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Who somebody is to the room: what must not change over an outage.
#[derive(Debug, PartialEq)]
struct Who {
    peer: Value,
    mac: Value,
    addresses: Value,
}

fn who(evening: &Evening, host: &Namespace) -> Who {
    let status = evening.status(host);
    Who { peer: status["peer"].clone(), mac: status["mac"].clone(), addresses: status["addresses"].clone() }
}

fn everybody(evening: &Evening) -> [Who; 2] {
    [who(evening, &evening.party.gateway), who(evening, &evening.party.home)]
}

fn told(proc: &Proc, mark: usize, needle: &str) -> usize {
    proc.lines().iter().skip(mark).filter(|line| line.contains(needle)).count()
}

#[test]
fn f1_everybody_returns_by_themselves_to_a_relay_that_crashed() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("f1");
    let Members { relay, gateway, client, address } = evening.all();
    let before = everybody(&evening);
    without_arp(&evening, address);
    let mut flow = Echo::open(evening.party.pc(1), &evening.party.home, address);
    flow.say("before;");
    flow.hear("before;");
    let marks = (gateway.mark(), client.mark());
    let (outage, (relay, returned)) = Outage::measure(&evening, address, secs(9), || {
        relay.kill9();
        flow.say("meanwhile;");
        thread::sleep(secs(1));
        let relay = evening.relay();
        (relay, Instant::now())
    });
    let after = outage.after(returned);
    println!("F1 relay killed for 1 s: outage {:?}, {after:?} after its return; lost {:?}", outage.longest(), outage.lost());
    println!("F1 the TCP flow went on after {:?} more", flow.hear("meanwhile;"));
    flow.say("after;");
    flow.hear("after;");
    assert!(after <= 2 * secs(5), "{after:?}");
    outage.assert_no_duplicates();
    assert_eq!(everybody(&evening), before, "number, MAC and addresses");
    for (program, mark) in [(&gateway, marks.0), (&client, marks.1)] {
        promised_after(program, mark, "connection to the relay lost: the other side restarted; joining again");
        promised_after(program, mark, "again=true");
    }
    promised(&relay, "accepted Gateway peer ... resumed=true");
    promised(&relay, "accepted Client peer ... resumed=true");
    assert_conserved(&evening, false);
}

#[test]
fn f3_words_are_few_while_the_relay_is_away_and_the_return_is_quick() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("f3");
    let Members { relay, gateway, client, address } = evening.all();
    let before = everybody(&evening);
    without_arp(&evening, address);
    let marks = (gateway.mark(), client.mark());
    relay.kill9();
    let cpu = || gateway.cpu_seconds() + client.cpu_seconds();
    thread::sleep(secs(4));
    let spent = cpu();
    thread::sleep(secs(6));
    let spent = cpu() - spent;
    let lines = [(&gateway, marks.0), (&client, marks.1)].map(|(program, mark)| program.mark() - mark);
    println!("F3 relay away 10 s: gateway and client print {lines:?} lines, use {spent:.2} s of CPU in 6 s");
    for (program, mark, lines) in [(&gateway, marks.0, lines[0]), (&client, marks.1, lines[1])] {
        assert!((1..=3).contains(&told(program, mark, "trying again")), "{}", program.tail());
        assert!(lines <= 12, "{lines} lines{}", program.tail());
    }
    assert!(spent < 0.3, "1 % of a core each, and room for a busy machine: {spent} s in 6 s");
    let (outage, (_relay, returned)) = Outage::measure(&evening, address, secs(12), || (evening.relay(), Instant::now()));
    let after = outage.after(returned);
    println!("F3 back {after:?} after the relay's return");
    assert!(after <= 2 * secs(5), "{after:?}");
    assert_eq!(everybody(&evening), before);
}

#[test]
fn f4_a_gateway_that_crashed_is_its_old_self_after_a_restart() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("f4");
    let Members { relay, gateway, client, address } = evening.all();
    let (before, mac) = (everybody(&evening), evening.client_mac());
    without_arp(&evening, address);
    let mark = client.mark();
    let (outage, (gateway, restarted)) = Outage::measure(&evening, address, secs(7), || {
        gateway.kill9();
        thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        (evening.gateway(), start)
    });
    let after = outage.after(restarted);
    println!("F4 gateway killed for 0.5 s: outage {:?}, {after:?} after its start; lost {:?}", outage.longest(), outage.lost());
    assert!(after <= 2 * secs(3), "{after:?}");
    promised_after(&client, mark, "peer 1 left: joined again");
    promised_after(&client, mark, "Gateway peer 1 joined with MAC");
    promised(&relay, "Gateway peer 1 left room ROOM1: joined again");
    promised(&gateway, &format!("gateway CAM refresh interface={LAN} peer_id=2 mac={mac} reason=peer_joined"));
    assert_eq!(evening.party.switch.port_of(&mac).unwrap().as_deref(), Some(Party::gateway_port()));
    assert_eq!(everybody(&evening), before);
    outage.assert_no_duplicates();
    assert_conserved(&evening, false);
}

#[test]
fn f4_the_room_is_told_of_a_gateway_that_stays_away() {
    if !ready() {
        return;
    }
    let evening = Evening::new("f4gone");
    let Members { relay, gateway, client, address } = evening.all();
    let mark = client.mark();
    let died = Instant::now();
    gateway.kill9();
    promised_after(&client, mark, "client diagnostics: relay reachable yes gateway connected no");
    promised_after(&client, mark, "Waiting for LAN gateway");
    println!("F4 the client knows that the gateway is gone after {:?}", died.elapsed());
    promised(&relay, "Gateway peer 1 left room ROOM1: nothing heard for 3 s");
    let _gateway = evening.gateway();
    promised_after(&client, mark, "Connected to LAN gateway");
    eventually("ping resumes", || ping(evening.party.pc(1), address, 1).unwrap().received == 1);
}

#[test]
fn a_client_that_crashed_is_the_same_machine_to_the_lan_after_a_restart() {
    if !ready() {
        return;
    }
    let evening = Evening::new("crash");
    let Members { relay, gateway: _gateway, client, address } = evening.all();
    let (party, mac, before) = (&evening.party, evening.client_mac(), everybody(&evening));
    // The program alone, not what it started: as the kernel's OOM killer does it.
    run(&["kill", "-9", &client.pid().to_string()]).unwrap();
    client.exit_code(SOON).unwrap();
    assert!(!party.home.run_any(&["ip", "link", "show", "dev", TAP]).unwrap().status.success(), "the TAP is gone");
    let start = Instant::now();
    let (_client, same) = evening.client_with_lease();
    println!("a client is back with its lease {:?} after its start", start.elapsed());
    assert_eq!((same, evening.client_mac()), (address, mac.clone()));
    assert_eq!(everybody(&evening), before);
    promised(&relay, "Client peer 2 left room ROOM1: joined again");
    let leases = party.leases().unwrap();
    assert_eq!((leases.len(), &leases[0].mac, leases[0].address), (1, &mac, address));
    assert_eq!(ping(party.pc(1), address, 3).unwrap().received, 3);
    assert_eq!(dhcp_clients(&party.home).len(), 1, "the DHCP client of the crashed program is gone too");
}

fn dhcp_clients(host: &Namespace) -> Vec<String> {
    let pids = run(&["ip", "netns", "pids", host.netns()]).unwrap().stdout;
    pids.lines().filter(|pid| is_dhcp_client(pid)).map(String::from).collect()
}

fn is_dhcp_client(pid: &str) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    ["udhcpc", "dhclient"].contains(&name.trim())
}

#[test]
fn a_dhcp_client_that_died_is_started_again_and_works() {
    if !ready() {
        return;
    }
    let evening = Evening::new("dhcpdied");
    let Members { relay: _relay, gateway: _gateway, client, address } = evening.all();
    let (home, mark) = (&evening.party.home, client.mark());
    let pids = dhcp_clients(home);
    assert_eq!(pids.len(), 1);
    run(&["kill", "-9", &pids[0]]).unwrap();
    home.ip(&format!("-4 addr flush dev {TAP}")).unwrap();
    promised_after(&client, mark, "Waiting for TAP IP");
    promised_after(&client, mark, "starting it again");
    assert_eq!(leased_address(&client, mark), address);
    assert_eq!(dhcp_clients(home).len(), 1);
}

#[test]
fn f5_a_carrier_that_flaps_is_told_to_the_room_and_bridging_resumes() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("f5");
    let Members { relay, gateway, client, address } = evening.all();
    let (party, mac, before) = (&evening.party, evening.client_mac(), everybody(&evening));
    without_arp(&evening, address);
    let marks = (gateway.mark(), client.mark());
    let (outage, (told_after, mended)) = Outage::measure(&evening, address, secs(5), || {
        let pulled = Instant::now();
        party.switch.port_up(Party::gateway_port(), false).unwrap();
        promised_after(&client, marks.1, "Connected to LAN gateway, but its LAN has no carrier");
        let told_after = pulled.elapsed();
        thread::sleep(secs(1).saturating_sub(told_after));
        party.switch.port_up(Party::gateway_port(), true).unwrap();
        (told_after, Instant::now())
    });
    let after = outage.after(mended);
    println!("F5 carrier away for 1 s: the client knows after {told_after:?}; outage {:?}, {after:?} after its return", outage.longest());
    assert!(told_after <= 2 * secs(1), "{told_after:?}");
    assert!(after <= 2 * secs(1), "{after:?}");
    promised_after(&gateway, marks.0, "without carrier: its cable is unplugged; staying joined");
    promised_after(&gateway, marks.0, "is up again; bridging resumes");
    promised_after(&gateway, marks.0, &format!("gateway CAM refresh interface={LAN} peer_id=2 mac={mac} reason=lan_returned"));
    client.wait_for_line(marks.1, "Connected to LAN gateway", |line| line.ends_with("Connected to LAN gateway"), SOON).unwrap();
    promised(&relay, "LAN behind gateway peer 1 in room ROOM1 is down: no carrier");
    promised(&relay, "LAN behind gateway peer 1 in room ROOM1 is up");
    assert_eq!(told(&gateway, marks.0, "joining again"), 0, "it stayed joined");
    assert_eq!(everybody(&evening), before);
    assert_eq!(party.switch.port_of(&mac).unwrap().as_deref(), Some(Party::gateway_port()));
    assert_conserved(&evening, false);
}

#[test]
fn f5_an_interface_that_is_made_anew_is_bridged_again() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("f5again");
    let Members { relay: _relay, gateway, client, address } = evening.all();
    let party = &evening.party;
    without_arp(&evening, address);
    let marks = (gateway.mark(), client.mark());
    let (outage, made) = Outage::measure(&evening, address, secs(6), || {
        party.gateway.ip(&format!("link del dev {LAN}")).unwrap();
        promised_after(&client, marks.1, "Connected to LAN gateway, but its LAN has no carrier");
        thread::sleep(secs(1));
        party.switch.plug(End::new(&party.gateway, LAN), Party::gateway_port(), Offloads::Off).unwrap();
        Instant::now()
    });
    let after = outage.after(made);
    println!("F5 interface made anew: bridging {after:?} after it is there; outage {:?}", outage.longest());
    assert!(after <= 2 * secs(2), "{after:?}");
    promised_after(&gateway, marks.0, &format!("interface {LAN} is gone; staying joined, bridging resumes when it is back"));
    promised_after(&gateway, marks.0, &format!("lanparty-gateway opened AF_PACKET socket on {LAN}"));
    promised_after(&gateway, marks.0, "is up again; bridging resumes");
    assert_eq!(told(&gateway, marks.0, "joining again"), 0, "it stayed joined");
    assert_conserved(&evening, false);
}

#[test]
fn f6_a_client_whose_uplink_was_away_returns_without_a_burst_of_old_frames() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::with("f6", &PartyOptions { home: Uplink::wire("").unwrap(), ..PartyOptions::default() });
    let Members { relay, gateway: _gateway, client, address } = evening.all();
    let (wire, before) = (evening.party.wire_home.clone().unwrap(), everybody(&evening));
    without_arp(&evening, address);
    let mark = client.mark();
    let (outage, mended) = Outage::measure(&evening, address, secs(12), || {
        wire.down().unwrap();
        thread::sleep(secs(5));
        wire.up().unwrap();
        Instant::now()
    });
    let (after, (stale, oldest)) = (outage.after(mended), outage.stale());
    println!(
        "F6 uplink away for 5 s: outage {:?}, {after:?} after its return; {stale} stale frames, the oldest {oldest:?}",
        outage.longest()
    );
    println!("{}", evening.party.lab.report());
    assert!(after <= 2 * secs(1) + secs(5), "{after:?}");
    promised_after(&client, mark, "connection to the relay lost: nothing heard for 3 s; joining again");
    promised(&relay, "Client peer 2 left room ROOM1: nothing heard for 3 s");
    promised(&relay, "accepted Client peer 2 in room ROOM1 ... resumed=true");
    assert_eq!(everybody(&evening), before);
    // Nothing of what was sent in those five seconds comes after them; what a busy machine delays is no part of it.
    assert!(oldest < secs(1), "{stale} stale frames, the oldest {oldest:?}");
    outage.assert_no_duplicates();
}

#[test]
fn f6_a_short_blackout_ends_no_membership() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::with("f6short", &PartyOptions { home: Uplink::wire("").unwrap(), ..PartyOptions::default() });
    let Members { relay: _relay, gateway: _gateway, client, address } = evening.all();
    let wire = evening.party.wire_home.clone().unwrap();
    without_arp(&evening, address);
    let mark = client.mark();
    let (outage, mended) = Outage::measure(&evening, address, secs(5), || {
        wire.down().unwrap();
        thread::sleep(Duration::from_millis(1500));
        wire.up().unwrap();
        Instant::now()
    });
    let (after, (stale, oldest)) = (outage.after(mended), outage.stale());
    println!("F6 blackout of 1.5 s: outage {:?}, {after:?} after its end; {stale} stale frames, the oldest {oldest:?}", outage.longest());
    assert_eq!(told(&client, mark, "joining again"), 0, "{}", client.tail());
    assert!(after <= 2 * secs(1), "{after:?}");
}

#[test]
fn f9_ping_and_tcp_work_over_a_wire_with_delay_and_loss() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let options = PartyOptions { home: Uplink::wire("delay=20ms loss=5%").unwrap(), ..PartyOptions::default() };
    let evening = Evening::with("f9", &options);
    let Members { relay: _relay, gateway: _gateway, client, address } = evening.all();
    let (home, pc, wire) = (&evening.party.home, evening.party.pc(1), evening.party.wire_home.clone().unwrap());
    let mark = client.mark();
    wire.forget_lateness().unwrap();
    let pings = ping(pc, address, 50).unwrap();
    println!("F9 5 % loss each way, 20 ms: {} of {} pings in {:?}", pings.received, pings.sent, pings.mean);
    // 90 % of the echoes come both ways; below 70 % of 50 is a chance of one in a hundred thousand.
    assert!(pings.received >= 35, "{pings:?}");
    assert!(pings.min.unwrap() >= Duration::from_millis(40), "{pings:?}");
    for (direction, took) in
        [("to the LAN", transfer(home, pc, Party::pc_address(1), 500_000)), ("to the client", transfer(pc, home, address, 500_000))]
    {
        println!("F9 TCP {direction}: 500 kB in {took:?} ({:.1} Mbit/s)", 4.0 / took.as_secs_f64());
    }
    println!("F9 the wires were {}\n{}", wire.verdict().unwrap(), evening.party.lab.report());
    assert_eq!(told(&client, mark, "joining again"), 0, "{}", client.tail());
    assert_conserved(&evening, false);
}

#[test]
fn d9_a_default_route_through_the_tunnel_does_not_carry_the_tunnel() {
    if !ready() {
        return;
    }
    let evening = Evening::new("d9");
    relay_beyond_a_router(&evening);
    let Members { relay, gateway: _gateway, client, address } = evening.all();
    let (home, mark) = (&evening.party.home, client.mark());
    home.ip(&format!("route add default via {} dev {TAP} metric 1", Party::DHCP)).unwrap();
    let way = home.ip("route get 10.99.0.1").unwrap().stdout;
    assert!(way.contains(TAP), "the machine itself would reach the relay through the tunnel: {way}");
    thread::sleep(secs(5));
    assert_eq!(ping(evening.party.pc(1), address, 5).unwrap().received, 5);
    assert_eq!(told(&client, mark, "joining again"), 0, "{}", client.tail());
    // And not after an outage either, when the way to the relay is looked up anew.
    relay.kill9();
    let _relay = evening.relay();
    promised_after(&client, mark, "lanparty client connected as peer 2 ... again=true");
    promised_after(&client, mark, "Connected to LAN gateway");
    eventually("ping resumes", || ping(evening.party.pc(1), address, 1).unwrap().received == 1);
    assert!(home.ip("route get 10.99.0.1").unwrap().stdout.contains(TAP), "the route is still there");
}

/// Makes the client's machine one that reaches the relay by its default route only, as at home.
fn relay_beyond_a_router(evening: &Evening) {
    let (home, router) = (&evening.party.home, evening.party.internet.switch().host());
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    router.sysctl("net/ipv4/conf/all/send_redirects", "0").unwrap();
    router.sysctl("net/ipv4/conf/br0/send_redirects", "0").unwrap();
    home.ip(&format!("addr flush dev {WAN}")).unwrap();
    home.ip(&format!("addr add {}/32 dev {WAN}", Party::HOME)).unwrap();
    home.ip(&format!("route add {} dev {WAN}", Internet::ROUTER)).unwrap();
    home.ip(&format!("route add default via {} dev {WAN} metric 100", Internet::ROUTER)).unwrap();
}

#[test]
fn a_relay_is_reached_over_ipv6_too() {
    if !ready() {
        return;
    }
    let evening = Evening::new("v6");
    let party = &evening.party;
    for (host, number) in [(&party.relay, 1), (&party.home, 30)] {
        host.ip(&format!("addr add fd99::{number}/64 dev {WAN} nodad")).unwrap();
    }
    let relay = evening.relay_with(&["--listen", "[::]:8443"]);
    promised(&relay, "lanparty-relay configured for [::]:8443/udp");
    // The gateway joins the same relay over IPv4.
    let _gateway = evening.gateway();
    let mut options = evening.join_options(&party.home);
    options[1] = "[fd99::1]:8443".into();
    let client = evening.program(&party.home, "lanparty").named("client").args(["client", "--tap-name", TAP]).args(options).arg("--dhcp");
    let client = party.home.spawn(client).unwrap();
    let address = leased_address(&client, 0);
    promised(&relay, "accepted Client peer ... remote=[fd99::30]:");
    promised(&relay, "accepted Gateway peer ... 10.99.0.20:");
    assert_eq!(ping(party.pc(1), address, 3).unwrap().received, 3);
    let lan_mtu = evening.status(&party.home)["lan_mtu"].as_u64().unwrap();
    println!("LAN MTU over IPv6: {lan_mtu}");
    assert_eq!(evening.status(&party.gateway)["lan_mtu"].as_u64(), Some(lan_mtu), "one for the room");
    let took = transfer(party.pc(1), &party.home, address, 1_000_000);
    println!("TCP over an IPv6 path: 1 MB in {took:?}");
    assert_conserved(&evening, true);
}

#[test]
fn a_renewed_certificate_is_for_newcomers_and_ends_no_connection() {
    if !ready() {
        return;
    }
    let evening = Evening::new("renew");
    let party = &evening.party;
    let dir = evening.dir(&party.relay);
    // As certbot does it: the new files take the old ones' names. What trusts this certificate is another file.
    let renew = |serial: u32| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned()]).unwrap().self_signed(&key).unwrap();
        for (name, text) in [("key.pem", key.serialize_pem()), ("cert.pem", certificate.pem())] {
            fs::write(dir.join("new.pem"), text).unwrap();
            fs::rename(dir.join("new.pem"), dir.join(name)).unwrap();
        }
        let trust = dir.join(format!("trust-{serial}.pem"));
        fs::copy(dir.join("cert.pem"), &trust).unwrap();
        trust.display().to_string()
    };
    let first = renew(1);
    let relay = party
        .relay
        .spawn(evening.program(&party.relay, "lanparty-relay").args(["--open", "--cert", "cert.pem", "--key", "key.pem"]))
        .unwrap();
    relay.wait_for("lanparty-relay listening on", SOON).unwrap();
    let member = |host: &Namespace, role: &[&str], trust: &str| {
        let options = ["--relay", support::RELAY, "--server-name", "relay.example.net", "--relay-ca-cert", trust, "--room", support::ROOM];
        host.spawn(evening.program(host, "lanparty").named(role[0]).args(role).args(options)).unwrap()
    };
    let gateway = member(&party.gateway, &["gateway", "--interface", LAN], &first);
    promised(&gateway, "lanparty-gateway bridging frames");
    let mark = gateway.mark();
    let second = renew(2);
    promised(&relay, "certificate reloaded; running connections keep the old one");
    let stranger = member(&party.home, &["client"], &first);
    assert_eq!(stranger.exit_code(SOON).unwrap(), 2, "who trusts the old one only is told so{}", stranger.tail());
    let client = member(&party.home, &["client", "--tap-name", TAP, "--dhcp"], &second);
    let address = leased_address(&client, 0);
    assert_eq!(ping(party.pc(1), address, 3).unwrap().received, 3);
    assert_eq!(told(&gateway, mark, "joining again"), 0, "{}", gateway.tail());
    // A file that makes no sense changes nothing.
    fs::write(dir.join("cert.pem"), "not a certificate").unwrap();
    promised(&relay, "certificate files changed but cannot be used, the old one stays");
    assert_eq!(ping(party.pc(1), address, 1).unwrap().received, 1);
}
