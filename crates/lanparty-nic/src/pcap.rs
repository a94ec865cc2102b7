//! Captures: pcapng files (draft-ietf-opsawg-pcapng) that Wireshark opens, and a device that also writes down what passes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lanparty_proto::{DropReason, FrameBatch};

#[cfg(windows)]
use crate::device::Waitable;
use crate::device::{Device, DeviceStats};

/// Size a capture may reach, in bytes: a forgotten one must not fill a disk.
const FILE_LEN_MAX: u64 = 1 << 30;
/// `epb_flags`: the direction as the device's host would see it on its interface.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Which way a packet went, seen from this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureWay {
    /// It came.
    Inbound,
    /// It was sent.
    Outbound,
}

/// What the packets of a capture begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// What its reader is told: `DLT_USER0`.
    User0,
}

/// Wraps a device and writes both directions to a file: what was received from it, and what it took.
///
/// The capture never disturbs the traffic: at its size limit or at the first error of the file it ends, says so once in
/// the log, and the device goes on.
pub struct PcapTee<D> {
    device: D,
    capture: Option<Capture>,
}

/// A capture file that is being written.
#[derive(Debug)]
pub struct Capture {
    file: BufWriter<File>,
    len: u64,
    len_max: u64,
}

impl<D: Device> PcapTee<D> {
    /// Captures to a new file at `path`, replacing one that is there.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(device: D, path: &Path) -> io::Result<Self> {
        Self::with_limit(device, path, FILE_LEN_MAX)
    }

    fn with_limit(device: D, path: &Path, len_max: u64) -> io::Result<Self> {
        Ok(Self { device, capture: Some(Capture::create(path, LinkType::Ethernet, len_max)?) })
    }

    /// The device; the file is complete afterwards.
    pub fn into_inner(self) -> D {
        self.device
    }

    /// Whether frames are still written down.
    #[must_use]
    pub fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }

    /// Writes frames of one direction; whatever goes wrong ends the capture.
    fn note<'a>(&mut self, way: CaptureWay, frames: impl Iterator<Item = &'a [u8]>) {
        let Some(capture) = &mut self.capture else { return };
        if let Err(error) = capture.write(way, frames) {
            tracing::warn!(interface = self.device.name(), %error, "capture ended");
            self.capture = None;
        }
    }
}

#[cfg(windows)]
impl<D: Waitable> Waitable for PcapTee<D> {
    fn poll_readable(&self, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.device.poll_readable(context)
    }
}

#[cfg(unix)]
impl<D: AsFd> AsFd for PcapTee<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl<D: Device> Device for PcapTee<D> {
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        if self.capture.is_none() {
            return self.device.recv_batch(batch);
        }
        let mut received = FrameBatch::new();
        let count = self.device.recv_batch(&mut received)?;
        let frames: Vec<_> = std::iter::from_fn(|| received.pop()).collect();
        let plain = || frames.iter().map(|frame| &frame[FrameBatch::HEADROOM..]);
        for frame in plain() {
            batch.push(&[frame]);
        }
        self.note(CaptureWay::Inbound, plain());
        Ok(count)
    }

    fn is_drained(&self) -> bool {
        self.device.is_drained()
    }

    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        let taken = self.device.send_batch(frames)?;
        self.note(CaptureWay::Outbound, frames[..taken].iter().map(AsRef::as_ref));
        Ok(taken)
    }

    fn take_unsent(&mut self) -> Vec<(Bytes, DropReason)> {
        self.device.take_unsent()
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}

impl Capture {
    /// A new file at `path`, replacing one that is there, of at most `len_max` bytes.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(path: &Path, link_type: LinkType, len_max: u64) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let header = file_header(link_type);
        file.write_all(&header)?;
        file.flush()?;
        Ok(Self { file, len: header.len() as u64, len_max })
    }

    /// Writes whole packets up to the limit, and flushes: a capture is read while it runs, and after a crash.
    ///
    /// # Errors
    /// The file cannot be written, or has reached its limit.
    pub fn write<'a>(&mut self, way: CaptureWay, frames: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let direction = match way {
            CaptureWay::Inbound => INBOUND,
            CaptureWay::Outbound => OUTBOUND,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        for frame in frames {
            let block = packet(direction, timestamp, frame);
            if self.len + block.len() as u64 > self.len_max {
                self.file.flush()?;
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the capture has reached its size limit"));
            }
            self.file.write_all(&block)?;
            self.len += block.len() as u64;
        }
        self.file.flush()
    }
}

/// Section header and one interface: packets of any length, timestamps in nanoseconds.
fn file_header(link_type: LinkType) -> Vec<u8> {
    const BYTE_ORDER: u32 = 0x1a2b_3c4d;
    let link_type = match link_type {
        LinkType::Ethernet => 1,
        LinkType::User0 => 147,
    };
    let mut section = [BYTE_ORDER, 1, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat();
    section = block(0x0a0d_0d0a, &section);
    let mut interface = [link_type, 0_u32].map(u32::to_le_bytes).concat();
    // if_tsresol: 9 decimal digits; then the end of options.
    interface.extend([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    section.extend(block(1, &interface));
    section
}

/// An enhanced packet block with its direction.
fn packet(direction: u32, timestamp: u64, frame: &[u8]) -> Vec<u8> {
    let len = frame.len() as u32;
    let (high, low) = ((timestamp >> 32) as u32, timestamp as u32);
    let mut body = [0, high, low, len, len].map(u32::to_le_bytes).concat();
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend([2, 0, 4, 0]);
    body.extend(direction.to_le_bytes());
    body.extend([0; 4]);
    block(6, &body)
}

/// A block: kind, length, body, length again.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::memory_pair;

    /// The packets of a capture: direction and frame.
    fn packets(file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let (mut at, mut packets) = (0, Vec::new());
        while at < file.len() {
            let len = word(at + 4) as usize;
            assert_eq!(word(at + len - 4) as usize, len);
            if word(at) == 6 {
                let captured = word(at + 20) as usize;
                packets.push((word(at + len - 12), file[at + 28..at + 28 + captured].to_vec()));
            }
            at += len;
        }
        packets
    }

    #[test]
    fn both_directions_are_written_down_and_pass_unchanged() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, mut b) = memory_pair(10).unwrap();
        let mut tee = PcapTee::create(a, file.path()).unwrap();
        tee.send_batch(&[Bytes::from_static(b"there")]).unwrap();
        b.send_batch(&[Bytes::from_static(b"and"), Bytes::from_static(b"back")]).unwrap();
        let mut batch = FrameBatch::new();
        assert_eq!(tee.recv_batch(&mut batch).unwrap(), 2);
        assert_eq!(batch.pop().unwrap()[FrameBatch::HEADROOM..], *b"and");
        let written = std::fs::read(file.path()).unwrap();
        let expected = [(OUTBOUND, b"there".to_vec()), (INBOUND, b"and".to_vec()), (INBOUND, b"back".to_vec())];
        assert_eq!(packets(&written), expected);
    }

    #[test]
    fn a_full_file_ends_the_capture_and_not_the_traffic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, mut b) = memory_pair(10).unwrap();
        let mut tee = PcapTee::with_limit(a, file.path(), 1200).unwrap();
        for _ in 0..3 {
            assert_eq!(tee.send_batch(&[Bytes::from_static(&[7; 500])]).unwrap(), 1);
        }
        assert!(!tee.is_capturing());
        assert_eq!(b.recv_batch(&mut FrameBatch::new()).unwrap(), 3);
        b.send_batch(&[Bytes::from_static(b"back")]).unwrap();
        assert_eq!(tee.recv_batch(&mut FrameBatch::new()).unwrap(), 1);
        assert_eq!(packets(&std::fs::read(file.path()).unwrap()).len(), 2);
    }
}
