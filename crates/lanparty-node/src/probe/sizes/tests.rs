use lanparty_nic::Fragmentation;

use super::*;
use crate::probe::measure::Path;
use crate::probe::model::{Character, Model};

const PATIENCE: Duration = Duration::from_millis(300);

fn asker(character: Character) -> Asker<impl Wire> {
    Asker::new(Model::new(character).open(Fragmentation::Forbidden).unwrap(), false, [2; 16])
}

fn edge(passed: u16) -> SizeProbe {
    SizeProbe { passed: Some(passed), failed: Some(passed + 1), how: Some(SizeFailure::Silent) }
}

#[test]
fn a_round_asks_for_the_largest_and_ends_when_nothing_is_between() {
    assert_eq!((candidates(63, 1474).last(), candidates(63, 1474).len()), (Some(&1473), PER_ROUND));
    assert_eq!(candidates(1400, 1404), [1401, 1402, 1403]);
    assert_eq!(candidates(1400, 1401), [0; 0]);
}

#[test]
fn three_rounds_find_any_byte() {
    for edge in 64..1473 {
        let (mut passed, mut failed, mut rounds) = (63, 1474, 0);
        while failed - passed > 1 {
            let sizes = candidates(passed, failed);
            passed = sizes.iter().copied().filter(|size| *size <= edge).max().unwrap_or(passed);
            failed = sizes.into_iter().find(|size| *size > edge).unwrap_or(failed);
            rounds += 1;
        }
        assert!(passed == edge && rounds <= 3, "{edge}: {passed} after {rounds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_that_chance_ends_goes_on_as_long_as_it_takes() {
    // At a half, chance ends more than three searches; what is left is never called the largest that was tried.
    for loss_percent in [5, 10, 20, 30, 40, 50] {
        let character = Character { rtt: Duration::from_millis(20), hole_up: 1372, loss_percent, ..Character::default() };
        assert_eq!(search(&mut asker(character), Way::Up, 1473, PATIENCE).await.unwrap(), Some(edge(1372)), "{loss_percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_answer_is_no_sign_that_the_long_one_passed() {
    // The relay gave this host another cookie meanwhile.
    let character = Character { rtt: Duration::from_millis(20), hole_down: 1372, disbelieved: 30, ..Character::default() };
    assert_eq!(search(&mut asker(character), Way::Down, 1473, PATIENCE).await.unwrap(), Some(edge(1372)));
    let never = Character { disbelieved: u32::MAX, ..character };
    let mut asker = Asker::new(AlwaysShort(Model::new(never).open(Fragmentation::Forbidden).unwrap()), false, [0; 16]);
    search(&mut asker, Way::Down, 1473, PATIENCE).await.unwrap_err();
}

/// A relay that never believes.
struct AlwaysShort<W>(W);

impl<W: Wire> Wire for AlwaysShort<W> {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let question = lanparty_proto::ProbeQuestion::decode(bytes).unwrap();
        self.0.send(&lanparty_proto::ProbeQuestion { cookie: [0; 16], ..question }.encode(bytes.len()))
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }

    fn route_mtu(&self) -> Option<u32> {
        self.0.route_mtu()
    }

    fn is_ipv6(&self) -> bool {
        self.0.is_ipv6()
    }
}
