//! The program: what is asked of it, and a client's life on this machine.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use lanparty_client_core::{AddressPlan, Client, Detection, Host, HostFacts, Joining, identity};
use lanparty_nic::windows::{Tap, is_elevated};
use lanparty_node::{ExitCode, Fault, MemberFlags, StateDir, block_on, serve, start_logging};
use lanparty_proto::{LanMtu, MacAddr, MemberId};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::doctor;
use super::net::WindowsNet;
use super::service;
use super::tap::WindowsTap;
use crate::adapter::listing;
use crate::cli::{Cli, MachineFlags, ServiceTask};
use crate::game::GameMode;
use crate::journal::{FileStore, Journal};
use crate::net_cfg::NetCfg;
use crate::policy::{Policy, Wishes, find, recover};
use crate::recording::Recording;
use crate::selftest;
use crate::tap_io::TapIo;

/// What was changed on this machine, beside the identity in the state directory.
const JOURNAL_FILE: &str = "lanparty-client-journal.json";
/// How often game mode looks at what came up: its calls take seconds.
const GAME_INTERVAL: Duration = Duration::from_secs(5);
/// An adapter that went is looked for so often, and so long: a machine that wakes up takes its time.
const REOPEN_INTERVAL: Duration = Duration::from_millis(500);
const REOPEN_TRIES: usize = 120;

/// What is asked of the program.
#[must_use]
pub fn main() -> ProcessExit {
    let cli = Cli::read();
    match cli.service {
        Some(ServiceTask::Run) => service::be(&cli),
        Some(ServiceTask::Install) => block_on(async { service::install(&cli) }),
        Some(ServiceTask::Uninstall) => block_on(async { service::uninstall() }),
        None if cli.list_tap_adapters => block_on(async { list(cli.json) }),
        None if cli.undo => block_on(async { undo(&cli) }),
        None if cli.doctor => doctor::end(&cli),
        None if cli.status => block_on(doctor::status()),
        None if cli.selftest => block_on(async { test(&cli) }),
        None => serve(join(cli)),
    }
}

pub(super) fn print(text: &str) {
    // Who closed the pipe has seen enough.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn list(json: bool) -> Result<(), Fault> {
    let adapters = WindowsNet.tap_adapters();
    let adapters = adapters.map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot list the TAP adapters: {e}"), ""))?;
    let text = if json { serde_json::to_string_pretty(&adapters).unwrap_or_default() + "\n" } else { listing(&adapters) };
    print(&text);
    Ok(())
}

/// The journal of the runs with this state directory.
pub(super) fn open_journal(state_dir: Option<PathBuf>) -> Result<Journal, Fault> {
    let path = StateDir::locate(state_dir).file(JOURNAL_FILE);
    Journal::open(Box::new(FileStore(path.clone()))).map_err(|e| {
        let cause = format!("cannot read what an earlier run has left, in {}: {e}", path.display());
        Fault::new(ExitCode::Configuration, cause, "restore it from a copy, or move it away: then what that run changed stays changed")
    })
}

fn elevated() -> Result<(), Fault> {
    if is_elevated() == Some(false) {
        let advice = "start it in an Administrator terminal";
        return Err(Fault::new(
            ExitCode::Permission,
            "this program opens the TAP adapter and changes routes, which needs Administrator rights",
            advice,
        ));
    }
    Ok(())
}

fn undo(cli: &Cli) -> Result<(), Fault> {
    start_logging(lanparty_node::LogFormat::Text);
    elevated()?;
    let journal = open_journal(cli.alone.state_dir.clone())?;
    let taken_back = match &cli.machine.dry_run_netcfg {
        Some(path) => recover(&journal, &mut recording(path)?),
        None => recover(&journal, &mut WindowsNet),
    };
    match taken_back {
        0 => info!("nothing to take back"),
        _ if journal.changes().is_empty() => info!("everything on this machine is as it was before"),
        _ => return Err(Fault::new(ExitCode::Unexpected, "not everything could be taken back", "see the lines above")),
    }
    Ok(())
}

fn test(cli: &Cli) -> Result<(), Fault> {
    elevated()?;
    let adapter = find(&WindowsNet, cli.machine.wanted().as_ref())?;
    let mut tap = WindowsTap::new(adapter.instance_id.clone(), adapter.name.clone());
    let steps = match &cli.machine.dry_run_netcfg {
        Some(path) => selftest::run(&mut tap, &mut recording(path)?, &adapter),
        None => selftest::run(&mut tap, &mut WindowsNet, &adapter),
    };
    if cli.json {
        print(&(serde_json::to_string_pretty(&steps).unwrap_or_default() + "\n"));
    } else {
        steps.iter().for_each(|step| print(&(step.line() + "\n")));
    }
    if selftest::is_good(&steps) {
        return Ok(());
    }
    Err(Fault::new(
        ExitCode::Unexpected,
        "the selftest found calls that do not work here",
        "docs/windows-manual-test.md says what each is for",
    ))
}

fn recording(path: &std::path::Path) -> Result<Recording<WindowsNet>, Fault> {
    let failed = |e: io::Error| Fault::new(ExitCode::Configuration, format!("cannot write {}: {e}", path.display()), "");
    Recording::create(WindowsNet, path).map_err(failed)
}

/// Joins the room and stays until it is asked to end.
pub(super) async fn join(cli: Cli) -> Result<(), Fault> {
    let Some(member) = cli.member else { return Err(Fault::new(ExitCode::Configuration, "no room is named", "say --relay and --room")) };
    start_logging(member.log_format);
    elevated()?;
    match &cli.machine.dry_run_netcfg {
        Some(path) => join_over(recording(path)?, member, cli.machine).await,
        None => join_over(WindowsNet, member, cli.machine).await,
    }
}

async fn join_over<N>(mut net: N, member: MemberFlags, machine: MachineFlags) -> Result<(), Fault>
where
    N: NetCfg + Clone + Send + 'static,
{
    let filter = member.filtering.start()?;
    let journal = open_journal(member.state_dir.clone())?;
    recover(&journal, &mut net);
    let (identity, identity_file) = identity(machine.identity.clone(), member.state_dir.clone(), machine.new_identity)?;
    let adapter = find(&net, machine.wanted().as_ref())?;
    let dialer = member.dialer()?.avoiding(adapter.name.clone());
    let tap = WindowsTap::new(adapter.instance_id.clone(), adapter.name.clone());
    let wishes = Wishes { game_mode: !machine.no_game_mode };
    let game = wishes.game_mode.then(|| GameMode::new(net.clone(), journal.clone(), adapter.clone()));
    let policy = Policy::new(tap, net, journal, adapter, identity.mac(), wishes);
    let mut host = WindowsHost { policy, game, work: None, due: Instant::now(), is_plugged: false };
    let device = match host.prepare() {
        Ok(device) => device,
        Err(fault) => {
            host.policy.leave();
            return Err(fault);
        }
    };
    // Windows asks for a lease by itself.
    let plan = AddressPlan { dhcp: true, ..AddressPlan::default() };
    let client = Client::new(member, identity, identity_file, dialer, host, device, plan)?;
    client.filtered(filter.as_ref()).routing(&machine.route_from, &machine.route)?.run().await
}

struct WindowsHost<N> {
    policy: Policy<WindowsTap, N>,
    /// At rest; away while it works.
    game: Option<GameMode<N>>,
    work: Option<JoinHandle<GameMode<N>>>,
    /// When it works next.
    due: Instant,
    is_plugged: bool,
}

impl<N: NetCfg + Send + 'static> WindowsHost<N> {
    fn prepare(&mut self) -> Result<Tap, Fault> {
        self.policy.prepare()?;
        self.device()
    }

    fn device(&mut self) -> Result<Tap, Fault> {
        self.policy.tap.take_device().ok_or_else(|| Fault::new(ExitCode::Unexpected, "the TAP adapter was closed meanwhile", "start again"))
    }

    /// Waits until game mode is at rest.
    async fn rest(&mut self) {
        if let Some(work) = self.work.take() {
            self.game = work.await.inspect_err(|e| warn!("game mode failed: {e}")).ok();
        }
    }
}

fn relay(at: &Joining) -> Option<IpAddr> {
    at.remote.map(|remote: SocketAddr| remote.ip())
}

impl<N: NetCfg + Send + 'static> Host for WindowsHost<N> {
    type Device = Tap;

    fn software(&self) -> &'static str {
        "lanparty-client-win"
    }

    fn program(&self) -> &'static str {
        "lanparty-client-win"
    }

    fn interface(&self) -> &str {
        &self.policy.adapter().name
    }

    fn set_mtu(&mut self, _: &mut Tap, mtu: LanMtu) -> io::Result<()> {
        self.policy.set_mtu(mtu)
    }

    async fn plug_in(&mut self, _: &mut Tap, at: &Joining) -> Result<(), Fault> {
        self.policy.plug_in(relay(at), at.lan_mtu)?;
        self.is_plugged = true;
        Ok(())
    }

    fn joined_again(&mut self, at: &Joining) -> Result<(), Fault> {
        self.policy.joined_again(relay(at))
    }

    fn look(&mut self) -> Result<HostFacts, Fault> {
        if self.is_plugged {
            self.policy.watch()?;
        }
        Ok(HostFacts { addresses: self.policy.addresses(), route_pinned: Some(self.policy.route_pinned()), mdns_name: None })
    }

    async fn work(&mut self) -> Result<(), Fault> {
        if self.work.is_none() {
            // Kept outside, as this future is begun anew with every other event.
            tokio::time::sleep_until(self.due).await;
            self.due = Instant::now() + GAME_INTERVAL;
            let has_address = self.policy.addresses().iter().any(|address| !address.is_link_local());
            let Some(mut game) = self.game.take_if(|_| self.is_plugged) else { return Ok(()) };
            self.work = Some(tokio::task::spawn_blocking(move || {
                game.advance(has_address);
                game
            }));
        }
        if let Some(work) = &mut self.work {
            let done = work.await;
            self.work = None;
            self.game = done.inspect_err(|e| warn!("game mode failed: {e}")).ok();
        }
        Ok(())
    }

    async fn add_address(&mut self, _: IpNet) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn remove_address(&mut self, _: IpNet) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn add_route(&mut self, network: IpNet, member: MemberId, mac: MacAddr) -> io::Result<()> {
        if !self.is_plugged {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.policy.add_route(network, member, mac)
    }

    async fn remove_route(&mut self, network: IpNet, member: MemberId) -> io::Result<()> {
        self.policy.remove_route(network, member)
    }

    fn check_forwarding(&self, networks: &[IpNet]) {
        for network in self.policy.unforwarded(networks) {
            let (name, family) = (self.interface(), if network.addr().is_ipv6() { "IPv6" } else { "IPv4" });
            warn!(
                "Windows forwards no packets of {name}, so nothing reaches {network}: in PowerShell, Set-NetIPInterface -InterfaceAlias '{name}' \
                 -AddressFamily {family} -Forwarding Enabled, and the same for the adapter of that network"
            );
        }
    }

    fn detection(&self, _: IpAddr) -> Option<Detection> {
        None
    }

    fn other_networks(&self) -> Vec<(String, Ipv4Net)> {
        vec![]
    }

    async fn reopen(&mut self, error: io::Error, at: &Joining) -> Result<Tap, Fault> {
        warn!("the TAP adapter {} failed: {error}; opening it anew", self.policy.adapter().name);
        let mut outcome = self.policy.reopen(at.lan_mtu);
        for _ in 0..REOPEN_TRIES {
            if outcome.is_ok() {
                break;
            }
            tokio::time::sleep(REOPEN_INTERVAL).await;
            outcome = self.policy.reopen(at.lan_mtu);
        }
        outcome?;
        self.device()
    }

    async fn leave(&mut self) {
        self.rest().await;
        self.policy.leave();
        self.policy.tap.close();
    }
}
