use super::*;
use crate::probe::model::{Character, Model};

/// What an examination leaves after a long handshake and QUIC's own search.
const TIME: Duration = Duration::from_millis(10_500);

/// What is found in `time`, and how long it took, in virtual time.
async fn within(time: Duration, character: Character) -> (RelayFacts, Duration) {
    let started = Instant::now();
    let path = Model::new(character);
    let mut asker = Asker::new(path.open(Fragmentation::Forbidden).unwrap(), false, [0; 16]);
    let first = asker.knock(6, Duration::from_millis(500)).await.unwrap().unwrap();
    let mut facts = RelayFacts::default();
    measure(&path, asker, &first, &mut facts, started + time, &|_| {}).await;
    (facts, started.elapsed())
}

fn rtt(ms: u64) -> Character {
    Character { rtt: Duration::from_millis(ms), ..Character::default() }
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_is_found_at_every_distance() {
    for ms in [1, 20, 63, 102, 182, 250, 400, 600] {
        let (facts, took) = within(TIME, Character { hole_up: 1372, hole_down: 1252, ..rtt(ms) }).await;
        assert_eq!(facts.unmeasured, [], "{ms}");
        for (direction, passed) in [(&facts.up, 1372), (&facts.down, 1252)] {
            let silent = SizeProbe { passed: Some(passed), failed: Some(passed + 1), how: Some(SizeFailure::Silent) };
            let direction = direction.as_ref().unwrap();
            assert_eq!((direction.with_df.as_ref(), direction.without_df.as_ref()), (Some(&silent), Some(&silent)), "{ms}");
        }
        assert_eq!(facts.throttle.unwrap().lost, 0, "{ms}");
        assert!(took < TIME, "{ms}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_time_is_too_short_for_is_named_and_the_rest_stays() {
    let hole = Character { hole_up: 1372, ..rtt(182) };
    let (facts, took) = within(Duration::from_millis(4_000), hole).await;
    assert_eq!(facts.unmeasured, [Measurement::SizesUp]);
    assert!(facts.up.is_none() && facts.down.unwrap().with_df.is_some(), "what was found stays");
    assert_eq!(facts.rtt.unwrap().lost, 0);
    assert!(took <= Duration::from_millis(4_000), "{took:?}");
    let (facts, took) = within(Duration::from_millis(800), hole).await;
    let all = [Measurement::RoundTrips, Measurement::SizesUp, Measurement::SizesDown, Measurement::ModestRate];
    assert_eq!(facts.unmeasured, all);
    assert!(took <= Duration::from_millis(800), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn late_is_not_lost() {
    // 500 kbit/s drop nothing, and take 1.6 s for what a burst sends in 0.4 s.
    let (facts, _) = within(TIME, Character { bytes_per_s: 62_500, ..rtt(20) }).await;
    assert_eq!(facts.unmeasured, []);
    let burst = facts.throttle.unwrap();
    assert_eq!((burst.lost, burst.carried_kbit_s), (0, Some(500)));
    assert!(burst.queued_ms.unwrap() > 400.0, "{burst:?}");
    assert_eq!(facts.up.unwrap().with_df.unwrap().passed, Some(1473), "nor is a size");
    let (facts, _) = within(TIME, rtt(20)).await;
    let burst = facts.throttle.unwrap();
    assert!(burst.carried_kbit_s.unwrap() > 1_900 && burst.queued_ms.unwrap() < 1.0, "{burst:?}");
}

#[tokio::test(start_paused = true)]
async fn routers_that_fragment_are_told_from_those_that_do_not() {
    let hole = Character { hole_up: 1372, hole_down: 1372, ..rtt(20) };
    let (facts, _) = within(TIME, Character { routers_fragment: true, ..hole }).await;
    let up = facts.up.unwrap();
    assert_eq!((up.without_df.unwrap().passed, up.fragments_pass, up.sender_mtu), (Some(3000), Some(true), Some(1500)));
    assert_eq!(facts.down.unwrap().sender_mtu, Some(1500));
    let (facts, _) = within(TIME, hole).await;
    assert_eq!(facts.up.unwrap().fragments_pass, None, "nothing of that size passes, in fragments or not");
}
