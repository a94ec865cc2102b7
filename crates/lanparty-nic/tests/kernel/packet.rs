//! AF_PACKET against the real kernel, on one end of a veth cable.

use std::time::Duration;

use bytes::Bytes;
use lanparty_nic::{Device, DeviceFault, LinkState, PacketError, PacketSocket};
use lanparty_proto::FrameBatch;

use crate::namespace::{in_namespace, ip, readable, wait_for};

const SOON: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(300);

/// A cable `lan0`-`far0`, both ends up in this namespace, with no addresses and no IPv6 chatter.
fn cable() -> (PacketSocket, PacketSocket) {
    ip("link add lan0 type veth peer name far0");
    for end in ["lan0", "far0"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
        ip(&format!("link set {end} up"));
    }
    let ends = (PacketSocket::open("lan0").unwrap(), PacketSocket::open("far0").unwrap());
    assert!(wait_until(|| carries(&ends.0) && carries(&ends.1)));
    ends
}

/// The kernel reports the carrier a moment before it lets frames out (`linkwatch_do_dev`), and drops them meanwhile.
fn carries(end: &PacketSocket) -> bool {
    end.link() == LinkState::Up && {
        std::thread::sleep(Duration::from_millis(20));
        end.link() == LinkState::Up
    }
}

/// A broadcast frame of a local experimental EtherType (IEEE 802 §9.2.3) that carries `text`.
fn experimental(tags: &[u8], text: &[u8]) -> Bytes {
    [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], tags, &[0x88, 0xb5], text].concat().into()
}

fn contains(text: &'static [u8]) -> impl Fn(&[u8]) -> bool {
    move |frame| frame.windows(text.len()).any(|w| w == text)
}

#[test]
fn a_frame_crosses_the_wire_and_is_not_read_back_by_its_sender() {
    in_namespace(|| {
        let (mut near, mut far) = cable();
        let frame = experimental(&[], b"once upon a time, a frame that is long enough to need no padding");
        assert_eq!(near.send_batch(&[frame.clone(), frame.clone()]).unwrap(), 2);
        assert_eq!(wait_for(&mut far, SOON, contains(b"once upon")).unwrap(), frame);
        assert!(wait_for(&mut near, QUIET, contains(b"once upon")).is_none());
        assert_eq!(near.stats().sent, 2);
    });
}

/// Consecutive full segments of one TCP connection, which leave as one super-frame.
fn segments(count: u32) -> Vec<Bytes> {
    let segment = |i: u32| {
        let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8])
            .ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64)
            .tcp(1000, 2000, 1 + i * 1400, 4096)
            .ack(7);
        let payload = [u8::try_from(i).unwrap(); 1400];
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        builder.write(&mut frame, &payload).unwrap();
        Bytes::from(frame)
    };
    (0..count).map(segment).collect()
}

#[test]
fn a_super_frame_that_the_kernel_cuts_up_is_not_read_back_either() {
    in_namespace(|| {
        let (mut near, mut far) = cable();
        if !std::process::Command::new("ethtool").args(["-K", "lan0", "tso", "off", "gso", "off"]).status().is_ok_and(|s| s.success()) {
            return println!("skipped: ethtool is not installed");
        }
        let frames = segments(20);
        assert_eq!(near.send_batch(&frames).unwrap(), 20);
        assert!(near.stats().coalesced >= 20, "the device hands over a super-frame: {:?}", near.stats());
        let last = frames.last().unwrap().clone();
        assert!(wait_for(&mut far, SOON, move |f| f[54..] == last[54..]).is_some(), "it crosses the wire");
        assert!(wait_for(&mut near, QUIET, |f| f[6..12] == [2, 0, 0, 0, 0, 9]).is_none());
    });
}

#[test]
fn a_short_frame_is_padded_with_zeros() {
    in_namespace(|| {
        let (mut near, mut far) = cable();
        near.send_batch(&[experimental(&[], b"runt")]).unwrap();
        let frame = wait_for(&mut far, SOON, contains(b"runt")).unwrap();
        assert_eq!(frame.len(), 60);
        assert!(frame[18..].iter().all(|b| *b == 0));
    });
}

#[test]
fn every_tag_is_seen_where_it_was_on_the_wire() {
    in_namespace(|| {
        let (mut near, mut far) = cable();
        let stacks: [&[u8]; 4] =
            [&[0x81, 0, 0, 5], &[0x81, 0, 0xe0, 0], &[0x81, 0, 0, 1, 0x81, 0, 0, 2], &[0x88, 0xa8, 0, 3, 0x81, 0, 0, 4]];
        for tags in stacks {
            let frame = experimental(tags, b"a tagged frame that is long enough to need no padding at all");
            near.send_batch(std::slice::from_ref(&frame)).unwrap();
            assert_eq!(wait_for(&mut far, SOON, contains(b"a tagged")).expect("seen"), frame, "{tags:02x?}");
        }
    });
}

#[test]
fn what_the_host_itself_sends_by_the_interface_is_read() {
    in_namespace(|| {
        let (mut near, _far) = cable();
        ip("address add 10.8.0.1/24 dev lan0");
        let socket = std::net::UdpSocket::bind("10.8.0.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"is there a game on this LAN", "10.8.0.255:27015").unwrap();
        let frame = wait_for(&mut near, SOON, contains(b"is there a game")).expect("the host's own broadcast");
        assert_eq!(frame[..6], [0xff; 6]);
        crate::sound::assert_checksums(&frame);
    });
}

#[test]
fn an_interface_that_goes_down_says_so_and_carries_frames_again_once_up() {
    in_namespace(|| {
        let (mut near, mut far) = cable();
        let frame = experimental(&[], b"still there? a frame that is long enough to need no padding");
        ip("link set lan0 down");
        assert!(readable(&near, SOON));
        let error = near.recv_batch(&mut FrameBatch::new()).unwrap_err();
        assert_eq!(DeviceFault::of(&error), Some(DeviceFault::Down));
        assert_eq!(near.link(), LinkState::Down);
        let error = near.send_batch(std::slice::from_ref(&frame)).unwrap_err();
        assert_eq!(DeviceFault::of(&error), Some(DeviceFault::Down));
        ip("link set lan0 up");
        assert!(wait_until(|| carries(&near) && carries(&far)));
        far = reopened(far);
        near.send_batch(std::slice::from_ref(&frame)).unwrap();
        assert!(wait_for(&mut far, SOON, contains(b"still there")).is_some());
        far.send_batch(&[frame]).unwrap();
        assert!(wait_for(&mut near, SOON, contains(b"still there")).is_some());
    });
}

#[test]
fn a_lost_carrier_and_a_removed_interface_are_told_apart() {
    in_namespace(|| {
        let (mut near, far) = cable();
        ip("link set far0 down");
        assert!(wait_until(|| near.link() == LinkState::NoCarrier));
        ip("link set far0 up");
        assert!(wait_until(|| near.link() == LinkState::Up));
        drop(far);
        ip("link delete lan0");
        assert!(readable(&near, SOON));
        assert_eq!(DeviceFault::of(&near.recv_batch(&mut FrameBatch::new()).unwrap_err()), Some(DeviceFault::Gone));
        let error = near.send_batch(&[experimental(&[], b"hello?")]).unwrap_err();
        assert_eq!(DeviceFault::of(&error), Some(DeviceFault::Gone));
        assert_eq!(near.link(), LinkState::Gone);
        let (again, _far) = cable();
        assert_ne!(again.index(), near.index());
        assert_eq!(near.link(), LinkState::Gone);
    });
}

#[test]
fn what_nobody_reads_is_counted() {
    in_namespace(|| {
        let (mut near, far) = cable();
        let frames = vec![experimental(&[], &[7; 1400]); 64];
        for _ in 0..400 {
            near.send_batch(&frames).unwrap();
        }
        let mut read = 0;
        let mut far = far;
        let mut batch = FrameBatch::new();
        while let Ok(count) = far.recv_batch(&mut batch) {
            read += count as u64;
            while batch.pop().is_some() {}
        }
        let stats = far.stats();
        assert!(stats.kernel_drops > 0, "{stats:?}");
        assert_eq!(read + stats.kernel_drops + lost_before_the_socket(), near.stats().sent);
        assert_eq!(far.kernel_drops(), stats.kernel_drops);
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    in_namespace(|| {
        for name in ["nowhere0", "", "a name much too long"] {
            let error = PacketSocket::open(name).err().unwrap();
            assert!(matches!(error, PacketError::NoSuchInterface { .. }), "{error}");
            assert!(error.is_usage());
        }
    });
}

/// Frames that the kernel's own queue between the two ends of the cable had no room for (netdevice statistics).
fn lost_before_the_socket() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let numbers = |name: &str| -> Vec<u64> {
        let line = table.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        line.split_whitespace().map(|n| n.parse().unwrap()).collect()
    };
    numbers("far0:")[3] + numbers("lan0:")[11]
}

/// An interface whose other end went down may have left an old error behind.
fn reopened(old: PacketSocket) -> PacketSocket {
    PacketSocket::open(old.name()).unwrap()
}

fn wait_until(condition: impl Fn() -> bool) -> bool {
    (0..200).any(|_| {
        condition() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    })
}
