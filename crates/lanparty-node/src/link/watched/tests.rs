//! What is seen of a controller, and what it changes.

use std::net::SocketAddr;

use bytes::Bytes;
use lanparty_quic::TransportConfig;
use lanparty_quic::congestion::CubicConfig;
use lanparty_quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::super::quic::Quic;
use super::*;
use crate::endpoint::{CongestionControl, endpoint_at, transport};
use crate::sizing::Sizing;
use crate::tls::provider;

#[test]
fn what_passes_through_is_seen_from_outside() {
    let now = Instant::now();
    let mut controller = Arc::new(Watching(Arc::new(CubicConfig::default()))).build(now, 1200);
    let gauge = gauge_of(controller.clone_box()).unwrap();
    controller.on_sent(now, 5000, 4);
    assert_eq!((gauge.flight(7).in_flight, gauge.flight(7).queued), (5000, 7));
    assert_eq!(gauge.flight(0).window, controller.window());
    controller.on_congestion_event(now, now, false, 1200);
    assert_eq!(gauge.flight(0).in_flight, 3800);
    controller.on_end_acks(now, 1200, false, Some(3));
    controller.on_congestion_event(now, now, false, 2400);
    assert_eq!(gauge.flight(0).in_flight, 0);
    assert_eq!(gauge.flight(0).window, controller.window());
}

#[test]
fn one_packet_more_leaves_when_something_has_come() {
    let now = Instant::now();
    let mut controller = Arc::new(Watching(Arc::new(CubicConfig::default()))).build(now, 1200);
    let (gauge, window) = (gauge_of(controller.clone_box()).unwrap(), controller.window());
    gauge.hear();
    controller.on_mtu_update(1400);
    assert_eq!((controller.window(), gauge.flight(0).window), (window + 1400, window), "it is not for more data");
    controller.on_sent(now, 1400, 1);
    assert_eq!(controller.window(), window);
}

#[test]
fn what_the_carrier_may_hold_is_sent_within_milliseconds() {
    let ms = Duration::from_millis;
    let path = |window, rtt, rate_bytes_per_s| queue_max(&Flight { window, rtt, rate_bytes_per_s, ..Flight::default() });
    assert_eq!(path(100_000, ms(40), 0), 12_500, "20 Mbit/s by its window");
    assert_eq!(path(100_000, ms(40), 5_000_000), 25_000, "40 by what arrives");
    assert_eq!(path(14_000, ms(333), 0), QUEUE_MIN);
    assert_eq!(path(2_000_000, ms(1), 0), DATAGRAM_BUFFER_LEN);
    assert_eq!(path(0, ms(0), 0), QUEUE_MIN);
}

#[test]
fn a_rate_nobody_asked_more_of_lowers_nothing() {
    let start = Instant::now();
    let (mut meter, rtt, ms) = (RateMeter::new(start), Duration::from_millis(10), Duration::from_millis(1));
    assert_eq!(meter.add(100_000, false, rtt, start + ms * 10), 0, "too short to tell");
    assert_eq!(meter.add(100_000, false, rtt, start + ms * 20), 10_000_000);
    assert_eq!(meter.add(1_000, true, rtt, start + ms * 40), 10_000_000);
    assert_eq!(meter.add(100_000, false, rtt, start + ms * 60), 5_000_000);
    assert_eq!(meter.add(400_000, true, rtt, start + ms * 80), 20_000_000, "and a higher one is true");
}

/// A window that nothing changes, in bytes.
#[derive(Clone, Debug)]
struct Fixed(u64);

impl ControllerFactory for Fixed {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        Box::new(Self::clone(&self))
    }
}

impl Controller for Fixed {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {}

    fn on_mtu_update(&mut self, _: u16) {}

    fn window(&self) -> u64 {
        self.0
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.0
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Takes packets from one socket to another one, each after [`DELAY`]; those that come back go where `replies_to` says.
async fn carry(from: Arc<UdpSocket>, to: Arc<UdpSocket>, replies_to: watch::Sender<SocketAddr>, target: watch::Receiver<SocketAddr>) {
    let (queue, mut due) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, packet)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            let target = *target.borrow();
            to.send_to(&packet, target).await.unwrap();
        }
    });
    let mut packet = vec![0; 2000];
    loop {
        let (len, source) = from.recv_from(&mut packet).await.unwrap();
        replies_to.send_replace(source);
        queue.send((tokio::time::Instant::now() + DELAY, packet[..len].to_vec())).unwrap();
    }
}

/// One way of the wire between two ends.
const DELAY: Duration = Duration::from_millis(10);
const WINDOW: u64 = 12 * 1500;

/// A wire to `server`: where to send to instead.
async fn wire(server: SocketAddr) -> SocketAddr {
    let socket = || async { Arc::new(UdpSocket::bind(("127.0.0.1", 0)).await.unwrap()) };
    let (near, far) = (socket().await, socket().await);
    let (client, server) = (watch::Sender::new(server), watch::Sender::new(server));
    let (to_client, to_server) = (client.subscribe(), server.subscribe());
    let address = near.local_addr().unwrap();
    tokio::spawn(carry(Arc::clone(&near), Arc::clone(&far), client, to_server));
    tokio::spawn(carry(far, near, server, to_client));
    address
}

fn fixed_transport() -> Arc<TransportConfig> {
    let mut transport = transport(Sizing::default(), CongestionControl::Delay);
    transport.congestion_controller_factory(Arc::new(Watching(Arc::new(Fixed(WINDOW)))));
    Arc::new(transport)
}

/// Two ends of a connection over the wire.
async fn connected() -> [(lanparty_quic::Endpoint, Quic); 2] {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["far.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let mut config = lanparty_quic::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(fixed_transport());
    let server = endpoint_at([127, 0, 0, 1], Some(config));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let mut config = lanparty_quic::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(fixed_transport());
    let client = endpoint_at([127, 0, 0, 1], None);
    let address = wire(server.local_addr().unwrap()).await;
    let dialled = client.connect_with(config, address, "far.example").unwrap();
    let accepted = async { server.accept().await.unwrap().accept().unwrap().await.unwrap() };
    let (near, far) = tokio::join!(dialled, accepted);
    [(client, Quic::new(near.unwrap())), (server, Quic::new(far))]
}

async fn fill(quic: &Quic) {
    let datagram = Bytes::from(vec![0; 1000]);
    loop {
        quic.ready().await.unwrap();
        quic.send_now(std::slice::from_ref(&datagram)).unwrap();
    }
}

async fn empty(quic: &Quic) {
    let mut into = vec![Bytes::new(); 64];
    loop {
        quic.recv(&mut into).await.unwrap();
    }
}

#[tokio::test]
async fn two_ends_that_fill_the_path_both_ways_do_not_wait_for_each_others_time_out() {
    let ends = connected().await;
    let [(_, near), (_, far)] = &ends;
    let all = async { tokio::join!(fill(near), fill(far), empty(near), empty(far)) };
    assert!(tokio::time::timeout(Duration::from_secs(2), all).await.is_err(), "it goes on for ever");
    for (_, end) in &ends {
        let (sent, probes) = end.probes();
        assert!(sent > 300 && probes * 50 < sent, "{probes} probes after a time-out among {sent} packets");
    }
}
