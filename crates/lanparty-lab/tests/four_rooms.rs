//! Four rooms of one relay, which all have the same network: addresses from every source, a console behind a bridge, networks behind a
//! member, filters in both grammars. Nothing of that changes when the relay is killed, and no frame ever crosses from room to room.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/capture.rs"]
mod capture;
#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;
#[path = "support/watch.rs"]
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{DhcpServer, End, LAN, Namespace, Offloads, Proc, Requirements, Switch, Tool, address, dhclient, veth};
use lanparty_proto::MacAddr;
use programs::{SOON, TAP};
use serde_json::Value;
use town::{Town, eventually, eventually_is};
use watch::Watch;

/// Every room has this network.
const ROOMS: &str = r#"
[[room]]
name = "RED"
nets = ["10.77.0.0/24"]

[[room]]
name = "BLUE"
nets = ["10.77.0.0/24", "fd77:0:0:1::/64"]

[[room]]
name = "GREEN"
multicast = "all"

[[room]]
match = "GR[AE]Y"
members = 2
"#;
/// The room of each machine.
const OF: [&str; 8] = ["RED", "RED", "BLUE", "BLUE", "GREEN", "GREEN", "GREY", "GREY"];
/// The gateway of the green room's LAN, and who has a lease from there; the machine that has networks behind it, and the one that asks for them.
const BRIDGE: usize = 4;
const LEASED: usize = 5;
const ROUTER: usize = 6;
const ASKER: usize = 7;
/// What the others set by hand.
const BLUE_BY_HAND: [&str; 2] = ["10.77.0.1/24", "fd77:0:0:1::1/64"];
const ROUTERS_OWN: [&str; 2] = ["10.77.0.16/24", "fd77::16/64"];
const ASKERS_OWN: [&str; 2] = ["10.77.0.17/24", "fd77::17/64"];
/// The router of the green room's LAN. The relay assigns it to members of other rooms as any other address.
const LANS_ROUTER: &str = "10.77.0.2/24";
const BEHIND: [&str; 2] = ["192.168.51.0/24", "fd00:51::/64"];
const HOST_BEHIND: [&str; 2] = ["192.168.51.7", "fd00:51::7"];
/// No game of the red and the blue room passes here, in the words of n3n and in those of a file.
const CLOSED: u16 = 7777;
const RED_RULES: [&str; 4] = ["--filter-rule", "0.0.0.0/0,0.0.0.0/0:7777,UDP-", "--filter-rule", "::/0,::/0:7777,UDP-"];
const BLUE_RULES: &str = "[[rule]]\nname = \"no such game\"\nto-ports = 7777\ndrop = \"udp\"\n";
/// Long enough for a packet that passes, on a busy machine.
const SILENCE: Duration = Duration::from_millis(700);

/// The LAN of the green room: a switch, a router with dnsmasq, and a console that knows nothing of lanparty.
struct Lan {
    console: Namespace,
    router: Namespace,
    dhcp: DhcpServer,
    _switch: Switch,
}

impl Lan {
    fn new(town: &Town) -> Self {
        let switch = Switch::new(town.lab.namespace("switch").unwrap()).unwrap();
        let [console, router] = ["console", "router"].map(|name| town.lab.namespace(name).unwrap());
        for (host, port) in [(&console, "console"), (&router, "router"), (&town.machines[BRIDGE], "bridge")] {
            switch.plug(End::new(host, LAN), port, Offloads::Off).unwrap();
        }
        address(End::new(&router, LAN), LANS_ROUTER).unwrap();
        let dhcp =
            DhcpServer::start(&router, LAN, Ipv4Addr::new(10, 77, 0, 100), Ipv4Addr::new(10, 77, 0, 120), &["--dhcp-option=26,1280"]);
        Self { console, router, dhcp: dhcp.unwrap(), _switch: switch }
    }
}

/// The four rooms and who is in them.
struct Four {
    town: Town,
    lan: Lan,
    behind: Namespace,
    members: Vec<Proc>,
    watches: Vec<Watch>,
}

impl Four {
    fn new() -> (Self, Proc) {
        let town = Town::new("four", 8);
        let relay = start_relay(&town);
        let (lan, behind) = (Lan::new(&town), network_behind(&town));
        let mut four = Self { town, lan, behind, members: vec![], watches: vec![] };
        let rules = four.town.write("rules.toml", BLUE_RULES);
        let by_hand = |own: [&str; 2]| own.map(|one| ["--address".to_owned(), format!("static:{one}")]).concat();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        four.join(&words(&RED_RULES));
        four.join(&[]);
        four.join(&words(&["--filter", &rules]));
        four.join(&by_hand(BLUE_BY_HAND));
        four.bridge();
        four.join(&words(&["--address", "dhcp"]));
        four.join(&[by_hand(ROUTERS_OWN), words(&["--route-from", BEHIND[0], "--route-from", BEHIND[1]])].concat());
        four.town.machines[ROUTER].ip(&format!("addr add fe80::1/64 dev {TAP} nodad")).unwrap();
        four.ask_for_routes();
        (four, relay)
    }

    /// The next machine, whose options are on its command line.
    fn join(&mut self, more: &[String]) {
        let machine = self.members.len();
        let words: Vec<&str> = more.iter().map(String::as_str).collect();
        let client = self.town.client(machine, OF[machine], &words);
        self.joined(client, TAP);
    }

    /// Watched from now on.
    fn joined(&mut self, member: Proc, interface: &str) {
        member.wait_for(if interface == TAP { "TAP is up" } else { "bridging frames" }, SOON).unwrap();
        self.watches.push(Watch::start(&self.town.machines[self.members.len()], interface));
        self.members.push(member);
    }

    fn bridge(&mut self) {
        let gateway = self.town.programs.start_gateway(&self.town.machines[BRIDGE], OF[BRIDGE]);
        self.joined(gateway, LAN);
        dhclient(&self.lan.console, LAN, SOON).unwrap();
    }

    /// The one whose options are in a file, with a route of IPv6; that of IPv4 comes by the command.
    fn ask_for_routes(&mut self) {
        let (machine, programs) = (&self.town.machines[ASKER], &self.town.programs);
        let via = self.town.status(ROUTER);
        let text = format!(
            "[client]\nrelay = \"{}\"\nserver-name = \"lanparty-relay.local\"\nrelay-ca-cert = \"{}\"\nroom = \"{}\"\ntap-name = \"{TAP}\"\n\
             address = \"none\"\nno-direct = true\nroute = \"{}={}\"\n",
            programs::RELAY,
            programs.certificate().display(),
            OF[ASKER],
            BEHIND[1],
            via["mac"].as_str().unwrap()
        );
        let client = programs.program(machine, "lanparty").arg("run").arg(self.town.write("asker.toml", &text));
        let client = machine.spawn(client).unwrap();
        self.joined(client, TAP);
        let machine = &self.town.machines[ASKER];
        assert!(!self.town.kernel(ASKER).contains("inet"), "--address none sets nothing");
        machine.ip(&format!("addr add {} dev {TAP}", ASKERS_OWN[0])).unwrap();
        machine.ip(&format!("addr add {} dev {TAP} nodad", ASKERS_OWN[1])).unwrap();
        let add = ["lanparty", "route", "add", BEHIND[0], "via", &via["peer"].to_string()];
        self.town.programs.run(machine, &add).success().unwrap();
    }

    /// What every machine and the console have set, once they have something.
    fn addresses(&self) -> BTreeMap<String, BTreeSet<String>> {
        let machines = (0..8).filter(|n| *n != BRIDGE).map(|n| (&self.town.machines[n], TAP, if n == LEASED { 1 } else { 2 }));
        machines
            .chain([(&self.lan.console, LAN, 1)])
            .map(|(host, interface, count)| {
                let found = || Some(addresses(host, interface)).filter(|found| found.len() >= count);
                (host.host().to_owned(), eventually(&format!("addresses of {}", host.host()), found))
            })
            .collect()
    }

    /// Everybody reaches everybody of his room, by both families where both are; the console is one of them, and so are networks behind.
    fn all_reach_their_own(&self, has: &BTreeMap<String, BTreeSet<String>>) {
        let of = |n: usize| &has[self.town.machines[n].host()];
        let pairs = [(0, 1), (1, 0), (2, 3), (3, 2), (6, 7), (7, 6)];
        let direct = pairs.iter().flat_map(|(from, to)| of(*to).iter().map(|address| (*from, address.clone())));
        let by_bridge = has["console"].iter().cloned().chain(["10.77.0.2".to_owned()]).map(|address| (5, address));
        let by_route = HOST_BEHIND.map(|address| (ASKER, address.to_owned()));
        for (from, address) in direct.chain(by_bridge).chain(by_route) {
            eventually_is(&format!("machine {from} reaches {address}"), || self.town.reaches(from, &address));
        }
        let back = of(5).first().unwrap().split('/').next().unwrap();
        for (host, address) in
            [(&self.lan.console, back), (&self.lan.router, back), (&self.behind, "10.77.0.17"), (&self.behind, "fd77::17")]
        {
            eventually_is(&format!("{} reaches {address}", host.host()), || answers(host, address));
        }
    }

    /// In the rooms with a filter the game passes at no port that it closes, and at any other, by both families.
    fn filters_hold(&self, has: &BTreeMap<String, BTreeSet<String>>) {
        for (filtered, other) in [(0, 1), (2, 3)] {
            let [to, from] = [filtered, other].map(|n| &self.town.machines[n]);
            for address in &has[to.host()] {
                let address: IpAddr = address.split('/').next().unwrap().parse().unwrap();
                assert!(udp_passes(from, to, SocketAddr::new(address, CLOSED + 1)), "{address}");
                assert!(!udp_passes(from, to, SocketAddr::new(address, CLOSED)), "{address}");
            }
            let filter = &self.town.status(filtered)["frames"]["filter"]["rules"];
            let hits = |rule: &Value| rule["hits"].as_array().unwrap().iter().map(|hits| hits.as_u64().unwrap()).sum::<u64>();
            assert!(filter.as_array().unwrap().iter().all(|rule| hits(rule) > 0), "{filter:#}");
        }
    }

    /// Nobody answers at what only other rooms have, however often somebody asks for it.
    fn nobody_reaches_others(&self, has: &BTreeMap<String, BTreeSet<String>>) {
        let [red, blue, green, grey] = [&[0, 1][..], &[2, 3], &[5], &[6, 7]];
        let of = |room: &[usize]| -> BTreeSet<&String> { room.iter().flat_map(|n| &has[self.town.machines[*n].host()]).collect() };
        let console = &has["console"];
        let lan: BTreeSet<String> = console.iter().cloned().chain([LANS_ROUTER.to_owned()]).collect();
        thread::scope(|scope| {
            for (from, own, others) in
                [(0, red, [blue, green, grey]), (2, blue, [red, green, grey]), (5, green, [red, blue, grey]), (7, grey, [red, blue, green])]
            {
                let theirs: BTreeSet<&String> = others.into_iter().flat_map(of).chain(console.iter().filter(|_| own != green)).collect();
                let own: BTreeSet<&String> = of(own).into_iter().chain(lan.iter().filter(|_| own == green)).collect();
                scope.spawn(move || {
                    for address in theirs.into_iter().filter(|address| !own.contains(*address)) {
                        assert!(!self.town.reaches(from, address), "machine {from} reaches {address} of another room");
                    }
                });
            }
        });
    }

    /// What every watch has seen is of its own room, and of all of that.
    fn nothing_crossed(self) {
        let mut macs: BTreeMap<&str, BTreeSet<MacAddr>> = BTreeMap::new();
        let mac = |host: &Namespace, interface: &str| host.mac(interface).unwrap().parse::<MacAddr>().unwrap();
        for (n, room) in OF.iter().enumerate() {
            macs.entry(room).or_default().insert(mac(&self.town.machines[n], if n == BRIDGE { LAN } else { TAP }));
        }
        macs.entry("GREEN").or_default().extend([mac(&self.lan.console, LAN), mac(&self.lan.router, LAN)]);
        for (n, watch) in self.watches.into_iter().enumerate() {
            let seen = watch.finish();
            for (room, theirs) in &macs {
                let met = theirs.intersection(&seen).count();
                // The bridge itself says nothing to anybody.
                let own = if *room == "GREEN" { theirs.len() - 1 } else { theirs.len() };
                let is_right = if *room == OF[n] { met >= own } else { met == 0 };
                assert!(is_right, "machine {n} of {} has met {met} of {room}: {seen:?}, {macs:?}", OF[n]);
            }
        }
    }
}

fn start_relay(town: &Town) -> Proc {
    let rooms = town.write("rooms.toml", ROOMS);
    town.relay(&["--rooms", &rooms])
}

/// A host in two networks behind a machine that forwards.
fn network_behind(town: &Town) -> Namespace {
    let (router, behind) = (&town.machines[ROUTER], town.lab.namespace("behind").unwrap());
    veth(End::new(router, "in"), End::new(&behind, "out"), Offloads::Off).unwrap();
    for (own, hosts) in [("192.168.51.1/24", "192.168.51.7/24"), ("fd00:51::1/64", "fd00:51::7/64")] {
        address(End::new(router, "in"), own).unwrap();
        address(End::new(&behind, "out"), hosts).unwrap();
    }
    behind.ip("route add default via 192.168.51.1").unwrap();
    behind.ip("-6 route add default via fd00:51::1").unwrap();
    // A router asks for the neighbours of others from its link-local address (RFC 4861 §7.2.2), which the lab's hosts lack.
    address(End::new(router, "in"), "fe80::1/64").unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    router.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    behind
}

/// The addresses of an interface with their prefixes, without the link's own.
fn addresses(host: &Namespace, interface: &str) -> BTreeSet<String> {
    let shown: Value = serde_json::from_str(&host.run(&["ip", "-j", "addr", "show", "dev", interface]).unwrap().stdout).unwrap();
    let all = shown[0]["addr_info"].as_array().into_iter().flatten().filter(|one| one["scope"] == "global" && one["tentative"] != true);
    all.map(|one| format!("{}/{}", one["local"].as_str().unwrap(), one["prefixlen"])).collect()
}

fn answers(host: &Namespace, address: &str) -> bool {
    host.run_any(&["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", address]).unwrap().status.success()
}

/// Whether a datagram gets there. The first may meet a neighbour that is not known yet.
fn udp_passes(from: &Namespace, to: &Namespace, at: SocketAddr) -> bool {
    let server = to.enter(|| UdpSocket::bind(at).unwrap()).unwrap();
    server.set_read_timeout(Some(SILENCE)).unwrap();
    let any: IpAddr = if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let client = from.enter(|| UdpSocket::bind(SocketAddr::new(any, 0)).unwrap()).unwrap();
    (0..2).any(|_| client.send_to(b"game", at).is_ok() && server.recv_from(&mut [0; 16]).is_ok())
}

/// What is set, by room: in none of them has an address two owners.
fn none_is_shared(has: &BTreeMap<String, BTreeSet<String>>) {
    for pair in [["m0", "m1"], ["m2", "m3"], ["m5", "console"], ["m6", "m7"]] {
        assert!(has[pair[0]].is_disjoint(&has[pair[1]]), "{pair:?}: {has:#?}");
    }
}

#[test]
fn four_rooms_keep_apart_and_keep_everything_when_the_relay_is_killed() {
    if !Requirements::wires().and(&[Tool::Dnsmasq, Tool::Dhclient]).ready_or_skip() {
        return;
    }
    let (four, relay) = Four::new();
    let before = four.addresses();
    println!("{before:#?}\n{:?}", four.lan.dhcp.leases().unwrap());
    none_is_shared(&before);
    four.all_reach_their_own(&before);
    four.filters_hold(&before);
    let marks: Vec<_> = four.members.iter().map(Proc::mark).collect();
    relay.kill9();
    let (_relay, restarted) = (start_relay(&four.town), Instant::now());
    for (member, mark) in four.members.iter().zip(marks) {
        member.wait_for_after(mark, "again=true", SOON).unwrap();
    }
    println!("all are back {:?} after the relay", restarted.elapsed());
    four.all_reach_their_own(&before);
    assert_eq!(four.addresses(), before, "no address changes");
    four.filters_hold(&before);
    four.nobody_reaches_others(&before);
    let routes = four.town.programs.run(&four.town.machines[ASKER], &["lanparty", "route", "list", "--json"]).success().unwrap();
    let routes: Vec<Value> = serde_json::from_str(&routes.stdout).unwrap();
    assert!(routes.len() == 2 && routes.iter().all(|route| route["state"] == "set"), "{routes:#?}");
    four.nothing_crossed();
}
