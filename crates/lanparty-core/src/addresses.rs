//! Addresses in rooms without a LAN: which network a room has, and which of its addresses each member.
//!
//! A member is known by its key alone, so the next evening it has the same address. What a relay must remember for that are its
//! [`Leases`]; everything else follows from a key and from names (docs/decisions/0036).

mod book;
mod machines;
mod pool;

pub use book::{AddressBook, Asked, Leases, NoAddress};
pub use machines::AskedLease;
pub use pool::{AddressPool, InvalidPool};
