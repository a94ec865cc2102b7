//! Two homes in one room, each behind a router of its own, and the relay that introduced them.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Household, HouseholdOptions, Internet, Lab, Namespace, NatKind, Proc, Requirements, Tool, Uplink, ping};
use serde_json::Value;

pub(crate) use crate::programs::TAP;
use crate::programs::{Programs, SOON};

/// A direct link is there again within this time, on a machine that is busy with other things.
const AGAIN_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

/// A player at home.
pub(crate) struct Member {
    pub(crate) household: Household,
    pub(crate) inside: Ipv4Addr,
    pub(crate) client: Proc,
}

pub(crate) struct Homes {
    pub(crate) members: Vec<Member>,
    pub(crate) relay: Option<Proc>,
    pub(crate) relay_host: Namespace,
    pub(crate) programs: Programs,
    pub(crate) internet: Internet,
    pub(crate) lab: Lab,
}

impl Homes {
    /// Two homes behind NATs of that kind.
    pub(crate) fn new(name: &str, kind: NatKind) -> Self {
        Self::with(name, [kind; 2], &HouseholdOptions::default(), |_| ())
    }

    /// Two homes whose routers are prepared before anybody plays.
    pub(crate) fn with(name: &str, kinds: [NatKind; 2], options: &HouseholdOptions, prepare: impl Fn(&Household)) -> Self {
        let mut homes = Self::empty(name);
        for (number, kind) in (11..).zip(kinds) {
            let household = Household::attach(&homes.lab, &homes.internet, &format!("h{number}"), number, kind, options.clone()).unwrap();
            prepare(&household);
            homes.join(household, number, &[]);
        }
        homes
    }

    /// The relay alone.
    pub(crate) fn empty(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let relay_host = lab.namespace("relay").unwrap();
        internet.attach(&lab, &relay_host, 1, &Uplink::default()).unwrap();
        let programs = Programs::new(&lab);
        let relay = Some(programs.relay(&relay_host));
        Self { members: vec![], relay, relay_host, programs, internet, lab }
    }

    /// Somebody in that household begins to play.
    pub(crate) fn join(&mut self, household: Household, number: u8, more: &[&str]) {
        let host = household.host.clone();
        let client = self.play(&host, number, more);
        self.members.push(Member { household, inside: Ipv4Addr::new(10, 50, 0, number), client });
    }

    /// A client on any host, with the address 10.50.0.`number` in the room.
    pub(crate) fn play(&self, host: &Namespace, number: u8, more: &[&str]) -> Proc {
        let client = self.programs.program(host, "lanparty").named(&format!("client-{number}")).arg("client");
        let client = host
            .spawn(client.args(self.programs.member_options("HOMES")).args(["--tap-name", TAP, "--address", "none"]).args(more))
            .unwrap();
        client.wait_for("TAP is up", SOON).unwrap();
        host.ip(&format!("addr add 10.50.0.{number}/24 dev {TAP}")).unwrap();
        client
    }

    /// What the client on `host` says of its way to the only other member.
    pub(crate) fn way_of(&self, host: &Namespace) -> Value {
        self.programs.status(host, "lanparty-client")["peers"][0].clone()
    }

    /// What each of the two says of its way to the other.
    pub(crate) fn ways(&self) -> [Value; 2] {
        [0, 1].map(|at| self.way_of(&self.members[at].household.host))
    }

    /// Waits until frames go that way from both, and across.
    pub(crate) fn go(&self, way: &str) -> [Value; 2] {
        let ways = self.wait_for(&format!("frames go by {way}"), |ways| ways.iter().all(|one| one["way"] == way));
        let [a, b] = [0, 1].map(|at| &self.members[at]);
        assert!(ping(&a.household.host, b.inside, 3).unwrap().received > 0);
        ways
    }

    fn wait_for(&self, what: &str, check: impl Fn(&[Value; 2]) -> bool) -> [Value; 2] {
        let started = Instant::now();
        loop {
            let ways = self.ways();
            if check(&ways) {
                println!("{what} after {:.1} s", started.elapsed().as_secs_f64());
                return ways;
            }
            let tails = || self.members.iter().map(|member| member.client.tail()).collect::<Vec<_>>().join("\n");
            assert!(started.elapsed() < AGAIN_WITHIN, "{what}: not within {AGAIN_WITHIN:?}\n{ways:?}\n{}", tails());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Where each of the two sees the other.
    pub(crate) fn external(&self) -> [Value; 2] {
        self.ways().map(|way| way["address"].clone())
    }

    /// Waits until one of the two reaches the other elsewhere than `before`, and both go directly.
    pub(crate) fn goes_directly_anew(&self, what: &str, before: &[Value; 2]) {
        let is_anew =
            |ways: &[Value; 2]| ways.iter().zip(before).any(|(way, before)| way["address"].is_string() && way["address"] != *before);
        self.wait_for(what, |ways| ways.iter().all(|one| one["way"] == "direct") && is_anew(ways));
        self.go("direct");
    }

    /// How far each client's output was.
    pub(crate) fn marks(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.client.mark()).collect()
    }

    /// Nobody has joined again since.
    pub(crate) fn stayed_joined(&self, marks: &[usize]) {
        for (member, mark) in self.members.iter().zip(marks) {
            let said = member.client.lines().into_iter().skip(*mark).find(|line| line.contains("joining again"));
            assert_eq!(said, None, "{}", member.client.tail());
        }
    }
}
