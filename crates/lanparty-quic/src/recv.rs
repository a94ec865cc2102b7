//! Reads what a socket has, in batches, into datagrams that their connections may keep.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll};

use bytes::BytesMut;
use noq_udp::{BATCH_SIZE, RecvMeta, is_msg_size_err};

use crate::socket::Socket;

/// As long as one message may be: datagrams that the kernel put together (UDP_GRO, udp(7)).
const MESSAGE_LEN: usize = 64 * 1024;
/// So many messages are taken at once when the kernel puts datagrams together: their memory stays.
const LARGE_BATCH: usize = if BATCH_SIZE < 4 { BATCH_SIZE } else { 4 };
/// After so many bytes whoever they are for has a turn before more is read: what waits in the kernel costs this program no memory.
const TURN_BYTES: usize = 256 * 1024;
/// A message counts for so many bytes at least: whoever sends many empty ones does not keep others from their turn.
const MESSAGE_COST_MIN: usize = 256;

/// Where a socket's messages are read into.
pub(crate) struct Intake {
    /// Memory that nothing was written to yet is none.
    messages: Box<[u8]>,
    datagrams: BytesMut,
    meta: [RecvMeta; BATCH_SIZE],
    /// What comes next may be datagrams put together: the last batch was not full of single ones.
    is_large: bool,
    /// What was taken since others had a turn.
    turn: usize,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            messages: vec![0; MESSAGE_LEN * BATCH_SIZE].into(),
            datagrams: BytesMut::new(),
            meta: [RecvMeta::default(); BATCH_SIZE],
            is_large: true,
            turn: 0,
        }
    }

    /// Another turn.
    pub(crate) const fn begin(&mut self) {
        self.turn = 0;
    }

    /// Whether others should have their turn first.
    pub(crate) const fn is_enough(&self) -> bool {
        self.turn >= TURN_BYTES
    }

    /// Takes one batch and gives each of its datagrams to `take`. Pending: that was all for now.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(crate) fn poll_batch(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&RecvMeta, BytesMut),
    ) -> Poll<io::Result<()>> {
        let batch = if self.is_large { LARGE_BATCH } else { BATCH_SIZE };
        let mut slots = self.messages.chunks_mut(MESSAGE_LEN).map(IoSliceMut::new);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| slots.next().expect("INVARIANT: as many messages as there are slots"));
        let count = match socket.poll_recv(cx, &mut buffers[..batch], &mut self.meta) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(count)) => count,
            // Anybody may have sent the ICMP message behind it (RFC 9000 §21.5), and the path's size is found by probes (RFC 8899).
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset || is_msg_size_err(&e) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
        };
        let taken = &self.meta[..count];
        self.is_large = count < batch || taken.iter().any(|message| message.len > message.stride);
        let bytes = taken.iter().map(|message| message.len).sum();
        self.turn += taken.iter().map(|message| message.len.max(MESSAGE_COST_MIN)).sum::<usize>();
        // One copy: a connection may keep a datagram, and the next batch needs the memory.
        self.datagrams.reserve(bytes);
        for (message, buffer) in taken.iter().zip(&buffers) {
            self.datagrams.extend_from_slice(&buffer[..message.len]);
        }
        for message in taken {
            let mut rest = self.datagrams.split_to(message.len);
            while !rest.is_empty() {
                take(message, rest.split_to(message.stride.clamp(1, rest.len())));
            }
        }
        Poll::Ready(Ok(()))
    }
}
