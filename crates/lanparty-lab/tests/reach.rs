//! Clients behind every pair of NATs, in one room: who reaches whom without the relay.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was seen is printed")]

mod support;

use std::time::{Duration, Instant};

use lanparty_lab::{Class, Household, HouseholdOptions, NatKind, Proc, Requirements, Tool, expected};
use serde_json::Value;
use support::{Evening, alone, promised};

/// Who can be reached is reached by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// A household and the client in it.
struct Player {
    household: Household,
    number: Value,
    _client: Proc,
}

impl Player {
    fn join(evening: &Evening, number: u8, kind: NatKind) -> Self {
        let party = &evening.party;
        let options = HouseholdOptions::default();
        let household = Household::attach(&party.lab, &party.internet, &format!("h{number}"), number, kind, options).unwrap();
        let host = &household.host;
        let client = evening.program(host, "lanparty").named("client").arg("client").args(evening.direct_options(host));
        let client = host.spawn(client).unwrap();
        promised(&client, "TAP is up");
        Self { number: evening.status(host)["peer"].clone(), household, _client: client }
    }

    /// How its frames go to each of the others.
    fn ways(&self, evening: &Evening, others: &[Self]) -> Vec<Class> {
        let status = evening.status(&self.household.host);
        let peers = status["peers"].as_array().unwrap();
        let direct = |other: &Self| peers.iter().any(|peer| peer["id"] == other.number && peer["way"] == "direct");
        others.iter().map(|other| if direct(other) { Class::Direct } else { Class::Relay }).collect()
    }
}

#[test]
fn clients_reach_each_other_directly_where_two_nats_allow_it() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("reach");
    let _relay = evening.relay();
    let side =
        |first: u8| -> Vec<Player> { NatKind::ALL.into_iter().zip(first..).map(|(kind, n)| Player::join(&evening, n, kind)).collect() };
    let (left, right) = (side(31), side(41));
    let wanted: Vec<Vec<Class>> = NatKind::ALL.map(|a| NatKind::ALL.map(|b| expected(a, b)).into()).into();
    let started = Instant::now();
    let grid = || -> Vec<Vec<Class>> { left.iter().map(|player| player.ways(&evening, &right)).collect() };
    let mut seen = grid();
    while seen != wanted && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
        seen = grid();
    }
    println!("after {:.1} s", started.elapsed().as_secs_f64());
    println!("{:16}{}", "", NatKind::ALL.map(|b| format!("{b:16}")).concat());
    for (player, row) in left.iter().zip(&seen) {
        println!("{:16}{}", player.household.kind, row.iter().map(|class| format!("{class:16}")).collect::<String>());
    }
    assert_eq!(seen, wanted);
}
