//! Everything that the probe service can tell of the way to a relay: round trips, sizes both ways, fragments, NAT, a burst.
//!
//! What is learnt stays when the time is up; what is not is named.

use std::io;
use std::time::Duration;

use lanparty_doctor::{DirectionFacts, Measurement, NatFacts, RelayFacts, RttFacts, SizeFailure, SizeProbe, ThrottleFacts};
use lanparty_nic::Fragmentation;
use lanparty_proto::ProbeCookie;
use tokio::time::{Instant, timeout_at};

use super::asker::{Ask, Asker, Fate, Heard};
use super::sizes::{Outcome, Way, search};
use super::wire::Wire;

/// Round trips asked for, one every 20 ms: less than a second.
const ROUND_TRIPS: usize = 40;
const ROUND_TRIP_PACE: Duration = Duration::from_millis(20);
/// A modest rate, as a game and a voice call have it: 200 packets of 500 bytes in 0.4 s are 2 Mbit/s.
const BURST: usize = 200;
const BURST_LEN: usize = 500;
const BURST_PACE: Duration = Duration::from_millis(2);
const BURST_KBIT_S: u32 = 2_000;
/// What the burst is left of the time: itself, and a long way back.
const BURST_RESERVE: Duration = Duration::from_millis(1500);
/// Shortest time for an answer, and what is added to the longest round trip: a phone's radio sleeps that long.
const PATIENCE_MIN: Duration = Duration::from_millis(150);
const PATIENCE_EXTRA: Duration = Duration::from_millis(100);
/// IP packets up to one byte more than an ordinary wire carries.
const WIRE_MTU_TRIED: usize = 1501;
/// Leaves any ordinary interface in fragments, and arrives only when all of them do.
const FRAGMENTED_LEN: usize = 3000;
const FRAGMENTED_TRIES: usize = 4;

/// A way to one address of a relay.
pub(super) trait Path {
    type Wire: Wire;

    /// A wire to the probe service whose packets are fragmented or not.
    ///
    /// # Errors
    /// When this host has none.
    fn open(&self, fragmentation: Fragmentation) -> io::Result<Self::Wire>;

    fn is_ipv6(&self) -> bool;

    /// How one socket looks from the relay's ports. Cancel-safe.
    ///
    /// # Errors
    /// When this host has no socket for it.
    async fn nat(&self, patience: Duration) -> io::Result<NatFacts>;
}

/// The largest payload tried, in bytes.
pub(super) const fn len_max(is_ipv6: bool) -> usize {
    WIRE_MTU_TRIED - if is_ipv6 { 48 } else { 28 }
}

/// How long an answer may take where others have taken up to `longest`.
pub(super) fn patience_of(longest: Duration) -> Duration {
    PATIENCE_MIN.max(longest + PATIENCE_EXTRA)
}

/// The same after many: as long as the longest, when that is no exception.
fn patience_after(trips: &[Fate]) -> Option<Duration> {
    let mut times: Vec<_> = answered(trips).map(|heard| heard.rtt).collect();
    times.sort();
    let (longest, median) = (times.last()?, times.get(times.len() / 2)?);
    Some(patience_of(*longest).min(patience_of(*median * 2)))
}

/// Fills what it learns until `by` into `facts`. `asker` does without fragments, and has heard `first`.
pub(super) async fn measure<P: Path>(
    path: &P,
    mut asker: Asker<P::Wire>,
    first: &Heard,
    facts: &mut RelayFacts,
    by: Instant,
    tell: &dyn Fn(&str),
) {
    tell("measuring round trips");
    let patience = patience_of(first.rtt * 2);
    let trips = asker.round(&[Ask::SHORT; ROUND_TRIPS], Some(ROUND_TRIP_PACE), patience);
    let (trips, nat) = tokio::join!(in_time(by, trips), in_time(by, path.nat(patience)));
    facts.rtt = trips.as_deref().map(round_trips);
    facts.nat = nat;
    let patience = patience_after(trips.as_deref().unwrap_or_default()).unwrap_or(patience);
    tell("measuring which sizes pass, up and down, with and without fragments");
    let search = Search { path, cookie: asker.cookie(), by: by - BURST_RESERVE, patience };
    (facts.up, facts.down) = tokio::join!(search.direction(Way::Up), search.direction(Way::Down));
    tell("measuring what a modest rate loses");
    let shortest = facts.rtt.as_ref().and_then(|rtt| rtt.min_ms);
    facts.throttle = in_time(by, burst(&mut asker, patience, shortest)).await;
    facts.unmeasured = unmeasured(facts);
}

/// What a future came to; nothing when it failed or is not done by then.
async fn in_time<T>(by: Instant, future: impl Future<Output = io::Result<T>>) -> Option<T> {
    timeout_at(by, future).await.ok()?.ok()
}

fn unmeasured(facts: &RelayFacts) -> Vec<Measurement> {
    let has_sizes = |d: &Option<DirectionFacts>| d.as_ref().is_some_and(|d| d.with_df.is_some());
    let all = [
        (Measurement::RoundTrips, facts.rtt.is_some()),
        (Measurement::Nat, facts.nat.is_some()),
        (Measurement::SizesUp, has_sizes(&facts.up)),
        (Measurement::SizesDown, has_sizes(&facts.down)),
        (Measurement::ModestRate, facts.throttle.is_some()),
    ];
    all.into_iter().filter(|(_, is_known)| !is_known).map(|(what, _)| what).collect()
}

/// What the four searches for sizes share.
struct Search<'a, P> {
    path: &'a P,
    /// Longer answers need it.
    cookie: ProbeCookie,
    by: Instant,
    patience: Duration,
}

/// What packets that may be fragmented came to.
struct Unfragmented {
    probe: Option<SizeProbe>,
    /// Whether one that left in fragments arrived.
    arrived: Option<bool>,
    /// IP MTU of the route, as the sending system knew it.
    sender_mtu: Option<u32>,
}

impl<P: Path> Search<'_, P> {
    /// Nothing when neither search came to an end.
    async fn direction(&self, way: Way) -> Option<DirectionFacts> {
        let (with_df, rest) = tokio::join!(in_time(self.by, self.with_df(way)), in_time(self.by, self.without_df(way)));
        if with_df.is_none() && rest.is_none() {
            return None;
        }
        let with_df = with_df.flatten();
        let rest = rest.unwrap_or(Unfragmented { probe: None, arrived: None, sender_mtu: None });
        Some(DirectionFacts {
            icmp_too_big_heard: heard(with_df.as_ref()),
            fragments_pass: fragments_pass(rest.arrived, with_df.as_ref(), rest.probe.as_ref()),
            with_df,
            without_df: rest.probe,
            sender_mtu: rest.sender_mtu,
        })
    }

    async fn with_df(&self, way: Way) -> io::Result<Option<SizeProbe>> {
        let mut asker = Asker::new(self.path.open(Fragmentation::Forbidden)?, false, self.cookie);
        search(&mut asker, way, len_max(self.path.is_ipv6()), self.patience).await
    }

    async fn without_df(&self, way: Way) -> io::Result<Unfragmented> {
        let mut asker = Asker::new(self.path.open(Fragmentation::Allowed)?, true, self.cookie);
        let arrived = fragmented_arrives(&mut asker, way, self.patience).await?;
        let probe = if arrived == Some(true) {
            Some(SizeProbe { passed: u16::try_from(FRAGMENTED_LEN).ok(), failed: None, how: None })
        } else {
            search(&mut asker, way, len_max(self.path.is_ipv6()), self.patience).await?
        };
        let sender_mtu = match way {
            Way::Up => asker.wire().route_mtu(),
            Way::Down => asker.route_back_mtu.map(u32::from),
        };
        Ok(Unfragmented { probe, arrived, sender_mtu })
    }
}

/// Unknown when nothing was too big for the way, or only for an interface at its ends.
fn heard(probe: Option<&SizeProbe>) -> Option<bool> {
    match probe?.how? {
        SizeFailure::Silent => Some(false),
        SizeFailure::IcmpTooBig { .. } => Some(true),
        SizeFailure::Local => None,
    }
}

/// Whether a packet that leaves in fragments arrives. Unknown when nothing else does either.
async fn fragmented_arrives<W: Wire>(asker: &mut Asker<W>, way: Way, patience: Duration) -> io::Result<Option<bool>> {
    let asks = [[way.ask(FRAGMENTED_LEN); FRAGMENTED_TRIES], [Ask::SHORT; FRAGMENTED_TRIES]].concat();
    let fates = asker.round(&asks, None, patience).await?;
    let (long, control) = fates.split_at(FRAGMENTED_TRIES);
    if long.iter().any(|fate| way.shows(FRAGMENTED_LEN, fate) == Some(Outcome::Passed)) {
        return Ok(Some(true));
    }
    let is_believed = long.iter().all(|fate| way.shows(FRAGMENTED_LEN, fate).is_some());
    Ok((is_believed && answered(control).next().is_some()).then_some(false))
}

/// Fragments are as large as the sender's interface allows. Where packets of that size vanish anyway, their loss says nothing
/// about fragments; unless a router was there that says "too big", and so would have cut them up.
fn fragments_pass(arrived: Option<bool>, with_df: Option<&SizeProbe>, without_df: Option<&SizeProbe>) -> Option<bool> {
    let (with_df, without_df) = (with_df?, without_df?);
    if without_df.passed > with_df.passed {
        return Some(true);
    }
    arrived.filter(|_| with_df.how != Some(SizeFailure::Silent))
}

fn answered(fates: &[Fate]) -> impl Iterator<Item = &Heard> {
    fates.iter().filter_map(|fate| if let Fate::Answered(heard) = fate { Some(heard) } else { None })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn lost(fates: &[Fate]) -> u32 {
    count(fates.len() - answered(fates).count())
}

/// Round trips in milliseconds, the shortest first.
fn times(fates: &[Fate]) -> Vec<f64> {
    let mut times: Vec<_> = answered(fates).map(|heard| heard.rtt.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn median(times: &[f64]) -> Option<f64> {
    times.get(times.len() / 2).copied()
}

fn round_trips(fates: &[Fate]) -> RttFacts {
    let times = times(fates);
    RttFacts {
        sent: count(fates.len()),
        lost: lost(fates),
        min_ms: times.first().copied(),
        median_ms: median(&times),
        max_ms: times.last().copied(),
    }
}

/// `shortest` round trip of a single packet, in milliseconds: what the burst's take longer they have waited in a queue.
async fn burst<W: Wire>(asker: &mut Asker<W>, patience: Duration, shortest: Option<f64>) -> io::Result<ThrottleFacts> {
    let asks = [Ask { len: BURST_LEN, answer_len: BURST_LEN }; BURST];
    let fates = asker.round(&asks, Some(BURST_PACE), patience).await?;
    let waited = median(&times(&fates)).zip(shortest).map(|(median, shortest)| (median - shortest).max(0.0));
    Ok(ThrottleFacts {
        rate_kbit_s: BURST_KBIT_S,
        sent: count(BURST),
        lost: lost(&fates),
        carried_kbit_s: carried_kbit_s(&fates),
        queued_ms: waited,
    })
}

/// The rate at which answers came in, from the first to the last.
fn carried_kbit_s(fates: &[Fate]) -> Option<u32> {
    let (first, last) = (answered(fates).map(|h| h.at).min()?, answered(fates).map(|h| h.at).max()?);
    let bits = (answered(fates).count() - 1) * BURST_LEN * 8;
    let took_ms = u32::try_from((last - first).as_millis()).ok().filter(|ms| *ms > 0)?;
    Some(count(bits) / took_ms)
}

#[cfg(test)]
mod tests;
