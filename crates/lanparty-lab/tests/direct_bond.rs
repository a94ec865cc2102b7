//! A home with two lines and a friend's with one or two: their direct link has a path by each line.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

#[path = "support/lines.rs"]
mod lines;
#[path = "support/programs.rs"]
mod programs;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{
    Bulk, Dual, DualOptions, Endpoint, Home, Household, HouseholdOptions, LineOptions, Namespace, NatKind, Probe, ProbeReport, Proc, Way,
    ping,
};
use lines::{LINES, MORE_THAN_ONE, TRIES, carried, dsl_and_lte, ms, ready};
use programs::{Programs, SOON, TAP};
use serde_json::Value;

const HOME: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 1);
const FRIEND: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 2);

/// Length of an ARP frame, without padding.
const ARP_LEN: usize = 42;

/// Both homes in one room.
struct Street {
    relay: Option<Proc>,
    home: Proc,
    friend: Proc,
    friends: Friends,
    programs: Programs,
    dual: Dual,
}

/// Where the friend lives.
enum Friends {
    One(Household),
    Two(Home),
}

impl Friends {
    const fn host(&self) -> &Namespace {
        match self {
            Self::One(household) => &household.host,
            Self::Two(home) => &home.host,
        }
    }
}

impl Street {
    /// Lines and the friend's router have NATs of these kinds.
    fn new(name: &str, lines: [NatKind; 2], friend: NatKind) -> Self {
        let [dsl, lte] = dsl_and_lte();
        let dual = Dual::build(name, &DualOptions::new([dsl.nat(lines[0]), lte.nat(lines[1])])).unwrap();
        let household = Household::attach(&dual.lab, &dual.internet, "friend", 12, friend, HouseholdOptions::default()).unwrap();
        Self::inhabited(dual, Friends::One(household), &[], &[])
    }

    /// The friend has two lines as well, all behind NATs of this kind; what the home's lines carry is written down there.
    fn with_two_lines_each(name: &str, nat: NatKind, captures: &str) -> Self {
        let dual = Dual::build(name, &DualOptions::new(dsl_and_lte().map(|line| line.nat(nat)))).unwrap();
        let lines = [LineOptions::new("cable0", 30.0, 10.0).nat(nat), LineOptions::new("lte1", 20.0, 10.0).nat(nat)];
        let friends = Friends::Two(dual.add_home("friend", &lines).unwrap());
        Self::inhabited(dual, friends, &["--pcap", captures], &["--uplink", "cable0", "--uplink", "lte1"])
    }

    fn inhabited(dual: Dual, friends: Friends, more: &[&str], friends_options: &[&str]) -> Self {
        let programs = Programs::new(&dual.lab);
        let relay = Some(programs.relay(&dual.relay));
        let play = |host: &Namespace, ip: Ipv4Addr, more: &[&str]| {
            let client = programs.start_client(host, "HOMES", &[&["--address", "none"], more].concat());
            client.wait_for("TAP is up", SOON).unwrap();
            host.ip(&format!("addr add {ip}/24 dev {TAP}")).unwrap();
            client
        };
        let friend = play(friends.host(), FRIEND, friends_options);
        let home = play(&dual.home, HOME, &[&["--uplink", "dsl0", "--uplink", "lte0"], more].concat());
        let street = Self { relay, home, friend, friends, programs, dual };
        street.know_each_other();
        street
    }

    /// What is measured is the tunnel, not ARP's patience.
    fn know_each_other(&self) {
        let (home, friend) = (&self.dual.home, self.friends.host());
        for (host, other, ip) in [(home, friend, FRIEND), (friend, home, HOME)] {
            let mac = other.mac(TAP).unwrap();
            host.ip(&format!("neigh replace {ip} lladdr {mac} dev {TAP} nud permanent")).unwrap();
        }
    }

    /// How each of the two reaches the other.
    fn ways(&self) -> [Value; 2] {
        [&self.dual.home, self.friends.host()].map(|host| self.programs.status(host, "lanparty-client")["peers"][0].clone())
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
        let friend = Endpoint::new(self.friends.host(), FRIEND);
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
        let sender = if way == Way::Up { &self.dual.home } else { self.friends.host() };
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

/// The lines of the speaker's that such paths go by.
fn own_lines(way: &Value) -> Vec<&str> {
    let mut names = alive(way);
    names.dedup();
    names
}

#[test]
fn one_flow_between_two_homes_has_both_lines_and_nothing_by_the_relay() {
    if !ready() {
        return;
    }
    for (friend, lines) in [(NatKind::Open, NatKind::Open), (NatKind::PortRestricted, NatKind::PortRestricted)] {
        let street = Street::new("direct-both", [lines; 2], friend);
        street.goes_by(LINES);
        let before = street.relayed();
        Way::ALL.iter().for_each(|way| adds_up(&street, *way));
        let relayed = street.relayed() - before;
        assert!(relayed < 100, "{relayed} frames by the relay meanwhile");
    }
}

/// One flow has more than a line alone gives, by both lines.
fn adds_up(street: &Street, way: Way) {
    let mut best = (0.0, vec![]);
    for _ in 0..TRIES {
        let tried = bulk_over_both(street, way);
        eprintln!("{way:?}: {:.1} Mbit/s, on the lines {:.1?}; {}", tried.0, tried.1, street.dual.verdict().unwrap());
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
    let street = Street::new("direct-cut", [NatKind::PortRestricted; 2], NatKind::PortRestricted);
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
    let street = Street::new("direct-away", [NatKind::Open; 2], NatKind::Open);
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
    let mut street = Street::new("direct-island", [NatKind::Open; 2], NatKind::Open);
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
fn who_is_reached_directly_is_shown_and_answers_while_the_relay_is_away() {
    if !ready() {
        return;
    }
    let street = Street::new("direct-shown", [NatKind::Open; 2], NatKind::Open);
    street.goes_by(LINES);
    let peer = street.ways()[0]["id"].to_string();
    let run = |words: &[&str]| street.programs.run(&street.dual.home, &[&["lanparty"], words].concat());
    let relay = street.relay.as_ref().unwrap();
    relay.pause();
    street.home.wait_for("connection to the relay lost", SOON).unwrap();
    let said = run(&["status"]).success().unwrap().stdout;
    assert!(said.contains("the relay is away") && said.contains(&format!("peer {peer} ")) && said.contains("directly by"), "{said}");
    let members = run(&["rpc", "members"]).success().unwrap().stdout;
    assert!(members.contains(&format!("\"id\": {peer}")), "{members}");
    let answered = run(&["ping", &peer, "--count", "2"]).success().unwrap().stdout;
    assert!(answered.contains("direct (dsl0, lte0)"), "{answered}");
    assert!(run(&["ping", "77", "--count", "1"]).stderr.contains("nobody in this room is `77`"));
    // With the other one gone nobody is left of the room, once its link is given up.
    street.friend.kill9();
    street.friend.exit_code(SOON).unwrap();
    let begin = Instant::now();
    while !run(&["status"]).stdout.contains(": not joined") {
        assert!(begin.elapsed() < SOON * 2, "{}", run(&["status"]).stdout);
        thread::sleep(ms(200));
    }
    assert!(run(&["ping", &peer, "--count", "1"]).stderr.contains("in no room"));
    relay.resume();
}

#[test]
fn a_direct_way_by_one_of_two_lines_is_not_taken_while_the_relay_has_both() {
    if !ready() {
        return;
    }
    let mut street = Street::new("direct-half", [NatKind::Open, NatKind::Symmetric], NatKind::Symmetric);
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
fn two_homes_with_two_lines_each_add_up_and_survive_a_cut_at_either_side_and_at_both() {
    if !ready() {
        return;
    }
    let captures = tempfile::tempdir().unwrap();
    let street = Street::with_two_lines_each("direct-four", NatKind::PortRestricted, captures.path().to_str().unwrap());
    let Friends::Two(friends) = &street.friends else { panic!("the friend has two lines") };
    // By every line of either, whichever are paired.
    let goes_by_all = || {
        street.wait_for("both go directly by all lines", |ways| {
            ways.iter().all(|way| way["way"] == "direct") && own_lines(&ways[0]) == LINES && own_lines(&ways[1]) == ["cable0", "lte1"]
        })
    };
    goes_by_all();
    adds_up(&street, Way::Down);
    for line in [&street.dual.lines[0], &friends.lines[1]] {
        let (probe, before) = (Probe::small(ms(4000)), street.late(Way::Down));
        let report = street.probe_while(Way::Down, &probe, || {
            thread::sleep(ms(500));
            line.cut().unwrap();
            thread::sleep(ms(1500));
            line.restore().unwrap();
        });
        let late = street.late(Way::Down) - before;
        eprintln!("{} cut: lost {}, {late} late, gap {:?}", line.name(), report.lost(), report.longest_gap(&probe));
        assert_eq!((report.lost(), report.duplicates(), report.reordered()), (late, 0, 0), "{}", street.home.tail());
        goes_by_all();
    }
    // Whichever lines were paired: what is left at each side finds the other, by the relay until then.
    let cut = [&street.dual.lines[0], &friends.lines[0]];
    cut.iter().for_each(|line| line.cut().unwrap());
    thread::sleep(ms(2000));
    assert!(ping(&street.dual.home, FRIEND, 3).unwrap().received > 0, "{:#?}", street.ways());
    cut.iter().for_each(|line| line.restore().unwrap());
    goes_by_all();
    let peer = street.ways()[0]["id"].to_string();
    let captured = |line: &str| std::fs::metadata(captures.path().join(format!("peer{peer}-{line}.pcapng"))).map_or(0, |file| file.len());
    assert!(LINES.iter().all(|line| captured(line) > 100_000), "{:?}", LINES.iter().map(|line| captured(line)).collect::<Vec<_>>());
}

#[test]
fn status_and_ping_name_the_paths_of_a_direct_link() {
    if !ready() {
        return;
    }
    let street = Street::new("direct-words", [NatKind::Open; 2], NatKind::Open);
    street.goes_by(LINES);
    let status = street.programs.run(&street.dual.home, &["lanparty", "status"]).stdout;
    eprintln!("{status}");
    assert!(status.contains("directly by 2 paths") && status.matches("dsl0: alive for").count() == 2, "{status}");
    let peer = street.ways()[0]["id"].to_string();
    let said = street.programs.run(&street.dual.home, &["lanparty", "ping", &peer, "--count", "2"]).success().unwrap().stdout;
    eprintln!("{said}");
    assert!(said.contains("direct (dsl0, lte0)"), "{said}");
}

#[test]
fn a_line_that_is_taken_away_carries_nothing_directly_any_more() {
    if !ready() {
        return;
    }
    let mut street = Street::new("direct-removed", [NatKind::Open; 2], NatKind::Open);
    street.goes_by(LINES);
    let uplink = |street: &Street, words: &[&str]| {
        street.programs.run(&street.dual.home, &[&["lanparty", "uplink"], words].concat()).success().unwrap();
    };
    let quiet = |street: &Street, name: &str, meanwhile: Way| {
        let probe = Probe::small(ms(4000));
        let mut late = vec![];
        let report = street.probe_while(meanwhile, &probe, || {
            uplink(street, &["remove", name]);
            street.goes_by(LINES.iter().copied().filter(|line| *line != name).collect::<Vec<_>>().as_slice());
            // What belongs to closing the paths is over then.
            thread::sleep(ms(1500));
            let capture = street.dual.line(name).capture().unwrap();
            thread::sleep(ms(1500));
            late = capture.finish().unwrap();
            // The system asks for its router's MAC address when it likes to.
            late.retain(|frame| frame.len > ARP_LEN);
        });
        eprintln!("{name} removed: lost {}, {} frames of the line later", report.lost(), late.len());
        assert!(late.is_empty(), "{late:?}\n{}", street.home.tail());
        assert!(report.lost() * 10 < report.sent, "{} of {} lost", report.lost(), report.sent);
    };
    quiet(&street, "lte0", Way::Up);
    uplink(&street, &["add", "lte0"]);
    street.goes_by(LINES);
    quiet(&street, "dsl0", Way::Down);
    // Also while no relay is there.
    uplink(&street, &["add", "dsl0"]);
    street.goes_by(LINES);
    let relay = street.relay.take().unwrap();
    relay.kill9();
    relay.exit_code(SOON).unwrap();
    quiet(&street, "lte0", Way::Up);
}
