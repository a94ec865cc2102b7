//! MAC addresses that change sides, and the damping of those that do so too often (RFC 7432 §15.1).
//!
//! A machine that is carried from one LAN to the other moves once. An address that moves all the time is on a loop, or two
//! machines have it, or somebody pretends: it is believed only on the side where it was first, so that whoever pretends cannot
//! cut off the machine itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::MacAddr;

/// So many moves (RFC 7432 §15.1: N = 5) …
const MOVES_MAX: u32 = 5;
/// … in so long a time (M = 180 s) are too many.
const MOVES_WINDOW: Duration = Duration::from_secs(180);
/// For how long an address is believed on one side only, then.
const DAMPED_FOR: Duration = Duration::from_secs(30);
/// Addresses that are followed. More are not: nobody's entry makes room for a flood of invented ones (THREATS A11).
const FOLLOWED_MAX: usize = 4096;
/// What was silent for as long as a switch remembers it (IEEE 802.1D §7.9.2) makes room.
const SILENT_AFTER: Duration = Duration::from_secs(300);
/// How often there is a search for what makes room: it looks at everything.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

/// From which side of a node a frame came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// From its TAP, or its LAN.
    Device,
    /// From the other end, or the room.
    Link,
}

/// What an address did with its newest frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// It is where it was, or not followed.
    No,
    /// It changed sides.
    Yes,
    /// It changed sides too often; said once, then the frame is dropped as the following ones are.
    TooOften,
    /// It is on the side where it is not believed for now.
    Damped,
}

struct Followed {
    side: Side,
    at: Instant,
    /// Where it was first in this window.
    home: Side,
    window: Instant,
    moves: u32,
    damped_until: Option<Instant>,
}

/// The addresses on both sides of a node.
#[derive(Default)]
pub struct MacMoves {
    followed: BTreeMap<MacAddr, Followed>,
    pruned: Option<Instant>,
}

impl MacMoves {
    /// A frame from `src` came in on `side`.
    pub fn note(&mut self, src: MacAddr, side: Side, now: Instant) -> Moved {
        match self.followed.get_mut(&src) {
            Some(followed) => followed.note(side, now),
            None => {
                self.follow(src, side, now);
                Moved::No
            }
        }
    }

    fn follow(&mut self, src: MacAddr, side: Side, now: Instant) {
        if self.followed.len() >= FOLLOWED_MAX && self.pruned.is_none_or(|at| now.saturating_duration_since(at) >= PRUNE_INTERVAL) {
            self.pruned = Some(now);
            self.followed.retain(|_, followed| now.saturating_duration_since(followed.at) < SILENT_AFTER);
        }
        if self.followed.len() < FOLLOWED_MAX {
            self.followed.insert(src, Followed { side, at: now, home: side, window: now, moves: 0, damped_until: None });
        }
    }

    /// All moves had one cause, which is known now.
    pub fn forgive(&mut self) {
        self.followed.clear();
    }

    /// How many addresses are damped now.
    #[must_use]
    pub fn damped(&self, now: Instant) -> usize {
        self.followed.values().filter(|followed| followed.damped_until.is_some_and(|until| now < until)).count()
    }
}

impl Followed {
    fn note(&mut self, side: Side, now: Instant) -> Moved {
        if let Some(until) = self.damped_until {
            if now < until {
                return if side == self.home { Moved::No } else { Moved::Damped };
            }
            *self = Self { side, at: now, home: side, window: now, moves: 0, damped_until: None };
            return Moved::No;
        }
        self.at = now;
        if side == self.side {
            return Moved::No;
        }
        if now.saturating_duration_since(self.window) >= MOVES_WINDOW {
            (self.home, self.window, self.moves) = (self.side, now, 0);
        }
        self.side = side;
        self.moves += 1;
        if self.moves < MOVES_MAX {
            return Moved::Yes;
        }
        self.damped_until = Some(now + DAMPED_FOR);
        Moved::TooOften
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn flip(moves: &mut MacMoves, n: u32, now: Instant) -> Vec<Moved> {
        let side = |i| if i % 2 == 0 { Side::Device } else { Side::Link };
        (0..n).map(|i| moves.note(MAC, side(i), now)).collect()
    }

    #[test]
    fn a_machine_that_moves_now_and_then_is_believed() {
        let (mut moves, start) = (MacMoves::default(), Instant::now());
        for i in 0..20 {
            let side = if i % 2 == 0 { Side::Device } else { Side::Link };
            let moved = moves.note(MAC, side, start + Duration::from_secs(60) * i);
            assert_eq!(moved, if i == 0 { Moved::No } else { Moved::Yes }, "{i}");
        }
    }

    #[test]
    fn the_fifth_move_is_one_too_many_and_then_it_is_believed_at_home_only_until_it_is_over() {
        let (mut moves, now) = (MacMoves::default(), Instant::now());
        assert_eq!(flip(&mut moves, 6, now), [Moved::No, Moved::Yes, Moved::Yes, Moved::Yes, Moved::Yes, Moved::TooOften]);
        assert_eq!((moves.note(MAC, Side::Device, now), moves.note(MAC, Side::Link, now)), (Moved::No, Moved::Damped));
        assert_eq!((moves.damped(now), moves.damped(now + DAMPED_FOR)), (1, 0));
        assert_eq!(moves.note(MAC, Side::Link, now + DAMPED_FOR), Moved::No, "it may live there now");
        assert_eq!(moves.note(MAC, Side::Device, now + DAMPED_FOR), Moved::Yes);
    }

    #[test]
    fn what_had_a_known_cause_is_forgiven() {
        let (mut moves, now) = (MacMoves::default(), Instant::now());
        flip(&mut moves, 6, now);
        moves.forgive();
        assert_eq!(moves.note(MAC, Side::Link, now), Moved::No);
    }

    #[test]
    fn a_flood_of_invented_addresses_drives_nobody_out() {
        let (mut moves, now) = (MacMoves::default(), Instant::now());
        moves.note(MAC, Side::Device, now);
        let invented = |n: u32| {
            let [_, a, b, c] = n.to_be_bytes();
            MacAddr([6, 6, 6, a, b, c])
        };
        for n in 0..100_000 {
            moves.note(invented(n), Side::Link, now);
        }
        assert_eq!(moves.followed.len(), FOLLOWED_MAX);
        assert_eq!(moves.note(MAC, Side::Link, now), Moved::Yes, "it was still known");
        moves.note(invented(200_000), Side::Link, now + SILENT_AFTER);
        assert_eq!(moves.followed.len(), 1, "the silent ones made room");
    }
}
