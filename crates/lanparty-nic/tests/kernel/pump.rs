//! A cable between two devices: the data path of a node without its network.

use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use lanparty_nic::{Device, DeviceFault, DeviceStats};
use lanparty_proto::FrameBatch;

/// What happens to a frame on the cable.
pub(crate) type OnFrame = Box<dyn FnMut(Bytes) -> Bytes + Send>;

/// Carries frames both ways in a thread until stopped.
pub(crate) struct Pump {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<[DeviceStats; 2]>,
}

impl Pump {
    pub(crate) fn start(mut a: Box<dyn Device>, mut b: Box<dyn Device>, mut on_frame: OnFrame) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut batch = FrameBatch::new();
            while !stopped.load(Ordering::Relaxed) {
                wait(&*a, &*b);
                if !carry(&mut *a, &mut *b, &mut batch, &mut on_frame) || !carry(&mut *b, &mut *a, &mut batch, &mut on_frame) {
                    break;
                }
            }
            [a.stats(), b.stats()]
        });
        Self { stop, thread }
    }

    /// Ends the cable, and says what each device has seen.
    pub(crate) fn stop(self) -> [DeviceStats; 2] {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn wait(a: &dyn Device, b: &dyn Device) {
    let mut polls = [a, b].map(|d| libc::pollfd { fd: d.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: two `pollfd`s, as the count says.
    unsafe { libc::poll(polls.as_mut_ptr(), 2, 20) };
}

/// Whether both ends are still there: a host takes its interface along when it ends, and the kernel takes it down first.
fn carry(from: &mut dyn Device, to: &mut dyn Device, batch: &mut FrameBatch, on_frame: &mut OnFrame) -> bool {
    match from.recv_batch(batch) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
        Err(e) if DeviceFault::of(&e).is_some() => return false,
        Err(e) => panic!("{}: {e}", from.name()),
    }
    let frames: Vec<Bytes> = std::iter::from_fn(|| batch.pop()).map(|f| on_frame(f.freeze().slice(FrameBatch::HEADROOM..))).collect();
    let mut rest = &frames[..];
    while !rest.is_empty() {
        match to.send_batch(rest) {
            Ok(taken) => rest = &rest[taken..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) if DeviceFault::of(&e).is_some() => return false,
            Err(e) => panic!("{}: {e}", to.name()),
        }
    }
    true
}
