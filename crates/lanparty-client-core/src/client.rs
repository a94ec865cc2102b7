//! The life of a client: prepare, join, carry frames, say how it goes, leave nothing behind.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_core::{ClientFacts, Diagnostics, OwnAddresses};
use lanparty_nic::Device;
use lanparty_node::{
    AsyncDevice, Dialer, Event, ExitCode, Fault, FilterRules, Identity, JoinRequest, Link, Management, MemberDriver, MemberEvents,
    MemberFlags, Session, SessionEvent, StateFile, at_work, shutdown_requested, software,
};
use lanparty_proto::{Control, LanMtu, MacAddr, Role};
use tracing::{error, info, warn};

use crate::addressing::{AddressPlan, Addressing};
use crate::host::{Host, HostFacts, Joining};

mod addresses;
mod routes;
mod status;

/// How often addresses and diagnostics are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A client on some machine.
pub struct Client<H: Host> {
    member: MemberFlags,
    host: H,
    session: Session<H::Device>,
    identity_file: StateFile,
    diagnostics: Diagnostics,
    lan_mtu: Option<LanMtu>,
    known: HostFacts,
    mac: MacAddr,
    addressing: Addressing,
    routing: routes::Routing,
    events: MemberEvents,
}

impl<H: Host> Client<H> {
    /// A client with a prepared TAP, which begins to join; it wants the addresses of `plan`.
    ///
    /// # Errors
    /// When the TAP cannot be watched.
    pub fn new(
        member: MemberFlags,
        identity: Identity,
        identity_file: StateFile,
        dialer: Dialer,
        host: H,
        tap: H::Device,
        plan: AddressPlan,
    ) -> Result<Self, Fault> {
        let device = watched(tap)?;
        let mac = identity.mac();
        let request = JoinRequest {
            role: Role::Client,
            room: member.room.clone(),
            mac,
            software: software(host.software()),
            lan_up: true,
            resume: None,
            addresses: plan.request(None, &host.other_networks()),
        };
        info!("{} connecting to relay {} for room {}", host.program(), member.relay, member.room);
        let mut driver = MemberDriver::new(Role::Client, host.interface().to_owned(), Some(device));
        driver.limit_multicast(member.multicast);
        driver.speak_for(OwnAddresses::default());
        let session = Session::start(driver, dialer, Arc::new(identity), request, member.patience());
        let (diagnostics, known, addressing) = (Diagnostics::default(), HostFacts::default(), Addressing::new(plan));
        let events = MemberEvents::new(&member.room);
        Ok(Self {
            member,
            host,
            session,
            identity_file,
            diagnostics,
            lan_mtu: None,
            known,
            mac,
            addressing,
            routing: routes::Routing::default(),
            events,
        })
    }

    /// The same client, which lets through its device what these rules do.
    #[must_use]
    pub fn filtered(mut self, rules: Option<&Arc<FilterRules>>) -> Self {
        if let Some(rules) = rules {
            self.session.driver.set_filter(rules);
        }
        self
    }

    /// Lives until it is asked to end, and leaves nothing behind.
    ///
    /// # Errors
    /// A [`Fault`] in words for the player.
    pub async fn run(mut self) -> Result<(), Fault> {
        let mut management = Management::open(
            "client",
            self.host.interface(),
            &self.member.management,
            status::api(self.host.software()),
            self.events.events(),
        )?;
        let outcome = self.serve(&mut management).await;
        match &outcome {
            Ok(()) => tokio::select! {
                biased;
                () = self.host.fall_silent() => {}
                () = carry(&mut self.session) => {}
            },
            // Nobody in the room hears it any more.
            Err(_) => self.host.fall_silent().await,
        }
        self.remove_routes().await;
        self.remove_addresses().await;
        self.host.leave().await;
        self.session.end("the client is ending").await;
        outcome
    }

    async fn serve(&mut self, management: &mut Management) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut shutdown = std::pin::pin!(shutdown_requested());
        loop {
            tokio::select! {
                // A frame that comes alone waits for no look at anything else. All else has its turn when there is none.
                biased;
                event = self.session.next_event() => {
                    // To open the TAP anew may take a while, and whoever ends the client meanwhile does not wait for that.
                    let may_last = matches!(event, SessionEvent::DeviceFailed(_));
                    tokio::select! {
                        done = self.handle(event) => done?,
                        reason = &mut shutdown, if may_last => return self.ending(reason),
                    }
                }
                _ = look.tick() => {
                    self.look_at_addresses().await;
                    self.follow_routes().await;
                    self.look()?;
                    self.events.look(&self.session);
                }
                request = management.next() => self.answer(request).await,
                done = self.host.work() => done?,
                reason = &mut shutdown => return self.ending(reason),
            }
        }
    }

    fn ending(&self, reason: io::Result<&'static str>) -> Result<(), Fault> {
        let reason = reason.unwrap_or("signals cannot be watched");
        info!("{} ending: {reason}", self.host.program());
        self.events.events().tell(Event::Ending { reason: reason.to_owned() });
        Ok(())
    }

    async fn handle(&mut self, event: SessionEvent) -> Result<(), Fault> {
        self.events.tell(&event, &self.session);
        match event {
            SessionEvent::Joined { again } => self.joined(again).await?,
            SessionEvent::Left => {
                self.follow_routes().await;
                self.look()?;
            }
            SessionEvent::Control(Control::Addresses(assigned)) => self.use_assigned(assigned).await,
            SessionEvent::Control(message) => self.control(&message)?,
            SessionEvent::Address(news) => {
                self.address_news(news).await;
                self.look()?;
            }
            // It offers none.
            SessionEvent::Desk(_) => {}
            SessionEvent::Failed(fault) => return Err(fault),
            SessionEvent::DeviceFailed(e) => self.reopen(e).await?,
        }
        Ok(())
    }

    async fn joined(&mut self, again: bool) -> Result<(), Fault> {
        let Some(roster) = self.session.roster() else { return Ok(()) };
        let (peer, mtu, others) = (roster.own().id, roster.lan_mtu(), roster.members().count());
        info!(room = %self.member.room, lan_mtu = %mtu, others, again, "{} connected as peer {peer}", self.host.program());
        self.set_mtu(mtu);
        let at = Joining { remote: self.session.driver.link().and_then(Link::remote_address), lan_mtu: mtu };
        match self.session.driver.device() {
            Some(device) if !again => self.host.plug_in(device.device(), &at).await?,
            _ => self.host.joined_again(&at)?,
        }
        self.settle_addresses(again).await;
        self.follow_routes().await;
        if !again {
            at_work(self.member.rights(), &format!("in room {} as member {peer}, on {}", self.member.room, self.host.interface()));
        }
        self.look()
    }

    /// The adapter was restarted, or the machine slept.
    async fn reopen(&mut self, error: io::Error) -> Result<(), Fault> {
        let at =
            Joining { remote: self.session.driver.link().and_then(Link::remote_address), lan_mtu: self.lan_mtu.unwrap_or(LanMtu::MAX) };
        let device = watched(self.host.reopen(error, &at).await?)?;
        self.session.driver.set_device(Some(device));
        Ok(())
    }

    fn control(&mut self, message: &Control) -> Result<(), Fault> {
        match message {
            Control::LanMtu { mtu, .. } => self.set_mtu(*mtu),
            Control::Notice { message } => warn!("{message}"),
            Control::MemberJoined { member } => {
                info!("{} peer {} joined with MAC {}{}", member.role, member.id, member.mac, member.in_words());
            }
            Control::MemberLeft { id, reason } => info!("peer {id} left: {reason}"),
            _ => {}
        }
        self.look()
    }

    fn set_mtu(&mut self, mtu: LanMtu) {
        if self.lan_mtu == Some(mtu) {
            return;
        }
        let name = self.host.interface().to_owned();
        let Some(device) = self.session.driver.device() else { return };
        match self.host.set_mtu(device.device(), mtu) {
            Ok(()) => {
                info!(interface = %name, "LAN MTU is {mtu}");
                self.lan_mtu = Some(mtu);
            }
            Err(e) => error!(interface = %name, "cannot set the LAN MTU {mtu}: {e}; larger frames will be dropped as TapMtuExceeded"),
        }
    }

    /// Looks at the addresses, says what is new, and saves what a full disk kept back.
    fn look(&mut self) -> Result<(), Fault> {
        let before = std::mem::replace(&mut self.known, self.host.look()?);
        if before.addresses != self.known.addresses {
            let addresses = self.known.addresses.iter().map(ToString::to_string).collect();
            self.events.events().tell(Event::Addresses { addresses });
        }
        let facts = self.facts();
        for line in self.diagnostics.observe(&facts, Instant::now()) {
            info!("{line}");
        }
        if self.identity_file.retry() && self.identity_file.unsaved().is_none() {
            info!("the identity is saved now");
        }
        Ok(())
    }

    /// With `--address none` whoever made the interface, or works on it, sets its addresses.
    fn not_leased(&self) -> Vec<Ipv4Addr> {
        if self.addressing.plan == AddressPlan::default() { self.known.addresses.clone() } else { self.addressing.set_here() }
    }

    fn facts(&self) -> ClientFacts {
        let gateway = self.session.roster().and_then(|r| r.gateway());
        ClientFacts {
            relay_reachable: self.session.roster().is_some(),
            gateway_connected: gateway.is_some(),
            lan_up: gateway.is_some_and(|g| g.lan_up),
            addresses: self.known.addresses.clone(),
            not_leased: self.not_leased(),
            route_pinned: self.known.route_pinned,
            rtt: self.session.driver.link().and_then(Link::rtt),
            broadcasts_sent: self.session.driver.outbound().flooded(),
            broadcasts_received: self.session.driver.inbound().lan_flooded(),
        }
    }
}

/// Carries frames, and decides nothing any more.
async fn carry<D: Device>(session: &mut Session<D>) {
    while !matches!(session.next_event().await, SessionEvent::Failed(_)) {}
}

fn watched<D: Device>(tap: D) -> Result<AsyncDevice<D>, Fault> {
    AsyncDevice::new(tap).map_err(|e| Fault::new(ExitCode::Unexpected, format!("cannot watch the TAP: {e}"), ""))
}
