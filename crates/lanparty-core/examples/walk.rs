//! Lets so many batches of frames walk from one member to another: `cargo run -p lanparty-core --example walk -- 1000`. What
//! `cargo xtask instructions` counts.
#![expect(clippy::disallowed_methods, reason = "a walk needs a time, and does not wait")]

use std::process::ExitCode;
use std::time::Instant;

#[path = "../tests/walk/mod.rs"]
mod walk;

/// Frames of one super-frame.
const BATCH: usize = 46;

fn main() -> ExitCode {
    let Some(batches) = std::env::args().nth(1).and_then(|batches| batches.parse::<usize>().ok()) else {
        eprintln!("usage: walk BATCHES");
        return ExitCode::from(2);
    };
    let mut walk = walk::Walk::new(Instant::now());
    let came: usize = (0..batches).map(|_| walk.batch(BATCH)).sum();
    if came == batches * BATCH { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
