//! The bond: one link over several paths, none of them first among equals.
//!
//! Outbound, [`Sequencer`] numbers what leaves and says what it is worth, and [`choose`] picks the paths for it. Inbound, [`Restorer`]
//! removes copies and restores the order of every flow; what is lost it asks for once more, and [`Repeats`] has it. [`Liveness`] tells a
//! path that carries from one that only takes. [`MonthlyUse`] counts what a metered line carries.
//! Files in packet order; what a path is made of is the driver's business.

mod alive;
mod cap;
mod record;
mod repeat;
mod restore;
mod schedule;
mod sequence;

pub use alive::{DEAD_AFTER_MIN, Liveness};
pub use cap::{CapUse, Month, MonthlyUse};
pub use record::PathRecord;
pub use repeat::Repeats;
pub use restore::{Arrival, RestoreReport, Restorer, answer_time, patience};
pub use schedule::{Choice, PathView, choose};
pub use sequence::{Class, Judged, Redundancy, Sequencer};
