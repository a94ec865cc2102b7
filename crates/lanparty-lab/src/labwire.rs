//! A wire with a character between two hosts: two TAPs, and a thread that carries frames from one to the other.
//!
//! The thread runs under `SCHED_FIFO`: at normal priority, 15 % of the frames are more than a millisecond late on a busy machine.
//! It measures its own lateness all the same; a test asks [`LabWire::verdict`] before it believes a figure.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lanparty_nic::realtime::{set_fifo_priority, set_timer_slack_ns};
use lanparty_nic::{Tap, TapConfig};
use lanparty_sim::{Impairment, Lateness, Wire, WireStats};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use crate::link::{End, switch_offloads_off};
use crate::process::lock;

mod pump;

/// Priority of the wires' threads: above everything a machine usually runs with, below the kernel's own watchdogs.
const FIFO_PRIORITY: i32 = 10;
/// Frames that may wait in a TAP for the wire's thread; what the queue of a `rate` holds is counted by the model, not here.
const TAP_QUEUE_LEN: u32 = 5_000;
/// Orders not yet seen by the wire's thread.
const ORDERS_MAX: usize = 64;
/// A wire that does not answer in this time is dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// With fewer frames than this, one hiccup would condemn a measurement: a share is not a statement about so few.
const FRAMES_FOR_VERDICT_MIN: u64 = 100;

/// A direction of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first end to the second.
    AToB,
    /// From the second end to the first.
    BToA,
}

/// An end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first end.
    A,
    /// The second end.
    B,
}

/// What a wire has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabWireStats {
    /// The books of the first end to the second.
    pub a_to_b: WireStats,
    /// The books of the second end to the first.
    pub b_to_a: WireStats,
    /// Frames on the wire now.
    pub held: usize,
    /// Frames that the interface at the far end did not take (switched off, no carrier, no room).
    pub not_taken: u64,
    /// Did its thread get real-time priority?
    pub fifo: bool,
    /// How late frames were handed over, both directions together.
    pub lateness: Lateness,
}

impl fmt::Display for LabWireStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a_to_b, b_to_a, held, not_taken, fifo, lateness } = self;
        let priority = if *fifo { "SCHED_FIFO" } else { "ordinary priority" };
        write!(f, "a>b {a_to_b}; b>a {b_to_a}; held {held}, not taken {not_taken}; served with {priority}: {lateness}")
    }
}

/// May what was measured over a wire be believed?
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The wire was served in time.
    Conclusive,
    /// More than 1 % of the frames were over 1 ms late: the machine was too busy, repeat the measurement.
    Inconclusive {
        /// The wire's own figures.
        lateness: Lateness,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conclusive => f.write_str("conclusive"),
            Self::Inconclusive { lateness } => write!(f, "INCONCLUSIVE: this machine was too busy to be a wire ({lateness})"),
        }
    }
}

/// A wire. Clones are handles of the same wire, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct LabWire {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    orders: SyncSender<Order>,
    wake: Arc<OwnedFd>,
    /// The characters as last ordered, so that `down` and `up` leave the rest alone.
    impairments: Mutex<[Impairment; 2]>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the wire's thread can be asked.
enum Order {
    Set(Direction, Box<Impairment>),
    Carrier(Side, bool, SyncSender<io::Result<()>>),
    Stats(SyncSender<LabWireStats>),
    ForgetLateness,
    End,
}

impl LabWire {
    /// Makes both TAPs, up, and starts to carry frames with the same character both ways. The same seed draws the same losses.
    pub(crate) fn plug(a: End<'_>, b: End<'_>, impairment: &Impairment, seed: u64) -> Result<Self> {
        let taps = [open_tap(a)?, open_tap(b)?];
        let wires = [Wire::new(impairment.clone(), seed), Wire::new(impairment.clone(), seed.wrapping_add(1))];
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("eventfd")?);
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let thread = start(pump::Pump::new(taps, wires, Arc::clone(&wake), inbox))?;
        let impairments = Mutex::new([impairment.clone(), impairment.clone()]);
        Ok(Self { inner: Arc::new(Inner { orders, wake, impairments, thread: Mutex::new(Some(thread)) }) })
    }

    /// Gives one direction another character; it holds when this returns.
    pub fn set(&self, direction: Direction, impairment: &Impairment) -> Result<()> {
        lock(&self.inner.impairments)[direction as usize] = impairment.clone();
        self.order(Order::Set(direction, Box::new(impairment.clone())))?;
        // Orders are served in turn: an answer to this one means that the last one holds.
        self.stats().map(drop)
    }

    /// Gives both directions another character.
    pub fn set_both(&self, impairment: &Impairment) -> Result<()> {
        self.set(Direction::AToB, impairment)?;
        self.set(Direction::BToA, impairment)
    }

    /// Cuts (or mends) one direction without either host noticing a lost carrier.
    pub fn set_down(&self, direction: Direction, down: bool) -> Result<()> {
        let impairment = Impairment { down, ..lock(&self.inner.impairments)[direction as usize].clone() };
        self.set(direction, &impairment)
    }

    /// Cuts both directions: a blackout.
    pub fn down(&self) -> Result<()> {
        self.set_down(Direction::AToB, true)?;
        self.set_down(Direction::BToA, true)
    }

    /// Mends both directions.
    pub fn up(&self) -> Result<()> {
        self.set_down(Direction::AToB, false)?;
        self.set_down(Direction::BToA, false)
    }

    /// Pulls the plug at one end, or puts it back: that host sees its carrier go.
    pub fn carrier(&self, side: Side, carrier: bool) -> Result<()> {
        let (reply, answer) = sync_channel(1);
        self.order(Order::Carrier(side, carrier, reply))?;
        answer.recv_timeout(ANSWER_WITHIN).context("the wire does not answer")?.with_context(|| format!("set the carrier to {carrier}"))
    }

    /// What it has done so far.
    pub fn stats(&self) -> Result<LabWireStats> {
        let (reply, answer) = sync_channel(1);
        self.order(Order::Stats(reply))?;
        answer.recv_timeout(ANSWER_WITHIN).context("the wire does not answer")
    }

    /// Was the wire served in time since its start, or since [`LabWire::forget_lateness`]?
    pub fn verdict(&self) -> Result<Verdict> {
        let lateness = self.stats()?.lateness;
        let enough = lateness.frames() >= FRAMES_FOR_VERDICT_MIN;
        Ok(if enough && !lateness.is_conclusive() { Verdict::Inconclusive { lateness } } else { Verdict::Conclusive })
    }

    /// Measures lateness anew: before the part of a test that measures.
    pub fn forget_lateness(&self) -> Result<()> {
        self.order(Order::ForgetLateness)
    }

    /// Ends the wire now, whoever still holds a handle: both TAPs disappear.
    pub(crate) fn end(&self) {
        self.inner.end();
    }

    fn order(&self, order: Order) -> Result<()> {
        self.inner.orders.send(order).map_err(|_| anyhow!("the wire's thread has ended"))?;
        self.inner.wake();
        Ok(())
    }
}

impl Inner {
    fn wake(&self) {
        // A full counter means that the thread is woken already.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    fn end(&self) {
        let Some(thread) = lock(&self.thread).take() else { return };
        // An error means that it has ended already.
        let _ = self.orders.send(Order::End);
        self.wake();
        let _ = thread.join();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

fn open_tap(end: End<'_>) -> Result<Tap> {
    end.check()?;
    let config = TapConfig { name: end.interface.into(), ..TapConfig::default() };
    let tap = end.host.enter(|| Tap::create(&config))?.with_context(|| format!("on host {}", end.host.host()))?;
    switch_offloads_off(end)?;
    end.host.ip(&format!("link set dev {} txqueuelen {TAP_QUEUE_LEN} up", end.interface))?;
    Ok(tap)
}

/// Starts the thread that carries. It has its priority before the first frame; without the right to it (a user namespace) it carries
/// all the same, and the verdict tells whether that was good enough.
fn start(mut pump: pump::Pump) -> Result<JoinHandle<()>> {
    let carry = move || {
        pump.set_fifo(become_fifo());
        pump.carry();
    };
    Ok(thread::Builder::new().name("labwire".into()).spawn(carry)?)
}

/// Puts the calling thread under `SCHED_FIFO`, or at least has it woken on time; false when the former was refused.
pub(crate) fn become_fifo() -> bool {
    let fifo = set_fifo_priority(FIFO_PRIORITY).is_ok();
    // Only an ordinary thread is woken late to save power; refused, it is merely less exact.
    let _ = set_timer_slack_ns(1);
    fifo
}

/// The receiving side of the orders, as the thread holds it.
type Inbox = Receiver<Order>;
