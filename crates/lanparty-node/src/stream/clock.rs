//! When the other side was last heard: any byte counts, so that a long message on a slow line is no silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What TCP, IP and TLS add to a full segment of a stream, and the bytes of one: they are not seen from here.
const SEGMENT_OVERHEAD: (u64, u64) = (20 + 32 + 22, 1400);

/// Time since a link began, when something was heard on it, and how much passed.
pub(super) struct LinkClock {
    start: Instant,
    heard_ns: AtomicU64,
    passed: AtomicU64,
    /// What the other side answers was sent so often, and something came so often.
    asked: AtomicU64,
    heard_times: AtomicU64,
}

impl LinkClock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            heard_ns: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            heard_times: AtomicU64::new(0),
        })
    }

    /// Nanoseconds since the link began.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// About how many bytes were on the wire, both ways; those that TCP sent again are not known.
    pub(super) fn wire_bytes(&self) -> u64 {
        let passed = self.passed.load(Ordering::Relaxed);
        passed + passed * SEGMENT_OVERHEAD.0 / SEGMENT_OVERHEAD.1
    }

    /// Something is sent that is answered, or followed by something that is.
    pub(super) fn note_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Questions, and signs of life.
    pub(super) fn answerable(&self) -> (u64, u64) {
        (self.asked.load(Ordering::Relaxed), self.heard_times.load(Ordering::Relaxed))
    }

    fn note_passed(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// When a byte came last.
    pub(super) fn heard(&self) -> Instant {
        self.start + Duration::from_nanos(self.heard_ns.load(Ordering::Relaxed))
    }
}

/// Bytes both ways, TLS or not.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// A stream that notes when it was heard.
pub(super) struct HeardStream {
    inner: Box<dyn Io>,
    clock: Arc<LinkClock>,
}

impl HeardStream {
    pub(super) fn new(inner: Box<dyn Io>) -> Self {
        Self { inner, clock: LinkClock::new() }
    }

    pub(super) fn clock(&self) -> Arc<LinkClock> {
        Arc::clone(&self.clock)
    }
}

impl AsyncRead for HeardStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.clock.note_passed(buf.filled().len() - before);
        if buf.filled().len() > before {
            self.clock.heard_ns.store(self.clock.now_ns(), Ordering::Relaxed);
            self.clock.heard_times.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for HeardStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &polled {
            self.clock.note_passed(*written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
