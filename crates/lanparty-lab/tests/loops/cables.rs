//! Two cables between two bridges, without a spanning tree.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_lab::{End, LAN, Namespace, Offloads, PairOptions, Probe, Proc, Requirements, Switch, Uplink, address, ping};
use lanparty_nic::{Device, PacketSocket};
use serde_json::Value;

use crate::bench::{Bench, eventually};
use crate::programs::SOON;

const SECOND: &[&str] = &["--tap-name", "cable1"];
const DESK_A: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
const DESK_B: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

/// Two LANs, each the bridge of a host with one desk; `cable0` between them, and `cable1` that is in no bridge yet.
struct Ring {
    bench: Bench,
    switches: [Switch; 2],
    desks: [Namespace; 2],
    /// `cable0` at `a` and `b`, `cable1` at `a` and `b`.
    ends: [Proc; 4],
}

impl Ring {
    fn new(name: &str, delay: &str) -> Self {
        let uplink = Uplink::Wire(delay.parse().unwrap());
        let bench = Bench::with(name, &PairOptions { a: uplink, ..PairOptions::default() });
        let (a, b) = (&bench.pair.a, &bench.pair.b);
        let first = [bench.start(a, &[]), bench.start(b, &["--remote", "10.99.0.11"])];
        plugged(&first);
        let to_second = [SECOND, &["--remote", "10.99.0.11:8440"]].concat();
        let second = [bench.start(a, &[SECOND, &["--listen", ":8440"]].concat()), bench.start(b, &to_second)];
        plugged(&second);
        let switches = [a, b].map(|host| Switch::new(host.clone()).unwrap());
        let desk = |n: usize, name: &str, own: Ipv4Addr| {
            let desk = bench.pair.lab.namespace(name).unwrap();
            switches[n].plug(End::new(&desk, LAN), &format!("to-{name}"), Offloads::On).unwrap();
            address(End::new(&desk, LAN), &format!("{own}/24")).unwrap();
            desk
        };
        let desks = [desk(0, "desk-a", DESK_A), desk(1, "desk-b", DESK_B)];
        let ([a, b], [c, d]) = (first, second);
        let ring = Self { bench, switches, desks, ends: [a, b, c, d] };
        ring.join("cable0");
        eventually("the LANs are one", || ping(&ring.desks[0], DESK_B, 1).unwrap().received == 1);
        ring
    }

    /// Makes a cable a port of both bridges.
    fn join(&self, cable: &str) {
        self.switches.iter().for_each(|switch| switch.join(cable).unwrap());
    }

    /// Frames that all ends have put on the cables.
    fn crossed(&self) -> u64 {
        self.reports().iter().map(|end| end["frames"]["outbound"]["forwarded"].as_u64().unwrap()).sum()
    }

    /// What every end says of itself.
    fn reports(&self) -> Vec<Value> {
        let hosts = [&self.bench.pair.a, &self.bench.pair.b];
        let all = |host| {
            let printed = self.bench.programs.run(host, &["lanparty", "status", "--json"]).success().unwrap().stdout;
            serde_json::from_str::<Vec<Value>>(&printed).unwrap()
        };
        hosts.into_iter().flat_map(all).collect()
    }

    /// The cables of which an end is blocked by its own word.
    fn blocked(&self) -> Vec<String> {
        let reports = self.reports();
        let is_blocked = |end: &&Value| end["frames"]["loops"]["blocked"] == true || end["frames"]["loops"]["blocked_there"] == true;
        let mut names: Vec<_> = reports.iter().filter(is_blocked).map(|end| end["interface"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

fn socket(desk: &Namespace) -> PacketSocket {
    desk.enter(|| PacketSocket::open(LAN)).unwrap().unwrap()
}

/// One broadcast of a machine behind that interface.
fn broadcast(from: &mut PacketSocket) {
    let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 0x42], &[0x88, 0xb6], &[0; 46]].concat();
    assert_eq!(from.send_batch(&[Bytes::from(frame)]).unwrap(), 1);
}

fn plugged(ends: &[Proc]) {
    for end in ends {
        end.wait_for("the cable is plugged in", SOON).unwrap();
    }
}

#[test]
fn of_two_cables_between_two_bridges_the_newer_is_blocked_within_three_seconds_of_one_broadcast() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let ring = Ring::new("ring", "delay=5ms");
    thread::sleep(Duration::from_secs(1));
    let (before, closed) = (ring.crossed(), Instant::now());
    let mut desk = socket(&ring.desks[0]);
    ring.join("cable1");
    broadcast(&mut desk);
    let words = ring.ends[2].wait_for("a loop: frames that leave by cable1 come back", Duration::from_secs(3)).unwrap();
    println!("blocked after {:?} at most: {words}", closed.elapsed());
    assert!(words.contains("cable0 is older and goes on"), "{words}");
    for end in &ring.ends[2..] {
        end.wait_for("cable1 carries nothing until", Duration::from_secs(1)).unwrap();
        end.wait_for("the other end says: a loop", Duration::from_secs(1)).unwrap();
    }
    for end in &ring.ends[..2] {
        end.wait_for("a loop: cable1, a newer cable on the LAN of cable0, carries nothing", SOON).unwrap();
    }
    thread::sleep(Duration::from_secs(4));
    let extra = ring.crossed() - before;
    println!("{extra} frames crossed the cables since, probes included");
    assert!(extra < 500, "{extra} frames");
    assert_eq!(ring.blocked(), ["cable1", "cable1"]);
    for host in [&ring.bench.pair.a, &ring.bench.pair.b] {
        for words in [["lanparty", "doctor"], ["lanparty", "status"]] {
            let said = ring.bench.programs.run(host, &words).stdout;
            assert!(said.contains("loop-blocked") && said.contains("cable1 is the newest cable"), "{said}");
        }
    }
    assert_eq!(ping(&ring.desks[0], DESK_B, 3).unwrap().received, 3);
}

#[test]
fn while_a_loop_is_closed_others_lose_less_than_a_second_and_the_blocked_cable_takes_over() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let ring = Ring::new("ring-others", "delay=5ms");
    let probe = Probe { duration: Duration::from_secs(5), ..Probe::default() };
    let close = || {
        thread::sleep(Duration::from_secs(1));
        ring.join("cable1");
    };
    let (seen, ()) = probe.run_while(&ring.desks[0], &ring.desks[1], DESK_B, close).unwrap();
    println!("{} of {} packets, outage {:?}, {} duplicates", seen.received(), seen.sent, seen.outage(&probe), seen.duplicates());
    assert!(seen.outage(&probe) < Duration::from_secs(1), "{:?}", seen.outage(&probe));
    assert_eq!(ring.blocked(), ["cable1", "cable1"]);
    let probe = Probe { duration: Duration::from_secs(14), ..probe };
    let (seen, ()) = probe.run_while(&ring.desks[0], &ring.desks[1], DESK_B, || ring.ends[0].sigterm()).unwrap();
    println!("without cable0: outage {:?}", seen.outage(&probe));
    assert!(seen.outage(&probe) < Duration::from_secs(10), "{:?}", seen.outage(&probe));
    for end in &ring.ends[2..] {
        end.wait_for("the loop is gone: cable1 carries again", SOON).unwrap();
    }
    assert_eq!(ring.reports().iter().filter(|end| end["frames"]["loops"]["blocked"] == true).count(), 0);
}

#[test]
fn an_address_that_both_lans_use_is_held_where_it_was_first_and_said() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let ring = Ring::new("ring-moves", "delay=1ms");
    let [mut here, mut there] = [0, 1].map(|n| socket(&ring.desks[n]));
    for _ in 0..5 {
        broadcast(&mut here);
        thread::sleep(Duration::from_millis(50));
        broadcast(&mut there);
        thread::sleep(Duration::from_millis(50));
    }
    // The end that saw it first from the other one sees the fifth move, and lets no more of them through.
    ring.ends[1].wait_for("02:00:00:00:00:42 moves between cable0 and the other end too often", SOON).unwrap();
    let dropped = |end: &Value, direction: &str| end["frames"][direction]["dropped"]["MacMoves"].as_u64().unwrap();
    let held: u64 = ring.reports().iter().map(|end| dropped(end, "inbound") + dropped(end, "outbound")).sum();
    println!("{held} frames dropped as MacMoves");
    assert!(held >= 2, "{held}");
    assert_eq!((ring.blocked().len(), ping(&ring.desks[0], DESK_B, 2).unwrap().received), (0, 2), "nobody else is touched");
}
