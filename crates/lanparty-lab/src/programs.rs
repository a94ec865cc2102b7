//! The project's own programs at a [`Party`], started as the guide says: relay, gateway, and the client at home.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::binaries::Binaries;
use crate::command::run;
use crate::namespace::Namespace;
use crate::process::{Proc, Program};
use crate::topology::{LAN, Party};

/// The room they meet in.
const ROOM: &str = "PARTY";
/// The relay's port.
const PORT: u16 = 8443;
/// Where the programs' status sockets are.
const RUNTIME_VARIABLE: &str = "LANPARTY_RUNTIME_DIR";

/// How to start each. What they write goes to the lab's directory.
pub struct Programs<'a> {
    party: &'a Party,
    relay: PathBuf,
    gateway: PathBuf,
    lanparty: PathBuf,
    certificate: String,
    runtime: String,
}

impl<'a> Programs<'a> {
    /// The client's TAP.
    pub const TAP: &'static str = "lan0";

    /// Finds them; nothing is started.
    pub fn new(party: &'a Party) -> Result<Self> {
        let binaries = Binaries::locate()?;
        let file = |name: &str| party.lab.dir().join(name).display().to_string();
        Ok(Self {
            party,
            relay: binaries.relay()?,
            gateway: binaries.gateway()?,
            lanparty: binaries.lanparty()?,
            certificate: file("relay-cert.der"),
            runtime: file("run"),
        })
    }

    /// Starts the relay. Members can be started when it says `listening on`.
    pub fn relay(&self) -> Result<Proc> {
        let listen = format!("0.0.0.0:{PORT}");
        let relay = Program::new(&self.relay).args(["--listen", &listen, "--dev-cert-der-out", &self.certificate]);
        self.spawn(&self.party.relay, relay)
    }

    /// Starts the gateway; it says `connected as`, and `bridging frames` when it does.
    pub fn gateway(&self) -> Result<Proc> {
        self.spawn(&self.party.gateway, self.member(Program::new(&self.gateway)).args(["--interface", LAN]))
    }

    /// Starts the client with more options, such as `--dhcp`; it says `connected as`, and `TAP is up`.
    pub fn client(&self, more: &[&str]) -> Result<Proc> {
        let client = Program::new(&self.lanparty).named("lanparty-client").arg("client");
        self.spawn(&self.party.home, self.member(client).args(["--tap-name", Self::TAP]).args(more))
    }

    /// What gateway and client have in common.
    fn member(&self, program: Program) -> Program {
        let relay = format!("{}:{PORT}", Party::RELAY);
        let words = [
            "--relay",
            &relay,
            "--server-name",
            "lanparty-relay.local",
            "--relay-ca-cert",
            &self.certificate,
            "--room",
            ROOM,
            "--no-direct",
        ];
        program.args(words)
    }

    fn spawn(&self, host: &Namespace, program: Program) -> Result<Proc> {
        let state = self.party.lab.dir().join(format!("{}-state", host.host()));
        host.spawn(program.arg("--state-dir").arg(state).env(RUNTIME_VARIABLE, &self.runtime))
    }

    /// Pings from the client's LAN address, four times a second; a missing answer has a line of its own.
    pub fn ping(&self, to: Ipv4Addr) -> Result<Proc> {
        self.party.home.spawn(Program::new("ping").args(["-n", "-O", "-i", "0.25", "-I", Self::TAP, &to.to_string()]))
    }

    /// What all of them say of themselves.
    pub fn status(&self) -> Result<Vec<Value>> {
        let variable = format!("{RUNTIME_VARIABLE}={}", self.runtime);
        let lanparty = self.lanparty.display().to_string();
        let answer = run(&["env", &variable, &lanparty, "status", "--json"])?;
        serde_json::from_str(&answer.stdout).context("the answer of `lanparty status --json`")
    }
}
