//! What a UDP socket does with packets that are too large, and what the system knows of a route's size
//! (Windows: IPPROTO_IP and IPPROTO_IPV6 socket options).

use std::io;
use std::net::SocketAddr;
use std::os::windows::io::AsSocket;

use crate::windows::socket;

/// Whether packets of a socket may be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragmentation {
    /// DF is set; the system refuses what its own interface does not take.
    Forbidden,
    /// This host and routers on the way may cut packets up.
    Allowed,
}

/// Sets it for what `socket` sends from now on, over IPv4 and IPv6.
///
/// # Errors
/// When the system refuses both.
pub fn set_fragmentation(socket: &impl AsSocket, fragmentation: Fragmentation) -> io::Result<()> {
    let whole = fragmentation == Fragmentation::Forbidden;
    let by_v6 = socket::set_dont_fragment_v6(socket.as_socket(), whole);
    // A socket for both families has both options; a socket for one refuses the other's.
    let by_v4 = socket::set_dont_fragment_v4(socket.as_socket(), whole);
    by_v4.or(by_v6)
}

/// IP MTU of the route to `remote` in bytes: that of the interface which leads there.
///
/// # Errors
/// When there is no route.
pub fn route_mtu(remote: SocketAddr) -> io::Result<u32> {
    let any: SocketAddr = if remote.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let socket = std::net::UdpSocket::bind(any)?;
    // Sends nothing: connecting a UDP socket only asks the routing table.
    socket.connect(remote)?;
    let own = socket.local_addr()?.ip();
    let adapters = crate::windows::adapters()?;
    let found = adapters.iter().find(|adapter| adapter.addresses.iter().any(|address| address.ip == own));
    found.map(|adapter| adapter.mtu).ok_or_else(|| io::ErrorKind::NotFound.into())
}
