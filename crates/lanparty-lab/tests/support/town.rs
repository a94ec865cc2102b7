//! A relay and machines on the internet, for rooms that have no LAN.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Internet, Lab, Namespace, Proc, Requirements, Uplink};
use serde_json::Value;

use crate::programs::{Programs, SOON, TAP};

pub(crate) fn ready() -> bool {
    Requirements::wires().ready_or_skip()
}

/// Waits until there is something.
pub(crate) fn eventually<T>(what: &str, check: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until it is so.
pub(crate) fn eventually_is(what: &str, check: impl Fn() -> bool) {
    eventually(what, || check().then_some(()));
}

/// A relay and machines on the internet.
pub(crate) struct Town {
    pub(crate) programs: Programs,
    pub(crate) relay_host: Namespace,
    pub(crate) machines: Vec<Namespace>,
    pub(crate) lab: Lab,
    _internet: Internet,
}

impl Town {
    pub(crate) fn new(name: &str, machines: u8) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let place = |host: &str, number: u8| {
            let host = lab.namespace(host).unwrap();
            internet.attach(&lab, &host, number, &Uplink::default()).unwrap();
            host
        };
        let relay_host = place("relay", 1);
        let machines = (0..machines).map(|n| place(&format!("m{n}"), 10 + n)).collect();
        Self { programs: Programs::new(&lab), relay_host, machines, lab, _internet: internet }
    }

    /// A relay that listens.
    pub(crate) fn relay(&self, more: &[&str]) -> Proc {
        self.programs.relay_with(&self.relay_host, more)
    }

    /// A client that goes by the relay alone, started; nothing is waited for.
    pub(crate) fn client(&self, machine: usize, room: &str, more: &[&str]) -> Proc {
        self.programs.start_client(&self.machines[machine], room, &[&["--no-direct"], more].concat())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    /// Writes a file, and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.file(name), text).unwrap();
        self.file(name).display().to_string()
    }

    /// What the client on a machine says of itself.
    pub(crate) fn status(&self, machine: usize) -> Value {
        self.programs.status(&self.machines[machine], "lanparty-client")
    }

    /// What it says of its addresses.
    pub(crate) fn origins(&self, machine: usize) -> Vec<Value> {
        let output = self.programs.run(&self.machines[machine], &["lanparty", "status", "--json"]);
        // One that has just been started does not answer yet.
        let programs: Vec<Value> = serde_json::from_str(&output.stdout).unwrap_or_default();
        programs.first().and_then(|client| client["address_origins"].as_array().cloned()).unwrap_or_default()
    }

    /// The addresses of a machine that the relay assigned, IPv4 first, once both are set.
    pub(crate) fn addresses(&self, machine: usize) -> [String; 2] {
        let set = || {
            let origins = self.origins(machine);
            let is_set = |is_ipv4: bool| {
                let mut all = origins.iter().filter(|one| one["state"] == "set" && one["origin"] == "auto");
                let found = all.find(|one| one["address"].as_str().unwrap().contains('.') == is_ipv4);
                found.map(|one| one["address"].as_str().unwrap().to_owned())
            };
            Some([is_set(true)?, is_set(false)?])
        };
        eventually(&format!("addresses of machine {machine}"), set)
    }

    /// Whether machine `from` reaches that address, with or without prefix, by ping through its TAP.
    pub(crate) fn reaches(&self, from: usize, address: &str) -> bool {
        let address = address.split('/').next().unwrap();
        let ping = self.machines[from].run_any(&["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", TAP, address]).unwrap();
        ping.status.success()
    }

    /// The addresses of the TAP as the kernel has them.
    pub(crate) fn kernel(&self, machine: usize) -> String {
        self.machines[machine].ip(&format!("addr show dev {TAP}")).unwrap().stdout
    }
}
