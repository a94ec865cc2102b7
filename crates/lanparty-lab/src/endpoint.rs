//! Where measured traffic begins or ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;

/// A host, the address it is reached by, and perhaps the only interface it uses.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// The host.
    pub host: &'a Namespace,
    /// Its address.
    pub address: Ipv4Addr,
    /// Sockets are bound to this interface (`SO_BINDTODEVICE`).
    pub interface: Option<&'a str>,
    /// TCP is the kernel's Multipath TCP (RFC 8684), as [`Dual::allow_multipath`](crate::Dual::allow_multipath) sets it up.
    pub multipath: bool,
}

impl<'a> Endpoint<'a> {
    /// Leaves by whichever interface the host's routes say.
    pub const fn new(host: &'a Namespace, address: Ipv4Addr) -> Self {
        Self { host, address, interface: None, multipath: false }
    }

    /// Uses this interface and no other.
    pub const fn on(self, interface: &'a str) -> Self {
        Self { interface: Some(interface), ..self }
    }

    /// Uses as many lines at once as the kernel can.
    pub const fn by_multipath(self) -> Self {
        Self { multipath: true, ..self }
    }

    /// A UDP socket on a free port.
    pub(crate) fn udp(&self) -> Result<Socket> {
        self.socket(Type::DGRAM, Protocol::UDP)
    }

    /// A TCP socket on a free port, neither listening nor connected.
    pub(crate) fn tcp(&self) -> Result<Socket> {
        self.socket(Type::STREAM, if self.multipath { Protocol::MPTCP } else { Protocol::TCP })
    }

    fn socket(&self, kind: Type, protocol: Protocol) -> Result<Socket> {
        let open = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
            socket.bind_device(self.interface.map(str::as_bytes))?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
            Ok(socket)
        };
        self.host.enter(open)?.with_context(|| format!("open a socket on host {}", self.host.host()))
    }

    /// Where a socket of this end that is bound to a port is reached.
    pub(crate) fn reached(&self, socket: &Socket) -> Result<SocketAddr> {
        let bound = socket.local_addr()?.as_socket().context("INVARIANT: a socket of IP has a port")?;
        Ok(SocketAddr::new(self.address.into(), bound.port()))
    }
}
