//! The UDP sockets of QUIC: bursts as long as the kernel takes, and no system call that brings nothing.
//!
//! The stack's own sockets send at most ten datagrams in a system call, are woken after each because they wait for room that they have,
//! and ask once more after everything was read. Here the stack's tens are put together ([`burst`]), room is waited for only when there was
//! none ([`sender`]), a batch that was not full was the last (epoll(7), edge-triggered), and a connection sends all that it may in its
//! turn ([`turn`]).

mod burst;
mod sender;
mod turn;

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use noq::udp::{RecvMeta, UdpSocketState};
use noq::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpSender};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use sender::Sender;
use turn::Intake;

use crate::busy_poll::something_came;

/// So many messages of the kernel are taken at once when it puts datagrams together (UDP_GRO, udp(7)): each is up to 64 KiB, in memory that
/// stays.
const LARGE_BATCH: usize = 4;
/// After so many bytes whoever they are for has a turn before more is read: what waits in the kernel costs this program no memory.
const TURN_BYTES: usize = 256 * 1024;

/// The stack in tokio, with sockets of ours: a member's.
pub(crate) fn runtime() -> Arc<dyn Runtime> {
    Arc::new(OwnSockets { tokio: TokioRuntime, intake: Intake::All })
}

/// The same for a relay, whose connections are many.
pub(crate) fn relay_runtime() -> Arc<dyn Runtime> {
    Arc::new(OwnSockets { tokio: TokioRuntime, intake: Intake::Shared })
}

#[derive(Debug)]
struct OwnSockets {
    tokio: TokioRuntime,
    intake: Intake,
}

impl Runtime for OwnSockets {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        self.tokio.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tokio.spawn(self.intake.turns_of(future));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Box<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new((&socket).into())?;
        let readable = watch(socket.try_clone()?, Interest::READABLE)?;
        Ok(Box::new(Receiver { readable, shared: Arc::new(Shared { socket, state }), is_large: true, turn: 0 }))
    }

    fn now(&self) -> Instant {
        self.tokio.now()
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
    /// What comes next may be datagrams put together: the last batch was not full of single ones.
    is_large: bool,
    /// Bytes taken since others had a turn.
    turn: usize,
}

impl AsyncUdpSocket for Receiver {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(Sender::new(Arc::clone(&self.shared)))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        if self.turn >= TURN_BYTES {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let batch = if self.is_large { LARGE_BATCH.min(buffers.len()) } else { buffers.len() };
        let buffers = &mut buffers[..batch];
        loop {
            let Poll::Ready(ready) = self.readable.poll_read_ready(cx) else {
                self.turn = 0;
                return Poll::Pending;
            };
            let mut ready = ready?;
            match self.shared.state.recv(self.readable.get_ref().into(), buffers, meta) {
                Ok(count) => {
                    something_came();
                    let taken = || meta.iter().take(count);
                    let is_large = count < buffers.len() || taken().any(|message| message.len > message.stride);
                    let bytes = taken().map(|message| message.len).sum::<usize>();
                    // The kernel had no more; what comes now says so itself.
                    if count < buffers.len() {
                        ready.clear_ready();
                    }
                    (self.is_large, self.turn) = (is_large, self.turn + bytes);
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
