//! Keeps a socket on an interface of Windows, whatever its routes say.

use std::io;

use lanparty_nic::windows::{adapters, bind_to_interface};
use socket2::SockRef;

/// By the interface's name as the user sees it.
pub(crate) fn bind(socket: &SockRef<'_>, interface: &str) -> io::Result<()> {
    let found = adapters()?.into_iter().find(|adapter| adapter.name == interface).ok_or(io::ErrorKind::NotFound)?;
    bind_to_interface(&**socket, found.index)
}
