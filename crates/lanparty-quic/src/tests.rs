//! On sockets of the loopback interface, which hands a burst on as it was sent (UDP_GRO, udp(7)).

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::socket::Socket;
use crate::udp::{RecvMeta, Transmit};
use crate::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ReadError, ServerConfig, TransportConfig, VarInt, WriteError,
};

const NAME: &str = "a.test";
/// For what happens at once, on a machine that does something else.
const SOON: Duration = Duration::from_secs(10);

static CAME: AtomicUsize = AtomicUsize::new(0);

fn came() {
    CAME.fetch_add(1, Ordering::Relaxed);
}

fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.datagram_send_buffer_size(1 << 20).datagram_receive_buffer_size(Some(1 << 20)).mtu_discovery_config(None).initial_mtu(1400);
    Arc::new(transport)
}

/// One that lets others in, and how to dial it.
fn configs() -> (ServerConfig, ClientConfig) {
    let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (certificate, key) = (issued.cert.der().clone(), PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let mut server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    server.transport_config(transport());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    client.transport_config(transport());
    (server, client)
}

struct Pair {
    client: Endpoint,
    server: Endpoint,
    here: Connection,
    there: Connection,
}

/// Two that are connected; `between` says where the client finds the server.
async fn pair_by(between: impl FnOnce(SocketAddr) -> SocketAddr) -> Pair {
    let (server_config, client_config) = configs();
    let (socket, at) = bound();
    let server = Endpoint::new(EndpointConfig::default(), Some(server_config), socket, came).unwrap();
    let client = Endpoint::new(EndpointConfig::default(), None, bound().0, came).unwrap();
    client.set_default_client_config(client_config);
    let dialled = client.connect(between(at), NAME).unwrap();
    let let_in = async { server.accept().await.unwrap().accept().unwrap().await.unwrap() };
    let (here, there) = tokio::join!(dialled, let_in);
    Pair { here: here.unwrap(), there, client, server }
}

async fn pair() -> Pair {
    pair_by(|at| at).await
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("at once")
}

async fn read(connection: &Connection, count: usize) -> Vec<Bytes> {
    let mut all = vec![];
    while all.len() < count {
        let mut into = vec![Bytes::new(); 64];
        let came = soon(connection.read_datagrams(&mut into)).await.unwrap();
        all.extend(into.drain(..came));
    }
    all
}

fn numbered(count: u32, len: usize) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::from([&n.to_be_bytes()[..], &vec![7; len - 4]].concat())).collect()
}

#[tokio::test]
async fn datagrams_arrive_both_ways_and_in_order() {
    let Pair { here, there, client, server } = pair().await;
    for (from, to) in [(&here, &there), (&there, &here)] {
        for _ in 0..10 {
            let sent = numbered(50, 1_000);
            from.send_datagrams(&sent).unwrap();
            assert_eq!(read(to, 50).await, sent);
        }
    }
    assert_eq!(there.remote_address(), client.local_addr().unwrap());
    assert_eq!(here.remote_address(), server.local_addr().unwrap());
    assert!(CAME.load(Ordering::Relaxed) > 0);
    let size = here.max_datagram_size().unwrap();
    assert!(here.send_datagram(vec![0; size].into()).is_ok());
    assert!(here.send_datagram(vec![0; size + 1].into()).is_err());
}

/// Hands on what comes, and notes how many datagrams each message from the client had.
fn proxy(server: SocketAddr, noted: Arc<Mutex<Vec<usize>>>) -> SocketAddr {
    let ((near, at), (far, _)) = (bound(), bound());
    tokio::spawn(async move {
        let (near, far) = (Socket::new(near).unwrap(), Socket::new(far).unwrap());
        let mut client = None;
        loop {
            tokio::select! {
                messages = messages(&near) => for (bytes, meta) in messages {
                    client = Some(meta.addr);
                    noted.lock().unwrap().push(meta.len.div_ceil(meta.stride));
                    hand_on(&far, &bytes, meta.stride, server);
                },
                messages = messages(&far) => for (bytes, meta) in messages {
                    hand_on(&near, &bytes, meta.stride, client.unwrap());
                },
            }
        }
    });
    at
}

async fn messages(socket: &Socket) -> Vec<(Vec<u8>, RecvMeta)> {
    let (mut memory, mut meta) = (vec![vec![0; 65_536]; 4], [RecvMeta::default(); 4]);
    let count = poll_fn(|cx| {
        let mut buffers: Vec<IoSliceMut<'_>> = memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        socket.poll_recv(cx, &mut buffers, &mut meta)
    });
    let count = count.await.unwrap();
    memory.iter().zip(meta).take(count).map(|(bytes, meta)| (bytes[..meta.len].to_vec(), meta)).collect()
}

fn hand_on(socket: &Socket, bytes: &[u8], stride: usize, destination: SocketAddr) {
    for contents in bytes.chunks(stride) {
        socket.try_send(&Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }).unwrap();
    }
}

#[tokio::test]
async fn what_is_sent_together_leaves_in_one_call_and_what_comes_alone_at_once() {
    let noted = Arc::new(Mutex::new(vec![]));
    let Pair { here, there, .. } = pair_by(|at| proxy(at, Arc::clone(&noted))).await;
    // The first ones leave alone, whatever they are.
    here.send_datagrams(&numbered(64, 100)).unwrap();
    read(&there, 64).await;
    assert!(noted.lock().unwrap().iter().take(crate::send::ALONE_FIRST).all(|count| *count == 1));
    // The window opens with what arrives.
    for _ in 0..50 {
        noted.lock().unwrap().clear();
        let sent = numbered(40, 1_200);
        here.send_datagrams(&sent).unwrap();
        assert_eq!(read(&there, 40).await, sent);
        if noted.lock().unwrap()[..] == [40] {
            return;
        }
    }
    panic!("{:?}: this kernel may have no UDP_SEGMENT or no UDP_GRO", noted.lock().unwrap());
}

/// Whoever waits for what came runs before the connection sends, so its acknowledgement needs no packet of its own.
#[tokio::test]
async fn an_acknowledgement_travels_with_the_answer() {
    const ECHOES: u64 = 50;
    let Pair { here, there, .. } = pair().await;
    let echoing = there.clone();
    let echo = tokio::spawn(async move {
        let mut into = [Bytes::new()];
        while echoing.read_datagrams(&mut into).await.is_ok() {
            echoing.send_datagrams(&into).unwrap();
        }
    });
    let sent = || there.stats().path.sent_packets;
    // The handshake's last words.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = sent();
    for _ in 0..ECHOES {
        here.send_datagram(Bytes::from_static(b"ping")).unwrap();
        assert_eq!(read(&here, 1).await, [&b"ping"[..]]);
    }
    let packets = sent() - before;
    assert!((ECHOES..ECHOES + ECHOES / 5).contains(&packets), "{packets} packets for {ECHOES} answers");
    echo.abort();
}

/// Two that are connected, and the first one's socket, for which the kernel has no room.
async fn pair_without_room() -> (Pair, Arc<Socket>) {
    let pair = pair().await;
    read_and_send(&pair.here, &pair.there, 64).await;
    let socket = Arc::clone(&pair.here.inner().state().socket);
    socket.is_full.store(true, Ordering::Relaxed);
    (pair, socket)
}

#[tokio::test]
async fn what_the_kernel_has_no_room_for_leaves_when_it_has() {
    let (Pair { here, there, .. }, socket) = pair_without_room().await;
    let sent = numbered(100, 1_000);
    for some in sent.chunks(10) {
        here.send_datagrams(some).unwrap();
    }
    let nothing = tokio::time::timeout(Duration::from_millis(50), there.read_datagrams(&mut [Bytes::new()])).await;
    assert!(nothing.is_err(), "{nothing:?}");
    socket.is_full.store(false, Ordering::Relaxed);
    assert_eq!(read(&there, 100).await, sent);
}

async fn read_and_send(from: &Connection, to: &Connection, count: u32) {
    let sent = numbered(count, 100);
    from.send_datagrams(&sent).unwrap();
    assert_eq!(read(to, sent.len()).await, sent);
}

#[tokio::test]
async fn a_full_queue_is_waited_for_by_who_wants_nothing_dropped() {
    let (Pair { here, there: _there, .. }, socket) = pair_without_room().await;
    here.send_datagrams(&numbered(1_100, 1_000)).unwrap();
    let last = Bytes::from(vec![9; 1_300]);
    here.send_datagrams(std::slice::from_ref(&last)).unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(50), here.send_datagram_wait(last.clone())).await;
    assert!(waits.is_err(), "there is no room");
    socket.is_full.store(false, Ordering::Relaxed);
    soon(here.send_datagram_wait(last)).await.unwrap();
}

#[tokio::test]
async fn streams_carry_more_than_their_window_and_end() {
    let Pair { here, there, .. } = pair().await;
    let said: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let (mut send, _keep) = here.open_bi().await.unwrap();
    let heard = async {
        let (_keep, mut recv) = soon(there.accept_bi()).await.unwrap();
        let mut heard = vec![];
        while let Some(chunk) = soon(recv.read_chunk(4096)).await.unwrap() {
            heard.extend_from_slice(&chunk);
        }
        assert_eq!(recv.read_chunk(1).await, Ok(None), "it has ended");
        heard
    };
    let spoken = async {
        send.write_all(&said).await.unwrap();
        send.finish().unwrap();
        assert!(send.finish().is_err() && send.write_all(b"more").await == Err(WriteError::ClosedStream));
    };
    let ((), heard) = tokio::join!(spoken, heard);
    assert!(heard == said);
}

#[tokio::test]
async fn who_reads_no_more_stops_the_writer() {
    let Pair { here, there, .. } = pair().await;
    let (mut send, _recv) = here.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    let (_send, mut recv) = soon(there.accept_bi()).await.unwrap();
    assert_eq!(soon(recv.read_chunk(100)).await.unwrap().unwrap(), &b"hello"[..]);
    drop(recv);
    let stopped = async {
        loop {
            if let Err(stopped) = send.write_all(&[0; 1000]).await {
                break stopped;
            }
        }
    };
    assert_eq!(soon(stopped).await, WriteError::Stopped(VarInt::from_u32(0)));
}

#[tokio::test]
async fn a_connection_that_nobody_holds_is_closed_and_all_who_wait_hear_it() {
    let Pair { here, there, server, .. } = pair().await;
    let (mut send, mut recv) = here.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let (_other_send, mut other_recv) = soon(there.accept_bi()).await.unwrap();
    soon(other_recv.read_chunk(1)).await.unwrap();
    let ended = here.ended();
    drop(here);
    assert_eq!(server.open_connections(), 1, "its stream is held");
    let reading = tokio::spawn(async move { recv.read_chunk(1).await });
    tokio::task::yield_now().await;
    there.close(VarInt::from_u32(3), b"enough");
    let closed = |e: &ConnectionError| matches!(e, ConnectionError::ApplicationClosed(close) if close.reason == b"enough"[..]);
    assert!(matches!(soon(reading).await.unwrap(), Err(ReadError::ConnectionLost(e)) if closed(&e)));
    assert!(closed(&soon(ended).await));
    drop(send);

    let Pair { here, there, .. } = pair().await;
    drop(here);
    assert!(matches!(soon(there.closed()).await, ConnectionError::ApplicationClosed(_)));
    assert!(there.send_datagram(Bytes::new()).is_err() && there.open_bi().await.is_err() && there.close_reason().is_some());
}

#[tokio::test]
async fn an_endpoint_that_closes_ends_its_connections_and_lets_nobody_in() {
    let Pair { here, there, client, server } = pair().await;
    server.close(VarInt::from_u32(0), b"the end");
    assert!(soon(server.accept()).await.is_none());
    assert!(matches!(soon(here.closed()).await, ConnectionError::ApplicationClosed(close) if close.reason == b"the end"[..]));
    assert_eq!(there.closed().await, ConnectionError::LocallyClosed);
    soon(server.wait_idle()).await;
    assert!(server.connect(client.local_addr().unwrap(), NAME).is_err());
    drop(here);
    soon(client.wait_idle()).await;
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn a_socket_lives_as_long_as_its_connections_do() {
    let Pair { here, there, client, server } = pair().await;
    let at = client.local_addr().unwrap();
    drop((client, server));
    read_and_send(&here, &there, 10).await;
    drop((here, there));
    let free = async {
        while UdpSocket::bind(at).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(free).await;
}

#[tokio::test]
async fn who_is_not_let_in_hears_it_and_garbage_does_no_harm() {
    let (server_config, client_config) = configs();
    let (socket, at) = bound();
    let server = Endpoint::new(EndpointConfig::default(), Some(server_config), socket, came).unwrap();
    let client = Endpoint::new(EndpointConfig::default(), None, bound().0, came).unwrap();
    let (stranger, _) = bound();
    for len in 0..1_400_usize {
        stranger.send_to(&vec![(len * 7) as u8; len], at).unwrap();
    }
    client.set_default_client_config(client_config);
    let refused = client.connect(at, NAME).unwrap();
    let (refused, ()) = tokio::join!(soon(refused.into_future()), async { drop(server.accept().await) });
    assert!(refused.is_err());
    let proving = client.connect(at, NAME).unwrap();
    let (let_in, proven) = tokio::join!(soon(proving.into_future()), async {
        let first = server.accept().await.unwrap();
        assert!(!first.remote_address_validated() && first.retry().is_ok());
        let again = server.accept().await.unwrap();
        assert!(again.remote_address_validated());
        again.accept().unwrap().await
    });
    assert!(let_in.is_ok() && proven.is_ok());
    let nobody = client.connect(bound().1, NAME).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), nobody.into_future()).await.is_err());
    assert!(client.connect("[::1]:9".parse().unwrap(), NAME).is_err(), "from a socket for IPv4");
}

/// Edge-triggered readiness, and a read that was not full: what comes later is read all the same.
#[tokio::test]
async fn every_datagram_is_read_however_they_come() {
    let ((sender, _), (socket, at)) = (bound(), bound());
    let (socket, mut intake) = (Socket::new(socket).unwrap(), crate::recv::Intake::new());
    for count in [1, 31, 32, 33, 96, 1, 1] {
        for _ in 0..count {
            sender.send_to(b"frame", at).unwrap();
        }
        let mut here = 0;
        while here < count {
            let batch = poll_fn(|cx| {
                intake.poll_batch(&socket, cx, |_, datagram| {
                    assert_eq!(&datagram[..], b"frame");
                    here += 1;
                })
            });
            soon(batch).await.unwrap();
        }
        assert_eq!(here, count);
    }
}

/// The timer of what is on its way by the path before is over when the new one has carried nothing yet (quinn-proto 0.11 calls that
/// impossible: its assertion in `pto_time_and_space`).
#[tokio::test]
async fn who_answers_late_follows_the_other_side_to_its_new_address() {
    let Pair { here, there, client, server } = pair().await;
    there.send_datagram(Bytes::from_static(b"not acknowledged yet")).unwrap();
    client.rebind(bound().0).unwrap();
    here.send_datagram(Bytes::from_static(b"from elsewhere")).unwrap();
    assert_eq!(read(&there, 1).await, [&b"from elsewhere"[..]]);
    assert_eq!(there.remote_address(), client.local_addr().unwrap());
    // This thread does something else: many times as long as the two take to tell each other something.
    std::thread::sleep(Duration::from_millis(500));
    tokio::time::sleep(Duration::from_millis(10)).await;
    there.send_datagram(Bytes::from_static(b"to there")).unwrap();
    assert_eq!(read(&here, 2).await.last().unwrap(), &b"to there"[..]);
    assert_eq!((server.open_connections(), there.close_reason()), (1, None));
}

/// Dials, waits until all it said is acknowledged, says something from another address, and then nothing at all until `wake`.
#[tokio::main(flavor = "current_thread")]
async fn who_moves_and_falls_silent(config: ClientConfig, at: SocketAddr, wake: &mpsc::Receiver<()>) -> SocketAddr {
    let client = Endpoint::new(EndpointConfig::default(), None, bound().0, came).unwrap();
    client.set_default_client_config(config);
    let first = client.local_addr().unwrap();
    let here = client.connect(at, NAME).unwrap().await.unwrap();
    assert_eq!(read(&here, 1).await, [&b"hello"[..]]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.rebind(bound().0).unwrap();
    here.send_datagrams(&numbered(5, 1_000)).unwrap();
    wake.recv().unwrap();
    while !read(&here, 1).await.contains(&Bytes::from_static(b"still there?")) {}
    first
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_left_for_the_one_before() {
    let (server_config, client_config) = configs();
    let (socket, at) = bound();
    let server = Endpoint::new(EndpointConfig::default(), Some(server_config), socket, came).unwrap();
    let (waker, wake) = mpsc::channel();
    let client = std::thread::spawn(move || who_moves_and_falls_silent(client_config, at, &wake));
    let there = server.accept().await.unwrap().accept().unwrap().await.unwrap();
    let before = there.remote_address();
    there.send_datagram(Bytes::from_static(b"hello")).unwrap();
    assert_eq!(read(&there, 5).await, numbered(5, 1_000));
    assert_ne!(there.remote_address(), before);
    soon(async {
        while there.remote_address() != before {
            there.send_datagram(Bytes::from_static(b"to nobody")).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Long enough for every timer that was set before.
    tokio::time::sleep(Duration::from_millis(500)).await;
    there.send_datagram(Bytes::from_static(b"still there?")).unwrap();
    waker.send(()).unwrap();
    assert_eq!(client.join().unwrap(), before);
}

#[tokio::test]
async fn a_turn_ends_and_the_next_goes_on() {
    let ((sender, _), (socket, at)) = (bound(), bound());
    let (socket, mut intake) = (Socket::new(socket).unwrap(), crate::recv::Intake::new());
    let mut bytes = 0;
    while !intake.is_enough() {
        sender.send_to(&[0; 8_000], at).unwrap();
        soon(poll_fn(|cx| intake.poll_batch(&socket, cx, |_, datagram| bytes += datagram.len()))).await.unwrap();
    }
    assert!((200_000..300_000).contains(&bytes), "{bytes}");
    intake.begin();
    assert!(!intake.is_enough());
    let mut messages = 0;
    while !intake.is_enough() {
        sender.send_to(&[], at).unwrap();
        messages += 1;
        assert!(messages <= 2_000, "empty ones have no end");
        soon(poll_fn(|cx| intake.poll_batch(&socket, cx, |_, _| panic!("there is nothing in it")))).await.unwrap();
    }
}
