//! Sockets that only this machine's programs reach: the UNIX domain's. Who is at the other end, the kernel says.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tokio::net::UnixListener;
pub(crate) use tokio::net::UnixStream as LocalStream;

use crate::management::Access;

/// How the file of such a socket ends.
pub(crate) const EXTENSION: &str = "sock";
/// The group that may look where nobody names another, when there is such a group.
const USUAL_GROUP: &str = "lanparty";

/// Waits for programs of this machine.
pub(crate) struct LocalListener(UnixListener);

impl LocalListener {
    /// Listens at `path`. The owner may change things; members of `group` may look.
    ///
    /// # Errors
    /// When there is no such group, it cannot be given the socket, or the socket cannot be made.
    pub(crate) fn bind(path: &Path, group: Option<&str>) -> io::Result<Self> {
        let named = group.map(|name| group_named(name).ok_or_else(|| no_group(name))).transpose()?;
        // The directory is made for the owner alone, and stays that until the socket has its group.
        let listener = UnixListener::bind(path)?;
        let shared = match named {
            Some(gid) => share(path, gid).map(|()| true)?,
            None => group_named(USUAL_GROUP).is_some_and(|gid| share(path, gid).is_ok()),
        };
        if !shared {
            restrict(path, 0o600)?;
        }
        Ok(Self(listener))
    }

    /// The next asker. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<LocalStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    /// What an asker may do, whatever it says of itself.
    #[expect(clippy::unused_self, reason = "on Windows the listener knows the token")]
    pub(crate) fn access(&self, stream: &LocalStream) -> Guard {
        let owner = rustix::process::geteuid().as_raw();
        let is_owner = stream.peer_cred().is_ok_and(|asker| asker.uid() == owner || asker.uid() == 0);
        Guard(if is_owner { Access::Change } else { Access::Look })
    }
}

/// What an asker may do.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Access);

impl Guard {
    /// Whoever could connect may look. `_authorization` is for systems that do not say who connects.
    #[expect(clippy::unnecessary_wraps, reason = "on Windows who has no token may not even look")]
    pub(crate) const fn access(&self, _authorization: Option<&str>) -> Option<Access> {
        Some(self.0)
    }
}

/// A connection to the program at `path`, and what it wants to hear as authorization: nothing here.
pub(crate) async fn connect(path: &Path) -> io::Result<(LocalStream, Option<String>)> {
    Ok((LocalStream::connect(path).await?, None))
}

/// Whether a program listens at `path`. Only a refusal says that there is none.
#[must_use]
pub fn is_answered(path: &Path) -> bool {
    let gone = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
    std::os::unix::net::UnixStream::connect(path).err().is_none_or(|e| !gone.contains(&e.kind()))
}

/// Makes the directory, for its owner alone until a socket in it is for others.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::metadata(dir) {
        // In a directory of somebody else's, that one could put a socket of its own in our place.
        Ok(found) if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} belongs to another user", dir.display())))
        }
        Ok(_) => Ok(()),
        Err(_) => {
            std::fs::create_dir_all(dir)?;
            restrict(dir, 0o700)
        }
    }
}

/// Lets a group reach the socket. It sees the names of the others, and no more of them.
fn share(path: &Path, gid: u32) -> io::Result<()> {
    chown(path, None, Some(gid))?;
    restrict(path, 0o660)?;
    let Some(dir) = path.parent() else { return Ok(()) };
    chown(dir, None, Some(gid))?;
    restrict(dir, 0o750)
}

fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn no_group(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no group `{name}`"))
}

/// The number of a group, given by name or number.
fn group_named(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| gid_in(&std::fs::read_to_string("/etc/group").ok()?, name))
}

/// group(5): `name:password:GID:members`.
fn gid_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_names_and_numbers() {
        let groups = "root:x:0:\nlan:x:7:ann,bob\nlanparty:x:120:ann\nbroken\n";
        assert_eq!(gid_in(groups, "lanparty"), Some(120));
        assert_eq!(gid_in(groups, "lan"), Some(7));
        assert_eq!(gid_in(groups, "broken"), None);
        assert_eq!(group_named("1234"), Some(1234));
    }

    #[tokio::test]
    async fn a_group_reaches_the_socket_and_nobody_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        make_dir(&run).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&run), 0o700);
        let own = rustix::process::getegid().as_raw();
        let path = run.join("client-a.sock");
        let listener = LocalListener::bind(&path, Some(&own.to_string())).unwrap();
        assert_eq!((mode(&run), mode(&path)), (0o750, 0o660));
        let (stream, _) = connect(&path).await.unwrap();
        let asked = listener.accept().await.unwrap();
        assert_eq!(listener.access(&asked).access(None), Some(Access::Change), "this is its owner");
        drop(stream);
        let error = LocalListener::bind(&run.join("client-b.sock"), Some("nosuchgroup")).err().unwrap();
        assert!(error.to_string().contains("no group `nosuchgroup`"), "{error}");
    }
}
