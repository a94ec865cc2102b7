//! The life of a client: prepare, join, carry frames, say how it goes, leave nothing behind.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_core::{ClientFacts, Diagnostics};
use lanparty_nic::{Device, Tap};
use lanparty_node::{
    Ask, AsyncDevice, ExitCode, Fault, Identity, JoinRequest, MemberDriver, Session, SessionEvent, StateFile, StatusRequest, StatusSocket,
    ipv4_addresses, shutdown_requested, software, start_logging,
};
use lanparty_proto::{Control, LanMtu, Role};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::dhcp::DhcpClient;
use crate::scripts::{ScriptFacts, run_script};
use crate::{ClientArgs, discovery, prepare};

/// How often addresses and diagnostics are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Runs a client until it is asked to end.
///
/// # Errors
/// A [`Fault`] in words for the player.
pub async fn run(args: ClientArgs) -> Result<(), Fault> {
    start_logging(args.member.log_format);
    let (identity, identity_file) = prepare::identity(&args)?;
    let _underlay = args.member.ready_underlay().await?;
    let dialer = args.member.dialer()?.avoiding(args.tap_name.clone());
    let tap = prepare::tap(&args, identity.mac())?;
    info!("lanparty client connecting to relay {} for room {}", args.member.relay, args.member.room);
    let mut client = Client::new(args, identity, identity_file, dialer, tap)?;
    let mut status = StatusSocket::open("client");
    let outcome = client.serve(&mut status).await;
    client.end().await;
    outcome
}

struct Client {
    args: ClientArgs,
    session: Session<Tap>,
    identity_file: StateFile,
    diagnostics: Diagnostics,
    dhcp: Option<DhcpClient>,
    lan_mtu: Option<LanMtu>,
    addresses: Vec<Ipv4Addr>,
    mac: lanparty_proto::MacAddr,
}

impl Client {
    fn new(args: ClientArgs, identity: Identity, identity_file: StateFile, dialer: lanparty_node::Dialer, tap: Tap) -> Result<Self, Fault> {
        let device = AsyncDevice::new(tap).map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot watch the TAP: {e}"), ""))?;
        let mac = identity.mac();
        let request = JoinRequest {
            role: Role::Client,
            room: args.member.room.clone(),
            mac,
            software: software("lanparty-client"),
            lan_up: true,
            resume: None,
        };
        let driver = MemberDriver::new(Role::Client, args.tap_name.clone(), Some(device));
        let session = Session::start(driver, dialer, Arc::new(identity), request, args.member.patience());
        Ok(Self { args, session, identity_file, diagnostics: Diagnostics::default(), dhcp: None, lan_mtu: None, addresses: vec![], mac })
    }

    async fn serve(&mut self, status: &mut StatusSocket) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut shutdown = std::pin::pin!(shutdown_requested());
        loop {
            tokio::select! {
                event = self.session.next_event() => self.handle(event).await?,
                _ = look.tick() => self.look(),
                request = status.next() => self.answer(request).await,
                words = dhcp_ended(&mut self.dhcp) => {
                    warn!("{words}; starting it again");
                    // The old one's files have the new one's names.
                    self.dhcp = None;
                    self.dhcp = Some(DhcpClient::start(&self.args.tap_name)?);
                }
                reason = &mut shutdown => {
                    info!("lanparty client ending: {}", reason.unwrap_or("signals cannot be watched"));
                    return Ok(());
                }
            }
        }
    }

    async fn handle(&mut self, event: SessionEvent) -> Result<(), Fault> {
        match event {
            SessionEvent::Joined { again } => self.joined(again).await?,
            SessionEvent::Left => self.look(),
            SessionEvent::Control(message) => self.control(&message),
            SessionEvent::Failed(fault) => return Err(fault),
            SessionEvent::DeviceFailed(e) => {
                return Err(Fault::new(
                    ExitCode::Unexpected,
                    format!("the TAP {} failed: {e}", self.args.tap_name),
                    "start the client again",
                ));
            }
        }
        Ok(())
    }

    async fn joined(&mut self, again: bool) -> Result<(), Fault> {
        let Some(roster) = self.session.roster() else { return Ok(()) };
        let (peer, mtu, others) = (roster.own().id, roster.lan_mtu(), roster.members().count());
        info!(room = %self.args.member.room, lan_mtu = %mtu, others, again, "lanparty client connected as peer {peer}");
        self.set_mtu(mtu);
        if !again {
            self.bring_up().await?;
        }
        self.look();
        Ok(())
    }

    /// The cable is plugged in when there is something at its other end.
    async fn bring_up(&mut self) -> Result<(), Fault> {
        let name = self.args.tap_name.clone();
        let failed = |e: std::io::Error| {
            Fault::new(ExitCode::Permission, format!("cannot bring {name} up: {e}"), "run as root, or grant CAP_NET_ADMIN")
        };
        let index = {
            let Some(device) = self.session.driver.device() else { return Ok(()) };
            let tap = device.device();
            tap.set_up(true).map_err(&failed)?;
            tap.set_carrier(true).map_err(&failed)?;
            tap.index().map_err(&failed)?
        };
        info!(interface = %name, mac = %self.mac, mtu = self.lan_mtu.map(LanMtu::bytes), "TAP is up");
        if !self.args.no_game_discovery {
            match discovery::route_discovery(index).await {
                Ok(()) => info!("game discovery: limited broadcast and multicast leave by {name}"),
                Err(e) => warn!("game discovery needs two routes that could not be set ({e}); a server may have to be joined by address"),
            }
        }
        if let Some(script) = &self.args.up {
            run_script(script, &self.script_facts()).await;
        }
        if self.args.dhcp {
            self.dhcp = Some(DhcpClient::start(&name)?);
        }
        Ok(())
    }

    fn control(&mut self, message: &Control) {
        match message {
            Control::LanMtu { mtu, .. } => self.set_mtu(*mtu),
            Control::Notice { message } => warn!("{message}"),
            Control::MemberJoined { member } => info!("{} peer {} joined with MAC {}", member.role, member.id, member.mac),
            Control::MemberLeft { id, reason } => info!("peer {id} left: {reason}"),
            _ => {}
        }
        self.look();
    }

    fn set_mtu(&mut self, mtu: LanMtu) {
        if self.lan_mtu == Some(mtu) {
            return;
        }
        let name = self.args.tap_name.clone();
        let Some(device) = self.session.driver.device() else { return };
        match device.device().set_mtu(mtu) {
            Ok(()) => {
                info!(interface = %name, "LAN MTU is {mtu}");
                self.lan_mtu = Some(mtu);
            }
            Err(e) => error!(interface = %name, "cannot set the LAN MTU {mtu}: {e}; larger frames will be dropped as TapMtuExceeded"),
        }
    }

    /// Looks at the addresses, says what is new, and saves what a full disk kept back.
    fn look(&mut self) {
        self.addresses = ipv4_addresses(&self.args.tap_name);
        let facts = self.facts();
        for line in self.diagnostics.observe(&facts, Instant::now()) {
            info!("{line}");
        }
        if self.identity_file.retry() && self.identity_file.unsaved().is_none() {
            info!("the identity is saved now");
        }
    }

    fn facts(&self) -> ClientFacts {
        let gateway = self.session.roster().and_then(|r| r.gateway());
        ClientFacts {
            relay_reachable: self.session.roster().is_some(),
            gateway_connected: gateway.is_some(),
            lan_up: gateway.is_some_and(|g| g.lan_up),
            addresses: self.addresses.clone(),
            rtt: self.session.driver.link().and_then(lanparty_node::Link::rtt),
            broadcasts_sent: self.session.driver.outbound().flooded(),
            broadcasts_received: self.session.driver.inbound().lan_flooded(),
        }
    }

    fn script_facts(&self) -> ScriptFacts {
        let lan_mtu = self.lan_mtu.unwrap_or(LanMtu::MAX);
        ScriptFacts { interface: self.args.tap_name.clone(), mac: self.mac, lan_mtu, room: self.args.member.room.clone() }
    }

    async fn answer(&mut self, request: StatusRequest) {
        match request.ask() {
            Ask::Status => request.send(self.report()),
            Ask::Room => {
                let room = self.args.member.room.to_string();
                let has_lease = self.facts().address().is_some_and(|address| !address.is_link_local());
                self.session.driver.examine_room(room, Some(has_lease), request.answers()).await;
            }
            Ask::Ping(ask) => self.session.driver.ping(ask, request.answers()),
            Ask::BondTest(ask) => self.session.test_bond(ask, request.answers()),
        }
    }

    fn report(&mut self) -> Value {
        let facts = self.facts();
        let roster = self.session.roster();
        let members: Vec<_> = roster.map(|r| r.members().cloned().collect()).unwrap_or_default();
        let (peer, link) = (roster.map(|r| r.own().id), self.session.driver.link());
        let limited_by = roster.and_then(|r| r.limited_by());
        let (sent, lost) = link.map_or((0, 0), lanparty_node::Link::packets);
        let mut report = json!({
            "program": "lanparty-client",
            "version": env!("CARGO_PKG_VERSION"),
            "room": self.args.member.room, "relay": self.args.member.relay.to_string(), "relay_reachable": facts.relay_reachable,
            "peer": peer, "members": members, "gateway_connected": facts.gateway_connected, "lan_up": facts.lan_up,
            "interface": self.args.tap_name, "mac": self.mac, "lan_mtu": self.lan_mtu, "lan_mtu_limited_by": limited_by, "addresses": facts.addresses,
            "rtt_ms": facts.rtt.map(|r| r.as_secs_f64() * 1e3), "way": self.session.way(), "bond": self.session.bond(), "peers": self.session.driver.peer_reports(), "packets_sent": sent, "packets_lost": lost,
            "frames": self.session.driver.report(), "findings": self.session.driver.findings(),
        });
        if let Some(device) = self.session.driver.device() {
            report["device"] = json!(format!("{:?}", device.device_ref().stats()));
        }
        report
    }

    async fn end(&mut self) {
        self.dhcp = None;
        if let (Some(script), Some(_)) = (&self.args.down, self.lan_mtu) {
            run_script(script, &self.script_facts()).await;
        }
        self.session.end("the client is ending").await;
    }
}

async fn dhcp_ended(dhcp: &mut Option<DhcpClient>) -> String {
    match dhcp {
        Some(client) => client.ended().await,
        None => std::future::pending().await,
    }
}
