//! Both ends of a direct link: the socket that leads to the relay also listens for members and dials them, so that their routers see the
//! address that the relay saw.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanparty_proto::{IdentityId, MemberId};
use lanparty_quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tokio::sync::{Semaphore, mpsc};

use super::PeerEvent;
use super::met::{ALPN, Guest, Own, Reached, greet, says_hello};
use super::sockets::PeerSocket;
use crate::endpoint::{PEER_INITIAL_RTT, peer_transport};
use crate::pin::{Pin, SERVER_NAME};
use crate::tls::any_member;
use crate::{Identity, Link};

/// Time for one address to answer at all: one packet at once, two after three times [`PEER_INITIAL_RTT`], and the next two would come at nine
/// times that. With the farewell these are four (THREATS A18: five at most).
const ANSWER_TIMEOUT: Duration = PEER_INITIAL_RTT.saturating_mul(8);
/// Time for a handshake with one that answers.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// What is on a network of this host answers within this, or is tried beside the rest: a router that leads its own outside address back in
/// would else often be the first to answer, and every frame would go by it.
const NEAR_FIRST: Duration = Duration::from_millis(100);
/// Handshakes of others that are under way at once.
const HANDSHAKES_MAX: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Lets members in by `endpoint`, whoever they are: the driver knows whom it expects.
pub(super) fn listen(endpoint: &lanparty_quic::Endpoint, identity: &Identity) -> Result<(), rustls::Error> {
    let tls = any_member(identity, ALPN)?;
    let quic = QuicServerConfig::try_from(tls).map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut server = lanparty_quic::ServerConfig::with_crypto(Arc::new(quic));
    server.transport_config(peer_transport());
    endpoint.set_server_config(Some(server));
    Ok(())
}

/// Gives every member that comes in to `events`, until the endpoint closes.
pub(super) async fn accept(socket: PeerSocket, events: mpsc::Sender<PeerEvent>) {
    let under_way = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = socket.endpoint.accept().await {
        if !incoming.remote_address_validated() {
            // Fails only when the attempt has its token already.
            let _ = incoming.retry();
            continue;
        }
        let Ok(permit) = Arc::clone(&under_way).try_acquire_owned() else { continue };
        let (socket, events) = (socket.clone(), events.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let Ok(connecting) = incoming.accept() else { return };
            let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await else { return };
            if let Ok((identity, reached)) = Guest::let_in(connection, socket) {
                // A driver that is gone needs no link.
                let _ = events.send(PeerEvent::Up { identity, reached, by_us: false }).await;
            }
        });
    }
}

/// Makes these tries to reach a member: those on this host's own networks a moment before the rest. The first that answers with its key is
/// the link, unless that is one of several paths.
pub(super) async fn dial(
    own: Arc<Own>,
    (member, serial, identity): (MemberId, u64, IdentityId),
    tries: Vec<(PeerSocket, SocketAddr)>,
    events: mpsc::Sender<PeerEvent>,
) {
    let is_near = is_near();
    let (near, far): (Vec<_>, Vec<_>) = tries.into_iter().partition(|(_, address)| is_near(address));
    let start = |tries: Vec<_>| tries.into_iter().filter_map(|(socket, address)| dial_one(socket, &own, identity, address));
    let (mut under_way, mut far) = (start(near).collect::<FuturesUnordered<_>>(), Some(far));
    let mut far_is_due = std::pin::pin!(tokio::time::sleep(NEAR_FIRST));
    loop {
        if under_way.is_empty() {
            let Some(far) = far.take() else { break };
            under_way.extend(start(far));
            continue;
        }
        let reached = tokio::select! {
            Some(reached) = under_way.next() => reached,
            () = &mut far_is_due, if far.is_some() => {
                under_way.extend(start(far.take().unwrap_or_default()));
                continue;
            }
        };
        let Some(reached) = reached else { continue };
        let is_all = matches!(reached, Reached::Alone(_));
        let _ = events.send(PeerEvent::Up { identity, reached, by_us: true }).await;
        if is_all {
            return;
        }
    }
    let _ = events.send(PeerEvent::Tried { member, serial }).await;
}

/// Whether an address is on a network of this host.
fn is_near() -> impl Fn(&SocketAddr) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    move |address| interfaces.iter().any(|interface| !interface.is_loopback() && is_within(&interface.addr, address.ip()))
}

fn is_within(network: &if_addrs::IfAddr, ip: IpAddr) -> bool {
    match (network, ip) {
        (if_addrs::IfAddr::V4(of), IpAddr::V4(ip)) => of.netmask.to_bits() & (of.ip.to_bits() ^ ip.to_bits()) == 0,
        (if_addrs::IfAddr::V6(of), IpAddr::V6(ip)) => of.netmask.to_bits() & (of.ip.to_bits() ^ ip.to_bits()) == 0,
        _ => false,
    }
}

fn dial_one(
    socket: PeerSocket,
    own: &Arc<Own>,
    identity: IdentityId,
    address: SocketAddr,
) -> Option<impl Future<Output = Option<Reached>> + use<>> {
    let quic = QuicClientConfig::try_from(Pin::new(identity, ALPN).client(&own.identity).ok()?).ok()?;
    let mut config = lanparty_quic::ClientConfig::new(Arc::new(quic));
    config.transport_config(peer_transport());
    let mut connecting = socket.endpoint.connect_with(config, address, SERVER_NAME).ok()?;
    let own = Arc::clone(own);
    Some(async move {
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, connecting.handshake_data()).await.ok()?;
        let connection = tokio::time::timeout(DIAL_TIMEOUT, connecting).await.ok()?.ok()?;
        let says_hello = says_hello(&connection);
        let link = Link::new(connection);
        if says_hello { greet(link, identity, true, &socket, &own).await.ok() } else { Some(Reached::Alone(link)) }
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::atomic::AtomicU8;

    use super::*;

    /// A member, with the socket that leads to its relay.
    fn member(dir: &tempfile::TempDir, name: &str) -> (lanparty_quic::Endpoint, Arc<Identity>) {
        let (identity, _) = Identity::load_or_create(dir.path().join(name), false).unwrap();
        let endpoint = crate::endpoint::endpoint_at([127, 0, 0, 1], None);
        listen(&endpoint, &identity).unwrap();
        (endpoint, Arc::new(identity))
    }

    #[tokio::test]
    async fn an_address_where_nobody_answers_gets_five_packets_of_1200_bytes_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let (endpoint, own) = member(&dir, "own");
        let sinks: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<SocketAddr> = sinks.iter().map(|sink| sink.local_addr().unwrap()).collect();
        let (events, mut heard) = mpsc::channel(1);
        let own = Arc::new(Own { identity: own, lines: AtomicU8::new(1) });
        let socket = PeerSocket { endpoint, uplink: None, seen: None };
        let tries = addresses.into_iter().map(|address| (socket.clone(), address)).collect();
        dial(own, (MemberId(2), 7, IdentityId([2; 32])), tries, events).await;
        assert!(matches!(heard.recv().await, Some(PeerEvent::Tried { member: MemberId(2), serial: 7 })));
        // What is on its way yet.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for sink in sinks {
            sink.set_nonblocking(true).unwrap();
            let mut bytes = [0; 2000];
            let packets: Vec<usize> = std::iter::from_fn(|| sink.recv(&mut bytes).ok()).collect();
            println!("{packets:?}");
            assert!((1..=5).contains(&packets.len()) && packets.iter().all(|len| *len <= 1200), "{packets:?}");
        }
    }
}
