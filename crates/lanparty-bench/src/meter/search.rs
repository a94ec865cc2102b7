//! The search for the highest packet rate that a tunnel carries with less than 1 % loss.
//!
//! Pure: it is told what a step brought and answers which rate to try next. Geometric bisection, because tunnels differ by
//! a factor of a hundred and a rate is worth knowing to a tenth.

use serde::Serialize;

/// A step passes below this share of lost packets.
const LOSS_MAX: f64 = 0.01;
/// A step that failed by less than this may have met one hiccup of the scheduler: it is tried once more.
const LOSS_DOUBTFUL: f64 = 0.10;
/// The search ends when the rates that pass and that fail are this close.
const PRECISION: f64 = 1.1;
/// How much faster the next step is as long as none has failed.
const GROWTH: f64 = 1.6;
/// Steps at most: from a first guess that is 30 times too high to the precision above.
pub(crate) const STEPS_MAX: usize = 14;
/// Rates outside are not worth a step.
const RATE_MIN: f64 = 200.0;
const RATE_MAX: f64 = 3e6;
/// A sender that reaches less than this share of the rate is itself at its limit.
const OFFERED_MIN: f64 = 0.9;

/// What one step brought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Step {
    /// Packets per second handed to the sending socket, refused ones included.
    pub(crate) offered_pps: f64,
    /// Packets per second that arrived in time.
    pub(crate) received_pps: f64,
    /// Packets that arrived after a later one.
    pub(crate) reordered: u64,
}

impl Step {
    pub(crate) fn loss(&self) -> f64 {
        if self.offered_pps > 0.0 { 1.0 - self.received_pps / self.offered_pps } else { 1.0 }
    }
}

/// What the search found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Found {
    /// The best step that passed; `None` when not even the lowest rate did.
    pub(crate) best: Option<Step>,
    /// The most that arrived in any step, at any loss.
    pub(crate) peak_pps: f64,
    pub(crate) steps: usize,
    /// Whether strangers used the processors while a step failed, its repetition included.
    pub(crate) noisy: bool,
}

/// A search under way.
#[derive(Debug)]
pub(crate) struct Search {
    rate: f64,
    passed: Option<f64>,
    failed: Option<f64>,
    again: bool,
    over: bool,
    found: Found,
}

impl Search {
    /// Begins at `guess` packets per second.
    pub(crate) fn new(guess: f64) -> Self {
        let rate = guess.clamp(2_000.0, RATE_MAX);
        Self { rate, passed: None, failed: None, again: false, over: false, found: Found::default() }
    }

    /// The rate to try next; `None` at the end.
    pub(crate) fn next_rate(&self) -> Option<f64> {
        (!self.over).then_some(self.rate)
    }

    /// Takes the result of a step at [`Search::next_rate`]; `noisy` says that strangers were busy meanwhile.
    pub(crate) fn handle_step(&mut self, step: Step, noisy: bool) {
        self.found.steps += 1;
        self.found.peak_pps = self.found.peak_pps.max(step.received_pps);
        let passes = step.loss() < LOSS_MAX;
        if !passes && !self.again && (noisy || step.loss() < LOSS_DOUBTFUL) {
            self.again = true;
        } else {
            self.found.noisy |= noisy && !passes;
            self.again = false;
            if passes {
                self.pass(step);
            } else {
                self.fail();
            }
            self.over |= self.close() || !(RATE_MIN..=RATE_MAX).contains(&self.rate);
        }
        self.over |= self.found.steps >= STEPS_MAX;
    }

    pub(crate) fn found(&self) -> Found {
        self.found
    }

    fn pass(&mut self, step: Step) {
        if self.found.best.is_none_or(|best| step.received_pps > best.received_pps) {
            self.found.best = Some(step);
        }
        self.over |= step.offered_pps < OFFERED_MIN * self.rate;
        self.passed = Some(self.rate);
        self.rate = self.failed.map_or(self.rate * GROWTH, |failed| (self.rate * failed).sqrt());
    }

    fn fail(&mut self) {
        self.failed = Some(self.rate);
        self.rate = self.passed.map_or(self.rate / 2.0, |passed| (self.rate * passed).sqrt());
    }

    fn close(&self) -> bool {
        matches!((self.passed, self.failed), (Some(passed), Some(failed)) if failed / passed < PRECISION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel that carries `capacity` packets per second and loses the rest, fed by a sender that reaches `sender`.
    fn simulate(guess: f64, capacity: f64, sender: f64) -> Found {
        let mut search = Search::new(guess);
        while let Some(rate) = search.next_rate() {
            let offered_pps = rate.min(sender);
            search.handle_step(Step { offered_pps, received_pps: offered_pps.min(capacity), reordered: 0 }, false);
        }
        search.found()
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above() {
        for capacity in [1_500.0, 9_000.0, 80_000.0, 700_000.0] {
            for guess in [capacity / 20.0, capacity, capacity * 20.0] {
                let found = simulate(guess, capacity, f64::INFINITY);
                let best = found.best.unwrap().received_pps;
                assert!(best <= capacity && best > capacity / PRECISION * 0.98, "capacity {capacity}, guess {guess}: {found:?}");
                assert!(found.steps <= STEPS_MAX);
            }
        }
    }

    #[test]
    fn the_search_ends_at_the_senders_own_limit() {
        let found = simulate(100_000.0, f64::INFINITY, 300_000.0);
        assert_eq!(found.best.unwrap().received_pps, 300_000.0);
        assert!(found.steps <= 5, "{found:?}");
    }

    #[test]
    fn a_tunnel_that_always_loses_has_no_best_step() {
        let mut search = Search::new(50_000.0);
        while let Some(rate) = search.next_rate() {
            search.handle_step(Step { offered_pps: rate, received_pps: rate / 2.0, reordered: 0 }, false);
        }
        assert_eq!(search.found().best, None);
        assert!(search.found().peak_pps > 0.0);
    }

    #[test]
    fn a_doubtful_step_is_tried_once_more_and_a_clear_one_is_not() {
        let step = |received_pps| Step { offered_pps: 10_000.0, received_pps, reordered: 0 };
        let mut search = Search::new(10_000.0);
        search.handle_step(step(9_500.0), false);
        assert_eq!(search.next_rate(), Some(10_000.0), "5 % lost: again");
        search.handle_step(step(9_500.0), false);
        assert_eq!(search.next_rate(), Some(5_000.0));
        let mut search = Search::new(10_000.0);
        search.handle_step(step(5_000.0), false);
        assert_eq!(search.next_rate(), Some(5_000.0), "50 % lost: lower at once");
        let mut search = Search::new(10_000.0);
        search.handle_step(step(5_000.0), true);
        assert_eq!(search.next_rate(), Some(10_000.0), "50 % lost while strangers were busy: again");
        search.handle_step(step(5_000.0), true);
        assert!(search.found().noisy);
    }
}
