//! Stories of a LAN party, made from a seed: who is there, what they do, what happens to them. A story that breaks a
//! promise is shortened until nothing in it can be left out, and printed with its seed.

mod transition;

use std::fmt;
use std::time::Duration;

use lanparty_proto::{DatagramBudget, MacAddr, Role};

pub use transition::Transition;

use crate::{Impairment, MemberPlan, Rng, Sabotage, World};

/// Transitions of one story.
const LENGTH: usize = 25;
/// Runs spent on shortening a story.
const SHRINK_RUNS_MAX: usize = 150;
/// Until everybody who joins at the start is in.
const GATHERING: Duration = Duration::from_secs(3);

/// A story: a seed, and what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Of the world and of the people in it.
    pub seed: u64,
    /// In order. Any of them can be left out.
    pub transitions: Vec<Transition>,
}

/// What came of a story.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Virtual time that passed.
    pub simulated: Duration,
    /// Frames that reached devices.
    pub delivered: u64,
    /// The first broken promise.
    pub violation: Option<String>,
}

/// A broken promise and the shortest story that breaks it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What was broken.
    pub sabotage: Sabotage,
    /// In words.
    pub violation: String,
    /// The story.
    pub scenario: Scenario,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} (sabotage {:?}): {}", self.scenario.seed, self.sabotage, self.violation)?;
        writeln!(f, "{}", describe(&people(self.scenario.seed)))?;
        self.scenario.transitions.iter().try_for_each(|transition| writeln!(f, "    {transition:?}"))
    }
}

impl Scenario {
    /// The story of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(!seed);
        Self { seed, transitions: (0..LENGTH).map(|_| Transition::any(&mut rng)).collect() }
    }

    /// Tells it.
    #[must_use]
    pub fn run(&self, sabotage: Sabotage) -> Outcome {
        let mut world = World::new(self.seed, sabotage);
        let people = people(self.seed);
        for plan in &people {
            world.add(plan.clone());
        }
        (0..people.len()).filter(|i| !people[*i].unwelcome).for_each(|i| world.join(i));
        world.run_for(GATHERING);
        let mut rng = Rng::new(self.seed ^ 0x5eed);
        for transition in &self.transitions {
            transition.happen(&mut world, &people, &mut rng.fork());
            world.run_for(Duration::from_millis(rng.below(400)));
            world.check();
            if world.violation().is_some() {
                break;
            }
        }
        if world.violation().is_none() {
            world.settle();
        }
        Outcome { simulated: world.now(), delivered: world.delivered(), violation: world.violation().map(str::to_owned) }
    }

    /// Tells it, and shortens it when it breaks a promise.
    pub fn try_run(&self, sabotage: Sabotage) -> Result<Outcome, Box<Failure>> {
        let outcome = self.run(sabotage);
        match outcome.violation.clone() {
            None => Ok(outcome),
            Some(violation) => Err(Box::new(self.shrink(violation, sabotage))),
        }
    }

    /// Leaves out ever smaller pieces for as long as some promise stays broken.
    fn shrink(&self, violation: String, sabotage: Sabotage) -> Failure {
        let mut best = Failure { sabotage, violation, scenario: self.clone() };
        let (mut piece, mut runs) = (self.transitions.len().div_ceil(2), 0);
        while piece > 0 {
            let (mut at, mut shorter) = (0, false);
            while at < best.scenario.transitions.len() && runs < SHRINK_RUNS_MAX {
                let mut candidate = best.scenario.clone();
                candidate.transitions.drain(at..(at + piece).min(candidate.transitions.len()));
                runs += 1;
                match candidate.run(sabotage).violation {
                    Some(violation) => {
                        (best.violation, best.scenario, shorter) = (violation, candidate, true);
                    }
                    None => at += piece,
                }
            }
            piece = if shorter { piece.min(best.scenario.transitions.len()) } else { piece / 2 };
            if runs >= SHRINK_RUNS_MAX || best.scenario.transitions.is_empty() {
                break;
            }
        }
        best
    }
}

/// Who is there, by seed: one to three rooms, each with clients, mostly with a gateway, and with two trouble-makers.
#[must_use]
pub fn people(seed: u64) -> Vec<MemberPlan> {
    let mut rng = Rng::new(seed.wrapping_mul(31));
    let mut people = vec![];
    for room in 1..=1 + rng.below(3) as u8 {
        let first = people.len();
        let with_gateway = rng.below(4) > 0;
        for n in 0..2 + rng.below(4) as u8 {
            let role = if n == 0 && with_gateway { Role::Gateway } else { Role::Client };
            people.push(person(room, n, role, &mut rng));
        }
        let copied = people[first].mac;
        people.push(MemberPlan { mac: copied, unwelcome: true, ..person(room, 100, Role::Client, &mut rng) });
        if with_gateway {
            people.push(MemberPlan { unwelcome: true, ..person(room, 101, Role::Gateway, &mut rng) });
        }
    }
    people
}

fn person(room: u8, n: u8, role: Role, rng: &mut Rng) -> MemberPlan {
    let mac = MacAddr([2, 0, 0, 0, room, n]);
    // The same hosts' addresses on every LAN: rooms must not mind each other.
    let hosts = (0..3).filter(|_| role == Role::Gateway).map(|h| MacAddr([0, 0x1b, 0x21, 0, 0, h])).collect();
    let path = Impairment {
        delay: Duration::from_micros(500 + rng.below(60_000)),
        jitter: Duration::from_micros(rng.below(2_000)),
        rate: 2_000_000 + rng.below(100_000_000),
        dup: if rng.below(3) == 0 { 0.02 } else { 0.0 },
        reorder: if rng.below(3) == 0 { 0.03 } else { 0.0 },
        reorder_by: Duration::from_millis(15),
        ..Impairment::default()
    };
    let budget = DatagramBudget([1417, 1417, 1417, 1365, 1217, 1517][rng.below(6) as usize]);
    MemberPlan { role, room: format!("ROOM{room}"), mac, hosts, path, budget, unwelcome: false }
}

fn describe(people: &[MemberPlan]) -> String {
    let line = |(n, p): (usize, &MemberPlan)| {
        let what = if p.unwelcome { " (unwelcome)" } else { "" };
        format!("    member {n}: {:?}{what} {} in {}, budget {}, {}", p.role, p.mac, p.room, p.budget, p.path)
    };
    people.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}
