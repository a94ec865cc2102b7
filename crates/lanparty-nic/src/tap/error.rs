//! Creating a TAP fails for few reasons, each with its own remedy.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::sys::interface::{Interfaces, NAME_LEN_MAX, is_valid_name};
use crate::sys::tun;
use crate::tap::TapConfig;

const DRIVER: &str = "/dev/net/tun";

/// Why there is no TAP, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// The name cannot be an interface's.
    #[error("`{name}` cannot be the name of an interface: use 1 to {NAME_LEN_MAX} characters without spaces, `/` or `:`")]
    InvalidName {
        /// As given.
        name: String,
    },
    /// There is an interface of that name, and it is of another kind.
    #[error("an interface `{name}` exists already and is not a TAP: choose another name")]
    NotATap {
        /// As given.
        name: String,
    },
    /// Another process has this TAP.
    #[error("the TAP `{name}` is in use by another process: stop that one, or choose another name")]
    Busy {
        /// As given.
        name: String,
    },
    /// A persistent TAP of that name is there, and one that disappears with the program was asked for.
    #[error(
        "a persistent TAP `{name}` exists already, left by another program: remove it with `ip link delete {name}`, or choose another name"
    )]
    Persistent {
        /// As given.
        name: String,
    },
    /// A TAP of that name was made for somebody else.
    #[error("the TAP `{name}` was made for another user or group: `ip tuntap add dev {name} mode tap user $USER` makes one for you")]
    NotOurs {
        /// As given.
        name: String,
    },
    /// The kernel or the container has no TUN/TAP driver.
    #[error("{DRIVER} is missing: load the driver with `modprobe tun`; a container needs `--device {DRIVER} --cap-add NET_ADMIN`")]
    NoDriver,
    /// No CAP_NET_ADMIN, or no access to the driver.
    #[error("creating a TAP is not permitted: run as root, or grant CAP_NET_ADMIN (`setcap cap_net_admin+ep` on the program)")]
    NotPermitted,
    /// Anything else.
    #[error("cannot {operation} the TAP `{name}`: {source}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// As given, or as the kernel chose it.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TapError {
    /// Whether another name would help: what was asked for is at fault, not the machine or the permissions.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::InvalidName { .. } | Self::NotATap { .. } | Self::Busy { .. } | Self::Persistent { .. } | Self::NotOurs { .. })
    }

    pub(super) fn os(operation: &'static str, name: &str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            _ => Self::Os { operation, name: name.to_owned(), source },
        }
    }
}

/// Opens the driver, close-on-exec as std always does, and non-blocking.
pub(super) fn open_driver() -> Result<File, TapError> {
    let open = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DRIVER);
    open.map_err(|e| match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::ENOTDIR) => TapError::NoDriver,
        _ => TapError::os("open the driver of", DRIVER, e),
    })
}

/// Makes `driver` the TAP of `config`, and gives back its final name, and whether it was there before and stays.
pub(super) fn attach(driver: &File, config: &TapConfig, interfaces: &Interfaces) -> Result<(String, bool), TapError> {
    let name = config.name.as_str();
    let named = || name.to_owned();
    if !is_valid_name(name) {
        return Err(TapError::InvalidName { name: named() });
    }
    let name = tun::attach_tap(driver.as_fd(), name).map_err(|e| match e.raw_os_error() {
        Some(libc::EBUSY) => TapError::Busy { name: named() },
        // The driver refuses an interface of another kind, or a TUN, like any wrong argument.
        Some(libc::EINVAL) if interfaces.index(name).is_ok() => TapError::NotATap { name: named() },
        Some(libc::EPERM | libc::EACCES) if interfaces.index(name).is_ok() => TapError::NotOurs { name: named() },
        _ => TapError::os("create", name, e),
    })?;
    match tun::is_persistent(driver.as_fd()) {
        Ok(true) if !config.reuse => Err(TapError::Persistent { name }),
        is_persistent => Ok((name, is_persistent.unwrap_or(false))),
    }
}
