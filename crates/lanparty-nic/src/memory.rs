//! Two devices with a cable between them and no kernel interface: for tests and for ends within one process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use lanparty_proto::FrameBatch;

use crate::device::{BATCH_BYTES_MAX, BATCH_FRAMES_MAX, Device, DeviceFault, DeviceStats};
use crate::sys::socket::{message_pair, recv, send, set_buffer};

/// What the kernel charges a socket for a full-size frame: data rounded up to 2 KiB, and its bookkeeping.
const FRAME_COST: usize = 2304;
/// Longest frame, as for any device.
const FRAME_LEN_MAX: usize = 65_535 + 14;

/// One end of a cable in memory.
#[derive(Debug)]
pub struct MemoryDevice {
    socket: OwnedFd,
    name: &'static str,
    buffer: Box<[u8]>,
    stats: DeviceStats,
}

/// A cable with room for about `capacity` full-size frames each way; what one end sends, the other receives.
///
/// Beyond the capacity sending would block, and readiness for writing returns when a quarter is left, as with any UNIX
/// socket. Unprivileged processes are limited to `net.core.wmem_max`, about 180 frames by default.
///
/// # Errors
/// What the kernel said: too many open files.
pub fn memory_pair(capacity: usize) -> io::Result<(MemoryDevice, MemoryDevice)> {
    let (a, b) = message_pair()?;
    let end = |socket: OwnedFd, name| {
        // The kernel doubles what it is asked for (socket(7)).
        set_buffer(socket.as_fd(), libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, capacity * FRAME_COST / 2)?;
        let buffer = vec![0; FRAME_LEN_MAX].into_boxed_slice();
        Ok::<_, io::Error>(MemoryDevice { socket, name, buffer, stats: DeviceStats::default() })
    };
    Ok((end(a, "memory0")?, end(b, "memory1")?))
}

impl AsFd for MemoryDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Device for MemoryDevice {
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        let (mut frames, mut bytes) = (0, 0);
        while frames < BATCH_FRAMES_MAX && bytes < BATCH_BYTES_MAX {
            match recv(self.socket.as_fd(), &mut self.buffer) {
                Ok(len) if len > 0 => {
                    batch.push(&[&self.buffer[..len]]);
                    (frames, bytes) = (frames + 1, bytes + len);
                }
                _ if frames > 0 => break,
                Ok(_) => return Err(DeviceFault::Gone.into()),
                Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => return Err(DeviceFault::Gone.into()),
                Err(e) => return Err(e),
            }
        }
        self.stats.received += frames as u64;
        Ok(frames)
    }

    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        for (taken, frame) in frames.iter().enumerate() {
            // An empty message would look like the end of the cable.
            if frame.is_empty() || frame.len() > FRAME_LEN_MAX {
                self.stats.refused += 1;
                continue;
            }
            match send(self.socket.as_fd(), frame) {
                Ok(()) => self.stats.sent += 1,
                Err(_) if taken > 0 => return Ok(taken),
                Err(e) if matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => return Err(DeviceFault::Gone.into()),
                Err(e) => return Err(e),
            }
        }
        Ok(frames.len())
    }

    fn name(&self) -> &str {
        self.name
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cross_whole_and_in_order_and_an_empty_cable_would_block() {
        let (mut a, mut b) = memory_pair(100).unwrap();
        let mut batch = FrameBatch::new();
        assert_eq!(b.recv_batch(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let frames: Vec<Bytes> = [1usize, 60, 1514, FRAME_LEN_MAX].map(|len| vec![len as u8; len].into()).into();
        assert_eq!(a.send_batch(&frames).unwrap(), 4);
        assert_eq!(b.recv_batch(&mut batch).unwrap(), 4);
        for frame in frames {
            assert_eq!(batch.pop().unwrap()[FrameBatch::HEADROOM..], frame);
        }
    }

    #[test]
    fn a_full_cable_takes_some_then_would_block_then_takes_again() {
        let (mut a, mut b) = memory_pair(50).unwrap();
        let frames = vec![Bytes::from(vec![7; 1514]); 200];
        let taken = a.send_batch(&frames).unwrap();
        assert!((40..=60).contains(&taken), "{taken}");
        assert_eq!(a.send_batch(&frames[taken..]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut batch = FrameBatch::new();
        while b.recv_batch(&mut batch).is_ok() {}
        assert_eq!(batch.len(), taken);
        assert!(a.send_batch(&frames[taken..]).unwrap() > 0);
    }

    #[test]
    fn an_end_that_was_dropped_is_gone_after_its_last_frame() {
        let (mut a, mut b) = memory_pair(10).unwrap();
        a.send_batch(&[Bytes::from_static(b"last")]).unwrap();
        drop(a);
        let mut batch = FrameBatch::new();
        assert_eq!(b.recv_batch(&mut batch).unwrap(), 1);
        assert_eq!(DeviceFault::of(&b.recv_batch(&mut batch).unwrap_err()), Some(DeviceFault::Gone));
        assert_eq!(DeviceFault::of(&b.send_batch(&[Bytes::from_static(b"x")]).unwrap_err()), Some(DeviceFault::Gone));
    }

    #[test]
    fn an_empty_frame_is_refused_and_counted() {
        let (mut a, _b) = memory_pair(10).unwrap();
        assert_eq!(a.send_batch(&[Bytes::new(), Bytes::from_static(b"x")]).unwrap(), 2);
        assert_eq!((a.stats().refused, a.stats().sent), (1, 1));
    }
}
