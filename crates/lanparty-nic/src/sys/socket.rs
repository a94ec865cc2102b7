//! Sockets: options, pairs, and calls that carry one message.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::checked;

/// Plain data that socket options consist of.
///
/// # Safety
/// Implementors are primitive or `repr(C)`, without padding, and any bytes make a valid value.
pub(crate) unsafe trait OptionValue: Copy {}
// SAFETY: a primitive.
unsafe impl OptionValue for libc::c_int {}

/// `setsockopt(2)`.
pub(crate) fn set_option<T: OptionValue>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes, and the kernel keeps no pointer to it.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len) }).map(drop)
}

/// `getsockopt(2)`; what the kernel leaves unwritten keeps its value.
pub(crate) fn option<T: OptionValue>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, mut value: T) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes and valid with any content; the kernel keeps no pointer to it.
    checked(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

/// Sets a buffer size beyond the system's limit where the process may, and up to it where not.
pub(crate) fn set_buffer(fd: BorrowedFd<'_>, forced: libc::c_int, plain: libc::c_int, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    set_option(fd, libc::SOL_SOCKET, forced, &bytes).or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, &bytes))
}

/// Has a classic BPF program choose which socket of a port's group gets a packet (SO_ATTACH_REUSEPORT_CBPF, socket(7)).
pub(crate) fn choose_socket_by(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let size = size_of_val(&program) as libc::socklen_t;
    let (value, name) = (std::ptr::from_ref(&program).cast(), libc::SO_ATTACH_REUSEPORT_CBPF);
    // SAFETY: `program` points at as many readable instructions as it says; the kernel writes nothing, and copies them before it returns.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value, size) }).map(drop)
}

/// Two connected UNIX sockets that keep message boundaries and order, non-blocking.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `fds` has room for the two descriptors.
    checked(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so both are open, and nobody else knows their numbers yet.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sends one message.
pub(crate) fn send(fd: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    // SAFETY: `message` is readable for its length.
    let sent = unsafe { libc::send(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one message; zero bytes are the end.
pub(crate) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buffer` is writable for its length.
    let len = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(len).map_err(|_| io::Error::last_os_error())
}
