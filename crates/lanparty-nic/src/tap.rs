//! A TAP: an Ethernet interface of this host whose cable ends in this process.
//!
//! One read brings up to 64 KiB which become frames, and frames of one flow become one write, so that a system call
//! costs as much for forty frames as for one. The interface disappears with the [`Tap`].

mod error;

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use lanparty_proto::{DropReason, FrameBatch, LanMtu, MacAddr};

use crate::device::{BATCH_BYTES_MAX, BATCH_FRAMES_MAX, Device, DeviceFault, DeviceStats, Refusal};
use crate::offload::{Limits, Run, SEGMENTS_MAX, VNET_HDR_LEN, VnetHdr, next_run, push_frames};
use crate::sys::interface::Interfaces;
use crate::sys::tun;

pub use error::TapError;

/// Offloads to ask for, best first; an older kernel refuses what it does not know (USO came with Linux 6.2).
const OFFLOADS: [libc::c_uint; 4] = [
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN | libc::TUN_F_USO4 | libc::TUN_F_USO6,
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN,
    libc::TUN_F_CSUM,
    0,
];
/// Room for the header, the longest IP packet, its Ethernet header and two tags.
const READ_LEN: usize = VNET_HDR_LEN + 65_535 + 14 + 8;

/// What to call a TAP, and how to set it up. Fields left out stay as the kernel chose them.
#[derive(Debug, Clone, Default)]
pub struct TapConfig {
    /// Name of at most 15 bytes; a `%d` in it is replaced by the first free number.
    pub name: String,
    /// The MAC address of the interface.
    pub mac: Option<MacAddr>,
    /// The IP MTU of the interface.
    pub mtu: Option<LanMtu>,
    /// Take a persistent TAP that the administrator made beforehand (`ip tuntap add dev NAME mode tap user USER`), as it is: who may
    /// not change it uses its MAC address and MTU. It stays when the process ends.
    pub reuse: bool,
}

/// A TAP of this host.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    is_persistent: bool,
    interfaces: Interfaces,
    limits: Limits,
    buffer: Box<[u8]>,
    is_drained: bool,
    stats: DeviceStats,
    /// Of the last batch.
    unsent: Vec<(Bytes, DropReason)>,
}

impl Tap {
    /// Creates a TAP in the network namespace of the calling thread. It is down until [`Tap::set_up`].
    ///
    /// # Errors
    /// A [`TapError`] names the cause and what to do next.
    pub fn create(config: &TapConfig) -> Result<Self, TapError> {
        let file = error::open_driver()?;
        let interfaces = Interfaces::open().map_err(|e| TapError::os("open a socket", &config.name, e))?;
        let (name, is_persistent) = error::attach(&file, config, &interfaces)?;
        tun::set_vnet_hdr_len(file.as_fd(), VNET_HDR_LEN).map_err(|e| TapError::os("set the header length of", &name, e))?;
        let accepted = OFFLOADS.into_iter().find(|o| tun::set_offloads(file.as_fd(), *o).is_ok()).unwrap_or(0);
        tracing::debug!(interface = name, offloads = accepted, "tap created");
        let limits = Limits { udp: accepted & libc::TUN_F_USO4 != 0, frame_len_max: usize::MAX };
        let buffer = vec![0; READ_LEN].into_boxed_slice();
        let tap = Self {
            file,
            name,
            is_persistent,
            interfaces,
            limits,
            buffer,
            is_drained: false,
            stats: DeviceStats::default(),
            unsent: vec![],
        };
        if let Some(mac) = config.mac {
            tap.unless_given(tap.set_mac(mac)).map_err(|e| TapError::os("set the MAC address of", &tap.name, e))?;
        }
        if let Some(mtu) = config.mtu {
            tap.unless_given(tap.set_mtu(mtu)).map_err(|e| TapError::os("set the MTU of", &tap.name, e))?;
        }
        Ok(tap)
    }

    /// A TAP that was made beforehand may be ours to use and not ours to change; nor while others use it.
    fn unless_given(&self, changed: io::Result<()>) -> io::Result<()> {
        match changed {
            Err(e) if self.is_persistent && matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EBUSY)) => Ok(()),
            changed => changed,
        }
    }

    /// Whether it was there before, and stays.
    #[must_use]
    pub const fn is_persistent(&self) -> bool {
        self.is_persistent
    }

    /// Sets the IP MTU.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_mtu(&self, mtu: LanMtu) -> io::Result<()> {
        self.interfaces.set_mtu(&self.name, mtu.bytes())
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_mac(&self, mac: MacAddr) -> io::Result<()> {
        self.interfaces.set_mac(&self.name, mac)
    }

    /// Switches the interface on or off, as `ip link set up` does.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_up(&self, up: bool) -> io::Result<()> {
        self.interfaces.set_up(&self.name, up)
    }

    /// Plugs the virtual cable in or out: without it DHCP clients wait, and routes are not used.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_carrier(&self, carrier: bool) -> io::Result<()> {
        tun::set_carrier(self.file.as_fd(), carrier)
    }

    /// The interface index.
    ///
    /// # Errors
    /// What the kernel said; `ENODEV` when the interface was deleted.
    pub fn index(&self) -> io::Result<u32> {
        self.interfaces.index(&self.name)
    }

    /// The MAC address it has now.
    ///
    /// # Errors
    /// What the kernel said; `ENODEV` when the interface was deleted.
    pub fn mac(&self) -> io::Result<MacAddr> {
        self.interfaces.mac(&self.name)
    }

    /// One read: the number of frames it brought, and of bytes.
    fn read_once(&mut self, batch: &mut FrameBatch) -> io::Result<(usize, usize)> {
        let len = match self.file.read(&mut self.buffer) {
            Err(e) if e.raw_os_error() == Some(libc::EBADFD) => return Err(DeviceFault::Gone.into()),
            read => read?,
        };
        let read = self.buffer[..len].split_first_chunk();
        let frames = read.and_then(|(hdr, frame)| push_frames(VnetHdr::from_bytes(hdr), frame, batch).ok());
        match frames {
            Some(frames) => self.stats.received += frames as u64,
            None => self.stats.unreadable += 1,
        }
        Ok((frames.unwrap_or(0), len))
    }

    /// Writes one run; a super-frame that the kernel does not want is written frame by frame.
    fn write_run(&mut self, frames: &[Bytes], run: &Run) -> Result<usize, Refusal> {
        let Some(head) = &run.head else {
            let parts = [IoSlice::new(&[0; VNET_HDR_LEN]), IoSlice::new(&frames[0])];
            (&self.file).write_vectored(&parts).map_err(refusal)?;
            return Ok(1);
        };
        let mut parts = [IoSlice::new(&[]); SEGMENTS_MAX + 1];
        parts[0] = IoSlice::new(head.bytes());
        for (part, frame) in parts[1..].iter_mut().zip(frames) {
            *part = IoSlice::new(&frame[head.payload_offset()..]);
        }
        match (&self.file).write_vectored(&parts[..=frames.len()]).map_err(refusal) {
            Ok(_) => self.stats.coalesced += frames.len() as u64,
            Err(Refusal::Frame) => return self.write_run(&frames[..1], &Run::ONE),
            Err(other) => return Err(other),
        }
        Ok(frames.len())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Device for Tap {
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        let (mut frames, mut bytes) = (0, 0);
        self.is_drained = false;
        // What cannot be read is no end: WouldBlock must mean that the kernel has nothing, or readiness would be lost.
        while frames == 0 || (frames < BATCH_FRAMES_MAX && bytes < BATCH_BYTES_MAX) {
            match self.read_once(batch) {
                Ok((more, len)) => (frames, bytes) = (frames + more, bytes + len),
                Err(e) if frames == 0 => return Err(e),
                Err(e) => {
                    self.is_drained = e.kind() == io::ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        Ok(frames)
    }

    fn is_drained(&self) -> bool {
        self.is_drained
    }

    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        self.unsent.clear();
        let mut taken = 0;
        while taken < frames.len() {
            let run = next_run(&frames[taken..], self.limits);
            match self.write_run(&frames[taken..taken + run.frames], &run) {
                Ok(written) => {
                    self.stats.sent += written as u64;
                    taken += written;
                }
                Err(Refusal::Frame) => {
                    self.stats.refused += 1;
                    self.unsent.push((frames[taken].clone(), DropReason::DeviceError));
                    taken += 1;
                }
                Err(Refusal::Congested) => {
                    self.stats.congested += run.frames as u64;
                    self.unsent.extend(frames[taken..taken + run.frames].iter().map(|frame| (frame.clone(), DropReason::QueueFull)));
                    taken += run.frames;
                }
                Err(_) if taken > 0 => break,
                Err(Refusal::Full) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(Refusal::Device(e)) => return Err(e),
            }
        }
        Ok(taken)
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn take_unsent(&mut self) -> Vec<(Bytes, DropReason)> {
        std::mem::take(&mut self.unsent)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stats(&self) -> DeviceStats {
        DeviceStats { kernel_drops: self.interfaces.tx_dropped(&self.name).unwrap_or(0), ..self.stats }
    }
}

/// What a failed write means (`tun_get_user`): EIO is an interface that is down, EBADFD one that was deleted.
fn refusal(e: io::Error) -> Refusal {
    match e.raw_os_error() {
        Some(libc::EAGAIN) => Refusal::Full,
        Some(libc::ENOMEM | libc::ENOBUFS) => Refusal::Congested,
        Some(libc::EIO) => Refusal::Device(DeviceFault::Down.into()),
        Some(libc::EBADFD) => Refusal::Device(DeviceFault::Gone.into()),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::E2BIG | libc::EFAULT) => Refusal::Frame,
        _ => Refusal::Device(e),
    }
}
