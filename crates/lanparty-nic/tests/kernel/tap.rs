//! TAPs against the real kernel.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::namespace::{in_namespace, ip, tap, wait_for};
use bytes::Bytes;
use lanparty_nic::{Device as _, DeviceFault, Tap, TapConfig, TapError};
use lanparty_proto::{FrameBatch, LanMtu, MacAddr};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn named(name: &str) -> TapConfig {
    TapConfig { name: name.to_owned(), ..TapConfig::default() }
}

/// An ARP request for `address` from 10.9.0.99 (RFC 826).
fn arp_request(address: Ipv4Addr) -> Bytes {
    let mut frame = vec![0xff; 6];
    frame.extend(OURS.0);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(OURS.0);
    frame.extend([10, 9, 0, 99]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.into()
}

#[test]
fn the_kernel_answers_a_frame_written_to_a_tap() {
    in_namespace(|| {
        let mut tap = tap("t0", Ipv4Addr::new(10, 9, 0, 1));
        assert_eq!(tap.send_batch(&[arp_request(Ipv4Addr::new(10, 9, 0, 1))]).unwrap(), 1);
        let reply = wait_for(&mut tap, Duration::from_secs(2), |f| f[12..14] == [8, 6] && f[21] == 2).expect("an ARP reply");
        assert_eq!(reply[..6], OURS.0);
        assert_eq!(reply[6..12], tap.mac().unwrap().0);
        let stats = tap.stats();
        assert!(stats.sent == 1 && stats.received >= 1 && stats.refused == 0, "{stats:?}");
    });
}

#[test]
fn a_tap_has_the_address_and_size_it_was_given_and_vanishes_when_dropped() {
    in_namespace(|| {
        let mac = MacAddr([2, 1, 2, 3, 4, 5]);
        let tap = Tap::create(&TapConfig { name: "lan%d".to_owned(), mac: Some(mac), mtu: LanMtu::new(1390), reuse: false }).unwrap();
        assert_eq!(tap.name(), "lan0");
        assert_eq!(tap.mac().unwrap(), mac);
        assert!(tap.index().unwrap() > 1);
        let shown = std::process::Command::new("ip").args(["link", "show", "lan0"]).output().unwrap();
        assert!(String::from_utf8_lossy(&shown.stdout).contains("mtu 1390"));
        tap.set_up(true).unwrap();
        tap.set_carrier(false).unwrap();
        let shown = std::process::Command::new("ip").args(["link", "show", "lan0"]).output().unwrap();
        assert!(String::from_utf8_lossy(&shown.stdout).contains("NO-CARRIER"));
        tap.set_carrier(true).unwrap();
        drop(tap);
        // Not at once: a process that another test is starting holds a copy of the descriptor until it runs its program.
        let is_there = || std::process::Command::new("ip").args(["link", "show", "lan0"]).output().unwrap().status.success();
        assert!((0..100).any(|_| !is_there()));
    });
}

#[test]
fn a_tap_that_was_made_beforehand_is_taken_and_stays() {
    in_namespace(|| {
        ip("tuntap add mode tap name mine");
        let mac = MacAddr([2, 0, 0, 0, 0, 7]);
        let tap = Tap::create(&TapConfig { mac: Some(mac), reuse: true, ..named("mine") }).unwrap();
        assert!(tap.is_persistent() && tap.mac().unwrap() == mac);
        drop(tap);
        assert!(std::process::Command::new("ip").args(["link", "show", "mine"]).output().unwrap().status.success());
        let new = Tap::create(&TapConfig { reuse: true, ..named("new") }).unwrap();
        assert!(!new.is_persistent(), "one that is not there is made, and goes with the process");
    });
}

#[test]
fn what_stands_in_the_way_of_a_tap_is_named() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("tuntap add mode tap name stale");
        let _held = Tap::create(&named("held")).unwrap();
        let cause = |name: &str| Tap::create(&named(name)).unwrap_err();
        assert!(matches!(cause("held"), TapError::Busy { .. }));
        assert!(matches!(cause("v0"), TapError::NotATap { .. }));
        assert!(matches!(cause("stale"), TapError::Persistent { .. }));
        assert!(cause("stale").to_string().contains("ip link delete stale"));
        for bad in ["", "sixteen-bytes-xx", "a b", "a/b", ".."] {
            assert!(matches!(cause(bad), TapError::InvalidName { .. }), "{bad}");
            assert!(cause(bad).is_usage());
        }
    });
}

#[test]
fn a_tap_that_is_down_or_deleted_says_so() {
    in_namespace(|| {
        let mut tap = tap("t0", Ipv4Addr::new(10, 9, 0, 1));
        let frame = [arp_request(Ipv4Addr::new(10, 9, 0, 1))];
        tap.set_up(false).unwrap();
        assert_eq!(DeviceFault::of(&tap.send_batch(&frame).unwrap_err()), Some(DeviceFault::Down));
        tap.set_up(true).unwrap();
        assert_eq!(tap.send_batch(&frame).unwrap(), 1);
        ip("link delete t0");
        assert_eq!(DeviceFault::of(&tap.send_batch(&frame).unwrap_err()), Some(DeviceFault::Gone));
        let gone = loop {
            match tap.recv_batch(&mut FrameBatch::new()) {
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        assert_eq!(DeviceFault::of(&gone), Some(DeviceFault::Gone));
    });
}

#[test]
fn a_runt_is_refused_and_counted_and_the_next_frame_is_written() {
    in_namespace(|| {
        let mut tap = tap("t0", Ipv4Addr::new(10, 9, 0, 1));
        let frames = [Bytes::from_static(&[1, 2, 3]), arp_request(Ipv4Addr::new(10, 9, 0, 1))];
        assert_eq!(tap.send_batch(&frames).unwrap(), 2);
        let stats = tap.stats();
        assert_eq!((stats.sent, stats.refused), (1, 1));
        assert!(wait_for(&mut tap, Duration::from_secs(2), |f| f[12..14] == [8, 6] && f[21] == 2).is_some());
    });
}

#[test]
fn what_the_kernel_sends_and_nobody_reads_is_counted() {
    in_namespace(|| {
        let mut tap = tap("t0", Ipv4Addr::new(10, 9, 0, 1));
        ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev t0");
        let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
        for _ in 0..3000 {
            let _ = socket.send_to(b"to a machine that does not read", "10.9.0.2:9");
        }
        let mut batch = FrameBatch::new();
        while tap.recv_batch(&mut batch).is_ok() {}
        let ours = std::iter::from_fn(|| batch.pop()).filter(|f| f.ends_with(b"does not read")).count() as u64;
        assert!(ours < 3000);
        assert!(tap.stats().kernel_drops >= 3000 - ours, "{:?}", tap.stats());
    });
}
