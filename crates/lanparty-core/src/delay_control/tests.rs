use super::*;

const MTU: u64 = 1452;
const STEP: Duration = Duration::from_micros(100);

/// A line with a queue, and a sender that never sends more than its controller allows.
struct Line {
    control: DelayControl,
    start: Instant,
    now: Duration,
    /// In bytes per second, and one way and back.
    rate: f64,
    rtt: Duration,
    /// The longest wait that its buffer holds.
    buffer: Duration,
    /// So many packets of a thousand are lost on the way, evenly.
    lost_of_1000: u64,
    /// So long the other side waits for ten packets before it acknowledges fewer.
    patience: Duration,
    /// What there is to send, in bytes per second; without a limit when absent.
    demand: Option<f64>,
    owed: f64,
    free_at: Duration,
    /// When the last packet will have left the buffer.
    busy_until: Duration,
    next: u64,
    /// When it left, and when it is acknowledged, or known to be lost.
    in_flight: VecDeque<(Duration, Duration, bool)>,
    smoothed: Option<Duration>,
    least: Duration,
    delivered: u64,
    longest_queue: Duration,
}

impl Line {
    fn new(mbit_s: f64, rtt_ms: u64) -> Self {
        let start = Instant::now();
        Self {
            control: DelayControl::new(start, MTU as u16),
            start,
            now: Duration::ZERO,
            rate: mbit_s * 125_000.0,
            rtt: Duration::from_millis(rtt_ms),
            buffer: Duration::from_millis(200),
            lost_of_1000: 0,
            patience: Duration::ZERO,
            demand: None,
            owed: 0.0,
            free_at: Duration::ZERO,
            busy_until: Duration::ZERO,
            next: 0,
            in_flight: VecDeque::new(),
            smoothed: None,
            least: Duration::MAX,
            delivered: 0,
            longest_queue: Duration::ZERO,
        }
    }

    /// Mbit/s that arrive in so many seconds from now.
    fn run(&mut self, seconds: f64) -> f64 {
        let (until, before) = (self.now + Duration::from_secs_f64(seconds), self.delivered);
        self.longest_queue = Duration::ZERO;
        while self.now < until {
            self.hear();
            self.send();
            self.now += STEP;
        }
        (self.delivered - before) as f64 / seconds / 125_000.0
    }

    fn hear(&mut self) {
        let at = self.start + self.now;
        let mut heard = false;
        let came = self.in_flight.iter().take_while(|(_, until, _)| *until <= self.now).count();
        if came < 10 && self.in_flight.front().is_none_or(|(_, until, _)| *until + self.patience > self.now) {
            return;
        }
        while let Some((sent, came, arrived)) = self.in_flight.pop_front_if(|(_, until, _)| *until <= self.now) {
            heard = true;
            if !arrived {
                self.control.lost(at, MTU, false);
                continue;
            }
            let sample = came - sent;
            self.least = self.least.min(sample);
            let rtt = self.smoothed.map_or(sample, |rtt| (rtt * 7 + sample) / 8);
            self.smoothed = Some(rtt);
            self.delivered += MTU;
            let app_limited = self.demand.is_some();
            self.control.acked(at, Acked { sent: self.start + sent, bytes: MTU, app_limited, rtt, rtt_min: self.least });
        }
        if heard {
            self.control.end_acks(at, self.in_flight.len() as u64 * MTU, self.demand.is_some());
        }
    }

    fn send(&mut self) {
        self.owed += self.demand.map_or(f64::MAX / 4.0, |demand| demand * STEP.as_secs_f64());
        while self.in_flight.len() as u64 * MTU + MTU <= self.control.window() && self.free_at <= self.now + STEP && self.owed >= MTU as f64
        {
            self.owed -= MTU as f64;
            if let Some(rtt) = self.smoothed {
                // As the stack does (RFC 9002 §7.7).
                self.free_at = self.free_at.max(self.now) + rtt.mul_f64(MTU as f64 / 1.25 / self.control.window() as f64);
            }
            let queue = self.busy_until.saturating_sub(self.now);
            let arrives =
                queue <= self.buffer && self.next % 1000 * self.lost_of_1000 / 1000 == (self.next + 999) % 1000 * self.lost_of_1000 / 1000;
            if arrives {
                self.longest_queue = self.longest_queue.max(queue);
                self.busy_until = self.busy_until.max(self.now) + Duration::from_secs_f64(MTU as f64 / self.rate);
            }
            // What is lost is noticed when those after it are heard of.
            let until = self.busy_until.max(self.now) + self.rtt;
            self.in_flight.push_back((self.now, until, arrives));
            self.next += 1;
        }
        self.owed = self.owed.min(1e9);
    }

    fn window_time(&self) -> f64 {
        self.control.window() as f64 / self.rate * 1e3
    }
}

#[test]
fn a_line_is_full_and_its_buffer_is_not() {
    for (mbit_s, rtt_ms) in [(5.0, 30), (30.0, 20), (300.0, 10)] {
        let mut line = Line::new(mbit_s, rtt_ms);
        line.run(2.0);
        let goodput = line.run(3.0);
        assert!(goodput > 0.97 * mbit_s, "{goodput} of {mbit_s}");
        let most = Duration::from_millis(15);
        assert!(line.longest_queue < most, "{mbit_s} Mbit/s: a queue of {:?}", line.longest_queue);
    }
}

#[test]
fn a_lost_packet_is_not_taken_for_a_full_line() {
    let mut line = Line::new(30.0, 20);
    line.lost_of_1000 = 10;
    line.run(2.0);
    let goodput = line.run(3.0);
    assert!(goodput > 0.97 * 30.0, "{goodput}");
}

#[test]
fn a_shallow_buffer_is_not_overrun_for_good() {
    let mut line = Line::new(30.0, 20);
    line.buffer = Duration::from_millis(8);
    line.run(2.0);
    let (sent, delivered) = (line.next, line.delivered);
    let goodput = line.run(5.0);
    let (sent, arrived) = (line.next - sent, (line.delivered - delivered) / MTU);
    assert!(goodput > 0.95 * 30.0, "{goodput}");
    assert!(sent < arrived + sent / 100, "{sent} sent, {arrived} arrived");
}

#[test]
fn a_rate_that_falls_or_grows_is_followed() {
    let mut line = Line::new(30.0, 20);
    line.run(2.0);
    line.rate /= 3.0;
    line.run(1.0);
    assert!(line.run(1.0) > 9.5);
    assert!(line.longest_queue < Duration::from_millis(60), "{:?}", line.longest_queue);
    line.rate *= 3.0;
    line.run(2.0);
    assert!(line.run(1.0) > 27.0);
}

#[test]
fn a_queue_ends_the_beginning_although_nobody_asked_for_more() {
    let mut line = Line::new(30.0, 20);
    line.run(0.3);
    // As a flow inside that is its own limit: it sends what arrives, and has a queue of 20 ms standing.
    line.demand = Some(line.rate * 1.3);
    line.run(0.2);
    line.demand = Some(line.rate);
    line.run(1.0);
    let held = (line.rtt.as_secs_f64() + 0.020) * 1e3;
    assert!(line.window_time() < held, "a window of {:.1} ms of sending", line.window_time());
    assert!(line.longest_queue < Duration::from_millis(25), "{:?}", line.longest_queue);
}

#[test]
fn what_is_not_asked_for_takes_nothing_away() {
    let mut line = Line::new(30.0, 20);
    line.run(2.0);
    let before = line.control.window();
    line.demand = Some(line.rate / 20.0);
    line.run(3.0);
    assert!(line.control.window() * 10 >= before * 9, "{} of {before}", line.control.window());
    line.demand = None;
    assert!(line.run(0.5) > 27.0, "it begins where it was");
}

#[test]
fn the_shortest_round_trip_is_looked_for_anew() {
    let mut line = Line::new(30.0, 20);
    line.run(5.0);
    // The line became longer; what was its own queue so far must not be taken for it.
    line.rtt = Duration::from_millis(60);
    line.run(25.0);
    line.smoothed = None;
    let goodput = line.run(3.0);
    assert!(goodput > 24.0, "{goodput}");
}

/// A path within a house, whose other side acknowledges ten packets or what has waited for 5 ms.
fn short_path(mbit_s: f64) -> Line {
    let mut line = Line::new(mbit_s, 0);
    (line.rtt, line.patience) = (Duration::from_micros(200), Duration::from_millis(5));
    line
}

#[test]
fn a_fast_wire_is_full_with_a_shorter_queue_than_a_slow_one() {
    for (mbit_s, rtt_us, most_ms) in [(1_000.0, 200, 1.5), (1_000.0, 900, 4.0), (30.0, 200, 10.0)] {
        let mut line = short_path(mbit_s);
        line.rtt = Duration::from_micros(rtt_us);
        line.run(35.0);
        let goodput = line.run(4.0);
        let queue = line.longest_queue.as_secs_f64() * 1e3;
        assert!(goodput > 0.95 * mbit_s && queue < most_ms, "{mbit_s} Mbit/s, {rtt_us} us: {goodput:.1} Mbit/s, {queue:.2} ms");
    }
}

#[test]
fn a_short_path_carries_on_while_its_length_is_looked_for() {
    let mut line = short_path(30.0);
    line.run(2.0);
    let mut looked = false;
    for _ in 0..500 {
        let goodput = line.run(0.05);
        assert!(goodput > 0.8 * 30.0, "{goodput:.1} Mbit/s");
        looked |= line.control.drain_until.is_some();
    }
    assert!(looked);
}

#[test]
fn what_a_processor_takes_now_and_then_is_no_longer_path() {
    let mut line = short_path(1_000.0);
    line.demand = Some(30.0 * 125_000.0);
    line.run(1.0);
    for (longer_us, is_looked_for) in [(100, false), (2_000, true)] {
        line.rtt = Duration::from_micros(200 + longer_us);
        let mut looked = false;
        for _ in 0..5_000 {
            line.run(0.005);
            looked |= line.control.drain_until.is_some();
        }
        assert_eq!(looked, is_looked_for, "{longer_us} us longer");
    }
}

/// Rounds of a path on which packets leave and are acknowledged together, as many as the window takes or `most`.
fn rounds(control: &mut DelayControl, at: &mut Instant, count: usize, most: u64) {
    let (long, rtt, rtt_min) = (Duration::from_millis(28), Duration::from_millis(28), Duration::from_millis(20));
    for _ in 0..count {
        let sent = *at;
        let packets = (control.window() / MTU).min(most);
        *at = sent + if control.min_rtt.is_some() { long } else { rtt_min };
        let app_limited = control.window() / MTU > packets;
        for _ in 0..packets {
            control.acked(*at, Acked { sent, bytes: MTU, app_limited, rtt, rtt_min });
        }
        control.end_acks(*at, 0, app_limited);
    }
}

#[test]
fn the_wait_of_a_burst_for_itself_is_no_queue() {
    let mut at = Instant::now();
    let mut control = DelayControl::new(at, MTU as u16);
    let first = control.window();
    rounds(&mut control, &mut at, 100, 2);
    assert!(control.window() >= first, "little was sent: that says nothing");
    rounds(&mut control, &mut at, 60, 40);
    assert!(control.window() > 2 * first, "{} after {first}", control.window());
}
