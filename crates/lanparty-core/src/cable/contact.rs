//! Which of two connections between the same two ends stays: both ends decide, and must decide the same.

use lanparty_proto::IdentityId;

/// A connection between the two ends of a cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// The end that dialled it.
    pub dialled_by: IdentityId,
    /// The run of the other end's program, as it said in its hello.
    pub run: u64,
}

impl Contact {
    /// Whether `newer` takes the place of this one.
    ///
    /// It does when the other end has restarted, or dials again because it takes this one for dead. Of two connections
    /// that both ends dialled at once, the one stays that the end with the smaller key dialled.
    #[must_use]
    pub fn yields_to(&self, newer: &Self) -> bool {
        newer.run != self.run || newer.dialled_by <= self.dialled_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: IdentityId = IdentityId([1; 32]);
    const HIGH: IdentityId = IdentityId([2; 32]);

    fn contact(dialled_by: IdentityId, run: u64) -> Contact {
        Contact { dialled_by, run }
    }

    #[test]
    fn of_two_dialled_at_once_both_ends_keep_the_same_in_whatever_order_they_see_them() {
        // Each end knows the other's run.
        for run in [7, 8] {
            let (from_low, from_high) = (contact(LOW, run), contact(HIGH, run));
            assert!(from_high.yields_to(&from_low), "the lower key's dial comes second and stays");
            assert!(!from_low.yields_to(&from_high), "it came first and stays");
        }
    }

    #[test]
    fn who_dials_again_is_believed_that_the_old_one_is_dead() {
        for key in [LOW, HIGH] {
            assert!(contact(key, 7).yields_to(&contact(key, 7)));
        }
    }

    #[test]
    fn a_restarted_end_is_let_in_whoever_dials() {
        for (old, new) in [(LOW, LOW), (LOW, HIGH), (HIGH, LOW), (HIGH, HIGH)] {
            assert!(contact(old, 7).yields_to(&contact(new, 8)));
        }
    }
}
