//! QUIC and the stream side by side: the first that is usable carries the membership, and QUIC has a head start.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanparty_core::Step;
use lanparty_proto::{DatagramBudget, padding};

use super::{Dialer, JoinError, Transport, settled_budget, words};
use crate::{DeviceLimit, ExitCode, Fault, Identity, Link, RelayAddress, RelayTrust, StreamTarget, StreamWay, dial_stream, uplink};

/// QUIC that has answered by then is not raced.
const HEAD_START: Duration = Duration::from_millis(250);
/// Pause between the first tries of two places that may take streams.
const STAGGER: Duration = Duration::from_millis(150);
/// Where networks that pass hardly anything let streams through.
const HTTPS_PORT: u16 = 443;
/// How long a stream is waited for when QUIC answers, and is of little use.
const STREAM_PATIENCE: Duration = Duration::from_millis(2500);
/// QUIC is of little use when more than this many of a hundred packets were lost, of at least so many.
const LOSS_PERCENT_MAX: u64 = 25;
const LOSS_PACKETS_MIN: u64 = 16;
/// So many packets do not stay without any answer.
const ANSWERED_AFTER: u64 = 6;
/// What QUIC must carry before a membership moves up to it: as much as a game and a voice call send in half a second.
const TRIAL_DATAGRAMS: usize = 50;
const TRIAL_LEN: usize = 500;
const TRIAL_INTERVAL: Duration = Duration::from_millis(10);

/// A connection to the relay.
pub(super) struct Reached {
    pub(super) link: Link,
    pub(super) remote: SocketAddr,
    /// Why it is not QUIC.
    pub(super) trouble: Option<String>,
}

impl Reached {
    fn because(self, trouble: &str) -> Self {
        Self { trouble: Some(trouble.to_owned()), ..self }
    }
}

/// Why the newest try of a stream failed, for when no time is left to try both ways to the end. Clones are handles of the same.
#[derive(Clone, Default)]
pub(super) struct StreamFault(Arc<Mutex<Option<Fault>>>);

impl StreamFault {
    pub(super) fn now(&self) -> Option<Fault> {
        self.lock().clone()
    }

    fn keep(&self, fault: Option<Fault>) {
        *self.lock() = fault;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Fault>> {
        // Whole after every call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every place that may take a stream of ours.
struct Streams {
    fault: StreamFault,
    targets: Vec<StreamTarget>,
    trust: RelayTrust,
    budget_max: Option<DatagramBudget>,
    device_limit: DeviceLimit,
}

impl Dialer {
    /// The first usable connection.
    pub(super) async fn connect(&mut self, identity: &Identity) -> Result<Reached, JoinError> {
        let addresses = self.resolve().await;
        match self.transport {
            Transport::Quic => self.connect_quic(&addresses?, identity).await,
            Transport::Stream => Ok(self.streams(addresses).await?.dial(identity).await?.because("--transport stream asks for it")),
            Transport::Auto => self.race(addresses, identity).await,
        }
    }

    /// A connection for a membership that has one.
    pub(super) async fn reach(&mut self, identity: &Identity, step: Step) -> Result<Reached, JoinError> {
        let addresses = self.resolve().await;
        match (step, self.transport) {
            (Step::Down, Transport::Quic) | (Step::Up, Transport::Stream) => Err(unreachable("--transport does not allow it".into())),
            (Step::Down, Transport::Auto) => match addresses.as_ref().ok().and_then(|all| after_lost_family(all)) {
                Some(left) => self.race(Ok(left), identity).await,
                None => self.streams(addresses).await?.dial(identity).await,
            },
            (Step::Down, _) => self.streams(addresses).await?.dial(identity).await,
            (Step::Larger, _) => self.connect_quic(&addresses?, identity).await,
            (Step::Up, _) => {
                let reached = self.connect_quic(&addresses?, identity).await?;
                prove(&reached.link).await.inspect_err(|_| reached.link.close("not good enough"))?;
                Ok(reached)
            }
        }
    }

    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, JoinError> {
        self.resolving = true;
        let resolved = self.relay.resolve().await.map_err(JoinError::Unreachable);
        self.resolving = false;
        let toward = resolved.as_ref().ok().and_then(|all| all.first().copied()).and_then(uplink::toward);
        self.uplink = toward.filter(|found| Some(found) != self.own_interface.as_ref()).or_else(|| self.uplink.take());
        resolved
    }

    async fn race(&mut self, addresses: Result<Vec<SocketAddr>, JoinError>, identity: &Identity) -> Result<Reached, JoinError> {
        let streams = self.streams(addresses.clone()).await?;
        let Ok(addresses) = addresses else {
            // Where the proxy alone resolves names there is hardly UDP.
            return Ok(streams.dial(identity).await?.because("the relay's name does not resolve here, but at the proxy"));
        };
        // Futures do nothing until they are asked: the stream is dialled when QUIC has had its head start.
        let mut stream = std::pin::pin!(streams.dial(identity));
        let mut quic = Box::pin(self.connect_quic(&addresses, identity));
        let mut refused = None;
        let outcome = match tokio::time::timeout(HEAD_START, &mut quic).await {
            Ok(outcome) => outcome,
            Err(_) => tokio::select! {
                outcome = &mut quic => outcome,
                reached = &mut stream => match reached {
                    Ok(reached) => return Ok(reached.because("UDP brings no answer from the relay")),
                    Err(error) => {
                        refused = Some(error);
                        quic.await
                    }
                },
            },
        };
        let by_stream = async {
            match refused {
                Some(error) => Err(error),
                None => stream.await,
            }
        };
        match outcome {
            Ok(reached) => Ok(better(reached, by_stream).await),
            Err(error @ JoinError::Final(_)) => Err(error),
            Err(error) => match by_stream.await {
                Ok(reached) => Ok(reached.because(&error.into_fault().cause)),
                Err(fault @ JoinError::Final(_)) => Err(fault),
                Err(fault) => Err(words::neither(error, fault)),
            },
        }
    }

    /// Every place that a member dials for a stream, for who examines the way.
    ///
    /// # Errors
    /// When the name of the place does not resolve.
    pub(crate) async fn stream_targets(&mut self) -> Result<Vec<StreamTarget>, JoinError> {
        let addresses = self.resolve().await;
        self.targets(addresses).await
    }

    async fn streams(&self, addresses: Result<Vec<SocketAddr>, JoinError>) -> Result<Streams, JoinError> {
        let targets = self.targets(addresses).await?;
        let (trust, budget_max, device_limit) = (self.trust.clone(), self.sizing.budget_max, self.device_limit.clone());
        Ok(Streams { fault: self.stream_fault.clone(), targets, trust, budget_max, device_limit })
    }

    async fn targets(&self, addresses: Result<Vec<SocketAddr>, JoinError>) -> Result<Vec<StreamTarget>, JoinError> {
        let mut relays = vec![self.stream_relay.clone().unwrap_or_else(|| self.relay.clone())];
        if self.stream_relay.is_none() && self.relay.port() != HTTPS_PORT {
            relays.push(self.relay.with_port(HTTPS_PORT));
        }
        let addresses = match (&self.proxy, &self.stream_relay) {
            (Some(_), _) => vec![],
            (None, Some(other)) => other.resolve().await.map_err(JoinError::Unreachable)?,
            (None, None) => addresses?,
        };
        let ways = |port: u16| -> Vec<StreamWay> {
            let direct = addresses.iter().map(move |address| StreamWay::Direct((address.ip(), port).into()));
            self.proxy.clone().map(StreamWay::Through).into_iter().chain(direct).collect()
        };
        let target = |relay: &RelayAddress, way| {
            let (relay, server_name, uplink) = (relay.clone(), self.server_name.clone(), self.stream_uplink(&way));
            StreamTarget { relay, way, server_name, uplink }
        };
        Ok(relays.iter().flat_map(|relay| ways(relay.port()).into_iter().map(|way| target(relay, way)).collect::<Vec<_>>()).collect())
    }

    /// A proxy is where the routing table says, unless a LAN's DHCP server has put the tunnel there.
    fn stream_uplink(&self, way: &StreamWay) -> Option<String> {
        match way {
            StreamWay::Direct(remote) if remote.ip().is_loopback() => None,
            StreamWay::Direct(_) => self.uplink.clone(),
            StreamWay::Through(_) => self.uplink.clone().filter(|_| self.own_interface.is_some() && self.is_tunnel_default()),
        }
    }

    fn is_tunnel_default(&self) -> bool {
        // An address of the documentation's (RFC 5737): nothing is sent there, only the routing table is asked.
        let somewhere = SocketAddr::from(([192, 0, 2, 1], HTTPS_PORT));
        uplink::toward(somewhere) == self.own_interface
    }
}

impl Streams {
    /// The first place that takes one.
    async fn dial(&self, identity: &Identity) -> Result<Reached, JoinError> {
        let tries: FuturesUnordered<_> = (0u32..).zip(&self.targets).map(|(n, target)| self.dial_one(n, target, identity)).collect();
        let mut tries = std::pin::pin!(tries);
        let mut last: Option<(u32, JoinError)> = None;
        while let Some(tried) = tries.next().await {
            match tried {
                Ok(reached) => {
                    self.fault.keep(None);
                    return Ok(reached);
                }
                // The place that was named first has the say in what is wrong.
                Err((n, error)) => {
                    let (n, error) = last.filter(|(before, _)| *before < n).unwrap_or((n, error));
                    self.fault.keep(Some(error.clone().into_fault()));
                    last = Some((n, error));
                }
            }
        }
        Err(last.map_or_else(|| unreachable("the relay has no address".into()), |(_, error)| error))
    }

    async fn dial_one(&self, n: u32, target: &StreamTarget, identity: &Identity) -> Result<Reached, (u32, JoinError)> {
        tokio::time::sleep(STAGGER * n).await;
        let stream = dial_stream(target, &self.trust, identity).await.map_err(|error| (n, error))?;
        let remote = stream.remote_address();
        Ok(Reached { link: Link::over(stream).limited_to(self.budget_max, self.device_limit.clone()), remote, trouble: None })
    }
}

/// The addresses that a host has left to go to when it has lost the way to others: UDP need not be what is wrong.
fn after_lost_family(addresses: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let (left, lost): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().partition(|a| uplink::address_toward(**a).is_some());
    (!left.is_empty() && !lost.is_empty()).then_some(left)
}

/// What QUIC reached, unless it is of little use and there is a stream.
async fn better(quic: Reached, stream: impl Future<Output = Result<Reached, JoinError>>) -> Reached {
    let before = Traffic::of(&quic.link);
    settled_budget(&quic.link).await;
    // A good path has answered meanwhile, and has lost nothing but probes for its size. Only another one is tried harder.
    if !before.until_now(&quic.link).is_doubtful() {
        return quic;
    }
    let Err(trouble) = prove(&quic.link).await else { return quic };
    match tokio::time::timeout(STREAM_PATIENCE, stream).await {
        Ok(Ok(reached)) => {
            quic.link.close("the stream does better");
            reached.because(&trouble.into_fault().cause)
        }
        _ => quic,
    }
}

/// Sends as much as a game and a call would, and fails when too much of it is lost.
async fn prove(link: &Link) -> Result<(), JoinError> {
    settled_budget(link).await;
    let before = Traffic::of(link);
    for _ in 0..TRIAL_DATAGRAMS {
        // What the path takes no more of shows as loss.
        let _ = link.send_now(&[Bytes::from(padding(TRIAL_LEN))]);
        tokio::time::sleep(TRIAL_INTERVAL).await;
    }
    tokio::time::sleep(link.rtt().unwrap_or_default() * 2).await;
    link.help_search().await;
    tokio::time::sleep(link.rtt().unwrap_or_default() * 2).await;
    before.until_now(link).trouble().map_or(Ok(()), |trouble| Err(unreachable(trouble)))
}

/// Packets on a path, in numbers.
#[derive(Clone, Copy)]
struct Traffic {
    sent: u64,
    lost: u64,
    received: u64,
}

impl Traffic {
    fn of(link: &Link) -> Self {
        let facts = link.path_facts();
        Self { sent: facts.sent_packets, lost: facts.lost_packets, received: link.received_packets() }
    }

    fn until_now(self, link: &Link) -> Self {
        let now = Self::of(link);
        let since = u64::saturating_sub;
        Self { sent: since(now.sent, self.sent), lost: since(now.lost, self.lost), received: since(now.received, self.received) }
    }

    const fn is_doubtful(self) -> bool {
        self.lost > 0 || (self.sent >= ANSWERED_AFTER && self.received == 0)
    }

    /// Why the path is of little use, in words.
    fn trouble(self) -> Option<String> {
        if self.sent < LOSS_PACKETS_MIN {
            return Some("UDP takes hardly a packet on the way to the relay".into());
        }
        if self.received == 0 {
            return Some("UDP brings nothing back from the relay".into());
        }
        let percent = (self.lost * 100 / self.sent).min(100);
        (percent > LOSS_PERCENT_MAX).then(|| format!("UDP loses {percent} of 100 packets on the way to the relay"))
    }
}

fn unreachable(cause: String) -> JoinError {
    JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, ""))
}
