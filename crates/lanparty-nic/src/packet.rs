//! A physical interface, through AF_PACKET: every frame on its wire, and our frames onto it.
//!
//! Sees what the interface receives and what this host itself sends by it, but never what was sent through this very
//! socket (the kernel compares sockets, `skb_loop_sk`; what escapes that is known by its source). What is sent here goes to the wire only; this host's own stack
//! does not see it. Tags that the kernel or the NIC took off are put back, super-frames are cut into frames, unfinished
//! checksums are finished: the caller sees the wire.

mod error;
mod recv;
mod send;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lanparty_proto::{DropReason, ETHERNET_HEADER_LEN, FrameBatch, MacAddr};

use crate::device::{Device, DeviceFault, DeviceStats};
use crate::offload::Limits;
use crate::sys::interface::Interfaces;
use crate::sys::packet::Scratch;
use crate::sys::socket::set_buffer;
use crate::sys::{self};

pub use error::PacketError;

/// Receive buffer asked for, in bytes: 50 ms of a gigabit.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer asked for, in bytes: what a batch of super-frames may occupy.
const SEND_BUFFER: usize = 4 << 20;

/// A physical interface, opened for every frame on it.
pub struct PacketSocket {
    socket: OwnedFd,
    name: String,
    index: u32,
    interfaces: Interfaces,
    limits: Limits,
    buffers: recv::Buffers,
    is_drained: bool,
    /// A fault found after frames of the same call: the kernel reports it once, so it is kept for the next call.
    fault: Option<DeviceFault>,
    scratch: Scratch,
    /// Source addresses of what was sent here.
    injected: BTreeSet<MacAddr>,
    stats: DeviceStats,
    /// Of the last batch.
    unsent: Vec<(Bytes, DropReason)>,
    drops: AtomicU64,
}

/// What an interface's link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Carries frames.
    Up,
    /// Is up, and its cable is not connected.
    NoCarrier,
    /// Was switched off. The socket stays usable and receives again once it is up.
    Down,
    /// Was removed. One that appears later under the same name must be opened anew.
    Gone,
}

impl PacketSocket {
    /// Opens `name` in the network namespace of the calling thread, promiscuous for as long as the socket lives.
    ///
    /// An interface that is down opens too; the first receive then says [`DeviceFault::Down`].
    ///
    /// # Errors
    /// A [`PacketError`] names the cause and what to do next.
    pub fn open(name: &str) -> Result<Self, PacketError> {
        let interfaces = Interfaces::open().map_err(|e| PacketError::os("open a socket for", name, e))?;
        let index = interfaces.index(name).map_err(|e| PacketError::os("find", name, e))?;
        let socket = sys::packet::open().map_err(|e| PacketError::os("open a raw socket on", name, e))?;
        let fd = socket.as_fd();
        sys::packet::configure(fd, index).map_err(|e| PacketError::os("configure a raw socket on", name, e))?;
        set_buffer(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)
            .and_then(|()| set_buffer(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER))
            .map_err(|e| PacketError::os("size the buffers of a raw socket on", name, e))?;
        let limits = Limits { udp: true, frame_len_max: frame_len_max(&interfaces, name) };
        sys::packet::bind(fd, index).map_err(|e| PacketError::os("bind to", name, e))?;
        Ok(Self {
            socket,
            name: name.to_owned(),
            index,
            interfaces,
            limits,
            buffers: recv::buffers(),
            is_drained: false,
            fault: None,
            scratch: Scratch::default(),
            injected: BTreeSet::new(),
            stats: DeviceStats::default(),
            unsent: vec![],
            drops: AtomicU64::new(0),
        })
    }

    /// The interface index it is bound to; a removed interface never comes back under the same one soon.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// What the link is doing now. Loss of carrier, and removal after a [`DeviceFault::Down`], raise no event on the
    /// socket: ask once a second.
    #[must_use]
    pub fn link(&self) -> LinkState {
        // By index: the name may have been changed, or may be another interface's by now.
        let Ok(flags) = self.interfaces.name(self.index).and_then(|name| self.interfaces.flags(&name)) else { return LinkState::Gone };
        match (flags & libc::IFF_UP != 0, flags & libc::IFF_RUNNING != 0) {
            (true, true) => LinkState::Up,
            (true, false) => LinkState::NoCarrier,
            (false, _) => LinkState::Down,
        }
    }

    /// The largest IP packet that the interface takes now, in bytes; nothing when it is gone.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.interfaces.name(self.index).and_then(|name| self.interfaces.mtu(&name)).ok()
    }

    /// Frames that found the receive buffer full since the socket was opened.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        let new = sys::packet::take_drops(self.socket.as_fd()).map_or(0, u64::from);
        self.drops.fetch_add(new, Ordering::Relaxed) + new
    }

    /// What the kernel's "network is down" means now; nothing when it is over.
    fn fault_now(&self) -> Option<DeviceFault> {
        match self.link() {
            LinkState::Gone => Some(DeviceFault::Gone),
            LinkState::Down => Some(DeviceFault::Down),
            LinkState::Up | LinkState::NoCarrier => None,
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Device for PacketSocket {
    fn recv_batch(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        self.receive(batch)
    }

    fn is_drained(&self) -> bool {
        self.is_drained
    }

    fn send_batch(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        self.send(frames)
    }

    fn take_unsent(&mut self) -> Vec<(Bytes, DropReason)> {
        std::mem::take(&mut self.unsent)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stats(&self) -> DeviceStats {
        DeviceStats { kernel_drops: self.kernel_drops(), ..self.stats }
    }
}

/// Longest untagged frame the interface sends; when it cannot be told, no frame is put into a super-frame.
fn frame_len_max(interfaces: &Interfaces, name: &str) -> usize {
    interfaces.mtu(name).map_or(0, |mtu| mtu as usize + ETHERNET_HEADER_LEN)
}
