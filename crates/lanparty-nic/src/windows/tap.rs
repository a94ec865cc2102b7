//! A TAP-Windows6 adapter: an Ethernet interface of this machine whose cable ends in this process.
//!
//! The driver keeps 64 frames for a reader and drops the rest without a word, so several reads are always posted, by a thread of their
//! own; another one writes. Frames wait between them and [`Device`] in two bounded queues, and what finds no room there is counted.

mod control;
mod queues;
mod reader;
mod writer;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use bytes::Bytes;
use lanparty_proto::{DropReason, FrameBatch};

use super::handle::Event;
use crate::device::{BATCH_BYTES_MAX, BATCH_FRAMES_MAX, Device, DeviceFault, DeviceStats, Waitable};
use queues::Queues;

pub use control::{PacedTrial, TapControl, TapOpenError};

/// A TAP of this machine, opened by this process alone.
#[derive(Debug)]
pub struct Tap {
    name: String,
    control: TapControl,
    queues: Arc<Queues>,
    stop: Arc<Event>,
    threads: Vec<JoinHandle<()>>,
    taken: u64,
}

impl Tap {
    /// Opens the adapter `{GUID}`, which the user knows as `name`. Its cable is unplugged until [`TapControl::set_media`].
    ///
    /// # Errors
    /// A [`TapOpenError`] names the cause.
    pub fn open(guid: &str, name: &str) -> Result<Self, TapOpenError> {
        Self::open_at(&format!(r"\\.\Global\{guid}.tap"), name)
    }

    /// Opens a device of the same manner at another path: a test driver's other end.
    ///
    /// # Errors
    /// A [`TapOpenError`] names the cause.
    pub fn open_at(path: &str, name: &str) -> Result<Self, TapOpenError> {
        let control = TapControl::open(path)?;
        let (queues, stop) = (Arc::new(Queues::default()), Arc::new(Event::new().map_err(TapOpenError::Os)?));
        let mut tap = Self { name: name.to_owned(), control, queues, stop, threads: vec![], taken: 0 };
        tap.start().map_err(TapOpenError::Os)?;
        Ok(tap)
    }

    fn start(&mut self) -> io::Result<()> {
        let reader = reader::Reader::new(self.control.clone(), Arc::clone(&self.queues), Arc::clone(&self.stop))?;
        let writer = writer::Writer::new(self.control.clone(), Arc::clone(&self.queues), Arc::clone(&self.stop))?;
        self.threads.push(std::thread::Builder::new().name("tap-read".into()).spawn(|| reader.run())?);
        self.threads.push(std::thread::Builder::new().name("tap-write".into()).spawn(|| writer.run())?);
        Ok(())
    }

    /// What the adapter can be asked and told, also while frames pass.
    #[must_use]
    pub fn control(&self) -> TapControl {
        self.control.clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.set();
        self.queues.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        // An adapter that is gone has no cable to pull.
        let _ = self.control.set_media(false);
    }
}

impl Waitable for Tap {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.queues.poll_inbox(context)
    }
}

impl Device for Tap {
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        let frames = self.queues.take_inbox(BATCH_FRAMES_MAX, BATCH_BYTES_MAX);
        if frames.is_empty() {
            return Err(if self.queues.is_gone() { DeviceFault::Gone.into() } else { io::ErrorKind::WouldBlock.into() });
        }
        for frame in &frames {
            batch.push(&[frame]);
        }
        self.taken += frames.len() as u64;
        Ok(frames.len())
    }

    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        if self.queues.is_gone() {
            return Err(DeviceFault::Gone.into());
        }
        match self.queues.offer_outbox(frames) {
            0 if !frames.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn take_unsent(&mut self) -> Vec<(Bytes, DropReason)> {
        self.queues.take_unsent()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stats(&self) -> DeviceStats {
        DeviceStats { received: self.taken, ..self.queues.stats() }
    }
}
