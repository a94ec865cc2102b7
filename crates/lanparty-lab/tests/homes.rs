//! Two homes with a direct link, and what becomes of it when something around them changes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/homes.rs"]
mod homes;
#[path = "support/port_opener.rs"]
mod port_opener;
#[path = "support/programs.rs"]
mod programs;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use homes::{Homes, ready};
use lanparty_lab::{End, Household, HouseholdOptions, Namespace, NatKind, Offloads, Requirements, Tool, WAN, address, ping, veth};
use port_opener::{Speaks, open_ports, opened, public_address};
use programs::SOON;
use serde_json::Value;

#[test]
fn a_home_with_another_address_gets_its_direct_link_again_on_the_connection_that_it_has() {
    if !ready() {
        return;
    }
    for kind in [NatKind::PortRestricted, NatKind::FullCone] {
        let mut homes = Homes::new("moves", kind);
        homes.go("direct");
        let (marks, before) = (homes.marks(), homes.external());
        homes.members[0].household.change_address().unwrap();
        homes.goes_directly_anew(&format!("{kind}: another address"), &before);
        homes.stayed_joined(&marks);
    }
}

#[test]
fn a_home_whose_router_forgot_it_gets_its_direct_link_again() {
    if !ready() {
        return;
    }
    let mut homes = Homes::new("forgets", NatKind::PortRestricted);
    homes.go("direct");
    // Once the router of the one that dialled, once that of the other: QUIC follows one of them by itself.
    for at in [0, 1] {
        let (marks, before) = (homes.marks(), homes.external());
        homes.members[at].household.rebind().unwrap();
        homes.goes_directly_anew(&format!("home {at} has another port"), &before);
        homes.stayed_joined(&marks);
    }
}

#[test]
fn two_homes_with_the_worst_nats_meet_at_a_port_that_a_router_opens() {
    meet_at_an_opened_port("opened", Speaks::Pcp, "PCP");
}

#[test]
fn and_at_one_of_a_router_that_speaks_upnp_only() {
    meet_at_an_opened_port("opened-upnp", Speaks::Upnp, "UPnP");
}

fn meet_at_an_opened_port(name: &str, speaks: Speaks, protocol: &str) {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack, Tool::Miniupnpd]).ready_or_skip() {
        return;
    }
    let options = HouseholdOptions { forwards_ports: true, ..HouseholdOptions::default() };
    let mut homes = Homes::empty(name);
    let [one, other] = [11, 12].map(|number| {
        Household::attach(&homes.lab, &homes.internet, &format!("h{number}"), number, NatKind::Symmetric, options.clone()).unwrap()
    });
    other.router.ip(&format!("addr add {}/24 dev out", public_address(12))).unwrap();
    let daemon = open_ports(&homes.lab, &one, 11, speaks);
    homes.join(one, 11, &[]);
    homes.join(other, 12, &[]);
    let words = homes.members[0].client.wait_for("lets other members in at 1.2.3.11:", SOON).unwrap();
    println!("{words}\n{}", daemon.tail());
    assert!(words.ends_with(&format!("({protocol})")), "{words}");
    let ways = homes.go("direct");
    println!("{ways:?}");
    assert!(ways[1]["address"].as_str().unwrap().starts_with("1.2.3.11:"), "{ways:?}");
    let status = homes.programs.run(&homes.members[0].household.host, &["lanparty", "status"]).stdout;
    assert!(status.contains("the router lets other members in at 1.2.3.11:"), "{status}");
    assert!(opened(&homes.members[0].household).contains("10.97.11.2"), "{}", opened(&homes.members[0].household));
    homes.members[0].client.sigterm();
    homes.members[0].client.exit_code(SOON).unwrap();
    assert!(!opened(&homes.members[0].household).contains("10.97.11.2"), "given back: {}", opened(&homes.members[0].household));
}

#[test]
fn a_member_that_shall_open_no_port_opens_none() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack, Tool::Miniupnpd]).ready_or_skip() {
        return;
    }
    let options = HouseholdOptions { forwards_ports: true, ..HouseholdOptions::default() };
    let mut homes = Homes::empty("closed");
    let household = Household::attach(&homes.lab, &homes.internet, "h11", 11, NatKind::Symmetric, options).unwrap();
    let _daemon = open_ports(&homes.lab, &household, 11, Speaks::Upnp);
    homes.join(household, 11, &["--no-port-mapping"]);
    thread::sleep(Duration::from_secs(3));
    assert!(!opened(&homes.members[0].household).contains("10.97.11.2"));
}

/// A router of the lab's whose host is one of several behind a NAT: a home in a network that its provider hides.
fn home_behind(homes: &Homes, carrier: &Household, name: &str, end: u8) -> Namespace {
    let router = carrier.housemate(&homes.lab, &format!("{name}-router"), end).unwrap();
    let host = homes.lab.namespace(name).unwrap();
    veth(End::new(&host, WAN), End::new(&router, "in"), Offloads::Off).unwrap();
    address(End::new(&host, WAN), &format!("192.168.{end}.2/24")).unwrap();
    address(End::new(&router, "in"), &format!("192.168.{end}.1/24")).unwrap();
    host.ip(&format!("route add default via 192.168.{end}.1")).unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    let nat = format!(
        "table ip nat {{
             chain translation {{ type nat hook postrouting priority srcnat; oifname {WAN} masquerade; }}
             chain filtering {{
                 type filter hook forward priority filter;
                 iifname {WAN} ct state established,related accept
                 iifname {WAN} drop
             }}
             chain uninvited {{
                 type filter hook input priority filter;
                 iifname {WAN} ct state established,related accept
                 iifname {WAN} drop
             }}
         }}"
    );
    router.run(&["nft", &nat]).unwrap();
    host
}

/// How the first of two clients reaches the other.
fn reaches(homes: &Homes, hosts: [&Namespace; 2], way: &str) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let ways = hosts.map(|host| homes.way_of(host));
        if ways.iter().all(|one| one["way"] == way) {
            return ways[0].clone();
        }
        assert!(Instant::now() < deadline, "{ways:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn two_players_in_one_home_have_a_direct_link_whether_their_router_leads_back_or_not() {
    if !ready() {
        return;
    }
    for hairpin in [true, false] {
        let homes = Homes::empty("mates");
        let options = HouseholdOptions { hairpin, ..HouseholdOptions::default() };
        let home = Household::attach(&homes.lab, &homes.internet, "h11", 11, NatKind::PortRestricted, options).unwrap();
        let mate = home.housemate(&homes.lab, "mate", 4).unwrap();
        let _clients = [homes.play(&home.host, 11, &[]), homes.play(&mate, 12, &[])];
        let way = reaches(&homes, [&home.host, &mate], "direct");
        println!("hairpin {hairpin}: {way}");
        // Not by the router and back, where both would do.
        assert!(way["address"].as_str().unwrap().starts_with("10.97.11."), "{way}");
        assert!(ping(&home.host, Ipv4Addr::new(10, 50, 0, 12), 2).unwrap().received > 0);
    }
}

#[test]
fn two_homes_behind_one_carrier_meet_where_its_nat_leads_back() {
    if !ready() {
        return;
    }
    for (hairpin, wanted) in [(true, "direct"), (false, "relay")] {
        let homes = Homes::empty("carrier");
        let options = HouseholdOptions { hairpin, ..HouseholdOptions::default() };
        let carrier = Household::attach(&homes.lab, &homes.internet, "carrier", 11, NatKind::PortRestricted, options).unwrap();
        let [one, other] = [("one", 4), ("other", 5)].map(|(name, end)| home_behind(&homes, &carrier, name, end));
        let _clients = [homes.play(&one, 11, &[]), homes.play(&other, 12, &[])];
        if wanted == "relay" {
            // Time for every try.
            thread::sleep(Duration::from_secs(5));
        }
        let way = reaches(&homes, [&one, &other], wanted);
        println!("hairpin {hairpin}: {way}");
        assert!(ping(&one, Ipv4Addr::new(10, 50, 0, 12), 2).unwrap().received > 0);
    }
}

#[test]
fn a_home_that_slept_has_its_direct_link_again() {
    if !ready() {
        return;
    }
    let mut homes = Homes::new("slept", NatKind::PortRestricted);
    homes.go("direct");
    let marks = homes.marks();
    homes.members[0].client.pause();
    thread::sleep(Duration::from_secs(8));
    // Longer than many a router remembers.
    homes.members[0].household.rebind().unwrap();
    homes.members[0].client.resume();
    homes.members[0].client.wait_for_after(marks[0], "again=true", SOON).unwrap();
    homes.go("direct");
}
