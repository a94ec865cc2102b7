//! Real TCP and UDP of two hosts across our devices: what arrives is what was sent, whatever was cut and merged between.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_nic::{Device, DeviceStats, PacketSocket};

use crate::namespace::{in_namespace, ip, spawn_in_namespace, tap};
use crate::pump::{OnFrame, Pump};
use crate::sound::assert_checksums;

/// Longest frame of hosts with an MTU of 1500.
const FRAME_LEN_MAX: usize = 1514;

fn data(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// How a host is connected: makes its device on this thread's namespace.
type Attach = fn(host: u8) -> Box<dyn Device>;

/// A TAP `t0` with 10.9.0.`host` and fd00::`host`.
fn by_tap(host: u8) -> Box<dyn Device> {
    let tap = tap("t0", [10, 9, 0, host].into());
    ip(&format!("address add fd00::{host}/64 dev t0 nodad"));
    Box::new(tap)
}

/// A veth `t0` with the same addresses whose other end, in a namespace of its own, is read by AF_PACKET: a LAN host.
fn by_wire(host: u8) -> Box<dyn Device> {
    let name = format!("nic-wire-{}-{host}-{:?}", std::process::id(), std::thread::current().id());
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    ip(&format!("netns add {name}"));
    ip(&format!("link add t0 type veth peer name wire0 netns {name}"));
    ip("link set t0 up");
    ip(&format!("address add 10.9.0.{host}/24 dev t0"));
    ip(&format!("address add fd00::{host}/64 dev t0 nodad"));
    let path = std::path::Path::new("/run/netns").join(&name);
    let open = std::thread::spawn(move || {
        lanparty_nic::realtime::enter_netns(&path).unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/wire0/disable_ipv6", "1").unwrap();
        ip("link set wire0 up");
        PacketSocket::open("wire0").unwrap()
    });
    let socket = open.join();
    // The name goes; the namespace stays as long as the socket and the veth in it.
    ip(&format!("netns delete {name}"));
    Box::new(socket.unwrap())
}

/// Host 2, which runs `serve` and says when it listens.
fn far_host<T: Send + 'static>(
    attach: Attach,
    serve: impl FnOnce(&dyn Fn()) -> T + Send + 'static,
) -> (JoinHandle<T>, Receiver<()>, Box<dyn Device>) {
    let (give, device) = channel();
    let (listening, listens) = channel();
    let thread = spawn_in_namespace(move || {
        give.send(attach(2)).unwrap();
        serve(&|| listening.send(()).unwrap())
    });
    (thread, listens, device.recv().unwrap())
}

/// Sends `len` bytes by TCP from host 1 to host 2, and gives the devices' statistics and the time it took.
fn tcp(attach: Attach, address: &'static str, len: usize, on_frame: OnFrame) -> ([DeviceStats; 2], Duration) {
    let (server, listens, far) = far_host(attach, move |listening| {
        let listener = TcpListener::bind(address).unwrap();
        listening();
        let mut received = Vec::with_capacity(len);
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        received
    });
    let pump = Pump::start(attach(1), far, on_frame);
    listens.recv().unwrap();
    let sent = data(len);
    let mut stream = patiently(|| TcpStream::connect(address));
    let start = Instant::now();
    stream.write_all(&sent).unwrap();
    drop(stream);
    let received = server.join().unwrap();
    let took = start.elapsed();
    assert!(received == sent, "{} of {} bytes, or other ones", received.len(), sent.len());
    (pump.stop(), took)
}

/// Checks each frame as an independent reader would.
fn sound() -> OnFrame {
    Box::new(|frame| {
        assert!(frame.len() <= FRAME_LEN_MAX, "{} bytes", frame.len());
        let is_ip = matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd]);
        let protocol = if frame[12] == 0x08 { frame[23] } else { frame[20] };
        if is_ip && matches!(protocol, 6 | 17) {
            assert_checksums(&frame);
        }
        frame
    })
}

#[test]
fn tcp_crosses_two_taps_bit_exact_in_frames_that_are_sound() {
    for address in ["10.9.0.2:7000", "[fd00::2]:7000"] {
        in_namespace(move || {
            let (stats, _) = tcp(by_tap, address, 8 << 20, sound());
            assert!(stats[0].received > 5000 && stats[1].coalesced > 1000, "{stats:?}");
            assert!(stats.iter().all(|s| s.unreadable == 0 && s.refused == 0), "{stats:?}");
        });
    }
}

#[test]
fn tcp_crosses_two_physical_interfaces_bit_exact_in_frames_that_are_sound() {
    for address in ["10.9.0.2:7000", "[fd00::2]:7000"] {
        in_namespace(move || {
            let (stats, _) = tcp(by_wire, address, 8 << 20, sound());
            assert!(stats[0].received > 5000 && stats[1].coalesced > 1000, "{stats:?}");
            assert!(stats.iter().all(|s| s.unreadable == 0 && s.refused == 0), "{stats:?}");
        });
    }
}

/// Flips a bit in every 200th full-size frame: TCP must notice each, or a checksum was made for the wrong bytes.
fn corrupting(count: Arc<AtomicU64>) -> OnFrame {
    let mut seen = 0u64;
    Box::new(move |frame| {
        seen += u64::from(frame.len() > 1400);
        if frame.len() <= 1400 || !seen.is_multiple_of(200) {
            return frame;
        }
        count.fetch_add(1, Ordering::Relaxed);
        let mut bytes = frame.to_vec();
        bytes[1000] ^= 0x10;
        Bytes::from(bytes)
    })
}

#[test]
fn a_frame_corrupted_on_the_way_never_reaches_the_application() {
    for attach in [by_tap as Attach, by_wire] {
        in_namespace(move || {
            let count = Arc::new(AtomicU64::new(0));
            tcp(attach, "10.9.0.2:7000", 4 << 20, corrupting(Arc::clone(&count)));
            assert!(count.load(Ordering::Relaxed) > 5);
        });
    }
}

/// Repeats what fails while an interface has its route only after the kernel has noticed the carrier.
fn patiently<T>(mut attempt: impl FnMut() -> std::io::Result<T>) -> T {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(e) if Instant::now() > until => panic!("{e}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Sends `data` twice as one call each, which the kernel cuts into datagrams of 1,200 bytes (udp(7), `UDP_SEGMENT`).
fn send_twice_in_datagrams(from: &str, to: &str, data: &[u8]) {
    let socket = UdpSocket::bind(from).unwrap();
    let size: libc::c_int = 1200;
    // SAFETY: one `int`, readable for its length.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const size).cast(), 4) };
    assert_eq!(set, 0);
    // The first finds the neighbour; the kernel keeps it meanwhile.
    for _ in 0..2 {
        patiently(|| socket.send_to(data, to));
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn udp(attach: Attach, address: &'static str, from: &str) {
    let (server, listens, far) = far_host(attach, move |listening| {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        listening();
        let mut buffer = [0; 2000];
        (0..80).map_while(|_| socket.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())).collect::<Vec<_>>()
    });
    let pump = Pump::start(attach(1), far, sound());
    listens.recv().unwrap();
    let sent = data(40 * 1200 - 7);
    send_twice_in_datagrams(from, address, &sent);
    let received = server.join().unwrap();
    let stats = pump.stop();
    assert_eq!(received.len(), 80, "{stats:?}");
    assert!(received.iter().all(|d| d.len() == 1200 || d.len() == 1193));
    assert!(received.concat() == [sent.clone(), sent].concat());
    assert!(stats[1].coalesced >= 70, "{stats:?}");
}

#[test]
fn udp_super_frames_arrive_as_the_datagrams_they_were() {
    for attach in [by_tap as Attach, by_wire] {
        in_namespace(move || udp(attach, "10.9.0.2:7000", "10.9.0.1:0"));
        in_namespace(move || udp(attach, "[fd00::2]:7000", "[fd00::1]:0"));
    }
}

/// Figures, not a check: `cargo test --release -p lanparty-nic --test kernel -- --ignored --nocapture how_fast`.
#[test]
#[ignore = "measures"]
fn how_fast_tcp_crosses_two_devices() {
    for (what, attach) in [("tap", by_tap as Attach), ("wire", by_wire)] {
        in_namespace(move || {
            let len = 512 << 20;
            let (stats, took) = tcp(attach, "10.9.0.2:7000", len, Box::new(|frame| frame));
            let (seconds, frames) = (took.as_secs_f64(), stats[0].received + stats[1].received);
            eprintln!("{what}: {:.2} Gbit/s, {:.0} frames/s, {stats:?}", len as f64 * 8e-9 / seconds, frames as f64 / seconds);
        });
    }
}
