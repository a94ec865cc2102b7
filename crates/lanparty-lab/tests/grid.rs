//! Two members behind every pair of NATs: who reaches whom directly is written first, in `lanparty_lab::expected`, and read here.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_lab::{Class, Household, HouseholdOptions, Internet, Lab, NatKind, Proc, Requirements, Tool, Uplink, ping};
use programs::{Programs, SOON};
use serde_json::Value;

/// Two households of each kind, so that each kind meets itself.
const COPIES: u8 = 2;
/// Every address has been tried by then, at the first attempt.
const TRIED_AFTER: Duration = Duration::from_secs(20);

struct Member {
    household: Household,
    /// What it can have with others: a stream where its UDP is blocked.
    has_udp: bool,
    inside: Ipv4Addr,
    _client: Proc,
}

struct Grid {
    members: Vec<Member>,
    programs: Programs,
    _relay: Proc,
    _lab: Lab,
}

impl Grid {
    /// All kinds, and one whose network passes no UDP.
    fn new() -> Self {
        let kinds = NatKind::ALL.into_iter().flat_map(|kind| (0..COPIES).map(move |_| (kind, false)));
        Self::of("grid", &kinds.chain([(NatKind::PortRestricted, true)]).collect::<Vec<_>>(), false)
    }

    fn of(name: &str, kinds: &[(NatKind, bool)], ipv6: bool) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let relay = lab.namespace("relay").unwrap();
        internet.attach(&lab, &relay, 1, &Uplink::default()).unwrap();
        let programs = Programs::new(&lab);
        let running = programs.relay(&relay);
        let mut members = vec![];
        for (n, (kind, udp_blocked)) in kinds.iter().copied().enumerate() {
            let number = 10 + u8::try_from(n).unwrap();
            let options = HouseholdOptions { udp_blocked, ipv6, ..HouseholdOptions::default() };
            let household = Household::attach(&lab, &internet, &format!("h{number}"), number, kind, options).unwrap();
            let client = programs.program(&household.host, "lanparty").named(&format!("client-{number}")).arg("client");
            let client = household
                .host
                .spawn(client.args(programs.member_options("GRID")).args(["--tap-name", programs::TAP, "--address", "none"]))
                .unwrap();
            client.wait_for("TAP is up", SOON).unwrap();
            let inside = Ipv4Addr::new(10, 50, 0, number);
            household.host.run(&["ip", "addr", "add", &format!("{inside}/24"), "dev", programs::TAP]).unwrap();
            members.push(Member { household, has_udp: !udp_blocked, inside, _client: client });
        }
        Self { members, programs, _relay: running, _lab: lab }
    }

    fn status(&self, member: &Member) -> Value {
        let answer = self.programs.run(&member.household.host, &["lanparty", "status", "--json"]);
        serde_json::from_str::<Vec<Value>>(&answer.stdout).unwrap().remove(0)
    }

    /// Every pair, by the places of both in `members`: how the first one reaches the second.
    fn ways(&self) -> BTreeMap<(usize, usize), Value> {
        let all: Vec<Value> = self.members.iter().map(|member| self.status(member)).collect();
        let place_of = |id: &Value| all.iter().position(|one| one["peer"] == *id).unwrap();
        let of = |at: usize| all[at]["peers"].as_array().unwrap().iter().map(move |peer| ((at, place_of(&peer["id"])), peer.clone()));
        (0..all.len()).flat_map(of).collect()
    }

    fn expected(&self, (a, b): (usize, usize)) -> Class {
        let (a, b) = (&self.members[a], &self.members[b]);
        if a.has_udp && b.has_udp { a.household.expected(&b.household) } else { Class::Stream }
    }
}

#[test]
fn two_homes_with_ipv6_need_no_luck_with_their_nats() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip() {
        return;
    }
    let grid = Grid::of("grid6", &[(NatKind::Symmetric, false), (NatKind::Symmetric, false)], true);
    let is_direct = || grid.ways().values().all(|way| way["way"] == "direct");
    let started = Instant::now();
    while !is_direct() && started.elapsed() < TRIED_AFTER {
        std::thread::sleep(Duration::from_millis(300));
    }
    let ways = grid.ways();
    assert!(ways.values().all(|way| way["way"] == "direct" && way["address"].as_str().unwrap().starts_with("[2001:db8:97:")), "{ways:?}");
    assert!(ping(&grid.members[0].household.host, grid.members[1].inside, 2).unwrap().received > 0);
}

#[test]
fn every_pair_of_nats_is_crossed_where_that_is_possible_and_the_rest_goes_by_the_relay() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip() {
        return;
    }
    let grid = Grid::new();
    let started = Instant::now();
    let is_done = |ways: &BTreeMap<(usize, usize), Value>| {
        ways.iter().all(|(pair, way)| (way["way"] == "direct") == (grid.expected(*pair) == Class::Direct))
    };
    let mut ways = grid.ways();
    while !is_done(&ways) && started.elapsed() < TRIED_AFTER {
        std::thread::sleep(Duration::from_millis(500));
        ways = grid.ways();
    }
    println!("as expected after {:.1} s", started.elapsed().as_secs_f64());
    let kind = |at: usize| grid.members[at].household.kind;
    for ((a, b), way) in &ways {
        let expected = grid.expected((*a, *b));
        let words = format!("{} to {}: {way}", kind(*a), kind(*b));
        assert_eq!(way["way"] == "direct", expected == Class::Direct, "{words}, expected {expected:?}");
        assert_eq!(way["because"].is_string(), expected != Class::Direct, "{words}");
    }
    let direct = ways.values().filter(|way| way["way"] == "direct").count();
    println!("{direct} of {} ways are direct", ways.len());
    assert_eq!(ways.len(), grid.members.len() * (grid.members.len() - 1));
    // Each way carries frames, whatever it is.
    for (a, b) in ways.keys().filter(|(a, b)| a < b && (a + b) % 3 == 0) {
        let (from, to) = (&grid.members[*a], &grid.members[*b]);
        assert!(ping(&from.household.host, to.inside, 2).unwrap().received > 0, "{} to {}", kind(*a), kind(*b));
    }
    let blocked = grid.members.iter().find(|member| !member.has_udp).unwrap();
    assert_eq!(grid.status(blocked)["way"]["carrier"], "stream");
}
