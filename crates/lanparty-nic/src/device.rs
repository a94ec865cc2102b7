//! What every Ethernet device can do, and how it says that it cannot.

use std::io;
#[cfg(unix)]
pub use std::os::fd::AsFd as Waitable;
#[cfg(windows)]
use std::task::{Context, Poll};

use bytes::Bytes;
use lanparty_proto::{DropReason, FrameBatch};

/// Bytes after which [`Device::recv_batch`] stops asking for more: one super-frame, so that a batch stays within the
/// arena of a [`FrameBatch`] and a busy device cannot keep its reader from the network.
pub(crate) const BATCH_BYTES_MAX: usize = 64 * 1024;
/// Frames after which [`Device::recv_batch`] stops asking for more.
pub(crate) const BATCH_FRAMES_MAX: usize = 64;

/// How a device is waited for where it has no descriptor to wait on.
#[cfg(windows)]
pub trait Waitable {
    /// Whether [`Device::recv_batch`] has something to say, frames or a fault; wakes the last asker when it will.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;
}

#[cfg(windows)]
impl<D: Waitable + ?Sized> Waitable for Box<D> {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        (**self).poll_readable(context)
    }
}

/// An Ethernet device: takes and gives many frames per call.
///
/// Never blocks; readiness is that of the file descriptor, for reading and for writing, or what [`Waitable`] says. Both calls are complete when
/// they return, so whoever awaits readiness and then calls them may be cancelled at the await without losing a frame.
pub trait Device: Waitable + Send {
    /// Reads what is there, up to about 64 KiB or 64 frames, and appends it to `batch`: at least one frame on success.
    ///
    /// A super-frame of the kernel arrives as the frames it stands for, each with complete checksums. The last read
    /// may exceed the limits by what one system call brings.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there; a [`DeviceFault`] inside the error when the interface is down or gone.
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize>;

    /// Whether the last [`Self::recv_batch`] ended because the kernel had no more: readiness comes anew with the next frame. `false` when
    /// that is not known.
    fn is_drained(&self) -> bool {
        false
    }

    /// Writes frames in order and returns how many were taken, from the front.
    ///
    /// Consecutive segments of one flow are handed over as one super-frame where the device can. A frame that the
    /// kernel refuses for its own sake, or has no room for, is taken, skipped, counted in [`DeviceStats`], and given
    /// back by [`Self::take_unsent`].
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none could be taken; a [`DeviceFault`] inside the error when the interface is down or gone.
    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize>;

    /// Frames that the last [`Self::send_batch`] took and that did not leave, each with the reason.
    fn take_unsent(&mut self) -> Vec<(Bytes, DropReason)> {
        vec![]
    }

    /// Whether who gets a frame has looked at it when [`Self::send_batch`] returns, so that an answer may be there: this machine does.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// The interface's name, as the operator knows it.
    fn name(&self) -> &str;

    /// What this device has carried and lost since it was opened. Asks the kernel: once a second, not once a frame.
    fn stats(&self) -> DeviceStats;
}

impl<D: Device + ?Sized> Device for Box<D>
where
    Self: Waitable,
{
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        (**self).recv_batch(batch)
    }

    fn is_drained(&self) -> bool {
        (**self).is_drained()
    }

    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        (**self).send_batch(frames)
    }

    fn take_unsent(&mut self) -> Vec<(Bytes, DropReason)> {
        (**self).take_unsent()
    }

    fn answers_at_once(&self) -> bool {
        (**self).answers_at_once()
    }

    fn name(&self) -> &str {
        (**self).name()
    }

    fn stats(&self) -> DeviceStats {
        (**self).stats()
    }
}

/// What a device has carried and lost since it was opened. Frames, as the network would count them: a super-frame of
/// forty segments counts forty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceStats {
    /// Frames given to the caller.
    pub received: u64,
    /// Reads that brought something no frame could be made of: a super-frame of a kind we cannot segment, a checksum
    /// to be completed outside the frame, a frame longer than 64 KiB.
    pub unreadable: u64,
    /// Frames that the kernel had no room for because nobody read in time.
    pub kernel_drops: u64,
    /// Frames written.
    pub sent: u64,
    /// Of those, frames that left as part of a super-frame.
    pub coalesced: u64,
    /// Frames that the kernel refused for their own sake: too short, too long for the interface.
    pub refused: u64,
    /// Frames that the kernel dropped on the way out because a queue was full or memory short.
    pub congested: u64,
}

/// Why a device cannot carry frames now, as the source inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFault {
    /// The interface is administratively down. The device stays usable and carries frames again once it is up.
    #[error("the interface is down")]
    Down,
    /// The interface was removed, or the other end of a pair dropped. Open it anew.
    #[error("the interface is gone")]
    Gone,
}

impl DeviceFault {
    /// The fault behind `error`, when there is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<DeviceFault> for io::Error {
    fn from(fault: DeviceFault) -> Self {
        let kind = match fault {
            DeviceFault::Down => io::ErrorKind::NetworkDown,
            DeviceFault::Gone => io::ErrorKind::NotConnected,
        };
        Self::new(kind, fault)
    }
}

/// What became of one attempt to write.
#[cfg(unix)]
pub(crate) enum Refusal {
    /// No room now: try again when writable.
    Full,
    /// Lost to a full queue or a lack of memory.
    Congested,
    /// The frame itself is at fault.
    Frame,
    /// The interface is at fault, or the call was.
    Device(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_again_inside_the_error() {
        for fault in [DeviceFault::Down, DeviceFault::Gone] {
            assert_eq!(DeviceFault::of(&io::Error::from(fault)), Some(fault));
        }
        assert_eq!(DeviceFault::of(&io::ErrorKind::WouldBlock.into()), None);
    }
}
