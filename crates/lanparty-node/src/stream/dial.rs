//! A member's way to a relay over TCP: connect, perhaps through a proxy, TLS, the upgrade, and the proof of who we are.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::PATH;
use super::challenge::{self, Proof};
use super::clock::Io;
use super::http::{self, HeadError, Response};
use super::link::StreamLink;
use super::proxy::Proxy;
use super::socket::{self, WebSocket};
use crate::membership::words;
use crate::{ExitCode, Fault, Identity, JoinError, LinkEnded, RelayAddress, RelayTrust, uplink};

/// Time for one address to take a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for a step after that: a proxy's answer, TLS, the upgrade, the proof.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
const REACH_ADVICE: &str =
    "check that the relay runs and listens for streams, that --relay names it, and that no firewall blocks this TCP port";

/// How a stream gets to a relay.
#[derive(Clone, Debug)]
pub enum StreamWay {
    /// To this address of the relay.
    Direct(SocketAddr),
    /// Through a proxy, which is told the relay's name and resolves it itself.
    Through(Proxy),
}

/// Where a stream leads.
#[derive(Clone, Debug)]
pub struct StreamTarget {
    /// The relay, as its user named it.
    pub relay: RelayAddress,
    /// How to get there.
    pub way: StreamWay,
    /// The name in the relay's certificate.
    pub server_name: String,
    /// The interface to stay on.
    pub uplink: Option<String>,
}

impl Display for StreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            StreamWay::Direct(remote) => remote.fmt(f),
            StreamWay::Through(proxy) => write!(f, "{} (through the proxy {proxy})", self.relay),
        }
    }
}

/// Connects to a relay that listens for streams.
///
/// # Errors
/// [`JoinError`] in words for the user.
pub async fn dial_stream(target: &StreamTarget, trust: &RelayTrust, identity: &Identity) -> Result<StreamLink, JoinError> {
    let (socket, remote) = open(target, trust, identity).await?;
    Ok(StreamLink::start(socket, remote))
}

/// A socket on which the relay has accepted us, and the address it leads to.
pub(super) async fn open(target: &StreamTarget, trust: &RelayTrust, identity: &Identity) -> Result<(WebSocket, SocketAddr), JoinError> {
    let (tcp, remote) = match &target.way {
        StreamWay::Direct(remote) => (connect(*remote, target.uplink.as_deref()).await.map_err(|e| not_reached(target, &e))?, *remote),
        StreamWay::Through(proxy) => through(proxy, target).await?,
    };
    let (io, certificate) = in_time(target, "TLS", secure(tcp, target, trust)).await?;
    let name = challenge::name_of(&target.server_name, certificate.as_ref());
    let mut socket = in_time(target, "the upgrade to WebSocket", upgrade(io, target)).await?;
    in_time(target, "the proof of identity", prove(&mut socket, target, &name, identity)).await?;
    Ok((socket, remote))
}

async fn in_time<T>(target: &StreamTarget, step: &str, work: impl Future<Output = Result<T, JoinError>>) -> Result<T, JoinError> {
    tokio::time::timeout(STEP_TIMEOUT, work).await.unwrap_or_else(|_| {
        let cause = format!("the relay at {target} took the connection and then did not answer: {step} took too long");
        Err(unreachable(cause, REACH_ADVICE))
    })
}

/// A TCP connection that stays on `uplink`.
async fn connect(remote: SocketAddr, uplink: Option<&str>) -> io::Result<TcpStream> {
    let socket = socket::tcp_socket(remote)?;
    if let Some(uplink) = uplink {
        uplink::bind(&socket, uplink);
    }
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(remote);
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    socket::tune(&stream)?;
    Ok(stream)
}

/// A connection to the relay that a proxy made for us (RFC 9110 §9.3.6).
async fn through(proxy: &Proxy, target: &StreamTarget) -> Result<(TcpStream, SocketAddr), JoinError> {
    let advice = "check the proxy's name and port";
    let unresolved = |detail: &dyn Display| unreachable(format!("the proxy's name `{}` does not resolve: {detail}", proxy.host()), advice);
    let addresses = tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((proxy.host(), proxy.port()))).await;
    let mut last = unresolved(&"DNS does not answer");
    for address in addresses.map_or_else(|_| Ok(vec![]), |a| a.map(Iterator::collect)).map_err(|e| unresolved(&e))? {
        match connect(address, target.uplink.as_deref()).await {
            Ok(mut stream) => {
                let asked = tokio::time::timeout(STEP_TIMEOUT, ask_proxy(&mut stream, proxy, target)).await;
                asked.unwrap_or_else(|_| Err(unreachable(format!("the proxy {proxy} does not answer"), advice)))?;
                return Ok((stream, address));
            }
            Err(e) => last = unreachable(format!("no connection to the proxy {proxy}: {}", tcp_words(&e)), advice),
        }
    }
    Err(last)
}

async fn ask_proxy(stream: &mut TcpStream, proxy: &Proxy, target: &StreamTarget) -> Result<(), JoinError> {
    let relay = &target.relay;
    let credentials = proxy.credentials().map(|c| format!("Proxy-Authorization: Basic {c}\r\n")).unwrap_or_default();
    let request = format!("CONNECT {relay} HTTP/1.1\r\nHost: {relay}\r\n{credentials}\r\n");
    let no_proxy = |e: &HeadError| match e {
        HeadError::Syntax(_) | HeadError::TooLong => {
            let cause = format!("the server at {proxy} is no HTTP proxy: it speaks something else");
            JoinError::Final(Fault::new(ExitCode::Configuration, cause, "check the proxy's name and port"))
        }
        e => unreachable(format!("the proxy {proxy} broke off: {e}"), "check that it allows CONNECT to this port"),
    };
    stream.write_all(request.as_bytes()).await.map_err(|e| no_proxy(&e.into()))?;
    let (response, behind) = http::read_response(stream).await.map_err(|e| no_proxy(&e))?;
    match refused_by_proxy(&response, proxy, target) {
        Some(refused) => Err(refused),
        None if behind.is_empty() => Ok(()),
        // A TLS server waits for us to speak first.
        None => Err(no_proxy(&HeadError::Syntax(httparse::Error::Token))),
    }
}

fn refused_by_proxy(response: &Response, proxy: &Proxy, target: &StreamTarget) -> Option<JoinError> {
    let (status, relay) = (response.status, &target.relay);
    let final_ = |code, cause: String, advice: &str| Some(JoinError::Final(Fault::new(code, cause, advice)));
    match status {
        200..=299 => None,
        407 if !response.fields.has_scheme("proxy-authenticate", "basic") => {
            let wanted = response.fields.last("proxy-authenticate").unwrap_or("something unnamed");
            let cause = format!("the proxy {proxy} wants to know who you are by a method that lanparty does not know: {wanted}");
            final_(ExitCode::Configuration, cause, "ask its operator for a user that may log in by HTTP Basic, or for an exception")
        }
        407 if proxy.credentials().is_none() => {
            let cause = format!("the proxy {proxy} wants a user and a password (407)");
            final_(ExitCode::Configuration, cause, "write them into the proxy's URL: http://USER:PASSWORD@HOST:PORT")
        }
        407 => {
            let cause = format!("the proxy {proxy} does not accept this user and password (407)");
            final_(ExitCode::Configuration, cause, "check them in the proxy's URL; special characters are written as %XX")
        }
        403 | 405 => {
            let cause = format!("the proxy {proxy} does not allow connections to {relay} ({status})");
            final_(ExitCode::Refused, cause, "most proxies allow port 443 only; else ask its operator for an exception")
        }
        502..=504 => Some(unreachable(format!("the proxy {proxy} does not reach {relay} ({status})"), REACH_ADVICE)),
        _ => Some(unreachable(
            format!("the proxy {proxy} refused a connection to {relay}: {status} {}", response.reason),
            "look at the proxy's log",
        )),
    }
}

/// TLS, and the certificate that the relay, or the server in front of it, showed.
pub(super) async fn secure(
    tcp: TcpStream,
    target: &StreamTarget,
    trust: &RelayTrust,
) -> Result<(Box<dyn Io>, Option<CertificateDer<'static>>), JoinError> {
    let configuration = |cause: String| JoinError::Final(Fault::new(ExitCode::Configuration, cause, "check --relay and --server-name"));
    let name = ServerName::try_from(target.server_name.clone())
        .map_err(|_| configuration(format!("`{}` cannot be the name in a certificate", target.server_name)))?;
    let config = trust.stream_config().map_err(|e| configuration(format!("TLS cannot be set up: {e}")))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| not_secured(target, trust, &e))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).cloned();
    Ok((Box::new(stream), certificate))
}

fn not_secured(target: &StreamTarget, trust: &RelayTrust, error: &io::Error) -> JoinError {
    let text = error.to_string();
    if let Some(fault) = words::certificate(&target.server_name, trust, target, &text) {
        return JoinError::Final(fault);
    }
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => no_relay(target, "no TLS"),
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)) => no_relay(target, &text),
        _ => unreachable(format!("no connection to the relay at {target}: {text}"), REACH_ADVICE),
    }
}

/// The upgrade of RFC 6455 §4.1.
pub(super) async fn upgrade(mut io: Box<dyn Io>, target: &StreamTarget) -> Result<WebSocket, JoinError> {
    let (key, host) = (http::upgrade_key(), host_field(target));
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nUser-Agent: {}\r\n\r\n",
        crate::software("lanparty").replace(' ', "/")
    );
    let failed = |e: &HeadError| match e {
        HeadError::Syntax(_) | HeadError::TooLong => no_relay(target, "no HTTP"),
        e => unreachable(format!("no connection to the relay at {target}: {e}"), REACH_ADVICE),
    };
    io.write_all(request.as_bytes()).await.map_err(|e| failed(&e.into()))?;
    io.flush().await.map_err(|e| failed(&e.into()))?;
    let (response, behind) = http::read_response(&mut io).await.map_err(|e| failed(&e))?;
    let accepted = response.fields.last("sec-websocket-accept") == Some(http::upgrade_answer(&key).as_str());
    match response.status {
        101 if accepted => Ok(socket::client_socket(io, behind).await),
        502..=504 => {
            let cause = format!("the server at {target} does not reach the relay behind it ({})", response.status);
            Err(unreachable(cause, &format!("check that the relay runs, and where the server in front of it passes {PATH} on to")))
        }
        426 => {
            let cause = format!("a server in front of the relay at {target} does not pass on the upgrade to WebSocket");
            Err(JoinError::Final(Fault::new(ExitCode::Refused, cause, "set it up to pass the fields Upgrade and Connection (HTTP/1.1)")))
        }
        status => Err(no_relay(target, &format!("it answers {PATH} with {status} {}", response.reason))),
    }
}

/// The name as a server with many names needs it.
fn host_field(target: &StreamTarget) -> String {
    let (name, port) = (&target.server_name, target.relay.port());
    let name = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    if port == 443 { name } else { format!("{name}:{port}") }
}

/// Answers the relay's challenge.
pub(super) async fn prove(socket: &mut WebSocket, target: &StreamTarget, name: &str, identity: &Identity) -> Result<(), JoinError> {
    let broke_off = |e: LinkEnded| unreachable(format!("the relay at {target} broke off: {e}"), "look at the relay's log");
    let Proof::Challenge { nonce } = socket::read_proof(socket).await.map_err(broke_off)? else {
        return Err(no_relay(target, "no challenge"));
    };
    socket::send_proof(socket, &challenge::answer(&nonce, name, identity)).await.map_err(broke_off)?;
    match socket::read_proof(socket).await.map_err(broke_off)? {
        Proof::Accepted => Ok(()),
        Proof::Refused { message } => {
            let cause = format!("the relay at {target} refused: {message}");
            Err(JoinError::Final(Fault::new(ExitCode::Refused, cause, "")))
        }
        _ => Err(no_relay(target, "neither accepted nor refused")),
    }
}

fn unreachable(cause: String, advice: &str) -> JoinError {
    JoinError::Unreachable(Fault::new(ExitCode::Unexpected, cause, advice))
}

fn no_relay(target: &StreamTarget, detail: &str) -> JoinError {
    let cause = format!("the server at {target} speaks no lanparty protocol that this version knows ({detail})");
    JoinError::Final(Fault::new(ExitCode::Refused, cause, words::NO_PROTOCOL_ADVICE))
}

fn not_reached(target: &StreamTarget, error: &io::Error) -> JoinError {
    unreachable(format!("the relay at {target} {}", tcp_words(error)), REACH_ADVICE)
}

fn tcp_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "does not answer (TCP)".into(),
        io::ErrorKind::ConnectionRefused => "refuses connections (TCP): nothing listens on that port".into(),
        _ => format!("cannot be reached (TCP): {error}"),
    }
}
