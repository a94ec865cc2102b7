//! Consoles, which cannot run a client, on the LAN of a gateway that gives them addresses of the room by DHCP (docs/decisions/0041).

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;

use lanparty_lab::{
    DhcpServer, End, Internet, LAN, Lab, Namespace, Offloads, Proc, Program, Requirements, Switch, Tool, Uplink, dhclient, ping,
};
use programs::{Programs, ROOM, SOON, TAP};
use serde_json::Value;

/// What udhcpc does with its lease, as the firmware of a small machine does.
const UDHCPC_SCRIPT: &str = r#"#!/bin/sh
case "$1" in
deconfig) ip -4 addr flush dev "$interface"; ip link set dev "$interface" up ;;
bound|renew)
    ip -4 addr flush dev "$interface"
    [ -z "$mtu" ] || ip link set dev "$interface" mtu "$mtu"
    ip -4 addr add "$ip/$mask" broadcast "$broadcast" dev "$interface"
    [ -z "$router" ] || ip route add default via "$router" dev "$interface"
    echo "console has $ip mtu $mtu" ;;
esac
"#;

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Dhclient, Tool::Busybox, Tool::Dnsmasq]).ready_or_skip()
}

/// A relay and a friend on the internet, and a hall with consoles and a gateway, but no router.
struct Hall {
    programs: Programs,
    relay: Namespace,
    friend: Namespace,
    gateway: Namespace,
    consoles: Vec<Namespace>,
    _switch: Switch,
    _internet: Internet,
    _lab: Lab,
}

impl Hall {
    fn new(name: &str, consoles: u8) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let switch = Switch::new(lab.namespace("switch").unwrap()).unwrap();
        let host = |host: &str, number: Option<u8>, has_lan: bool| {
            let host = lab.namespace(host).unwrap();
            if let Some(number) = number {
                internet.attach(&lab, &host, number, &Uplink::default()).unwrap();
            }
            if has_lan {
                switch.plug(End::new(&host, LAN), host.host(), Offloads::Off).unwrap();
            }
            host
        };
        let (relay, friend, gateway) = (host("relay", Some(1), false), host("friend", Some(30), false), host("gateway", Some(20), true));
        let consoles = (0..consoles).map(|n| host(&format!("con{n}"), None, true)).collect();
        Self { programs: Programs::new(&lab), relay, friend, gateway, consoles, _switch: switch, _internet: internet, _lab: lab }
    }

    fn relay(&self, pool: &str) -> Proc {
        self.programs.relay_with(&self.relay, &["--auto-pool", pool])
    }

    fn gateway(&self) -> Proc {
        let gateway = self.programs.program(&self.gateway, "lanparty-gateway").args(self.programs.member_options(ROOM));
        self.gateway.spawn(gateway.args(["--interface", LAN, "--dhcp-server", "--no-direct"])).unwrap()
    }

    /// A gateway that answers.
    fn serving(&self) -> Proc {
        let gateway = self.gateway();
        gateway.wait_for("DHCP: machines on lan get addresses of the room's network 10.128.0.0/", SOON).unwrap();
        gateway
    }

    fn friend(&self, more: &[&str]) -> Proc {
        self.programs.start_client(&self.friend, ROOM, &[&["--no-direct"], more].concat())
    }

    /// A console with udhcpc; its words tell what it got.
    fn udhcpc(&self, console: usize) -> Proc {
        let host = &self.consoles[console];
        let script = host.dir().join("udhcpc.sh");
        fs::write(&script, UDHCPC_SCRIPT).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let udhcpc = Program::new("busybox").args(["udhcpc", "-f", "-i", LAN, "-O", "mtu", "-A", "2", "-s"]).arg(script);
        host.spawn(udhcpc).unwrap()
    }

    fn status(&self) -> Value {
        self.programs.status(&self.gateway, "lanparty-gateway")["dhcp"].clone()
    }
}

fn address_of(udhcpc: &Proc, mark: usize) -> Ipv4Addr {
    let said = udhcpc.wait_for_after(mark, "console has ", SOON).unwrap();
    said.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// The address that the friend's client has set, of the relay's.
fn assigned(client: &Proc) -> Ipv4Addr {
    let said =
        client.wait_for_line(0, "an IPv4 address is set", |line| line.contains("address 10.") && line.contains("(auto) is set on"), SOON);
    let said = said.unwrap();
    said.split("address ").nth(1).unwrap().split('/').next().unwrap().parse().unwrap()
}

fn reach(from: &Namespace, to: Ipv4Addr) {
    let answered = ping(from, to, 4).unwrap();
    assert!(answered.received >= 3, "{} does not reach {to}: {answered:?}", from.host());
}

#[test]
fn consoles_and_members_have_addresses_of_one_network_and_keep_them_when_the_relay_is_killed() {
    if !ready() {
        return;
    }
    let hall = Hall::new("consoles", 3);
    let relay = hall.relay("10.128.0.0/24");
    let gateway = hall.serving();
    // Without a word, as in a room without a gateway.
    let client = hall.friend(&[]);
    let friend = assigned(&client);
    let first = dhclient(&hall.consoles[0], LAN, SOON).unwrap();
    let second = hall.udhcpc(1);
    let udhcpc = address_of(&second, 0);
    let server: Ipv4Addr = hall.status()["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
    assert_eq!(first.server, server);
    let all = [friend, first.address, udhcpc, server];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4, "{all:?}");
    assert!(all.iter().all(|address| address.octets()[..3] == [10, 128, 0]), "{all:?}");
    let member = hall.programs.status(&hall.friend, "lanparty-client");
    for console in &hall.consoles[..2] {
        let link = console.ip(&format!("link show dev {LAN}")).unwrap().stdout;
        assert!(link.contains(&format!("mtu {} ", member["lan_mtu"])), "option 26: {link}");
        assert_eq!(console.ip("route show default").unwrap().stdout, "", "nobody is sent into the room for the internet");
    }
    reach(&hall.consoles[0], friend);
    reach(&hall.friend, udhcpc);
    reach(&hall.friend, first.address);
    reach(&hall.consoles[0], udhcpc);
    let said = hall.programs.run(&hall.gateway, &["lanparty", "status"]).success().unwrap().stdout;
    assert!(said.contains("DHCP: machines on the LAN get addresses of the room's") && said.contains(&format!("{udhcpc} for ")), "{said}");

    relay.kill9();
    drop((relay, first.proc));
    let mark = second.mark();
    // What udhcpc does at the half of its lease: at the server's own address, while the relay is away.
    hall.consoles[1].run(&["kill", "-USR1", &pid_of(&hall.consoles[1], "udhcpc")]).unwrap();
    assert_eq!(address_of(&second, mark), udhcpc, "renewed without the relay");
    let _relay = hall.relay("10.128.0.0/24");
    client.wait_for_line(0, "joined again", |line| line.contains("connected as peer") && line.contains("again=true"), SOON).unwrap();
    gateway.wait_for_line(0, "joined again", |line| line.contains("connected as peer") && line.contains("again=true"), SOON).unwrap();
    // A newcomer first, then those who were here.
    let third = hall.udhcpc(2);
    let newcomer = address_of(&third, 0);
    let again = dhclient(&hall.consoles[0], LAN, SOON).unwrap();
    let mark = second.mark();
    hall.consoles[1].run(&["kill", "-USR1", &pid_of(&hall.consoles[1], "udhcpc")]).unwrap();
    assert_eq!((again.address, address_of(&second, mark)), (first.address, udhcpc));
    assert!(!all.contains(&newcomer), "{newcomer} is shared: {all:?}");
    assert_eq!(hall.friend.ipv4(TAP).unwrap(), Some(friend));
    reach(&hall.consoles[2], friend);
    reach(&hall.friend, first.address);
}

/// The process of that name in a namespace.
fn pid_of(host: &Namespace, name: &str) -> String {
    let all = host.run(&["ip", "netns", "pids", host.netns()]).unwrap().stdout;
    let is_it = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&format!("\0{name}\0")));
    all.lines().find(is_it).unwrap().to_owned()
}

#[test]
fn a_member_may_ask_by_dhcp_as_well_and_has_one_address() {
    if !ready() {
        return;
    }
    let hall = Hall::new("consoles-member", 1);
    let _relay = hall.relay("10.128.0.0/24");
    let _gateway = hall.serving();
    let client = hall.friend(&[]);
    let auto = assigned(&client);
    client.sigterm();
    client.exit_code(SOON).unwrap();
    let client = hall.friend(&["--dhcp"]);
    client.wait_for(&format!("DHCP received: {auto}"), SOON).unwrap();
    let console = dhclient(&hall.consoles[0], LAN, SOON).unwrap();
    reach(&hall.friend, console.address);
    reach(&hall.consoles[0], auto);
}

#[test]
fn a_network_without_addresses_left_is_said_in_words_on_both_ends() {
    if !ready() {
        return;
    }
    let hall = Hall::new("consoles-full", 3);
    let relay = hall.relay("10.128.0.0/29");
    let gateway = hall.serving();
    let (first, second) = (hall.udhcpc(0), hall.udhcpc(1));
    assert_ne!(address_of(&first, 0), address_of(&second, 0));
    let third = hall.udhcpc(2);
    let words = "10.128.0.0/29 has no address left for machines behind gateways: 2 have one";
    gateway.wait_for(words, SOON).unwrap();
    relay.wait_for(words, SOON).unwrap();
    assert!(!third.tail().contains("console has"), "{}", third.tail());
    assigned(&hall.friend(&[]));
}

#[test]
fn beside_another_dhcp_server_the_gateway_is_silent_and_says_whose_it_is() {
    if !ready() {
        return;
    }
    let hall = Hall::new("consoles-rival", 2);
    let router = &hall.consoles[1];
    router.ip(&format!("addr add 192.168.77.1/24 dev {LAN}")).unwrap();
    let (from, to) = (Ipv4Addr::new(192, 168, 77, 50), Ipv4Addr::new(192, 168, 77, 60));
    let _dhcp = DhcpServer::start(router, LAN, from, to, &[]).unwrap();
    let _relay = hall.relay("10.128.0.0/24");
    let gateway = hall.gateway();
    let mac = router.mac(LAN).unwrap();
    let words = format!("DHCP: nobody is answered: this LAN has a DHCP server already at 192.168.77.1 with MAC {mac}");
    gateway.wait_for(&words, SOON).unwrap();
    let status = hall.status();
    assert!(status["serves"] == false && status["because"].as_str().unwrap().contains("192.168.77.1"), "{status:#}");
    let console = dhclient(&hall.consoles[0], LAN, SOON).unwrap();
    assert_eq!(console.server, Ipv4Addr::new(192, 168, 77, 1));
    assert!(gateway.running());
}
