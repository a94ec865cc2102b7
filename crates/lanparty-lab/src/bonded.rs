//! A client at a home with several lines that has joined by some of them, and what is measured through it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::Output;
use crate::endpoint::Endpoint;
use crate::link::{End, address};
use crate::ping::ping_with;
use crate::process::Proc;
use crate::programs::Programs;
use crate::topology::{Dual, Way};

/// The client's option for one uplink.
const UPLINK: &str = "--uplink";
/// Anything that should happen promptly, on a busy machine.
const SOON: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// Relay, gateway and client, running; the client's end of the LAN is [`Dual::CLIENT`], the other one [`Dual::PC`].
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// use std::{thread::sleep, time::Duration};
/// use lanparty_lab::{Bonded, Dual, DualOptions, LineOptions, Probe, Verdict, Way};
///
/// let lines = [LineOptions::new("dsl0", 30.0, 10.0), LineOptions::new("lte0", 20.0, 60.0)];
/// let dual = Dual::build("cut", &DualOptions::new(lines))?;
/// let bonded = Bonded::join(&dual, &["dsl0", "lte0"], &[])?;
/// dual.forget_lateness()?;
/// let [from, to] = bonded.ends(Way::Down);
/// let probe = Probe::small(Duration::from_secs(5));
/// let (report, cut) = probe.between(&from, &to, || {
///     sleep(Duration::from_secs(2));
///     dual.line("dsl0").cut()
/// })?;
/// cut?;
/// let believed = dual.verdict()? == Verdict::Conclusive;
/// println!("{} lost, longest gap {:?}, believed: {believed}", report.lost(), report.longest_gap(&probe));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Bonded<'a> {
    /// Where they run.
    pub dual: &'a Dual,
    /// The relay; likewise below.
    pub relay: Proc,
    /// The gateway.
    pub gateway: Proc,
    /// The client.
    pub client: Proc,
    /// What the room agreed on.
    pub lan_mtu: u16,
    programs: Programs<'a>,
}

impl<'a> Bonded<'a> {
    /// Joins by these uplinks, in the words of the client's option: `dsl0`, `lte0,role=backup`. A client without the option can
    /// still join by a single line, which is then the one that routes prefer.
    pub fn join(dual: &'a Dual, uplinks: &[&str], more: &[&str]) -> Result<Self> {
        let programs = Programs::at(dual)?;
        let options: Vec<&str> = match uplinks {
            [line] if !programs.client_knows(UPLINK)? => {
                dual.prefer(dual.line(line))?;
                more.to_vec()
            }
            _ => {
                ensure!(programs.client_knows(UPLINK)?, "this client has no option {UPLINK}");
                options_of(uplinks, more)
            }
        };
        let relay = programs.relay()?;
        relay.wait_for("listening on", SOON)?;
        let gateway = programs.gateway()?;
        gateway.wait_for("bridging frames", SOON)?;
        let client = programs.client(&options)?;
        client.wait_for("TAP is up", SOON)?;
        address(End::new(&dual.home, Programs::TAP), &format!("{}/24", Dual::CLIENT))?;
        let lan_mtu = programs.settled_lan_mtu()?;
        let bonded = Self { dual, relay, gateway, client, lan_mtu, programs };
        bonded.know_each_other()?;
        bonded.wait_for_answer()?;
        Ok(bonded)
    }

    /// Starts the client again, by these uplinks; the one that ran has been ended.
    pub fn start_client_again(&mut self, uplinks: &[&str], more: &[&str]) -> Result<()> {
        self.client.exit_code(SOON).ok();
        self.client = self.programs.client(&options_of(uplinks, more))?;
        self.client.wait_for("TAP is up", SOON)?;
        address(End::new(&self.dual.home, Programs::TAP), &format!("{}/24", Dual::CLIENT))?;
        self.know_each_other()?;
        self.wait_for_answer()
    }

    /// Ends the relay without a word and starts another one in its place.
    pub fn restart_relay(&mut self) -> Result<()> {
        self.relay.kill9();
        self.relay.exit_code(SOON).ok();
        self.relay = self.programs.relay()?;
        self.relay.wait_for("listening on", SOON).map(drop)
    }

    /// The ends of what is measured: what goes up begins at the first.
    pub fn ends(&self, way: Way) -> [Endpoint<'a>; 2] {
        let home = Endpoint::new(&self.dual.home, Dual::CLIENT);
        let pc = Endpoint::new(&self.dual.pc, Dual::PC);
        match way {
            Way::Up => [home, pc],
            Way::Down => [pc, home],
        }
    }

    /// Processor time of relay, gateway and client so far.
    pub fn cpu_seconds(&self) -> f64 {
        [&self.relay, &self.gateway, &self.client].iter().map(|program| program.cpu_seconds()).sum()
    }

    /// What the three say of themselves.
    pub fn status(&self) -> Result<Vec<Value>> {
        self.programs.status()
    }

    /// Runs the tool beside the three, whatever its exit code.
    pub fn tool(&self, arguments: &[&str]) -> Result<Output> {
        self.programs.tool(arguments)
    }

    /// What the client says of itself.
    pub fn client_status(&self) -> Result<Value> {
        let all = self.status()?;
        all.into_iter().find(|one| one["program"] == "lanparty-client").context("no status of the client")
    }

    /// Tells both ends each other's MAC address for good: what is measured is the tunnel, not ARP's patience.
    fn know_each_other(&self) -> Result<()> {
        let Dual { home, pc, .. } = self.dual;
        for (host, interface, other, other_interface, ip) in
            [(home, Programs::TAP, pc, crate::LAN, Dual::PC), (pc, crate::LAN, home, Programs::TAP, Dual::CLIENT)]
        {
            let mac = other.mac(other_interface)?;
            host.ip(&format!("neigh replace {ip} lladdr {mac} dev {interface} nud permanent"))?;
        }
        Ok(())
    }

    fn wait_for_answer(&self) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while ping_with(&self.dual.home, Dual::PC, 1, &[])?.received == 0 {
            ensure!(Instant::now() < deadline, "{} does not answer{}", Dual::PC, self.client.tail());
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn options_of<'o>(uplinks: &[&'o str], more: &[&'o str]) -> Vec<&'o str> {
    uplinks.iter().flat_map(|uplink| [UPLINK, uplink]).chain(more.iter().copied()).collect()
}
