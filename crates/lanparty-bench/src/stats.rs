//! Medians, percentiles and spreads of a handful of figures.

use serde::Serialize;

/// What several rounds of one figure come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Rounds that have this figure.
    pub(crate) rounds: usize,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one figure; those that are no number are left out.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(figures);
        Some(Self { rounds: sorted.len(), median: middle(&sorted)?, min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// The middle figure, or the mean of the two in the middle.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    middle(&sorted(figures))
}

/// The nearest-rank percentile: a figure that was measured, never one between two.
pub(crate) fn percentile(figures: impl IntoIterator<Item = f64>, percent: f64) -> Option<f64> {
    let sorted = sorted(figures);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let (left, right) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*left, *right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_percentile_is_a_figure_that_was_measured() {
        let hundred = (1..=100).map(f64::from);
        assert_eq!(percentile(hundred.clone(), 99.0), Some(99.0));
        assert_eq!(percentile(hundred, 50.0), Some(50.0));
        assert_eq!(percentile([7.0], 99.0), Some(7.0));
        assert_eq!(percentile([], 99.0), None);
    }

    #[test]
    fn a_spread_leaves_out_what_is_no_number() {
        let spread = Spread::of([2.0, f64::NAN, 6.0]).unwrap();
        assert_eq!((spread.rounds, spread.median, spread.min, spread.max), (2, 4.0, 2.0, 6.0));
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
