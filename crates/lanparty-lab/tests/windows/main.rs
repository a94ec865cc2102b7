//! The guide with the player's own program: the client for Windows, run under Wine, with a TAP driver that Wine loads as a device.
//!
//! What Windows' network stack would do is done by this host's: the driver's other end is an interface of the player's machine here, and
//! Wine shows that interface, and the address which Debian's DHCP client gives it, as the TAP adapter's. Changes to the IP stack are
//! recorded instead of made, because Wine has none to make them in.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "../support/capture.rs"]
mod capture;
mod frames;
mod guide;
#[path = "../support/injector.rs"]
mod injector;
mod machine;
mod service;
#[path = "../support/mod.rs"]
mod support;
