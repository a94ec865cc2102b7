//! Outbound, second step: the paths for one datagram.
//!
//! What is urgent goes by the two best at once. Bulk goes where it is delivered first, among paths that have room for it; a path that
//! would only slow the others down is left out. With a single usable path that is the choice.

use std::time::Duration;

use lanparty_proto::{BondPath, BondRole};

use super::PathRecord;
use crate::Flight;

/// What may wait in front of a path: as much as it carries in this time …
const QUEUE_TIME: Duration = Duration::from_millis(2);
/// … but some full datagrams always, and no more than the carrier takes without dropping any.
const QUEUE_MIN: u64 = 2 * 1500;
const QUEUE_MAX: u64 = 96 * 1024;
/// What is urgent may stand in front of a full path's queue: as long as it holds less than this, in bytes.
const URGENT_QUEUE_MAX: usize = 24 * 1024;
/// A datagram that is lost costs its flow more than one that is late: a loss of 1 % counts as 10 ms.
const LOSS_COST: Duration = Duration::from_secs(1);
/// And for the copy, when another path is better: beyond it a path gets nothing more, also when everything is urgent.
const COPY_QUEUE_MAX: usize = 96 * 1024;
/// A path of less than this share of the fastest one's rate, in percent, adds less than its delay costs …
const WEAK_PERCENT: u64 = 15;
/// … when it is slower to answer by more than this.
const WEAK_DELAY: Duration = Duration::from_millis(20);

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
    /// Bytes that wait in front of it.
    pub queued: usize,
    /// Its rate, in bytes per second.
    pub rate: u64,
    /// Its shortest round-trip time.
    pub rtt: Duration,
    /// What it carries, in bytes per second, once it was asked for all of that.
    pub capacity: Option<u64>,
    /// The share of packets that it loses.
    pub loss: f64,
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
    /// A path that its owner uses so, that does what `flight` says and has shown what `record` says; `budget` is its largest datagram.
    #[must_use]
    pub fn of(path: BondPath, is_alive: bool, budget: usize, flight: &Flight, record: &PathRecord) -> Self {
        let rate = flight.rate();
        // What the window lets out at once, and a short queue.
        let open = flight.window.saturating_sub(flight.in_flight);
        let queue = u64::try_from(u128::from(rate) * QUEUE_TIME.as_micros() / 1_000_000).unwrap_or(u64::MAX);
        let limit = (open + queue.clamp(QUEUE_MIN, QUEUE_MAX)).min(QUEUE_MAX);
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(flight.queued);
        // What is in flight beyond what the path itself holds waits at its bottleneck.
        let queued = flight.queued + usize::try_from(flight.standing(rate)).unwrap_or(0);
        let (rtt, capacity, loss) = (flight.least_rtt(), record.capacity(), record.loss());
        Self { id: path.path, role: path.role, is_alive, budget, room, queued, rate, rtt, capacity, loss }
    }

    /// When a datagram of `len` bytes is there, if it is handed over now.
    fn delivery(&self, len: usize) -> Duration {
        let micros = (self.queued + len) as u64 * 1_000_000 / self.rate.max(1);
        self.rtt / 2 + Duration::from_micros(micros)
    }

    /// Counts a datagram of `len` bytes that was handed over.
    pub const fn take(&mut self, len: usize) {
        self.room = self.room.saturating_sub(len);
        self.queued += len;
    }
}

/// The paths for a datagram of `len` bytes.
#[must_use]
pub fn choose(paths: &[PathView], len: usize, class: super::Class) -> Choice {
    let lives = || paths.iter().enumerate().filter(|(_, path)| path.is_alive);
    if lives().next().is_none() {
        return Choice::Nothing;
    }
    let is_backup_needed = lives().all(|(_, path)| path.role == BondRole::Backup);
    let usable = || lives().filter(move |(_, path)| is_backup_needed || path.role != BondRole::Backup);
    // A datagram that only a backup takes goes by the backup.
    let fits = |(_, path): &(usize, &PathView)| path.budget >= len;
    let candidates: Vec<(usize, &PathView)> = match usable().filter(fits).collect::<Vec<_>>() {
        none if none.is_empty() => lives().filter(fits).collect(),
        some => some,
    };
    if candidates.is_empty() {
        return Choice::TooLarge;
    }
    match class {
        super::Class::Urgent => urgent(candidates, len),
        super::Class::Light => bulk(&candidates, len),
        super::Class::Bulk => bulk(&without_weak(&candidates), len),
    }
}

/// The two that deliver first. One that is busy is asked for more than it takes of bulk. Where one path is too busy for that, it still gets
/// the copy: that the other one is silent is noticed only after a while.
fn urgent(mut candidates: Vec<(usize, &PathView)>, len: usize) -> Choice {
    candidates.retain(|(_, path)| path.room >= len || path.queued < COPY_QUEUE_MAX);
    let is_busy = |path: &PathView| path.room < len && path.queued >= URGENT_QUEUE_MAX;
    if candidates.iter().all(|(_, path)| is_busy(path)) {
        return Choice::Wait;
    }
    candidates.sort_by_key(|(_, path)| (is_busy(path), path.delivery(len)));
    match candidates.as_slice() {
        [] => Choice::Wait,
        [(only, _)] => Choice::By(*only, None),
        [(first, _), (second, _), ..] => Choice::By(*first, Some(*second)),
    }
}

/// Secondary ones take what the primary ones have no room for.
fn bulk(candidates: &[(usize, &PathView)], len: usize) -> Choice {
    let with_room = candidates.iter().filter(|(_, path)| path.room >= len);
    with_room
        .min_by_key(|(_, path)| (path.role, path.delivery(len) + LOSS_COST.mul_f64(path.loss)))
        .map_or(Choice::Wait, |(at, _)| Choice::By(*at, None))
}

/// Paths that would cost a flow more by their delay than they add, as far as they have shown what they carry.
fn without_weak<'p>(candidates: &[(usize, &'p PathView)]) -> Vec<(usize, &'p PathView)> {
    let known = |path: &PathView| path.capacity.unwrap_or(path.rate);
    let Some((_, best)) = candidates.iter().max_by_key(|(_, path)| known(path)) else { return vec![] };
    let is_weak = |path: &PathView| {
        path.rtt > best.rtt + WEAK_DELAY && path.capacity.is_some_and(|capacity| capacity * 100 < known(best) * WEAK_PERCENT)
    };
    candidates.iter().filter(|(_, path)| !is_weak(path)).copied().collect()
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
            rate: mbit * 125_000,
            rtt: Duration::from_millis(rtt_ms),
            capacity: Some(mbit * 125_000),
            loss: 0.0,
        }
    }

    #[test]
    fn bulk_goes_where_it_is_delivered_first_until_that_has_no_room() {
        let mut paths = [path(0, 20, 120), path(1, 30, 20)];
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        paths[1].room = 0;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(0, None));
        paths[0].room = 0;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::Wait);
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
    fn a_slow_and_late_path_is_left_out_of_bulk_and_a_slow_but_early_one_is_not() {
        let mut paths = [path(0, 50, 20), path(1, 5, 100)];
        paths[0].room = 0;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::Wait);
        paths[1].capacity = None;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None), "what it carries is found out");
        let mut paths = [path(0, 100, 600), path(1, 10, 30)];
        paths[0].room = 0;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
    }

    #[test]
    fn a_clean_path_is_filled_before_one_that_loses() {
        let mut paths = [path(0, 30, 20), path(1, 20, 20)];
        paths[0].loss = 0.01;
        assert_eq!(choose(&paths, 1400, Class::Bulk), Choice::By(1, None));
        paths[1].room = 0;
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
