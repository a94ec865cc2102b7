//! What a socket's errors say of packets, on either kind of system.

use std::io;

/// This host, or ICMP, says that a packet is too large (EMSGSIZE).
pub(super) fn is_too_large(error: &io::Error) -> bool {
    #[cfg(unix)]
    return rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::MSGSIZE);
    // WSAEMSGSIZE
    #[cfg(windows)]
    return error.raw_os_error() == Some(10_040);
}

/// ICMP says that nobody listens; Windows calls that a connection that was reset.
pub(super) fn is_nobody_there(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset];
    if cfg!(windows) { kinds.contains(&error.kind()) } else { error.kind() == kinds[0] }
}
