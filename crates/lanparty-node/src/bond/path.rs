//! One path of a bond: a connection, its tasks, and what waits in front of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Drops, Flight, Liveness, PathRecord, PathView};
use lanparty_proto::{BondPath, Control, DropReason};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::capture::PathCapture;
use super::trial::Mute;
use super::{BondPathUp, PathReport, Shared};
use crate::{Link, LinkEnded, PathWatch};

/// Most that is saved up of a rate that an owner names: what it carries in this time, or a datagram.
const SAVED_TIME: Duration = Duration::from_millis(5);
const SAVED_MIN: u64 = 1500;
/// Control messages that wait for one path. One that takes so few is closed.
const CONTROL_MAX: usize = 320;
/// Datagrams that the path's task moves at once. Out of the queue they cannot be taken back, so they are few.
const MOVED_AT_ONCE: usize = 16;
/// Rates are of this long a time, at least.
const RATE_TIME: Duration = Duration::from_secs(1);

/// A connection in use.
pub(super) struct Path {
    pub(super) bond: BondPath,
    pub(super) name: String,
    pub(super) link: Link,
    /// New with every connection.
    pub(super) serial: u64,
    pub(super) is_alive: bool,
    pub(super) silent_since: Option<Instant>,
    pub(super) liveness: Liveness,
    pub(super) watch: PathWatch,
    pub(super) since: Instant,
    /// Counted by the task that receives.
    pub(super) received: Arc<AtomicU64>,
    control: mpsc::Sender<Control>,
    outgoing: VecDeque<Bytes>,
    outgoing_len: usize,
    /// Bytes that its task is moving.
    moving: Arc<AtomicU64>,
    wake: Arc<Notify>,
    sent_bytes: u64,
    shaper: Option<Shaper>,
    meter: Meter,
    record: PathRecord,
    pub(super) mute: Option<Mute>,
    pub(super) capture: PathCapture,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Path {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What its owner says that it carries.
struct Shaper {
    bytes_per_s: u64,
    tokens: u64,
    at: Instant,
}

/// Bytes at the last look.
struct Meter {
    at: Instant,
    bytes: (u64, u64),
    rate: (u64, u64),
}

impl Path {
    /// Starts the tasks of a path. `missed` is what the other side has not heard.
    pub(super) fn start(up: BondPathUp, missed: Vec<Control>, shared: &Arc<Shared>) -> Self {
        static SERIALS: AtomicU64 = AtomicU64::new(1);
        let BondPathUp { bond, name, link, control: (control_in, control_out), .. } = up;
        let (serial, now) = (SERIALS.fetch_add(1, Ordering::Relaxed), Instant::now());
        let (control, messages) = mpsc::channel(CONTROL_MAX);
        for message in missed {
            // The other side has heard all but the newest of what is kept, which is less than fits.
            let _ = control.try_send(message);
        }
        let (wake, moving, received) = (Arc::new(Notify::new()), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let key = super::recv::Key { path: bond.path, serial };
        let tasks = vec![
            tokio::spawn(super::recv::receive(key, link.clone(), Arc::clone(&received), Arc::clone(shared))),
            tokio::spawn(super::control::read(key, control_in, Arc::downgrade(shared))),
            tokio::spawn(super::control::write(messages, control_out)),
            tokio::spawn(move_on(key, link.clone(), Arc::clone(&wake), Arc::clone(&moving), Arc::downgrade(shared))),
        ];
        let (sent, answers) = link.answerable();
        let shaper = bond.rate.map(|bits| Shaper { bytes_per_s: (bits / 8).max(1), tokens: 0, at: now });
        let watch = PathWatch::new(&link);
        let capture = shared.captures.of(bond.path, &name);
        let meter = Meter { at: now, bytes: (0, 0), rate: (0, 0) };
        Self {
            bond,
            name,
            link,
            serial,
            is_alive: true,
            silent_since: None,
            liveness: Liveness::new(sent, answers),
            watch,
            since: now,
            received,
            control,
            outgoing: VecDeque::new(),
            outgoing_len: 0,
            moving,
            wake,
            sent_bytes: 0,
            shaper,
            meter,
            record: PathRecord::default(),
            mute: None,
            capture,
            tasks,
        }
    }

    /// Says something on this path's control stream.
    pub(super) fn say(&self, message: Control) {
        if self.control.try_send(message).is_err() {
            self.link.close("too many unread control messages");
        }
    }

    /// What is known of it, for the choice.
    pub(super) fn view(&mut self, now: Instant) -> PathView {
        let flight = self.flight();
        let flight = Flight { queued: self.queued(&flight), ..flight };
        self.record.look(&flight, self.link.packets(), now);
        let mut view = PathView::of(self.bond, self.is_alive, self.link.budget().0.into(), &flight, &self.record);
        if let Some(shaper) = &mut self.shaper {
            view.rate = view.rate.min(shaper.bytes_per_s);
            view.room = view.room.min(usize::try_from(shaper.tokens(now)).unwrap_or(usize::MAX));
        }
        view
    }

    fn rate(&self) -> u64 {
        let rate = self.link.flight().rate();
        self.shaper.as_ref().map_or(rate, |shaper| shaper.bytes_per_s.min(rate))
    }

    /// Bytes that wait here and in the carrier's own queue.
    fn queued(&self, flight: &Flight) -> usize {
        self.outgoing_len + usize::try_from(self.moving.load(Ordering::Relaxed)).unwrap_or(0) + flight.queued
    }

    /// Stations 4 and 8 for datagrams that this path was chosen for. Those that it has become too small for come back as drops.
    pub(super) fn send(&mut self, datagrams: &[Bytes]) -> Drops {
        let bytes: usize = datagrams.iter().map(Bytes::len).sum();
        self.sent_bytes += bytes as u64;
        self.capture.sent(datagrams);
        if let Some(shaper) = &mut self.shaper {
            shaper.tokens = shaper.tokens.saturating_sub(bytes as u64);
        }
        if self.mute.is_some() {
            return self.swallow(datagrams);
        }
        let mut drops = Drops::default();
        let mut taken = 0;
        if self.outgoing.is_empty()
            && self.moving.load(Ordering::Relaxed) == 0
            // A link that has ended says so to its reader.
            && let Ok(sent) = self.link.send_now(datagrams)
        {
            taken = sent.taken;
            drops.add(DropReason::DatagramBudget, sent.refused.len() as u64);
        }
        for datagram in datagrams.iter().skip(taken) {
            self.wait(datagram.clone());
        }
        if !self.outgoing.is_empty() {
            self.wake();
        }
        drops
    }

    /// A datagram waits here.
    pub(super) fn wait(&mut self, datagram: Bytes) {
        self.outgoing_len += datagram.len();
        self.outgoing.push_back(datagram);
    }

    /// What waits here shall go on.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// What waits here, for others to take.
    pub(super) fn take_back(&mut self) -> Vec<Bytes> {
        self.outgoing_len = 0;
        self.outgoing.drain(..).collect()
    }

    fn take_some(&mut self) -> VecDeque<Bytes> {
        let some: VecDeque<_> = self.outgoing.drain(..MOVED_AT_ONCE.min(self.outgoing.len())).collect();
        let len: usize = some.iter().map(Bytes::len).sum();
        self.outgoing_len -= len;
        self.moving.store(len as u64, Ordering::Relaxed);
        some
    }

    pub(super) fn report(&mut self, now: Instant) -> PathReport {
        self.measure(now);
        PathReport {
            path: self.bond.path,
            name: self.name.clone(),
            carrier: self.link.carrier(),
            role: self.bond.role,
            is_alive: self.is_alive,
            silent_ms: self.silent_since.map(|since| u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)),
            trouble: None,
            remote: self.link.remote_address().map(|address| address.to_string()),
            rtt_ms: self.link.rtt().map(|rtt| rtt.as_secs_f64() * 1e3),
            packets: self.link.packets(),
            bytes: self.bytes(),
            rate: self.meter.rate,
            capacity: self.rate(),
            budget: self.link.budget().0,
            cap: None,
            seconds: now.saturating_duration_since(self.since).as_secs(),
        }
    }

    /// Bytes of datagrams sent and received.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.sent_bytes, self.received.load(Ordering::Relaxed))
    }

    /// Keeps the rates up to date.
    pub(super) fn measure(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.meter.at);
        if time < RATE_TIME {
            return;
        }
        let bytes = self.bytes();
        let per_second = |now: u64, before: u64| ((now - before) as f64 / time.as_secs_f64()) as u64;
        let rate = (per_second(bytes.0, self.meter.bytes.0), per_second(bytes.1, self.meter.bytes.1));
        self.meter = Meter { at: now, bytes, rate };
    }
}

impl Shaper {
    /// Bytes that may be sent now; never more saved up than for [`SAVED_TIME`], or a few datagrams.
    fn tokens(&mut self, now: Instant) -> u64 {
        let earned = |time: Duration| u64::try_from(time.as_micros() * u128::from(self.bytes_per_s) / 1_000_000).unwrap_or(u64::MAX);
        let most = earned(SAVED_TIME).max(SAVED_MIN);
        self.tokens = self.tokens.saturating_add(earned(now.saturating_duration_since(self.at))).min(most);
        self.at = now;
        self.tokens
    }
}

/// Moves what a path did not take at once.
async fn move_on(key: super::recv::Key, link: Link, wake: Arc<Notify>, moving: Arc<AtomicU64>, shared: std::sync::Weak<Shared>) {
    loop {
        wake.notified().await;
        loop {
            let Some(shared) = shared.upgrade() else { return };
            let mut some = match shared.state().path_mut(key) {
                Some(path) => path.take_some(),
                None => return,
            };
            if some.is_empty() {
                break;
            }
            let mut refused = 0;
            while !some.is_empty() {
                match Box::pin(link.send_some(&mut some)).await {
                    Ok(sent) => refused += sent.refused.len() as u64,
                    Err(LinkEnded { .. }) => return,
                }
            }
            moving.store(0, Ordering::Relaxed);
            if refused > 0 {
                shared.state().discarded.add(DropReason::DatagramBudget, refused);
            }
            shared.room.notify_waiters();
        }
    }
}
