//! What a frame costs in memory from the allocator: nothing. Arenas of frames and lists are used again.
#![expect(clippy::disallowed_methods, reason = "a walk needs a time, and does not wait")]

use std::time::Instant;

mod walk;

/// Frames of one super-frame.
const BATCH: usize = 46;
const BATCHES: u64 = 500;
/// Once in a while something grows, or starts a new second; a frame that took memory would show as 23,000.
const ALLOCATIONS_MAX: u64 = 50;

#[test]
fn frames_take_no_memory_on_their_way() {
    let mut walk = walk::Walk::new(Instant::now());
    // Lists and tables grow to what they need.
    for _ in 0..10 {
        assert_eq!(walk.batch(BATCH), BATCH);
    }
    let used = allocation_counter::measure(|| {
        for _ in 0..BATCHES {
            assert_eq!(walk.batch(BATCH), BATCH);
        }
    });
    println!("{} allocations in {BATCHES} batches of {BATCH} frames", used.count_total);
    assert!(used.count_total <= ALLOCATIONS_MAX, "{} allocations in {BATCHES} batches", used.count_total);
    assert_eq!(used.count_current, 0, "something is kept");
}
