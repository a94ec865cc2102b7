//! A home with two lines and a friend's with one: their direct link has a path by each line.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

#[path = "support/programs.rs"]
mod programs;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{
    Bulk, Captured, Dual, DualOptions, Endpoint, Household, HouseholdOptions, LineOptions, Namespace, NatKind, Probe, ProbeReport, Proc,
    Requirements, Tool, Way, ping,
};
use programs::{Programs, SOON};
use serde_json::Value;

const TAP: &str = "lan0";
const HOME: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 1);
const FRIEND: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 2);
const LINES: &[&str] = &["dsl0", "lte0"];
/// What neither line carries alone, in Mbit/s: TCP over 30 of them gives less than 28.
const MORE_THAN_ONE: f64 = 29.0;
const TRIES: usize = 4;

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Both homes in one room.
struct Street {
    relay: Option<Proc>,
    home: Proc,
    friend: Proc,
    household: Household,
    programs: Programs,
    dual: Dual,
}

impl Street {
    /// Lines and the friend's router have NATs of these kinds.
    fn new(name: &str, lines: [NatKind; 2], friend: NatKind, more: &[&str]) -> Self {
        let [dsl, lte] = lines;
        let lines = [LineOptions::new("dsl0", 30.0, 10.0).nat(dsl), LineOptions::new("lte0", 20.0, 10.0).nat(lte)];
        let dual = Dual::build(name, &DualOptions::new(lines)).unwrap();
        let household = Household::attach(&dual.lab, &dual.internet, "friend", 12, friend, HouseholdOptions::default()).unwrap();
        let programs = Programs::new(&dual.lab);
        let relay = Some(programs.relay(&dual.relay));
        let play = |host: &Namespace, ip: Ipv4Addr, more: &[&str]| {
            let client = programs.start_client(host, "HOMES", &[&["--tap-name", TAP, "--address", "none"], more].concat());
            client.wait_for("TAP is up", SOON).unwrap();
            host.ip(&format!("addr add {ip}/24 dev {TAP}")).unwrap();
            client
        };
        let friend = play(&household.host, FRIEND, &[]);
        let home = play(&dual.home, HOME, &[&["--uplink", "dsl0", "--uplink", "lte0"], more].concat());
        let street = Self { relay, home, friend, household, programs, dual };
        street.know_each_other();
        street
    }

    /// What is measured is the tunnel, not ARP's patience.
    fn know_each_other(&self) {
        let (home, friend) = (&self.dual.home, &self.household.host);
        for (host, other, ip) in [(home, friend, FRIEND), (friend, home, HOME)] {
            let mac = other.mac(TAP).unwrap();
            host.ip(&format!("neigh replace {ip} lladdr {mac} dev {TAP} nud permanent")).unwrap();
        }
    }

    /// How each of the two reaches the other.
    fn ways(&self) -> [Value; 2] {
        [&self.dual.home, &self.household.host].map(|host| self.programs.status(host, "lanparty-client")["peers"][0].clone())
    }

    fn wait_for(&self, what: &str, check: impl Fn(&[Value; 2]) -> bool) -> Duration {
        let begin = Instant::now();
        loop {
            let ways = self.ways();
            if check(&ways) {
                eprintln!("{what} after {:?}", begin.elapsed());
                return begin.elapsed();
            }
            assert!(begin.elapsed() < SOON, "{what}: {ways:#?}\n{}{}", self.home.tail(), self.friend.tail());
            thread::sleep(ms(50));
        }
    }

    /// Waits until both go directly by exactly these lines of the home.
    fn goes_by(&self, lines: &[&str]) -> Duration {
        self.wait_for(&format!("both go directly by {lines:?}"), |[home, friend]| {
            home["way"] == "direct" && friend["way"] == "direct" && alive(home) == lines && alive(friend).len() == lines.len()
        })
    }

    fn ends(&self, way: Way) -> [Endpoint<'_>; 2] {
        let home = Endpoint::new(&self.dual.home, HOME);
        let friend = Endpoint::new(&self.household.host, FRIEND);
        match way {
            Way::Up => [home, friend],
            Way::Down => [friend, home],
        }
    }

    /// A game's packets, while something happens.
    fn probe_while(&self, way: Way, probe: &Probe, meanwhile: impl FnOnce()) -> ProbeReport {
        let [from, to] = self.ends(way);
        probe.between(&from, &to, meanwhile).unwrap().0
    }

    /// Frames of the sender's that were dropped, by name, because they had waited for longer than a game waits: on a machine that is busy
    /// with something else the programs do not always get their turn.
    fn late(&self, way: Way) -> u64 {
        let sender = if way == Way::Up { &self.dual.home } else { &self.household.host };
        let status = self.programs.status(sender, "lanparty-client");
        let dropped = &status["frames"]["outbound"]["dropped"];
        ["QueueFull", "QueueDelay"].iter().map(|reason| dropped[reason].as_u64().unwrap()).sum()
    }

    /// Frames that the relay has got from its members.
    fn relayed(&self) -> u64 {
        let report = self.programs.status(&self.dual.relay, "lanparty-relay");
        let members = report["rooms"][0]["members"].as_array().unwrap();
        members.iter().map(|m| m["from_member"]["frames_in"].as_u64().unwrap()).sum()
    }
}

/// The names of a direct link's paths that live.
fn alive(way: &Value) -> Vec<&str> {
    let paths = way["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<_> = paths.iter().filter(|path| path["is_alive"] == true).map(|path| path["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// What a line carried one way in a time that ends now, in Mbit/s, Ethernet headers in it.
fn carried(passed: &[Captured], way: Way, end: Instant, span: Duration) -> f64 {
    Captured::count(passed, way, end - span, span).1 as f64 * 8.0 / span.as_secs_f64() / 1e6
}

#[test]
fn one_flow_between_two_homes_has_both_lines_and_nothing_by_the_relay() {
    if !ready() {
        return;
    }
    for (friend, lines) in [(NatKind::Open, NatKind::Open), (NatKind::PortRestricted, NatKind::PortRestricted)] {
        let street = Street::new("direct-both", [lines; 2], friend, &[]);
        street.goes_by(LINES);
        let before = street.relayed();
        for way in Way::ALL {
            // What else runs on this machine may take the programs' time: the best of some tries is what the bond can do.
            let mut best = (0.0, vec![]);
            for _ in 0..TRIES {
                let tried = bulk_over_both(&street, way);
                eprintln!("{friend} {way:?}: {:.1} Mbit/s, on the lines {:.1?}; {}", tried.0, tried.1, street.dual.verdict().unwrap());
                if tried.0 > best.0 {
                    best = tried;
                }
                if best.0 > MORE_THAN_ONE {
                    break;
                }
            }
            let (mbit_s, shares) = best;
            assert!(mbit_s > MORE_THAN_ONE, "{mbit_s} Mbit/s {way:?}: {:#?}", street.ways());
            assert!(shares.iter().all(|share| *share > 2.0), "both lines carry: {shares:?}");
        }
        let relayed = street.relayed() - before;
        assert!(relayed < 100, "{relayed} frames by the relay meanwhile");
    }
}

/// Goodput of one flow, and what each line carried of it.
fn bulk_over_both(street: &Street, way: Way) -> (f64, Vec<f64>) {
    street.dual.forget_lateness().unwrap();
    let captures: Vec<_> = street.dual.lines.iter().map(|line| line.capture().unwrap()).collect();
    let [from, to] = street.ends(way);
    let report = Bulk { flows: 1, warm_up: ms(3000), window: ms(4000), ..Bulk::default() }.run(&from, &to).unwrap();
    let end = Instant::now();
    let shares = captures.into_iter().map(|c| carried(&c.finish().unwrap(), way, end, ms(3500))).collect();
    (report.mbit_s(), shares)
}

#[test]
fn a_game_between_two_homes_does_not_notice_that_a_line_dies_silently_or_returns() {
    if !ready() {
        return;
    }
    let street = Street::new("direct-cut", [NatKind::PortRestricted; 2], NatKind::PortRestricted, &[]);
    street.goes_by(LINES);
    for way in Way::ALL {
        let probe = Probe::small(ms(9000));
        let before = street.late(way);
        let report = street.probe_while(way, &probe, || {
            for line in &street.dual.lines {
                thread::sleep(ms(300));
                line.cut().unwrap();
                thread::sleep(ms(1200));
                line.restore().unwrap();
                street.goes_by(LINES);
            }
        });
        let late = street.late(way) - before;
        eprintln!("{way:?}: lost {}, {late} late, twice {}, gap {:?}", report.lost(), report.duplicates(), report.longest_gap(&probe));
        assert_eq!((report.lost(), report.duplicates(), report.reordered()), (late, 0, 0), "{}", street.home.tail());
        assert!(late <= report.sent / 20, "{late} late");
    }
}

#[test]
fn a_line_that_is_away_for_long_is_a_path_again_and_a_lost_carrier_is_none() {
    if !ready() {
        return;
    }
    let street = Street::new("direct-away", [NatKind::Open; 2], NatKind::Open, &[]);
    street.goes_by(LINES);
    let [dsl, lte] = [&street.dual.lines[0], &street.dual.lines[1]];
    for (gone, left) in [(dsl, lte), (lte, dsl)] {
        gone.carrier(false).unwrap();
        street.goes_by(&[left.name()]);
        thread::sleep(ms(5000));
        street.goes_by(&[left.name()]);
        gone.carrier(true).unwrap();
        let back = street.goes_by(LINES);
        eprintln!("{} is a path again {back:?} after it is there", gone.name());
    }
}

#[test]
fn the_end_of_the_relay_ends_no_game_between_two_homes_and_a_line_may_die_then() {
    if !ready() {
        return;
    }
    let mut street = Street::new("direct-island", [NatKind::Open; 2], NatKind::Open, &[]);
    street.goes_by(LINES);
    let relay = street.relay.take().unwrap();
    let (probe, before) = (Probe::small(ms(12_000)), street.late(Way::Down));
    let report = street.probe_while(Way::Down, &probe, || {
        thread::sleep(ms(1000));
        relay.kill9();
        thread::sleep(ms(6000));
        street.dual.lines[0].cut().unwrap();
    });
    let late = street.late(Way::Down) - before;
    eprintln!("lost {}, {late} late, twice {}, gap {:?}", report.lost(), report.duplicates(), report.longest_gap(&probe));
    assert_eq!((report.lost(), report.duplicates()), (late, 0), "{}", street.home.tail());
    assert!(late <= report.sent / 20, "{late} late");
    street.dual.lines[0].restore().unwrap();
    street.relay = Some(street.programs.relay(&street.dual.relay));
    street.goes_by(LINES);
}

#[test]
fn a_direct_way_by_one_of_two_lines_is_not_taken_while_the_relay_has_both() {
    if !ready() {
        return;
    }
    let mut street = Street::new("direct-half", [NatKind::Open, NatKind::Symmetric], NatKind::Symmetric, &[]);
    let is_half = |[home, friend]: &[Value; 2]| alive(home) == ["dsl0"] && alive(friend).len() == 1;
    street.wait_for("one of two lines leads there", is_half);
    thread::sleep(ms(4000));
    let [home, friend] = street.ways();
    for way in [&home, &friend] {
        assert!(way["way"] == "relay" && way["because"].as_str().unwrap().contains("more lines"), "{way}");
    }
    let said = street.programs.run(&street.dual.home, &["lanparty", "status"]).stdout;
    assert!(said.contains("more lines"), "{said}");
    let relay = street.relay.take().unwrap();
    relay.kill9();
    street.wait_for("without the relay it is taken", |ways| ways.iter().all(|way| way["way"] == "direct"));
    assert!(ping(&street.dual.home, FRIEND, 3).unwrap().received > 0);
}

#[test]
fn status_and_ping_name_the_paths_of_a_direct_link() {
    if !ready() {
        return;
    }
    let street = Street::new("direct-words", [NatKind::Open; 2], NatKind::Open, &[]);
    street.goes_by(LINES);
    let status = street.programs.run(&street.dual.home, &["lanparty", "status"]).stdout;
    eprintln!("{status}");
    assert!(status.contains("directly by 2 paths") && status.matches("dsl0: alive for").count() == 2, "{status}");
    let peer = street.ways()[0]["id"].to_string();
    let said = street.programs.run(&street.dual.home, &["lanparty", "ping", &peer, "--count", "2"]).success().unwrap().stdout;
    eprintln!("{said}");
    assert!(said.contains("direct (dsl0, lte0)"), "{said}");
}
