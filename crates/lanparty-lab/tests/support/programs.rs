//! The project's own programs on hosts of a lab, each host with a state and a runtime directory of its own.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use lanparty_lab::{Binaries, Lab, Namespace, Output, Proc, Program, run_any};
use serde_json::Value;

/// Longest wait for anything that must happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The room of every test that needs one only.
pub(crate) const ROOM: &str = "ROOM1";
/// The relay of every topology of the lab.
pub(crate) const RELAY: &str = "10.99.0.1:8443";
/// What clients call their TAP here.
pub(crate) const TAP: &str = "lan0";

/// Starts programs, and asks them how they are.
pub(crate) struct Programs {
    binaries: Binaries,
    dir: PathBuf,
}

impl Programs {
    pub(crate) fn new(lab: &Lab) -> Self {
        let binaries = Binaries::locate().unwrap();
        for name in ["lanparty", "lanparty-relay", "lanparty-gateway"] {
            binaries.path(name).unwrap();
        }
        Self { binaries, dir: lab.dir().to_owned() }
    }

    /// Where the relay puts the certificate that members trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("relay-cert.der")
    }

    /// What `host` keeps between runs.
    pub(crate) fn state_dir(&self, host: &Namespace) -> PathBuf {
        self.dir.join(format!("state-{}", host.host()))
    }

    /// Where `host` keeps its sockets.
    pub(crate) fn runtime_dir(&self, host: &Namespace) -> PathBuf {
        self.dir.join(format!("run-{}", host.host()))
    }

    /// Where one of our programs is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.binaries.path(name).unwrap()
    }

    /// One of our programs, as it would be started on `host`.
    pub(crate) fn program(&self, host: &Namespace, name: &str) -> Program {
        self.with_files_of(host, Program::new(self.binaries.path(name).unwrap()))
    }

    /// Any program that will start one of ours.
    pub(crate) fn with_files_of(&self, host: &Namespace, program: Program) -> Program {
        program.env("LANPARTY_STATE_DIR", self.state_dir(host)).env("LANPARTY_RUNTIME_DIR", self.runtime_dir(host))
    }

    /// Runs `words` (the first one of our programs) on `host` to their end.
    pub(crate) fn run(&self, host: &Namespace, words: &[&str]) -> Output {
        self.run_through(host, &[], words)
    }

    /// As [`Programs::run`], started by another program such as `setpriv`.
    pub(crate) fn run_through(&self, host: &Namespace, starter: &[&str], words: &[&str]) -> Output {
        let variable = |name: &str, dir: &Path| format!("{name}={}", dir.display());
        let state = variable("LANPARTY_STATE_DIR", &self.state_dir(host));
        let runtime = variable("LANPARTY_RUNTIME_DIR", &self.runtime_dir(host));
        let path = self.binaries.path(words[0]).unwrap();
        let mut all = vec!["ip", "netns", "exec", host.netns(), "env", &state, &runtime];
        all.extend(starter);
        all.push(path.to_str().unwrap());
        all.extend(&words[1..]);
        run_any(&all).unwrap()
    }

    /// A relay that listens.
    pub(crate) fn relay(&self, host: &Namespace) -> Proc {
        self.relay_with(host, &[])
    }

    /// The same with more options. Without rooms of its own it is open.
    pub(crate) fn relay_with(&self, host: &Namespace, more: &[&str]) -> Proc {
        let certificate = self.certificate();
        let open = (!more.contains(&"--rooms")).then_some("--open");
        let relay = self.program(host, "lanparty-relay").arg("--dev-cert-der-out").arg(certificate).args(open).args(more);
        let relay = host.spawn(relay).unwrap();
        relay.wait_for("lanparty-relay listening on", SOON).unwrap();
        relay
    }

    /// The options by which every member finds the relay and `room`.
    pub(crate) fn member_options(&self, room: &str) -> Vec<String> {
        let certificate = self.certificate().display().to_string();
        ["--relay", RELAY, "--server-name", "lanparty-relay.local", "--relay-ca-cert", &certificate, "--room", room]
            .map(str::to_owned)
            .into()
    }

    /// A gateway on the interface `lan`, started; nothing is waited for.
    pub(crate) fn start_gateway(&self, host: &Namespace, room: &str) -> Proc {
        let gateway = self.program(host, "lanparty-gateway").args(self.member_options(room)).args(["--interface", "lan"]);
        host.spawn(gateway).unwrap()
    }

    /// A gateway that bridges.
    pub(crate) fn gateway(&self, host: &Namespace) -> Proc {
        let gateway = self.start_gateway(host, ROOM);
        gateway.wait_for("lanparty-gateway bridging frames", SOON).unwrap();
        gateway
    }

    /// A client, started; nothing is waited for.
    pub(crate) fn start_client(&self, host: &Namespace, room: &str, more: &[&str]) -> Proc {
        let client = self.program(host, "lanparty").args(["client", "--tap-name", TAP]).args(self.member_options(room)).args(more);
        host.spawn(client).unwrap()
    }

    /// A client whose TAP `lan0` is up.
    pub(crate) fn client(&self, host: &Namespace) -> Proc {
        let client = self.start_client(host, ROOM, &[]);
        client.wait_for("TAP is up", SOON).unwrap();
        client
    }

    /// What `lanparty status --json` says of the one program of that name on `host`.
    pub(crate) fn status(&self, host: &Namespace, program: &str) -> Value {
        let output = self.run(host, &["lanparty", "status", "--json"]).success().unwrap();
        let all: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
        let found: Vec<&Value> = all.iter().filter(|one| one["program"] == program).collect();
        assert_eq!(found.len(), 1, "{program} on {} in {}", host.host(), output.stdout);
        found[0].clone()
    }
}
