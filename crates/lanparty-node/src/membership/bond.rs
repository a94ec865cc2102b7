//! A membership over several uplinks: the first that reaches the relay joins, the others attach themselves, and each is kept.
//!
//! No uplink is first among equals: whichever answers first says hello, and from then on they are the same. Every uplink has a keeper of
//! its own that dials for ever, at once when the system says that something has changed.

mod steward;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanparty_core::Redundancy;
use lanparty_proto::{Attach, BondPath, CableAttach, Control, DatagramBudget, PROTOCOL_VERSION, Refusal, RoomCode, SEQUENCE_LEN};
use lanparty_quic::ConnectionError;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{Dialer, JoinError, JoinRequest, Joined, Transport, settled_budget, words};
use crate::bond::{Captures, PlannedUplinks, Shared, UplinkPlan, Wanted, has_lost_carrier, is_connected, news, obstacle, place_toward};
use crate::cable::CableDial;
use crate::endpoint::dial_endpoint;
use crate::{
    BOND_PATHS_MAX, BondLink, BondPathUp, DeviceLimit, ExitCode, Fault, Identity, Link, LinkEnded, RelayAddress, RelayTrust, Sizing,
    StreamTarget, StreamWay, UseBook, dial_stream,
};
pub(crate) use steward::{Routes, Source, Steward};

/// Time for one attempt, and between the beginnings of two: one that begins amid an outage speaks rarely later on.
const ATTEMPT_MAX: Duration = Duration::from_secs(4);
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(300);
/// UDP that has not answered for so long on an uplink may be blocked there: a stream is tried beside it.
const STREAM_AFTER: Duration = Duration::from_millis(1500);
/// Time for the relay to take a path.
const ATTACH_MAX: Duration = Duration::from_secs(3);
/// Pause before an uplink is dialled again, and the longest while it is away for long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// How often an uplink is looked at when the system says nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often an uplink's carrier is looked at: one read of one small file.
pub(crate) const CARRIER_LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// A path by a stream is replaced by QUIC when that works again: asked this often.
const CLIMB_INTERVAL: Duration = Duration::from_secs(30);

/// How several uplinks are used.
#[derive(Clone, Debug, Default)]
pub struct BondPlan {
    /// The uplinks.
    pub uplinks: PlannedUplinks,
    /// Every interface with a default route is one.
    pub is_automatic: bool,
    /// What goes by two of them at once.
    pub redundancy: Redundancy,
    /// What each has carried, when that is counted.
    pub book: Option<Arc<UseBook>>,
    /// Where what its paths carry is written down.
    pub captures: Captures,
}

/// What keepers dial.
#[derive(Clone)]
pub(crate) enum Target {
    /// A membership's relay.
    Relay(Dial),
    /// The other end of a cable.
    Cable(CableDial),
}

impl Target {
    async fn by(&self, uplink: &Uplink) -> Result<Link, JoinError> {
        match self {
            Self::Relay(dial) => dial.by(uplink).await.map(|(link, _)| link),
            Self::Cable(dial) => dial.by(uplink).await.map(|(link, _)| link),
        }
    }

    fn book(&self) -> Option<&Arc<UseBook>> {
        match self {
            Self::Relay(dial) => dial.book.as_ref(),
            Self::Cable(dial) => dial.book.as_ref(),
        }
    }

    /// The first message on a further connection.
    fn attach(&self, bond: BondPath, budget: DatagramBudget, heard: u32) -> Control {
        let version = PROTOCOL_VERSION;
        match self {
            Self::Relay(dial) => Control::Attach(Attach { version, room: dial.room.clone(), run: dial.run, bond, budget, heard }),
            Self::Cable(dial) => Control::CableAttach(CableAttach { version, run: dial.run, bond, heard }),
        }
    }
}

/// Everything that a keeper needs to reach a relay.
#[derive(Clone)]
pub(crate) struct Dial {
    relay: RelayAddress,
    stream_relay: RelayAddress,
    server_name: String,
    trust: RelayTrust,
    identity: Arc<Identity>,
    sizing: Sizing,
    device_limit: DeviceLimit,
    transport: Transport,
    room: RoomCode,
    run: u64,
    book: Option<Arc<UseBook>>,
}

/// One uplink of a bond.
#[derive(Clone)]
pub(crate) struct Uplink {
    pub(crate) path: BondPath,
    pub(crate) interface: String,
    pub(crate) plan: UplinkPlan,
}

impl Uplink {
    pub(crate) fn new(path: u8, plan: &UplinkPlan) -> Option<Self> {
        let bond = BondPath { path, role: plan.role?, rate: plan.rate.map(|(_, down)| down) };
        Some(Self { path: bond, interface: plan.interface.clone(), plan: plan.clone() })
    }
}

impl Dialer {
    /// The uplinks that are named, and whether others are found by themselves; nothing with one way only.
    pub(crate) fn planned_uplinks(&self) -> Option<(PlannedUplinks, bool)> {
        self.bond.as_ref().map(|plan| (plan.uplinks.clone(), plan.is_automatic))
    }

    /// Uses several uplinks.
    #[must_use]
    pub fn bonded(mut self, plan: Option<BondPlan>) -> Self {
        self.bond = plan;
        self
    }

    /// Joins by the first uplink that reaches the relay, and keeps all of them.
    pub(super) async fn join_bonded(
        &mut self,
        plan: BondPlan,
        identity: &Arc<Identity>,
        request: &JoinRequest,
    ) -> Result<Joined, JoinError> {
        let dial = self.dial(identity, request, plan.book.clone());
        let (uplinks, (link, remote), first) = self.first_to_reach(&plan, &dial).await?;
        let path = first.path_now(dial.book.as_deref());
        let told_budget = numbered(settled_budget(&link).await);
        let hello = self.hello(request, told_budget, Some(path))?;
        let asked = super::ask(&link, Control::Hello(hello), &self.standby).await.inspect_err(|_| link.close("could not join"));
        self.standby.set_behind(None);
        let asked = asked?;
        let told_lan_up = request.lan_up;
        if !asked.welcome.bond {
            warn!("this relay is older and knows no bonds: only {} is used, and no cap is counted", first.interface);
            let (control_in, control_out) = asked.control;
            return Ok(Joined { link, control_in, control_out, welcome: asked.welcome, remote, told_budget, told_lan_up, trouble: None });
        }
        let up = BondPathUp { bond: path, name: first.interface.clone(), link, control: asked.control, heard: 0, pair: None };
        let bond = BondLink::start(up, plan.redundancy, asked.heard, plan.captures.clone());
        let named = (0..).zip(plan.uplinks.now()).take(BOND_PATHS_MAX).map(|(n, plan)| (n, wanted(&plan)));
        bond.shared_arc().want(named.chain(uplinks.iter().map(|uplink| (uplink.path.path, wanted(&uplink.plan)))).collect());
        let routes = plan.is_automatic.then(|| Routes { own: self.own_interface.clone() });
        self.steward = Some(Steward::new(Target::Relay(dial), bond.shared_arc(), news(), Source::of(&plan, routes)).start(uplinks));
        let (control_in, control_out) = bond.control();
        let link = Link::bonded(bond);
        Ok(Joined { link, control_in, control_out, welcome: asked.welcome, remote, told_budget, told_lan_up, trouble: None })
    }

    /// The uplinks, and the first of them that reaches the relay. When others get a default route meanwhile, it is tried by them as well.
    async fn first_to_reach(&self, plan: &BondPlan, dial: &Dial) -> Result<(Vec<Uplink>, Reached, Uplink), JoinError> {
        let mut news = news();
        loop {
            let plans = self.uplink_plans(plan).await?;
            let uplinks: Vec<Uplink> = (0..).zip(&plans).take(BOND_PATHS_MAX).filter_map(|(n, plan)| Uplink::new(n, plan)).collect();
            let changed = async {
                loop {
                    tokio::select! {
                        // Without news only looking tells.
                        Ok(()) = news.changed() => {}
                        () = tokio::time::sleep(LOOK_INTERVAL) => {}
                    }
                    if plan.is_automatic && self.uplink_plans(plan).await.is_ok_and(|now| now != plans) {
                        return;
                    }
                }
            };
            tokio::select! {
                reached = dial.any(&uplinks) => {
                    let (reached, first) = reached?;
                    return Ok((uplinks, reached, first));
                }
                () = changed => {}
            }
        }
    }

    /// The uplinks that are named, or every interface that leads out.
    async fn uplink_plans(&self, plan: &BondPlan) -> Result<Vec<UplinkPlan>, JoinError> {
        let own = self.own_interface.as_deref();
        let unusable = |cause: String, advice| JoinError::Final(Fault::new(ExitCode::Configuration, cause, advice));
        if plan.is_automatic {
            let found = Routes { own: own.map(str::to_owned) }.interfaces().await.unwrap_or_default();
            if found.is_empty() {
                let cause = "no interface of this machine has a default route, so --bond finds no uplink";
                let advice = "connect one, or name uplinks with --uplink; they are used as soon as they are there";
                return Err(JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, advice)));
            }
            return Ok(found.into_iter().map(UplinkPlan::plain).collect());
        }
        let uplinks = plan.uplinks.now();
        if let Some(tunnel) = uplinks.iter().find(|uplink| Some(uplink.interface.as_str()) == own) {
            let cause = format!("--uplink {} is the tunnel's own interface", tunnel.interface);
            return Err(unusable(cause, "name the interfaces that lead to the internet: ip route show default"));
        }
        let is_there = |uplink: &&UplinkPlan| lanparty_nic::interface_facts(&uplink.interface).is_ok_and(|facts| facts.exists);
        if !uplinks.iter().any(|uplink| is_there(&uplink)) {
            let missing: Vec<_> = uplinks.iter().filter_map(|uplink| obstacle(&uplink.interface)).collect();
            return Err(unusable(missing.join("; "), "check the names after --uplink"));
        }
        Ok(uplinks)
    }

    fn dial(&self, identity: &Arc<Identity>, request: &JoinRequest, book: Option<Arc<UseBook>>) -> Dial {
        Dial {
            relay: self.relay.clone(),
            stream_relay: self.stream_relay.clone().unwrap_or_else(|| self.relay.clone()),
            server_name: self.server_name.clone(),
            trust: self.trust.clone(),
            identity: Arc::clone(identity),
            sizing: self.sizing,
            device_limit: self.device_limit.clone(),
            transport: self.transport,
            room: request.room.clone(),
            run: self.run,
            book,
        }
    }
}

type Reached = (Link, SocketAddr);

/// What no other try would change is said alone.
fn by_neither(quic: JoinError, stream: JoinError) -> JoinError {
    match (quic, stream) {
        (quic @ JoinError::Unreachable(_), stream @ JoinError::Unreachable(_)) => words::neither(quic, stream),
        (JoinError::Unreachable(_), stream) => stream,
        (quic, _) => quic,
    }
}

impl Dial {
    /// The first uplink that reaches the relay.
    async fn any(&self, uplinks: &[Uplink]) -> Result<(Reached, Uplink), JoinError> {
        let tries: FuturesUnordered<_> = uplinks.iter().map(|uplink| async move { (self.by(uplink).await, uplink) }).collect();
        let mut tries = std::pin::pin!(tries);
        let mut last = None;
        while let Some((tried, uplink)) = tries.next().await {
            match tried {
                Ok(reached) => return Ok((reached, uplink.clone())),
                Err(error @ JoinError::Final(_)) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| no_uplink("none is named that may be used")))
    }

    /// A connection by this uplink: QUIC where that answers, else a stream.
    async fn by(&self, uplink: &Uplink) -> Result<Reached, JoinError> {
        let addresses = self.relay.resolve().await.map_err(JoinError::Unreachable)?;
        let remotes: Vec<SocketAddr> = addresses.into_iter().filter(|remote| place_toward(*remote, &uplink.interface).is_some()).collect();
        if remotes.is_empty() {
            return Err(self.no_way(uplink));
        }
        let quic = self.by_quic(uplink, &remotes);
        let stream = async {
            if self.transport == Transport::Auto {
                tokio::time::sleep(STREAM_AFTER).await;
            }
            self.by_stream(uplink, &remotes).await
        };
        match self.transport {
            Transport::Quic => quic.await,
            Transport::Stream => stream.await,
            Transport::Auto => {
                let (mut quic, mut stream) = (std::pin::pin!(quic), std::pin::pin!(stream));
                tokio::select! {
                    outcome = &mut quic => match outcome {
                        Err(error @ JoinError::Unreachable(_)) => stream.await.map_err(|stream| by_neither(error, stream)),
                        outcome => outcome,
                    },
                    outcome = &mut stream => match outcome {
                        Ok(reached) => Ok(reached),
                        Err(stream) => quic.await.map_err(|error| by_neither(error, stream)),
                    },
                }
            }
        }
    }

    /// Attempts that overlap, each to every address in turn of the first answer.
    async fn by_quic(&self, uplink: &Uplink, remotes: &[SocketAddr]) -> Result<Reached, JoinError> {
        let mut attempts = FuturesUnordered::new();
        let mut next = tokio::time::interval(ATTEMPT_INTERVAL);
        let until = tokio::time::sleep(ATTEMPT_MAX);
        let mut until = std::pin::pin!(until);
        let mut turn = remotes.iter().cycle();
        loop {
            tokio::select! {
                _ = next.tick() => {
                    if let Some(remote) = turn.next() {
                        attempts.push(self.attempt(uplink, *remote));
                    }
                }
                Some(outcome) = attempts.next(), if !attempts.is_empty() => match outcome {
                    Ok(reached) => return Ok(reached),
                    Err(error @ JoinError::Final(_)) => return Err(error),
                    // A refusal on the way is no reason to hurry.
                    Err(error) => debug!(uplink = %uplink.interface, "no answer: {}", error.into_fault().cause),
                },
                () = &mut until => {
                    let remote = remotes.first().copied().map_or_else(String::new, |remote| remote.to_string());
                    let cause = format!("{} by {}", words::does_not_answer(&remote), uplink.interface);
                    return Err(JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, words::REACH_ADVICE)));
                }
            }
        }
    }

    async fn attempt(&self, uplink: &Uplink, remote: SocketAddr) -> Result<Reached, JoinError> {
        let unusable = |e: &dyn std::fmt::Display| {
            JoinError::Unreachable(Fault::new(ExitCode::Unexpected, format!("no connection by {}: {e}", uplink.interface), ""))
        };
        let tls = self.trust.config(&self.identity).map_err(|e| unusable(&e))?;
        let endpoint =
            dial_endpoint(remote, Some(&uplink.interface), tls, self.sizing, uplink.plan.congestion).map_err(JoinError::Unreachable)?;
        let connecting = endpoint.connect(remote, &self.server_name).map_err(|e| unusable(&e))?;
        let outcome = tokio::time::timeout(ATTEMPT_MAX, connecting).await.unwrap_or(Err(ConnectionError::TimedOut));
        let connection = outcome.map_err(|e| words::handshake(&self.server_name, &self.trust, remote, &e))?;
        let link = Link::new(connection).dialled_from(endpoint);
        Ok((link.limited_to(self.sizing.budget_max, self.device_limit.clone()), remote))
    }

    async fn by_stream(&self, uplink: &Uplink, remotes: &[SocketAddr]) -> Result<Reached, JoinError> {
        let mut last = None;
        for remote in remotes {
            let way = StreamWay::Direct((remote.ip(), self.stream_relay.port()).into());
            let (relay, server_name) = (self.stream_relay.clone(), self.server_name.clone());
            let target = StreamTarget { relay, way, server_name, uplink: Some(uplink.interface.clone()) };
            match dial_stream(&target, &self.trust, &self.identity).await {
                Ok(stream) => {
                    let link = Link::over(stream).limited_to(self.sizing.budget_max, self.device_limit.clone());
                    return Ok((link, *remote));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.no_way(uplink)))
    }

    fn no_way(&self, uplink: &Uplink) -> JoinError {
        let name = &uplink.interface;
        no_uplink(&obstacle(name).unwrap_or_else(|| format!("{name} has no address and route toward the relay")))
    }
}

/// What status says of an uplink.
pub(crate) fn wanted(plan: &UplinkPlan) -> Wanted {
    Wanted { name: plan.interface.clone(), role: plan.role, cap: plan.cap, trouble: None }
}

/// Resolves when an interface has no carrier. The kernel's own news of it may be a second late (its link watch is rate-limited).
pub(crate) async fn lost_carrier(interface: &str) {
    while !has_lost_carrier(interface) {
        tokio::time::sleep(CARRIER_LOOK_INTERVAL).await;
    }
}

/// What is left of a datagram behind its place in the order.
pub(crate) const fn numbered(budget: DatagramBudget) -> DatagramBudget {
    DatagramBudget(budget.0.saturating_sub(SEQUENCE_LEN as u16))
}

const NO_UPLINK: &str = "no uplink leads to the relay: ";

fn no_uplink(why: &str) -> JoinError {
    let cause = format!("{NO_UPLINK}{why}");
    JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, "check the interfaces named with --uplink: ip -brief address; ip route"))
}

/// Keeps one uplink in the bond.
struct Keeper {
    dial: Target,
    uplink: Uplink,
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    pause: Duration,
}

/// Why a keeper stops.
enum Stop {
    /// The bond is over.
    Ended,
}

impl Keeper {
    async fn keep(mut self) {
        let (number, mut since) = (self.uplink.path.path, Instant::now());
        loop {
            if self.shared.not_ended().is_err() {
                return;
            }
            if self.shared.path_state(number) == Some(true) {
                if since.elapsed() >= PAUSE_LONGEST {
                    self.pause = PAUSE_FIRST;
                }
                self.attend().await;
                continue;
            }
            since = Instant::now();
            if self.shared.is_muted(number) {
                // Its line is there, and a test is not interested in another connection.
                let _ = tokio::time::timeout(PAUSE_LONGEST, self.shared.path_revives(number)).await;
                continue;
            }
            match self.dial_again().await {
                Ok(()) => {}
                Err(Stop::Ended) => return,
            }
        }
    }

    /// Watches a path that lives until it fails; says so at once when the system does.
    async fn attend(&mut self) {
        let number = self.uplink.path.path;
        let place = self.place();
        let stream_since = Instant::now();
        // What the other side was told is what comes this way.
        self.shared.limit(number, self.uplink.plan.rate.map(|(up, _)| up));
        loop {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                () = shared.path_fails(number) => return,
                Ok(()) = self.news.changed() => {}
                () = lost_carrier(&self.uplink.interface) => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let now = self.place();
            if now.is_none() {
                return self.shared.path_is_down(number);
            }
            if now != place || (self.shared.is_stream(number) && stream_since.elapsed() >= CLIMB_INTERVAL) {
                // The old connection carries on until the new one takes its place.
                match self.dial_again().await {
                    Ok(()) | Err(Stop::Ended) => return,
                }
            }
        }
    }

    fn place(&self) -> Option<std::net::IpAddr> {
        let remote = self.shared.remote_of(self.uplink.path.path)?;
        place_toward(remote, &self.uplink.interface).map(|place| place.address)
    }

    /// One try, and a pause when it failed.
    async fn dial_again(&mut self) -> Result<(), Stop> {
        if let Err(error) = self.bring().await {
            if matches!(error, JoinError::Final(_)) {
                debug!(uplink = %self.uplink.interface, "{error}");
            }
            let cause = error.into_fault().cause;
            self.shared.path_cannot(self.uplink.path.path, cause.strip_prefix(NO_UPLINK).unwrap_or(&cause).to_owned());
            if self.shared.not_ended().is_err() {
                return Err(Stop::Ended);
            }
            let pause = if is_connected(&self.uplink.interface) { self.pause } else { PAUSE_LONGEST };
            self.pause = (self.pause * 2).min(PAUSE_LONGEST);
            // Whichever comes first.
            let _ = tokio::time::timeout(pause, self.news.changed()).await;
        }
        Ok(())
    }

    /// Dials and attaches.
    async fn bring(&self) -> Result<(), JoinError> {
        let shared = Arc::clone(&self.shared);
        let number = self.uplink.path.path;
        let link = tokio::select! {
            reached = self.dial.by(&self.uplink) => reached?,
            // It answers again by itself: that is sooner than a new connection.
            () = shared.path_revives(number) => return Ok(()),
        };
        let outcome = tokio::time::timeout(ATTACH_MAX, self.attach(&link)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(LinkEnded { reason: "no answer to the attachment".into(), by_peer: false }));
        outcome.map_err(|ended| {
            link.close(&ended.reason);
            words::broke_off(ended)
        })
    }

    async fn attach(&self, link: &Link) -> Result<(), LinkEnded> {
        let budget = settled_budget(link).await;
        let (mut control_in, mut control_out) = link.open_control().await?;
        let bond = self.uplink.path_now(self.dial.book().map(Arc::as_ref));
        control_out.send(&self.dial.attach(bond, budget, self.shared.heard())).await?;
        let heard = match control_in.next().await? {
            Control::Attached { heard } => heard,
            Control::Refused { code, message } => {
                let ended = LinkEnded { reason: format!("the other side knows nothing to attach to any more: {message}"), by_peer: true };
                if code == Refusal::NotMoved {
                    self.shared.end(ended.clone());
                }
                return Err(ended);
            }
            _ => return Err(LinkEnded { reason: "the other side takes no further paths".into(), by_peer: true }),
        };
        let up = BondPathUp {
            bond,
            name: self.uplink.interface.clone(),
            link: link.clone(),
            control: (control_in, control_out),
            heard,
            pair: None,
        };
        self.shared.add(up)?;
        info!(uplink = %self.uplink.interface, budget = %budget, "the uplink is part of the bond");
        Ok(())
    }
}
