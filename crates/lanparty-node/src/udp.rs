//! The UDP sockets of QUIC: bursts as long as the kernel takes, and no system call that brings nothing.
//!
//! The stack's own sockets send at most ten datagrams in a system call, are woken after each because they wait for room that they have,
//! and ask once more after everything was read. Here the stack's tens are put together ([`burst`]), room is waited for only when there was
//! none ([`sender`]), and a batch that was not full was the last (epoll(7), edge-triggered).

mod burst;
mod sender;

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use noq::udp::{RecvMeta, UdpSocketState};
use noq::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpSender};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use sender::Sender;

use crate::busy_poll::something_came;

/// The stack in tokio, with sockets of ours.
pub(crate) fn runtime() -> Arc<dyn Runtime> {
    Arc::new(OwnSockets(TokioRuntime))
}

#[derive(Debug)]
struct OwnSockets(TokioRuntime);

impl Runtime for OwnSockets {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        self.0.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Box<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new((&socket).into())?;
        let readable = watch(socket.try_clone()?, Interest::READABLE)?;
        Ok(Box::new(Receiver { readable, shared: Arc::new(Shared { socket, state }) }))
    }

    fn now(&self) -> Instant {
        self.0.now()
    }
}

/// Has tokio watch a socket for that alone.
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    #[expect(deprecated, reason = "its successor is `unsafe` for types that may close early; a socket of our own cannot")]
    AsyncFd::with_interest(socket, interest)
}

/// What both directions of a socket need.
struct Shared {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

#[derive(Debug)]
struct Receiver {
    /// A duplicate of the socket, watched for what comes: whoever watches for room as well is woken after all that is sent.
    readable: AsyncFd<UdpSocket>,
    shared: Arc<Shared>,
}

impl AsyncUdpSocket for Receiver {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(Sender::new(Arc::clone(&self.shared)))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.readable.poll_read_ready(cx))?;
            match self.shared.state.recv(self.readable.get_ref().into(), buffers, meta) {
                Ok(count) => {
                    something_came();
                    // The kernel had no more; what comes now says so itself.
                    if count < buffers.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.shared.state.may_fragment()
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.shared.state.gro_segments()
    }
}

#[cfg(test)]
mod tests;
