//! TCP between two hosts, compared bit by bit where it arrives.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::namespace::Namespace;

/// A transfer in which nothing moves for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `len` bytes from one host to `address` on another and compares them there. The time it took.
pub fn transfer(from: &Namespace, to: &Namespace, address: IpAddr, len: usize) -> Result<Duration> {
    transfer_within(from, to, address, len, PATIENCE)
}

/// As [`transfer`], given up when nothing moves for `patience`.
pub fn transfer_within(from: &Namespace, to: &Namespace, address: IpAddr, len: usize, patience: Duration) -> Result<Duration> {
    let sent = noise(len);
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let listener = to.enter(|| TcpListener::bind((any, 0)))?.context("listen")?;
    let target = SocketAddr::new(address, listener.local_addr()?.port());
    let start = Instant::now();
    // Connected before it is accepted: who waits for a connection that never comes waits for ever.
    let mut stream = from.enter(|| TcpStream::connect_timeout(&target, patience))?.with_context(|| format!("connect to {target}"))?;
    stream.set_write_timeout(Some(patience))?;
    let (mut accepted, _) = listener.accept().context("accept")?;
    accepted.set_read_timeout(Some(patience))?;
    let mut received = Vec::with_capacity(len);
    let (sending, receiving) = thread::scope(|scope| {
        let receiving = scope.spawn(|| accepted.read_to_end(&mut received));
        let sending = stream.write_all(&sent);
        drop(stream);
        (sending, receiving.join())
    });
    let receiving = receiving.map_err(|_| anyhow!("the receiving thread panicked"))?;
    receiving.and(sending).with_context(|| format!("stuck after {} of {len} bytes", received.len()))?;
    ensure!(received == sent, "{} of {len} bytes came, and not the same", received.len());
    Ok(start.elapsed())
}

/// Bytes in which no run repeats, so that a lost or swapped segment is seen (xorshift64).
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}
