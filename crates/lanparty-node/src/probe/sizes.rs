//! The largest size that passes, in one direction, with or without DF.
//!
//! Rounds of several sizes at once narrow an interval; a size has failed when it went unanswered every time it was asked,
//! while a shorter one was answered.

use std::io;
use std::time::Duration;

use lanparty_doctor::{SizeFailure, SizeProbe};
use lanparty_proto::PROBE_LEN_MIN;

use super::asker::{Ask, Asker, Fate};

/// Sizes asked for at once.
const PER_ROUND: usize = 8;
/// A size is asked for this often before it has failed: one packet is lost by chance, four of the same size are not.
const TRIES: usize = 4;
/// How often an edge that turned out to be chance is searched again.
const SEARCHES_MAX: usize = 3;
/// Between the questions that confirm an edge: slow enough for whoever limits rates.
const CONFIRM_PACE: Duration = Duration::from_millis(20);

/// A direction of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Toward the relay.
    Up,
    /// From the relay.
    Down,
}

impl Way {
    /// The question in which only this direction carries `len` bytes.
    pub(super) const fn ask(self, len: usize) -> Ask {
        match self {
            Self::Up => Ask { len, answer_len: PROBE_LEN_MIN },
            Self::Down => Ask { len: PROBE_LEN_MIN, answer_len: len },
        }
    }

    /// Whether an answer to it shows that `len` bytes passed: an answer may be shorter than was asked for.
    const fn shows(self, answer: &lanparty_proto::ProbeAnswer) -> bool {
        match self {
            Self::Up => true,
            Self::Down => !answer.too_long_here,
        }
    }
}

/// What one size came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    Local,
    Silent,
}

/// Searches up to `max` bytes of UDP payload. Nothing when not even the shortest passes.
pub(super) async fn search(asker: &mut Asker, way: Way, max: usize, patience: Duration) -> io::Result<Option<SizeProbe>> {
    let mut edge = Edge { passed: PROBE_LEN_MIN - 1, failed: max + 1, how: None };
    for _ in 0..SEARCHES_MAX {
        edge.narrow(asker, way, patience).await?;
        if edge.how != Some(Outcome::Silent) || !is_chance(asker, way, &edge, patience).await? {
            break;
        }
        // The size that had failed passes: what failed above it is open again.
        edge = Edge { passed: edge.failed, failed: max + 1, how: None };
    }
    if edge.passed < PROBE_LEN_MIN {
        return Ok(None);
    }
    let how = match edge.how {
        Some(Outcome::Local) => Some(SizeFailure::Local),
        Some(_) => Some(too_big(asker, way, edge.failed, patience).await?.unwrap_or(SizeFailure::Silent)),
        None => None,
    };
    let size = |bytes: usize| u16::try_from(bytes).ok();
    Ok(Some(SizeProbe { passed: size(edge.passed), failed: how.and_then(|_| size(edge.failed)), how }))
}

/// The interval in which the answer lies.
struct Edge {
    passed: usize,
    failed: usize,
    /// What became of `failed`; nothing while it was not asked for.
    how: Option<Outcome>,
}

impl Edge {
    async fn narrow(&mut self, asker: &mut Asker, way: Way, patience: Duration) -> io::Result<()> {
        while self.failed - self.passed > 1 {
            let sizes = candidates(self.passed, self.failed);
            let outcomes = try_sizes(asker, way, &sizes, patience).await?;
            let tried = || sizes.iter().zip(&outcomes);
            let best = tried().filter(|(_, o)| **o == Outcome::Passed).map(|(size, _)| *size).max();
            self.passed = best.unwrap_or(self.passed);
            if let Some((size, outcome)) = tried().find(|(size, o)| **size > self.passed && **o != Outcome::Passed) {
                (self.failed, self.how) = (*size, Some(*outcome));
            }
        }
        Ok(())
    }
}

/// Asks for what failed once more, alone and slowly: losses that have nothing to do with size end a search too early.
async fn is_chance(asker: &mut Asker, way: Way, edge: &Edge, patience: Duration) -> io::Result<bool> {
    let asks = [way.ask(edge.failed); TRIES];
    let fates = asker.round(&asks, Some(CONFIRM_PACE), patience).await?;
    Ok(fates.iter().any(|fate| matches!(fate, Fate::Answered(answer, _) if way.shows(answer))))
}

/// Evenly between what passed and what failed, both left out; the largest first tried is just below what failed.
fn candidates(passed: usize, failed: usize) -> Vec<usize> {
    let open = failed - passed - 1;
    let count = open.min(PER_ROUND);
    (1..=count).map(|i| passed + open * i / count).collect()
}

async fn try_sizes(asker: &mut Asker, way: Way, sizes: &[usize], patience: Duration) -> io::Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Silent; sizes.len()];
    for _ in 0..TRIES {
        // What is below a size that passed needs no second question.
        let best = outcomes.iter().rposition(|o| *o == Outcome::Passed);
        let is_open = |i: &usize| outcomes[*i] == Outcome::Silent && best.is_none_or(|best| *i > best);
        let open: Vec<_> = (0..sizes.len()).filter(is_open).collect();
        if open.is_empty() {
            break;
        }
        let asks: Vec<_> = open.iter().map(|i| way.ask(sizes[*i])).collect();
        for (i, fate) in open.iter().zip(asker.round(&asks, None, patience).await?) {
            outcomes[*i] = match fate {
                Fate::Answered(answer, _) if way.shows(&answer) => Outcome::Passed,
                Fate::Answered(..) | Fate::Refused => Outcome::Local,
                Fate::Lost => Outcome::Silent,
            };
        }
    }
    Ok(outcomes)
}

/// Whether ICMP said why: to this host's socket, or to the relay's system, which then knows a smaller route back.
async fn too_big(asker: &mut Asker, way: Way, failed: usize, patience: Duration) -> io::Result<Option<SizeFailure>> {
    match way {
        Way::Up => Ok(asker.heard_too_big.then(|| SizeFailure::IcmpTooBig { mtu: asker.route_mtu().unwrap_or(0) })),
        Way::Down => {
            let known = asker.knock(TRIES as u32, patience).await?.and_then(|(answer, _)| answer.route_mtu);
            let told = known.filter(|mtu| usize::from(*mtu) < failed + asker.headers());
            Ok(told.map(|mtu| SizeFailure::IcmpTooBig { mtu: mtu.into() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_asks_for_the_largest_and_ends_when_nothing_is_between() {
        assert_eq!((candidates(63, 1474).last(), candidates(63, 1474).len()), (Some(&1473), PER_ROUND));
        assert_eq!(candidates(1400, 1404), [1401, 1402, 1403]);
        assert_eq!(candidates(1400, 1401), [0; 0]);
    }
}
