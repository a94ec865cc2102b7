//! A home with two lines: the lines are what they are said to be, each alone and side by side, before anything is bonded over them.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{
    Bonded, Bulk, Captured, Dual, DualOptions, Endpoint, Internet, Line, LineOptions, Namespace, NatKind, Pinging, Probe, Program,
    Requirements, Tool, Verdict, Way, ping,
};

/// Anything that should happen promptly, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// DSL of 30 Mbit/s and LTE of 20.
fn dsl_and_lte() -> [LineOptions; 2] {
    [LineOptions::new("dsl0", 30.0, 10.0), LineOptions::new("lte0", 20.0, 25.0)]
}

fn dual(name: &str, lines: impl IntoIterator<Item = LineOptions>) -> Dual {
    Dual::build(name, &DualOptions::new(lines)).unwrap()
}

/// Measures, up to three times when the machine was too busy for the wires; says so and gives nothing when it was too busy throughout.
fn conclusive<T>(dual: &Dual, measure: impl Fn() -> T) -> Option<T> {
    for _ in 0..3 {
        dual.forget_lateness().unwrap();
        let measured = measure();
        match dual.verdict().unwrap() {
            Verdict::Conclusive => return Some(measured),
            verdict => eprintln!("{verdict}"),
        }
    }
    eprintln!("INCONCLUSIVE: this machine was too busy three times");
    None
}

/// Does `ping`, its socket bound to the line's interface, hear the relay?
fn answers(dual: &Dual, line: &Line, to: &str, more: &[&str]) -> bool {
    let words = [&["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", line.name()], more, &[to]].concat();
    dual.home.run_any(&words).unwrap().status.success()
}

fn relay() -> String {
    Dual::RELAY.to_string()
}

/// Where a packet of `from` seems to come from.
fn seen_from(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> IpAddr {
    let bind = |host: &Namespace| host.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    let (sender, receiver) = (bind(from), bind(to));
    receiver.set_read_timeout(Some(SOON)).unwrap();
    sender.send_to(b"who am I?", SocketAddr::new(address.into(), receiver.local_addr().unwrap().port())).unwrap();
    receiver.recv_from(&mut [0; 64]).unwrap().1.ip()
}

#[test]
fn a_socket_bound_to_a_line_leaves_by_it_without_policy_routing() {
    if !ready() {
        return;
    }
    let lines = [dsl_and_lte().to_vec(), vec![LineOptions::new("lte1", 10.0, 30.0), LineOptions::new("sat0", 100.0, 300.0)]].concat();
    let dual = dual("bound", lines);
    let carried = |line: &Line| line.wire().stats().unwrap().a_to_b.delivered;
    for line in &dual.lines {
        let before: Vec<u64> = dual.lines.iter().map(carried).collect();
        assert!(answers(&dual, line, &relay(), &[]), "{}", line.name());
        for (other, before) in dual.lines.iter().zip(before) {
            let packets = carried(other) - before;
            assert_eq!(packets, if other.name() == line.name() { 2 } else { 0 }, "{} used {}", line.name(), other.name());
        }
    }
    for line in dual.lines.iter().rev() {
        dual.prefer(line).unwrap();
        assert_eq!(seen_from(&dual.home, &dual.relay, Dual::RELAY), line.external_address());
    }
}

#[test]
fn a_silent_cut_is_silent() {
    if !ready() {
        return;
    }
    let dual = dual("silent", dsl_and_lte());
    let [dsl, lte] = &dual.lines[..] else { panic!("two lines") };
    let capture = dsl.capture().unwrap();
    let netlink = dual.home.spawn(Program::new("ip").args(["monitor", "link", "address", "route"])).unwrap();
    let probe = Probe { duration: ms(1_500), linger: ms(200), ..Probe::default() };
    let (up, cut) = probe
        .run_while(&dual.home, &dual.relay, Dual::RELAY, || {
            thread::sleep(ms(500));
            dsl.cut().unwrap();
            let cut = Instant::now();
            thread::sleep(ms(500));
            assert!(answers(&dual, lte, &relay(), &[]), "the other line is whole");
            dsl.restore().unwrap();
            cut
        })
        .unwrap();
    assert!(up.outage(&probe) > ms(450), "{:?}", up.outage(&probe));
    assert_eq!(up.refused, 0, "a sender is not told");
    assert_eq!(netlink.lines(), [""; 0], "nor is the host");
    dsl.carrier(false).unwrap();
    netlink.wait_for("NO-CARRIER", SOON).unwrap();
    let passed = capture.finish().unwrap();
    // What had left before is on its way for 10 ms.
    let (during, span) = (cut + ms(30), ms(400));
    assert!(Captured::count(&passed, Way::Up, during, span).0 > 30, "the modem still takes what is sent");
    assert_eq!(Captured::count(&passed, Way::Down, during, span).0, 0);
}

#[test]
fn a_cut_of_one_way_leaves_the_other() {
    if !ready() {
        return;
    }
    let dual = dual("one-way", dsl_and_lte());
    let dsl = dual.line("dsl0");
    let probe = Probe { duration: ms(300), ..Probe::default() };
    let arrive = |way: Way| {
        let report = match way {
            Way::Up => probe.run(&dual.home, &dual.relay, Dual::RELAY),
            Way::Down => probe.run(&dual.relay, &dual.home, dsl.address()),
        };
        report.unwrap().received()
    };
    for way in Way::ALL {
        dsl.cut_way(way).unwrap();
        assert_eq!(Way::ALL.map(arrive), Way::ALL.map(|other| if other == way { 0 } else { 30 }));
        dsl.restore().unwrap();
    }
    assert_eq!(Way::ALL.map(arrive), [30, 30]);
}

#[test]
fn a_lost_carrier_is_seen_by_netlink_and_comes_back_with_its_route() {
    if !ready() {
        return;
    }
    let dual = dual("carrier", dsl_and_lte().map(LineOptions::with_ipv6));
    let [dsl, lte] = &dual.lines[..] else { panic!("two lines") };
    let netlink = dual.home.spawn(Program::new("ip").args(["monitor", "link"])).unwrap();
    // It has no other sign of being ready.
    thread::sleep(ms(200));
    dsl.carrier(false).unwrap();
    netlink.wait_for_line(0, "dsl0 without carrier", |line| line.contains("dsl0") && line.contains("NO-CARRIER"), SOON).unwrap();
    assert!(!answers(&dual, dsl, &relay(), &[]));
    assert!(answers(&dual, lte, &relay(), &[]));
    let mark = netlink.mark();
    dsl.carrier(true).unwrap();
    netlink.wait_for_line(mark, "dsl0 with carrier", |line| line.contains("dsl0") && line.contains("LOWER_UP"), SOON).unwrap();
    for to in [relay(), Internet::ipv6(1).to_string()] {
        assert!(answers(&dual, dsl, &to, &[]), "{to}");
    }
}

#[test]
fn a_line_delays_as_it_is_said_to_and_can_be_changed_meanwhile() {
    if !ready() {
        return;
    }
    let mut dual = dual("delay", dsl_and_lte());
    for (name, delay) in [("dsl0", 10), ("lte0", 25)] {
        dual.prefer(dual.line(name)).unwrap();
        let probe = Probe { duration: ms(1_000), ..Probe::default() };
        let measured = conclusive(&dual, || {
            let up = probe.run(&dual.home, &dual.relay, Dual::RELAY).unwrap();
            let down = probe.run(&dual.relay, &dual.home, dual.line(name).address()).unwrap();
            [up, down].map(|report| report.delay(50.0).unwrap())
        });
        let Some(measured) = measured else { continue };
        println!("{name}: one way up and down {measured:?}");
        for one_way in measured {
            assert!((ms(delay)..ms(delay + 3)).contains(&one_way), "{name}: {one_way:?}");
        }
    }
    let slow = "delay=80ms".parse().unwrap();
    dual.lines[1].set(Way::Down, &slow).unwrap();
    let Some(pings) = conclusive(&dual, || ping(&dual.home, Dual::RELAY, 5).unwrap()) else { return };
    let rtt = pings.min.unwrap();
    assert!((ms(105)..ms(110)).contains(&rtt), "25 ms up and 80 ms down: {rtt:?}");
}

#[test]
fn a_line_can_get_another_address_and_vanish_and_come_back() {
    if !ready() {
        return;
    }
    let mut dual = dual("vanish", dsl_and_lte());
    let old = dual.lines[0].address();
    dual.lines[0].change_address().unwrap();
    assert_ne!(dual.lines[0].address(), old);
    assert_eq!(seen_from(&dual.home, &dual.relay, Dual::RELAY), dual.lines[0].address());
    let [dsl, lte] = &dual.lines[..] else { panic!("two lines") };
    dsl.unplug().unwrap();
    assert_eq!(seen_from(&dual.home, &dual.relay, Dual::RELAY), lte.address(), "the next line is the best");
    dsl.plug().unwrap();
    assert_eq!(seen_from(&dual.home, &dual.relay, Dual::RELAY), dsl.address());
}

#[test]
fn a_line_of_1400_bytes_says_so_to_both_ends() {
    if !ready() {
        return;
    }
    let [dsl, lte] = dsl_and_lte();
    let dual = dual("mtu", [dsl, lte.mtu(1_400)]);
    let [dsl, lte] = &dual.lines[..] else { panic!("two lines") };
    let fits = |line: &Line, size: &str| answers(&dual, line, &relay(), &["-M", "do", "-s", size]);
    assert!(fits(dsl, "1472") && fits(lte, "1372") && !fits(lte, "1373"));
    let to = lte.address().to_string();
    let told = dual.relay.run_any(&["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1373", &to]).unwrap();
    assert!(told.stdout.contains("mtu") && !told.status.success(), "the provider says so: {}", told.stdout);
}

#[test]
fn a_line_has_the_nat_that_it_is_given() {
    if !ready() {
        return;
    }
    let kinds = [NatKind::PortRestricted, NatKind::Carrier, NatKind::Symmetric, NatKind::Open];
    let lines = kinds.iter().zip(["a0", "b0", "c0", "d0"]).map(|(kind, name)| LineOptions::new(name, 50.0, 5.0).nat(*kind));
    let mut dual = dual("nats", lines);
    for line in &dual.lines {
        dual.prefer(line).unwrap();
        assert_eq!(seen_from(&dual.home, &dual.relay, Dual::RELAY), line.external_address(), "{}", line.name());
        assert!(answers(&dual, line, &relay(), &[]), "{}", line.name());
    }
    let external: std::collections::BTreeSet<Ipv4Addr> = dual.lines.iter().map(Line::external_address).collect();
    assert_eq!(external.len(), kinds.len());
    dual.lines[2].rebind().unwrap();
    assert!(answers(&dual, &dual.lines[2], &relay(), &[]));
    assert!(dual.lines[3].rebind().is_err());
}

#[test]
fn two_lines_behind_one_nat_have_one_address() {
    if !ready() {
        return;
    }
    let options = DualOptions { one_nat: Some(NatKind::PortRestricted), ..DualOptions::new(dsl_and_lte()) };
    let dual = Dual::build("one-nat", &options).unwrap();
    for line in &dual.lines {
        dual.prefer(line).unwrap();
        assert_eq!(seen_from(&dual.home, &dual.relay, Dual::RELAY), Internet::address(40), "{}", line.name());
        assert!(answers(&dual, line, &relay(), &[]), "{}", line.name());
    }
}

/// The ends of one line without a tunnel: what goes up begins at the first.
fn ends<'a>(dual: &'a Dual, line: &'a Line, way: Way) -> [Endpoint<'a>; 2] {
    let home = Endpoint::new(&dual.home, line.address()).on(line.name());
    let relay = Endpoint::new(&dual.relay, Dual::RELAY);
    match way {
        Way::Up => [home, relay],
        Way::Down => [relay, home],
    }
}

/// The shares of TCP and UDP payload in a full frame of Ethernet.
const TCP_SHARE: f64 = 1_448.0 / 1_514.0;
const UDP_SHARE: f64 = 1_000.0 / 1_042.0;

#[test]
fn a_line_carries_its_rate_in_tcp_and_udp() {
    if !ready() {
        return;
    }
    let [dsl, lte] = dsl_and_lte();
    let dual = dual("rate", [dsl.rates(10.0, 30.0), lte]);
    let bulk = Bulk { flows: 1, warm_up: ms(2_000), window: ms(2_000), download: false };
    for (line, rates) in dual.lines.iter().zip([[10.0, 30.0], [20.0, 20.0]]) {
        for (way, rate) in Way::ALL.into_iter().zip(rates) {
            let [from, to] = ends(&dual, line, way);
            let udp = Probe::load(1.2 * rate, ms(1_500));
            let measured = conclusive(&dual, || {
                let (offered, ()) = udp.between(&from, &to, || ()).unwrap();
                [bulk.run(&from, &to).unwrap().mbit_s(), offered.mbit_s_between(&udp, ms(500), ms(1_500))]
            });
            let Some([tcp, udp]) = measured else { continue };
            println!("{} {way:?} of {rate} Mbit/s: TCP {tcp:.1}, UDP {udp:.1}", line.name());
            assert!((0.9..1.02).contains(&(tcp / rate / TCP_SHARE)), "{} {way:?}: TCP {tcp}", line.name());
            assert!((0.97..1.02).contains(&(udp / rate / UDP_SHARE)), "{} {way:?}: UDP {udp}", line.name());
        }
    }
}

#[test]
fn lines_side_by_side_carry_the_sum_of_their_rates() {
    if !ready() {
        return;
    }
    let dual = dual("sum", dsl_and_lte());
    let bulk = Bulk { flows: 4, warm_up: ms(2_000), window: ms(3_000), download: false };
    for way in Way::ALL {
        let measured = conclusive(&dual, || {
            thread::scope(|scope| {
                let of_line = |line| {
                    let [from, to] = ends(&dual, line, way);
                    scope.spawn(move || bulk.run(&from, &to).unwrap().mbit_s())
                };
                let threads: Vec<_> = dual.lines.iter().map(of_line).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<f64>>()
            })
        });
        let Some(measured) = measured else { continue };
        println!("{way:?}: {measured:.1?} of 30 and 20 Mbit/s");
        for (measured, rate) in measured.iter().zip([30.0, 20.0]) {
            assert!((0.93..1.02).contains(&(measured / rate / TCP_SHARE)), "{way:?}: {measured} of {rate}");
        }
    }
}

#[test]
fn a_full_buffer_is_felt_by_a_ping() {
    if !ready() {
        return;
    }
    let dual = dual("bloat", dsl_and_lte().map(|line| line.buffer(ms(200))));
    let [from, to] = ends(&dual, &dual.lines[0], Way::Down);
    let bulk = Bulk { flows: 4, warm_up: ms(2_000), window: ms(3_000), download: false };
    let pings = || Pinging::start(&dual.home, Dual::RELAY, ms(50), ms(2_500)).unwrap();
    let measured = conclusive(&dual, || {
        let idle = pings().finish().unwrap();
        let beside = || {
            thread::sleep(bulk.warm_up);
            pings().finish().unwrap()
        };
        let (_, loaded) = bulk.run_while(&from, &to, beside).unwrap();
        [idle, loaded].map(|trips| trips.percentile(95.0).unwrap())
    });
    let Some([idle, loaded]) = measured else { return };
    println!("p95 of the round trip: idle {idle:?}, beside a download {loaded:?}");
    assert!((ms(20)..ms(25)).contains(&idle), "{idle:?}");
    assert!((ms(120)..ms(240)).contains(&loaded), "the buffer of 200 ms: {loaded:?}");
}

#[test]
fn a_client_carries_what_its_only_line_carries() {
    if !ready() {
        return;
    }
    for (name, rate, delay) in [("dsl0", 30.0, 10), ("lte0", 20.0, 25)] {
        let dual = dual("alone", dsl_and_lte());
        let alone = Bonded::join(&dual, &[name], &[]).unwrap();
        let bulk = Bulk { flows: 4, warm_up: ms(3_000), window: ms(3_000), download: false };
        let other = dual.lines.iter().find(|line| line.name() != name).unwrap();
        let used = || other.wire().stats().unwrap().a_to_b.offered;
        for way in Way::ALL {
            let [from, to] = alone.ends(way);
            let before = used();
            let measured = conclusive(&dual, || {
                let idle = Pinging::start(&dual.home, Dual::PC, ms(50), ms(1_000)).unwrap().finish().unwrap();
                (bulk.run(&from, &to).unwrap().mbit_s(), idle.percentile(50.0).unwrap())
            });
            assert_eq!(used() - before, 0, "nothing goes by the other line");
            let Some((tcp, rtt)) = measured else { continue };
            println!("{name} {way:?} of {rate} Mbit/s: four flows {tcp:.1} through the tunnel, idle {rtt:?}, LAN MTU {}", alone.lan_mtu);
            // What a tunnel costs, and what its congestion control leaves over, is not the lab's to judge; that it uses the line is.
            assert!((0.5..TCP_SHARE).contains(&(tcp / rate)), "{name} {way:?}: {tcp}");
            assert!((ms(2 * delay)..ms(2 * delay + 10)).contains(&rtt), "{name}: {rtt:?}");
        }
    }
}

#[test]
fn a_flow_of_multipath_tcp_uses_both_lines() {
    if !ready() {
        return;
    }
    let dual = dual("mptcp", dsl_and_lte());
    let Ok([home, relay]) = dual.allow_multipath() else {
        println!("this kernel has no Multipath TCP");
        return;
    };
    for (way, from, to) in [(Way::Up, home, relay), (Way::Down, relay, home)] {
        let bulk = Bulk { flows: 1, warm_up: ms(3_000), window: ms(3_000), download: way == Way::Down };
        let Some(mbit_s) = conclusive(&dual, || bulk.run(&from, &to).unwrap().mbit_s()) else { continue };
        println!("one flow of Multipath TCP {way:?}: {mbit_s:.1} of 30 and 20 Mbit/s");
        assert!(mbit_s > 30.0 && mbit_s < 50.0, "{way:?}: {mbit_s}");
    }
}
