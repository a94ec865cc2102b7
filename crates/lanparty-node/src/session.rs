//! A membership that lasts: joins, carries frames, and after an outage joins again, as the same member.
//!
//! Client and gateway each own one and decide what its events mean to them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{AddressNews, Backoff, Carrier, Roster, Step, Ways};
use lanparty_nic::Device;
use lanparty_proto::{AddressRequest, AssignedAddresses, Control, DatagramBudget, Refusal};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::bond::{Course, refusal};
use crate::driver::{DriverEvent, MemberDriver, Side};
use crate::management::{Answers, BondTestAsk};
use crate::membership::words::advice;
use crate::membership::{Dialer, JoinError, JoinRequest, Joined, StandbyLine};
use crate::{BondReport, ExitCode, Fault, Identity, NotChanged, OpenedPort, PlannedUplinks, UplinkChange};

/// An outage is spoken of again after this long.
const REPEAT_WORDS_AFTER: Duration = Duration::from_secs(30);

/// What the owner of a session hears.
#[derive(Debug)]
pub enum SessionEvent {
    /// In the room, for the first time or again.
    Joined {
        /// Whether this process was in it before.
        again: bool,
    },
    /// Out of the room; joining again has begun.
    Left,
    /// The relay said something. The roster follows already.
    Control(Control),
    /// What became of an address of this machine.
    Address(AddressNews),
    /// What came for the service that the member offers.
    Desk(Vec<(Side, Bytes)>),
    /// The device is down or gone. Its frames are not read until a device is set.
    DeviceFailed(io::Error),
    /// There is no point in going on.
    Failed(Fault),
}

type JoinTask = JoinHandle<(Dialer, Result<Joined, JoinError>)>;

enum State {
    Waiting {
        until: Instant,
        dialer: Dialer,
    },
    Joining(JoinTask),
    Joined(Dialer),
    /// Joined, while a fresh connection is tried.
    Trying(JoinTask),
    /// Only while a transition is under way.
    Between,
}

/// Which way a membership takes to its relay, for `lanparty status`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct WayReport {
    /// What carries it.
    pub carrier: Carrier,
    /// For how long.
    pub seconds: u64,
    /// Why it is not QUIC, in words.
    pub because: Option<String>,
    /// The router's port by which other members come in.
    pub opened_port: Option<OpenedPort>,
}

/// A membership and its data plane.
pub struct Session<D> {
    /// The data plane.
    pub driver: MemberDriver<D>,
    state: State,
    identity: Arc<Identity>,
    request: JoinRequest,
    backoff: Backoff,
    /// The first join must succeed until then; afterwards we never give up.
    patience_until: Option<Instant>,
    /// Why the newest attempt failed.
    last_fault: Option<Fault>,
    said: Option<(String, Instant)>,
    /// Whether the way in use is the best there is.
    ways: Ways,
    /// It is carried by another connection than before.
    is_new: bool,
    /// What is being tried, and because of what.
    trying: Option<Step>,
    /// What a move to another connection brought to light.
    news: VecDeque<Control>,
    /// The newest attempt failed because the room has a gateway.
    is_second: bool,
    line: StandbyLine,
    /// The uplinks, when there are to be several, and whether they are found by themselves.
    uplinks: Option<(PlannedUplinks, bool)>,
    assigned: Option<AssignedAddresses>,
}

impl<D: Device> Session<D> {
    /// Starts joining. Without success for `patience` the session fails; once joined it never gives up.
    #[must_use]
    pub fn start(mut driver: MemberDriver<D>, dialer: Dialer, identity: Arc<Identity>, request: JoinRequest, patience: Duration) -> Self {
        let (line, uplinks) = (dialer.standby(), dialer.planned_uplinks());
        let state = State::Waiting { until: Instant::now(), dialer };
        let patience_until = Some(Instant::now() + patience);
        driver.set_wire(request.lan_up);
        Self {
            driver,
            state,
            identity,
            request,
            backoff: Backoff::default(),
            patience_until,
            last_fault: None,
            said: None,
            ways: Ways::new(Carrier::Quic, None, Instant::now()),
            trying: None,
            is_new: false,
            news: VecDeque::new(),
            is_second: false,
            line,
            uplinks,
            assigned: None,
        }
    }

    /// What the next join asks of addresses.
    pub fn ask_addresses(&mut self, request: Option<AddressRequest>) {
        self.request.addresses = request;
    }

    /// What the relay assigned at the newest join; asked for once.
    pub const fn take_assigned(&mut self) -> Option<AssignedAddresses> {
        self.assigned.take()
    }

    /// What the next join says of the LAN's carrier; told at once while joined.
    pub async fn set_lan_state(&mut self, up: bool) {
        self.request.lan_up = up;
        self.driver.set_wire(up);
        self.driver.tell(&Control::LanState { up, id: None }).await;
        self.line.say(Control::LanState { up, id: None });
    }

    /// Whether the session has failed because the room has a gateway already. It may be called on to try again.
    pub const fn is_second_gateway(&self) -> bool {
        self.is_second
    }

    /// Watches the device, and joins no room meanwhile, until the device fails. Cancel-safe.
    pub async fn watch_device(&mut self) -> SessionEvent {
        loop {
            if let DriverEvent::DeviceFailed(e) = self.driver.next_event().await {
                self.driver.set_device(None);
                return SessionEvent::DeviceFailed(e);
            }
        }
    }

    /// Leaves the room for good.
    pub async fn end(&mut self, reason: &str) {
        self.driver.disconnect(reason).await;
        self.driver.peers().end_port_mapping().await;
        if let State::Joined(dialer) = &mut self.state {
            dialer.close(reason).await;
        }
    }

    /// Carries frames and keeps the membership until the owner must hear of something. Cancel-safe.
    pub async fn next_event(&mut self) -> SessionEvent {
        loop {
            if let Some(message) = self.news.pop_front() {
                return SessionEvent::Control(message);
            }
            let changed = tokio::select! {
                // A frame that comes alone waits for no look at what changes once in an evening.
                biased;
                event = self.driver.next_event() => match self.driver_event(event) {
                    Some(event) => return event,
                    None => {
                        self.offer_direct().await;
                        continue;
                    }
                },
                changed = advance(&mut self.state) => changed,
            };
            let told_lan_up =
                if let Changed::Finished(finished) = &changed { finished.1.as_ref().ok().map(|j| j.told_lan_up) } else { None };
            let event = self.changed(changed);
            self.offer_direct().await;
            if told_lan_up.is_some_and(|told| told != self.request.lan_up) {
                self.driver.tell(&Control::LanState { up: self.request.lan_up, id: None }).await;
            }
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn driver_event(&mut self, event: DriverEvent) -> Option<SessionEvent> {
        Some(match event {
            DriverEvent::Looked => {
                self.look_at_way();
                return None;
            }
            DriverEvent::Control(Control::Refused { code: Refusal::StandBy, message }) => {
                // The relay ends the connection next, and then this member joins again.
                warn!("the relay lets another gateway take over: {message}");
                return None;
            }
            DriverEvent::Control(Control::Refused { code: Refusal::LoginAgain, message }) => {
                warn!("{message}; joining again with the one that --password-file has now");
                return None;
            }
            DriverEvent::Control(Control::Refused { code, message }) => {
                let cause = format!("the relay ended the membership ({code:?}): {message}");
                SessionEvent::Failed(Fault::new(ExitCode::Refused, cause, advice(code)))
            }
            DriverEvent::Control(message) => SessionEvent::Control(message),
            DriverEvent::Address(news) => SessionEvent::Address(news),
            DriverEvent::Desk(frames) => SessionEvent::Desk(frames),
            DriverEvent::DeviceFailed(e) => {
                self.driver.set_device(None);
                SessionEvent::DeviceFailed(e)
            }
            DriverEvent::LinkEnded(ended) => {
                warn!("connection to the relay lost: {ended}; joining again");
                self.state = match std::mem::replace(&mut self.state, State::Between) {
                    State::Joined(dialer) => State::Waiting { until: Instant::now() + self.backoff.next(random_u32()), dialer },
                    other => other,
                };
                SessionEvent::Left
            }
        })
    }

    /// Tries another connection when the one in use may not be the best.
    fn look_at_way(&mut self) {
        let Some(facts) = self.driver.way_facts().filter(|_| matches!(self.state, State::Joined(_))) else { return };
        let Some(step) = self.ways.look(facts, Instant::now()) else { return };
        self.state = match std::mem::replace(&mut self.state, State::Between) {
            State::Joined(dialer) => {
                self.trying = Some(step);
                State::Trying(spawn_move(dialer, Arc::clone(&self.identity), self.request.clone(), step, facts.size.budget))
            }
            other => other,
        };
    }

    fn changed(&mut self, changed: Changed) -> Option<SessionEvent> {
        if self.line.has_stood_by() {
            self.patience_until = None;
        }
        match changed {
            Changed::Due => {
                if let Some(fault) = self.last_fault.take_if(|_| is_past(self.patience_until)) {
                    return Some(SessionEvent::Failed(fault));
                }
                if let State::Waiting { dialer, .. } = std::mem::replace(&mut self.state, State::Between) {
                    let until = self.patience_until.map(|until| (until, self.last_fault.clone()));
                    let task = spawn_join(dialer, Arc::clone(&self.identity), self.request.clone(), until);
                    self.state = State::Joining(task);
                }
                None
            }
            Changed::Finished(finished) if self.driver.roster().is_some() => self.tried(*finished),
            Changed::Finished(finished) => match *finished {
                (dialer, Ok(joined)) => Some(self.joined(dialer, joined)),
                (dialer, Err(error)) => self.not_joined(dialer, error),
            },
        }
    }

    /// The membership has a connection already; the other one is used when it brought the membership with it.
    fn tried(&mut self, (dialer, outcome): (Dialer, Result<Joined, JoinError>)) -> Option<SessionEvent> {
        self.state = State::Joined(dialer);
        match (outcome, self.trying.take()) {
            (Ok(joined), _) => {
                let (carrier, budget) = (joined.link.carrier(), joined.told_budget);
                self.ways.moved(carrier, Instant::now());
                let because = self.ways.trouble().map_or_else(String::new, |trouble| format!(": {trouble}"));
                info!("moved to another connection by {}, which takes datagrams of {budget} bytes{because}", carrier.in_words());
                self.news.extend(self.driver.move_to(joined, self.request.mac));
                self.is_new = true;
            }
            (Err(error), step) => {
                let cause = error.into_fault().cause;
                debug!(?step, "no better connection: {cause}");
                if step == Some(Step::Up) {
                    self.ways.not_up(cause);
                }
            }
        }
        None
    }

    /// Tells the relay where other members may reach this one directly, on every connection, and again when that is elsewhere.
    async fn offer_direct(&mut self) {
        let is_new = std::mem::take(&mut self.is_new);
        let bond = self.driver.link().and_then(|link| link.bond().cloned());
        if let State::Joined(dialer) = &mut self.state
            && (is_new || bond.is_some())
        {
            if dialer.maps_ports() {
                self.driver.peers().map_ports();
            }
            let Some(sockets) = dialer.direct_sockets(&self.identity, bond.as_ref()) else { return };
            self.driver.peers().listen_on(sockets, &self.identity);
        }
        let peers = self.driver.peers();
        if is_new {
            peers.offer_anew();
        }
        let addresses = peers.new_addresses(Instant::now());
        if let Some(addresses) = addresses.or_else(|| is_new.then(Vec::new)) {
            self.driver.tell(&Control::Candidates { addresses }).await;
        }
    }

    /// Which way the membership takes, since when, and why not QUIC.
    pub fn way(&self) -> Option<WayReport> {
        self.driver.roster()?;
        let (carrier, because) = (self.ways.carrier(), self.ways.trouble().map(str::to_owned));
        let opened_port = self.driver.opened_port();
        Some(WayReport { carrier, seconds: self.ways.since().elapsed().as_secs(), because, opened_port })
    }

    /// The uplinks it uses at once, when it does.
    pub fn bond(&self) -> Option<BondReport> {
        Some(self.driver.link()?.bond()?.report())
    }

    /// Adds or removes an uplink. `own` is the tunnel's interface.
    ///
    /// # Errors
    /// When there are none to change, or the change makes no sense.
    pub fn change_uplink(&self, change: &UplinkChange, own: &str) -> Result<(), NotChanged> {
        change.make(self.uplinks.as_ref().map(|(planned, is_automatic)| (planned, *is_automatic)), own)
    }

    /// Tests the bond; what it finds goes to `answers`, line by line.
    pub fn test_bond(&self, ask: &BondTestAsk, answers: Answers) {
        let Some(link) = self.driver.link() else {
            return answers.give(refusal("not-joined", "this program is in no room at the moment"));
        };
        let Some(bond) = link.bond() else {
            let words = "this program uses one way to the relay only; start it with --bond, or with --uplink for each line";
            return answers.give(refusal("no-bond", words));
        };
        tokio::spawn(Course::run(bond.shared_arc(), ask.yes, answers));
    }

    fn joined(&mut self, dialer: Dialer, joined: Joined) -> SessionEvent {
        self.ways = Ways::new(joined.link.carrier(), joined.trouble.clone(), Instant::now());
        self.trying = None;
        if let Some(trouble) = self.ways.trouble() {
            info!("the way to the relay is {}: {trouble}", self.ways.carrier().in_words());
        }
        let again = self.request.resume.is_some();
        self.request.resume = Some(joined.welcome.member);
        self.backoff.reset();
        self.patience_until = None;
        self.last_fault = None;
        self.said = None;
        self.state = State::Joined(dialer);
        self.is_new = true;
        self.assigned.clone_from(&joined.welcome.addresses);
        self.driver.connect(joined, self.request.mac);
        SessionEvent::Joined { again }
    }

    fn not_joined(&mut self, dialer: Dialer, error: JoinError) -> Option<SessionEvent> {
        self.is_second = matches!(error, JoinError::SecondGateway(_));
        let final_ = self.is_second || matches!(error, JoinError::Final(_));
        let fault = error.into_fault();
        if final_ || is_past(self.patience_until) {
            self.state = State::Waiting { until: Instant::now(), dialer };
            return Some(SessionEvent::Failed(fault));
        }
        self.say(&fault);
        self.last_fault = Some(fault);
        let until = Instant::now() + self.backoff.next(random_u32());
        self.state = State::Waiting { until: self.patience_until.map_or(until, |patience| until.min(patience)), dialer };
        None
    }

    /// The same words once in a while, not once per attempt.
    fn say(&mut self, fault: &Fault) {
        let now = Instant::now();
        let fresh = self.said.as_ref().is_none_or(|(cause, at)| *cause != fault.cause || now - *at >= REPEAT_WORDS_AFTER);
        if fresh {
            info!(attempts = self.backoff.failures() + 1, "{}; trying again ({})", fault.cause, fault.advice);
            self.said = Some((fault.cause.clone(), now));
        }
    }

    /// The room, while joined.
    pub fn roster(&self) -> Option<&Roster> {
        self.driver.roster()
    }
}

enum Changed {
    Due,
    Finished(Box<(Dialer, Result<Joined, JoinError>)>),
}

async fn advance(state: &mut State) -> Changed {
    match state {
        State::Waiting { until, .. } => {
            tokio::time::sleep_until((*until).into()).await;
            Changed::Due
        }
        State::Joining(task) | State::Trying(task) => match task.await {
            Ok(finished) => Changed::Finished(Box::new(finished)),
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        },
        State::Joined(_) | State::Between => std::future::pending().await,
    }
}

/// One try of another connection for a membership that lives on, whatever comes of it.
fn spawn_move(mut dialer: Dialer, identity: Arc<Identity>, request: JoinRequest, step: Step, than: DatagramBudget) -> JoinTask {
    tokio::spawn(async move {
        let outcome = dialer.move_over(&identity, &request, step, than).await.map_err(|e| JoinError::Unreachable(e.into_fault()));
        (dialer, outcome)
    })
}

/// One attempt, cut off at `until`; then the attempt before it, which had its time, has the say in what is wrong.
fn spawn_join(mut dialer: Dialer, identity: Arc<Identity>, request: JoinRequest, until: Option<(Instant, Option<Fault>)>) -> JoinTask {
    tokio::spawn(async move {
        let line = dialer.standby();
        let joining = dialer.join(&identity, &request);
        let (outcome, before) = match until {
            None => (Some(joining.await), None),
            Some((until, before)) => (give_up_at(until, joining, &line).await, before),
        };
        let outcome = outcome.unwrap_or_else(|| Err(before.map_or_else(|| dialer.unanswered(), JoinError::Unreachable)));
        (dialer, outcome)
    })
}

/// Nothing when there is no answer until then; who stands by has one.
async fn give_up_at<T>(until: Instant, joining: impl Future<Output = T>, line: &StandbyLine) -> Option<T> {
    let mut joining = std::pin::pin!(joining);
    match tokio::time::timeout_at(until.into(), &mut joining).await {
        Ok(outcome) => Some(outcome),
        Err(_) if line.behind().is_some() => Some(joining.await),
        Err(_) => None,
    }
}

fn is_past(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use lanparty_nic::MemoryDevice;
    use lanparty_proto::{MacAddr, Role};

    use super::*;
    use crate::RelayTrust;

    #[tokio::test]
    async fn a_relay_that_does_not_answer_is_given_up_when_patience_ends_even_amid_an_attempt() {
        const PATIENCE: Duration = Duration::from_millis(400);
        let dir = tempfile::tempdir().unwrap();
        let (identity, _) = Identity::load_or_create(dir.path().join("identity.json"), false).unwrap();
        // Somebody who listens and never answers.
        let silence = UdpSocket::bind("127.0.0.1:0").unwrap();
        let certificate = dir.path().join("certificate.der");
        std::fs::write(&certificate, rcgen::generate_simple_self_signed(vec!["relay.example".into()]).unwrap().cert.der()).unwrap();
        let trust = RelayTrust::load(Some(&certificate)).unwrap();
        let dialer = Dialer::new(silence.local_addr().unwrap().to_string().parse().unwrap(), Some("relay.example".into()), trust);
        let request = JoinRequest {
            role: Role::Client,
            room: "ROOM1".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            software: "test".into(),
            lan_up: true,
            resume: None,
            addresses: None,
        };
        let driver = MemberDriver::<MemoryDevice>::new(Role::Client, "none".into(), None);
        let started = Instant::now();
        let mut session = Session::start(driver, dialer, Arc::new(identity), request, PATIENCE);
        let event = session.next_event().await;
        let took = started.elapsed();
        let SessionEvent::Failed(fault) = event else { panic!("{event:?}") };
        assert!(fault.cause.contains("does not answer (UDP); over TCP: ") && fault.code == ExitCode::Unexpected, "{fault}");
        assert!(took >= PATIENCE && took < PATIENCE * 4, "{took:?}");
    }
}
