//! A relay's end of QUIC: one stack and one socket for each of its threads, all on one port.
//!
//! A connection belongs to the thread that it was opened at. The kernel gives it the packets: those that open one go by their sender's
//! address and port, all others by their connection ID, which says the thread (as in draft-ietf-quic-load-balancers §3), also when the
//! sender's address has changed.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lanparty_quic::crypto::rustls::QuicServerConfig;
use lanparty_quic::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};
use lanparty_quic::{EndpointConfig, ServerConfig, VarInt};
use ring::hmac;

use lanparty_proto::IdentityId;

use crate::busy_poll::something_came;
use crate::endpoint::{CongestionControl, cannot_listen, canonical, transport, unbound};
use crate::{ExitCode, Fault, Link, LinkEnded, RelayKeys, ServerTls, Sizing};

/// Most threads that carry a relay's members: what one byte of a connection ID tells apart without much of a bias.
pub const RELAY_THREADS_MAX: u8 = 64;

/// Time for connections to be told of the end.
const FAREWELL_TIME: Duration = Duration::from_millis(300);

/// What one thread of a relay listens by, before it does.
pub struct RelaySocket {
    socket: UdpSocket,
    config: EndpointConfig,
    server: ServerConfig,
}

impl RelaySocket {
    /// Takes `addr` for that many threads. Fewer sockets than asked for: the system cannot share a port among several.
    ///
    /// # Errors
    /// When the port is taken or not allowed, or the certificate cannot be used.
    pub fn bind(addr: SocketAddr, threads: u8, tls: &ServerTls, keys: &RelayKeys) -> Result<Vec<Self>, Fault> {
        let sockets = bind(addr, threads.clamp(1, RELAY_THREADS_MAX)).map_err(|e| cannot_listen(addr, "udp", &e))?;
        let server = server_config(tls)?;
        let count = u8::try_from(sockets.len()).unwrap_or(RELAY_THREADS_MAX);
        let each = (0..count).zip(sockets);
        Ok(each.map(|(thread, socket)| Self { socket, config: config(keys, thread, count), server: server.clone() }).collect())
    }

    /// The address it really has.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Listens, as tasks of the current runtime.
    ///
    /// # Errors
    /// When the system does not let the socket be watched.
    pub fn listen(self) -> Result<RelayEndpoint, Fault> {
        let endpoint = lanparty_quic::Endpoint::new(self.config, Some(self.server), self.socket, something_came);
        let unusable = |e| Fault::new(ExitCode::Unexpected, format!("the UDP socket cannot be used: {e}"), "");
        endpoint.map(|endpoint| RelayEndpoint { endpoint }).map_err(unusable)
    }
}

/// One socket has the port to itself, and says so when somebody else has it; then it lets the others in.
#[cfg(target_os = "linux")]
fn bind(addr: SocketAddr, count: u8) -> io::Result<Vec<UdpSocket>> {
    let first = unbound(addr)?;
    first.bind(&addr.into())?;
    let mut sockets = vec![UdpSocket::from(first)];
    if count > 1 {
        let at = sockets[0].local_addr()?;
        let others = lanparty_nic::share_port(&sockets[0]).and_then(|()| (1..count).map(|_| beside(at)).collect::<io::Result<Vec<_>>>());
        match others.and_then(|others| lanparty_nic::steer_by_connection_id(&sockets[0], count).map(|()| others)) {
            Ok(others) => sockets.extend(others),
            Err(e) => tracing::warn!("this system does not share a UDP port among threads, so one carries all members: {e}"),
        }
    }
    Ok(sockets)
}

#[cfg(target_os = "linux")]
fn beside(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(addr)?;
    lanparty_nic::share_port(&socket)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

#[cfg(not(target_os = "linux"))]
fn bind(addr: SocketAddr, _count: u8) -> io::Result<Vec<UdpSocket>> {
    let socket = unbound(addr)?;
    socket.bind(&addr.into())?;
    Ok(vec![socket.into()])
}

fn config(keys: &RelayKeys, thread: u8, threads: u8) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, keys.reset_key())));
    let key = keys.cid_key();
    config
        .cid_generator(move || Box::new(ThreadsIds { ids: HashedConnectionIdGenerator::from_key(key), thread, threads }))
        // The stack's limit is one for all members: after a restart it would keep all but one of them waiting.
        .min_reset_interval(Duration::ZERO);
    config
}

/// One for all threads: what one of them gave a member to show at its next connection, another one believes.
fn server_config(tls: &ServerTls) -> Result<ServerConfig, Fault> {
    let unusable = |e: &dyn std::fmt::Display| Fault::new(ExitCode::Unexpected, format!("TLS cannot be set up: {e}"), "");
    let tls = tls.config().map_err(|e| unusable(&e))?;
    let quic = QuicServerConfig::try_from(tls).map_err(|e| unusable(&e))?;
    let mut server = ServerConfig::with_crypto(Arc::new(quic));
    server.transport_config(Arc::new(transport(Sizing::default(), CongestionControl::default())));
    Ok(server)
}

/// Connection IDs whose first byte says which thread has the connection: what is left when it is divided by their number.
struct ThreadsIds {
    ids: HashedConnectionIdGenerator,
    thread: u8,
    threads: u8,
}

impl ConnectionIdGenerator for ThreadsIds {
    fn generate_cid(&mut self) -> ConnectionId {
        loop {
            let id = self.ids.generate_cid();
            if id.first().is_some_and(|byte| byte % self.threads == self.thread) {
                return id;
            }
        }
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.ids.validate(id)
    }

    fn cid_len(&self) -> usize {
        self.ids.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.ids.cid_lifetime()
    }
}

/// One thread's end of QUIC.
#[derive(Clone)]
pub struct RelayEndpoint {
    endpoint: lanparty_quic::Endpoint,
}

impl RelayEndpoint {
    /// The next connection attempt; `None` after [`Self::close`].
    pub async fn accept(&self) -> Option<Incoming> {
        self.endpoint.accept().await.map(Incoming)
    }

    /// Connections whose handshake has begun and not ended, and those established.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.endpoint.open_connections()
    }

    /// Ends every connection, and lets no more in.
    pub fn close(&self, reason: &str) {
        self.endpoint.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Waits until its members know that.
    pub async fn closed(&self) {
        // Bounded: a peer that is gone does not acknowledge.
        let _ = tokio::time::timeout(FAREWELL_TIME, self.endpoint.wait_idle()).await;
    }
}

/// A connection attempt at a relay.
pub struct Incoming(lanparty_quic::Incoming);

impl Incoming {
    /// Where it seems to come from.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.0.remote_address())
    }

    /// Whether the address is proven: the attempt carries a token we sent there (RFC 9000 §8.1.2).
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }

    /// Asks for that proof before anything is kept for the attempt.
    pub fn retry(self) {
        // Fails only when the attempt has its token already; then there is nothing to ask for.
        let _ = self.0.retry();
    }

    /// Completes the handshake: the link, and whose it is.
    ///
    /// # Errors
    /// When the handshake fails or the member proves no identity.
    pub async fn establish(self) -> Result<(Link, IdentityId), LinkEnded> {
        let connection = self.0.accept()?.await?;
        Link::accepted(connection)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::endpoint::{dial_endpoint, udp_socket};
    use crate::{CertificateSource, Identity, RELAY_DEV_NAME, RelayTrust, StateDir};

    const THREADS: u8 = 3;
    const MEMBERS: usize = 24;

    /// A relay's sockets on a port of loopback.
    fn bind(dir: &std::path::Path, port: u16) -> Result<Vec<RelaySocket>, Fault> {
        let keys = RelayKeys::load_or_create(&StateDir::locate(Some(dir.to_owned()))).unwrap();
        std::fs::write(dir.join("relay.der"), keys.certificate()).unwrap();
        let source = CertificateSource::Development { certificate: keys.certificate().clone(), key: keys.key() };
        RelaySocket::bind(SocketAddr::from(([127, 0, 0, 1], port)), THREADS, &ServerTls::load(source).unwrap(), &keys)
    }

    async fn accepted(endpoint: &RelayEndpoint) -> lanparty_quic::Connection {
        endpoint.accept().await.unwrap().0.accept().unwrap().await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_stays_at_its_thread_when_its_member_gets_another_address() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = bind(dir.path(), 0).unwrap();
        let trust = RelayTrust::load(Some(&dir.path().join("relay.der"))).unwrap();
        let relay = sockets[0].local_addr().unwrap();
        let threads: Vec<_> = sockets.into_iter().map(|socket| socket.listen().unwrap()).collect();
        assert_eq!(threads.len(), usize::from(THREADS));
        let (identity, _) = Identity::load_or_create(dir.path().join("identity.json"), false).unwrap();
        let mut connected = vec![];
        for _ in 0..MEMBERS {
            let tls = trust.config(&identity).unwrap();
            let member = dial_endpoint(relay, None, tls, Sizing::default(), CongestionControl::default()).unwrap();
            let dialled = member.connect(relay, RELAY_DEV_NAME).unwrap();
            let (dialled, taken) = tokio::join!(dialled, async {
                tokio::select! {
                    connection = accepted(&threads[0]) => connection,
                    connection = accepted(&threads[1]) => connection,
                    connection = accepted(&threads[2]) => connection,
                }
            });
            let dialled = dialled.unwrap();
            member.rebind(udp_socket(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()).unwrap();
            dialled.send_datagram(Bytes::from_static(b"from elsewhere")).unwrap();
            let mut datagrams = [Bytes::new()];
            let heard = tokio::time::timeout(Duration::from_secs(10), taken.read_datagrams(&mut datagrams)).await;
            assert_eq!(heard.expect("its thread still gets its packets").unwrap(), 1);
            assert_eq!(datagrams[0], &b"from elsewhere"[..]);
            connected.push((member, dialled, taken));
        }
        let opened: Vec<_> = threads.iter().map(RelayEndpoint::open_connections).collect();
        assert_eq!(opened.iter().sum::<usize>(), MEMBERS);
        assert!(opened.iter().all(|count| *count > 0), "members are spread over the threads: {opened:?}");
    }

    #[tokio::test]
    async fn a_port_that_several_threads_share_is_still_taken() {
        let dir = tempfile::tempdir().unwrap();
        let held = bind(dir.path(), 0).unwrap();
        let again = bind(dir.path(), held[0].local_addr().unwrap().port());
        assert!(again.err().unwrap().cause.contains("in use"), "a second relay on the port is told so");
    }
}
