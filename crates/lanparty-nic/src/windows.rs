//! Windows: the TAP-Windows6 device, and the calls around it that std has no words for.
//!
//! All `unsafe` of the crate on Windows lives below, behind functions that are safe to call.

mod adapters;
mod elevation;
mod event_log;
mod handle;
mod ip;
mod restart;
pub(crate) mod socket;
mod tap;

pub use adapters::{Adapter, AdapterAddress, AdapterKind, adapters};
pub use elevation::is_elevated;
pub use event_log::report_event;
pub use ip::{
    IpInterface, RouteHop, RouteRow, best_route, create_route, delete_neighbour, delete_route, forwards, guid_to_luid, ip_interface,
    routes, set_ip_interface, set_ip_interface_mtu, set_neighbour,
};
pub use restart::restart_network_adapter;
pub use socket::bind_to_interface;
pub use tap::{PacedTrial, Tap, TapControl, TapOpenError};

use std::io;

/// The result of a call that returns a Windows error code, 0 for success.
fn checked(code: u32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

/// Text as Windows takes it.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
