//! UDP sockets and QUIC endpoints: one configuration for everybody, two uses of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::Once;
use std::time::Duration;

use lanparty_quic::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use lanparty_quic::crypto::rustls::QuicClientConfig;
use lanparty_quic::{AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use lanparty_core::FALLEN_REST;

use crate::busy_poll::something_came;
use crate::link::{DATAGRAM_BUFFER_LEN, DelayConfig, LINK_DEAD_AFTER, Watching};
use crate::{ExitCode, Fault, Sizing, uplink};

/// Heartbeat: at least one packet a second each way.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Socket buffers: room for 10 ms at 3 Gbit/s, so that a reader that was pre-empted loses nothing.
const SOCKET_BUFFER_LEN: usize = 8 << 20;
/// Largest UDP payload on a 1,500-byte wire over IPv4 (RFC 791, RFC 768).
pub(crate) const UDP_PAYLOAD_MAX: u16 = 1472;
/// How long the search for a larger path rests after it ended.
const MTU_SEARCH_INTERVAL: Duration = Duration::from_secs(60);
/// After a black hole the search for what passes starts this late: a search amid what is over in a moment would end too low, and
/// the next one is a minute away.
const BLACK_HOLE_COOLDOWN: Duration = FALLEN_REST;
/// The search stops when it knows the path to this many bytes.
const MTU_SEARCH_STEP: u16 = 8;
/// Received datagrams that the stack keeps for us: we read at once, so this bounds a stall of ours.
const DATAGRAM_RECEIVE_BUFFER_LEN: usize = 2 << 20;
/// Control streams carry little: small windows bound what a peer can make us keep (THREATS C4).
const STREAM_WINDOW: u32 = 64 * 1024;
/// Packets that one acknowledgement may cover: fewer acknowledgements, less work for both ends (RFC 9000 §13.2.2).
const ACK_EVERY_PACKETS: u32 = 10;
/// On a quiet line an acknowledgement waits this long for a datagram to travel with. Less than RFC 9000's 25 ms: a sender with few packets
/// in flight learns its path's rate from them, and that a path has died.
pub(crate) const ACK_DELAY_MAX: Duration = Duration::from_millis(5);

/// What is taken for the round-trip time to a member before it has answered: the pauses between its first packets are multiples of it.
pub(crate) const PEER_INITIAL_RTT: Duration = Duration::from_millis(210);

/// The search for the path's size. It has nothing to find above what its owner fixed, which is where it begins then.
fn mtu_search(sizing: Sizing) -> MtuDiscoveryConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    let most = sizing.fixed_payload().unwrap_or(UDP_PAYLOAD_MAX);
    mtu.interval(MTU_SEARCH_INTERVAL).black_hole_cooldown(BLACK_HOLE_COOLDOWN).upper_bound(most).minimum_change(MTU_SEARCH_STEP);
    mtu
}

/// How fast an end sends, as a path shows what it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CongestionControl {
    /// Keeps the queue at the bottleneck short, and takes single losses for noise.
    #[default]
    Delay,
    /// Until something is lost (RFC 9438).
    Cubic,
    /// By a model of the path, as it was in 2017 (draft-cardwell-iccrg-bbr-congestion-control-00).
    Bbr,
}

impl CongestionControl {
    fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Delay => Arc::new(DelayConfig),
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
        }
    }
}

pub(crate) fn transport(sizing: Sizing, congestion: CongestionControl) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY_PACKETS)).max_ack_delay(Some(ACK_DELAY_MAX));
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::try_from(LINK_DEAD_AFTER).expect("INVARIANT: three seconds fit")))
        .keep_alive_interval(Some(HEARTBEAT_INTERVAL))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(u64::from(STREAM_WINDOW))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_LEN)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER_LEN))
        .mtu_discovery_config(Some(mtu_search(sizing)))
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(Watching(congestion.factory())));
    if let Some(payload) = sizing.fixed_payload() {
        transport.initial_mtu(payload);
    }
    transport
}

/// Between members: the first packets open the way through two routers, so they follow each other sooner.
pub(crate) fn peer_transport() -> Arc<TransportConfig> {
    let mut config = transport(Sizing::default(), CongestionControl::default());
    config.initial_rtt(PEER_INITIAL_RTT);
    Arc::new(config)
}

/// A UDP socket with large buffers; larger than the system's limit when we are allowed to.
pub(crate) fn udp_socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(addr)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// The same, not bound yet.
pub(crate) fn unbound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // `[::]` also listens on IPv4; a socket for one IPv6 address does not need to.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    enlarge_buffers(&socket)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What the system gives less than is asked for it says once.
#[cfg(target_os = "linux")]
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    static SAID: Once = Once::new();
    let (receive, send) = lanparty_nic::set_buffers(socket, SOCKET_BUFFER_LEN)?;
    if receive.min(send) < SOCKET_BUFFER_LEN {
        SAID.call_once(|| {
            tracing::info!(
                receive,
                send,
                "the system gives UDP sockets less buffer than the {SOCKET_BUFFER_LEN} bytes that suit a gigabit; \
                 for more: sysctl -w net.core.rmem_max={SOCKET_BUFFER_LEN} net.core.wmem_max={SOCKET_BUFFER_LEN}"
            );
        });
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    socket.set_recv_buffer_size(SOCKET_BUFFER_LEN)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_LEN)
}

/// A socket for both address families calls 192.0.2.1 `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2); people do not.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

pub(crate) fn cannot_listen(addr: SocketAddr, protocol: &str, e: &io::Error) -> Fault {
    let (code, advice) = match e.kind() {
        io::ErrorKind::AddrInUse => {
            (ExitCode::Configuration, "another program has this port; is a relay running already? Choose another port with --listen")
        }
        io::ErrorKind::PermissionDenied => {
            (ExitCode::Permission, "ports below 1024 need root or CAP_NET_BIND_SERVICE; the default 8443 does not")
        }
        io::ErrorKind::AddrNotAvailable => (ExitCode::Configuration, "this machine does not have that address; 0.0.0.0 means all of them"),
        _ => (ExitCode::Unexpected, "check the address given with --listen"),
    };
    Fault::new(code, format!("cannot listen on {addr}/{protocol}: {e}"), advice)
}

/// A member's end of QUIC: a socket of its own, for remotes of `remote`'s address family, bound to `uplink`.
///
/// # Errors
/// When the socket or TLS cannot be set up.
pub(crate) fn dial_endpoint(
    remote: SocketAddr,
    uplink: Option<&str>,
    tls: rustls::ClientConfig,
    sizing: Sizing,
    congestion: CongestionControl,
) -> Result<lanparty_quic::Endpoint, Fault> {
    let failed = |what: &str, e: &dyn std::fmt::Display| Fault::new(ExitCode::Unexpected, format!("{what}: {e}"), "");
    let socket = bound_socket(remote, uplink).map_err(|e| failed("cannot open a UDP socket", &e))?;
    let endpoint = lanparty_quic::Endpoint::new(EndpointConfig::default(), None, socket, something_came);
    let endpoint = endpoint.map_err(|e| failed("cannot use the UDP socket", &e))?;
    let quic = QuicClientConfig::try_from(tls).map_err(|e| failed("TLS cannot be set up", &e))?;
    let mut config = lanparty_quic::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport(sizing, congestion)));
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// A socket for remotes of `remote`'s address family, bound to `uplink`.
pub(crate) fn bound_socket(remote: SocketAddr, uplink: Option<&str>) -> io::Result<UdpSocket> {
    let local: SocketAddr = if remote.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = udp_socket(local)?;
    if let Some(uplink) = uplink {
        uplink::bind(&socket, uplink);
    }
    Ok(socket)
}

/// A socket of `addr` with QUIC, which lets others in by `server`.
#[cfg(test)]
pub(crate) fn endpoint_at(addr: [u8; 4], server: Option<lanparty_quic::ServerConfig>) -> lanparty_quic::Endpoint {
    let socket = UdpSocket::bind(SocketAddr::from((addr, 0))).unwrap();
    lanparty_quic::Endpoint::new(EndpointConfig::default(), server, socket, something_came).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_over_ipv4_is_shown_by_its_ipv4_address() {
        for (seen, shown) in [
            ("[::ffff:192.0.2.1]:4433", "192.0.2.1:4433"),
            ("192.0.2.1:4433", "192.0.2.1:4433"),
            ("[2001:db8::1]:4433", "[2001:db8::1]:4433"),
        ] {
            assert_eq!(canonical(seen.parse().unwrap()).to_string(), shown);
        }
    }
}
