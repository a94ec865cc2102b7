//! Multicast of a room that is snooped: who listens to which group (docs/multicast.md, docs/decisions/0039).
//!
//! A client finds out by itself what its host listens to ([`Listeners`]), and says it on the control stream; the relay, which copies, and
//! the gateways, which hear a whole LAN, keep a [`GroupSet`] for each client.

mod group_set;
mod listeners;
mod refused;

pub use group_set::GroupSet;
pub(crate) use group_set::joined_group;
pub use listeners::{Listeners, ListenersOutput};
pub use refused::{RefusedGroup, RefusedGroups};
