//! The real TAP: its handle goes to the driver of frames, and what it can be asked stays here.

use std::io;

use lanparty_nic::windows::{Tap, TapControl, TapOpenError};
use lanparty_proto::MacAddr;

use crate::tap_io::{OpenFault, TapIo};

/// An adapter of this machine.
#[derive(Debug)]
pub(crate) struct WindowsTap {
    instance_id: String,
    name: String,
    open: Option<Tap>,
    control: Option<TapControl>,
}

impl WindowsTap {
    /// Closed as yet.
    #[must_use]
    pub(crate) const fn new(instance_id: String, name: String) -> Self {
        Self { instance_id, name, open: None, control: None }
    }

    /// The opened device, once: for whoever carries its frames.
    pub(crate) const fn take_device(&mut self) -> Option<Tap> {
        self.open.take()
    }

    fn control(&self) -> io::Result<&TapControl> {
        self.control.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl From<TapOpenError> for OpenFault {
    fn from(error: TapOpenError) -> Self {
        match error {
            TapOpenError::NotThere => Self::NotThere,
            TapOpenError::InUse => Self::InUse,
            TapOpenError::NotPermitted => Self::NotPermitted,
            TapOpenError::Os(e) => Self::Os(e),
            other => Self::Os(io::Error::other(other)),
        }
    }
}

impl TapIo for WindowsTap {
    fn open(&mut self) -> Result<(), OpenFault> {
        let tap = Tap::open(&self.instance_id, &self.name)?;
        self.control = Some(tap.control());
        self.open = Some(tap);
        Ok(())
    }

    fn close(&mut self) {
        (self.open, self.control) = (None, None);
    }

    fn mac(&self) -> io::Result<MacAddr> {
        self.control()?.mac()
    }

    fn mtu(&self) -> io::Result<u32> {
        self.control()?.mtu()
    }

    fn set_media(&mut self, up: bool) -> io::Result<()> {
        self.control()?.set_media(up)
    }
}
