//! Threads that must be on time, and in the right network namespace: for emulated wires.
//!
//! All of it is about the calling thread only, and about threads and processes that it starts later.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::sys::thread;

/// Runs the calling thread before every ordinary one, until it waits (`SCHED_FIFO`, 1 to 99). It must wait often.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE, `EINVAL` outside 1 to 99.
pub fn set_fifo_priority(priority: i32) -> io::Result<()> {
    thread::set_fifo(priority)
}

/// How much later than asked the kernel may wake the calling thread, in nanoseconds; 50,000 by default, 0 resets to it.
///
/// # Errors
/// What the kernel said.
pub fn set_timer_slack_ns(ns: u64) -> io::Result<()> {
    thread::set_timer_slack(ns)
}

/// Moves the calling thread into the network namespace behind `path`, such as `/run/netns/NAME`.
///
/// `/sys` still shows the old one (`/proc` does not); `ip netns exec` mounts it anew.
///
/// # Errors
/// The path cannot be opened, is no network namespace (`EINVAL`), or the caller lacks CAP_SYS_ADMIN (`EPERM`).
pub fn enter_netns(path: &Path) -> io::Result<()> {
    thread::enter_network_namespace(File::open(path)?.as_fd())
}
