//! What a thread may change about itself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::checked;

/// `SCHED_FIFO` for the calling thread (sched(7)).
pub(crate) fn set_fifo(priority: i32) -> io::Result<()> {
    // SAFETY: `sched_param` is plain data, for which all zeros is a value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: thread 0 is the caller; `parameters` is readable, and the kernel keeps no pointer to it.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) }).map(drop)
}

/// Timer slack of the calling thread (prctl(2)).
pub(crate) fn set_timer_slack(ns: u64) -> io::Result<()> {
    let ns = libc::c_ulong::try_from(ns).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: takes no pointers.
    checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, ns) }).map(drop)
}

/// Moves the calling thread, and what it will start, into a network namespace (setns(2)).
pub(crate) fn enter_network_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers; files and sockets already open stay where they are.
    checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}
