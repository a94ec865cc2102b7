//! A cable over QUIC: one UDP socket that listens and dials, the other end pinned by its key, and the cable that is kept
//! plugged in over outages, restarts and changes of address.

mod bond;
mod driver;
mod endpoint;
mod hello;
mod session;
mod way;
mod words;

pub(crate) use bond::CableDial;
pub use driver::{CableDriver, CableReport};
pub use endpoint::CableEndpoint;
pub use session::{CableEvent, CablePlan, CableSession};
