//! A device in tokio: readiness from its file descriptor, batches through its own calls.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use lanparty_nic::Device;
use lanparty_proto::{DropReason, FrameBatch};
use tokio::io::unix::AsyncFd;

/// What became of frames offered to a device.
#[derive(Debug, Default)]
pub struct Written {
    /// How many, from the end, it has no room for now.
    pub left: usize,
    /// Those that it took and could not carry, each with the reason.
    pub unsent: Vec<(Bytes, DropReason)>,
}

/// A device that can be awaited.
pub struct AsyncDevice<D> {
    /// A duplicate of the device's descriptor: same file, so the same readiness.
    readiness: AsyncFd<OwnedFd>,
    device: D,
}

impl<D: Device> AsyncDevice<D> {
    /// Registers the device with the current runtime.
    ///
    /// # Errors
    /// When its descriptor cannot be watched.
    pub fn new(device: D) -> io::Result<Self> {
        let descriptor = device.as_fd().try_clone_to_owned()?;
        #[expect(deprecated, reason = "its successor is `unsafe` for types that may close early; an `OwnedFd` of our own cannot")]
        let readiness = AsyncFd::new(descriptor)?;
        Ok(Self { readiness, device })
    }

    /// Station 1, read: waits for frames and appends them to `batch`. Cancel-safe: frames are read only when the future resolves.
    ///
    /// # Errors
    /// When the device is down or gone.
    pub async fn recv(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        loop {
            let mut ready = self.readiness.readable().await?;
            match self.device.recv_batch(batch) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                outcome => return outcome,
            }
        }
    }

    /// Station 11, write.
    ///
    /// # Errors
    /// When the device is down or gone.
    pub fn send(&mut self, frames: &[Bytes]) -> io::Result<Written> {
        let (mut taken, mut unsent) = (0, vec![]);
        while taken < frames.len() {
            match self.device.send_batch(&frames[taken..]) {
                Ok(0) => break,
                Ok(n) => {
                    taken += n;
                    unsent.append(&mut self.device.take_unsent());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(Written { left: frames.len() - taken, unsent })
    }

    /// The device.
    pub const fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// The device, to look at.
    pub const fn device_ref(&self) -> &D {
        &self.device
    }
}
