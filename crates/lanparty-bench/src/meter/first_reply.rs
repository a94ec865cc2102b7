//! The time of the first echo reply: a prober that runs before the tunnel does.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// Time between echo requests.
const INTERVAL: Duration = Duration::from_millis(5);
/// Settings of how addresses of neighbours are asked for, one directory per interface of the thread's own namespace.
const NEIGHBOURS: &str = "/proc/sys/net/ipv4/neigh";
/// A lost first question would otherwise add a whole second to the figure.
const RETRY_MS: &str = "20";
const RETRIES: &str = "50";

const ICMP_ECHO: u8 = 8;
const ICMP_ECHO_REPLY: u8 = 0;
const IP_HEADER_LEN: usize = 20;

/// Sends echo requests from the calling thread's host until one is answered; `None` after `timeout` or when `give_up` is set.
pub(crate) fn first_reply(to: Ipv4Addr, timeout: Duration, give_up: &AtomicBool) -> Result<Option<Instant>> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).context("open a raw socket")?;
    socket.set_read_timeout(Some(INTERVAL)).context("the prober's timeout")?;
    let ident = (std::process::id() & 0xffff) as u16;
    let deadline = Instant::now() + timeout;
    let mut hastened = BTreeSet::new();
    for number in 0_u64.. {
        if Instant::now() > deadline || give_up.load(Ordering::Relaxed) {
            break;
        }
        hasten_neighbours(&mut hastened);
        // Before there is a route every send fails; that is the state the prober is there to see the end of.
        let _ = socket.send_to(&echo_request(ident, number as u16), &SocketAddr::from((to, 0)).into());
        if let Some(at) = wait_for_reply(&mut socket, to, ident) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Looks at what arrives until the next request is due.
fn wait_for_reply(socket: &mut Socket, from: Ipv4Addr, ident: u16) -> Option<Instant> {
    let until = Instant::now() + INTERVAL;
    let mut packet = [0; 2_048];
    while Instant::now() < until {
        let len = socket.read(&mut packet).unwrap_or(0);
        if is_reply(&packet[..len], from, ident) {
            return Some(Instant::now());
        }
    }
    None
}

/// Makes interfaces that appeared ask for their neighbours quickly.
fn hasten_neighbours(done: &mut BTreeSet<String>) {
    let entries = fs::read_dir(NEIGHBOURS).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        if done.contains(&name) {
            continue;
        }
        // An interface may be gone again.
        let _ = fs::write(format!("{NEIGHBOURS}/{name}/retrans_time_ms"), RETRY_MS);
        let _ = fs::write(format!("{NEIGHBOURS}/{name}/mcast_solicit"), RETRIES);
        done.insert(name);
    }
}

pub(super) fn echo_request(ident: u16, number: u16) -> [u8; 16] {
    let mut message = *b"\x08\0\0\0\0\0\0\0lanparty";
    message[0] = ICMP_ECHO;
    message[4..6].copy_from_slice(&ident.to_be_bytes());
    message[6..8].copy_from_slice(&number.to_be_bytes());
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Is this IP packet the answer of `from` to one of ours?
pub(super) fn is_reply(packet: &[u8], from: Ipv4Addr, ident: u16) -> bool {
    let Some((header, message)) = packet.split_at_checked(IP_HEADER_LEN) else { return false };
    header[12..16] == from.octets() && message.first() == Some(&ICMP_ECHO_REPLY) && message.get(4..6) == Some(&ident.to_be_bytes())
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum = words.sum::<u32>();
    let folded = (sum >> 16) + (sum & 0xffff);
    !((folded + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_checksum_that_verifies() {
        assert_eq!(checksum(&echo_request(0xbeef, 7)), 0);
    }

    #[test]
    fn only_the_peers_answer_to_us_counts() {
        let peer = Ipv4Addr::new(10, 77, 0, 2);
        let packet = |from: Ipv4Addr, kind: u8, ident: u16| {
            let mut message = echo_request(ident, 1);
            message[0] = kind;
            let mut packet = vec![0x45; 12];
            packet.extend(from.octets());
            packet.extend([10, 77, 0, 1]);
            packet.extend(message);
            packet
        };
        assert!(is_reply(&packet(peer, ICMP_ECHO_REPLY, 5), peer, 5));
        assert!(!is_reply(&packet(peer, ICMP_ECHO, 5), peer, 5));
        assert!(!is_reply(&packet(peer, ICMP_ECHO_REPLY, 6), peer, 5));
        assert!(!is_reply(&packet(Ipv4Addr::LOCALHOST, ICMP_ECHO_REPLY, 5), peer, 5));
        assert!(!is_reply(&[], peer, 5));
    }
}
