//! What a UDP socket does with packets that are too large, and what the system knows of a route's size (ip(7), ipv6(7)).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::sys::socket::{choose_socket_by, option, set_buffer, set_option};

/// Whether packets of a socket may be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragmentation {
    /// DF is set; the system refuses what its own interface does not take, and believes no router about the rest
    /// (`IP_PMTUDISC_PROBE`).
    Forbidden,
    /// This host and routers on the way may cut packets up (`IP_PMTUDISC_DONT`).
    Allowed,
}

/// Sets it for what `socket` sends from now on, over IPv4 and IPv6.
///
/// # Errors
/// When the system refuses both.
pub fn set_fragmentation(socket: &impl AsFd, fragmentation: Fragmentation) -> io::Result<()> {
    let (v4, v6, whole) = match fragmentation {
        Fragmentation::Forbidden => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE, 1),
        Fragmentation::Allowed => (libc::IP_PMTUDISC_DONT, libc::IPV6_PMTUDISC_DONT, 0),
    };
    // That a host itself fragments over IPv6 has an option of its own (RFC 3542 §11.2), which QUIC's socket layer sets.
    let by_v6 = set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &v6)
        .and_then(|()| set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &whole));
    // A socket for both families has both options; a socket for one refuses the other's.
    let by_v4 = set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &v4);
    by_v4.or(by_v6)
}

/// Asks for so many bytes of buffer in each direction, beyond the system's limits (`net.core.rmem_max`, `wmem_max`) where the process may.
/// What there is now, to receive and to send.
///
/// # Errors
/// What the system said.
pub fn set_buffers(socket: &impl AsFd, bytes: usize) -> io::Result<(usize, usize)> {
    let given = |forced, plain| -> io::Result<usize> {
        set_buffer(socket.as_fd(), forced, plain, bytes)?;
        let given: libc::c_int = option(socket.as_fd(), libc::SOL_SOCKET, plain, 0)?;
        // The kernel doubles what it is asked for, for its own book-keeping (socket(7)).
        Ok(usize::try_from(given).unwrap_or(0) / 2)
    };
    Ok((given(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)?, given(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)?))
}

/// Lets further sockets be bound to the port of this one, or this one to that of another which was given the same.
///
/// # Errors
/// What the system said.
pub fn share_port(socket: &impl AsFd) -> io::Result<()> {
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, &1)
}

/// Has the kernel give QUIC packets (RFC 9000 §17.3) to that one of `sockets` sockets on a port, in the order in which they were bound,
/// which the first byte of their connection ID says, modulo their number. What opens a connection, and everything else with a long header,
/// goes by addresses and ports, so that one sender's stays together. `socket` is one of them.
///
/// # Errors
/// What the system said: Linux before 4.5 does not know this.
pub fn steer_by_connection_id(socket: &impl AsFd, sockets: u8) -> io::Result<()> {
    const NO_SOCKET: u32 = u32::MAX;
    let instruction = |code, jt, k| libc::sock_filter { code: code as libc::c_ushort, jt, jf: 0, k };
    let program = [
        // The header's form. A packet without this byte, or without the next, goes to the first socket.
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 3, 0x80),
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 1),
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, u32::from(sockets.max(1))),
        instruction(libc::BPF_RET | libc::BPF_A, 0, 0),
        // Where there is no such socket the kernel goes by addresses and ports.
        instruction(libc::BPF_RET | libc::BPF_K, 0, NO_SOCKET),
    ];
    choose_socket_by(socket.as_fd(), &program)
}

/// IP MTU of the route to `remote` in bytes: what the system has learnt, and at first that of the interface.
///
/// # Errors
/// When there is no route.
pub fn route_mtu(remote: SocketAddr) -> io::Result<u32> {
    let any: SocketAddr = if remote.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Sends nothing: connecting a UDP socket only asks the routing table.
    socket.connect(remote)?;
    let (level, name) = if remote.is_ipv6() { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
    let mtu: libc::c_int = option(socket.as_fd(), level, name, 0)?;
    u32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_fragmentation_refuses_what_the_interface_does_not_take_and_an_allowed_one_sends_it() {
        // The loopback interface takes as much as one IPv4 packet holds; only over IPv6 can a packet of UDP be larger.
        for (any, headers) in [("127.0.0.1:0", 28), ("[::1]:0", 48)] {
            let Ok(receiver) = UdpSocket::bind(any) else { continue };
            let to = receiver.local_addr().unwrap();
            let interface = route_mtu(to).unwrap();
            let socket = UdpSocket::bind(any).unwrap();
            set_fragmentation(&socket, Fragmentation::Forbidden).unwrap();
            let too_long = vec![0; 65_507.min(interface as usize - headers + 1)];
            let refused = socket.send_to(&too_long, to);
            if too_long.len() + headers > interface as usize {
                assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE), "{any}");
            }
            if to.is_ipv6() {
                set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &1).unwrap();
            }
            set_fragmentation(&socket, Fragmentation::Allowed).unwrap();
            assert_eq!(socket.send_to(&too_long, to).unwrap(), too_long.len(), "{any}");
        }
    }

    #[test]
    fn what_the_kernel_gives_of_a_buffer_is_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (small, large) = (set_buffers(&socket, 64 << 10).unwrap(), set_buffers(&socket, 1 << 30).unwrap());
        assert_eq!(small, (64 << 10, 64 << 10));
        assert!(large.0 >= small.0 && large.1 >= small.1 && large.0 <= 1 << 30, "{large:?}");
    }

    /// Which of `sockets` gets what is sent.
    fn taker(sockets: &[UdpSocket], from: &UdpSocket, packet: &[u8]) -> usize {
        from.send_to(packet, sockets[0].local_addr().unwrap()).unwrap();
        let taken = |socket: &UdpSocket| socket.recv(&mut [0; 64]).is_ok();
        // Loopback delivers within the call.
        sockets.iter().position(taken).unwrap()
    }

    #[test]
    fn a_packet_goes_to_the_socket_that_its_connection_id_says_and_what_opens_one_by_its_sender() {
        let shared = |at: SocketAddr| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
            share_port(&socket).unwrap();
            socket.bind(&at.into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            UdpSocket::from(socket)
        };
        let first = shared("127.0.0.1:0".parse().unwrap());
        let at = first.local_addr().unwrap();
        let sockets = [first, shared(at), shared(at)];
        steer_by_connection_id(&sockets[0], 3).unwrap();
        let senders: Vec<_> = (0..32).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut openers = [0; 3];
        for sender in &senders {
            for id in [0, 1, 2, 7, 255] {
                assert_eq!(taker(&sockets, sender, &[0x40, id, 9, 9]), usize::from(id) % 3, "connection ID {id}");
            }
            let opener = taker(&sockets, sender, &[0xc0, 0, 0, 0, 1, 8, 1, 2, 3]);
            assert_eq!(taker(&sockets, sender, &[0xe0, 0, 0, 0, 1, 8, 3, 2, 1]), opener, "another packet of the same sender");
            openers[opener] += 1;
            assert_eq!([taker(&sockets, sender, &[]), taker(&sockets, sender, &[0x40])], [0, 0], "nothing to go by");
        }
        assert!(openers.iter().all(|count| *count > 0), "32 senders are spread: {openers:?}");
    }

    #[test]
    fn a_route_has_the_mtu_of_its_interface() {
        let lo = crate::interface_facts("lo").unwrap().mtu;
        assert_eq!(route_mtu("127.0.0.1:9".parse().unwrap()).unwrap(), lo.min(65_535));
    }
}
