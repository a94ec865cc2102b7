//! A device in tokio: readiness from its file descriptor, or where it has none from itself; batches through its own calls.

use std::io;
#[cfg(unix)]
use std::os::fd::OwnedFd;

use bytes::Bytes;
use lanparty_nic::Device;
use lanparty_proto::{DropReason, FrameBatch};
#[cfg(unix)]
use tokio::io::unix::AsyncFd;

#[cfg(unix)]
use crate::busy_poll::something_came;

/// So many frames written together may be answered at once. Of more, the answers come together when they are waited for.
#[cfg(unix)]
const LONE_MAX: usize = 2;

/// What became of frames offered to a device.
#[derive(Debug, Default)]
pub struct Written {
    /// How many, from the end, did not enter it.
    pub left: usize,
    /// Why they did not: it is down or gone. Nothing when it has no room for them now.
    pub failed: Option<io::Error>,
    /// Those that it took and could not carry, each with the reason.
    pub unsent: Vec<(Bytes, DropReason)>,
}

impl Written {
    /// Why those that are left did not enter the device.
    #[must_use]
    pub const fn why_left(&self) -> DropReason {
        if self.failed.is_some() { DropReason::DeviceError } else { DropReason::QueueFull }
    }
}

/// A device that can be awaited.
pub struct AsyncDevice<D> {
    /// A duplicate of the device's descriptor: same file, so the same readiness.
    #[cfg(unix)]
    readiness: AsyncFd<OwnedFd>,
    /// It may have answered what was written.
    #[cfg(unix)]
    may_answer: bool,
    device: D,
}

impl<D: Device> AsyncDevice<D> {
    /// Registers the device with the current runtime.
    ///
    /// # Errors
    /// When its descriptor cannot be watched.
    #[cfg(unix)]
    pub fn new(device: D) -> io::Result<Self> {
        let descriptor = device.as_fd().try_clone_to_owned()?;
        #[expect(deprecated, reason = "its successor is `unsafe` for types that may close early; an `OwnedFd` of our own cannot")]
        let readiness = AsyncFd::new(descriptor)?;
        Ok(Self { readiness, may_answer: false, device })
    }

    /// Takes the device, which says itself when it is ready.
    ///
    /// # Errors
    /// None here.
    #[cfg(windows)]
    pub const fn new(device: D) -> io::Result<Self> {
        Ok(Self { device })
    }

    /// Station 1, read: waits for frames and appends them to `batch`. Cancel-safe: frames are read only when the future resolves.
    ///
    /// # Errors
    /// When the device is down or gone.
    #[cfg(unix)]
    pub async fn recv(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        if let Some(outcome) = self.answer(batch) {
            return outcome;
        }
        loop {
            let mut ready = self.readiness.readable().await?;
            match self.device.recv_batch(batch) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                outcome => {
                    something_came();
                    if outcome.is_ok() && self.device.is_drained() {
                        ready.clear_ready();
                    }
                    return outcome;
                }
            }
        }
    }

    /// What the machine behind the device answered while it was given the frames: of a ping the answer is there when the write returns. The
    /// runtime would say so after a look at all there is.
    #[cfg(unix)]
    fn answer(&mut self, batch: &mut FrameBatch) -> Option<io::Result<usize>> {
        if !std::mem::take(&mut self.may_answer) {
            return None;
        }
        match self.device.recv_batch(batch) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            outcome => {
                something_came();
                Some(outcome)
            }
        }
    }

    /// Station 1, read: waits for frames and appends them to `batch`. Cancel-safe: frames are read only when the future resolves.
    ///
    /// # Errors
    /// When the device is down or gone.
    #[cfg(windows)]
    pub async fn recv(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        loop {
            std::future::poll_fn(|context| self.device.poll_readable(context)).await;
            match self.device.recv_batch(batch) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    /// As [`Self::recv`] when `is_behind`: frames read before wait for their path. Others have a turn to send them first, and then it is
    /// read twice as much. Who reads no faster than it sends leaves the rest in the device, where a ping stands behind a download, and
    /// no queue that is fair ever has something to choose from.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub async fn recv_after(&mut self, batch: &mut FrameBatch, is_behind: bool) -> io::Result<usize> {
        if !is_behind {
            return self.recv(batch).await;
        }
        tokio::task::yield_now().await;
        let frames = self.recv(batch).await?;
        // A device that fails says so when it is read next.
        let more = if self.device.is_drained() { 0 } else { self.device.recv_batch(batch).unwrap_or(0) };
        Ok(frames + more)
    }

    /// Station 11, write. What entered the device before it failed has entered it.
    pub fn send(&mut self, frames: &[Bytes]) -> Written {
        #[cfg(unix)]
        {
            self.may_answer = (1..=LONE_MAX).contains(&frames.len()) && self.device.answers_at_once();
        }
        let mut written = Written { left: frames.len(), ..Written::default() };
        while written.left > 0 {
            match self.device.send_batch(&frames[frames.len() - written.left..]) {
                Ok(0) => break,
                Ok(n) => {
                    written.left -= n;
                    written.unsent.append(&mut self.device.take_unsent());
                }
                Err(e) => {
                    written.failed = Some(e).filter(|e| e.kind() != io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        written
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

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd};

    use lanparty_nic::{DeviceFault, DeviceStats, MemoryDevice, memory_pair};

    use super::*;

    type Failure = fn() -> io::Error;

    /// Takes two frames at a time, and so many in all before it ends.
    struct Ending {
        cable: MemoryDevice,
        takes: usize,
        ends: Failure,
    }

    impl AsFd for Ending {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.cable.as_fd()
        }
    }

    impl Device for Ending {
        fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
            self.cable.recv_batch(batch)
        }

        fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
            let taken = frames.len().min(2).min(self.takes);
            self.takes -= taken;
            if taken == 0 { Err((self.ends)()) } else { Ok(taken) }
        }

        fn name(&self) -> &str {
            self.cable.name()
        }

        fn stats(&self) -> DeviceStats {
            self.cable.stats()
        }
    }

    #[tokio::test]
    async fn who_is_behind_reads_twice_as_much_and_less_when_there_is_less() {
        let (cable, mut other) = memory_pair(500).unwrap();
        let mut device = AsyncDevice::new(cable).unwrap();
        let once = {
            other.send_batch(&vec![Bytes::from_static(b"frame"); 300]).unwrap();
            device.recv_after(&mut FrameBatch::new(), false).await.unwrap()
        };
        let mut reads = vec![];
        while reads.iter().sum::<usize>() + once < 300 {
            let mut batch = FrameBatch::new();
            reads.push(device.recv_after(&mut batch, true).await.unwrap());
            assert_eq!(Some(&batch.len()), reads.last());
        }
        assert_eq!(reads, [2 * once, 300 - 3 * once]);
        drop(other);
        let failed = device.recv_after(&mut FrameBatch::new(), true).await.unwrap_err();
        assert!(DeviceFault::of(&failed).is_some(), "{failed}");
    }

    /// Answers each frame while it is given it; readiness never says so.
    struct Answering {
        cable: MemoryDevice,
        answers: usize,
        at_once: bool,
    }

    impl AsFd for Answering {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.cable.as_fd()
        }
    }

    impl Device for Answering {
        fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
            let count = std::mem::take(&mut self.answers);
            for _ in 0..count {
                batch.push(&[b"answer"]);
            }
            if count > 0 { Ok(count) } else { Err(io::ErrorKind::WouldBlock.into()) }
        }

        fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
            self.answers += frames.len();
            Ok(frames.len())
        }

        fn answers_at_once(&self) -> bool {
            self.at_once
        }

        fn name(&self) -> &str {
            self.cable.name()
        }

        fn stats(&self) -> DeviceStats {
            self.cable.stats()
        }
    }

    #[tokio::test]
    async fn the_answer_to_a_lone_frame_is_read_at_once() {
        for (written, at_once, read) in [(1, true, Some(1)), (LONE_MAX, true, Some(LONE_MAX)), (LONE_MAX + 1, true, None), (1, false, None)]
        {
            let (cable, _other) = memory_pair(10).unwrap();
            let mut device = AsyncDevice::new(Answering { cable, answers: 0, at_once }).unwrap();
            assert_eq!(device.send(&vec![Bytes::from_static(b"frame"); written]).left, 0);
            let (soon, mut batch) = (std::time::Duration::from_millis(20), FrameBatch::new());
            let came = tokio::time::timeout(soon, device.recv(&mut batch)).await.ok().map(Result::unwrap);
            assert_eq!(came, read, "{written} written");
            // Asked once: whoever has not answered by then is waited for. Nor is anybody asked who was given nothing.
            device.device().answers = 1;
            assert!(tokio::time::timeout(soon, device.recv(&mut batch)).await.is_err());
            device.send(&[]);
            assert!(tokio::time::timeout(soon, device.recv(&mut batch)).await.is_err());
        }
    }

    #[tokio::test]
    async fn what_entered_a_device_before_it_failed_has_entered_it() {
        let frames = vec![Bytes::from_static(b"frame"); 5];
        let (down, full): (Failure, Failure) = (|| DeviceFault::Down.into(), || io::ErrorKind::WouldBlock.into());
        for (takes, ends, expected) in [
            (3, down, (2, true, DropReason::DeviceError)),
            (0, down, (5, true, DropReason::DeviceError)),
            (3, full, (2, false, DropReason::QueueFull)),
            (9, down, (0, false, DropReason::QueueFull)),
        ] {
            let (cable, _other) = memory_pair(10).unwrap();
            let written = AsyncDevice::new(Ending { cable, takes, ends }).unwrap().send(&frames);
            assert_eq!((written.left, written.failed.is_some(), written.why_left()), expected, "{takes} before the end");
        }
    }
}
