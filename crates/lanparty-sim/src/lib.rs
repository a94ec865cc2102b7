//! The simulated world: chance, wires and (later) clocks and machines, without sockets or real time.
//!
//! Every part is pure and seeded, so that a failing run can be repeated exactly from its seed.

pub mod bonded;
pub mod rng;
pub mod scenario;
pub mod wire;
pub mod world;

pub use bonded::{BondFigures, BondPlan, LineCut};
pub use rng::Rng;
pub use scenario::{Failure, Outcome, Scenario, Transition};
pub use wire::{Framing, Impairment, ImpairmentError, Lateness, Wire, WireStats};
pub use world::{Kind, MemberPlan, Sabotage, World};
