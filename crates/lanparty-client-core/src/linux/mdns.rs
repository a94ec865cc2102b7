//! This machine's name in the room, by multicast DNS (RFC 6762): `NAME.local`, for as long as the client is there and has addresses.

mod responder;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use lanparty_node::describe;
use lanparty_proto::{Description, MacAddr};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::{debug, info, warn};

use responder::{News, Output, PORT, Responder};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Longest message (RFC 6762 §17).
const MESSAGE_LEN_MAX: usize = 9000;
/// What says that nobody may be asked further away (RFC 6762 §11).
const TTL: u32 = 255;
/// A farewell is said twice, so far apart, and both have to leave.
const FAREWELL_PAUSE: Duration = Duration::from_millis(100);
/// Longest label of a name (RFC 1035 §2.3.4), less room for `-99` where somebody has it.
const LABEL_LEN_MAX: usize = 60;

/// A name that is told.
pub(super) struct PublishedName {
    responder: Responder,
    interface: String,
    v4: UdpSocket,
    v6: UdpSocket,
    addresses: BTreeSet<IpAddr>,
}

impl PublishedName {
    /// Tells the room on `interface`, which has that index, what this machine is called: as `told`, else its host name. It is found once it
    /// has addresses.
    ///
    /// # Errors
    /// When there are no sockets for it.
    pub(super) fn publish(interface: &str, index: u32, told: Option<&str>, mac: MacAddr) -> io::Result<Self> {
        let responder = Responder::new(label(&describe(told), mac));
        let (v4, v6) = (open_v4(interface, index)?, open_v6(interface, index)?);
        Ok(Self { responder, interface: interface.to_owned(), v4, v6, addresses: BTreeSet::new() })
    }

    /// The interface has these addresses; gives the name as it is now.
    pub(super) fn look(&mut self, addresses: BTreeSet<IpAddr>) -> String {
        self.addresses.clone_from(&addresses);
        self.responder.set_addresses(addresses, Instant::now());
        self.drive();
        self.responder.name()
    }

    /// Asks, tells and answers. Never ends. Cancel-safe.
    pub(super) async fn work(&mut self) {
        let (mut first, mut second) = ([0; MESSAGE_LEN_MAX], [0; MESSAGE_LEN_MAX]);
        loop {
            let due = self.drive();
            let (message, from) = tokio::select! {
                received = self.v4.recv_from(&mut first) => match received {
                    Ok((len, from)) => (first.get(..len).unwrap_or_default(), from),
                    Err(e) => return self.failed(&e).await,
                },
                received = self.v6.recv_from(&mut second) => match received {
                    Ok((len, from)) => (second.get(..len).unwrap_or_default(), from),
                    Err(e) => return self.failed(&e).await,
                },
                () = until(due) => continue,
            };
            self.responder.handle_input(message, from, Instant::now());
        }
    }

    /// Takes the name back, while there are addresses to say so from.
    pub(super) async fn take_back(self) {
        let Some(farewell) = self.responder.farewell() else { return };
        for _ in 0..2 {
            self.send(&farewell, None);
            tokio::time::sleep(FAREWELL_PAUSE).await;
        }
    }

    /// Does what is due, and gives the time of the next.
    fn drive(&mut self) -> Option<Instant> {
        loop {
            match self.responder.poll_output(Instant::now()) {
                Output::Say(message, to) => self.send(&message, to),
                Output::News(News::Found(name)) => info!(interface = %self.interface, "this machine is found as {name}"),
                Output::News(News::Renamed { from, to }) => {
                    warn!("{from} is another machine's name in the room; this one is called {to}");
                }
                Output::Timeout(at) => return Some(at),
                Output::Idle => return None,
            }
        }
    }

    /// What gets lost is said again, or asked again.
    fn send(&self, message: &[u8], to: Option<SocketAddr>) {
        let sent = match to {
            Some(to) if to.is_ipv4() => self.v4.try_send_to(message, to).map(drop),
            Some(to) => self.v6.try_send_to(message, to).map(drop),
            None => self.send_to_all(message),
        };
        if let Err(e) = sent {
            debug!(interface = %self.interface, "an mDNS message was not sent: {e}");
        }
    }

    /// By each family that there is an address of: the system would take that of another interface.
    fn send_to_all(&self, message: &[u8]) -> io::Result<()> {
        if self.addresses.iter().any(IpAddr::is_ipv4) {
            self.v4.try_send_to(message, (GROUP_V4, PORT).into())?;
        }
        if self.addresses.iter().any(IpAddr::is_ipv6) {
            self.v6.try_send_to(message, (GROUP_V6, PORT).into())?;
        }
        Ok(())
    }

    async fn failed(&self, error: &io::Error) {
        warn!("this machine is not found as {} any more: {error}", self.responder.name());
        std::future::pending::<()>().await;
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A socket of the port that others on this machine may use as well, on that interface alone.
fn open(interface: &str, domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn open_v4(interface: &str, index: u32) -> io::Result<UdpSocket> {
    let socket = open(interface, Domain::IPV4)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_ttl_v4(TTL)?;
    socket.set_multicast_loop_v4(false)?;
    UdpSocket::from_std(socket.into())
}

fn open_v6(interface: &str, index: u32) -> io::Result<UdpSocket> {
    let socket = open(interface, Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(TTL)?;
    socket.set_unicast_hops_v6(TTL)?;
    socket.set_multicast_loop_v6(false)?;
    UdpSocket::from_std(socket.into())
}

/// What a description is as a label (RFC 1123 §2.1): letters, digits and hyphens. One of which nothing is left has digits of the MAC address.
fn label(description: &Description, mac: MacAddr) -> String {
    let mut label = String::new();
    // A host name may have a domain, which is not of the room.
    for c in description.to_string().split('.').next().unwrap_or_default().chars() {
        match c {
            _ if label.len() >= LABEL_LEN_MAX => break,
            c if c.is_ascii_alphanumeric() => label.push(c.to_ascii_lowercase()),
            '\'' | '’' => {}
            _ if label.is_empty() || label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    let label = label.trim_end_matches('-');
    let MacAddr([.., a, b]) = mac;
    if label.is_empty() { format!("player-{a:02x}{b:02x}") } else { label.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_becomes_a_label_that_can_be_typed() {
        let mac = MacAddr([2, 0, 0, 0, 0xa7, 0xf3]);
        for (text, expected) in [
            ("Anna", "anna"),
            ("Anna's big PC", "annas-big-pc"),
            ("pc7.example.net", "pc7"),
            ("--- the (second) one! ---", "the-second-one"),
            ("Jürgen", "j-rgen"),
            ("麻雀", "player-a7f3"),
            ("", "player-a7f3"),
        ] {
            assert_eq!(label(&Description::new(text), mac), expected, "{text}");
        }
        assert!(label(&Description::new(&"x".repeat(63)), mac).len() <= LABEL_LEN_MAX);
    }
}
