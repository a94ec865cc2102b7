//! Round trips to the microsecond: `ping` shows tenths of a millisecond where they take ten.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanparty_lab::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

use super::first_reply::{echo_request, is_reply};
use super::ping::Latency;

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_millis(500);
/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(10);
/// Answers that may be missing, one of so many.
const LOST_ONE_OF: u16 = 10;
/// Where the number of a request stands in an answer with its IP header.
const NUMBER_AT: std::ops::Range<usize> = 26..28;

/// Sends `count` echo requests one after the other, each when the one before was answered.
pub(crate) fn echoes(host: &Namespace, to: Ipv4Addr, count: u16) -> Result<Latency> {
    host.enter(|| -> Result<Latency> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).context("open a raw socket")?;
        socket.set_read_timeout(Some(WAIT)).context("the meter's timeout")?;
        let ident = (std::process::id() & 0xffff) as u16;
        let mut times = Vec::with_capacity(usize::from(count));
        for number in 0..count {
            let sent = Instant::now();
            socket.send_to(&echo_request(ident, number), &SocketAddr::from((to, 0)).into()).context("send an echo request")?;
            times.extend(answered(&socket, to, ident, number, sent).map(|time| time.as_secs_f64() * 1e3));
            thread::sleep(PAUSE);
        }
        ensure!(times.len() >= usize::from(count - count / LOST_ONE_OF), "{} of {count} echoes of {to} came back", times.len());
        Latency::of(&times).context("no echo")
    })?
}

fn answered(mut socket: &Socket, from: Ipv4Addr, ident: u16, number: u16, sent: Instant) -> Option<Duration> {
    let mut packet = [0; 2_048];
    while sent.elapsed() < WAIT {
        let len = std::io::Read::read(&mut socket, &mut packet).unwrap_or(0);
        let took = sent.elapsed();
        let packet = packet.get(..len).unwrap_or_default();
        if is_reply(packet, from, ident) && packet.get(NUMBER_AT) == Some(&number.to_be_bytes()) {
            return Some(took);
        }
    }
    None
}
