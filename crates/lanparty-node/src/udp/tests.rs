//! On sockets of the loopback interface, which hands a burst on as it was sent (UDP_GRO, udp(7)).

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::time::Duration;

use noq::udp::{BATCH_SIZE, EcnCodepoint, Transmit};

use super::burst::{Burst, may_go_on};
use super::*;

const FULL: usize = 10;

fn to(destination: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
    Transmit { destination, ecn: None, contents, segment_size, src_ip: None }
}

fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

/// What one call brought: length and datagram size of each message, and all bytes.
fn read(socket: &mut dyn AsyncUdpSocket) -> (Vec<(usize, usize)>, Vec<u8>) {
    let mut memory = vec![vec![0; 65_536]; BATCH_SIZE];
    let mut buffers: Vec<IoSliceMut<'_>> = memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let mut meta = [RecvMeta::default(); BATCH_SIZE];
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(count) = socket.poll_recv(&mut cx, &mut buffers, &mut meta) else { return Default::default() };
    let count = count.unwrap();
    let messages = meta[..count].iter().map(|meta| (meta.len, meta.stride)).collect();
    let bytes = meta[..count].iter().zip(&buffers).flat_map(|(meta, buffer)| buffer[..meta.len].to_vec()).collect();
    (messages, bytes)
}

async fn read_later(socket: &mut dyn AsyncUdpSocket) -> (Vec<(usize, usize)>, Vec<u8>) {
    for _ in 0..1_000 {
        let read = read(socket);
        if !read.0.is_empty() {
            return read;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nothing came");
}

#[test]
fn a_burst_holds_datagrams_of_one_size_for_one_place_and_a_shorter_one_ends_it() {
    let (here, there) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
    let bytes = vec![7; 1_000];
    let full = to(here, &bytes, Some(100));
    let mut burst = Burst::default();
    assert!(burst.takes(&full, 64));
    burst.push(&full);
    for (what, next, is_taken) in [
        ("as many again", full.clone(), true),
        ("a shorter one", to(here, &bytes[..60], None), true),
        ("one of the same size", to(here, &bytes[..100], None), true),
        ("a longer one", to(here, &bytes[..101], None), false),
        ("others of another size", to(here, &bytes, Some(50)), false),
        ("for somebody else", to(there, &bytes, Some(100)), false),
        ("with another mark", Transmit { ecn: Some(EcnCodepoint::Ect0), ..full.clone() }, false),
        ("from another address", Transmit { src_ip: Some(here.ip()), ..full.clone() }, false),
    ] {
        assert_eq!(burst.takes(&next, 64), is_taken, "{what}");
    }
    assert!(!burst.takes(&full, 19), "more than the kernel takes");
    burst.push(&to(here, &bytes[..60], None));
    assert!(!burst.takes(&full, 64), "behind a shorter one");
    let sizes: Vec<usize> = burst.datagrams().map(|d| d.contents.len()).collect();
    assert_eq!(sizes, [[100; 10].as_slice(), &[60]].concat());
}

#[test]
fn a_burst_is_no_longer_than_a_packet() {
    let here = "192.0.2.1:1".parse().unwrap();
    let bytes = vec![7; 14_520];
    let full = to(here, &bytes, Some(1_452));
    let mut burst = Burst::default();
    let pushed = std::iter::from_fn(|| burst.takes(&full, 64).then(|| burst.push(&full))).count();
    assert_eq!(pushed, 4, "40 of 45 datagrams that a packet has room for: the stack gives ten at a time");
    assert!(may_go_on(&full) && !may_go_on(&to(here, &bytes[..13_000], Some(1_452))) && !may_go_on(&to(here, &bytes[..10], None)));
}

#[tokio::test]
async fn what_comes_alone_leaves_at_once() {
    let (from, (receiver, at)) = (runtime().wrap_udp_socket(bound().0).unwrap(), bound());
    let mut sender = from.create_sender();
    poll_fn(|cx| sender.as_mut().poll_send(&to(at, b"ping", None), cx)).await.unwrap();
    // No other task has run.
    let mut buffer = [0; 16];
    assert_eq!(receiver.recv(&mut buffer).unwrap(), 4);
}

/// As the stack's connection does it: two transmits whenever it runs, and again as long as both were full.
#[tokio::test]
async fn what_the_stack_gives_in_tens_leaves_in_one_call_and_in_order() {
    let (from, (receiver, at)) = (runtime().wrap_udp_socket(bound().0).unwrap(), bound());
    let mut receiver = runtime().wrap_udp_socket(receiver).unwrap();
    assert!(receiver.max_receive_segments().get() > FULL, "this kernel has no UDP_GRO");
    let mut sender = from.create_sender();
    let data: Vec<u8> = (0..45 * 100_u32).map(|n| (n % 251) as u8).collect();
    let (mut at_byte, given) = (0, data.clone());
    let connection = poll_fn(move |cx| {
        for _ in 0..2 {
            let Some(tens) = given[at_byte..].chunks(FULL * 100).next() else {
                return Poll::Ready(sender.as_ref().max_transmit_segments());
            };
            at_byte += tens.len();
            assert!(sender.as_mut().poll_send(&to(at, tens, Some(100)), cx).is_ready());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    assert!(tokio::spawn(connection).await.unwrap().get() > FULL, "this kernel has no UDP_SEGMENT");
    let (messages, bytes) = read_later(&mut *receiver).await;
    assert_eq!(messages, [(4_500, 100)], "45 datagrams, one call");
    assert_eq!(bytes, data);
}

#[tokio::test]
async fn the_stack_may_put_together_as_many_as_it_had_for_a_turn() {
    let (from, (_receiver, at)) = (runtime().wrap_udp_socket(bound().0).unwrap(), bound());
    let mut sender = from.create_sender();
    for (what, turn, then) in [
        ("nothing was sent yet", vec![], 1),
        ("a handshake, and more one behind the other than one has", vec![1; 32], 1),
        ("a ping alone", vec![1], 1),
        ("and another", vec![1], 1),
        ("three one behind the other", vec![1, 1, 1], 3),
        ("less than that", vec![2], 3),
        ("several together and more", vec![3, 3, 1], 7),
        ("a ping again", vec![1], 7),
    ] {
        for count in turn {
            poll_fn(|cx| sender.as_mut().poll_send(&to(at, &vec![7; count * 100], Some(100)), cx)).await.unwrap();
        }
        assert_eq!(sender.as_ref().max_transmit_segments().get(), then, "{what}");
    }
}

#[tokio::test]
async fn full_bursts_that_nothing_follows_leave_all_the_same() {
    let (from, (receiver, at)) = (runtime().wrap_udp_socket(bound().0).unwrap(), bound());
    let mut receiver = runtime().wrap_udp_socket(receiver).unwrap();
    let mut sender = from.create_sender();
    for round in 0..3_u8 {
        let tens = [round; FULL * 100];
        poll_fn(|cx| sender.as_mut().poll_send(&to(at, &tens, Some(100)), cx)).await.unwrap();
        assert_eq!(read_later(&mut *receiver).await, (vec![(1_000, 100)], tens.to_vec()), "round {round}");
    }
}

/// Edge-triggered readiness, and a read that was not full: what comes later is read all the same.
#[tokio::test]
async fn every_datagram_is_read_however_they_come() {
    let (sender, (receiver, at)) = (bound().0, bound());
    let mut receiver = runtime().wrap_udp_socket(receiver).unwrap();
    let mut got = 0;
    for count in [1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 3 * BATCH_SIZE, 1, 1] {
        for _ in 0..count {
            sender.send_to(b"frame", at).unwrap();
        }
        let mut here = 0;
        while here < count {
            here += read_later(&mut *receiver).await.0.len();
        }
        got += here;
    }
    assert_eq!(got, 5 * BATCH_SIZE + BATCH_SIZE + 3);
    assert!(read(&mut *receiver).0.is_empty());
}
