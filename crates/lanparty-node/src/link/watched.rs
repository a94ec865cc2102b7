//! What a path does at this moment, as its congestion controller sees it: how much is in flight, how much may be, how fast it arrives.
//!
//! The stack tells its controller alone. So the controller, whichever it is, runs inside one that notes down what passes through and
//! decides nothing, but for one packet more ([`Watched::spare`]). It also says when packets went out: a sender that keeps the stack's own
//! queue short waits for that.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lanparty_core::Flight;
use lanparty_quic::RttEstimator;
use lanparty_quic::congestion::{Controller, ControllerFactory};
use tokio::sync::Notify;

use super::DATAGRAM_BUFFER_LEN;

/// Shortest time that a rate is measured over: acknowledgements come in bunches.
const RATE_PERIOD_MIN: Duration = Duration::from_millis(20);

/// How long a datagram may wait in the carrier itself: with CoDel's target (RFC 8289) it is the delay that a ping sees beside a download.
const QUEUE_TIME: Duration = Duration::from_millis(5);
/// A slow path holds so much all the same: less, and it would run dry while we are busy.
const QUEUE_MIN: usize = 4 * 1500;

/// Bytes of datagrams that the carrier may hold unsent: what the path sends within [`QUEUE_TIME`]. The rest waits where it is shared
/// fairly, and where what comes last can still go first.
pub(super) fn queue_max(flight: &Flight) -> usize {
    // A window a round trip is what the path may send, even when it was not asked to lately.
    let window_rate = if flight.rtt.is_zero() { 0.0 } else { flight.window as f64 / flight.rtt.as_secs_f64() };
    let bytes = window_rate.max(flight.rate_bytes_per_s as f64) * QUEUE_TIME.as_secs_f64();
    (bytes as usize).clamp(QUEUE_MIN, DATAGRAM_BUFFER_LEN)
}

/// What is noted down, for whoever looks from outside the connection.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    in_flight: AtomicU64,
    window: AtomicU64,
    rate_bytes_per_s: AtomicU64,
    rtt_us: AtomicU64,
    min_rtt_us: AtomicU64,
    /// Something has come since a packet went out.
    heard: AtomicBool,
    /// Packets went out.
    pub(super) sent: Notify,
}

impl Gauge {
    /// Something has come.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    pub(super) fn flight(&self, queued: usize) -> Flight {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let time = |number: &AtomicU64| Duration::from_micros(read(number));
        Flight {
            in_flight: read(&self.in_flight),
            window: read(&self.window),
            rate_bytes_per_s: read(&self.rate_bytes_per_s),
            rtt: time(&self.rtt_us),
            min_rtt: time(&self.min_rtt_us),
            queued,
        }
    }
}

/// Makes watched controllers.
pub(crate) struct Watching(pub(crate) Arc<dyn ControllerFactory + Send + Sync>);

impl ControllerFactory for Watching {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Watched { inner, gauge: Arc::default(), rate: RateMeter::new(now), mtu: current_mtu })
    }
}

/// A controller that is watched.
struct Watched {
    inner: Box<dyn Controller>,
    gauge: Arc<Gauge>,
    rate: RateMeter,
    mtu: u16,
}

/// The gauge of a connection's controller.
pub(super) fn gauge_of(controller: Box<dyn Controller>) -> Option<Arc<Gauge>> {
    controller.into_any().downcast::<Watched>().ok().map(|watched| Arc::clone(&watched.gauge))
}

/// Bytes that arrived, over a round trip or [`RATE_PERIOD_MIN`].
#[derive(Debug, Clone)]
struct RateMeter {
    since: Instant,
    acked: u64,
    app_limited: bool,
    bytes_per_s: u64,
}

impl RateMeter {
    const fn new(since: Instant) -> Self {
        Self { since, acked: 0, app_limited: false, bytes_per_s: 0 }
    }

    /// A rate that the application did not ask more of says only that the path takes that much
    /// (draft-cheng-iccrg-delivery-rate-estimation).
    fn add(&mut self, bytes: u64, app_limited: bool, rtt: Duration, now: Instant) -> u64 {
        self.acked += bytes;
        self.app_limited |= app_limited;
        let time = now.saturating_duration_since(self.since);
        if time >= rtt.max(RATE_PERIOD_MIN) {
            let rate = (self.acked as f64 / time.as_secs_f64()) as u64;
            let bytes_per_s = if self.app_limited { self.bytes_per_s.max(rate) } else { rate };
            *self = Self { since: now, acked: 0, app_limited: false, bytes_per_s };
        }
        self.bytes_per_s
    }
}

impl Watched {
    fn note_window(&self) {
        self.gauge.window.store(self.inner.window(), Ordering::Relaxed);
    }

    /// One packet may leave beyond a full window when something has come since the last one left. While data waits for the window the stack
    /// sends no acknowledgements either; two ends that fill the path between them both ways would wait for each other's, until a probe
    /// time-out of some 40 ms, again and again (docs/decisions/0028).
    fn spare(&self) -> u64 {
        if self.gauge.heard.load(Ordering::Relaxed) { self.mtu.into() } else { 0 }
    }
}

impl Controller for Watched {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest_pn: u64) {
        self.inner.on_sent(now, bytes, largest_pn);
        self.gauge.in_flight.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.heard.store(false, Ordering::Relaxed);
        self.note_window();
        self.gauge.sent.notify_one();
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        let rate = self.rate.add(bytes, app_limited, rtt.get(), now);
        self.gauge.rate_bytes_per_s.store(rate, Ordering::Relaxed);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.gauge.rtt_us.store(micros(rtt.get()), Ordering::Relaxed);
        self.gauge.min_rtt_us.store(micros(rtt.min()), Ordering::Relaxed);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.gauge.in_flight.store(in_flight, Ordering::Relaxed);
        self.note_window();
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        // Lost before it was counted, or counted anew by an acknowledgement: never below nothing.
        let less = |in_flight: u64| Some(in_flight.saturating_sub(lost_bytes));
        let _ = self.gauge.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.note_window();
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
        self.mtu = new_mtu;
        self.note_window();
    }

    fn window(&self) -> u64 {
        self.inner.window() + self.spare()
    }

    /// The copy writes into the same gauge: it takes the place of this one when only the port of the other side has changed.
    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), gauge: Arc::clone(&self.gauge), rate: self.rate.clone(), mtu: self.mtu })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests;
