//! The project's own programs at a [`Party`] or a [`Dual`], started as the guide says: relay, gateway, and the client at home.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::binaries::Binaries;
use crate::command::{Output, run, run_any};
use crate::namespace::Namespace;
use crate::process::{Proc, Program};
use crate::topology::{Dual, Internet, LAN, Party};

/// The room they meet in.
const ROOM: &str = "PARTY";
/// What the relay is called where it has several addresses.
const RELAY_NAME: &str = "relay.example.net";
/// The relay's port.
const PORT: u16 = 8443;
/// Where the programs' status sockets are.
const RUNTIME_VARIABLE: &str = "LANPARTY_RUNTIME_DIR";
/// The LAN MTU must stay the same for so long before it counts: a search for more goes in steps.
const SETTLED_AFTER: Duration = Duration::from_millis(1500);
/// By then it has, on a busy machine.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(150);

/// How to start each. What they write goes to the lab's directory.
#[derive(Debug)]
pub struct Programs<'a> {
    hosts: [&'a Namespace; 3],
    dir: PathBuf,
    relay: PathBuf,
    gateway: PathBuf,
    lanparty: PathBuf,
    certificate: String,
    runtime: String,
    /// Of the machine, when the relay is known by a name with an address of either family.
    hosts_file: Option<PathBuf>,
}

impl<'a> Programs<'a> {
    /// The client's TAP.
    pub const TAP: &'static str = "lan0";

    /// Finds them; nothing is started.
    pub fn new(party: &'a Party) -> Result<Self> {
        Self::on([&party.relay, &party.gateway, &party.home])
    }

    /// Finds them for a home with several lines; nothing is started. With a line that has IPv6 the relay is known by a name.
    pub fn at(dual: &'a Dual) -> Result<Self> {
        let mut programs = Self::on([&dual.relay, &dual.gateway, &dual.home])?;
        if dual.lines.iter().any(|line| line.ipv6().is_some()) {
            let file = programs.dir.join("hosts");
            std::fs::write(&file, format!("{} {RELAY_NAME}\n{} {RELAY_NAME}\n", Dual::RELAY, Internet::ipv6(1)))?;
            programs.hosts_file = Some(file);
        }
        Ok(programs)
    }

    /// Relay, gateway, home.
    fn on(hosts: [&'a Namespace; 3]) -> Result<Self> {
        let binaries = Binaries::locate()?;
        let dir = hosts[0].dir().to_owned();
        let file = |name: &str| dir.join(name).display().to_string();
        Ok(Self {
            relay: binaries.relay()?,
            gateway: binaries.gateway()?,
            lanparty: binaries.lanparty()?,
            certificate: file("relay-cert.der"),
            runtime: file("run"),
            dir,
            hosts,
            hosts_file: None,
        })
    }

    /// Starts the relay. Members can be started when it says `listening on`.
    pub fn relay(&self) -> Result<Proc> {
        let listen = format!("{}:{PORT}", if self.hosts_file.is_some() { "[::]" } else { "0.0.0.0" });
        let relay = Program::new(&self.relay).args(["--listen", &listen, "--open", "--dev-cert-der-out", &self.certificate]);
        self.spawn(self.hosts[0], relay)
    }

    /// Starts the gateway; it says `connected as`, and `bridging frames` when it does.
    pub fn gateway(&self) -> Result<Proc> {
        self.spawn(self.hosts[1], self.member(Program::new(&self.gateway)).args(["--interface", LAN]))
    }

    /// Starts the client with more options, such as `--dhcp`; it says `connected as`, and `TAP is up`.
    pub fn client(&self, more: &[&str]) -> Result<Proc> {
        let client = Program::new(&self.lanparty).named("lanparty-client").arg("client");
        self.spawn(self.hosts[2], self.member(client).args(["--tap-name", Self::TAP]).args(more))
    }

    /// A gateway on another host than usual, with more options.
    pub fn gateway_on(&self, host: &Namespace, more: &[&str]) -> Result<Proc> {
        self.spawn(host, self.member(Program::new(&self.gateway)).args(["--interface", LAN]).args(more))
    }

    /// A client on another host than usual, with more options.
    pub fn client_on(&self, host: &Namespace, more: &[&str]) -> Result<Proc> {
        let client = Program::new(&self.lanparty).named("lanparty-client").arg("client");
        self.spawn(host, self.member(client).args(["--tap-name", Self::TAP]).args(more))
    }

    /// The relay's certificate, for somebody else.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What gateway and client have in common.
    fn member(&self, program: Program) -> Program {
        let host = if self.hosts_file.is_some() { RELAY_NAME.to_owned() } else { Party::RELAY.to_string() };
        let relay = format!("{host}:{PORT}");
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
        let state = self.dir.join(format!("{}-state", host.host()));
        let mut program = program.arg("--state-dir").arg(state).env(RUNTIME_VARIABLE, &self.runtime);
        if let Some(file) = &self.hosts_file {
            let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", file.display());
            program = program.behind(&["unshare", "-m", "sh", "-c", &script, "-"]);
        }
        host.spawn(program)
    }

    /// Pings from the client's LAN address, four times a second; a missing answer has a line of its own.
    pub fn ping(&self, to: Ipv4Addr) -> Result<Proc> {
        self.hosts[2].spawn(Program::new("ping").args(["-n", "-O", "-i", "0.25", "-I", Self::TAP, &to.to_string()]))
    }

    /// Does the client know an option, such as `--uplink`?
    pub fn client_knows(&self, option: &str) -> Result<bool> {
        let lanparty = self.lanparty.display().to_string();
        Ok(run(&[&lanparty, "client", "--help"])?.stdout.contains(option))
    }

    /// The LAN MTU, once all members agree on it and it has stopped to change.
    pub fn settled_lan_mtu(&self) -> Result<u16> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut seen = (None, Instant::now());
        loop {
            let now = self.lan_mtu()?;
            if now.is_none() || now != seen.0 {
                seen = (now, Instant::now());
            } else if let Some(lan_mtu) = now.filter(|_| seen.1.elapsed() >= SETTLED_AFTER) {
                return Ok(lan_mtu);
            }
            ensure!(Instant::now() < deadline, "the LAN MTU does not settle: {now:?}");
            thread::sleep(POLL);
        }
    }

    /// What client and gateway say; nothing while they differ.
    fn lan_mtu(&self) -> Result<Option<u16>> {
        let all = self.status()?;
        let said: Vec<Option<u64>> = all.iter().filter(|one| one.get("frames").is_some()).map(|one| one["lan_mtu"].as_u64()).collect();
        match said[..] {
            [Some(a), Some(b)] if a == b => Ok(Some(u16::try_from(a)?)),
            _ => Ok(None),
        }
    }

    /// What all of them say of themselves.
    pub fn status(&self) -> Result<Vec<Value>> {
        let answer = self.tool(&["status", "--json"])?.success()?;
        serde_json::from_str(&answer.stdout).context("the answer of `lanparty status --json`")
    }

    /// Runs the tool as the owner of the programs, whatever its exit code.
    pub fn tool(&self, arguments: &[&str]) -> Result<Output> {
        let variable = format!("{RUNTIME_VARIABLE}={}", self.runtime);
        let lanparty = self.lanparty.display().to_string();
        run_any(&[&["env", &variable, &lanparty], arguments].concat())
    }
}
