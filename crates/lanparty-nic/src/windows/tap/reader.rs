//! Station 1 on Windows, read: keeps reads posted while the cable is plugged in.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_MORE_DATA, ERROR_OPERATION_ABORTED};

use super::super::handle::{Event, wait_any};
use super::control::{Operation, TapControl};
use super::queues::{Plugged, Queues};

/// Reads that are posted at once, as many as the driver's own queue has places: together they outlast 25 ms of 5,000 frames a second in
/// which this thread does not run.
const READS: usize = 64;
/// Longest frame of the driver is 1,514 bytes; a tag more is room enough.
const FRAME_LEN_MAX: usize = 2048;

/// Reads in the order in which they were posted, which is the order in which the driver fills them.
pub(super) struct Reader {
    tap: TapControl,
    queues: Arc<Queues>,
    stop: Arc<Event>,
    reads: Vec<Operation>,
}

/// Why the reads have ended.
enum End {
    /// The device is closed.
    Stopped,
    /// The cable was pulled by this process.
    Unplugged,
    /// The adapter was removed, disabled or restarted.
    Gone,
}

impl Reader {
    pub(super) fn new(tap: TapControl, queues: Arc<Queues>, stop: Arc<Event>) -> io::Result<Self> {
        tap.tell(&queues);
        let reads = (0..READS).map(|_| Operation::new(FRAME_LEN_MAX)).collect::<io::Result<_>>()?;
        Ok(Self { tap, queues, stop, reads })
    }

    pub(super) fn run(mut self) {
        while let Some(plugged) = self.queues.wait_media() {
            let end = self.read(plugged);
            for read in &mut self.reads {
                read.cancel(&self.tap);
            }
            match end {
                End::Unplugged => {}
                End::Stopped => return,
                End::Gone => return self.queues.set_gone(),
            }
        }
    }

    /// Reads until something ends it.
    fn read(&mut self, plugged: Plugged) -> End {
        for place in 0..READS {
            if let Err(error) = self.reads[place].read(&self.tap) {
                return self.ended(&error, plugged);
            }
        }
        for place in (0..READS).cycle() {
            let read = &mut self.reads[place];
            // Once a round, it is looked whether the device is closed.
            let is_here = place > 0 && read.has_ended();
            if !is_here && !matches!(wait_any(&[&self.stop, read.event()]), Ok(1)) {
                return End::Stopped;
            }
            match read.finish(&self.tap) {
                Ok(len) => self.queues.push_inbox(Bytes::copy_from_slice(&read.buffer()[..len])),
                Err(e) if is_too_long(&e) => self.queues.count_unreadable(),
                Err(e) => return self.ended(&e, plugged),
            }
            if let Err(error) = self.reads[place].read(&self.tap) {
                return self.ended(&error, plugged);
            }
        }
        End::Stopped
    }

    /// The driver ends reads with the same code for a pulled cable as for our own cancelling, so the code alone says nothing.
    fn ended(&self, error: &io::Error, plugged: Plugged) -> End {
        let is_aborted = error.raw_os_error() == Some(ERROR_OPERATION_ABORTED.cast_signed());
        if is_aborted && self.queues.was_pulled(plugged) {
            return End::Unplugged;
        }
        tracing::debug!(%error, "reading from the TAP has ended");
        End::Gone
    }
}

fn is_too_long(error: &io::Error) -> bool {
    [ERROR_MORE_DATA, ERROR_INSUFFICIENT_BUFFER].iter().any(|code| error.raw_os_error() == Some(code.cast_signed()))
}
