//! A membership that lasts: joins, carries frames, and after an outage joins again, as the same member.
//!
//! Client and gateway each own one and decide what its events mean to them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_core::{Backoff, Roster};
use lanparty_nic::Device;
use lanparty_proto::{Control, Refusal};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::driver::{DriverEvent, MemberDriver};
use crate::membership::{Dialer, JoinError, JoinRequest, Joined};
use crate::{ExitCode, Fault, Identity};

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
    /// Only while a transition is under way.
    Between,
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
    said: Option<(String, Instant)>,
}

impl<D: Device> Session<D> {
    /// Starts joining. Without success for `patience` the session fails; once joined it never gives up.
    #[must_use]
    pub fn start(driver: MemberDriver<D>, dialer: Dialer, identity: Arc<Identity>, request: JoinRequest, patience: Duration) -> Self {
        let state = State::Waiting { until: Instant::now(), dialer };
        Self { driver, state, identity, request, backoff: Backoff::default(), patience_until: Some(Instant::now() + patience), said: None }
    }

    /// What the next join says of the LAN's carrier; told at once while joined.
    pub async fn set_lan_state(&mut self, up: bool) {
        self.request.lan_up = up;
        self.driver.tell(&Control::LanState { up }).await;
    }

    /// Leaves the room for good.
    pub async fn end(&mut self, reason: &str) {
        self.driver.disconnect(reason).await;
        if let State::Joined(dialer) = &self.state {
            dialer.close(reason).await;
        }
    }

    /// Carries frames and keeps the membership until the owner must hear of something. Cancel-safe.
    pub async fn next_event(&mut self) -> SessionEvent {
        loop {
            let changed = tokio::select! {
                event = self.driver.next_event() => return self.driver_event(event),
                changed = advance(&mut self.state) => changed,
            };
            let told_lan_up =
                if let Changed::Finished(finished) = &changed { finished.1.as_ref().ok().map(|j| j.told_lan_up) } else { None };
            if let Some(event) = self.changed(changed) {
                if told_lan_up.is_some_and(|told| told != self.request.lan_up) {
                    self.driver.tell(&Control::LanState { up: self.request.lan_up }).await;
                }
                return event;
            }
        }
    }

    fn driver_event(&mut self, event: DriverEvent) -> SessionEvent {
        match event {
            DriverEvent::Control(Control::Refused { code, message }) => {
                let advice = if code == Refusal::Replaced {
                    "stop one of the two, or give it an identity of its own with --new-identity"
                } else {
                    ""
                };
                SessionEvent::Failed(Fault::new(ExitCode::Refused, format!("the relay ended the membership ({code:?}): {message}"), advice))
            }
            DriverEvent::Control(message) => SessionEvent::Control(message),
            DriverEvent::DeviceFailed(e) => {
                self.driver.set_device(None);
                SessionEvent::DeviceFailed(e)
            }
            DriverEvent::LinkEnded(ended) => {
                warn!("connection to the relay lost: {ended}; joining again");
                if let State::Joined(dialer) = std::mem::replace(&mut self.state, State::Between) {
                    self.state = State::Waiting { until: Instant::now() + self.backoff.next(random_u32()), dialer };
                }
                SessionEvent::Left
            }
        }
    }

    fn changed(&mut self, changed: Changed) -> Option<SessionEvent> {
        match changed {
            Changed::Due => {
                if let State::Waiting { dialer, .. } = std::mem::replace(&mut self.state, State::Between) {
                    self.state = State::Joining(spawn_join(dialer, Arc::clone(&self.identity), self.request.clone()));
                }
                None
            }
            Changed::Finished(finished) => match *finished {
                (dialer, Ok(joined)) => Some(self.joined(dialer, joined)),
                (dialer, Err(error)) => self.not_joined(dialer, error),
            },
        }
    }

    fn joined(&mut self, dialer: Dialer, joined: Joined) -> SessionEvent {
        let again = self.request.resume.is_some();
        self.request.resume = Some(joined.welcome.member);
        self.backoff.reset();
        self.patience_until = None;
        self.said = None;
        self.state = State::Joined(dialer);
        self.driver.connect(joined, self.request.mac);
        SessionEvent::Joined { again }
    }

    fn not_joined(&mut self, dialer: Dialer, error: JoinError) -> Option<SessionEvent> {
        let final_ = matches!(error, JoinError::Final(_));
        let fault = error.into_fault();
        let out_of_patience = self.patience_until.is_some_and(|until| Instant::now() >= until);
        if final_ || out_of_patience {
            self.state = State::Waiting { until: Instant::now(), dialer };
            return Some(SessionEvent::Failed(fault));
        }
        self.say(&fault);
        self.state = State::Waiting { until: Instant::now() + self.backoff.next(random_u32()), dialer };
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
        State::Joining(task) => match task.await {
            Ok(finished) => Changed::Finished(Box::new(finished)),
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        },
        State::Joined(_) | State::Between => std::future::pending().await,
    }
}

fn spawn_join(mut dialer: Dialer, identity: Arc<Identity>, request: JoinRequest) -> JoinTask {
    tokio::spawn(async move {
        let outcome = dialer.join(&identity, &request).await;
        (dialer, outcome)
    })
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    u32::from_ne_bytes(bytes)
}
