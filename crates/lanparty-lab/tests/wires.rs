//! Wires keep their word, or say that they could not.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::net::Ipv4Addr;
use std::time::Duration;

use lanparty_lab::{
    Direction, End, Impairment, Lab, LabWire, LabWireStats, Namespace, Offloads, Probe, ProbeReport, Requirements, Side, Switch, Verdict,
    address,
};

const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The probe of LAB.md: 1,158 bytes of payload make 1,200 on the wire.
const PAYLOAD: usize = 1_158;

struct Pair {
    lab: Lab,
    a: Namespace,
    b: Namespace,
    wire: LabWire,
}

fn pair(name: &str, character: &str) -> Pair {
    let lab = Lab::new(name).unwrap();
    let [a, b] = ["a", "b"].map(|host| lab.namespace(host).unwrap());
    let ends = [End::new(&a, "wan"), End::new(&b, "wan")];
    let wire = lab.labwire(ends[0], ends[1], &character.parse().unwrap()).unwrap();
    address(ends[0], "10.9.0.1/24").unwrap();
    address(ends[1], "10.9.0.2/24").unwrap();
    // Resolve the neighbour, so that the first measured packet does not wait for ARP.
    Probe { duration: Duration::from_millis(100), ..Probe::default() }.run(&a, &b, B).unwrap();
    Pair { lab, a, b, wire }
}

/// Measures, up to three times when the machine was too busy for a wire. `None` when it was too busy throughout.
fn measure(pair: &Pair, probe: Probe) -> Option<(ProbeReport, LabWireStats)> {
    for _ in 0..3 {
        pair.wire.forget_lateness().unwrap();
        let report = probe.run(&pair.a, &pair.b, B).unwrap();
        let delay = |percent| report.delay(percent).map_or(0.0, |delay| delay.as_secs_f64() * 1e3);
        let (received, p50, p99, p999) = (report.received(), delay(50.0), delay(99.0), delay(99.9));
        eprintln!("{} of {} came, p50 {p50:.3} p99 {p99:.3} p99.9 {p999:.3} ms", received, report.sent);
        eprintln!("{}", pair.lab.report());
        match pair.wire.verdict().unwrap() {
            Verdict::Conclusive => return Some((report, pair.wire.stats().unwrap())),
            verdict => eprintln!("{verdict}"),
        }
    }
    eprintln!("INCONCLUSIVE: this machine was too busy three times");
    None
}

#[test]
fn a_labwire_of_20_ms_delays_by_20_ms() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let pair = pair("delay", "delay=20ms");
    let probe = Probe { rate: 1_000, payload: PAYLOAD, duration: Duration::from_secs(3), ..Probe::default() };
    let Some((report, stats)) = measure(&pair, probe) else { return };
    assert_eq!((report.received(), report.duplicates(), report.reordered()), (report.sent, 0, 0));
    let p50 = report.delay(50.0).unwrap();
    assert!((Duration::from_millis(20)..Duration::from_micros(20_500)).contains(&p50), "{p50:?}");
    assert!(report.delay(95.0).unwrap() < Duration::from_micros(21_500));
    assert!(stats.a_to_b.conserved(0) && stats.b_to_a.conserved(0), "{stats}");
}

#[test]
fn a_labwire_of_50_mbit_lets_50_mbit_through_and_queues_the_rest() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let pair = pair("rate", "delay=10ms rate=50M queue=64000");
    let probe = Probe { rate: 6_250, payload: PAYLOAD, duration: Duration::from_secs(2), ..Probe::default() };
    let Some((report, stats)) = measure(&pair, probe) else { return };
    let (first, last) = (report.arrivals[0].came, report.arrivals.last().unwrap().came);
    let mbit = report.received() as f64 * 1_200.0 * 8.0 / (last - first).as_secs_f64() / 1e6;
    assert!((49.0..51.0).contains(&mbit), "{mbit} Mbit/s");
    let p50 = report.delay(50.0).unwrap().as_secs_f64() * 1e3;
    assert!((19.5..21.0).contains(&p50), "{p50} ms");
    assert!(stats.a_to_b.queue_full > 1_000, "{stats}");
}

#[test]
fn loss_bursts_and_reordering_are_seen_by_the_hosts() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let pair = pair("loss", "delay=2ms loss=5%");
    let probe = Probe { rate: 5_000, payload: 100, duration: Duration::from_secs(2), ..Probe::default() };
    let Some((report, stats)) = measure(&pair, probe) else { return };
    assert!((0.04..0.06).contains(&report.loss()), "{} {stats}", report.loss());
    pair.wire.set_both(&"delay=2ms jitter=1ms".parse().unwrap()).unwrap();
    let Some((report, _)) = measure(&pair, probe) else { return };
    assert_eq!((report.reordered(), report.received()), (0, report.sent), "wandering jitter keeps order");
    pair.wire.set_both(&"delay=2ms reorder=1% reorder_by=3ms".parse().unwrap()).unwrap();
    let Some((report, _)) = measure(&pair, probe) else { return };
    assert!((50..170).contains(&report.reordered()), "{}", report.reordered());
}

#[test]
fn a_cut_in_one_direction_is_a_cut_in_one_direction() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let pair = pair("cut", "delay=1ms");
    let probe = Probe { duration: Duration::from_secs(1), ..Probe::default() };
    pair.wire.set_down(Direction::BToA, true).unwrap();
    assert_eq!(probe.run(&pair.a, &pair.b, B).unwrap().received(), 100);
    pair.wire.set_down(Direction::AToB, true).unwrap();
    assert_eq!(probe.run(&pair.a, &pair.b, B).unwrap().received(), 0);
    let cut_and_mend = || {
        std::thread::sleep(Duration::from_millis(300));
        pair.wire.up().unwrap();
    };
    let (report, ()) = probe.run_while(&pair.a, &pair.b, B, cut_and_mend).unwrap();
    let outage = report.outage(&probe);
    assert!((Duration::from_millis(250)..Duration::from_millis(700)).contains(&outage), "{outage:?}");
}

#[test]
fn a_pulled_plug_is_a_lost_carrier() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let pair = pair("carrier", "");
    let carrier = || pair.a.ip("-br link show dev wan").unwrap().stdout.contains("LOWER_UP");
    assert!(carrier());
    pair.wire.carrier(Side::A, false).unwrap();
    assert!(!carrier());
    pair.wire.carrier(Side::A, true).unwrap();
    assert!(carrier());
}

#[test]
fn a_switch_learns_a_mac_on_the_port_it_came_from() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("switch").unwrap();
    let switch = Switch::new(lab.namespace("switch").unwrap()).unwrap();
    let hosts = [1, 2].map(|n| (lab.namespace(&format!("pc{n}")).unwrap(), format!("port{n}"), format!("10.9.1.{n}/24")));
    for (host, port, ip) in &hosts {
        switch.plug(End::new(host, "eth0"), port, Offloads::Off).unwrap();
        address(End::new(host, "eth0"), ip).unwrap();
    }
    assert_eq!(switch.mac_table().unwrap(), [], "nothing was sent yet");
    assert_eq!(lanparty_lab::ping(&hosts[0].0, "10.9.1.2".parse().unwrap(), 2).unwrap().received, 2);
    for (host, port, _) in &hosts {
        assert_eq!(switch.port_of(&host.mac("eth0").unwrap()).unwrap().as_ref(), Some(port));
    }
    assert_eq!(switch.mac_table().unwrap().len(), 2);
    let neighbours = lanparty_lab::neighbours(&hosts[0].0).unwrap();
    assert_eq!(neighbours[0].mac.as_deref(), Some(hosts[1].0.mac("eth0").unwrap().as_str()));
    switch.port_up("port2", false).unwrap();
    assert!(!hosts[1].0.ip("-br link show dev eth0").unwrap().stdout.contains("LOWER_UP"));
}

#[test]
fn an_unknown_property_of_a_wire_is_refused() {
    assert!("dealy=20ms".parse::<Impairment>().is_err());
}
