//! The largest size that passes, in one direction, with or without DF.
//!
//! Rounds of several sizes at once narrow an interval; a size has failed when it went unanswered every time it was asked,
//! while a shorter one was answered. What failed in silence costs the patience of one round, so rounds are few: three
//! find the byte. A search has no end of its own on a way that loses at random: whoever starts it limits its time.

use std::io;
use std::time::Duration;

use lanparty_doctor::{SizeFailure, SizeProbe};
use lanparty_proto::PROBE_LEN_MIN;

use super::asker::{Ask, Asker, Fate, Heard};
use super::wire::Wire;

/// Sizes asked for at once: twelve intervals, and 12³ is more than all sizes of an ordinary wire.
const PER_ROUND: usize = 11;
/// A size is asked for this often in a round, and with [`CONFIRMATIONS`] eight times before it has failed: one packet is lost
/// by chance, eight of the same size are not.
const TRIES: usize = 2;
/// Questions that confirm an edge.
const CONFIRMATIONS: usize = 6;
/// Between those: slow enough for whoever limits rates.
const CONFIRM_PACE: Duration = Duration::from_millis(20);
/// Questions after the route back.
const ROUTE_KNOCKS: usize = 4;
/// How often a relay may refuse what it had given itself to prove this host's address, before that is no chance.
const REFUSALS_MAX: usize = 4;

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

    /// What the fate of a question for `len` bytes shows; nothing when the answer is short because the relay did not believe
    /// this host's address.
    pub(super) const fn shows(self, len: usize, fate: &Fate) -> Option<Outcome> {
        match (self, fate) {
            (Self::Up, Fate::Answered(_)) => Some(Outcome::Passed),
            (Self::Down, Fate::Answered(Heard { answer, .. })) if answer.too_long_here => Some(Outcome::Local),
            (Self::Down, Fate::Answered(heard)) if heard.len == len => Some(Outcome::Passed),
            (Self::Down, Fate::Answered(_)) => None,
            (_, Fate::Refused) => Some(Outcome::Local),
            (_, Fate::Lost) => Some(Outcome::Silent),
        }
    }
}

/// What one size came to. Of several of one size the best counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    Silent,
    Local,
    Passed,
}

/// Searches up to `max` bytes of UDP payload. Nothing when not even the shortest passes.
///
/// # Errors
/// When the relay keeps answering as if this host were at another address.
pub(super) async fn search<W: Wire>(asker: &mut Asker<W>, way: Way, max: usize, patience: Duration) -> io::Result<Option<SizeProbe>> {
    let mut edge = Edge { passed: PROBE_LEN_MIN - 1, failed: max + 1, how: None };
    loop {
        edge.narrow(asker, way, patience).await?;
        if edge.how != Some(Outcome::Silent) || !is_chance(asker, way, edge.failed, patience).await? {
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
    async fn narrow<W: Wire>(&mut self, asker: &mut Asker<W>, way: Way, patience: Duration) -> io::Result<()> {
        while self.failed - self.passed > 1 {
            let sizes = candidates(self.passed, self.failed);
            let outcomes = try_sizes(asker, way, &sizes, TRIES, None, patience).await?;
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

/// Evenly between what passed and what failed, both left out; the largest first tried is just below what failed.
fn candidates(passed: usize, failed: usize) -> Vec<usize> {
    let open = failed - passed - 1;
    let count = open.min(PER_ROUND);
    (1..=count).map(|i| passed + open * i / count).collect()
}

/// Asks for what failed again, alone and slowly: losses that have nothing to do with size end a search too early.
async fn is_chance<W: Wire>(asker: &mut Asker<W>, way: Way, failed: usize, patience: Duration) -> io::Result<bool> {
    let outcomes = try_sizes(asker, way, &[failed], CONFIRMATIONS, Some(CONFIRM_PACE), patience).await?;
    Ok(outcomes == [Outcome::Passed])
}

/// Asks for each size so many times, all in one round: what vanishes is waited for once.
async fn try_sizes<W: Wire>(
    asker: &mut Asker<W>,
    way: Way,
    sizes: &[usize],
    times: usize,
    pace: Option<Duration>,
    patience: Duration,
) -> io::Result<Vec<Outcome>> {
    let asks: Vec<_> = sizes.iter().map(|size| way.ask(*size)).collect();
    for _ in 0..REFUSALS_MAX {
        let fates = asker.round(&asks.repeat(times), pace, patience).await?;
        let shown: Option<Vec<_>> = fates.iter().zip(sizes.iter().cycle()).map(|(fate, size)| way.shows(*size, fate)).collect();
        // A cookie that was too old or for another address came back with a new one: the same again with that.
        let Some(shown) = shown else { continue };
        let best = |i: usize| shown.iter().skip(i).step_by(sizes.len()).max().copied();
        return Ok((0..sizes.len()).map(|i| best(i).unwrap_or(Outcome::Silent)).collect());
    }
    Err(io::Error::other("the relay believes no address of this host"))
}

/// Whether ICMP said why: to this host's socket, or to the relay's system, which then knows a smaller route back.
async fn too_big<W: Wire>(asker: &mut Asker<W>, way: Way, failed: usize, patience: Duration) -> io::Result<Option<SizeFailure>> {
    match way {
        Way::Up => Ok(asker.heard_too_big.then(|| SizeFailure::IcmpTooBig { mtu: asker.wire().route_mtu().unwrap_or(0) })),
        Way::Down => {
            let known = asker.knock(ROUTE_KNOCKS, patience).await?.and_then(|heard| heard.answer.route_mtu);
            let told = known.filter(|mtu| usize::from(*mtu) < failed + asker.headers());
            Ok(told.map(|mtu| SizeFailure::IcmpTooBig { mtu: mtu.into() }))
        }
    }
}

#[cfg(test)]
mod tests;
