//! Paced UDP: a sender that keeps a packet rate, and a sink that counts what arrives.
//!
//! Each packet begins with the number of its run and its own number, both little-endian 32 bits. Sends go in batches of what
//! fell due since the last one, so a rate above what one system call per packet can do is still paced.

use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::meter::search::Step;

/// Packets per system call at most.
const BATCH: usize = 64;
/// The two numbers at the front of each packet.
const HEADER_LEN: usize = 8;
/// Room for what a burst leaves in the sockets: the meter must not be what loses packets.
const BUFFER_LEN: usize = 8 << 20;
/// How long the sender rests between batches.
const REST_MIN: Duration = Duration::from_micros(50);
const REST_MAX: Duration = Duration::from_micros(500);
/// What arrives later than this after the last send is lost: else a tunnel that queues a whole step would carry any rate.
const LATE_MAX: Duration = Duration::from_millis(20);
/// How often the sink looks whether it should end.
const SINK_WAKE: Duration = Duration::from_millis(50);

/// What a sender is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blast {
    /// Bytes of UDP payload, at least [`HEADER_LEN`].
    pub(crate) size: usize,
    pub(crate) pps: f64,
    pub(crate) duration: Duration,
}

/// Packets handed to the socket and refused by it, and the time that took.
#[derive(Debug, Clone, Copy)]
struct Sent {
    offered: u64,
    took: Duration,
}

/// What of the current run has arrived.
#[derive(Debug, Clone, Copy, Default)]
struct Arrived {
    run: u32,
    packets: u64,
    reordered: u64,
    highest: u32,
}

/// Counts packets of one run at a time. Shared by the thread that receives and the one that asks.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    arrived: Mutex<Arrived>,
    end: AtomicBool,
}

impl Sink {
    /// Receives until [`Sink::end`]; call it on a thread of the receiving host, with a socket bound there.
    pub(crate) fn serve(&self, socket: &UdpSocket) -> Result<()> {
        set_socket_recv_buffer_size_force(socket, BUFFER_LEN).context("the sink's buffer")?;
        socket.set_read_timeout(Some(SINK_WAKE)).context("the sink's timeout")?;
        let mut packet = [0; 9_000];
        while !self.end.load(Ordering::Relaxed) {
            // An error is the timeout, or an ICMP message that is none of the sink's business.
            if let Ok(len) = socket.recv(&mut packet) {
                self.count(&packet[..len]);
            }
        }
        Ok(())
    }

    /// Makes [`Sink::serve`] return.
    pub(crate) fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    fn count(&self, packet: &[u8]) {
        let Some((run, number)) = parse(packet) else { return };
        let mut arrived = lock(&self.arrived);
        if run != arrived.run {
            return; // a straggler of an earlier run
        }
        arrived.packets += 1;
        if number < arrived.highest { arrived.reordered += 1 } else { arrived.highest = number }
    }

    fn begin(&self) -> u32 {
        let mut arrived = lock(&self.arrived);
        *arrived = Arrived { run: arrived.run + 1, ..Arrived::default() };
        arrived.run
    }

    /// Waits for what is on its way.
    fn end_run(&self) -> Arrived {
        thread::sleep(LATE_MAX);
        *lock(&self.arrived)
    }
}

/// One step: sends from the calling thread's host, and says what the sink saw of it.
pub(crate) fn step(sink: &Sink, to: (Ipv4Addr, u16), blast: Blast) -> Result<Step> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("open the sender's socket")?;
    set_socket_send_buffer_size_force(&socket, BUFFER_LEN).context("the sender's buffer")?;
    socket.connect(to).with_context(|| format!("aim at {}:{}", to.0, to.1))?;
    let sent = send(&socket, sink.begin(), blast)?;
    let arrived = sink.end_run();
    let seconds = sent.took.as_secs_f64();
    Ok(Step { offered_pps: sent.offered as f64 / seconds, received_pps: arrived.packets as f64 / seconds, reordered: arrived.reordered })
}

fn send(socket: &UdpSocket, run: u32, blast: Blast) -> Result<Sent> {
    let mut packets = vec![vec![0; blast.size.max(HEADER_LEN)]; BATCH];
    let target = (blast.pps * blast.duration.as_secs_f64()) as u64;
    let rest = Duration::from_secs_f64(1.0 / blast.pps).clamp(REST_MIN, REST_MAX);
    let start = Instant::now();
    let mut offered = 0;
    while offered < target && start.elapsed() < blast.duration {
        let due = due(start.elapsed(), blast.pps, target);
        if offered >= due {
            thread::sleep(rest);
            continue;
        }
        let batch = BATCH.min((due - offered) as usize);
        for (number, packet) in (offered as u32..).zip(&mut packets[..batch]) {
            packet[..4].copy_from_slice(&run.to_le_bytes());
            packet[4..HEADER_LEN].copy_from_slice(&number.to_le_bytes());
        }
        offered += send_batch(socket, &packets[..batch])?;
    }
    // The last packets fall due before the time is over: they belong to all of it.
    Ok(Sent { offered, took: start.elapsed().max(blast.duration) })
}

/// Packets that should have left after this time.
fn due(elapsed: Duration, pps: f64, target: u64) -> u64 {
    ((elapsed.as_secs_f64() * pps) as u64 + 1).min(target)
}

/// Sends from the front and returns how many were taken or refused.
fn send_batch(socket: &UdpSocket, packets: &[Vec<u8>]) -> Result<u64> {
    let slices: Vec<[IoSlice<'_>; 1]> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
    let mut control: Vec<SendAncillaryBuffer<'_, '_, '_>> = packets.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> = slices.iter().zip(&mut control).map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
    match sendmmsg(socket, &mut messages, SendFlags::empty()) {
        Ok(sent) => Ok(sent as u64),
        // The first packet was refused: it counts as offered and lost.
        Err(Errno::NOBUFS | Errno::AGAIN | Errno::CONNREFUSED) => Ok(1),
        Err(error) => Err(error).context("send a batch"),
    }
}

fn parse(packet: &[u8]) -> Option<(u32, u32)> {
    let (run, rest) = packet.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*run), u32::from_le_bytes(*number)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_to_the_packet() {
        assert_eq!(due(Duration::ZERO, 1_000.0, 500), 1, "the first leaves at once");
        assert_eq!(due(Duration::from_millis(100), 1_000.0, 500), 101);
        assert_eq!(due(Duration::from_secs(9), 1_000.0, 500), 500);
    }

    #[test]
    fn the_sink_counts_its_run_and_no_other() {
        let sink = Sink::default();
        let packet = |run: u32, number: u32| [run.to_le_bytes(), number.to_le_bytes()].concat();
        let run = sink.begin();
        for number in [0, 2, 1, 3] {
            sink.count(&packet(run, number));
        }
        sink.count(&packet(run - 1, 9));
        sink.count(b"short");
        let arrived = sink.end_run();
        assert_eq!((arrived.packets, arrived.reordered), (4, 1));
        sink.begin();
        assert_eq!(sink.end_run().packets, 0);
    }

    #[test]
    fn what_is_sent_over_loopback_arrives() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let sink = Sink::default();
        thread::scope(|scope| {
            scope.spawn(|| sink.serve(&socket));
            let blast = Blast { size: 64, pps: 2_000.0, duration: Duration::from_millis(200) };
            let step = step(&sink, (Ipv4Addr::LOCALHOST, port), blast);
            sink.end();
            let step = step.unwrap();
            assert!(step.offered_pps > 1_000.0 && step.loss() < 0.5, "{step:?}");
        });
    }
}
