//! A home behind a router with NAT, and a relay on the internet: `home - router - relay`, with a wire of any character
//! between the last two. What is wrong with a network is wrong in the router, on that wire, or at home.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::path::Path;
use std::time::Instant;

use lanparty_lab::{End, Lab, LabWire, Namespace, Offloads, Output, Proc, Requirements, Tool, address, veth};
use serde_json::Value;

use crate::programs::{Programs, RELAY, SOON};

/// A way on which nothing is special.
pub(crate) const GOOD: &str = "delay=2ms";
/// The home's interface toward its router.
pub(crate) const WAN: &str = "eth0";
/// The relay over IPv6: a public address, so that it is preferred to IPv4 (RFC 6724 §2.1).
pub(crate) const RELAY_IPV6: &str = "[2001:db8:99::1]:8443";
/// The router's interface toward the internet.
const OUT: &str = "out";

/// Can a street be built here? Else says why not; panics where the lab is required.
pub(crate) fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft]).ready_or_skip()
}

/// One home, its router, and the relay.
pub(crate) struct Street {
    pub(crate) home: Namespace,
    pub(crate) router: Namespace,
    pub(crate) relay: Namespace,
    pub(crate) wire: LabWire,
    pub(crate) programs: Programs,
    pub(crate) lab: Lab,
}

impl Street {
    /// Everything is as it should be, on a wire of this character.
    pub(crate) fn new(name: &str, character: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let [home, router, relay] = ["home", "router", "relay"].map(|host| lab.namespace(host).unwrap());
        veth(End::new(&home, WAN), End::new(&router, "in"), Offloads::Off).unwrap();
        let (out, wan) = (End::new(&router, OUT), End::new(&relay, "wan"));
        let wire = lab.labwire(out, wan, &character.parse().unwrap()).unwrap();
        for (end, text) in [(End::new(&home, WAN), "10.8.0.2/24"), (End::new(&router, "in"), "10.8.0.1/24"), (out, "10.99.0.2/24")] {
            address(end, text).unwrap();
        }
        address(wan, "10.99.0.1/24").unwrap();
        home.ip("route add default via 10.8.0.1").unwrap();
        router.sysctl("net/ipv4/ip_forward", "1").unwrap();
        let street = Self { programs: Programs::new(&lab), home, router, relay, wire, lab };
        street.nft("nat", "type nat hook postrouting priority srcnat", &[&format!("oifname {OUT} masquerade")]);
        street
    }

    /// A chain of rules on the router, in a table of its own.
    pub(crate) fn nft(&self, table: &str, hook: &str, rules: &[&str]) {
        self.chain("ip", table, hook, rules);
    }

    /// The same for IPv6.
    pub(crate) fn nft_ipv6(&self, table: &str, hook: &str, rules: &[&str]) {
        self.chain("ip6", table, hook, rules);
    }

    fn chain(&self, family: &str, table: &str, hook: &str, rules: &[&str]) {
        let text = format!("table {family} t_{table} {{ chain rules {{ {hook};\n{}\n}}\n}}", rules.join("\n"));
        self.router.run(&["nft", &text]).unwrap();
    }

    /// Takes such a table away.
    pub(crate) fn nft_delete(&self, table: &str) {
        self.router.run(&["nft", &format!("delete table ip t_{table}")]).unwrap();
    }

    /// The IP MTU of the router's way out: it fragments, or says so.
    pub(crate) fn router_mtu(&self, mtu: u16) {
        for (host, interface) in [(&self.router, OUT), (&self.relay, "wan")] {
            host.ip(&format!("link set {interface} mtu {mtu}")).unwrap();
        }
    }

    /// The IP MTU of the home's interface, and of the router's toward it.
    pub(crate) fn home_mtu(&self, mtu: u16) {
        for (host, interface) in [(&self.home, WAN), (&self.router, "in")] {
            host.ip(&format!("link set {interface} mtu {mtu}")).unwrap();
        }
    }

    /// IPv6 beside IPv4, on the same wires and without NAT.
    pub(crate) fn with_ipv6(self) -> Self {
        let give = |host: &Namespace, interface: &str, text: &str| host.ip(&format!("addr add {text} dev {interface} nodad")).unwrap();
        give(&self.home, WAN, "2001:db8:8::2/64");
        give(&self.router, "in", "2001:db8:8::1/64");
        give(&self.router, OUT, "2001:db8:99::2/64");
        give(&self.relay, "wan", "2001:db8:99::1/64");
        // A router asks for the neighbours of others from its own link-local address (RFC 4861 §7.2.2), which the lab's hosts lack.
        give(&self.router, "in", "fe80::1/64");
        give(&self.router, OUT, "fe80::2/64");
        self.home.ip("-6 route add default via 2001:db8:8::1").unwrap();
        self.relay.ip("-6 route add default via 2001:db8:99::2").unwrap();
        self.router.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
        self
    }

    /// A starter under which the name `relay.example.net` has these addresses.
    pub(crate) fn name_of(&self, addresses: &[&str]) -> Vec<String> {
        let hosts = self.lab.dir().join("hosts");
        let lines: String = addresses.iter().map(|address| format!("{address} relay.example.net\n")).collect();
        std::fs::write(&hosts, lines).unwrap();
        let bind = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
        ["unshare", "-m", "sh", "-c", &bind, "-"].map(str::to_owned).into()
    }

    /// A relay that listens, with more options.
    pub(crate) fn relay(&self, more: &[&str]) -> Proc {
        let certificate = self.programs.certificate();
        let relay = self.programs.program(&self.relay, "lanparty-relay").args(["--open", "--dev-cert-der-out"]).arg(certificate).args(more);
        let relay = self.relay.spawn(relay).unwrap();
        relay.wait_for("lanparty-relay listening on", SOON).unwrap();
        relay
    }

    /// What the doctor says at home about this host and the way to the relay.
    pub(crate) fn examine(&self, more: &[&str]) -> Examined {
        let certificate = self.programs.certificate();
        self.examine_relay(&["--relay", RELAY, "--server-name", "lanparty-relay.local", "--relay-ca-cert", text(&certificate)], more)
    }

    /// The same with any description of the relay.
    pub(crate) fn examine_relay(&self, relay: &[&str], more: &[&str]) -> Examined {
        let words = [&["lanparty", "doctor", "--json"], relay, more].concat();
        Examined::of(&self.programs.run(&self.home, &words))
    }

    /// What the doctor says at home about this host alone, started by another program.
    pub(crate) fn examine_host(&self, starter: &[&str], more: &[&str]) -> Examined {
        Examined::of(&self.programs.run_through(&self.home, starter, &[&["lanparty", "doctor", "--json"], more].concat()))
    }
}

/// Says how long an examination took, for whoever reads the log.
pub(crate) fn took<T>(what: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let outcome = what();
    println!("  … after {:.1} s", started.elapsed().as_secs_f64());
    outcome
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A report of the doctor, as its JSON has it.
pub(crate) struct Examined {
    pub(crate) report: Value,
}

impl Examined {
    fn of(output: &Output) -> Self {
        let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", output.stdout, output.stderr));
        assert_eq!(output.status.code().map(i64::from), report["exit_code"].as_i64(), "{}", output.stderr);
        println!("{}", report["verdict"].as_str().unwrap());
        Self { report }
    }

    /// The codes found, without consequences.
    pub(crate) fn codes(&self) -> Vec<&str> {
        self.report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
    }

    /// What a finding says.
    pub(crate) fn title(&self, code: &str) -> &str {
        let all = self.report["findings"].as_array().unwrap();
        all.iter().find(|f| f["code"] == code).and_then(|f| f["title"].as_str()).unwrap_or_else(|| panic!("no {code} in {:#}", self.report))
    }

    /// The finding is there, among nothing that is not named here.
    pub(crate) fn says(&self, code: &str, beside: &[&str]) {
        let others: Vec<_> = self.codes().into_iter().filter(|found| *found != code && !beside.contains(found)).collect();
        assert!(self.codes().contains(&code) && others.is_empty(), "wanted {code}: {:?}\n{:#}", self.codes(), self.report);
    }

    /// The largest payload that passed, and the smallest that did not, with DF.
    pub(crate) fn edge(&self, direction: &str) -> (u64, Option<u64>) {
        let probe = &self.report["facts"]["relay"][direction]["with_df"];
        (probe["passed"].as_u64().unwrap(), probe["failed"].as_u64())
    }

    /// Nothing is wrong.
    pub(crate) fn is_healthy(&self) {
        assert_eq!(self.codes(), [""; 0], "{:#}", self.report);
    }
}
