//! Opening a physical interface fails for few reasons, each with its own remedy.

use std::io;

/// Why an interface could not be opened, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// There is no interface of that name.
    #[error("there is no interface `{name}`: `ip link` lists them")]
    NoSuchInterface {
        /// As given.
        name: String,
    },
    /// No CAP_NET_RAW.
    #[error("raw access to `{name}` is not permitted: run as root, or grant CAP_NET_RAW (`setcap cap_net_raw+ep` on the program)")]
    NotPermitted {
        /// As given.
        name: String,
    },
    /// Anything else.
    #[error("cannot {operation} `{name}`: {source}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// As given.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PacketError {
    /// Whether another name would help: what was asked for is at fault, not the machine or the permissions.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoSuchInterface { .. })
    }

    pub(super) fn os(operation: &'static str, name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { name },
            Some(libc::ENODEV | libc::ENXIO) => Self::NoSuchInterface { name },
            None if source.kind() == io::ErrorKind::InvalidInput => Self::NoSuchInterface { name },
            _ => Self::Os { operation, name, source },
        }
    }
}
