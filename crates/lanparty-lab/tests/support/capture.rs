//! Frames read back from an interface.

use std::time::{Duration, Instant};

use lanparty_lab::Namespace;
use lanparty_nic::{Device, PacketSocket};
use lanparty_proto::FrameBatch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Every frame that an interface of a host carries, its own host's included.
pub(crate) struct Capture {
    socket: PacketSocket,
    batch: FrameBatch,
}

impl Capture {
    pub(crate) fn open(host: &Namespace, interface: &str) -> Self {
        let socket = host.enter(|| PacketSocket::open(interface)).unwrap().unwrap();
        Self { socket, batch: FrameBatch::new() }
    }

    /// The next frame.
    pub(crate) fn next(&mut self, timeout: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(frame) = self.batch.pop() {
                return Some(frame[FrameBatch::HEADROOM..].to_vec());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = Timespec::try_from(left).unwrap();
            let ready = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&wait)).unwrap();
            if ready == 0 {
                return None;
            }
            // A wake-up for nothing is no error: the next look decides.
            let _ = self.socket.recv_batch(&mut self.batch);
        }
    }
}
