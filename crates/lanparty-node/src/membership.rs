//! Joining a room: dial the relay, measure the path, say hello, be welcomed or refused with words.

pub(crate) mod bond;
mod direct;
mod follow;
mod quic;
mod race;
mod standby;
pub(crate) mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_core::{Carrier, Step};
use lanparty_proto::{
    AddressRequest, Control, DatagramBudget, Hello, LAN_MTU_MIN, Login, MacAddr, MemberId, Move, PROTOCOL_VERSION, Role, RoomCode, Welcome,
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::control::{ControlReader, ControlWriter};
use crate::{DeviceLimit, ExitCode, Fault, Identity, IntroductionFlags, Link, LinkEnded, Proxy, RelayAddress, RelayTrust, Sizing, sizing};
pub use bond::BondPlan;
use quic::DialEndpoint;
use race::Reached;
pub use standby::{Behind, StandbyLine};

/// Time for the relay to answer a hello.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for path MTU discovery before saying hello with what is known.
const SETTLE_MAX: Duration = Duration::from_millis(1500);
/// The path is taken as settled when its budget has not moved for this long, or for eight round trips: a size that does not
/// pass is tried three times.
const SETTLE_QUIET: Duration = Duration::from_millis(60);
/// Time for the uplinks' counts to be saved.
const STEWARD_LINGER: Duration = Duration::from_secs(1);
/// Time for a farewell to reach the relay.
const CLOSE_LINGER: Duration = Duration::from_millis(200);

/// Why joining failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    /// It makes no sense to try again without a change.
    #[error("{0}")]
    Final(Fault),
    /// The room has a gateway, and this one cannot be seen to be on its LAN.
    #[error("{0}")]
    SecondGateway(Fault),
    /// The relay did not answer, or broke off: trying again may help.
    #[error("{0}")]
    Unreachable(Fault),
}

impl JoinError {
    /// The fault behind it.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        match self {
            Self::Final(fault) | Self::SecondGateway(fault) | Self::Unreachable(fault) => fault,
        }
    }
}

/// What a member wants to be.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Gateway or client.
    pub role: Role,
    /// The room.
    pub room: RoomCode,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Program and version.
    pub software: String,
    /// Gateway: whether its LAN has a carrier.
    pub lan_up: bool,
    /// The number it had before.
    pub resume: Option<MemberId>,
    /// Client: the addresses that it wants of the relay.
    pub addresses: Option<AddressRequest>,
}

/// A joined room.
pub struct Joined {
    /// The connection.
    pub link: Link,
    /// Messages from the relay.
    pub control_in: ControlReader,
    /// Messages to the relay.
    pub control_out: ControlWriter,
    /// What the relay answered.
    pub welcome: Welcome,
    /// The relay's address.
    pub remote: SocketAddr,
    /// The budget the relay was told.
    pub told_budget: DatagramBudget,
    /// What the relay was told of the LAN's carrier.
    pub told_lan_up: bool,
    /// Why this is not QUIC, in words.
    pub trouble: Option<String>,
}

/// Which way to the relay a member may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Transport {
    /// QUIC over UDP where that works, else TLS over TCP
    #[default]
    Auto,
    /// QUIC over UDP only
    Quic,
    /// TLS over TCP only
    Stream,
}

/// Everything needed to reach one relay, again and again.
pub struct Dialer {
    relay: RelayAddress,
    server_name: String,
    trust: RelayTrust,
    /// The tunnel's own interface: never the way to the relay.
    own_interface: Option<String>,
    sizing: Sizing,
    device_limit: DeviceLimit,
    endpoints: Vec<DialEndpoint>,
    /// The interface that leads to the relay, beside the tunnel.
    uplink: Option<String>,
    /// Whether it waits for DNS now.
    resolving: bool,
    /// What probing the path's size without QUIC said, where it was needed: once in an outage is enough, and a relay that restarts
    /// must not wait for it.
    probed: Option<Option<Fault>>,
    transport: Transport,
    /// Why the newest try of a stream failed.
    stream_fault: race::StreamFault,
    /// Whether other members may reach us without the relay.
    is_direct: bool,
    /// Sockets of uplinks for addresses of the family by which the relay is not reached.
    beside: Vec<direct::Beside>,
    /// Whether the router is asked to let them in.
    maps_ports: bool,
    proxy: Option<Proxy>,
    /// Where streams are taken, when that is not the relay's address.
    stream_relay: Option<RelayAddress>,
    /// Random: who knows it may move our membership to another connection.
    run: u64,
    standby: StandbyLine,
    introduction: IntroductionFlags,
    /// The user's password as it was at the start: its file may be out of reach once rights were given up.
    login: Option<Login>,
    /// Several uplinks, when they are to be used.
    bond: Option<BondPlan>,
    /// Sees to the uplinks of the newest bond, and saves what they have carried when that has ended.
    steward: Option<tokio::task::JoinHandle<()>>,
}

impl Dialer {
    /// A dialer for `relay`, whose certificate must name `server_name` (the host, when none is given).
    #[must_use]
    pub fn new(relay: RelayAddress, server_name: Option<String>, trust: RelayTrust) -> Self {
        let server_name = server_name.unwrap_or_else(|| relay.host().to_owned());
        Self {
            relay,
            server_name,
            trust,
            own_interface: None,
            sizing: Sizing::default(),
            device_limit: DeviceLimit::default(),
            endpoints: vec![],
            uplink: None,
            resolving: false,
            probed: None,
            transport: Transport::Auto,
            stream_fault: race::StreamFault::default(),
            is_direct: false,
            beside: vec![],
            maps_ports: false,
            proxy: None,
            stream_relay: None,
            run: random_run(),
            standby: StandbyLine::default(),
            introduction: IntroductionFlags::default(),
            login: None,
            bond: None,
            steward: None,
        }
    }

    /// Names the tunnel's own interface, so that a default route learnt through the tunnel never carries the tunnel.
    #[must_use]
    pub fn avoiding(mut self, interface: String) -> Self {
        self.own_interface = Some(interface);
        self
    }

    /// Uses these sizes on every path.
    #[must_use]
    pub const fn sized(mut self, sizing: Sizing) -> Self {
        self.sizing = sizing;
        self
    }

    /// Asks for no more than the member's device takes, at any time.
    #[must_use]
    pub fn on_device(mut self, limit: DeviceLimit) -> Self {
        self.device_limit = limit;
        self
    }

    /// Takes this way, or the better of both; streams go through `proxy`, and to `stream_relay` when that is not the relay's address.
    #[must_use]
    pub fn by(mut self, transport: Transport, proxy: Option<Proxy>, stream_relay: Option<RelayAddress>) -> Self {
        (self.transport, self.proxy, self.stream_relay) = (transport, proxy, stream_relay);
        self
    }

    /// Lets other members reach us without the relay.
    #[must_use]
    pub const fn direct(mut self, is_direct: bool) -> Self {
        self.is_direct = is_direct;
        self
    }

    /// Asks this network's router to let them in.
    #[must_use]
    pub const fn mapping_ports(mut self, maps_ports: bool) -> Self {
        self.maps_ports = maps_ports;
        self
    }

    /// Lets a gateway stand by on this line.
    #[must_use]
    pub fn standing_by(mut self, line: StandbyLine) -> Self {
        self.standby = line;
        self
    }

    /// The line on which a gateway stands by.
    pub(crate) fn standby(&self) -> StandbyLine {
        self.standby.clone()
    }

    /// Waits until the relay knows that we are gone, for a moment at most.
    pub async fn close(&mut self, reason: &str) {
        if let Some(steward) = self.steward.take() {
            let _ = tokio::time::timeout(STEWARD_LINGER, steward).await;
        }
        for dial in &self.endpoints {
            dial.endpoint.close(lanparty_quic::VarInt::from_u32(0), reason.as_bytes());
            let _ = tokio::time::timeout(CLOSE_LINGER, dial.endpoint.wait_idle()).await;
        }
    }

    /// What an attempt that was cut off had been waiting for.
    pub(crate) fn unanswered(&self) -> JoinError {
        let unreachable = |cause: String, advice| JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, advice));
        if self.resolving && self.probed.is_none() {
            let cause = format!("the relay's name `{}` does not resolve: DNS does not answer", self.relay.host());
            return unreachable(cause, "check the spelling of --relay and this machine's DNS");
        }
        let by_quic = || {
            let probed = self.probed.clone().flatten().map(JoinError::Unreachable);
            probed.unwrap_or_else(|| unreachable(words::does_not_answer(&self.relay), words::REACH_ADVICE))
        };
        match (self.transport, self.stream_fault.now().map(JoinError::Unreachable)) {
            (Transport::Quic, _) | (Transport::Auto, None) => by_quic(),
            (Transport::Auto, Some(stream)) => words::neither(by_quic(), stream),
            (Transport::Stream, Some(stream)) => stream,
            (Transport::Stream, None) => unreachable(format!("the relay at {} does not answer (TCP)", self.relay), words::STREAM_ADVICE),
        }
    }

    /// The relay.
    #[must_use]
    pub const fn relay(&self) -> &RelayAddress {
        &self.relay
    }

    /// Introduces the member like that.
    ///
    /// # Errors
    /// When the file of the password cannot be used.
    pub fn introduced(mut self, introduction: IntroductionFlags) -> Result<Self, Fault> {
        self.login = introduction.login()?;
        self.introduction = introduction;
        Ok(self)
    }

    /// Joins the room.
    ///
    /// # Errors
    /// [`JoinError`] in words for the user.
    pub async fn join(&mut self, identity: &Arc<Identity>, request: &JoinRequest) -> Result<Joined, JoinError> {
        if let Some(plan) = self.bond.clone() {
            return self.join_bonded(plan, identity, request).await;
        }
        let Reached { link, remote, trouble } = self.connect(identity).await?;
        let joined = self.say_hello(&link, request).await;
        self.standby.set_behind(None);
        let (control_in, control_out, welcome, told_budget) = joined.inspect_err(|_| link.close("could not join"))?;
        if link.carrier() == Carrier::Quic {
            sizing::check(&link, self.sizing, &welcome).await.map_err(words::broke_off)?;
        }
        Ok(Joined { link, control_in, control_out, welcome, remote, told_budget, told_lan_up: request.lan_up, trouble })
    }

    /// Moves a membership that this dialer began to another connection. For [`Step::Larger`] that must take larger datagrams than `than`,
    /// both ways.
    ///
    /// # Errors
    /// [`JoinError`] when there is no such connection, or the relay does not move it; the membership is where it was.
    pub async fn move_over(
        &mut self,
        identity: &Identity,
        request: &JoinRequest,
        step: Step,
        than: DatagramBudget,
    ) -> Result<Joined, JoinError> {
        let Reached { link, remote, trouble } = self.reach(identity, step).await?;
        let budget = settled_budget(&link).await;
        let above = if step == Step::Larger { than } else { DatagramBudget(0) };
        if budget <= above {
            link.close("not larger than before");
            return Err(JoinError::Unreachable(Fault::new(ExitCode::Unexpected, "a fresh connection takes no larger datagrams", "")));
        }
        let wanted = Move { version: PROTOCOL_VERSION, room: request.room.clone(), run: self.run, budget, above };
        let moved = ask(&link, Control::Move(wanted), &self.standby).await;
        let Asked { control: (control_in, control_out), welcome, .. } = moved.inspect_err(|_| link.close("could not move"))?;
        Ok(Joined { link, control_in, control_out, welcome, remote, told_budget: budget, told_lan_up: request.lan_up, trouble })
    }

    async fn say_hello(
        &self,
        link: &Link,
        request: &JoinRequest,
    ) -> Result<(ControlReader, ControlWriter, Welcome, DatagramBudget), JoinError> {
        let budget = settled_budget(link).await;
        let hello = self.hello(request, budget, None)?;
        let Asked { control: (control_in, control_out), welcome, .. } = ask(link, Control::Hello(hello), &self.standby).await?;
        Ok((control_in, control_out, welcome, budget))
    }

    /// The hello of a member whose path takes datagrams of `budget` bytes.
    fn hello(&self, request: &JoinRequest, budget: DatagramBudget, bond: Option<lanparty_proto::BondPath>) -> Result<Hello, JoinError> {
        if budget.lan_mtu().is_none() {
            let cause =
                format!("the path to the relay takes datagrams of {budget} bytes only; an Ethernet of {LAN_MTU_MIN} bytes does not fit");
            return Err(JoinError::Final(Fault::new(ExitCode::Unexpected, cause, "use another uplink")));
        }
        let (joins_lans, has_listened) = self.standby.lans();
        Ok(Hello {
            version: PROTOCOL_VERSION,
            role: request.role,
            room: request.room.clone(),
            mac: request.mac,
            budget,
            software: request.software.clone(),
            lan_up: request.lan_up,
            resume: request.resume,
            run: self.run,
            hears: self.standby.hears(),
            joins_lans,
            has_listened,
            bond,
            addresses: request.addresses.clone(),
            description: self.introduction.description(),
            login: self.introduction.login().unwrap_or_else(|_| self.login.clone()),
        })
    }
}

/// Never 0, which stands for a member that does not move.
pub(crate) fn random_run() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    u64::from_ne_bytes(bytes).max(1)
}

/// Waits until path MTU discovery has an answer, so that a newcomer does not shrink the room for its first second.
pub(crate) async fn settled_budget(link: &Link) -> DatagramBudget {
    let start = Instant::now();
    let (mut budget, mut since) = (link.budget(), start);
    loop {
        link.help_search().await;
        let (now, found) = (Instant::now(), link.budget());
        if found != budget {
            (budget, since) = (found, now);
        }
        let quiet = SETTLE_QUIET.max(link.rtt().unwrap_or_default() * 8);
        if link.is_at_most() || now - since >= quiet || now - start >= SETTLE_MAX {
            return budget;
        }
    }
}

/// What came of a first message.
struct Asked {
    control: (ControlReader, ControlWriter),
    welcome: Welcome,
    /// So many messages were numbered.
    heard: u32,
}

/// Opens the control stream with this message, and waits for what the relay says to it. A gateway that may stand by waits for as long as
/// it does.
async fn ask(link: &Link, first: Control, line: &StandbyLine) -> Result<Asked, JoinError> {
    let (mut control_in, mut control_out) = link.open_control().await.map_err(words::broke_off)?;
    control_out.send(&first).await.map_err(words::broke_off)?;
    let silent = || LinkEnded { reason: "no answer to the hello".into(), by_peer: false };
    let mut heard = 0;
    loop {
        let answer = async {
            match line.behind() {
                Some(_) => control_in.next().await,
                None => tokio::time::timeout(WELCOME_TIMEOUT, control_in.next()).await.unwrap_or_else(|_| Err(silent())),
            }
        };
        let message = tokio::select! {
            message = answer => message.map_err(words::broke_off)?,
            said = line.said() => {
                for message in said {
                    control_out.send(&message).await.map_err(words::broke_off)?;
                }
                continue;
            }
        };
        let message = match message {
            Control::Numbered { n, message } => {
                heard = n + 1;
                *message
            }
            message => message,
        };
        match message {
            Control::Welcome(welcome) => return Ok(Asked { control: (control_in, control_out), welcome, heard }),
            Control::Refused { code, message } => return Err(words::refused(code, &message)),
            Control::Standby { behind, mac } => line.set_behind(Some(Behind { member: behind, mac, since: Instant::now() })),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lanparty_quic::crypto::rustls::QuicServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;
    use crate::tls::provider;

    const NAME: &str = "server.example";

    fn request() -> JoinRequest {
        JoinRequest {
            role: Role::Client,
            room: "ROOM1".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            software: "test".into(),
            lan_up: true,
            resume: None,
            addresses: None,
        }
    }

    /// A QUIC server that speaks something else, and its certificate in `file`.
    fn another_server(file: &std::path::Path) -> lanparty_quic::Endpoint {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(file, certificate.der()).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut tls = tls.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = lanparty_quic::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        crate::endpoint::endpoint_at([127, 0, 0, 1], Some(config))
    }

    #[tokio::test]
    async fn a_server_of_another_protocol_is_no_relay_and_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let certificate = dir.path().join("certificate.der");
        let server = another_server(&certificate);
        let relay = server.local_addr().unwrap().to_string().parse().unwrap();
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                drop(incoming.accept().unwrap().await);
            }
        });
        let (identity, _) = Identity::load_or_create(dir.path().join("identity.json"), false).unwrap();
        let mut dialer = Dialer::new(relay, Some(NAME.into()), RelayTrust::load(Some(&certificate)).unwrap());
        let refused = dialer.join(&Arc::new(identity), &request()).await;
        let Err(JoinError::Final(fault)) = refused else { panic!("{:?}", refused.err()) };
        assert_eq!(fault.code, ExitCode::Refused);
        assert!(fault.cause.contains("speaks no lanparty protocol"), "{fault}");
    }
}
