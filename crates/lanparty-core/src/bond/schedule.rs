//! Outbound, second step: the paths for one datagram.
//!
//! What is urgent goes by the two best at once. Bulk goes where it is delivered first, among paths that have room for it; a path that
//! would only slow the others down is left out. With a single usable path that is the choice.

use std::time::Duration;

use lanparty_proto::{BondPath, BondRole};

use super::PathRecord;
use crate::{Flight, Pair};

/// What may wait in front of a path: as much as it carries in this time …
const QUEUE_TIME: Duration = Duration::from_millis(2);
/// … but some full datagrams always, and no more than the carrier takes without dropping any.
const QUEUE_MIN: u64 = 2 * 1500;
const QUEUE_MAX: u64 = 96 * 1024;
/// What is urgent may stand in front of a full path's queue: as long as it holds less than this, in bytes.
const URGENT_QUEUE_MAX: usize = 24 * 1024;
/// A datagram that is lost costs its flow more than one that is late: a loss of 1 % counts as 10 ms.
const LOSS_COST: Duration = Duration::from_secs(1);
/// But it waits for a path that loses less only for this, likewise.
const LOSS_WAIT: Duration = Duration::from_millis(100);
/// And for the copy, when another path is better: beyond it a path gets nothing more, also when everything is urgent.
const COPY_QUEUE_MAX: usize = 96 * 1024;
/// A slower path is used so much of the difference earlier than it is as good: a flow grows into it sooner, and what overtakes is held a
/// moment at the far end.
const IMPATIENCE: f64 = 0.25;
/// Most that a path is committed to, in bytes.
const COMMITTED_MAX: usize = 1024 * 1024;

/// A path as the choice sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PathView {
    /// Its number.
    pub id: u8,
    /// What its owner uses it for.
    pub role: BondRole,
    /// Whether it carries anything.
    pub is_alive: bool,
    /// The largest datagram that it takes, in bytes.
    pub budget: usize,
    /// Bytes that it takes without more than a short queue.
    pub room: usize,
    /// Bytes that wait at it and that nothing passes.
    pub queued: usize,
    /// Bytes of bulk that wait for it, and that what is urgent passes.
    pub committed: usize,
    /// Its rate, in bytes per second.
    pub rate: u64,
    /// Its shortest round-trip time.
    pub rtt: Duration,
    /// What it carries, in bytes per second, once it was asked for all of that.
    pub capacity: Option<u64>,
    /// The share of packets that it loses.
    pub loss: f64,
    /// The line at either end, where several paths share lines (a direct link of two members with several lines each).
    pub pair: Option<Pair>,
}

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// By the path at this place in the list, and a copy by another.
    By(usize, Option<usize>),
    /// By none now: it waits for room.
    Wait,
    /// No living path takes anything so large.
    TooLarge,
    /// No path is alive.
    Nothing,
}

impl PathView {
    /// A path that its owner uses so, that does what `flight` says, has `committed` bytes waiting for it and has shown what `record` says;
    /// `budget` is its largest datagram.
    #[must_use]
    pub fn of(path: BondPath, is_alive: bool, budget: usize, flight: &Flight, committed: usize, record: &PathRecord) -> Self {
        let rate = flight.rate();
        // What the window lets out at once, and a short queue.
        let open = flight.window.saturating_sub(flight.in_flight);
        let queue = u64::try_from(u128::from(rate) * QUEUE_TIME.as_micros() / 1_000_000).unwrap_or(u64::MAX);
        let limit = (open + queue.clamp(QUEUE_MIN, QUEUE_MAX)).min(QUEUE_MAX);
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(flight.queued + committed);
        // What is in flight beyond what the path itself holds waits at its bottleneck.
        let queued = flight.queued + usize::try_from(flight.standing(rate)).unwrap_or(0);
        let (rtt, capacity, loss) = (flight.least_rtt(), record.capacity(), record.loss());
        Self { id: path.path, role: path.role, is_alive, budget, room, queued, committed, rate, rtt, capacity, loss, pair: None }
    }

    /// Lines that it shares with another path: these die for both at once.
    fn shared_lines(&self, other: &Self) -> u8 {
        let (Some(pair), Some(other)) = (self.pair, other.pair) else { return 0 };
        u8::from(pair.own == other.own) + u8::from(pair.theirs == other.theirs)
    }

    /// When a datagram of `len` bytes is there, if it is handed over now and passes what is committed. A path that has not shown what it
    /// carries and lets a datagram out at once is taken for a fast one: so that is found out.
    fn delivery(&self, len: usize) -> Duration {
        let is_unknown = self.capacity.is_none() && self.room >= len;
        let micros = if is_unknown { 0 } else { (self.queued + len) as u64 * 1_000_000 / self.rate.max(1) };
        self.rtt / 2 + Duration::from_micros(micros)
    }

    /// Whether a datagram of this class passes others that wait for the path.
    #[must_use]
    pub const fn is_passed_by(&self, class: super::Class) -> bool {
        self.committed > 0 && !matches!(class, super::Class::Bulk)
    }

    /// Counts a datagram of `len` bytes that was handed over.
    pub const fn take(&mut self, len: usize, class: super::Class) {
        if matches!(class, super::Class::Bulk) && self.room < len {
            self.committed += len;
        } else {
            self.queued += len;
        }
        self.room = self.room.saturating_sub(len);
    }
}

/// The paths for a datagram of `len` bytes.
#[must_use]
pub fn choose(paths: &[PathView], len: usize, class: super::Class) -> Choice {
    let lives = || paths.iter().filter(|path| path.is_alive);
    if lives().next().is_none() {
        return Choice::Nothing;
    }
    let is_backup_needed = lives().all(|path| path.role == BondRole::Backup);
    let fits = |path: &PathView| path.is_alive && path.budget >= len;
    let is_usable = |path: &PathView| fits(path) && (is_backup_needed || path.role != BondRole::Backup);
    // A datagram that only a backup takes goes by the backup.
    let needs_backup = !paths.iter().any(is_usable);
    let candidates = paths.iter().enumerate().filter(|(_, path)| if needs_backup { fits(path) } else { is_usable(path) });
    if candidates.clone().next().is_none() {
        return Choice::TooLarge;
    }
    match class {
        super::Class::Urgent => urgent(candidates, len),
        super::Class::Light => light(candidates, len),
        super::Class::Bulk => bulk(candidates, len),
    }
}

/// The two that deliver first, of those that no line kills together. One that is busy is asked for more than it takes of bulk. Where one
/// path is too busy for that, it still gets the copy: that the other one is silent is noticed only after a while.
fn urgent<'p>(candidates: impl Iterator<Item = (usize, &'p PathView)> + Clone, len: usize) -> Choice {
    let takes = candidates.filter(|(_, path)| path.room >= len || path.queued < COPY_QUEUE_MAX);
    let is_busy = |path: &PathView| path.room < len && path.queued >= URGENT_QUEUE_MAX;
    let order = |path: &PathView| (is_busy(path), path.delivery(len));
    let Some((first, best)) = takes.clone().min_by_key(|(_, path)| order(path)) else { return Choice::Wait };
    if is_busy(best) {
        return Choice::Wait;
    }
    let others = takes.clone().filter(|(_, path)| !is_busy(path));
    let pairs = others.flat_map(|one| takes.clone().filter(move |(at, _)| *at != one.0).map(move |other| (one, other)));
    let two = pairs.min_by_key(|((_, one), (_, other))| (one.shared_lines(other), order(one), order(other)));
    two.map_or(Choice::By(first, None), |((at, _), (copy, _))| Choice::By(at, Some(copy)))
}

/// Where it is delivered first, past what is committed.
fn light<'p>(candidates: impl Iterator<Item = (usize, &'p PathView)> + Clone, len: usize) -> Choice {
    let takes = candidates.filter(|(_, path)| path.room >= len || path.committed > 0 && path.queued < URGENT_QUEUE_MAX);
    let best = takes.min_by_key(|(_, path)| (path.role, path.delivery(len)));
    best.map_or(Choice::Wait, |(at, _)| Choice::By(at, None))
}

/// Where it is delivered first; secondary paths take what the primary ones have no room for. While a slower path has room, a faster one
/// is committed to as much as it still delivers earlier: so what goes by different paths arrives in its order, and a flow that needs no more
/// than the faster path is spared the delay of the others.
fn bulk<'p>(candidates: impl Iterator<Item = (usize, &'p PathView)> + Clone, len: usize) -> Choice {
    let delivery = |path: &PathView| path.delivery(len + path.committed);
    let cost = |path: &PathView| delivery(path) + LOSS_COST.mul_f64(path.loss);
    let with_room = candidates.clone().filter(|(_, path)| path.room >= len);
    let Some((at, best)) = with_room.min_by_key(|(_, path)| (path.role, cost(path))) else { return Choice::Wait };
    let shortest = candidates.clone().map(|(_, path)| path.rtt).min().unwrap_or_default();
    let impatience = (best.rtt.saturating_sub(shortest) / 2).mul_f64(IMPATIENCE);
    let limit = (delivery(best) + LOSS_WAIT.mul_f64(best.loss)).saturating_sub(impatience);
    let may_commit = |path: &PathView| path.room < len && path.role <= best.role && path.committed < COMMITTED_MAX;
    let rivals = candidates.filter(|(_, path)| may_commit(path)).map(|(at, path)| (delivery(path), at));
    let sooner = rivals.filter(|(delivery, _)| *delivery < limit).min();
    Choice::By(sooner.map_or(at, |(_, at)| at), None)
}

#[cfg(test)]
mod tests {
    use super::super::Class;
    use super::*;

    fn path(id: u8, mbit: u64, rtt_ms: u64) -> PathView {
        PathView {
            id,
            role: BondRole::Primary,
            is_alive: true,
            budget: 1434,
            room: 10_000,
            queued: 0,
            committed: 0,
            rate: mbit * 125_000,
            rtt: Duration::from_millis(rtt_ms),
            capacity: Some(mbit * 125_000),
            loss: 0.0,
            pair: None,
        }
    }

    #[test]
    fn what_is_urgent_goes_by_two_paths_that_no_line_kills_together() {
        let by = |id, own, theirs, rtt| PathView { pair: Pair::new(own, theirs), ..path(id, 20, rtt) };
        // Three paths of two lines at either end: the two best share one.
        let paths = [by(0, 0, 0, 20), by(1, 0, 1, 10), by(2, 1, 1, 60)];
        assert_eq!(choose(&paths, 142, Class::Urgent), Choice::By(0, Some(2)));
        let [first, second, _] = paths;
        assert_eq!(choose(&[first, second], 142, Class::Urgent), Choice::By(1, Some(0)), "two that share one are better than one");
        assert_eq!(choose(&[second], 142, Class::Urgent), Choice::By(0, None));
    }

    #[test]
    fn bulk_goes_where_it_is_delivered_first_as_long_as_any_path_has_room() {
        let mut paths = [path(0, 20, 40), path(1, 30, 20)];
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        (paths[1].room, paths[1].committed) = (0, 5_000);
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None), "it waits there, and is earlier all the same");
        paths[1].committed = 50_000;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(0, None));
        paths[0].room = 0;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::Wait, "the fair queue knows best what goes next");
    }

    /// Two paths of 30 and 20 Mbit/s, 50 ms apart, are given as much as they take for a second.
    #[test]
    fn what_goes_by_different_paths_arrives_nearly_in_its_order() {
        const LEN: usize = 1400;
        let queue = 0.002;
        let (mut busy_until, mut arrivals, mut counts) = ([0.0_f64; 2], vec![], [0; 2]);
        for tick in 0..10_000 {
            let now = f64::from(tick) * 1e-4;
            loop {
                let mut paths = [path(0, 20, 120), path(1, 30, 20)];
                for (path, until) in paths.iter_mut().zip(busy_until) {
                    let bytes = |seconds: f64| (seconds.max(0.0) * path.rate as f64) as usize;
                    let wait = until - now;
                    (path.queued, path.committed) = (bytes(wait.min(queue)), bytes(wait - queue));
                    path.room = bytes(queue - wait);
                }
                let Choice::By(at, None) = choose(&paths, LEN, Class::Bulk) else { break };
                let sent = busy_until[at].max(now) + LEN as f64 / paths[at].rate as f64;
                busy_until[at] = sent;
                arrivals.push(sent + paths[at].rtt.as_secs_f64() / 2.0);
                counts[at] += 1;
            }
        }
        let mut next = f64::MAX;
        let overtaken_by = arrivals.iter().rev().map(|arrival| {
            next = next.min(*arrival);
            arrival - next
        });
        let most = overtaken_by.fold(0.0, f64::max);
        assert!(most < 0.016, "one is overtaken by {most} s of 0.05");
        assert!(counts[0] > 1700 && counts[1] > 2600, "both are full: {counts:?}");
    }

    #[test]
    fn what_is_urgent_goes_by_the_two_best_even_when_they_are_busy() {
        let mut paths = [path(0, 100, 600), path(1, 10, 30), path(2, 20, 40)];
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::By(1, Some(2)));
        paths.iter_mut().for_each(|path| path.room = 0);
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::By(1, Some(2)));
        paths[2].is_alive = false;
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::By(1, Some(0)));
    }

    #[test]
    fn what_is_urgent_has_a_copy_by_a_path_that_is_too_busy_for_more_and_waits_when_all_are() {
        let mut paths = [path(0, 100, 5), path(1, 10, 30)];
        (paths[0].room, paths[0].queued) = (0, URGENT_QUEUE_MAX);
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::By(1, Some(0)));
        (paths[1].room, paths[1].queued) = (0, URGENT_QUEUE_MAX);
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::Wait);
        (paths[0].queued, paths[1].queued) = (COPY_QUEUE_MAX, 0);
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::By(1, None), "a queue has an end");
    }

    #[test]
    fn a_backup_carries_nothing_while_another_lives() {
        let mut paths = [path(0, 20, 20), path(1, 100, 5)];
        paths[1].role = BondRole::Backup;
        for class in [Class::Urgent, Class::Light, Class::Bulk] {
            assert_eq!(choose(&paths, 100, class), Choice::By(0, None));
        }
        paths[0].room = 0;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::Wait);
        paths[0].is_alive = false;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        paths[1].is_alive = false;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::Nothing);
    }

    #[test]
    fn a_secondary_takes_what_the_primary_has_no_room_for() {
        let mut paths = [path(0, 20, 50), path(1, 100, 5)];
        paths[1].role = BondRole::Secondary;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(0, None));
        paths[0].room = 100;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
    }

    #[test]
    fn what_is_not_bulk_passes_what_is_committed() {
        let mut paths = [path(0, 20, 120), path(1, 30, 20)];
        (paths[1].room, paths[1].committed) = (0, 100_000);
        assert_eq!(choose(&paths, 100, Class::Light), Choice::By(1, None));
        assert_eq!(choose(&paths, 100, Class::Urgent), Choice::By(1, Some(0)));
        assert!(paths[1].is_passed_by(Class::Light) && !paths[1].is_passed_by(Class::Bulk) && !paths[0].is_passed_by(Class::Urgent));
    }

    #[test]
    fn a_path_that_has_not_shown_what_it_carries_is_tried() {
        let mut paths = [path(0, 50, 20), path(1, 1, 60)];
        (paths[0].room, paths[0].committed) = (0, 300_000);
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        (paths[1].capacity, paths[1].rate) = (None, 1_000);
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        paths[1].capacity = Some(1_000);
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(0, None), "it has shown that it is slow");
    }

    #[test]
    fn a_clean_path_is_filled_before_one_that_loses() {
        let mut paths = [path(0, 30, 20), path(1, 20, 20)];
        paths[0].loss = 0.01;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        (paths[1].room, paths[1].committed) = (0, 5_000);
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(0, None));
    }

    #[test]
    fn a_datagram_takes_only_paths_that_it_fits() {
        let mut paths = [path(0, 100, 5), path(1, 10, 30)];
        paths[0].budget = 1300;
        assert_eq!(choose(&paths, 1400, Class::Urgent), Choice::By(1, None));
        assert_eq!(choose(&paths, 1500, Class::Urgent), Choice::TooLarge);
        paths[1].role = BondRole::Backup;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None), "only the backup takes it");
    }
}
