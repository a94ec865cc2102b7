//! The guide, end to end, with the real programs: relay, gateway, client, and around them what a LAN party has.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use lanparty_lab::{LAN, Offloads, Party, PartyOptions, Proc, browse_lan, dhclient, game_server, ping, ping_with};
use support::conservation::assert_conserved;
use support::flow::transfer;
use support::{Evening, Members, SOON, TAP, eventually, leased_address, promised, promised_after, ready};

/// A transfer as large as a game's map.
const MAP_LEN: usize = 5_000_000;

/// LAN hosts whose network cards merge and split packets, as real ones do.
fn evening(name: &str) -> Evening {
    Evening::with(name, &PartyOptions { lan: Offloads::On, ..PartyOptions::default() })
}

#[test]
fn the_guide_holds_line_by_line_with_debians_dhcp_client() {
    if !ready() {
        return;
    }
    let evening = evening("guide");
    let relay = evening.relay();
    promised(&relay, "lanparty-relay configured for 0.0.0.0:8443/udp");
    promised(&relay, "lanparty-relay listening on 0.0.0.0:8443");
    let gateway = evening.gateway();
    gateway_starts_as_promised(&gateway);
    promised(&relay, "accepted Gateway peer ... in room ROOM1");
    let client = evening.client(&[]);
    client_starts_as_promised(&client);
    promised(&relay, "accepted Client peer ... in room ROOM1");
    promised(&gateway, "gateway control event: client peer 2 joined with MAC");
    promised(&gateway, &format!("gateway CAM refresh interface={LAN} peer_id=2 mac={} reason=peer_joined", evening.client_mac()));
    let lease = dhclient(&evening.party.home, TAP, SOON).unwrap();
    assert_eq!(leased_address(&client, 0), lease.address);
    the_lan_has_a_new_machine(&evening, lease.address);
    frames_are_logged_as_promised(&relay, &gateway, &client);
    assert_conserved(&evening, true);
}

fn gateway_starts_as_promised(gateway: &Proc) {
    promised(gateway, &format!("lanparty-gateway opening interface {LAN} and connecting to relay {}", support::RELAY));
    promised(gateway, &format!("lanparty-gateway opened AF_PACKET socket on {LAN}"));
    promised(gateway, "lanparty-gateway connected as peer 1");
    promised(gateway, "lanparty-gateway bridging frames; press Ctrl-C to stop");
}

fn client_starts_as_promised(client: &Proc) {
    promised(client, "prepared TAP adapter ... MAC ... configured and media disconnected before relay connect");
    promised(client, "connected as peer 2");
    promised(client, "client diagnostics: relay reachable yes gateway connected yes ... IP unknown");
    promised(client, "Connected to LAN gateway");
    promised(client, "Waiting for TAP IP");
    promised(client, "Relay RTT: ... ms");
}

/// What "Verify The Tunnel" asks for: a lease of the LAN's own server, ping both ways, and the MAC on the gateway's port.
fn the_lan_has_a_new_machine(evening: &Evening, address: Ipv4Addr) {
    let (party, mac) = (&evening.party, evening.client_mac());
    let leases = party.leases().unwrap();
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!((leases[0].mac.as_str(), leases[0].address), (mac.as_str(), address));
    let from_tap = ping_with(&party.home, Party::pc_address(1), 3, &["-I", &address.to_string()]).unwrap();
    let from_lan = ping(party.pc(2), address, 3).unwrap();
    assert_eq!((from_tap.received, from_lan.received), (3, 3));
    assert_eq!((from_tap.duplicates, from_lan.duplicates), (0, 0));
    println!("ping through the tunnel: {:?}", from_tap.mean.unwrap());
    assert_eq!(party.switch.port_of(&mac).unwrap().as_deref(), Some(Party::gateway_port()));
}

fn frames_are_logged_as_promised(relay: &Proc, gateway: &Proc, client: &Proc) {
    promised(relay, "relay frame room=ROOM1 ... action=Forwarded drop_reason=- targets=1");
    promised(gateway, &format!("gateway frame interface={LAN} direction=LanToRemote ... action=Forwarded"));
    promised(gateway, &format!("gateway frame interface={LAN} direction=RemoteToLan ... action=Forwarded"));
    promised(client, "client frame direction=TapToRelay ... action=Forwarded drop_reason=-");
    promised(client, "client frame direction=RelayToTap ... action=Forwarded drop_reason=-");
    promised(client, "Broadcast traffic flowing");
}

#[test]
fn a_client_that_came_first_waits_for_the_gateway_and_takes_its_own_lease() {
    if !ready() {
        return;
    }
    let evening = evening("early");
    let _relay = evening.relay();
    let client = evening.client(&["--dhcp"]);
    promised(&client, "client diagnostics: relay reachable yes gateway connected no");
    promised(&client, "Waiting for LAN gateway");
    let mark = client.mark();
    let _gateway = evening.gateway();
    promised_after(&client, mark, "client diagnostics: relay reachable yes gateway connected yes");
    promised_after(&client, mark, "Connected to LAN gateway");
    the_lan_has_a_new_machine(&evening, leased_address(&client, mark));
    let routes = evening.party.home.ip("route show default").unwrap().stdout;
    assert_eq!(routes.lines().count(), 1, "the LAN's router has not become the client's:\n{routes}");
    assert!(routes.contains(" dev wan"), "{routes}");
}

#[test]
fn games_find_each_other_through_the_tunnel_both_ways() {
    if !ready() {
        return;
    }
    let evening = evening("games");
    let all = evening.all();
    let party = &evening.party;
    let venue = game_server(party.pc(2), "the venue's server").unwrap();
    let found = browse_lan(&party.home, SOON, true).unwrap();
    assert_eq!(found.len(), 1, "from the client's machine");
    assert_eq!((found[0].name.as_str(), *found[0].address.ip()), ("the venue's server", Party::pc_address(2)));
    println!("the venue's server is found from the client's machine after {:?}", found[0].after);
    drop(venue);
    let _remote = game_server(&party.home, "the friend's server").unwrap();
    let found = browse_lan(party.pc(3), SOON, true).unwrap();
    assert_eq!(found.len(), 1, "from the LAN");
    assert_eq!((found[0].name.as_str(), *found[0].address.ip()), ("the friend's server", all.address));
    println!("the friend's server is found from the LAN after {:?}", found[0].after);
    promised(&all.client, "Broadcast traffic flowing");
}

#[test]
fn without_game_discovery_a_search_leaves_by_the_ordinary_uplink() {
    if !ready() {
        return;
    }
    let evening = evening("nodisc");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let client = evening.client(&["--dhcp", "--no-game-discovery"]);
    leased_address(&client, 0);
    let _server = game_server(evening.party.pc(2), "the venue's server").unwrap();
    assert_eq!(browse_lan(&evening.party.home, Duration::from_secs(3), true).unwrap(), []);
}

#[test]
fn tcp_arrives_bit_exact_both_ways_from_hosts_with_full_size_frames() {
    if !ready() {
        return;
    }
    let evening = evening("tcp");
    let all = evening.all();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    assert_eq!(transfer(home, pc, Party::pc_address(1), 1).as_secs(), 0, "one byte");
    for (direction, took) in
        [("client to LAN", transfer(home, pc, Party::pc_address(1), MAP_LEN)), ("LAN to client", transfer(pc, home, all.address, MAP_LEN))]
    {
        println!("TCP {direction}: {MAP_LEN} bytes in {took:?} ({:.0} Mbit/s)", MAP_LEN as f64 * 8e-6 / took.as_secs_f64());
    }
    assert_conserved(&evening, true);
}

#[test]
fn frames_above_the_lan_mtu_are_answered_at_the_gateway() {
    if !ready() {
        return;
    }
    let evening = evening("mtu");
    let all = evening.all();
    let (home, gateway, pc) = (&evening.party.home, &evening.party.gateway, evening.party.pc(1));
    let lan_mtu = evening.status(home)["lan_mtu"].as_u64().unwrap();
    assert!((1280..1500).contains(&lan_mtu), "{lan_mtu}");
    let link = home.ip(&format!("link show dev {TAP}")).unwrap().stdout;
    assert!(link.contains(&format!(" mtu {lan_mtu} ")), "{link}");
    // Echo requests of exactly the LAN MTU, and one byte more: 20 bytes of IP header and 8 of ICMP go with the payload.
    let echo = |payload: u64| ping_with(pc, all.address, 3, &["-M", "do", "-s", &payload.to_string()]).unwrap();
    assert_eq!(echo(lan_mtu - 28).received, 3, "LAN MTU {lan_mtu}");
    let answered = || evening.status(gateway)["frames"]["ladder"]["too_big_v4"].as_u64().unwrap();
    let before = answered();
    // The first is told the LAN MTU; the PC's kernel remembers, and refuses the others itself.
    assert_eq!(echo(lan_mtu - 27).received, 0);
    assert_eq!(answered() - before, 1);
    let route = pc.ip(&format!("route get {}", all.address)).unwrap().stdout;
    assert!(route.contains(&format!(" mtu {lan_mtu}")), "{route}");
    assert_eq!(echo(1472).received, 0);
    assert_eq!(answered() - before, 1);
    promised(&all.gateway, "direction=LanToRemote ... action=Answered");
    assert_conserved(&evening, true);
}

#[test]
fn sigterm_ends_everything_in_order_and_leaves_nothing_behind() {
    if !ready() {
        return;
    }
    let evening = evening("sigterm");
    ends_in_order(&evening, Proc::sigterm, "SIGTERM");
}

#[test]
fn ctrl_c_ends_everything_in_order_and_leaves_nothing_behind() {
    if !ready() {
        return;
    }
    let evening = evening("ctrlc");
    ends_in_order(&evening, Proc::sigint, "Ctrl-C");
}

/// Client, then gateway, then relay, as the guide cleans up.
fn ends_in_order(evening: &Evening, end: impl Fn(&Proc), said: &str) {
    let Members { relay, gateway, client, .. } = evening.all();
    let party = &evening.party;
    let steps = [
        (&client, &party.home, "lanparty client ending", Some("Client peer 2 left room ROOM1: the client is ending")),
        (&gateway, &party.gateway, "lanparty-gateway ending", Some("Gateway peer 1 left room ROOM1: the gateway is ending")),
        (&relay, &party.relay, "lanparty-relay ending", None),
    ];
    for (program, host, words, relay_says) in steps {
        end(program);
        promised(program, &format!("{words}: {said}"));
        assert_eq!(program.exit_code(SOON).unwrap(), 0, "{}", program.name());
        assert_eq!(evening.runtime_files(host), Vec::<String>::new(), "files of {}", program.name());
        relay_says.map(|line| promised(&relay, line));
    }
    assert!(!party.home.run_any(&["ip", "link", "show", "dev", TAP]).unwrap().status.success(), "the TAP is gone");
    let routes = party.home.ip("route show table all").unwrap().stdout;
    assert!(!routes.contains(TAP), "no route is left:\n{routes}");
    eventually("no process is left", || [&party.home, &party.gateway, &party.relay].iter().all(|host| processes(host).is_empty()));
}

fn processes(host: &lanparty_lab::Namespace) -> String {
    lanparty_lab::run(&["ip", "netns", "pids", host.netns()]).unwrap().stdout
}

#[test]
fn a_relay_that_ends_says_so_to_its_members() {
    if !ready() {
        return;
    }
    let evening = evening("farewell");
    let Members { relay, gateway, client, .. } = evening.all();
    let marks = (gateway.mark(), client.mark());
    relay.sigterm();
    assert_eq!(relay.exit_code(SOON).unwrap(), 0);
    promised_after(&gateway, marks.0, "connection to the relay lost: the relay is shutting down; joining again");
    promised_after(&client, marks.1, "connection to the relay lost: the relay is shutting down; joining again");
    promised_after(&client, marks.1, "Waiting for relay");
    // Without a relay they end as promptly.
    for (program, host) in [(&client, &evening.party.home), (&gateway, &evening.party.gateway)] {
        program.sigterm();
        assert_eq!(program.exit_code(SOON).unwrap(), 0, "{}", program.name());
        assert_eq!(evening.runtime_files(host), Vec::<String>::new());
    }
}
