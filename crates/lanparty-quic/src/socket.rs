//! A UDP socket in tokio, asked for no more than it has.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use noq_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Who cannot wait for room looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// A duplicate, watched for what comes: whoever watches for room as well is woken after all that is sent.
    readable: AsyncFd<UdpSocket>,
    /// The kernel seems to have no room.
    #[cfg(test)]
    pub(crate) is_full: std::sync::atomic::AtomicBool,
}

impl Socket {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let readable = watch(socket.try_clone()?, Interest::READABLE)?;
        Ok(Self {
            socket,
            state,
            readable,
            #[cfg(test)]
            is_full: false.into(),
        })
    }

    /// Fills `buffers` from the front: how many messages came. A batch that is not full was the last there is (epoll(7), edge-triggered).
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        loop {
            let mut is_readable = ready!(self.readable.poll_read_ready(cx))?;
            match self.state.recv(self.readable.get_ref().into(), buffers, meta) {
                Ok(count) => {
                    if count < buffers.len() {
                        is_readable.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => is_readable.clear_ready(),
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// One system call. `WouldBlock` when the kernel has no room; then [`Self::room`] waits for it.
    pub(crate) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        #[cfg(test)]
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.state.try_send((&self.socket).into(), transmit)
    }

    /// Waits until the kernel has room. Watched only as long: a watched socket wakes us after all that it sent.
    pub(crate) async fn room(&self) {
        let watched = self.socket.try_clone().and_then(|socket| watch(socket, Interest::WRITABLE));
        match &watched {
            Ok(watched) => drop(watched.writable().await),
            // Out of descriptors: the kernel has room again soon.
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams that the kernel cuts one call's bytes into at most (UDP_SEGMENT, udp(7)).
    pub(crate) fn segments_max(&self) -> NonZeroUsize {
        self.state.max_gso_segments()
    }
}

/// Has tokio watch a socket for that alone.
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    #[expect(deprecated, reason = "its successor is `unsafe` for types that may close early; a socket of our own cannot")]
    AsyncFd::with_interest(socket, interest)
}
