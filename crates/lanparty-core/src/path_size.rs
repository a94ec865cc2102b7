//! How large a datagram a path takes, as far as is known.

use lanparty_proto::DatagramBudget;

/// What a member's own path to the relay takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathSize {
    /// Largest datagram it takes now.
    pub budget: DatagramBudget,
    /// Whether that is what the path takes, not a step of a search. What a host is told, it remembers for ten minutes.
    pub settled: bool,
}

impl PathSize {
    /// A path whose search has ended at `budget`.
    #[must_use]
    pub const fn settled(budget: DatagramBudget) -> Self {
        Self { budget, settled: true }
    }
}
