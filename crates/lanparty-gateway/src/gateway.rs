//! The life of a gateway: check, open, join, bridge, and leave nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{AnnounceReason, Announcer, Neighbours, SIGN_INTERVAL, SIGN_INTERVAL_WATCHED};
use lanparty_nic::{DeviceFault, LinkState, PacketSocket};
use lanparty_node::{
    AsyncDevice, DeviceLimit, Dialer, Event, ExitCode, Fault, Identity, JoinRequest, Management, MemberDriver, MemberEvents, Session,
    SessionEvent, StandbyLine, StateDir, StateFile, at_work, shutdown_requested, software, start_logging,
};
use lanparty_proto::{Control, GatewaySign, LAN_MTU_MAX, MacAddr, MemberInfo, Role};
use tracing::{debug, info, warn};

mod leases;
mod status;

use crate::dhcp::{DhcpServer, Input};
use crate::lan::{Lan, LanState};
use crate::standby::{Standing, Verdict};
use crate::{GatewayArgs, lan};

/// How often the LAN's cable is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const IDENTITY_FILE: &str = "lanparty-gateway-identity.json";

/// Runs a gateway until it is asked to end.
///
/// # Errors
/// A [`Fault`] in words for the operator.
pub async fn run(args: GatewayArgs) -> Result<(), Fault> {
    start_logging(args.member.log_format);
    args.member.busy_poll.start();
    let Lan { mac, mtu } = lan::check(&args.interface)?;
    say_what_it_carries(&args.interface, mtu);
    let filter = args.member.filtering.start()?;
    let _underlay = args.member.ready_underlay().await?;
    let carries = Carries::new(mtu);
    let dialer = args.member.dialer()?.on_device(carries.limit.clone());
    let (identity, identity_file) = load_identity(&args)?;
    info!("lanparty-gateway opening interface {} and connecting to relay {}", args.interface, args.member.relay);
    let socket = lan::open(&args.interface)?;
    info!(%mac, "lanparty-gateway opened AF_PACKET socket on {}", args.interface);
    let mut gateway = Gateway::new(args, mac, dialer, identity, identity_file, socket, carries)?;
    if let Some(rules) = &filter {
        gateway.session.driver.set_filter(rules);
    }
    let mut management =
        Management::open("gateway", &gateway.args.interface, &gateway.args.member.management, status::api(), gateway.events.events())?;
    let outcome = gateway.serve(&mut management).await;
    gateway.session.end("the gateway is ending").await;
    outcome
}

/// What a LAN does not carry, no member should send into it.
fn say_what_it_carries(interface: &str, mtu: u32) {
    if mtu < u32::from(LAN_MTU_MAX) {
        warn!(%interface, "{interface} carries packets of {mtu} bytes only (its MTU), so the room is asked to carry no larger ones; those of the LAN's own hosts that are larger may not reach it");
    }
}

fn load_identity(args: &GatewayArgs) -> Result<(Identity, StateFile), Fault> {
    let path = StateDir::locate(args.member.state_dir.clone()).file(IDENTITY_FILE);
    let (identity, file) = Identity::load_or_create(path.clone(), false)?;
    info!(file = %path.display(), identity = %identity.id(), "gateway identity");
    if let Some(why) = file.unsaved() {
        warn!(
            "the identity is not saved, so after a restart the relay may take this for a second gateway for a moment; trying again: {why}"
        );
    }
    Ok((identity, file))
}

/// The largest IP packet that the LAN's interface carries.
struct Carries {
    /// As it was seen last, in bytes.
    mtu: u32,
    /// What the room is asked for keeps to it.
    limit: DeviceLimit,
}

impl Carries {
    fn new(mtu: u32) -> Self {
        let limit = DeviceLimit::default();
        limit.set_mtu(mtu);
        Self { mtu, limit }
    }
}

struct Gateway {
    args: GatewayArgs,
    session: Session<PacketSocket>,
    identity_file: StateFile,
    announcer: Announcer,
    sign_due: Instant,
    /// How many others stand by behind this one.
    standbys: u16,
    standing: Standing,
    mac: MacAddr,
    lan: LanState,
    carries: Carries,
    events: MemberEvents,
    /// For machines on the LAN, when it was asked for.
    dhcp: Option<DhcpServer>,
    dhcp_due: Option<Instant>,
}

impl Gateway {
    fn new(
        args: GatewayArgs,
        mac: MacAddr,
        dialer: Dialer,
        identity: Identity,
        identity_file: StateFile,
        socket: PacketSocket,
        carries: Carries,
    ) -> Result<Self, Fault> {
        let lan = LanState { link: socket.link() };
        let device =
            AsyncDevice::new(socket).map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot watch {}: {e}", args.interface), ""))?;
        let dhcp = leases::server(&args, &identity);
        let request = JoinRequest {
            role: Role::Gateway,
            room: args.member.room.clone(),
            mac,
            software: software("lanparty-gateway"),
            lan_up: lan.is_up(),
            resume: None,
            addresses: leases::request(&args, dhcp.as_ref()),
        };
        let mut driver = MemberDriver::new(Role::Gateway, args.interface.clone(), Some(device));
        if args.no_mtu_rewrite {
            driver.keep_told_mtu();
        }
        driver.limit_multicast(args.member.multicast);
        driver.watch_lan(Neighbours::new(sign_of(&identity)));
        if let Some(server) = &dhcp {
            driver.open_desk(server.mac());
        }
        let line = StandbyLine::default();
        if args.join_lans {
            line.join_lans();
        }
        let dialer = dialer.standing_by(line.clone());
        let session = Session::start(driver, dialer, Arc::new(identity), request, args.member.patience());
        let (announcer, sign_due, standing) = (Announcer::default(), Instant::now(), Standing::new(line, args.join_lans));
        let events = MemberEvents::new(&args.member.room);
        let dhcp_due = dhcp.as_ref().map(|_| Instant::now());
        Ok(Self { args, session, identity_file, announcer, sign_due, standbys: 0, standing, mac, lan, carries, events, dhcp, dhcp_due })
    }

    async fn serve(&mut self, management: &mut Management) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut shutdown = std::pin::pin!(shutdown_requested());
        loop {
            let due = self.announcer.next_due();
            tokio::select! {
                // A frame that comes alone waits for no look at anything else. All else has its turn when there is none.
                biased;
                event = next_event(&mut self.session, self.standing.listens()) => self.handle(event).await?,
                () = until(due) => self.announce(),
                () = until(Some(self.sign_due)) => self.give_sign(),
                () = until(self.dhcp_due) => self.drive_dhcp().await,
                _ = look.tick() => {
                    self.look().await;
                    self.look_at_others()?;
                    self.events.look(&self.session);
                }
                request = management.next() => self.answer(request).await,
                reason = &mut shutdown => {
                    let reason = reason.unwrap_or("signals cannot be watched");
                    info!("lanparty-gateway ending: {reason}");
                    self.events.events().tell(Event::Ending { reason: reason.to_owned() });
                    return Ok(());
                }
            }
        }
    }

    async fn handle(&mut self, event: SessionEvent) -> Result<(), Fault> {
        self.events.tell(&event, &self.session);
        match event {
            SessionEvent::Joined { again } => {
                self.joined(again);
                self.dhcp_joined().await;
            }
            SessionEvent::Left => {
                self.announcer.clear();
                self.dhcp_input(Input::Left).await;
            }
            SessionEvent::Control(message) => {
                self.control(&message);
                self.dhcp_control(&message).await;
            }
            SessionEvent::Desk(frames) => self.at_desk(&frames).await,
            // It has none.
            SessionEvent::Address(_) => {}
            SessionEvent::Failed(fault) if self.session.is_second_gateway() => {
                info!("{}; listening on {} for its sign, to stand by behind it", fault.cause, self.args.interface);
                at_work(self.args.member.rights(), &format!("standing by on {}", self.args.interface));
                self.standing.listen(fault, Instant::now());
            }
            SessionEvent::Failed(fault) => return Err(fault),
            // The cable's state is looked at four times a second; the socket is opened again then.
            SessionEvent::DeviceFailed(e) if DeviceFault::of(&e).is_some() => debug!("{}: {e}", self.args.interface),
            SessionEvent::DeviceFailed(e) => warn!("interface {} failed: {e}; opening it again", self.args.interface),
        }
        Ok(())
    }

    fn joined(&mut self, again: bool) {
        let Some(roster) = self.session.roster() else { return };
        let (peer, mtu) = (roster.own().id, roster.lan_mtu());
        info!(room = %self.args.member.room, lan_mtu = %mtu, again, "lanparty-gateway connected as peer {peer}");
        info!("lanparty-gateway bridging frames; press Ctrl-C to stop");
        at_work(self.args.member.rights(), &format!("bridging {} into room {}", self.args.interface, self.args.member.room));
        self.warn_of_others();
        (self.standbys, self.sign_due) = (0, Instant::now());
        for member in roster.members().cloned().collect::<Vec<_>>() {
            self.member_joined(&member);
        }
        self.announce();
    }

    fn control(&mut self, message: &Control) {
        match message {
            Control::MemberJoined { member } => {
                self.member_joined(member);
                self.announce();
            }
            Control::MemberLeft { id, reason } => {
                if self.announcer.left(*id) {
                    info!("gateway control event: client peer {id} left: {reason}");
                } else {
                    info!("gateway control event: gateway peer {id} left: {reason}");
                    self.announcer.all_due(AnnounceReason::GatewayLeft, Instant::now());
                    self.announce();
                }
            }
            Control::LanMtu { mtu, limited_by } => info!(limited_by = limited_by.map(|id| id.0), "LAN MTU is {mtu}"),
            Control::Notice { message } => warn!("{message}"),
            Control::Standbys { count } => {
                info!("{count} other gateways on this LAN stand by behind this one");
                (self.standbys, self.sign_due) = (*count, Instant::now());
            }
            _ => {}
        }
    }

    fn member_joined(&mut self, member: &MemberInfo) {
        if member.role == Role::Client {
            info!("gateway control event: client peer {} joined with MAC {}", member.id, member.mac);
            self.announcer.joined(member.id, member.mac, Instant::now());
        }
    }

    /// Sends what is due from the members' MAC addresses into the LAN, so that its switches learn this port.
    fn announce(&mut self) {
        while let Some(announcement) = self.announcer.poll(Instant::now()) {
            let Some(device) = self.session.driver.device() else { return };
            let frame = Bytes::from(announcement.frame());
            let (peer_id, mac, reason) = (announcement.member, announcement.mac, announcement.reason.as_str());
            let written = device.send(&[frame]);
            let interface = &self.args.interface;
            match (lan::why_unsent(&written), &written.failed) {
                (None, _) => info!(%interface, %peer_id, %mac, %reason, "gateway CAM refresh"),
                (Some(why), None) => warn!(%interface, %peer_id, %mac, "gateway CAM refresh not sent: {why}"),
                // Down or gone: the cable's state is said elsewhere.
                (Some(why), Some(_)) => debug!(%interface, %peer_id, "gateway CAM refresh not sent: {why}"),
            }
        }
    }

    /// Tells other gateways on this LAN that there is one already.
    fn give_sign(&mut self) {
        self.sign_due = Instant::now() + if self.standbys > 0 { SIGN_INTERVAL_WATCHED } else { SIGN_INTERVAL };
        // One that stands by, or is out of the room, bridges nothing.
        if self.session.roster().is_none() {
            return;
        }
        let sign = self.session.driver.neighbours().map(|neighbours| Bytes::from(neighbours.sign(self.mac)));
        if let (Some(sign), Some(device)) = (sign, self.session.driver.device()) {
            // A busy or failing interface is noticed elsewhere; the next sign comes soon.
            let _ = device.send(&[sign]);
        }
    }

    /// Looks at the cable; says, tells the room and resumes when it changed; saves what a full disk kept back.
    async fn look(&mut self) {
        let open = self.session.driver.device().map(|d| d.device_ref());
        let (lan, reopened) = lan::look(&self.args.interface, open);
        if let Some(device) = reopened {
            info!(interface = %self.args.interface, "lanparty-gateway opened AF_PACKET socket on {}", self.args.interface);
            self.session.driver.set_device(Some(device));
        } else if lan.link == LinkState::Gone {
            self.session.driver.set_device(None);
        }
        if lan != self.lan {
            self.lan_changed(lan).await;
        }
        self.look_at_mtu();
        if self.identity_file.retry() && self.identity_file.unsaved().is_none() {
            info!("the identity is saved now");
        }
    }

    /// What other gateways on this LAN mean to one that may not enter, or stands by.
    fn look_at_others(&mut self) -> Result<(), Fault> {
        let Some(neighbours) = self.session.driver.neighbours() else { return Ok(()) };
        match self.standing.look(neighbours, self.session.roster().is_some(), self.lan.is_up(), Instant::now()) {
            Verdict::Nothing => Ok(()),
            Verdict::StandsBy(behind) => {
                info!(
                    room = %self.args.member.room,
                    "standing by behind peer {} at {}, which bridges this LAN: taking over when it is gone or has lost its LAN",
                    behind.member, behind.mac
                );
                Ok(())
            }
            Verdict::GivesUp(fault) => Err(fault),
        }
    }

    /// Says which other gateways bridge this LAN for other rooms, those heard before this one was in its own.
    fn warn_of_others(&self) {
        let all = self.session.driver.neighbours().map(|neighbours| neighbours.gateways(Instant::now())).unwrap_or_default();
        for other in all.into_iter().filter(|mac| !self.standing.has_stood_behind(*mac)) {
            lanparty_node::warn_of_gateway(other);
        }
    }

    /// Follows the interface's MTU, and so does the room: what it promised more is refused here until then.
    fn look_at_mtu(&mut self) {
        let seen = self.session.driver.device().and_then(|device| device.device_ref().mtu());
        let Some(mtu) = seen.filter(|mtu| *mtu != self.carries.mtu) else { return };
        self.carries.mtu = mtu;
        self.carries.limit.set_mtu(mtu);
        let (interface, room) = (&self.args.interface, self.session.roster().map(|roster| roster.lan_mtu().bytes()));
        match room.filter(|room| mtu < u32::from(*room)) {
            Some(room) => warn!(
                %interface,
                "{interface} carries packets of {mtu} bytes only now (its MTU), and the room promises {room}: it is asked for less, and until it follows larger ones toward the LAN are dropped as DeviceError"
            ),
            None => info!(%interface, "{interface} carries packets of {mtu} bytes now (its MTU)"),
        }
    }

    async fn lan_changed(&mut self, lan: LanState) {
        let was_up = self.lan.is_up();
        self.lan = lan;
        if lan.is_up() {
            info!(interface = %self.args.interface, "interface {} is up again; bridging resumes", self.args.interface);
            self.announcer.all_due(AnnounceReason::LanReturned, Instant::now());
            self.announce();
            self.dhcp_input(Input::LanReturned).await;
        } else {
            warn!(interface = %self.args.interface, "interface {} is {}; staying joined, bridging resumes when it is back", self.args.interface, lan.in_words());
        }
        if was_up != lan.is_up() {
            self.events.events().tell(Event::LanState { room: self.args.member.room.to_string(), id: None, up: lan.is_up() });
            self.session.set_lan_state(lan.is_up()).await;
        }
    }
}

/// Tells this gateway from others.
fn sign_of(identity: &Identity) -> GatewaySign {
    let mut gateway = [0; 8];
    for (to, from) in gateway.iter_mut().zip(identity.id().0) {
        *to = from;
    }
    GatewaySign { gateway }
}

/// Who listens for another gateway's sign joins no room meanwhile.
async fn next_event(session: &mut Session<PacketSocket>, listens: bool) -> SessionEvent {
    if listens { session.watch_device().await } else { session.next_event().await }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
