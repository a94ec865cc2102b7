//! Two hosts with a cable between them.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Namespace, Pair, PairOptions, Proc, Requirements};
use serde_json::Value;

use crate::flow::transfer;
use crate::programs::{Programs, SOON};

/// The interface of a cable, as it is called when nobody says otherwise.
pub(crate) const CABLE: &str = "cable0";

/// Two hosts that know each other's keys. On the cable, `a` is 10.66.0.1 and `b` is 10.66.0.2.
pub(crate) struct Bench {
    pub(crate) pair: Pair,
    pub(crate) programs: Programs,
    pub(crate) keys: [String; 2],
}

impl Bench {
    pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
    pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);

    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, &PairOptions::default())
    }

    pub(crate) fn with(name: &str, options: &PairOptions) -> Self {
        let pair = Pair::build(name, options).unwrap();
        let programs = Programs::new(&pair.lab);
        let key = |host| {
            let printed = programs.run(host, &["lanparty", "cable", "--new", "--json"]).success().unwrap().stdout;
            serde_json::from_str::<Value>(&printed).unwrap()["key"].as_str().unwrap().to_owned()
        };
        let keys = [key(&pair.a), key(&pair.b)];
        Self { pair, programs, keys }
    }

    /// The end on `host`, started; nothing is waited for.
    pub(crate) fn start(&self, host: &Namespace, more: &[&str]) -> Proc {
        let peer = if host.host() == "a" { &self.keys[1] } else { &self.keys[0] };
        self.start_for(host, peer, more)
    }

    pub(crate) fn start_for(&self, host: &Namespace, peer: &str, more: &[&str]) -> Proc {
        let cable = self.programs.program(host, "lanparty").named("cable").args(["cable", "--peer", peer]).args(more);
        host.spawn(cable).unwrap()
    }

    /// Gives an end its address on the cable.
    pub(crate) fn address(&self, host: &Namespace) {
        let own = if host.host() == "a" { Self::A } else { Self::B };
        host.ip(&format!("addr replace {own}/24 dev {CABLE}")).unwrap();
    }

    /// `a` listens, `b` dials; both have addresses.
    pub(crate) fn plug_in(&self, more: &[&str]) -> (Proc, Proc) {
        let a = self.start(&self.pair.a, more);
        let b = self.start(&self.pair.b, &[&["--remote", "10.99.0.11"], more].concat());
        for (host, end) in [(&self.pair.a, &a), (&self.pair.b, &b)] {
            end.wait_for("the cable is plugged in", SOON).unwrap();
            self.address(host);
        }
        (a, b)
    }

    pub(crate) fn status(&self, host: &Namespace) -> Value {
        self.programs.status(host, "lanparty-cable")
    }

    /// Frames that `direction` of an end dropped for `reason`.
    pub(crate) fn dropped(&self, host: &Namespace, direction: &str, reason: &str) -> u64 {
        self.status(host)["frames"][direction]["dropped"][reason].as_u64().unwrap()
    }

    /// Bytes cross in both directions, each the one that was sent.
    pub(crate) fn transfer(&self, len: usize) {
        let Pair { a, b, .. } = &self.pair;
        transfer(a, b, Self::B, len);
        transfer(b, a, Self::A, len);
    }

    /// A script on every host that appends what it says to a file: that file, and the script.
    pub(crate) fn script(&self, name: &str, text: &str) -> (PathBuf, String) {
        let (log, script) = (self.pair.lab.dir().join("said"), self.pair.lab.dir().join(name));
        std::fs::write(&script, format!("#!/bin/sh\nexec >>{}\n{text}\n", log.display())).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        (log, script.display().to_string())
    }

    /// A script that gives `host` its address whenever its cable is plugged in: a restarted end has a new interface.
    pub(crate) fn address_script(&self, host: &Namespace) -> String {
        let own = if host.host() == "a" { Self::A } else { Self::B };
        self.script(&format!("up-{}", host.host()), &format!("ip addr replace {own}/24 dev $LANPARTY_INTERFACE")).1
    }

    /// Both ends count every frame once, and each what the other one sent.
    pub(crate) fn assert_conserved(&self) {
        eventually("the books of both ends agree", || {
            let [a, b] = [&self.pair.a, &self.pair.b].map(|host| self.status(host)["frames"].clone());
            let agree = |from: &Value, to: &Value| from["outbound"]["forwarded"] == to["inbound"]["frames_in"];
            [&a, &b].iter().all(|end| is_whole(&end["outbound"]) && is_whole(&end["inbound"])) && agree(&a, &b) && agree(&b, &a)
        });
    }
}

/// Is every frame of a direction accounted for?
pub(crate) fn is_whole(counters: &Value) -> bool {
    let count = |name: &str| counters[name].as_u64().unwrap();
    let dropped: u64 = counters["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    count("frames_in") + count("split") == count("forwarded") + count("answered") + dropped
}

/// Can two hosts be built here?
pub(crate) fn ready() -> bool {
    Requirements::wires().ready_or_skip()
}

/// Waits until `check` says yes; `what` names it when it never does.
pub(crate) fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !check() {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The MTU of a host's interface, as its kernel has it.
pub(crate) fn mtu_of(host: &Namespace, interface: &str) -> u64 {
    let links = host.ip(&format!("-j link show dev {interface}")).unwrap().stdout;
    let links: Value = serde_json::from_str(&links).unwrap();
    links[0]["mtu"].as_u64().unwrap()
}
