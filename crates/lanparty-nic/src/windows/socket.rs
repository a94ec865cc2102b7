//! Socket options that std has no words for.

use std::io;
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};

use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IP_UNICAST_IF, IPPROTO_IP, IPPROTO_IPV6, IPV6_DONTFRAG, IPV6_UNICAST_IF, setsockopt,
};

pub(crate) fn set_dont_fragment_v4(socket: BorrowedSocket<'_>, whole: bool) -> io::Result<()> {
    set(socket, IPPROTO_IP, IP_DONTFRAGMENT, u32::from(whole))
}

pub(crate) fn set_dont_fragment_v6(socket: BorrowedSocket<'_>, whole: bool) -> io::Result<()> {
    set(socket, IPPROTO_IPV6, IPV6_DONTFRAG, u32::from(whole))
}

/// Lets what `socket` sends leave by the interface with this index, whatever the routes say (IP_UNICAST_IF).
///
/// # Errors
/// When neither address family of the socket takes it.
pub fn bind_to_interface(socket: &impl AsSocket, index: u32) -> io::Result<()> {
    let socket = socket.as_socket();
    let by_v6 = set(socket, IPPROTO_IPV6, IPV6_UNICAST_IF, index);
    // Over IPv4 the index is in network byte order, over IPv6 in the host's (Microsoft's documentation of both options).
    let by_v4 = set(socket, IPPROTO_IP, IP_UNICAST_IF, index.to_be());
    by_v4.or(by_v6)
}

fn set(socket: BorrowedSocket<'_>, level: i32, name: i32, value: u32) -> io::Result<()> {
    let len = size_of::<u32>() as i32;
    // SAFETY: an open socket; `value` is readable for `len` bytes, and no pointer to it is kept.
    let outcome =
        unsafe { setsockopt(socket.as_raw_socket().try_into().unwrap_or(usize::MAX), level, name, (&raw const value).cast(), len) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
