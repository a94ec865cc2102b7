//! One path of a bond: a connection, its tasks, and what waits in front of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Class, Drops, Flight, Liveness, Pair, PathRecord, PathView};
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
/// How often a path of a named rate looks whether it may send more.
const TOKEN_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Rates are of this long a time, at least.
const RATE_TIME: Duration = Duration::from_secs(1);

/// A connection in use.
pub(super) struct Path {
    pub(super) bond: BondPath,
    pub(super) name: String,
    pair: Option<Pair>,
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
    /// What passes all bulk.
    first: Waiting,
    bulk: Waiting,
    wake: Arc<Notify>,
    sent_bytes: u64,
    /// The most that it is sent, in bits per second.
    pub(super) limit: Option<u64>,
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

/// Datagrams for one path, in the order in which they go.
#[derive(Default)]
pub(super) struct Lot {
    first: Vec<Bytes>,
    bulk: Vec<Bytes>,
}

/// Datagrams that a path did not take at once, or that it is committed to.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<Bytes>,
    len: usize,
}

/// What is left after a path was given what it takes.
enum Left {
    Nothing,
    /// It takes more as soon as it is ready.
    Some,
    /// Its owner has named a rate, and that is used up for a moment.
    TooFast,
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
        let BondPathUp { bond, name, link, control: (control_in, control_out), pair, .. } = up;
        let (serial, now) = (SERIALS.fetch_add(1, Ordering::Relaxed), Instant::now());
        let (control, messages) = mpsc::channel(CONTROL_MAX);
        for message in missed {
            // The other side has heard all but the newest of what is kept, which is less than fits.
            let _ = control.try_send(message);
        }
        let (wake, received) = (Arc::new(Notify::new()), Arc::<AtomicU64>::default());
        let key = super::recv::Key { path: bond.path, serial };
        let tasks = vec![
            tokio::spawn(super::recv::receive(key, link.clone(), Arc::clone(&received), Arc::clone(shared))),
            tokio::spawn(super::control::read(key, control_in, Arc::downgrade(shared))),
            tokio::spawn(super::control::write(messages, control_out)),
            tokio::spawn(move_on(key, link.clone(), Arc::clone(&wake), Arc::downgrade(shared))),
        ];
        let (sent, answers) = link.answerable();
        let watch = PathWatch::new(&link);
        let capture = shared.captures.of(&name);
        let meter = Meter { at: now, bytes: (0, 0), rate: (0, 0) };
        Self {
            bond,
            name,
            pair,
            link,
            serial,
            is_alive: true,
            silent_since: None,
            liveness: Liveness::new(sent, answers),
            watch,
            since: now,
            received,
            control,
            first: Waiting::default(),
            bulk: Waiting::default(),
            wake,
            sent_bytes: 0,
            limit: bond.rate,
            shaper: bond.rate.map(|bits| Shaper::new(bits, now)),
            meter,
            record: PathRecord::default(),
            mute: None,
            capture,
            tasks,
        }
    }

    /// Sends no more from now on.
    pub(super) fn limit(&mut self, bits_per_s: Option<u64>, now: Instant) {
        if self.limit != bits_per_s {
            self.limit = bits_per_s;
            self.shaper = bits_per_s.map(|bits| Shaper::new(bits, now));
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
        let flight = Flight { queued: flight.queued + self.first.len, ..flight };
        self.record.look(&flight, now);
        let budget = self.link.budget().0.into();
        let mut view = PathView::of(self.bond, self.is_alive, budget, &flight, self.bulk.len, &self.record);
        view.pair = self.pair;
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

    /// Stations 4 and 8 for datagrams that this path was chosen for. Those that it has become too small for come back as drops.
    pub(super) fn send(&mut self, lot: Lot, now: Instant) -> Drops {
        self.sent_bytes += lot.datagrams().map(|datagram| datagram.len() as u64).sum::<u64>();
        self.capture.sent(lot.datagrams());
        if self.mute.is_some() {
            return self.swallow(&lot);
        }
        self.first.extend(lot.first);
        self.bulk.extend(lot.bulk);
        // A link that has ended says so to its reader.
        let (drops, left) = self.pump(false, now).unwrap_or((Drops::default(), Left::Nothing));
        if !matches!(left, Left::Nothing) {
            self.wake();
        }
        drops
    }

    /// Gives the carrier what it takes: at least one datagram when it `is_ready`.
    fn pump(&mut self, is_ready: bool, now: Instant) -> Result<(Drops, Left), LinkEnded> {
        let mut drops = Drops::default();
        if self.mute.is_some() {
            return Ok((drops, Left::Nothing));
        }
        let (len, refused) = self.first.send(&self.link, is_ready, u64::MAX)?;
        drops.add(DropReason::DatagramBudget, refused);
        self.spend(len);
        if self.first.len > 0 {
            return Ok((drops, Left::Some));
        }
        let most = self.shaper.as_mut().map_or(u64::MAX, |shaper| shaper.tokens(now));
        if self.bulk.len > 0 && most < SAVED_MIN {
            return Ok((drops, Left::TooFast));
        }
        let (len, refused) = self.bulk.send(&self.link, is_ready, most)?;
        drops.add(DropReason::DatagramBudget, refused);
        self.spend(len);
        Ok((drops, if self.bulk.len > 0 { Left::Some } else { Left::Nothing }))
    }

    const fn spend(&mut self, len: usize) {
        if let Some(shaper) = &mut self.shaper {
            shaper.tokens = shaper.tokens.saturating_sub(len as u64);
        }
    }

    /// A datagram waits here.
    pub(super) fn wait(&mut self, datagram: Bytes) {
        self.bulk.extend([datagram]);
    }

    /// What waits here shall go on.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// What waits here, for others to take.
    pub(super) fn take_back(&mut self) -> Vec<Bytes> {
        let [first, bulk] = [&mut self.first, &mut self.bulk].map(std::mem::take);
        first.queue.into_iter().chain(bulk.queue).collect()
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
            cap_used: None,
            seconds: now.saturating_duration_since(self.since).as_secs(),
        }
    }

    /// Bytes of datagrams sent and received.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.sent_bytes, self.received.load(Ordering::Relaxed))
    }

    /// Keeps rates and losses up to date.
    pub(super) fn measure(&mut self, now: Instant) {
        self.record.count(self.link.packets());
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

impl Lot {
    pub(super) fn push(&mut self, datagram: Bytes, class: Class) {
        if class == Class::Bulk { &mut self.bulk } else { &mut self.first }.push(datagram);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.bulk.is_empty()
    }

    pub(super) fn datagrams(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.bulk)
    }
}

impl Waiting {
    fn extend(&mut self, datagrams: impl IntoIterator<Item = Bytes>) {
        for datagram in datagrams {
            self.len += datagram.len();
            self.queue.push_back(datagram);
        }
    }

    /// Hands over what the link takes, at most so many bytes. Bytes that went, and how many datagrams were refused.
    fn send(&mut self, link: &Link, is_ready: bool, most: u64) -> Result<(usize, u64), LinkEnded> {
        let mut left = most;
        let fits = self.queue.iter().take_while(|datagram| {
            let len = datagram.len() as u64;
            let ok = len <= left;
            left = left.saturating_sub(len);
            ok
        });
        let fits = if most == u64::MAX { self.queue.len() } else { fits.count() };
        let datagrams = self.queue.make_contiguous().get(..fits).unwrap_or_default();
        if datagrams.is_empty() {
            return Ok((0, 0));
        }
        let sent = if is_ready { link.send_ready(datagrams)? } else { link.send_now(datagrams)? };
        let len = self.queue.drain(..sent.taken).map(|datagram| datagram.len()).sum::<usize>();
        self.len -= len;
        Ok((len, sent.refused.len() as u64))
    }
}

impl Shaper {
    fn new(bits_per_s: u64, at: Instant) -> Self {
        Self { bytes_per_s: (bits_per_s / 8).max(1), tokens: 0, at }
    }

    /// Bytes that may be sent now; never more saved up than for [`SAVED_TIME`], or a few datagrams.
    fn tokens(&mut self, now: Instant) -> u64 {
        let earned = |time: Duration| u64::try_from(time.as_micros() * u128::from(self.bytes_per_s) / 1_000_000).unwrap_or(u64::MAX);
        let most = earned(SAVED_TIME).max(SAVED_MIN);
        self.tokens = self.tokens.saturating_add(earned(now.saturating_duration_since(self.at))).min(most);
        self.at = now;
        self.tokens
    }
}

/// Moves what a path did not take at once. Nothing leaves its queue before the path takes it, so that others can have it back.
async fn move_on(key: super::recv::Key, link: Link, wake: Arc<Notify>, shared: std::sync::Weak<Shared>) {
    loop {
        wake.notified().await;
        loop {
            if Box::pin(link.ready(&[])).await.is_err() {
                return;
            }
            let Some(shared) = shared.upgrade() else { return };
            let Some(left) = shared.pump(key) else { return };
            match left {
                Left::Nothing => break,
                Left::Some => {}
                Left::TooFast => tokio::time::sleep(TOKEN_LOOK_INTERVAL).await,
            }
        }
    }
}

impl Shared {
    /// What is left of what waits for a path; nothing when it is gone.
    fn pump(&self, key: super::recv::Key) -> Option<Left> {
        let mut state = self.state();
        let (drops, left) = state.path_mut(key)?.pump(true, Instant::now()).ok()?;
        state.discarded.add_all(&drops);
        drop(state);
        self.room.notify_waiters();
        Some(left)
    }
}
