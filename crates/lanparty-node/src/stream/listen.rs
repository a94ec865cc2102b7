//! A relay's ear for streams: accepts TCP, answers whoever only asks, and lets members prove who they are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use lanparty_proto::IdentityId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::PATH;
use super::challenge::{self, Proof};
use super::clock::Io;
use super::http::{self, Request};
use super::link::{Shared, StreamLink};
use super::socket::{self, WebSocket};
use crate::endpoint::{cannot_listen, canonical};
use crate::tls::Current;
use crate::{ExitCode, Fault, LinkEnded, ServerTls};

/// Time for everything before the first control message.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that the kernel accepts for us.
const BACKLOG: i32 = 1024;
/// After a failure of the system (no more files) the next connection is accepted this much later.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Time for all members to hear that the relay ends.
const CLOSE_LINGER: Duration = Duration::from_millis(300);
const HOME_PAGE: &str = "This is a lanparty relay: it joins distant machines to one Ethernet. There is nothing to see in a browser;\n\
                         members name it with --relay.\n";
const NO_UPGRADE_PAGE: &str = "Members of a lanparty come here with an upgrade to WebSocket (HTTP/1.1). If you are one, a server in between\n\
                               does not pass on the fields Connection and Upgrade.\n";

/// A relay's end of streams.
pub struct StreamListener {
    listener: TcpListener,
    door: Arc<Door>,
}

/// What all attempts share.
struct Door {
    /// Nothing behind a server that ends TLS.
    tls: Option<(TlsAcceptor, Arc<Current>)>,
    public_names: Vec<String>,
    open_handshakes: AtomicUsize,
    links: Mutex<Vec<Weak<Shared>>>,
    closed: OnceLock<String>,
    has_closed: Notify,
}

impl StreamListener {
    /// Listens on `addr`, with the certificate of `tls`. Members may call the relay by the certificate's names and by `public_names`.
    ///
    /// # Errors
    /// When the port is taken or not allowed, or the certificate cannot be used.
    pub fn listen(addr: SocketAddr, tls: &ServerTls, public_names: &[String]) -> Result<Self, Fault> {
        let unusable = |e: rustls::Error| Fault::new(ExitCode::Unexpected, format!("TLS cannot be set up: {e}"), "");
        let acceptor = TlsAcceptor::from(Arc::new(tls.stream_config().map_err(unusable)?));
        Self::open(addr, Some((acceptor, tls.current())), public_names)
    }

    /// Listens without TLS, for a server on the same machine or network that ends it. Where a member comes from is then what that
    /// server says (`X-Forwarded-For`).
    ///
    /// # Errors
    /// When `addr` is not a loopback or private address, no public name is given, or the port is taken or not allowed.
    pub fn listen_plain(addr: SocketAddr, public_names: &[String]) -> Result<Self, Fault> {
        if !is_private(addr.ip()) {
            let cause = format!("streams without TLS are not offered on {addr}: everybody could read them");
            return Err(Fault::new(ExitCode::Configuration, cause, "listen on 127.0.0.1 or a private address"));
        }
        if public_names.is_empty() {
            let cause = "streams without TLS need a name that members dial";
            return Err(Fault::new(
                ExitCode::Configuration,
                cause,
                "give the name in the certificate of the server in front with --public-name",
            ));
        }
        Self::open(addr, None, public_names)
    }

    fn open(addr: SocketAddr, tls: Option<(TlsAcceptor, Arc<Current>)>, public_names: &[String]) -> Result<Self, Fault> {
        let listener = tcp_listener(addr).map_err(|e| cannot_listen(addr, "tcp", &e))?;
        let public_names = public_names.iter().map(|name| challenge::name_of(name, None)).collect();
        let door = Door {
            tls,
            public_names,
            open_handshakes: AtomicUsize::new(0),
            links: Mutex::default(),
            closed: OnceLock::new(),
            has_closed: Notify::new(),
        };
        Ok(Self { listener, door: Arc::new(door) })
    }

    /// The address it really listens on.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection attempt; `None` after [`Self::close`]. Cancel-safe.
    pub async fn accept(&self) -> Option<StreamIncoming> {
        loop {
            let closed = self.door.has_closed.notified();
            if self.door.closed.get().is_some() {
                return None;
            }
            let accepted = tokio::select! { accepted = self.listener.accept() => accepted, () = closed => continue };
            match accepted {
                // Whoever is gone already is not worth a rest: many of them would keep everybody else out.
                Ok((stream, remote)) if socket::tune(&stream).is_ok() => {
                    return Some(StreamIncoming { stream, remote: canonical(remote), handshake: Handshake::new(&self.door) });
                }
                Ok(_) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(e) => {
                    debug!("a stream was not accepted: {e}");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Attempts that were accepted and are neither members nor given up.
    #[must_use]
    pub fn open_handshakes(&self) -> usize {
        self.door.open_handshakes.load(Ordering::Relaxed)
    }

    /// Accepts no more, and ends every link that came from here.
    pub async fn close(&self, reason: &str) {
        let _ = self.door.closed.set(reason.to_owned());
        self.door.has_closed.notify_waiters();
        let links: Vec<_> = self.door.links().drain(..).filter_map(|link| link.upgrade()).collect();
        links.iter().for_each(|link| link.close(reason));
        let all_idle = async {
            for link in &links {
                link.idle().await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_LINGER, all_idle).await;
    }
}

/// `[::]` also listens on IPv4; one IPv6 address does not need to.
fn tcp_listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A relay that restarts is not kept waiting by connections of its former self. Windows means something else by it.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket::stay_small(&socket)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl Door {
    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Shared>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that members may mean this relay by, now.
    fn own_names(&self) -> Vec<String> {
        let certificate = self.tls.as_ref().and_then(|(_, current)| current.end_entity());
        let mut names = certificate.map(|c| challenge::names_of(&c)).unwrap_or_default();
        names.extend_from_slice(&self.public_names);
        names
    }

    fn register(&self, link: &StreamLink) {
        {
            let mut links = self.links();
            links.retain(|link| link.strong_count() > 0);
            links.push(link.downgrade());
        }
        // It may have come while the others were told.
        if let Some(reason) = self.closed.get() {
            link.close(reason);
        }
    }
}

/// Counts an attempt for as long as it is one.
struct Handshake(Arc<Door>);

impl Handshake {
    fn new(door: &Arc<Door>) -> Self {
        door.open_handshakes.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(door))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.open_handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection attempt at a relay.
pub struct StreamIncoming {
    stream: TcpStream,
    remote: SocketAddr,
    handshake: Handshake,
}

impl StreamIncoming {
    /// Where it comes from: proven, as TCP does. Behind a server that ends TLS, that server; the link then knows the member.
    #[must_use]
    pub const fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// Completes the handshake: the link, and whose it is. Whoever only asks for a page gets one, which is an error here.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, or the member proves no identity.
    pub async fn handshake(self) -> Result<(StreamLink, IdentityId), LinkEnded> {
        tokio::time::timeout(HANDSHAKE_TIMEOUT, self.establish()).await.unwrap_or_else(|_| Err(failed("the handshake took too long")))
    }

    async fn establish(self) -> Result<(StreamLink, IdentityId), LinkEnded> {
        let door = &self.handshake.0;
        let mut io: Box<dyn Io> = match &door.tls {
            Some((acceptor, _)) => Box::new(acceptor.accept(self.stream).await.map_err(|e| failed(&format!("no TLS: {e}")))?),
            None => Box::new(self.stream),
        };
        let (request, behind) = http::read_request(&mut io).await.map_err(|e| failed(&e.to_string()))?;
        let Some(key) = upgrade_key(&request) else {
            return Err(answer(&mut io, &request).await);
        };
        let remote = if door.tls.is_none() { forwarded_for(&request).unwrap_or(self.remote) } else { self.remote };
        upgrade(&mut io, key).await.map_err(|e| failed(&e.to_string()))?;
        let mut socket = socket::stranger_socket(io, behind).await;
        let identity = let_prove(&mut socket, &door.own_names()).await?;
        let link = StreamLink::start(socket::member_socket(socket).await, remote);
        door.register(&link);
        Ok((link, identity))
    }
}

fn failed(reason: &str) -> LinkEnded {
    LinkEnded { reason: reason.to_owned(), by_peer: false }
}

/// The key of a member's upgrade (RFC 6455 §4.2.1); nothing when it is something else.
fn upgrade_key(request: &Request) -> Option<&str> {
    let fields = &request.fields;
    let upgrades = request.method == "GET"
        && path_of(request) == PATH
        && request.is_http_1_1
        && fields.has_token("connection", "upgrade")
        && fields.has_token("upgrade", "websocket")
        && fields.last("sec-websocket-version") == Some("13");
    fields.last("sec-websocket-key").filter(|_| upgrades)
}

fn path_of(request: &Request) -> &str {
    request.target.split('?').next().unwrap_or_default()
}

/// The address that the server in front saw: the last one, which it added itself. It has no port.
fn forwarded_for(request: &Request) -> Option<SocketAddr> {
    let last = request.fields.last("x-forwarded-for")?.rsplit(',').next()?.trim();
    let ip = last.parse::<SocketAddr>().map(|a| a.ip()).or_else(|_| last.trim_matches(['[', ']']).parse::<IpAddr>()).ok()?;
    Some(canonical(SocketAddr::new(ip, 0)))
}

async fn upgrade(io: &mut Box<dyn Io>, key: &str) -> io::Result<()> {
    let accept = http::upgrade_answer(key);
    let response =
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
    io.write_all(response.as_bytes()).await?;
    io.flush().await
}

/// Answers whoever is no member, and says so to the log.
async fn answer(io: &mut Box<dyn Io>, request: &Request) -> LinkEnded {
    let (status, page) = match path_of(request) {
        "/" => ("200 OK", HOME_PAGE),
        PATH => ("426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13", NO_UPGRADE_PAGE),
        _ => ("404 Not Found", "There is nothing here.\n"),
    };
    let body = if request.method == "HEAD" { "" } else { page };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        page.len()
    );
    // Whoever is gone already misses nothing.
    let _ = io.write_all(response.as_bytes()).await;
    let _ = io.shutdown().await;
    let target: String = request.target.chars().take(100).collect();
    failed(&format!("asked for a page: {} {target}", request.method))
}

/// Challenges a stranger, and tells it how that ended.
async fn let_prove(socket: &mut WebSocket, own_names: &[String]) -> Result<IdentityId, LinkEnded> {
    let nonce = challenge::nonce();
    socket::send_proof(socket, &Proof::Challenge { nonce }).await?;
    let proof = socket::read_proof(socket).await?;
    match challenge::verify(&proof, &nonce, own_names) {
        Ok(identity) => socket::send_proof(socket, &Proof::Accepted).await.map(|()| identity),
        Err(message) => {
            let refused = failed(&format!("the member proved no identity: {message}"));
            socket::send_proof(socket, &Proof::Refused { message }).await?;
            // The member closes when it has read that.
            let _ = socket::read_proof(socket).await;
            Err(refused)
        }
    }
}
