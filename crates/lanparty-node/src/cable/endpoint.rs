//! One UDP socket that both listens and dials, so that a NAT sees one address whoever begins.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lanparty_proto::IdentityId;
use lanparty_quic::HashedConnectionIdGenerator;
use lanparty_quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use lanparty_quic::{ConnectError, Connecting, ConnectionError, EndpointConfig, VarInt};
use ring::hmac;
use tracing::info;

use crate::busy_poll::something_came;
use crate::endpoint::{dial_endpoint, transport, udp_socket};
use crate::pin::{Pin, SERVER_NAME};
use crate::{CABLE_PORT, CongestionControl, ExitCode, Fault, Identity, Sizing};

/// Application protocol name (RFC 7301) of a cable.
const ALPN: &[&[u8]] = &[b"lanparty-cable/1"];
/// Time for a farewell to reach the other end.
const CLOSE_LINGER: Duration = Duration::from_millis(300);

/// This end's socket, whose key it shows, and whose it wants to see.
#[derive(Clone)]
pub struct CableEndpoint {
    endpoint: lanparty_quic::Endpoint,
    identity: Arc<Identity>,
    peer: IdentityId,
}

impl CableEndpoint {
    /// Listens on `listen`, else on [`CABLE_PORT`] of all addresses. An end that dials takes any port when that one is taken.
    ///
    /// # Errors
    /// When the port is taken or not allowed.
    pub fn open(listen: Option<SocketAddr>, dials: bool, identity: Arc<Identity>, peer: IdentityId) -> Result<Self, Fault> {
        let socket = match listen {
            Some(addr) => udp_socket(addr).map_err(|e| cannot_listen(addr, &e))?,
            None => default_socket(dials)?,
        };
        let unusable = |e: &dyn std::fmt::Display| Fault::new(ExitCode::Unexpected, format!("the UDP socket cannot be used: {e}"), "");
        let server = server_config(&Pin::new(peer, ALPN), &identity).map_err(|e| unusable(&e))?;
        let endpoint = lanparty_quic::Endpoint::new(endpoint_config(&identity), Some(server), socket, something_came);
        Ok(Self { endpoint: endpoint.map_err(|e| unusable(&e))?, identity, peer })
    }

    /// The address it really listens on.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// This end's key.
    #[must_use]
    pub fn own(&self) -> IdentityId {
        self.identity.id()
    }

    /// The other end's key.
    #[must_use]
    pub const fn peer(&self) -> IdentityId {
        self.peer
    }

    /// Begins a handshake with `remote`.
    pub(super) fn dial(&self, remote: SocketAddr) -> Result<(Connecting, Arc<Pin>), ConnectError> {
        let pin = Pin::new(self.peer, ALPN);
        // The same certificate and key have made the endpoint.
        let tls = pin.client(&self.identity).map_err(|_| ConnectError::NoDefaultClientConfig)?;
        let quic = QuicClientConfig::try_from(tls).map_err(|_| ConnectError::NoDefaultClientConfig)?;
        let mut config = lanparty_quic::ClientConfig::new(Arc::new(quic));
        config.transport_config(Arc::new(transport(Sizing::default(), CongestionControl::default())));
        Ok((self.endpoint.connect_with(config, remote, SERVER_NAME)?, pin))
    }

    /// Begins a handshake with `remote` by one uplink, from a socket of its own.
    pub(super) fn dial_by(&self, remote: SocketAddr, uplink: &str, congestion: CongestionControl) -> Result<(Connecting, Arc<Pin>), Fault> {
        let unusable = |e: &dyn std::fmt::Display| Fault::new(ExitCode::Unexpected, format!("cannot dial {remote} by {uplink}: {e}"), "");
        let pin = Pin::new(self.peer, ALPN);
        let tls = pin.client(&self.identity).map_err(|e| unusable(&e))?;
        let endpoint = dial_endpoint(remote, Some(uplink), tls, Sizing::default(), congestion)?;
        Ok((endpoint.connect(remote, SERVER_NAME).map_err(|e| unusable(&e))?, pin))
    }

    /// The next attempt whose address is proven (RFC 9000 §8.1.2): nothing is kept for one that is not. Cancel-safe.
    pub(super) async fn accept(&self) -> lanparty_quic::Incoming {
        loop {
            match self.endpoint.accept().await {
                Some(incoming) if incoming.remote_address_validated() => return incoming,
                // Fails only when the attempt has its token already.
                Some(incoming) => drop(incoming.retry()),
                None => std::future::pending().await,
            }
        }
    }

    /// Begins the handshake of an attempt.
    pub(super) fn answer(&self, incoming: lanparty_quic::Incoming) -> Result<(Connecting, Arc<Pin>), ConnectionError> {
        let pin = Pin::new(self.peer, ALPN);
        let connecting = match server_config(&pin, &self.identity) {
            Ok(config) => incoming.accept_with(Arc::new(config))?,
            Err(_) => incoming.accept()?,
        };
        Ok((connecting, pin))
    }

    /// Sends from whatever address this host has now.
    pub(super) fn follow_address(&self) {
        self.endpoint.network_changed();
    }

    /// Ends every connection, with words for the other end.
    pub(super) async fn close(&self, reason: &str) {
        self.endpoint.close(VarInt::from_u32(0), reason.as_bytes());
        // Bounded: an end that is gone does not acknowledge.
        let _ = tokio::time::timeout(CLOSE_LINGER, self.endpoint.wait_idle()).await;
    }
}

/// A restarted end knows the packets of its former self, and tells the other end at once that they lead nowhere (RFC 9000 §10.3).
fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let reset_key = identity.derive("lanparty cable: stateless reset");
    let cid_key = identity.derive("lanparty cable: connection IDs");
    let cid_key = u64::from_be_bytes(*cid_key.first_chunk().expect("INVARIANT: 32 bytes begin with 8"));
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset_key)));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key))).min_reset_interval(Duration::ZERO);
    config
}

fn server_config(pin: &Arc<Pin>, identity: &Identity) -> Result<lanparty_quic::ServerConfig, rustls::Error> {
    let quic = QuicServerConfig::try_from(pin.server(identity)?).map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut server = lanparty_quic::ServerConfig::with_crypto(Arc::new(quic));
    server.transport_config(Arc::new(transport(Sizing::default(), CongestionControl::default())));
    Ok(server)
}

/// Both address families where the system has them.
fn default_socket(dials: bool) -> Result<std::net::UdpSocket, Fault> {
    let open = |port: u16| {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        udp_socket(both).or_else(|e| match e.kind() {
            io::ErrorKind::AddrInUse => Err(e),
            _ => udp_socket((Ipv4Addr::UNSPECIFIED, port).into()),
        })
    };
    match open(CABLE_PORT) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && dials => {
            info!("port {CABLE_PORT}/udp is taken, so this end takes another one; it is found by its key");
            open(0)
        }
        opened => opened,
    }
    .map_err(|e| cannot_listen((Ipv6Addr::UNSPECIFIED, CABLE_PORT).into(), &e))
}

fn cannot_listen(addr: SocketAddr, e: &io::Error) -> Fault {
    let (code, advice) = match e.kind() {
        io::ErrorKind::AddrInUse => {
            (ExitCode::Configuration, "another program has this port; is a cable running already? Give this one a port with --listen")
        }
        io::ErrorKind::PermissionDenied => (ExitCode::Permission, "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
        io::ErrorKind::AddrNotAvailable => (ExitCode::Configuration, "this machine does not have that address; [::] means all of them"),
        _ => (ExitCode::Unexpected, "check the address given with --listen"),
    };
    Fault::new(code, format!("cannot listen on {addr}/udp: {e}"), advice)
}
