//! What a program keeps of the memory that it has freed.

use std::hint::black_box;

/// A super-frame that was carried is freed, and the next one allocated, some ten thousand times a second.
const KEPT: usize = 2 * 1024 * 1024;

/// Has the allocator keep up to [`KEPT`] bytes for the next time.
///
/// glibc gives what is free at the end of its heap back to the kernel from 128 KiB on, which then has to clear those pages anew: ten or
/// twenty thousand page faults a second under a stream. It raises that threshold to twice the size of a block that it had mapped and
/// that is freed (mallopt(3), `M_MMAP_THRESHOLD`, "dynamic"). Such a block costs nothing, nobody touches it. Other allocators do as they
/// do.
pub(crate) fn keep_freed() {
    drop(black_box(Vec::<u8>::with_capacity(black_box(KEPT / 2))));
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Page faults of this thread so far.
    #[expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        fields.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_freed_and_allocated_again_is_not_asked_of_the_kernel() {
        keep_freed();
        let carry = || drop(black_box((0..8).map(|_| vec![1_u8; 64 * 1024]).collect::<Vec<_>>()));
        carry();
        let before = faults();
        (0..200).for_each(|_| carry());
        // 25,600 pages.
        assert!(faults() - before < 2_000, "{} page faults", faults() - before);
    }
}
