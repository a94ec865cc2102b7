//! A UDP socket in tokio.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};

use noq_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

#[derive(Debug)]
pub(crate) struct Socket {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, state })
    }

    /// Fills `buffers` from the front: how many messages came.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            match self.socket.try_io(Interest::READABLE, || self.state.recv((&self.socket).into(), buffers, meta)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    /// One system call. `WouldBlock` when the system has no room; then [`Self::room`] waits for it.
    pub(crate) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), transmit))
    }

    /// Waits until the system has room.
    pub(crate) async fn room(&self) {
        // A socket that is broken says so when it sends.
        let _ = self.socket.writable().await;
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams that one call's bytes are cut into at most.
    pub(crate) fn segments_max(&self) -> NonZeroUsize {
        self.state.max_gso_segments()
    }
}
