//! Devices against the real kernel, each test in a network namespace of its own. Needs root; says so and passes without.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod facts;
mod namespace;
mod packet;
mod pump;
mod sound;
mod tap;
mod transfer;
