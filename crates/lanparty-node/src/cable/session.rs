//! A cable that stays plugged in: listens for the other end, dials it for ever when its name is known, and of several
//! connections keeps one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanparty_core::{Backoff, CableGuard, CableLoops, CableMtu, Contact, FilterRules};
use lanparty_nic::Device;
use lanparty_proto::{CableHello, DatagramBudget, Description, LanMtu, MacAddr, PROTOCOL_VERSION, PortRank, Refusal};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info, warn};

use super::bond::{self, CableDial};
use super::driver::{CableDriver, DriverEvent};
use super::endpoint::CableEndpoint;
use super::hello::{self, Contacted, Heard, Intro, NEEDLESS, NotContacted};
use super::way::Way;
use super::words::Refrain;
use crate::bond::news;
use crate::membership::bond::{Source, Steward, Target};
use crate::{AsyncDevice, BondLink, BondPlan, CableAddress, Fault, NotChanged, UplinkChange, software};

/// Handshakes at once. There is one other end; the rest are strangers, and each of them is gone within seconds.
const ATTEMPTS_MAX: usize = 64;
/// A connection that has lasted so long was a success. Two programs with one key would else take the cable from each other without a pause.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Time for the uplinks' counts to be saved.
const STEWARD_LINGER: Duration = Duration::from_secs(1);

/// What a cable's owner wants of it.
#[derive(Clone, Debug)]
pub struct CablePlan {
    /// Where the other end is, when that is known; else it must come here.
    pub remote: Option<CableAddress>,
    /// The largest LAN MTU.
    pub lan_mtu_max: Option<LanMtu>,
    /// Whether one host is expected at each end, and nothing else is let through.
    pub is_isolated: bool,
    /// The name of the TAP.
    pub interface: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Several uplinks to dial by.
    pub bond: Option<BondPlan>,
    /// Which packets pass, when not all do.
    pub filter: Option<Arc<FilterRules>>,
    /// What this end calls itself to the other.
    pub description: Description,
}

/// What the owner of a cable hears.
#[derive(Debug)]
pub enum CableEvent {
    /// Frames cross from now on, with this LAN MTU.
    Plugged(LanMtu),
    /// They do not any more; the reason in words.
    Unplugged(String),
    /// Both ends use this LAN MTU from now on.
    LanMtu(LanMtu),
    /// The TAP is gone.
    DeviceFailed(io::Error),
}

enum Dial {
    /// The other end's address is not known, or there is a connection.
    Rests,
    Due(Instant),
    UnderWay,
}

struct Attempt {
    has_dialled: bool,
    outcome: Result<Heard, NotContacted>,
}

/// One end of a cable, and its data plane.
pub struct CableSession<D> {
    /// The data plane.
    pub driver: CableDriver<D>,
    endpoint: CableEndpoint,
    plan: CablePlan,
    intro: Intro,
    attempts: JoinSet<Attempt>,
    dial: Dial,
    backoff: Backoff,
    contact: Option<Contact>,
    contacted_at: Instant,
    /// While there is a connection that this end dialled: only such an end may move (RFC 9000 §9).
    way: Option<Way>,
    /// While the cable is a bond: the run of the end that dialled, and its link.
    bonded: Option<(u64, BondLink)>,
    /// Sees to this end's uplinks, and saves what they have carried when the bond has ended.
    steward: Option<JoinHandle<()>>,
    dial_words: Refrain,
    stranger_words: Refrain,
}

impl<D: Device> CableSession<D> {
    /// Starts listening, and dialling when the other end's address is known. It never gives up.
    #[must_use]
    pub fn start(device: AsyncDevice<D>, endpoint: CableEndpoint, plan: CablePlan) -> Self {
        let guard = if plan.is_isolated { CableGuard::OneHost(plan.mac) } else { CableGuard::Open };
        let hello = CableHello {
            version: PROTOCOL_VERSION,
            run: random_u64(),
            mac: plan.mac,
            budget: DatagramBudget(0),
            lan_mtu_max: plan.lan_mtu_max,
            lan_mtu: None,
            since: None,
            software: software("lanparty-cable"),
            description: plan.description.clone(),
            bond: None,
        };
        let intro = Intro { hello, is_plugged: Arc::default() };
        let dial = if plan.remote.is_some() { Dial::Due(Instant::now()) } else { Dial::Rests };
        let loops = CableLoops::new(&plan.interface, plan.mac, Instant::now());
        let mut driver = CableDriver::new(device, guard, loops, plan.interface.clone());
        if let Some(rules) = &plan.filter {
            driver.set_filter(rules);
        }
        Self {
            driver,
            endpoint,
            plan,
            intro,
            attempts: JoinSet::new(),
            dial,
            backoff: Backoff::default(),
            contact: None,
            contacted_at: Instant::now(),
            way: None,
            bonded: None,
            steward: None,
            dial_words: Refrain::default(),
            stranger_words: Refrain::default(),
        }
    }

    /// Adds or removes an uplink while the cable is there.
    ///
    /// # Errors
    /// When this end has none to change, or the change makes no sense.
    pub fn change_uplink(&self, change: &UplinkChange) -> Result<(), NotChanged> {
        let planned = self.plan.bond.as_ref().filter(|_| self.plan.remote.is_some());
        change.make(planned.map(|plan| (&plan.uplinks, plan.is_automatic)), &self.plan.interface)
    }

    /// Pulls the cable out for good, with words for the other end.
    pub async fn end(&mut self, reason: &str) {
        self.driver.disconnect(reason).await;
        self.bonded = None;
        if let Some(steward) = self.steward.take() {
            let _ = tokio::time::timeout(STEWARD_LINGER, steward).await;
        }
        self.endpoint.close(reason).await;
    }

    /// Carries frames and keeps the cable plugged in until the owner must hear of something.
    ///
    /// Cancel-safe: no frame is lost. A connection that is just being answered may be; then it is dialled again.
    pub async fn next_event(&mut self) -> CableEvent {
        loop {
            let room = self.attempts.len() < ATTEMPTS_MAX;
            tokio::select! {
                event = self.driver.next_event() => return self.driver_event(event),
                incoming = self.endpoint.accept(), if room => self.hear_out(incoming),
                Some(attempt) = self.attempts.join_next() => match attempt {
                    Ok(attempt) => if let Some(event) = self.attempted(attempt).await {
                        return event;
                    },
                    Err(e) => std::panic::resume_unwind(e.into_panic()),
                },
                () = due(&self.dial) => self.start_dialling(),
                () = look_due(self.way.as_ref()) => if self.way.as_mut().is_some_and(Way::has_moved) {
                    info!("this host's address has changed; the other end will follow");
                    self.endpoint.follow_address();
                },
            }
        }
    }

    fn hear_out(&mut self, incoming: lanparty_quic::Incoming) {
        let hearing = hello::hear_out(self.endpoint.clone(), incoming);
        self.attempts.spawn(async { Attempt { has_dialled: false, outcome: hearing.await } });
    }

    fn start_dialling(&mut self) {
        self.dial = Dial::Rests;
        if let Some(to) = self.plan.remote.clone() {
            self.dial = Dial::UnderWay;
            let (intro, interface) = (self.intro.clone(), self.plan.interface.clone());
            let dialling: Pin<Box<dyn Future<Output = _> + Send>> = match &self.plan.bond {
                Some(plan) => Box::pin(bond::dial(self.cable_dial(to, plan), plan.clone(), intro, interface)),
                None => Box::pin(hello::dial(self.endpoint.clone(), to, intro, interface)),
            };
            self.attempts.spawn(async { Attempt { has_dialled: true, outcome: dialling.await.map(Heard::Hello) } });
        }
    }

    fn cable_dial(&self, to: CableAddress, plan: &BondPlan) -> CableDial {
        CableDial { endpoint: self.endpoint.clone(), to, run: self.intro.hello.run, book: plan.book.clone() }
    }

    fn driver_event(&mut self, event: DriverEvent) -> CableEvent {
        match event {
            DriverEvent::LanMtu(mtu) => CableEvent::LanMtu(mtu),
            DriverEvent::DeviceFailed(e) => CableEvent::DeviceFailed(e),
            DriverEvent::LinkEnded(ended) => {
                (self.contact, self.way, self.bonded) = (None, None, None);
                self.intro.is_plugged.store(false, Ordering::Relaxed);
                if self.contacted_at.elapsed() >= STEADY_AFTER {
                    self.backoff.reset();
                }
                self.dial_again();
                CableEvent::Unplugged(ended.to_string())
            }
        }
    }

    /// Dials after a moment, when the other end's address is known. What is due already stays due: a stranger who knocks must not put it off.
    fn dial_again(&mut self) {
        if self.plan.remote.is_some() && matches!(self.dial, Dial::Rests) {
            self.dial = Dial::Due(Instant::now() + self.backoff.next(random_u64() as u32));
        }
    }

    async fn attempted(&mut self, Attempt { has_dialled, outcome }: Attempt) -> Option<CableEvent> {
        if has_dialled {
            self.dial = Dial::Rests;
        }
        let event = match outcome {
            Ok(Heard::Hello(contacted)) => self.contacted(contacted).await,
            Ok(Heard::Path(path)) => {
                tokio::spawn(path.attach(self.bonded.clone()));
                return None;
            }
            Err(NotContacted::Needless) => None,
            Err(NotContacted::Failed(fault)) => {
                self.say(has_dialled, &fault);
                None
            }
        };
        if self.contact.is_none() {
            self.dial_again();
        }
        event
    }

    /// Failures do not interest while the cable is plugged in: both ends may have dialled. But a stranger at the door is always named.
    fn say(&mut self, has_dialled: bool, fault: &Fault) {
        match (has_dialled, &self.contact) {
            (true, None) => self.dial_words.say(fault),
            (true, Some(_)) => debug!("{}", fault.cause),
            (false, _) => self.stranger_words.say(fault),
        }
    }

    /// Takes a connection with the other end, unless the one that there is stays.
    async fn contacted(&mut self, mut contacted: Contacted) -> Option<CableEvent> {
        let dialled_by = if contacted.has_dialled { self.endpoint.own() } else { self.endpoint.peer() };
        let contact = Contact { dialled_by, run: contacted.theirs.run };
        if self.contact.is_some_and(|current| !current.yields_to(&contact)) {
            debug!("{NEEDLESS}");
            contacted.link.close(NEEDLESS);
            return None;
        }
        let caps = [self.plan.lan_mtu_max, contacted.theirs.lan_mtu_max];
        let (lan_mtu, mtu, since) = if contacted.has_dialled {
            // An answer without it is none of this version. One without an age is of a version that knows no loops.
            (contacted.theirs.lan_mtu?, None, contacted.theirs.since.unwrap_or_default())
        } else {
            let Some(mtu) = CableMtu::new([contacted.budget, contacted.theirs.budget], caps) else {
                let words = hello::too_small(contacted.budget.min(contacted.theirs.budget));
                warn!("the cable from {} is refused: {words}", contacted.remote);
                tokio::spawn(async move { hello::refuse(contacted.control_out, &contacted.link, Refusal::PathTooSmall, &words).await });
                return None;
            };
            let since = unix_ms();
            contacted.answer(&self.intro, mtu.agreed(), since).await.ok()?;
            (mtu.agreed(), Some(mtu), since)
        };
        self.contact = Some(contact);
        self.intro.is_plugged.store(true, Ordering::Relaxed);
        self.contacted_at = Instant::now();
        let contacted = self.bond(contacted).await;
        self.way = (contacted.has_dialled && self.bonded.is_none()).then(|| Way::to(contacted.remote));
        self.dial_words.end();
        // One that is under way finds out by itself that it is needless.
        if matches!(self.dial, Dial::Due(_)) {
            self.dial = Dial::Rests;
        }
        let rank = PortRank { since, port: self.intro.hello.run ^ contacted.theirs.run };
        self.driver.connect(contacted, lan_mtu, mtu, rank);
        Some(CableEvent::Plugged(lan_mtu))
    }
}

impl<D: Device> CableSession<D> {
    /// Makes the connection a bond where both ends want one; the end that dialled brings the other paths.
    async fn bond(&mut self, contacted: Contacted) -> Contacted {
        let (run, has_dialled) = (contacted.theirs.run, contacted.has_dialled);
        let redundancy = self.plan.bond.as_ref().map(|plan| plan.redundancy).unwrap_or_default();
        let (contacted, bond) = contacted.bonded(redundancy);
        self.bonded = None;
        let Some(bond) = bond else { return contacted };
        if let (true, Some(plan), Some(to)) = (has_dialled, self.plan.bond.clone(), self.plan.remote.clone()) {
            let (uplinks, own) = (bond::uplinks(&plan, &self.plan.interface).await, &self.plan.interface);
            let target = Target::Cable(self.cable_dial(to, &plan));
            self.steward =
                Some(Steward::new(target, bond.shared_arc(), news(), Source::of(&plan, bond::routes(&plan, own))).start(uplinks));
        }
        self.bonded = Some((run, bond));
        contacted
    }
}

async fn due(dial: &Dial) {
    match dial {
        Dial::Due(at) => tokio::time::sleep_until((*at).into()).await,
        Dial::Rests | Dial::UnderWay => std::future::pending().await,
    }
}

async fn look_due(way: Option<&Way>) {
    match way {
        Some(way) => way.due().await,
        None => std::future::pending().await,
    }
}

/// By this host's clock, which only tells newer cables from older ones.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    u64::from_ne_bytes(bytes)
}
