//! A measuring stick between two hosts: UDP at an even pace, each packet with its number and the time it was sent.
//!
//! Sender and receiver share one clock (they are threads of this process), so delays are one-way and exact.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::endpoint::Endpoint;
use crate::labwire::become_fifo;
use crate::namespace::Namespace;

/// How long the receiver listens after the last packet was sent, unless told otherwise.
const LINGER: Duration = Duration::from_millis(500);
/// How often the receiver looks whether it is over.
const RECEIVE_SLICE: Duration = Duration::from_millis(50);
/// Number and time.
const STAMP_LEN: usize = 16;
/// The largest payload of UDP over IPv4.
const UDP_PAYLOAD_MAX: usize = 65_507;
/// What may wait for a receiver that is not woken at once: a tenth of a second of 300 Mbit/s.
const RECEIVE_BUFFER_LEN: usize = 4 << 20;
/// The pace at which RELIABILITY.md measures outages.
const PROBE_RATE: u32 = 100;
/// Payload of a load. It fits through a tunnel whose path has fallen to the least that QUIC allows (RFC 9000 §14): a host that was
/// once told so sends larger packets in fragments for ten minutes, which measures something else.
const LOAD_PAYLOAD: usize = 1_000;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Packets per second.
    pub rate: u32,
    /// UDP payload of each, at least 16 bytes.
    pub payload: usize,
    /// How long to send.
    pub duration: Duration,
    /// How long to listen afterwards.
    pub linger: Duration,
}

impl Default for Probe {
    /// Small packets for two seconds: the probe by which RELIABILITY.md defines an outage.
    fn default() -> Self {
        Self::small(Duration::from_secs(2))
    }
}

/// One packet that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u64,
    /// When it was sent, since the probe's start.
    pub sent: Duration,
    /// When it came, since the probe's start.
    pub came: Duration,
}

/// What a probe saw.
#[derive(Debug, Clone, Default)]
pub struct ProbeReport {
    /// Packets handed to the sender's stack.
    pub sent: u64,
    /// Packets that the sender's stack refused (no route, interface down).
    pub refused: u64,
    /// Packets that came, in order of arrival.
    pub arrivals: Vec<Arrival>,
}

impl Probe {
    /// 100 packets of 100 bytes per second: a game's.
    pub const fn small(duration: Duration) -> Self {
        Self { rate: PROBE_RATE, payload: 100, duration, linger: LINGER }
    }

    /// 100 packets of 1,000 bytes per second: too large for anything but bulk.
    pub const fn large(duration: Duration) -> Self {
        Self { payload: 1_000, ..Self::small(duration) }
    }

    /// So many Mbit/s of payload, whatever comes of it.
    pub fn load(mbit_s: f64, duration: Duration) -> Self {
        let rate = (mbit_s * 1e6 / 8.0 / LOAD_PAYLOAD as f64).round().max(1.0);
        Self { rate: rate as u32, payload: LOAD_PAYLOAD, duration, linger: LINGER }
    }

    /// Sends from `from` to `to`'s address and returns when it is over.
    pub fn run(&self, from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Result<ProbeReport> {
        self.run_while(from, to, address, || ()).map(|(report, ())| report)
    }

    /// As [`Probe::run`], and does `meanwhile` on the calling thread: pull a plug, kill a relay.
    pub fn run_while<T>(
        &self,
        from: &Namespace,
        to: &Namespace,
        address: Ipv4Addr,
        meanwhile: impl FnOnce() -> T,
    ) -> Result<(ProbeReport, T)> {
        self.between(&Endpoint::new(from, Ipv4Addr::UNSPECIFIED), &Endpoint::new(to, address), meanwhile)
    }

    /// As [`Probe::run_while`] between ends that may be bound to interfaces.
    pub fn between<T>(&self, from: &Endpoint<'_>, to: &Endpoint<'_>, meanwhile: impl FnOnce() -> T) -> Result<(ProbeReport, T)> {
        let (sender, receiver) = (from.udp()?, to.udp()?);
        let target = to.reached(&receiver)?;
        // Without the right to it the default has to do.
        let _ = set_socket_recv_buffer_size_force(&receiver, RECEIVE_BUFFER_LEN);
        let (sender, receiver) = (UdpSocket::from(sender), UdpSocket::from(receiver));
        receiver.set_read_timeout(Some(RECEIVE_SLICE))?;
        let over = AtomicBool::new(false);
        let start = Instant::now();
        let (sending, arrivals, done) = thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(&receiver, start, &over));
            let sending = scope.spawn(|| {
                let counts = self.send(&sender, target, start);
                thread::sleep(self.linger);
                over.store(true, Ordering::Relaxed);
                counts
            });
            let done = meanwhile();
            (sending.join(), receiving.join(), done)
        });
        let panicked = |_| anyhow!("a thread of the probe panicked");
        let (sent, refused) = sending.map_err(panicked)?;
        Ok((ProbeReport { sent, refused, arrivals: arrivals.map_err(panicked)?? }, done))
    }

    /// Sends at an even pace; how many were sent, how many refused.
    fn send(&self, socket: &UdpSocket, target: SocketAddr, start: Instant) -> (u64, u64) {
        // Without the right to real-time priority the probe is less exact; a wire's verdict is what decides.
        let _ = become_fifo();
        let mut packet = vec![0; self.payload.clamp(STAMP_LEN, UDP_PAYLOAD_MAX)];
        let count = (self.duration.as_secs_f64() * f64::from(self.rate)).round() as u64;
        let mut refused = 0;
        for number in 0..count {
            let due = Duration::from_secs_f64(number as f64 / f64::from(self.rate));
            thread::sleep(due.saturating_sub(start.elapsed()));
            packet[..8].copy_from_slice(&number.to_be_bytes());
            packet[8..STAMP_LEN].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            refused += u64::from(socket.send_to(&packet, target).is_err());
        }
        (count - refused, refused)
    }
}

fn receive(socket: &UdpSocket, start: Instant, over: &AtomicBool) -> Result<Vec<Arrival>> {
    // See `send`.
    let _ = become_fifo();
    let mut arrivals = Vec::new();
    let mut packet = vec![0; UDP_PAYLOAD_MAX];
    while !over.load(Ordering::Relaxed) {
        let Ok(len) = socket.recv(&mut packet) else { continue };
        let came = start.elapsed();
        let Some((number, rest)) = packet[..len].split_first_chunk::<8>() else { continue };
        let Some(sent) = rest.first_chunk::<8>() else { continue };
        arrivals.push(Arrival { number: u64::from_be_bytes(*number), sent: Duration::from_nanos(u64::from_be_bytes(*sent)), came });
    }
    Ok(arrivals)
}

impl ProbeReport {
    /// Packets that came at least once.
    pub fn received(&self) -> u64 {
        let mut numbers: Vec<u64> = self.arrivals.iter().map(|arrival| arrival.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len() as u64
    }

    /// Copies beyond the first.
    pub fn duplicates(&self) -> u64 {
        self.arrivals.len() as u64 - self.received()
    }

    /// Packets that an earlier-arrived, later-sent one had overtaken.
    pub fn reordered(&self) -> u64 {
        let mut highest = 0;
        let overtaken = |arrival: &&Arrival| {
            let late = arrival.number < highest;
            highest = highest.max(arrival.number);
            late
        };
        self.arrivals.iter().filter(overtaken).count() as u64
    }

    /// The share (0 to 1) that never came.
    pub fn loss(&self) -> f64 {
        1.0 - self.received() as f64 / self.sent.max(1) as f64
    }

    /// The one-way delay that `percent` of the packets stayed within; `None` when nothing came.
    pub fn delay(&self, percent: f64) -> Option<Duration> {
        let mut delays: Vec<Duration> = self.arrivals.iter().map(|arrival| arrival.came.saturating_sub(arrival.sent)).collect();
        delays.sort_unstable();
        let last = delays.len().checked_sub(1)?;
        delays.get((last as f64 * percent / 100.0).round() as usize).copied()
    }

    /// Packets that the sender's stack took and that never came.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received())
    }

    /// Packets that came later than `limit` after they were sent.
    pub fn later_than(&self, limit: Duration) -> usize {
        self.arrivals.iter().filter(|arrival| arrival.came.saturating_sub(arrival.sent) > limit).count()
    }

    /// Payload that came between two times, each packet counted once.
    pub fn mbit_s_between(&self, probe: &Probe, from: Duration, to: Duration) -> f64 {
        let within = self.arrivals.iter().filter(|arrival| arrival.came >= from && arrival.came < to);
        let mut numbers: Vec<u64> = within.map(|arrival| arrival.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len() as f64 * probe.payload as f64 * 8.0 / 1e6 / (to - from).as_secs_f64()
    }

    /// The longest time between two arrivals, the probe's own pace taken off.
    pub fn outage(&self, probe: &Probe) -> Duration {
        self.longest_gap(probe).saturating_sub(Duration::from_secs_f64(1.0 / f64::from(probe.rate)))
    }

    /// The longest time between two arrivals. A silence that lasts to the end of sending counts.
    pub fn longest_gap(&self, probe: &Probe) -> Duration {
        let times = self.arrivals.iter().map(|arrival| arrival.came).chain([probe.duration]);
        let mut last = Duration::ZERO;
        let mut longest = Duration::ZERO;
        for time in times {
            longest = longest.max(time.saturating_sub(last));
            last = last.max(time);
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(came_ms: &[(u64, u64)]) -> ProbeReport {
        let ms = Duration::from_millis;
        let arrivals = came_ms.iter().map(|(number, came)| Arrival { number: *number, sent: ms(number * 10), came: ms(*came) }).collect();
        ProbeReport { sent: 10, refused: 0, arrivals }
    }

    #[test]
    fn a_report_counts_each_packet_once() {
        let seen = report(&[(0, 5), (1, 15), (3, 35), (2, 36), (2, 37)]);
        assert_eq!((seen.received(), seen.duplicates(), seen.reordered()), (4, 1, 2));
        assert!((seen.loss() - 0.6).abs() < 1e-9);
        assert_eq!(seen.delay(0.0), Some(Duration::from_millis(5)));
        assert_eq!(report(&[]).delay(50.0), None);
    }

    #[test]
    fn what_came_in_a_time_is_counted_once() {
        let probe = Probe { payload: 1_000, ..Probe::default() };
        let seen = report(&[(0, 5), (1, 15), (1, 16), (2, 25), (3, 35)]);
        assert!((seen.mbit_s_between(&probe, Duration::from_millis(10), Duration::from_millis(30)) - 0.8).abs() < 1e-9);
        assert_eq!((seen.lost(), seen.later_than(Duration::from_millis(5))), (6, 1));
        assert_eq!(Probe::load(8.0, Duration::ZERO).rate, 1_000);
    }

    #[test]
    fn an_outage_is_the_longest_silence_even_at_the_end() {
        let probe = Probe { duration: Duration::from_millis(100), ..Probe::default() };
        assert_eq!(report(&[(0, 5), (4, 45), (9, 95)]).outage(&probe), Duration::from_millis(40));
        assert_eq!(report(&[(0, 5)]).outage(&probe), Duration::from_millis(85));
        assert_eq!(report(&[]).outage(&probe), Duration::from_millis(90));
    }
}
