//! Sockets that only this machine's programs reach: the UNIX domain's.

use std::io;
use std::path::Path;

pub(crate) use tokio::net::{UnixListener as LocalListener, UnixStream as LocalStream};

/// Only the owner may look into this directory.
pub(crate) fn restrict(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// Whether the owner of this program asks, or root.
pub(crate) fn is_owner(stream: &LocalStream) -> bool {
    let owner = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|asker| asker.uid() == owner || asker.uid() == 0)
}

/// Whether who sends no line is answered: who could connect may read and write.
pub(crate) const ANSWERS_SILENCE: bool = true;
