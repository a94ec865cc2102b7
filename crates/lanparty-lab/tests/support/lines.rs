//! A home's two lines, and what is said of them.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::time::{Duration, Instant};

use lanparty_lab::{Captured, LineOptions, Requirements, Tool, Way};

/// The lines of [`dsl_and_lte`].
pub(crate) const LINES: &[&str] = &["dsl0", "lte0"];
/// What neither of them carries alone, in Mbit/s: TCP over 30 of them gives less than 28.
pub(crate) const MORE_THAN_ONE: f64 = 29.0;
/// What else runs on this machine may take the programs' time: the best of some tries is what a bond can do.
pub(crate) const TRIES: usize = 4;

pub(crate) fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// DSL of 30 Mbit/s and LTE of 20, both 10 ms long.
pub(crate) fn dsl_and_lte() -> [LineOptions; 2] {
    [LineOptions::new("dsl0", 30.0, 10.0), LineOptions::new("lte0", 20.0, 10.0)]
}

/// What a line carried one way in a time that ends now, in Mbit/s, Ethernet headers in it.
pub(crate) fn carried(passed: &[Captured], way: Way, end: Instant, span: Duration) -> f64 {
    Captured::count(passed, way, end - span, span).1 as f64 * 8.0 / span.as_secs_f64() / 1e6
}
