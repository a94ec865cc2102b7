//! A cable stays plugged in: both ends name each other, an end is killed, an address changes.

use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{End, Namespace, Offloads, Pair, PairOptions, Probe, Proc, Requirements, Tool, Uplink, address, ping, veth};

use crate::bench::{Bench, eventually, ready};
use crate::flow::Echo;
use crate::programs::SOON;

/// Longer than any of the two ends takes to notice that the other is gone, and to dial.
const SETTLE: Duration = Duration::from_secs(4);

#[test]
fn of_two_ends_that_name_each_other_one_connection_stays() {
    if !ready() {
        return;
    }
    let bench = Bench::new("both");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    for round in 0..4 {
        let ends = [bench.start(a, &["--remote", "10.99.0.12"]), bench.start(b, &["--remote", "10.99.0.11"])];
        for (host, end) in [a, b].into_iter().zip(&ends) {
            end.wait_for("the cable is plugged in", SOON).unwrap();
            bench.address(host);
        }
        thread::sleep(Duration::from_secs(1));
        let plugged = || [a, b].map(|host| bench.status(host)["times_plugged"].as_u64().unwrap());
        let (before, probe) = (plugged(), Probe::default());
        let (there, back) = thread::scope(|scope| {
            let back = scope.spawn(|| probe.run(b, a, Bench::A).unwrap());
            (probe.run(a, b, Bench::B).unwrap(), back.join().unwrap())
        });
        println!("round {round}: plugged in {before:?} times; {} and {} of {} came", there.received(), back.received(), there.sent);
        assert_eq!((there.duplicates(), back.duplicates()), (0, 0), "no frame crosses twice");
        assert_eq!((there.received(), back.received()), (there.sent, back.sent), "and none is lost");
        assert_eq!(plugged(), before, "no connection takes the place of another any more");
        assert!(before.iter().all(|times| *times <= 2), "{before:?}");
        bench.assert_conserved();
        for end in ends {
            end.sigterm();
            end.exit_code(SOON).unwrap();
        }
    }
}

#[test]
fn of_two_ends_that_dial_each_other_over_a_long_and_lossy_way_one_connection_stays() {
    if !ready() {
        return;
    }
    let far = PairOptions { a: Uplink::wire("delay=80ms loss=2%").unwrap(), ..PairOptions::default() };
    let bench = Bench::with("both-far", &far);
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    for round in 0..4 {
        let ends = [bench.start(a, &["--remote", "10.99.0.12"]), bench.start(b, &["--remote", "10.99.0.11"])];
        for (host, end) in [a, b].into_iter().zip(&ends) {
            end.wait_for("the cable is plugged in", SOON).unwrap();
            bench.address(host);
        }
        // Longer than a lost packet of a handshake takes to be sent again.
        thread::sleep(Duration::from_secs(3));
        let plugged = || [a, b].map(|host| bench.status(host)["times_plugged"].as_u64().unwrap());
        let (before, probe) = (plugged(), Probe::default());
        let there = probe.run(a, b, Bench::B).unwrap();
        println!("round {round}: plugged in {before:?} times; {} of {} came", there.received(), there.sent);
        assert_eq!((plugged(), there.duplicates()), (before, 0));
        assert!(before.iter().all(|times| *times <= 3) && there.received() > there.sent * 8 / 10, "{before:?}");
        ends.iter().for_each(Proc::kill9);
    }
}

/// Both ends give themselves their addresses, also when they are started again.
struct Kept<'a> {
    bench: &'a Bench,
    scripts: [String; 2],
}

impl<'a> Kept<'a> {
    fn new(bench: &'a Bench) -> Self {
        Self { bench, scripts: [&bench.pair.a, &bench.pair.b].map(|host| bench.address_script(host)) }
    }

    fn start(&self, host: &Namespace, more: &[&str]) -> Proc {
        let script = if host.host() == "a" { &self.scripts[0] } else { &self.scripts[1] };
        self.bench.start(host, &[&["--up", script], more].concat())
    }
}

/// A connection says something while its cable is broken, and hears it when that is over: how long it was.
fn goes_on(echo: &mut Echo, words: &str, breakage: impl FnOnce()) -> Duration {
    breakage();
    let start = Instant::now();
    echo.say(words);
    echo.hear(words);
    start.elapsed()
}

#[test]
fn a_killed_end_comes_back_and_a_connection_over_the_cable_goes_on() {
    if !ready() {
        return;
    }
    let bench = Bench::new("killed");
    let (kept, Pair { a, b, .. }) = (Kept::new(&bench), &bench.pair);
    let dials = ["--remote", "10.99.0.11"];
    let (listening, dialling) = (kept.start(a, &[]), kept.start(b, &dials));
    for end in [&listening, &dialling] {
        end.wait_for("script done", SOON).unwrap();
    }
    let mut echo = Echo::open(a, b, Bench::B);
    assert!(goes_on(&mut echo, "hello", || ()) < Duration::from_secs(1));
    let mut restarted = vec![];
    for round in 0..2 {
        let took = goes_on(&mut echo, "the end that dials was killed", || {
            restarted.last().unwrap_or(&dialling).kill9();
            restarted.push(kept.start(b, &dials));
        });
        println!("round {round}: the end that dials was started again, and an answer came after {took:?}");
        assert!(took < SETTLE, "{took:?}");
    }
    let killed = Instant::now();
    listening.kill9();
    let listening = kept.start(a, &[]);
    listening.wait_for("script done", SOON).unwrap();
    let took = killed.elapsed();
    println!("the end that listens was started again and carried after {took:?}");
    assert!(took < SETTLE, "{took:?}");
    let took = goes_on(&mut echo, "the end that listens was killed", || ());
    println!("an answer came {took:?} later");
    assert!(took < 2 * SETTLE, "{took:?}");
    assert_eq!(ping(b, Bench::A, 3).unwrap().received, 3);
}

#[test]
fn an_end_that_is_gone_is_missed_and_the_plug_comes_out() {
    if !ready() {
        return;
    }
    let bench = Bench::new("gone");
    let (a, b) = bench.plug_in(&[]);
    let carrier = |host: &Namespace| host.ip("link show dev cable0").unwrap().stdout.contains("LOWER_UP");
    assert!(carrier(&bench.pair.a));
    b.kill9();
    a.wait_for("the cable is unplugged: nothing heard for 3 s; waiting for it", SOON).unwrap();
    assert!(carrier(&bench.pair.a), "a moment without the other end is nothing");
    eventually("the plug is out", || !carrier(&bench.pair.a));
    let status = bench.programs.run(&bench.pair.a, &["lanparty", "status"]).success().unwrap().stdout;
    assert!(status.contains("cable0: unplugged for") && status.contains("listening for it on"), "{status}");
    assert_eq!(ping(&bench.pair.a, Bench::B, 1).unwrap().received, 0);
    let _b = bench.start(&bench.pair.b, &["--remote", "10.99.0.11"]);
    eventually("the plug is in", || carrier(&bench.pair.a));
}

#[test]
fn an_end_whose_address_changes_is_followed() {
    if !ready() {
        return;
    }
    let bench = Bench::new("moves");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let _ends = bench.plug_in(&[]);
    let mut echo = Echo::open(a, b, Bench::B);
    for (from, to) in [("10.99.0.12", "10.99.0.22"), ("10.99.0.22", "10.99.0.32")] {
        let took = goes_on(&mut echo, "I have moved", || {
            b.ip(&format!("addr del {from}/24 dev wan")).unwrap();
            b.ip(&format!("addr add {to}/24 dev wan")).unwrap();
            b.ip("route replace default via 10.99.0.254 dev wan").unwrap();
        });
        let status = bench.status(a);
        println!("from {from} to {to}: an answer after {took:?}, plugged in {} times", status["times_plugged"]);
        assert_eq!(status["remote"], format!("{to}:8442"));
        assert!(took < 2 * SETTLE, "{took:?}");
    }
}

#[test]
fn an_end_behind_a_nat_that_forgets_it_is_followed() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip() {
        return;
    }
    let bench = Bench::new("nat");
    let Pair { a, b, internet, lab, .. } = &bench.pair;
    // `b` moves behind a router that has its address now.
    let router = lab.namespace("router").unwrap();
    b.ip("link del dev wan").unwrap();
    internet.attach(lab, &router, 12, &Uplink::default()).unwrap();
    veth(End::new(b, "wan"), End::new(&router, "home"), Offloads::Off).unwrap();
    address(End::new(b, "wan"), "10.8.0.2/24").unwrap();
    address(End::new(&router, "home"), "10.8.0.1/24").unwrap();
    b.ip("route add default via 10.8.0.1").unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    let masquerade = |ports: &str| {
        let rules = format!(
            "flush ruleset\ntable ip n {{ chain c {{ type nat hook postrouting priority srcnat;\noifname wan meta l4proto udp masquerade to :{ports}\n}}\n}}"
        );
        router.run(&["nft", &rules]).unwrap();
        router.run_any(&["conntrack", "-F"]).unwrap();
    };
    masquerade("20000-20099");
    let _ends = bench.plug_in(&[]);
    let mut echo = Echo::open(a, b, Bench::B);
    let before = bench.status(a)["remote"].as_str().unwrap().to_owned();
    let took = goes_on(&mut echo, "I have another port", || masquerade("30000-30099"));
    let status = bench.status(a);
    println!("from {before} to {}: an answer after {took:?}, plugged in {} times", status["remote"], status["times_plugged"]);
    assert!(status["remote"].as_str().unwrap().starts_with("10.99.0.12:30"), "{}", status["remote"]);
    assert!(took < 2 * SETTLE, "{took:?}");
}

#[test]
fn a_way_that_leads_through_the_cable_itself_is_named() {
    if !ready() {
        return;
    }
    let bench = Bench::new("inside-out");
    let (a, b) = bench.plug_in(&[]);
    // As a default route that came by DHCP through the cable would do.
    bench.pair.b.ip("route add 10.99.0.11/32 dev cable0").unwrap();
    b.wait_for("the way to the other end at 10.99.0.11:8442 leads through the cable itself (cable0)", SOON).unwrap();
    bench.pair.b.ip("route del 10.99.0.11/32 dev cable0").unwrap();
    let mark = b.mark();
    b.wait_for_after(mark, "the cable is plugged in", SOON).unwrap();
    assert!(a.running());
}
