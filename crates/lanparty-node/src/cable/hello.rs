//! From a UDP address to a cable that may be plugged in: handshake, search for the path's size, hello and answer.
//!
//! No frame crosses before both hellos have: only then has each end proven its key to the other (with TLS 1.3 the dialling end
//! is through with the handshake before the other one has looked at its key).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lanparty_proto::{BondPath, CableAttach, CableHello, Control, DatagramBudget, LAN_MTU_MIN, LanMtu, PROTOCOL_VERSION, Refusal};
use lanparty_quic::{Connecting, Connection, ConnectionError};

use super::bond::{self, Attaching};
use super::endpoint::CableEndpoint;
use super::way;
use super::words::{self, Keys};
use crate::endpoint::canonical;
use crate::membership::bond::numbered;
use crate::membership::settled_budget;
use crate::pin::Pin;
use crate::{CableAddress, CongestionControl, ControlReader, ControlWriter, ExitCode, Fault, Link, LinkEnded};

/// Time for one address of the other end to answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for a hello, or its answer. Each end searches the path first, for half of it at most.
const HELLO_TIMEOUT: Duration = Duration::from_secs(4);

/// With these words a connection ends that nobody needs any more.
pub(super) const NEEDLESS: &str = "both ends dialled, and the other connection stays";

/// What this end says of itself; the budget is filled in for each connection.
#[derive(Clone)]
pub(super) struct Intro {
    pub(super) hello: CableHello,
    /// Whether the cable is plugged in meanwhile.
    pub(super) is_plugged: Arc<AtomicBool>,
}

impl Intro {
    fn with(&self, budget: DatagramBudget, lan_mtu: Option<LanMtu>, since: Option<u64>, bond: Option<BondPath>) -> Control {
        Control::CableHello(CableHello { budget, lan_mtu, since, bond, ..self.hello.clone() })
    }
}

/// Why there is no new connection.
pub(super) enum NotContacted {
    /// There is one already.
    Needless,
    /// In words.
    Failed(Fault),
}

impl From<Fault> for NotContacted {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// A connection with the right key at both ends.
pub(super) struct Contacted {
    pub(super) link: Link,
    pub(super) control_in: ControlReader,
    pub(super) control_out: ControlWriter,
    /// What the other end said.
    pub(super) theirs: CableHello,
    /// What this end's path takes.
    pub(super) budget: DatagramBudget,
    pub(super) remote: SocketAddr,
    pub(super) has_dialled: bool,
    /// What it is to a bond, and a name for it, when there shall be one.
    pub(super) bond: Option<(BondPath, String)>,
}

impl Contacted {
    /// Answers the hello of the end that dialled.
    pub(super) async fn answer(&mut self, intro: &Intro, lan_mtu: LanMtu, since: u64) -> Result<(), LinkEnded> {
        self.control_out.send(&intro.with(self.budget, Some(lan_mtu), Some(since), self.bond.as_ref().map(|(bond, _)| *bond))).await
    }
}

/// Dials every address that the other end's name has now, in the resolver's order (RFC 6724).
pub(super) async fn dial(endpoint: CableEndpoint, to: CableAddress, intro: Intro, interface: String) -> Result<Contacted, NotContacted> {
    let mut last = None;
    for remote in to.resolve().await? {
        match dial_one(&endpoint, remote, &intro, &interface).await {
            Ok(contacted) => return Ok(contacted),
            Err(NotContacted::Needless) => return Err(NotContacted::Needless),
            Err(NotContacted::Failed(fault)) => last = Some(fault),
        }
    }
    Err(last.unwrap_or_else(|| words::silent(&to)).into())
}

async fn dial_one(endpoint: &CableEndpoint, remote: SocketAddr, intro: &Intro, interface: &str) -> Result<Contacted, NotContacted> {
    way::check(remote, interface)?;
    let (connecting, pin) = endpoint
        .dial(remote)
        .map_err(|e| Fault::new(ExitCode::Configuration, format!("cannot dial {remote}: {e}"), "check --remote and --listen"))?;
    let connection = shake_hands(endpoint, connecting, &pin, remote, true).await?;
    introduce_with(endpoint, Link::new(connection), &pin, remote, intro, None).await
}

/// A connection by one uplink, whose other end has shown the right key.
pub(super) async fn shake_hands_by(
    endpoint: &CableEndpoint,
    remote: SocketAddr,
    uplink: &str,
    congestion: CongestionControl,
) -> Result<Link, Fault> {
    let (connecting, pin) = endpoint.dial_by(remote, uplink, congestion)?;
    shake_hands(endpoint, connecting, &pin, remote, true).await.map(Link::new)
}

/// Says hello on a connection that is to be the first path of a bond.
pub(super) async fn introduce(
    endpoint: &CableEndpoint,
    link: Link,
    remote: SocketAddr,
    intro: &Intro,
    bond: Option<(BondPath, String)>,
) -> Result<Contacted, NotContacted> {
    // Its handshake has looked at the key already.
    introduce_with(endpoint, link, &Pin::new(endpoint.peer(), &[]), remote, intro, bond).await
}

async fn introduce_with(
    endpoint: &CableEndpoint,
    link: Link,
    pin: &Pin,
    remote: SocketAddr,
    intro: &Intro,
    bond: Option<(BondPath, String)>,
) -> Result<Contacted, NotContacted> {
    let broken = |ended: LinkEnded| explain(endpoint, &link, pin, remote, true, &ended);
    let found = settled_budget(&link).await;
    let budget = if bond.is_some() { numbered(found) } else { found };
    // Before the hello the other end cannot have taken this connection.
    if intro.is_plugged.load(Ordering::Relaxed) {
        link.close(NEEDLESS);
        return Err(NotContacted::Needless);
    }
    let (mut control_in, mut control_out) = link.open_control().await.map_err(&broken)?;
    let path = bond.as_ref().map(|(path, _)| *path);
    control_out.send(&intro.with(budget, None, None, path)).await.map_err(&broken)?;
    let theirs = next_hello(&mut control_in).await.map_err(&broken)?.map_err(|words| refused(remote, &words))?;
    Ok(Contacted { link, control_in, control_out, theirs, budget, remote, has_dialled: true, bond })
}

/// What somebody who dialled wants.
pub(super) enum Heard {
    /// To plug the cable in.
    Hello(Contacted),
    /// To be a further path of it.
    Path(Attaching),
}

/// Hears out somebody who dialled. It is answered by who decides.
pub(super) async fn hear_out(endpoint: CableEndpoint, incoming: lanparty_quic::Incoming) -> Result<Heard, NotContacted> {
    let remote = canonical(incoming.remote_address());
    let broke_off = |e: &ConnectionError| words::not_plugged(keys(&endpoint), remote, None, e, false);
    let (connecting, pin) = endpoint.answer(incoming).map_err(|e| broke_off(&e))?;
    let connection = shake_hands(&endpoint, connecting, &pin, remote, false).await?;
    let link = Link::new(connection);
    let broken = |ended: LinkEnded| explain(&endpoint, &link, &pin, remote, false, &ended);
    let (budget, control) = tokio::join!(settled_budget(&link), in_time(link.accept_control()));
    let (mut control_in, control_out) = control.map_err(&broken)?;
    let theirs = match first_words(&mut control_in).await.map_err(&broken)?.map_err(|words| refused(remote, &words))? {
        First::Hello(hello) => hello,
        First::Attach(wanted) => return Ok(Heard::Path(Attaching { link, control: (control_in, control_out), wanted, remote })),
    };
    if theirs.version != PROTOCOL_VERSION {
        let words = format!("version {} of the cable's protocol; this end speaks {PROTOCOL_VERSION}", theirs.version);
        refuse(control_out, &link, Refusal::Version, &words).await;
        return Err(refused(remote, &words).into());
    }
    let bond = bond::first_path(theirs.bond, remote);
    let budget = if bond.is_some() { numbered(budget) } else { budget };
    Ok(Heard::Hello(Contacted { link, control_in, control_out, theirs, budget, remote, has_dialled: false, bond }))
}

async fn shake_hands(
    endpoint: &CableEndpoint,
    connecting: Connecting,
    pin: &Pin,
    remote: SocketAddr,
    has_dialled: bool,
) -> Result<Connection, Fault> {
    let outcome = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await;
    let outcome = outcome.unwrap_or(Err(ConnectionError::TimedOut));
    outcome.map_err(|e| words::not_plugged(keys(endpoint), remote, pin.wrong_key(), &e, has_dialled))
}

/// Why a connection ended before it was plugged in: the other end may have refused our key only then.
fn explain(endpoint: &CableEndpoint, link: &Link, pin: &Pin, remote: SocketAddr, has_dialled: bool, ended: &LinkEnded) -> NotContacted {
    match link.close_reason() {
        Some(error @ (ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_))) => {
            words::not_plugged(keys(endpoint), remote, pin.wrong_key(), &error, has_dialled).into()
        }
        _ if ended.reason == NEEDLESS => NotContacted::Needless,
        _ => Fault::new(ExitCode::Unexpected, format!("{remote} broke off: {ended}"), "").into(),
    }
}

/// How a connection may begin.
enum First {
    Hello(CableHello),
    Attach(CableAttach),
}

/// The other end's hello, or why it refuses.
async fn next_hello(control_in: &mut ControlReader) -> Result<Result<CableHello, String>, LinkEnded> {
    loop {
        match first_words(control_in).await? {
            Ok(First::Hello(hello)) => return Ok(Ok(hello)),
            Ok(First::Attach(_)) => {}
            Err(words) => return Ok(Err(words)),
        }
    }
}

async fn first_words(control_in: &mut ControlReader) -> Result<Result<First, String>, LinkEnded> {
    loop {
        match in_time(control_in.next()).await? {
            Control::CableHello(hello) => return Ok(Ok(First::Hello(hello))),
            Control::CableAttach(wanted) => return Ok(Ok(First::Attach(wanted))),
            Control::Refused { message, .. } => return Ok(Err(message)),
            Control::Bye { reason } => return Err(LinkEnded { reason, by_peer: true }),
            _ => {}
        }
    }
}

async fn in_time<T>(what: impl Future<Output = Result<T, LinkEnded>>) -> Result<T, LinkEnded> {
    let late = |_| Err(LinkEnded { reason: "no hello came in time".into(), by_peer: false });
    tokio::time::timeout(HELLO_TIMEOUT, what).await.unwrap_or_else(late)
}

/// Refuses with words that have a moment to arrive.
pub(super) async fn refuse(mut control_out: ControlWriter, link: &Link, code: Refusal, words: &str) {
    const LINGER: Duration = Duration::from_millis(300);
    if control_out.send(&Control::Refused { code, message: words.to_owned() }).await.is_ok() {
        control_out.finish();
        let _ = tokio::time::timeout(LINGER, link.ended()).await;
    }
    link.close(words);
}

fn refused(remote: SocketAddr, words: &str) -> Fault {
    Fault::new(ExitCode::Refused, format!("the cable between here and {remote} is refused: {words}"), "")
}

/// The words for a path on which no Ethernet fits.
pub(super) fn too_small(budget: DatagramBudget) -> String {
    format!("the path takes datagrams of {budget} bytes only; an Ethernet of {LAN_MTU_MIN} bytes does not fit")
}

fn keys(endpoint: &CableEndpoint) -> Keys {
    Keys { own: endpoint.own(), peer: endpoint.peer() }
}
