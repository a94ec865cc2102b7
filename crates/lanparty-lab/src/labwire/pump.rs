//! The thread of a wire: waits for frames, orders and the next frame's time; carries.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_nic::{Device, Tap};
use lanparty_proto::FrameBatch;
use lanparty_sim::{Lateness, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

use super::{Inbox, LabWireStats, Order, Side};

/// The longest sleep; only a guard against a lost wake-up.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Pause after a wait or a read failed. A thread above everything else on the machine must never spin.
const FAILED_PAUSE: Duration = Duration::from_millis(2);

/// Everything the wire's thread works with.
pub(super) struct Pump {
    /// End A, end B.
    taps: [Tap; 2],
    /// A to B, B to A: `wires[i]` takes from `taps[i]` and gives to `taps[1 - i]`.
    wires: [Wire; 2],
    wake: Arc<OwnedFd>,
    inbox: Inbox,
    start: Instant,
    batch: FrameBatch,
    not_taken: u64,
    fifo: bool,
}

impl Pump {
    pub(super) fn new(taps: [Tap; 2], wires: [Wire; 2], wake: Arc<OwnedFd>, inbox: Inbox) -> Self {
        Self { taps, wires, wake, inbox, start: Instant::now(), batch: FrameBatch::new(), not_taken: 0, fifo: false }
    }

    /// Notes which priority the thread got.
    pub(super) fn set_fifo(&mut self, fifo: bool) {
        self.fifo = fifo;
    }

    /// Carries until the order to end.
    pub(super) fn carry(&mut self) {
        loop {
            self.deliver();
            let ready = self.wait();
            for side in [0, 1] {
                if ready[side] {
                    self.take(side);
                }
            }
            if ready[2] && !self.obey() {
                return;
            }
        }
    }

    /// Hands over what is due, one frame per write: a wire has no super-frames.
    fn deliver(&mut self) {
        for from in [0, 1] {
            while let Some(frame) = self.wires[from].pop_due(self.start.elapsed()) {
                let taken = self.taps[1 - from].send_batch(&[frame]);
                self.not_taken += u64::from(!matches!(taken, Ok(1)));
            }
        }
    }

    /// Sleeps until something is to be done; tells whether A or B has frames and whether there are orders.
    fn wait(&self) -> [bool; 3] {
        let due = self.wires.iter().filter_map(Wire::next_due).min();
        let sleep = due.map_or(SLEEP_MAX, |due| due.saturating_sub(self.start.elapsed()).min(SLEEP_MAX));
        let timeout = Timespec { tv_sec: sleep.as_secs().cast_signed(), tv_nsec: sleep.subsec_nanos().into() };
        let [a, b] = &self.taps;
        let mut fds = [a.as_fd(), b.as_fd(), self.wake.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let failed = poll(&mut fds, Some(&timeout)).is_err();
        let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        if failed || fds.iter().any(|fd| fd.revents().intersects(broken)) {
            thread::sleep(FAILED_PAUSE);
        }
        fds.map(|fd| !failed && fd.revents().contains(PollFlags::IN))
    }

    /// Takes what an end sent since the last look.
    fn take(&mut self, side: usize) {
        match self.taps[side].recv_batch(&mut self.batch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The interface is down or gone; it may come back.
            Err(_) => return thread::sleep(FAILED_PAUSE),
            Ok(_) => {}
        }
        let now = self.start.elapsed();
        while let Some(mut frame) = self.batch.pop() {
            let _ = frame.split_to(FrameBatch::HEADROOM);
            self.wires[side].push(now, frame.freeze());
        }
    }

    /// Obeys waiting orders; false when one of them was to end.
    fn obey(&mut self) -> bool {
        let mut count = [0; 8];
        // Only to reset the wake-up: the orders themselves are in the inbox.
        let _ = rustix::io::read(&*self.wake, &mut count);
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Set(direction, impairment) => self.wires[direction as usize].set(*impairment),
                // Who asked may have given up waiting, here and below.
                Order::Carrier(side, carrier, reply) => drop(reply.send(self.carrier(side, carrier))),
                Order::Stats(reply) => drop(reply.send(self.stats())),
                Order::ForgetLateness => self.wires.iter_mut().for_each(Wire::forget_lateness),
                Order::End => return false,
            }
        }
        true
    }

    fn carrier(&self, side: Side, carrier: bool) -> io::Result<()> {
        self.taps[side as usize].set_carrier(carrier)
    }

    fn stats(&self) -> LabWireStats {
        let [a_to_b, b_to_a] = &self.wires;
        let mut lateness: Lateness = *a_to_b.lateness();
        lateness.merge(b_to_a.lateness());
        let held = a_to_b.held() + b_to_a.held();
        LabWireStats { a_to_b: a_to_b.stats(), b_to_a: b_to_a.stats(), held, not_taken: self.not_taken, fifo: self.fifo, lateness }
    }
}
