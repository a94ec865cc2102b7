//! Sockets that only this machine's programs reach: TCP on the loopback address, and a token that only the owner can read.
//!
//! Windows does not say who connects, so whoever connects shows what it has read in the owner's directory (`%LOCALAPPDATA%`, which other
//! users cannot look into). Who has the token may do everything; who has not may not even look.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
pub(crate) use tokio::net::TcpStream as LocalStream;

use crate::management::Access;

/// How the file ends that says where a program listens.
pub(crate) const EXTENSION: &str = "sock";
/// Bytes of a token.
const TOKEN_LEN: usize = 32;

/// Time for this machine to say whether somebody listens.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// What the file says.
#[derive(Serialize, Deserialize)]
struct Door {
    address: SocketAddr,
    token: String,
}

/// Waits for programs of this machine.
pub(crate) struct LocalListener {
    listener: TcpListener,
    guard: Guard,
}

impl LocalListener {
    /// Listens on a free port, and says in the file at `path` where that is.
    ///
    /// # Errors
    /// When there is no port, the file cannot be written, or a group is named: Windows' files have none.
    pub(crate) fn bind(path: &Path, group: Option<&str>) -> io::Result<Self> {
        if group.is_some() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "Windows' sockets have no group: leave out --management-group"));
        }
        if path.exists() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let door = Door { address: listener.local_addr()?, token: token()? };
        write(path, &serde_json::to_string(&door)?)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, guard: Guard::new(&bearer(&door.token))? })
    }

    /// The next asker. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<LocalStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// What an asker may do is said by what it shows.
    pub(crate) fn access(&self, _: &LocalStream) -> Guard {
        self.guard.clone()
    }
}

/// What an asker has to show, as a tag under a key of this run: so that how long a comparison takes says nothing.
#[derive(Clone)]
pub(crate) struct Guard {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Guard {
    fn new(authorization: &str) -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| no_chance())?;
        let tag = hmac::sign(&key, authorization.as_bytes());
        Ok(Self { key, tag })
    }

    /// Everything for who has the token, nothing for others.
    pub(crate) fn access(&self, authorization: Option<&str>) -> Option<Access> {
        let shown = authorization.unwrap_or_default();
        hmac::verify(&self.key, shown.as_bytes(), self.tag.as_ref()).is_ok().then_some(Access::Change)
    }
}

/// A connection to the program at `path`, and what it wants to hear as authorization.
pub(crate) async fn connect(path: &Path) -> io::Result<(LocalStream, Option<String>)> {
    let door: Door = serde_json::from_slice(&std::fs::read(path)?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok((LocalStream::connect(door.address).await?, Some(bearer(&door.token))))
}

/// Whether a program listens where the file at `path` says.
#[must_use]
pub fn is_answered(path: &Path) -> bool {
    let door = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Door>(&bytes).ok());
    door.is_some_and(|door| std::net::TcpStream::connect_timeout(&door.address, CONNECT_TIMEOUT).is_ok())
}

/// The directory belongs to the user, as its parents do.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// Whole, or not at all: who reads it is another program.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

fn token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_LEN];
    SystemRandom::new().fill(&mut bytes).map_err(|_| no_chance())?;
    Ok(HEXLOWER.encode(&bytes))
}

fn no_chance() -> io::Error {
    io::Error::other("the system gives no random bytes")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_read_the_file_may_do_everything_and_others_may_not_even_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client-a.sock");
        let listener = LocalListener::bind(&path, None).unwrap();
        let (_stream, authorization) = connect(&path).await.unwrap();
        let guard = listener.access(&listener.accept().await.unwrap());
        assert_eq!(guard.access(authorization.as_deref()), Some(Access::Change));
        for wrong in [None, Some(""), Some("Bearer "), Some(&bearer(&token().unwrap()))] {
            assert_eq!(guard.access(wrong), None);
        }
        assert!(LocalListener::bind(&dir.path().join("client-b.sock"), Some("lan")).is_err());
    }
}
