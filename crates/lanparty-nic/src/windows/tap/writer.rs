//! Station 11 on Windows, write: one frame after the other, so that they stay in order.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lanparty_proto::DropReason;
use windows_sys::Win32::Foundation::ERROR_OPERATION_ABORTED;

use super::super::handle::{Event, wait_any};
use super::control::{Operation, TapControl};
use super::queues::Queues;

/// As for reading.
const FRAME_LEN_MAX: usize = 2048;

pub(super) struct Writer {
    tap: TapControl,
    queues: Arc<Queues>,
    stop: Arc<Event>,
    write: Operation,
}

impl Writer {
    pub(super) fn new(tap: TapControl, queues: Arc<Queues>, stop: Arc<Event>) -> io::Result<Self> {
        Ok(Self { tap, queues, stop, write: Operation::new(FRAME_LEN_MAX)? })
    }

    pub(super) fn run(mut self) {
        while let Some(frame) = self.queues.wait_outbox() {
            match self.write(&frame) {
                Ok(()) => self.queues.count_sent(),
                Err(error) => self.refused(frame, &error),
            }
        }
        self.write.cancel(&self.tap);
    }

    fn write(&mut self, frame: &Bytes) -> io::Result<()> {
        if frame.len() > FRAME_LEN_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.write.write(&self.tap, frame)?;
        match wait_any(&[&self.stop, self.write.event()])? {
            1 => self.write.finish(&self.tap).map(drop),
            _ => {
                self.write.cancel(&self.tap);
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    }

    fn refused(&self, frame: Bytes, error: &io::Error) {
        let is_unplugged = error.raw_os_error() == Some(ERROR_OPERATION_ABORTED.cast_signed());
        let reason = if is_unplugged { DropReason::LinkDown } else { DropReason::DeviceError };
        tracing::trace!(%error, len = frame.len(), "the TAP refused a frame");
        self.queues.give_back(frame, reason);
    }
}
