//! Networks behind members: reached through the room by who asks for it, with addresses that are somebody's, and never in a circle.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{
    End, Household, HouseholdOptions, Internet, Lab, Namespace, NatKind, Offloads, Output, Proc, Requirements, Tool, Uplink, address, ping,
    veth,
};
use programs::{Programs, SOON, TAP};
use serde_json::Value;

/// The host behind machine `n` is 192.168.`50 + n`.7.
const BEHIND: &str = "192.168.51.0/24";
const HOST_BEHIND: Ipv4Addr = Ipv4Addr::new(192, 168, 51, 7);

/// A relay and machines in one room, each with a host behind it.
struct Town {
    programs: Programs,
    relay_host: Namespace,
    machines: Vec<Namespace>,
    behind: Vec<Namespace>,
    internet: Internet,
    lab: Lab,
}

impl Town {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let relay_host = lab.namespace("relay").unwrap();
        internet.attach(&lab, &relay_host, 1, &Uplink::default()).unwrap();
        Self { programs: Programs::new(&lab), relay_host, machines: vec![], behind: vec![], internet, lab }
    }

    /// A machine on the internet itself, or at home behind a router, with a host behind it.
    fn add(&mut self, home: Option<&Household>) {
        let n = u8::try_from(self.machines.len()).unwrap();
        let machine = home.map_or_else(|| self.lab.namespace(&format!("m{n}")).unwrap(), |home| home.host.clone());
        if home.is_none() {
            self.internet.attach(&self.lab, &machine, 20 + n, &Uplink::default()).unwrap();
        }
        let behind = self.lab.namespace(&format!("behind{n}")).unwrap();
        veth(End::new(&machine, "in"), End::new(&behind, "out"), Offloads::Off).unwrap();
        address(End::new(&machine, "in"), &format!("192.168.{}.1/24", 50 + n)).unwrap();
        address(End::new(&behind, "out"), &format!("192.168.{}.7/24", 50 + n)).unwrap();
        behind.ip(&format!("route add default via 192.168.{}.1", 50 + n)).unwrap();
        machine.sysctl("net/ipv4/ip_forward", "1").unwrap();
        self.machines.push(machine);
        self.behind.push(behind);
    }

    fn client(&self, n: usize, more: &[&str]) -> Proc {
        let address = format!("static:10.60.0.{}/24", 10 + n);
        let client = self.programs.start_client(&self.machines[n], "TOWN", &[&["--address", &address], more].concat());
        client.wait_for("is set on lan0", SOON).unwrap();
        client
    }

    fn status(&self, n: usize) -> Value {
        self.programs.status(&self.machines[n], "lanparty-client")
    }

    fn lanparty(&self, n: usize, words: &[&str]) -> Output {
        self.programs.run(&self.machines[n], &[&["lanparty"], words].concat())
    }

    fn foreign(&self, n: usize, direction: &str) -> u64 {
        self.status(n)["frames"][direction]["dropped"]["ForeignAddress"].as_u64().unwrap()
    }

    /// Whether the system of machine `n` has a route to that network by the TAP.
    fn has_route(&self, n: usize, network: &str) -> bool {
        self.machines[n].ip(&format!("route show {network} dev {TAP}")).is_ok_and(|output| !output.stdout.trim().is_empty())
    }

    fn reaches(&self, n: usize, to: Ipv4Addr) -> bool {
        ping(&self.machines[n], to, 2).is_ok_and(|report| report.received > 0)
    }

    /// What is said of a route that is refused, or is none, by the exit code.
    fn not_added(&self, n: usize, network: &str, via: &str, code: i32) -> String {
        let output = self.lanparty(n, &["route", "add", network, "via", via]);
        assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
        output.stderr
    }
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !check() {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_network_behind_a_member_is_reached_by_who_asks_and_nobody_routes_unasked() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let mut town = Town::new("routes");
    (0..2).for_each(|_| town.add(None));
    let _relay = town.programs.relay(&town.relay_host);
    let asker = town.client(0, &[]);
    let router = town.client(1, &["--route-from", BEHIND]);
    let peer = town.status(1)["peer"].to_string();
    assert!(!town.reaches(0, HOST_BEHIND));
    let set = town.lanparty(0, &["route", "add", BEHIND, "via", &peer]).success().unwrap();
    assert!(set.stdout.contains(&format!("{BEHIND} via peer {peer} with MAC")), "{}", set.stdout);
    eventually("the host behind answers", || town.reaches(0, HOST_BEHIND));
    let listed: Value = serde_json::from_str(&town.lanparty(0, &["route", "list", "--json"]).stdout).unwrap();
    assert_eq!((&listed[0]["network"], &listed[0]["state"]), (&BEHIND.into(), &"set".into()), "{listed:#}");
    assert!(town.lanparty(0, &["status"]).stdout.contains(&format!("route {BEHIND} via peer")));
    nobody_routes_unasked(&town);
    what_would_loop_is_refused(&town, &peer);
    // It goes with its member, and comes back with it.
    router.sigterm();
    router.exit_code(SOON).unwrap();
    eventually("the route is gone", || !town.has_route(0, BEHIND));
    asker.wait_for(&format!("route to {BEHIND} via {peer} is not set: member {peer} is not in the room"), SOON).unwrap();
    let mac = town.status(0)["routes"][0].clone();
    assert_eq!(mac["state"], "waiting", "{mac:#}");
    let _router = town.client(1, &["--route-from", BEHIND]);
    let mac = town.status(1)["mac"].as_str().unwrap().to_owned();
    town.lanparty(0, &["route", "remove", BEHIND]).success().unwrap();
    town.lanparty(0, &["route", "add", BEHIND, "via", &mac]).success().unwrap();
    eventually("the host behind answers again", || town.reaches(0, HOST_BEHIND));
    town.lanparty(0, &["route", "remove", BEHIND]).success().unwrap();
    assert!(!town.has_route(0, BEHIND));
    asker.sigterm();
    asker.exit_code(SOON).unwrap();
    assert_eq!(town.machines[0].run_any(&["ip", "route", "show", "dev", TAP]).unwrap().stdout, "");
}

/// Machine 0 forwards, and was not asked to route: neither what its host behind sends nor what is for that host passes.
fn nobody_routes_unasked(town: &Town) {
    let (out, into) = (town.foreign(0, "outbound"), town.foreign(0, "inbound"));
    assert!(!ping(&town.behind[0], Ipv4Addr::new(10, 60, 0, 11), 2).is_ok_and(|report| report.received > 0));
    assert!(town.foreign(0, "outbound") > out, "packets of 192.168.50.7");
    town.machines[1].ip(&format!("route add 192.168.50.0/24 via 10.60.0.10 dev {TAP}")).unwrap();
    assert!(!town.reaches(1, Ipv4Addr::new(192, 168, 50, 7)));
    assert!(town.foreign(0, "inbound") > into, "packets for 192.168.50.7");
    town.machines[1].ip("route del 192.168.50.0/24").unwrap();
}

fn what_would_loop_is_refused(town: &Town, peer: &str) {
    for (n, network, via, why, code) in [
        (0, "10.60.0.0/24", peer, "the room's own network", 4),
        (0, "10.99.0.1/32", peer, "the relay itself", 4),
        (0, BEHIND, peer, "there is a route to 192.168.51.0/24 already", 4),
        (0, "foo", peer, "write one as 192.168.50.0/24", 2),
        (0, "192.168.60.0/33", peer, "a number from 0 to 32", 2),
        (0, "192.168.60.0/24", "999", "member 999 is not in the room", 4),
        (0, "192.168.60.0/24", "bob", "say its MAC address, or its peer number", 2),
        (1, "192.168.51.0/25", "1", "would go round in a circle", 4),
        (1, "192.168.60.0/24", peer, "this machine itself", 4),
    ] {
        let words = town.not_added(n, network, via, code);
        assert!(words.contains(why), "{network} via {via}: {words}");
    }
    let output = town.lanparty(0, &["route", "remove", "192.168.60.0/24"]);
    assert_eq!(
        (output.status.code(), output.stderr.contains("there is no route to 192.168.60.0/24")),
        (Some(4), true),
        "{}",
        output.stderr
    );
    let none = town.lanparty(0, &["client", "--relay", "x:1", "--room", "R", "--route-from", "0.0.0.0/0"]);
    assert!(none.stderr.contains("say --route-from any"), "{}", none.stderr);
}

#[test]
fn a_default_route_through_a_member_leaves_the_relay_outside() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip() {
        return;
    }
    let mut town = Town::new("default");
    let home = Household::attach(&town.lab, &town.internet, "h11", 11, NatKind::PortRestricted, HouseholdOptions::default()).unwrap();
    town.add(Some(&home));
    town.add(None);
    let relay = town.programs.relay(&town.relay_host);
    let _router = town.client(1, &["--route-from", "any"]);
    let mac = town.status(1)["mac"].as_str().unwrap().to_owned();
    let asker = town.client(0, &["--route", &format!("default={mac}")]);
    eventually("the host behind answers", || town.reaches(0, HOST_BEHIND));
    let way = || town.machines[0].ip("route get 10.99.0.1").unwrap().stdout;
    assert!(way().contains(&format!("dev {TAP}")), "any other program's way to the relay's machine: {}", way());
    let direct = || town.status(0)["peers"][0]["way"] == "direct";
    eventually("the direct link keeps outside as well", direct);
    // Three seconds of silence would end it.
    thread::sleep(Duration::from_secs(8));
    assert!(town.reaches(0, HOST_BEHIND) && direct());
    assert!(!asker.lines().iter().any(|line| line.contains("joining again")), "{}", asker.tail());
    // And back to it, when it was gone.
    let mark = asker.mark();
    relay.kill9();
    thread::sleep(Duration::from_secs(1));
    let _relay = town.programs.relay(&town.relay_host);
    asker.wait_for_after(mark, "again=true", SOON).unwrap();
    eventually("the host behind answers again", || town.reaches(0, HOST_BEHIND));
    asker.sigterm();
    asker.exit_code(SOON).unwrap();
    assert!(!way().contains(TAP), "{}", way());
}
