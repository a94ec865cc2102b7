//! How questions leave and answers come: a socket, or in tests a model of a path in virtual time.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lanparty_nic::{Fragmentation, route_mtu, set_fragmentation};
use tokio::net::UdpSocket;

use crate::uplink;

/// Carries packets to one port of the probe service and back.
pub(super) trait Wire {
    /// Sends now or not at all.
    ///
    /// # Errors
    /// What this host says of this packet, or ICMP of an earlier one (udp(7)).
    fn send(&self, bytes: &[u8]) -> io::Result<()>;

    /// The next packet. Cancel-safe.
    ///
    /// # Errors
    /// What ICMP says of an earlier packet.
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// IP MTU of the route to the relay as this system knows it, in bytes.
    fn route_mtu(&self) -> Option<u32>;

    /// Whether the relay is asked over IPv6.
    fn is_ipv6(&self) -> bool;
}

/// A connected socket.
pub(super) struct SocketWire {
    socket: UdpSocket,
    port: SocketAddr,
}

impl SocketWire {
    /// A socket connected to `port`, bound to `uplink`, whose packets are fragmented or not.
    pub(super) fn open(port: SocketAddr, uplink: Option<&str>, fragmentation: Fragmentation) -> io::Result<Self> {
        let socket = bound(port, uplink)?;
        socket.connect(port)?;
        set_fragmentation(&socket, fragmentation)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, port })
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

impl Wire for SocketWire {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.try_send(bytes).map(drop)
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }

    fn route_mtu(&self) -> Option<u32> {
        route_mtu(self.port).ok()
    }

    fn is_ipv6(&self) -> bool {
        self.port.is_ipv6()
    }
}

/// A UDP socket for remotes of `remote`'s address family.
pub(crate) fn bound(remote: SocketAddr, uplink: Option<&str>) -> io::Result<std::net::UdpSocket> {
    let any: SocketAddr = if remote.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    if let Some(uplink) = uplink {
        uplink::bind(&socket, uplink);
    }
    Ok(socket)
}
