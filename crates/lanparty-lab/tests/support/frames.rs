//! Frames put on an interface exactly as they are, and frames read back from one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_lab::Namespace;
use lanparty_nic::{Device, PacketSocket, Tap, TapConfig};
use lanparty_proto::FrameBatch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Sends frames by an interface of a host, exactly as they are: neither padded nor refused for their size.
///
/// What is written into a TAP arrives at this host; from there the traffic control redirects it to the interface, beside everything that
/// would judge it. On the way the kernel takes a VLAN tag off the bytes and carries it beside them, as network cards do.
pub(crate) struct Injector {
    tap: Tap,
}

impl Injector {
    pub(crate) fn plug(host: &Namespace, interface: &str) -> Self {
        let name = format!("in-{interface}");
        let tap = host.enter(|| Tap::create(&TapConfig { name: name.clone(), ..TapConfig::default() })).unwrap().unwrap();
        host.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        host.link_up(&name, true).unwrap();
        host.run(&["tc", "qdisc", "add", "dev", &name, "ingress"]).unwrap();
        let filter = format!(
            "tc filter add dev {name} parent ffff: protocol all prio 1 u32 match u8 0 0 at -14 action mirred egress redirect dev {interface}"
        );
        host.run(&filter.split(' ').collect::<Vec<_>>()).unwrap();
        Self { tap }
    }

    /// Whether the kernel took the frame: it takes none that is shorter than its own header.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        let refused = self.tap.stats().refused;
        assert_eq!(self.tap.send_batch(&[Bytes::copy_from_slice(frame)]).unwrap(), 1);
        self.tap.stats().refused == refused
    }
}

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

    /// Sends by the same interface, as a host with raw access does: short frames are padded. Not seen by this capture.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        assert_eq!(self.socket.send_batch(&[Bytes::copy_from_slice(frame)]).unwrap(), 1);
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

    /// What came before `last`, which must come.
    pub(crate) fn until(&mut self, last: &[u8], timeout: Duration) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        let mut before = vec![];
        loop {
            let frame = self.next(deadline.saturating_duration_since(Instant::now()));
            let frame = frame.unwrap_or_else(|| panic!("{last:02x?} did not come; {} others did", before.len()));
            if frame == last {
                return before;
            }
            before.push(frame);
        }
    }
}
