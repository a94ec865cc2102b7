//! Streams (RFC 9000 §2): bytes in order, both ways.

use bytes::Bytes;
use quinn_proto::{ClosedStream, ConnectionError, FinishError, ReadError as Read, StreamId, VarInt, WriteError as Write};

use crate::Connection;
use crate::connection::State;

/// Why nothing more can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The other side wants no more of it.
    #[error("the other side reads no more of it: code {0}")]
    Stopped(VarInt),
    /// The connection has ended.
    #[error("the connection has ended: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// It was finished here.
    #[error("the stream was finished")]
    ClosedStream,
}

/// Why nothing more can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The other side gave it up.
    #[error("the other side gave it up: code {0}")]
    Reset(VarInt),
    /// The connection has ended.
    #[error("the connection has ended: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// It was read to its end, or given up here.
    #[error("the stream was closed")]
    ClosedStream,
}

/// The writing half. When it is dropped, what was written is still delivered.
#[derive(Debug)]
pub struct SendStream {
    connection: Connection,
    id: StreamId,
}

impl SendStream {
    pub(crate) const fn new(connection: Connection, id: StreamId) -> Self {
        Self { connection, id }
    }

    /// Writes all of `bytes`: the other side may not have them when this returns.
    ///
    /// # Errors
    /// When the stream or the connection has ended; some of it may be written then.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        let inner = self.connection.inner();
        while !bytes.is_empty() {
            let write = |state: &mut State| {
                if let Some(error) = &state.error {
                    return Some(Err(error.clone().into()));
                }
                match state.proto.send_stream(self.id).write(bytes) {
                    Ok(count) => Some(Ok(count)),
                    Err(Write::Blocked) => None,
                    Err(Write::Stopped(code)) => Some(Err(WriteError::Stopped(code))),
                    Err(Write::ClosedStream) => Some(Err(WriteError::ClosedStream)),
                }
            };
            let count = inner.changed(write).await?;
            bytes = bytes.get(count..).unwrap_or_default();
            inner.touch();
        }
        Ok(())
    }

    /// There is no more to come.
    ///
    /// # Errors
    /// When that was said before.
    pub fn finish(&mut self) -> Result<(), ClosedStream> {
        let inner = self.connection.inner();
        let finished = inner.state().proto.send_stream(self.id).finish();
        inner.touch();
        match finished {
            // What the other side does not want any more, it does not need the end of.
            Ok(()) | Err(FinishError::Stopped(_)) => Ok(()),
            Err(FinishError::ClosedStream) => Err(ClosedStream::default()),
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let inner = self.connection.inner();
        let mut state = inner.state();
        if state.error.is_some() {
            return;
        }
        let mut stream = state.proto.send_stream(self.id);
        if let Err(FinishError::Stopped(code)) = stream.finish() {
            // Reset already: then it is closed.
            let _ = stream.reset(code);
        }
        drop(state);
        inner.touch();
    }
}

/// The reading half. When it is dropped, the other side is told to send no more.
#[derive(Debug)]
pub struct RecvStream {
    connection: Connection,
    id: StreamId,
    is_at_end: bool,
}

impl RecvStream {
    pub(crate) const fn new(connection: Connection, id: StreamId) -> Self {
        Self { connection, id, is_at_end: false }
    }

    /// The next bytes, at most `len_max` of them; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When the stream or the connection ended before.
    pub async fn read_chunk(&mut self, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        if self.is_at_end {
            return Ok(None);
        }
        let (inner, mut gives_credit) = (self.connection.inner(), false);
        let read = |state: &mut State| {
            let mut stream = state.proto.recv_stream(self.id);
            let Ok(mut chunks) = stream.read(true) else { return Some(Err(ReadError::ClosedStream)) };
            let next = chunks.next(len_max);
            gives_credit = chunks.finalize().should_transmit();
            match next {
                Ok(chunk) => Some(Ok(chunk.map(|chunk| chunk.bytes))),
                Err(Read::Reset(code)) => Some(Err(ReadError::Reset(code))),
                Err(Read::Blocked) => state.error.clone().map(|error| Err(error.into())),
            }
        };
        let read = inner.changed(read).await;
        if gives_credit {
            inner.touch();
        }
        self.is_at_end = matches!(read, Ok(None) | Err(ReadError::Reset(_)));
        read
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let inner = self.connection.inner();
        let mut state = inner.state();
        if self.is_at_end || state.error.is_some() {
            return;
        }
        // Closed already: then the other side knows.
        let _ = state.proto.recv_stream(self.id).stop(VarInt::from_u32(0));
        drop(state);
        inner.touch();
    }
}
