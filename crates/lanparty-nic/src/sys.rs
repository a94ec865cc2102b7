//! Calls to the kernel that std has no words for. All `unsafe` of the crate lives below, behind functions that are safe to call.

pub(crate) mod interface;
pub(crate) mod packet;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod tun;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The result of a call that says -1 for an error.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The result of a call that gives a new descriptor.
fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd: RawFd = checked(result)?;
    // SAFETY: the call succeeded, so `fd` is open, and nobody else knows its number yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `socket(2)`, close-on-exec and non-blocking.
pub(crate) fn socket(domain: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })
}
