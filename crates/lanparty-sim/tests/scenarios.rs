//! Hundreds of stories, each from its seed, and the proof that a broken machine would be noticed.

use std::time::{Duration, Instant};

use lanparty_sim::{Sabotage, Scenario};

/// Stories told in an ordinary run; `LANPARTY_SIM_SEEDS` asks for more, `LANPARTY_SIM_FIRST` for others.
const SEEDS: u64 = 300;
/// Every fault must be noticed within so many.
const NOTICED_WITHIN: u64 = 10;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_promise_holds_in_every_story() {
    let (start, first) = (Instant::now(), from_env("LANPARTY_SIM_FIRST", 0));
    let (mut simulated, mut delivered, mut failures) = (Duration::ZERO, 0, vec![]);
    let seeds = from_env("LANPARTY_SIM_SEEDS", SEEDS);
    for seed in first..first + seeds {
        match Scenario::new(seed).try_run(Sabotage::None) {
            Ok(outcome) => {
                simulated += outcome.simulated;
                delivered += outcome.delivered;
            }
            Err(failure) => failures.push(failure.to_string()),
        }
        if failures.len() >= 3 {
            break;
        }
    }
    let wall = start.elapsed().as_secs_f64();
    println!(
        "{seeds} stories from seed {first}: {:.0} s simulated in {wall:.2} s, {:.0} simulated seconds per second, {delivered} frames delivered",
        simulated.as_secs_f64(),
        simulated.as_secs_f64() / wall
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_fault_built_in_on_purpose_is_noticed_within_a_few_stories() {
    for sabotage in Sabotage::ALL {
        let noticed = (0..NOTICED_WITHIN).find_map(|seed| Scenario::new(seed).run(*sabotage).violation.map(|words| (seed, words)));
        let Some((seed, words)) = noticed else { panic!("{sabotage:?} went unnoticed in {NOTICED_WITHIN} stories") };
        println!("{sabotage:?}: seed {seed}, {words}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..5 {
        let tell = || Scenario::new(seed).run(Sabotage::None);
        let (first, second) = (tell(), tell());
        assert_eq!((first.simulated, first.delivered, first.violation), (second.simulated, second.delivered, second.violation));
    }
}

#[test]
fn a_story_that_breaks_a_promise_is_shortened() {
    let failure = (0..NOTICED_WITHIN).find_map(|seed| Scenario::new(seed).try_run(Sabotage::LeakToOtherRoom).err()).expect("it is noticed");
    assert!(failure.scenario.transitions.len() <= 3, "{failure}");
    assert!(failure.to_string().contains("seed"));
}
