//! The life of a cable's end: prepare, plug in, carry frames, leave nothing behind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_nic::{Tap, TapConfig, interface_facts};
use lanparty_node::{
    AsyncDevice, BondLink, CableEndpoint, CableEvent, CablePlan, CableSession, Conditions, Event, Events, ExitCode, Fault, FilterRules,
    Link, Management, Rights, StateFile, at_work, describe, run_script, shutdown_requested, start_logging, warn_of_description,
};
use lanparty_proto::{IdentityId, LanMtu, MacAddr};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::{CableArgs, keys};

mod status;

/// How often the interface is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// An outage that is over so soon does not unplug the interface: bonds, bridges and routes would make much more of it.
const CARRIER_HOLD: Duration = Duration::from_secs(2);

/// Runs one end of a cable until it is asked to end; or prints this host's key.
///
/// # Errors
/// A [`Fault`] in words for the operator.
pub async fn run(args: CableArgs) -> Result<(), Fault> {
    if args.new {
        return keys::print(&args);
    }
    start_logging(args.log_format);
    args.busy_poll.start();
    let filter = args.filtering.start()?;
    let (identity, identity_file) = keys::identity(&args)?;
    let peer = keys::peer(&args, identity.id())?;
    let identity = Arc::new(identity);
    // Several cables may end on one host, even in one bridge.
    let mac = identity.mac_for(&format!("lanparty cable: {} of the cable to {}", args.tap_name, peer.to_hex()));
    let tap = prepare(&args, mac)?;
    let endpoint = CableEndpoint::open(args.listen, args.remote.is_some(), Arc::clone(&identity), peer)?;
    let listen = endpoint.local_addr().map_err(|e| Fault::new(ExitCode::Unexpected, format!("the UDP socket is gone: {e}"), ""))?;
    info!("lanparty cable listening on {listen}; this end's key is {}, the other one's {}", identity.id().to_hex(), peer.to_hex());
    if let Some(remote) = &args.remote {
        info!("lanparty cable dialling {remote}");
    } else if args.bonding.bond || !args.bonding.uplink.is_empty() {
        warn!("this end waits for the other one, so --bond and --uplink choose no lines here; say them at the end with --remote");
    }
    warn_of_description(args.description.as_deref());
    let mut cable = Cable::new(args, tap, endpoint, identity_file, mac, listen, filter)?;
    let mut management = Management::open("cable", &cable.args.tap_name, &cable.args.management, status::api(), &cable.events)?;
    at_work(Rights::Network, &format!("listening on {listen}"));
    let outcome = cable.serve(&mut management).await;
    cable.end().await;
    outcome
}

/// Creates the TAP with its plug out: nothing on this host may count on it before there is another end.
fn prepare(args: &CableArgs, mac: MacAddr) -> Result<Tap, Fault> {
    let tap = Tap::create(&TapConfig { name: args.tap_name.clone(), mac: Some(mac), mtu: None, reuse: false })?;
    let failed = |e: std::io::Error| Fault::new(ExitCode::Unexpected, format!("cannot prepare {}: {e}", args.tap_name), "");
    tap.set_carrier(false).and_then(|()| tap.set_up(true)).map_err(failed)?;
    info!(interface = %args.tap_name, %mac, "TAP is up, its plug is out");
    Ok(tap)
}

/// What is known of the connection.
#[derive(Clone, Copy)]
enum State {
    Unplugged { since: Instant },
    Plugged { since: Instant },
}

struct Cable {
    args: CableArgs,
    session: CableSession<Tap>,
    identity_file: StateFile,
    mac: MacAddr,
    own: IdentityId,
    peer: IdentityId,
    listen: SocketAddr,
    state: State,
    has_carrier: bool,
    times_plugged: u64,
    last_end: Option<String>,
    lan_mtu: Option<LanMtu>,
    /// What the TAP was set to.
    tap_mtu: Option<LanMtu>,
    bridge: Option<String>,
    up_script: Option<JoinHandle<()>>,
    events: Events,
    conditions: Conditions,
}

impl Cable {
    fn new(
        args: CableArgs,
        tap: Tap,
        endpoint: CableEndpoint,
        identity_file: StateFile,
        mac: MacAddr,
        listen: SocketAddr,
        filter: Option<Arc<FilterRules>>,
    ) -> Result<Self, Fault> {
        let device = AsyncDevice::new(tap).map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot watch the TAP: {e}"), ""))?;
        let plan = CablePlan {
            remote: args.remote.clone(),
            lan_mtu_max: args.mtu,
            is_isolated: args.isolate,
            interface: args.tap_name.clone(),
            mac,
            bond: args.bonding.plan(args.state_dir.clone())?,
            filter,
            description: describe(args.description.as_deref()),
        };
        let (own, peer) = (endpoint.own(), endpoint.peer());
        let session = CableSession::start(device, endpoint, plan);
        let state = State::Unplugged { since: Instant::now() };
        Ok(Self {
            args,
            session,
            identity_file,
            mac,
            own,
            peer,
            listen,
            state,
            has_carrier: false,
            times_plugged: 0,
            last_end: None,
            lan_mtu: None,
            tap_mtu: None,
            bridge: None,
            up_script: None,
            events: Events::default(),
            conditions: Conditions::default(),
        })
    }

    async fn serve(&mut self, management: &mut Management) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut shutdown = std::pin::pin!(shutdown_requested());
        loop {
            tokio::select! {
                event = self.session.next_event() => self.handle(event)?,
                _ = look.tick() => self.look(),
                request = management.next() => self.answer(request),
                reason = &mut shutdown => {
                    let reason = reason.unwrap_or("signals cannot be watched");
                    info!("lanparty cable ending: {reason}");
                    self.events.tell(Event::Ending { reason: reason.to_owned() });
                    return Ok(());
                }
            }
        }
    }

    fn handle(&mut self, event: CableEvent) -> Result<(), Fault> {
        match event {
            CableEvent::Plugged(lan_mtu) => self.plugged(lan_mtu),
            CableEvent::LanMtu(lan_mtu) => {
                self.set_lan_mtu(lan_mtu);
                self.events.tell(Event::LanMtu { room: None, lan_mtu });
            }
            CableEvent::Unplugged(reason) => {
                let next = if self.args.remote.is_some() { "dialling again" } else { "waiting for it" };
                warn!("the cable is unplugged: {reason}; {next}");
                self.state = State::Unplugged { since: Instant::now() };
                self.events.tell(Event::Unplugged { reason: reason.clone() });
                self.last_end = Some(reason);
            }
            CableEvent::DeviceFailed(e) => {
                let cause = format!("the TAP {} failed: {e}", self.args.tap_name);
                return Err(Fault::new(ExitCode::Unexpected, cause, "start the cable again"));
            }
        }
        Ok(())
    }

    fn plugged(&mut self, lan_mtu: LanMtu) {
        self.state = State::Plugged { since: Instant::now() };
        self.times_plugged += 1;
        let remote = self.remote();
        info!(%remote, %lan_mtu, again = self.times_plugged > 1, "the cable is plugged in");
        self.events.tell(Event::Plugged { remote, lan_mtu });
        self.set_lan_mtu(lan_mtu);
        self.set_carrier(true);
        if let Some(script) = self.args.up.clone().filter(|_| self.times_plugged == 1) {
            // Frames cross meanwhile: it may well ask a DHCP server behind the other end.
            let variables = self.script_variables();
            self.up_script = Some(tokio::spawn(async move { run_script(&script, &variables).await }));
        }
    }

    fn remote(&self) -> String {
        self.session.driver.remote().map_or_else(|| "-".to_owned(), |remote| remote.to_string())
    }

    fn script_variables(&self) -> [(&'static str, String); 4] {
        [
            ("LANPARTY_INTERFACE", self.args.tap_name.clone()),
            ("LANPARTY_MTU", self.lan_mtu.unwrap_or(LanMtu::MAX).to_string()),
            ("LANPARTY_PEER", self.peer.to_hex()),
            ("LANPARTY_REMOTE", self.remote()),
        ]
    }

    fn set_lan_mtu(&mut self, lan_mtu: LanMtu) {
        if self.lan_mtu != Some(lan_mtu) {
            info!(interface = %self.args.tap_name, "LAN MTU is {lan_mtu}");
            self.lan_mtu = Some(lan_mtu);
        }
        self.apply_mtu();
    }

    /// The TAP has the LAN MTU; but as the port of a bridge it has that of any Ethernet, because a bridge drops in silence what is too
    /// large for a port: so it comes here, where it is fragmented or its sender is told.
    fn apply_mtu(&mut self) {
        let wanted = if self.bridge.is_some() { Some(LanMtu::MAX) } else { self.lan_mtu };
        let Some(mtu) = wanted.filter(|_| wanted != self.tap_mtu) else { return };
        self.tap_mtu = wanted;
        let name = &self.args.tap_name;
        if let Err(e) = self.session.driver.device().device().set_mtu(mtu) {
            error!(interface = %name, "cannot set the MTU {mtu}: {e}; larger frames will be dropped as TapMtuExceeded");
        }
    }

    fn set_carrier(&mut self, carrier: bool) {
        if self.has_carrier == carrier {
            return;
        }
        self.has_carrier = carrier;
        if let Err(e) = self.session.driver.device().device().set_carrier(carrier) {
            error!(interface = %self.args.tap_name, "cannot {} the interface: {e}", if carrier { "plug in" } else { "unplug" });
        }
    }

    /// Follows the interface into and out of bridges, unplugs it after an outage, and saves what a full disk kept back.
    fn look(&mut self) {
        let bridge = interface_facts(&self.args.tap_name).ok().and_then(|facts| facts.bridge_master);
        if bridge != self.bridge {
            match &bridge {
                Some(bridge) => info!(interface = %self.args.tap_name, "is a port of {bridge}: two LANs are one now, with one DHCP server"),
                None => info!(interface = %self.args.tap_name, "is a port of no bridge any more"),
            }
            self.bridge = bridge;
            self.session.driver.look_for_loops();
            self.apply_mtu();
        }
        if matches!(self.state, State::Unplugged { since } if since.elapsed() >= CARRIER_HOLD) {
            self.set_carrier(false);
        }
        let driver = &self.session.driver;
        let now = || (driver.link().and_then(Link::bond).map(BondLink::report), driver.findings());
        self.conditions.look(&self.events, now);
        if self.identity_file.retry() && self.identity_file.unsaved().is_none() {
            info!("this host's key is saved now");
        }
    }

    async fn end(&mut self) {
        if let Some(up_script) = self.up_script.take() {
            up_script.abort();
        }
        if let Some(script) = self.down_script() {
            run_script(&script, &self.script_variables()).await;
        }
        self.session.end("the other end was stopped").await;
    }

    /// Undoes what `--up` did, so it runs when that has.
    fn down_script(&self) -> Option<PathBuf> {
        self.args.down.clone().filter(|_| self.times_plugged > 0)
    }
}
