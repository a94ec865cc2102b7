//! What a LAN's DHCP server and router tell about its MTU reaches members as what the room carries.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/capture.rs"]
mod capture;
mod support;

use std::time::{Duration, Instant};

use capture::Capture;
use lanparty_lab::{LAN, PartyOptions, dhclient};
use support::{Evening, SOON, TAP, ready};

/// A LAN of jumbo-minded people: DHCP and router advertisements say 1,500.
fn evening(name: &str) -> Evening {
    let dhcp = ["--dhcp-option-force=26,1500", "--enable-ra", "--dhcp-range=fd00:73::,ra-only", "--ra-param=lan,mtu:1500,4"];
    let evening = Evening::with(name, &PartyOptions { dhcp: dhcp.map(String::from).into(), ..PartyOptions::default() });
    // A router speaks from a link-local address; the lab's hosts have none of their own accord.
    for address in ["fe80::1/64", "fd00:73::1/64"] {
        evening.party.dhcp.ip(&format!("addr add {address} dev {LAN} nodad")).unwrap();
    }
    evening
}

/// Relay, gateway with more options, and a client without a lease.
fn start(evening: &Evening, more: &[&str]) -> [lanparty_lab::Proc; 3] {
    let (relay, host) = (evening.relay(), &evening.party.gateway);
    let gateway = evening.program(host, "lanparty-gateway").args(evening.join_options(host)).args(["--interface", LAN]).args(more);
    let gateway = host.spawn(gateway).unwrap();
    gateway.wait_for("lanparty-gateway bridging frames", SOON).unwrap();
    [relay, gateway, evening.client(&[])]
}

/// The interface MTU in the lease that Debian's dhclient wrote down.
fn leased_mtu(evening: &Evening) -> u64 {
    let host = &evening.party.home;
    let _client = dhclient(host, TAP, SOON).unwrap();
    let leases = std::fs::read_to_string(host.dir().join(format!("{}-{TAP}-dhclient.leases", host.host()))).unwrap();
    let value = leases.split("option interface-mtu ").nth(1).unwrap_or_else(|| panic!("{leases}"));
    value.split(';').next().unwrap().parse().unwrap()
}

/// The MTU option (RFC 4861 §4.6.4) of the next router advertisement that enters the TAP.
fn advertised_mtu(evening: &Evening) -> u32 {
    let mut capture = Capture::open(&evening.party.home, TAP);
    let deadline = Instant::now() + 2 * SOON;
    while Instant::now() < deadline {
        let Some(frame) = capture.next(Duration::from_secs(1)) else { continue };
        // Ethernet 14, IPv6 40, then type 134 and its 16 bytes; the option is 5, length 1.
        if frame.get(12..14) != Some(&[0x86, 0xdd]) || frame.get(20) != Some(&58) || frame.get(54) != Some(&134) {
            continue;
        }
        let mut options = &frame[70..];
        while let [kind, units, ..] = *options {
            if kind == 5 {
                return u32::from_be_bytes(options[4..8].try_into().unwrap());
            }
            options = options.get(usize::from(units.max(1)) * 8..).unwrap_or_default();
        }
    }
    panic!("no router advertisement with an MTU: {}", evening.party.dhcp_server.proc.tail());
}

#[test]
fn dhcp_and_router_advertisements_tell_members_what_the_room_carries() {
    if !ready() {
        return;
    }
    let evening = evening("told");
    let _programs = start(&evening, &[]);
    let lan_mtu = evening.status(&evening.party.home)["lan_mtu"].as_u64().unwrap();
    let told = (leased_mtu(&evening), advertised_mtu(&evening));
    println!("LAN MTU {lan_mtu}; DHCP tells {}, the router {}", told.0, told.1);
    assert_eq!(told, (lan_mtu, u32::try_from(lan_mtu).unwrap()));
    let lowered = evening.status(&evening.party.gateway)["frames"]["ladder"]["told_mtu_lowered"].as_u64().unwrap();
    assert!(lowered >= 2, "{lowered}");
}

#[test]
fn with_no_mtu_rewrite_members_hear_what_the_lan_says() {
    if !ready() {
        return;
    }
    let evening = evening("untold");
    let _programs = start(&evening, &["--no-mtu-rewrite"]);
    assert_eq!((leased_mtu(&evening), advertised_mtu(&evening)), (1500, 1500));
    assert_eq!(evening.status(&evening.party.gateway)["frames"]["ladder"]["told_mtu_lowered"], 0);
}
