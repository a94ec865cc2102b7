//! An evening of play: the party with the project's real programs in it, each host with state and sockets of its own.
//!
//! The hosts share one file system, so every program is told where its host's files are.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Binaries, Namespace, Output, Party, PartyOptions, Proc, Program, Requirements};
use serde_json::Value;

pub(crate) mod conservation;
pub(crate) mod flow;
pub(crate) mod outage;

/// Anything that should happen promptly, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The room of every test, as in the guide.
pub(crate) const ROOM: &str = "ROOM1";
/// What clients call their TAP here.
pub(crate) const TAP: &str = "lan0";
/// What members call the relay.
pub(crate) const RELAY: &str = "10.99.0.1:8443";

/// Can an evening take place here? Else says why not; panics where the lab is required.
pub(crate) fn ready() -> bool {
    Requirements::party().ready_or_skip()
}

/// Tests that measure times run one after the other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A party whose hosts can start the project's programs.
pub(crate) struct Evening {
    pub(crate) party: Party,
    binaries: Binaries,
}

impl Evening {
    /// A party on perfect cables.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, &PartyOptions::default())
    }

    /// Any party.
    pub(crate) fn with(name: &str, options: &PartyOptions) -> Self {
        Self { party: Party::build(name, options).unwrap(), binaries: Binaries::locate().unwrap() }
    }

    /// The files of a host.
    pub(crate) fn dir(&self, host: &Namespace) -> PathBuf {
        let dir = self.party.lab.dir().join(host.host());
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The sockets and pid files of the programs on a host.
    pub(crate) fn runtime_files(&self, host: &Namespace) -> Vec<String> {
        let files = fs::read_dir(self.dir(host).join("run")).into_iter().flatten().flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }

    /// A program of ours on its host: `lanparty`, `lanparty-relay`, `lanparty-gateway`.
    pub(crate) fn program(&self, host: &Namespace, name: &str) -> Program {
        let dir = self.dir(host);
        let program = Program::new(self.binaries.path(name).unwrap());
        program.env("LANPARTY_STATE_DIR", dir.join("state")).env("LANPARTY_RUNTIME_DIR", dir.join("run")).dir(dir)
    }

    /// The guide's relay.
    pub(crate) fn relay(&self) -> Proc {
        self.relay_with(&["--listen", "0.0.0.0:8443"])
    }

    /// A relay that has written its certificate and listens.
    pub(crate) fn relay_with(&self, args: &[&str]) -> Proc {
        let relay = self.program(&self.party.relay, "lanparty-relay").args(["--open", "--dev-cert-der-out", "relay-cert.der"]).args(args);
        let relay = self.party.relay.spawn(relay).unwrap();
        relay.wait_for("lanparty-relay listening on", SOON).unwrap();
        relay
    }

    /// The same for a member that keeps to the relay: most tests are about that way.
    pub(crate) fn join_options(&self, host: &Namespace) -> Vec<String> {
        let mut options = self.direct_options(host);
        options.push("--no-direct".to_owned());
        options
    }

    /// Copies the relay's certificate to a host, as the guide says, and gives the options with which a member there joins.
    pub(crate) fn direct_options(&self, host: &Namespace) -> Vec<String> {
        fs::copy(self.dir(&self.party.relay).join("relay-cert.der"), self.dir(host).join("relay-cert.der")).unwrap();
        let options = ["--relay", RELAY, "--server-name", "lanparty-relay.local", "--relay-ca-cert", "./relay-cert.der", "--room", ROOM];
        options.map(String::from).into()
    }

    /// The guide's gateway, not waited for.
    pub(crate) fn start_gateway(&self) -> Proc {
        let host = &self.party.gateway;
        let gateway = self.program(host, "lanparty-gateway").args(self.join_options(host)).args(["--interface", lanparty_lab::LAN]);
        host.spawn(gateway).unwrap()
    }

    /// A gateway that bridges.
    pub(crate) fn gateway(&self) -> Proc {
        let gateway = self.start_gateway();
        gateway.wait_for("lanparty-gateway bridging frames", SOON).unwrap();
        gateway
    }

    /// The guide's client with more options, not waited for.
    pub(crate) fn start_client(&self, more: &[&str]) -> Proc {
        let host = &self.party.home;
        let client =
            self.program(host, "lanparty").named("client").args(["client", "--tap-name", TAP]).args(self.join_options(host)).args(more);
        host.spawn(client).unwrap()
    }

    /// A client whose TAP is up, and which knows the relay by another address.
    pub(crate) fn client_of(&self, relay: &str, more: &[&str]) -> Proc {
        let host = &self.party.home;
        let options = self.join_options(host).into_iter().map(|option| if option == RELAY { relay.to_owned() } else { option });
        let client = self.program(host, "lanparty").named("client").args(["client", "--tap-name", TAP]).args(options).args(more);
        let client = host.spawn(client).unwrap();
        client.wait_for("TAP is up", SOON).unwrap();
        client
    }

    /// A client whose TAP is up.
    pub(crate) fn client(&self, more: &[&str]) -> Proc {
        let client = self.start_client(more);
        client.wait_for("TAP is up", SOON).unwrap();
        client
    }

    /// A client that takes its own lease; and the address it got.
    pub(crate) fn client_with_lease(&self) -> (Proc, Ipv4Addr) {
        let client = self.client(&["--dhcp"]);
        let address = leased_address(&client, 0);
        (client, address)
    }

    /// Relay, gateway and a client with a lease.
    pub(crate) fn all(&self) -> Members {
        self.all_at(self.relay())
    }

    /// The same at this relay.
    pub(crate) fn all_at(&self, relay: Proc) -> Members {
        let gateway = self.gateway();
        let (client, address) = self.client_with_lease();
        Members { relay, gateway, client, address }
    }

    /// Where one of our programs is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.binaries.path(name).unwrap()
    }

    /// Runs `lanparty` on a host to its end.
    pub(crate) fn lanparty(&self, host: &Namespace, words: &[&str]) -> Output {
        let lanparty = self.binaries.lanparty().unwrap();
        let runtime_dir = format!("LANPARTY_RUNTIME_DIR={}", self.dir(host).join("run").display());
        host.run_any(&[&["env", &runtime_dir, &lanparty.to_string_lossy()], words].concat()).unwrap()
    }

    /// What the one program on `host` says of itself.
    pub(crate) fn status(&self, host: &Namespace) -> Value {
        let answer = self.lanparty(host, &["status", "--json"]).success().unwrap();
        let mut programs: Vec<Value> = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(programs.len(), 1, "{}", answer.stdout);
        programs.remove(0)
    }

    /// The client's MAC address, as the kernel has it.
    pub(crate) fn client_mac(&self) -> String {
        self.party.home.mac(TAP).unwrap()
    }
}

/// The programs of an evening.
pub(crate) struct Members {
    pub(crate) relay: Proc,
    pub(crate) gateway: Proc,
    pub(crate) client: Proc,
    /// The client's address on the LAN.
    pub(crate) address: Ipv4Addr,
}

/// The address of the client's lease, once it says so after `mark`.
pub(crate) fn leased_address(client: &Proc, mark: usize) -> Ipv4Addr {
    let line = client.wait_for_after(mark, "DHCP received: 10.", SOON).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// Waits until `check` says yes; `what` names it when it never does.
pub(crate) fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !check() {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for a line as the guide promises it: `...` stands for anything.
pub(crate) fn promised(program: &Proc, pattern: &str) -> String {
    promised_after(program, 0, pattern)
}

/// As [`promised`], after `mark`.
pub(crate) fn promised_after(program: &Proc, mark: usize, pattern: &str) -> String {
    program.wait_for_line(mark, pattern, |line| matches(line, pattern), SOON).unwrap()
}

fn matches(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split(" ... ").all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}
