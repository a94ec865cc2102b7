//! What the policy asks of the TAP itself. Frames do not come by here.

use std::io;

use lanparty_proto::MacAddr;

/// Why an adapter cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// Its driver does not run.
    #[error("its driver does not answer: the adapter is disabled, or TAP-Windows6 was removed")]
    NotThere,
    /// The driver lets one program in.
    #[error("another program uses it")]
    InUse,
    /// Only administrators may.
    #[error("Windows does not allow it")]
    NotPermitted,
    /// Anything else.
    #[error("{0}")]
    Os(io::Error),
}

/// A TAP-Windows6 adapter that this process may open. Closed, its cable is unplugged: the driver sees to that, also after a crash.
pub trait TapIo {
    /// Opens it, for this process alone.
    ///
    /// # Errors
    /// An [`OpenFault`].
    fn open(&mut self) -> Result<(), OpenFault>;

    /// Closes it.
    fn close(&mut self);

    /// The MAC address that it has now.
    ///
    /// # Errors
    /// What the driver said, or that it is closed.
    fn mac(&self) -> io::Result<MacAddr>;

    /// The driver's own MTU, in bytes.
    ///
    /// # Errors
    /// What the driver said, or that it is closed.
    fn mtu(&self) -> io::Result<u32>;

    /// Plugs its cable in or out.
    ///
    /// # Errors
    /// What the driver said, or that it is closed.
    fn set_media(&mut self, up: bool) -> io::Result<()>;
}
