//! TCP flows that take what they can get: how much, and when. Their congestion control is CUBIC, as with most machines at a LAN
//! party: what the kernel here has by default may be another one, which would flatter a tunnel that loses.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use socket2::Socket;

use crate::endpoint::Endpoint;

/// Asked for by name.
const CONGESTION_CONTROL: &[u8] = b"cubic";
/// How long a connection may take: a first SYN and two more may be lost.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How often the end is looked for by who reads or writes.
const SLICE: Duration = Duration::from_millis(100);
/// How often arrivals are noted down.
const SAMPLE: Duration = Duration::from_millis(10);
/// One write.
const BLOCK: usize = 64 << 10;
/// Flows of one measurement.
const FLOWS_MAX: usize = 64;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Bulk {
    /// How many connections at once.
    pub flows: usize,
    /// Time that does not count: slow start, and what a tunnel learns of its paths.
    pub warm_up: Duration,
    /// Time that counts.
    pub window: Duration,
    /// The receiver opens the connections, as a download does: through a NAT nothing else works.
    pub download: bool,
}

impl Default for Bulk {
    /// One flow, ten seconds of which count.
    fn default() -> Self {
        Self { flows: 1, warm_up: Duration::from_secs(3), window: Duration::from_secs(10), download: false }
    }
}

/// What arrived, and when.
#[derive(Debug, Clone)]
pub struct BulkReport {
    bulk: Bulk,
    /// When everything was connected: time 0 of what follows.
    pub start: Instant,
    /// The time, and the bytes that had arrived by then on each flow.
    pub samples: Vec<(Duration, Vec<u64>)>,
}

/// Both ends of one flow.
struct Connection {
    sender: TcpStream,
    receiver: TcpStream,
    /// Further lines of a connection by Multipath TCP join it where it was opened.
    _listener: Socket,
}

/// What the threads of one measurement share.
struct Shared {
    received: Vec<AtomicU64>,
    over: AtomicBool,
}

impl Bulk {
    /// Sends from `from` to `to`, and returns when it is over.
    pub fn run(&self, from: &Endpoint<'_>, to: &Endpoint<'_>) -> Result<BulkReport> {
        self.run_while(from, to, || ()).map(|(report, ())| report)
    }

    /// As [`Bulk::run`], and does `meanwhile` on the calling thread once everything is connected: ping, cut a line.
    pub fn run_while<T>(&self, from: &Endpoint<'_>, to: &Endpoint<'_>, meanwhile: impl FnOnce() -> T) -> Result<(BulkReport, T)> {
        ensure!((1..=FLOWS_MAX).contains(&self.flows), "1 to {FLOWS_MAX} flows, not {}", self.flows);
        let connections: Vec<Connection> = (0..self.flows).map(|_| self.connect(from, to)).collect::<Result<_>>()?;
        let shared = Shared { received: connections.iter().map(|_| AtomicU64::new(0)).collect(), over: AtomicBool::new(false) };
        let start = Instant::now();
        let (samples, done) = thread::scope(|scope| {
            let shared = &shared;
            for (connection, received) in connections.iter().zip(&shared.received) {
                scope.spawn(|| send(&connection.sender, shared));
                scope.spawn(|| receive(&connection.receiver, received, shared));
            }
            let sampling = scope.spawn(|| sample(shared, start, self.warm_up + self.window));
            let done = meanwhile();
            (sampling.join(), done)
        });
        let samples = samples.map_err(|_| anyhow!("the sampling thread panicked"))?;
        Ok((BulkReport { bulk: *self, start, samples }, done))
    }

    fn connect(&self, from: &Endpoint<'_>, to: &Endpoint<'_>) -> Result<Connection> {
        if self.download {
            let (receiver, sender, listener) = connect(to, from)?;
            return Ok(Connection { sender, receiver, _listener: listener });
        }
        let (sender, receiver, listener) = connect(from, to)?;
        Ok(Connection { sender, receiver, _listener: listener })
    }
}

impl BulkReport {
    /// Goodput of all flows in the time that counts.
    pub fn mbit_s(&self) -> f64 {
        self.mbit_s_between(self.bulk.warm_up, self.bulk.warm_up + self.bulk.window)
    }

    /// Goodput of all flows between two times.
    pub fn mbit_s_between(&self, from: Duration, to: Duration) -> f64 {
        mbit_s(self.bytes_at(to) - self.bytes_at(from), to - from)
    }

    /// Goodput of each flow in the time that counts.
    pub fn mbit_s_of_each(&self) -> Vec<f64> {
        let (from, to) = (self.at(self.bulk.warm_up), self.at(self.bulk.warm_up + self.bulk.window));
        from.iter().zip(to).map(|(from, to)| mbit_s(to - from, self.bulk.window)).collect()
    }

    /// The least that all flows carried together in any `span` between two times: a dip, or a standstill.
    pub fn lowest_mbit_s(&self, from: Duration, to: Duration, span: Duration) -> f64 {
        let starts = self.samples.iter().map(|(at, _)| *at).filter(|at| *at >= from && *at + span <= to);
        starts.map(|at| self.mbit_s_between(at, at + span)).fold(f64::INFINITY, f64::min)
    }

    /// The longest time between `from` and the end in which nothing arrived on some flow.
    pub fn longest_standstill(&self, from: Duration) -> Duration {
        let mut longest = Duration::ZERO;
        for flow in 0..self.bulk.flows {
            let bytes = |sample: &(Duration, Vec<u64>)| sample.1.get(flow).copied().unwrap_or(0);
            let mut last = from;
            for pair in self.samples.windows(2).filter(|pair| pair[1].0 >= from) {
                if bytes(&pair[1]) > bytes(&pair[0]) {
                    last = pair[1].0;
                }
                longest = longest.max(pair[1].0.saturating_sub(last));
            }
        }
        longest
    }

    /// Flows on which nothing arrived after `time`.
    pub fn flows_standing_since(&self, time: Duration) -> usize {
        let last = self.samples.last().map_or(&[][..], |(_, bytes)| bytes);
        self.at(time).iter().zip(last).filter(|(then, last)| then == last).count()
    }

    /// Bytes that had arrived by `time`.
    fn bytes_at(&self, time: Duration) -> u64 {
        self.at(time).iter().sum()
    }

    fn at(&self, time: Duration) -> &[u64] {
        let after = self.samples.partition_point(|(at, _)| *at <= time);
        after.checked_sub(1).and_then(|at| self.samples.get(at)).map_or(&[], |(_, bytes)| bytes)
    }
}

fn mbit_s(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e6 / time.as_secs_f64()
}

/// Opens a connection: the end that opened it, the other one, and who listened.
fn connect(from: &Endpoint<'_>, to: &Endpoint<'_>) -> Result<(TcpStream, TcpStream, Socket)> {
    let (listener, socket) = (to.tcp()?, from.tcp()?);
    for end in [&listener, &socket] {
        // Whichever of them will send; what is accepted has it from its listener.
        end.set_tcp_congestion(CONGESTION_CONTROL).context("ask for CUBIC")?;
    }
    listener.listen(1).context("listen")?;
    let target = to.reached(&listener)?;
    socket.connect_timeout(&target.into(), CONNECT_PATIENCE).with_context(|| format!("connect to {target}"))?;
    let (accepted, _) = listener.accept().context("accept")?;
    Ok((with_timeouts(socket)?, with_timeouts(accepted)?, listener))
}

fn with_timeouts(socket: Socket) -> io::Result<TcpStream> {
    socket.set_read_timeout(Some(SLICE))?;
    socket.set_write_timeout(Some(SLICE))?;
    Ok(socket.into())
}

/// Writes until it is over. A flow that breaks is seen by what does not arrive.
fn send(mut stream: &TcpStream, shared: &Shared) {
    let block = vec![0x5a; BLOCK];
    while !shared.over.load(Ordering::Relaxed) {
        match stream.write(&block) {
            Err(error) if !is_slice(&error) => return,
            _ => {}
        }
    }
}

fn receive(mut stream: &TcpStream, received: &AtomicU64, shared: &Shared) {
    let mut block = vec![0; BLOCK];
    while !shared.over.load(Ordering::Relaxed) {
        match stream.read(&mut block) {
            Ok(0) => return,
            Ok(len) => drop(received.fetch_add(len as u64, Ordering::Relaxed)),
            Err(error) if is_slice(&error) => {}
            Err(_) => return,
        }
    }
}

fn is_slice(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Notes down what arrived, and ends the measurement.
fn sample(shared: &Shared, start: Instant, duration: Duration) -> Vec<(Duration, Vec<u64>)> {
    let mut samples = Vec::new();
    loop {
        let at = start.elapsed();
        samples.push((at, shared.received.iter().map(|received| received.load(Ordering::Relaxed)).collect()));
        if at >= duration {
            shared.over.store(true, Ordering::Relaxed);
            return samples;
        }
        thread::sleep(SAMPLE.min(duration - at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two flows of a million bytes every 100 ms, the second of which stands still from 500 to 700 ms.
    fn report() -> BulkReport {
        let sample = |tenth: u64| {
            let second = if (5..=7).contains(&tenth) { 5 } else { tenth };
            (Duration::from_millis(100 * tenth), vec![tenth * 1_000_000, second * 1_000_000])
        };
        let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(800));
        BulkReport {
            bulk: Bulk { flows: 2, warm_up, window, download: false },
            start: Instant::now(),
            samples: (0..=10).map(sample).collect(),
        }
    }

    #[test]
    fn only_the_window_counts() {
        assert!((report().mbit_s() - 160.0).abs() < 1e-6, "{}", report().mbit_s());
        assert_eq!(report().mbit_s_of_each().len(), 2);
        let ms = Duration::from_millis;
        assert!((report().mbit_s_between(ms(500), ms(700)) - 80.0).abs() < 1e-6);
    }

    #[test]
    fn a_dip_and_a_standstill_are_found() {
        let ms = Duration::from_millis;
        assert!((report().lowest_mbit_s(ms(0), ms(1_000), ms(200)) - 80.0).abs() < 1e-6);
        assert_eq!(report().longest_standstill(ms(0)), ms(200));
        assert_eq!(report().longest_standstill(ms(800)), ms(0));
        assert_eq!([report().flows_standing_since(ms(500)), report().flows_standing_since(ms(1_000))], [0, 2]);
    }
}
