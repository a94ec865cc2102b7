//! The ready-made networks, and the real programs on them, before any tunnel is involved.

use std::net::Ipv4Addr;
use std::time::Duration;

use lanparty_lab::{
    End, LAN, Offloads, Pair, PairOptions, Party, PartyOptions, Requirements, Tool, Uplink, browse_lan, dhclient, game_server, ping,
    start_dhclient,
};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn dnsmasq_gives_a_lease_to_dhclient_and_the_switch_learns_its_mac() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let party = Party::build("lease", &PartyOptions::default()).unwrap();
    let guest = party.lab.namespace("guest").unwrap();
    party.switch.plug(End::new(&guest, LAN), "guest", Offloads::Off).unwrap();
    let lease = dhclient(&guest, LAN, SOON).unwrap();
    assert_eq!(lease.address.octets()[..3], [10, 73, 42]);
    assert!((100..=200).contains(&lease.address.octets()[3]), "{}", lease.address);
    assert_eq!(lease.server, Party::DHCP);
    assert_eq!(guest.ipv4(LAN).unwrap(), Some(lease.address));
    let leases = party.leases().unwrap();
    assert_eq!((leases.len(), leases[0].address, &leases[0].mac), (1, lease.address, &guest.mac(LAN).unwrap()));
    assert_eq!(ping(&guest, Party::pc_address(1), 2).unwrap().received, 2);
    assert_eq!(party.switch.port_of(&guest.mac(LAN).unwrap()).unwrap().as_deref(), Some("guest"));
    assert!(party.dhcp_server.proc.lines().iter().any(|line| line.contains("DHCPACK")));
}

#[test]
fn a_dhclient_that_nobody_answers_keeps_asking() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let party = Party::build("silence", &PartyOptions::default()).unwrap();
    party.switch.port_up("dhcp", false).unwrap();
    let client = start_dhclient(party.pc(2), LAN).unwrap();
    client.wait_for("DHCPDISCOVER", SOON).unwrap();
    let error = client.wait_for("bound to", Duration::from_secs(3)).unwrap_err().to_string();
    assert!(error.contains("DHCPDISCOVER"), "{error}");
}

#[test]
fn a_game_server_is_found_by_broadcast_on_the_plain_lan() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let party = Party::build("game", &PartyOptions::default()).unwrap();
    let _server = game_server(party.pc(2), "the venue's server").unwrap();
    let found = browse_lan(party.pc(3), SOON, true).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].map.as_str()), ("the venue's server", "dm1"));
    assert_eq!((*found[0].address.ip(), found[0].address.port()), (Party::pc_address(2), 8303));
    assert_eq!(browse_lan(&party.home, Duration::from_secs(1), false).unwrap(), [], "without a tunnel it is not seen at home");
}

#[test]
fn the_internet_reaches_everyone_and_the_lan_nobody_outside() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let options = PartyOptions { home: Uplink::wire("delay=10ms").unwrap(), ..PartyOptions::default() };
    let party = Party::build("reach", &options).unwrap();
    let stats = ping(&party.home, Party::RELAY, 5).unwrap();
    let mean = stats.mean.unwrap();
    assert_eq!(stats.received, 5);
    assert!(mean >= Duration::from_millis(20), "{mean:?}");
    assert_eq!(ping(&party.gateway, Party::RELAY, 1).unwrap().received, 1);
    assert_eq!(ping(&party.home, Party::pc_address(1), 1).unwrap().received, 0);
    assert_eq!(ping(party.pc(1), Party::pc_address(3), 1).unwrap().received, 1);
}

#[test]
fn a_pair_has_two_hosts_and_a_relay() {
    if !Requirements::wires().and(&[Tool::Ping]).ready_or_skip() {
        return;
    }
    let options = PairOptions { a: Uplink::wire("loss=100%").unwrap(), b: Uplink::Cable(Offloads::On), ..PairOptions::default() };
    let pair = Pair::build("pair", &options).unwrap();
    // Several pings: a neighbour that was unreachable a moment ago is asked for again only once a second.
    let reaches = |to: Ipv4Addr| ping(&pair.b, to, 8).unwrap().received > 0;
    assert!(reaches(Pair::RELAY) && !reaches(Pair::A));
    pair.wire_a.as_ref().unwrap().set_both(&lanparty_lab::Impairment::default()).unwrap();
    assert!(reaches(Pair::A));
}
