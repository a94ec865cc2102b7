//! One connection: its state machine, and those who wait for it.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::congestion::Controller;
use quinn_proto::{
    ConnectionError, ConnectionHandle, ConnectionStats, Dir, Event, SendDatagramError as Refused, TransportError, TransportErrorCode,
    VarInt,
};
use tokio::sync::Notify;

use crate::endpoint::Core;
use crate::send::{Sent, Share, Unsent};
use crate::socket::Socket;
use crate::streams::{RecvStream, SendStream};

/// Time as tokio has it: a test may stop it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What the handles of a connection and the task that drives it share.
pub(crate) struct Inner {
    pub(crate) handle: ConnectionHandle,
    pub(crate) core: Arc<Core>,
    /// It is among those that want a turn.
    is_due: AtomicBool,
    state: Mutex<State>,
    /// Datagrams came.
    datagrams: Notify,
    /// Anything else did: a step of the handshake, a stream, room, the end.
    changed: Notify,
}

/// What is behind its lock, which is taken after the endpoint's and before the queue's.
pub(crate) struct State {
    pub(crate) proto: quinn_proto::Connection,
    pub(crate) socket: Arc<Socket>,
    pub(crate) error: Option<ConnectionError>,
    is_connected: bool,
    has_handshake_data: bool,
    /// Something came, and nobody was told.
    has_heard: bool,
    /// When it has its turn because of a timer.
    timer: Option<Instant>,
    /// It is among those that want a turn when the kernel has room.
    waits_for_room: bool,
    /// What the kernel had no room for.
    pub(crate) unsent: Option<Unsent>,
    /// Bytes that its queue of datagrams takes when it is empty, as far as that was seen.
    pub(crate) space_max: usize,
    /// How many of the first datagrams are not out.
    pub(crate) alone_left: usize,
}

impl State {
    /// Does what is due by its timers.
    fn time_out(&mut self, now: Instant) {
        let remote = self.proto.remote_address();
        self.proto.handle_timeout(now);
        // A new address did not answer, and it is back at the one before. Something is sent there, as for a new one: quinn-proto 0.11 leaves a
        // timer for what is on its way by the path that was given up.
        if self.proto.remote_address() != remote {
            self.proto.ping();
        }
    }
}

impl Inner {
    pub(crate) fn new(handle: ConnectionHandle, core: Arc<Core>, proto: quinn_proto::Connection, socket: Arc<Socket>) -> Arc<Self> {
        let state = State {
            proto,
            socket,
            error: None,
            is_connected: false,
            has_handshake_data: false,
            has_heard: false,
            timer: None,
            waits_for_room: false,
            unsent: None,
            space_max: 0,
            alone_left: crate::send::ALONE_FIRST,
        };
        Arc::new(Self {
            handle,
            core,
            is_due: AtomicBool::new(false),
            state: Mutex::new(state),
            datagrams: Notify::new(),
            changed: Notify::new(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // As whole as the state machine is when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants a turn: something was asked of it.
    pub(crate) fn touch(self: &Arc<Self>) {
        if !self.is_due.swap(true, Ordering::Relaxed) {
            self.core.queue.push_due(Arc::clone(self));
        }
    }

    /// What came for it: whether nobody was told yet that something did. Then it wants [`Self::tell_heard`].
    pub(crate) fn take_in(&self, event: quinn_proto::ConnectionEvent) -> bool {
        let mut state = self.state();
        state.proto.handle_event(event);
        !std::mem::replace(&mut state.has_heard, true)
    }

    /// Those who wait for what came run next, and then it has its turn.
    pub(crate) fn tell_heard(self: &Arc<Self>) {
        let mut state = self.state();
        state.has_heard = false;
        self.tell(&mut state);
        drop(state);
        self.touch();
    }

    /// The kernel may have room again, and it wants a turn.
    pub(crate) fn unblock(self: &Arc<Self>) {
        self.state().waits_for_room = false;
        self.touch();
    }

    /// Its turn: whatever may be sent, and timers that are over.
    pub(crate) fn drive(self: &Arc<Self>, now: Instant) {
        self.is_due.store(false, Ordering::Relaxed);
        let mut state = self.state();
        // Not when this turn is for another reason: then its timer is still to come.
        if state.timer.is_some_and(|timer| timer <= now) {
            state.timer = None;
        }
        // First, as what came may have moved it to another path, for which a timer of the one before means nothing: what is sent sets it anew.
        self.pass(&mut state, Share::All, now);
        if state.proto.poll_timeout().is_some_and(|timeout| timeout <= now) {
            state.time_out(now);
            self.pass(&mut state, Share::All, now);
        }
        self.keep_time(&mut state);
        self.tell(&mut state);
    }

    /// Sends what may leave now, and asks for a turn for the rest.
    fn send(self: &Arc<Self>, state: &mut State, share: Share, now: Instant) {
        self.pass(state, share, now);
        self.keep_time(state);
    }

    fn pass(self: &Arc<Self>, state: &mut State, share: Share, now: Instant) {
        match state.transmit(share, now) {
            Sent::All => {}
            Sent::Enough => self.touch(),
            Sent::Blocked if !std::mem::replace(&mut state.waits_for_room, true) => self.core.queue.push_blocked(Arc::clone(self)),
            Sent::Blocked => {}
        }
    }

    /// Asks for a turn at its next timer.
    fn keep_time(self: &Arc<Self>, state: &mut State) {
        if let Some(timeout) = state.proto.poll_timeout()
            && state.timer.is_none_or(|timer| timeout < timer)
        {
            state.timer = Some(timeout);
            self.core.queue.push_timer(timeout, Arc::clone(self));
        }
    }

    /// Tells the endpoint and those who wait what has happened.
    fn tell(&self, state: &mut State) {
        while let Some(event) = state.proto.poll_endpoint_events() {
            self.core.queue.push_event(self.handle, event);
        }
        let (mut has_datagrams, mut has_changed) = (false, false);
        while let Some(event) = state.proto.poll() {
            has_changed |= !matches!(event, Event::DatagramReceived);
            match event {
                Event::DatagramReceived => has_datagrams = true,
                Event::HandshakeDataReady => state.has_handshake_data = true,
                Event::Connected => state.is_connected = true,
                Event::ConnectionLost { reason } => {
                    state.error.get_or_insert(reason);
                    has_datagrams = true;
                }
                _ => {}
            }
        }
        if has_datagrams {
            self.datagrams.notify_waiters();
        }
        if has_changed {
            self.changed.notify_waiters();
        }
    }

    /// Ends it, as far as this side is concerned.
    pub(crate) fn close(self: &Arc<Self>, code: VarInt, reason: Bytes) {
        let mut state = self.state();
        state.proto.close(now(), code, reason);
        state.error.get_or_insert(ConnectionError::LocallyClosed);
        drop(state);
        self.datagrams.notify_waiters();
        self.changed.notify_waiters();
        self.touch();
    }

    /// The task that drives it is gone.
    pub(crate) fn abandon(&self) {
        let gone = TransportError { code: TransportErrorCode::INTERNAL_ERROR, frame: None, reason: "its UDP socket is gone".to_owned() };
        self.state().error.get_or_insert(ConnectionError::TransportError(gone));
        self.datagrams.notify_waiters();
        self.changed.notify_waiters();
    }

    /// Its packets go by another socket from now on.
    pub(crate) fn move_to(self: &Arc<Self>, socket: &Arc<Socket>) {
        self.state().socket = Arc::clone(socket);
        self.network_changed();
    }

    /// The way to the other side may be another one.
    pub(crate) fn network_changed(self: &Arc<Self>) {
        self.state().proto.local_address_changed();
        self.touch();
    }

    /// Waits until `look` finds something; it is asked whenever `notify` says so.
    async fn wait<T>(&self, notify: &Notify, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // Before the look, so that nothing that happens after it is missed.
            let changed = notify.notified();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }

    pub(crate) async fn changed<T>(&self, look: impl FnMut(&mut State) -> Option<T>) -> T {
        self.wait(&self.changed, look).await
    }
}

/// What its owner holds: without it, nobody can ever want anything of the connection.
struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.0.state().proto.is_closed() {
            self.0.close(VarInt::from_u32(0), Bytes::new());
        }
    }
}

/// A connection. It is closed when the last handle of it and of its streams is gone.
#[derive(Clone)]
pub struct Connection(Arc<Handle>);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.inner().handle).finish()
    }
}

/// Why a datagram is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendDatagramError {
    /// The other side takes no datagrams.
    #[error("the other side takes no datagrams")]
    UnsupportedByPeer,
    /// This side takes none, so it sends none.
    #[error("datagrams are switched off")]
    Disabled,
    /// The path takes no datagram of that size now.
    #[error("the datagram is too large for the path")]
    TooLarge,
    /// The connection has ended.
    #[error("the connection has ended: {0}")]
    ConnectionLost(#[from] ConnectionError),
}

impl From<Refused> for SendDatagramError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UnsupportedByPeer => Self::UnsupportedByPeer,
            Refused::Disabled => Self::Disabled,
            Refused::TooLarge | Refused::Blocked(_) => Self::TooLarge,
        }
    }
}

impl Connection {
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner().state()
    }

    /// Sends datagrams (RFC 9221): what the path takes now leaves before this returns, the rest when it may. When the queue is full,
    /// older ones that have not left are dropped.
    ///
    /// # Errors
    /// When one of them is larger than [`Self::max_datagram_size`], or the connection has ended; then none is sent.
    pub fn send_datagrams(&self, datagrams: &[Bytes]) -> Result<(), SendDatagramError> {
        let mut state = self.state();
        if let Some(error) = &state.error {
            return Err(error.clone().into());
        }
        let largest = datagrams.iter().map(Bytes::len).max().unwrap_or(0);
        if state.proto.datagrams().max_size().is_some_and(|max| largest > max) {
            return Err(SendDatagramError::TooLarge);
        }
        datagrams.iter().try_for_each(|datagram| state.proto.datagrams().send(datagram.clone(), true))?;
        self.inner().send(&mut state, Share::FullBursts, now());
        self.inner().tell(&mut state);
        Ok(())
    }

    /// As [`Self::send_datagrams`], for one.
    ///
    /// # Errors
    /// As [`Self::send_datagrams`].
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        self.send_datagrams(&[datagram])
    }

    /// As [`Self::send_datagram`], but drops nothing for it: waits for room.
    ///
    /// # Errors
    /// As [`Self::send_datagrams`].
    pub async fn send_datagram_wait(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let mut datagram = Some(datagram);
        let offer = |state: &mut State| {
            if let Some(error) = &state.error {
                return Some(Err(SendDatagramError::from(error.clone())));
            }
            match state.proto.datagrams().send(datagram.take()?, false) {
                Ok(()) => Some(Ok(())),
                Err(Refused::Blocked(returned)) => {
                    datagram = Some(returned);
                    None
                }
                Err(refused) => Some(Err(refused.into())),
            }
        };
        self.inner().changed(offer).await?;
        self.inner().touch();
        Ok(())
    }

    /// Waits for datagrams and fills `into` from the front: how many came. Cancel-safe.
    ///
    /// # Errors
    /// When the connection has ended, and all that came before has been read.
    pub async fn read_datagrams(&self, into: &mut [Bytes]) -> Result<usize, ConnectionError> {
        let inner = self.inner();
        let look = |state: &mut State| {
            let mut count = 0;
            for (slot, came) in into.iter_mut().zip(std::iter::from_fn(|| state.proto.datagrams().recv())) {
                *slot = came;
                count += 1;
            }
            if count > 0 { Some(Ok(count)) } else { state.error.clone().map(Err) }
        };
        inner.wait(&inner.datagrams, look).await
    }

    /// The largest datagram that the path takes now, in bytes; `None` when the other side takes none.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.state().proto.datagrams().max_size()
    }

    /// Bytes that [`Self::send_datagrams`] takes without dropping any, and how many datagrams have left so far.
    #[must_use]
    pub fn datagrams_out(&self) -> (usize, u64) {
        let mut state = self.state();
        (state.proto.datagrams().send_buffer_space(), state.proto.stats().frame_tx.datagram)
    }

    /// Opens a stream, when the other side lets us.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let open = |state: &mut State| match &state.error {
            Some(error) => Some(Err(error.clone())),
            None => state.proto.streams().open(Dir::Bi).map(Ok),
        };
        let id = self.inner().changed(open).await?;
        Ok((SendStream::new(self.clone(), id), RecvStream::new(self.clone(), id)))
    }

    /// The next stream that the other side opens.
    ///
    /// # Errors
    /// When the connection has ended, and all streams that were opened before have been taken.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let accept = |state: &mut State| match state.proto.streams().accept(Dir::Bi) {
            Some(id) => Some(Ok(id)),
            None => state.error.clone().map(Err),
        };
        let id = self.inner().changed(accept).await?;
        // It may open another one now.
        self.inner().touch();
        Ok((SendStream::new(self.clone(), id), RecvStream::new(self.clone(), id)))
    }

    /// Ends the connection: nothing more is sent or received, and the other side is told.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.inner().close(code, Bytes::copy_from_slice(reason));
    }

    /// Waits for its end.
    pub async fn closed(&self) -> ConnectionError {
        self.ended().await
    }

    /// Waits for its end without keeping it from ending: see [`Connection`].
    pub fn ended(&self) -> impl Future<Output = ConnectionError> + Send + use<> {
        let inner = Arc::clone(self.inner());
        async move { inner.changed(|state| state.error.clone()).await }
    }

    /// Why it has ended, when it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.state().error.clone()
    }

    /// What both sides agreed on in the handshake.
    #[must_use]
    pub fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.state().proto.crypto_session().handshake_data()
    }

    /// Who the other side has proven to be.
    #[must_use]
    pub fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.state().proto.crypto_session().peer_identity()
    }

    /// Where the other side is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.state().proto.remote_address()
    }

    /// Smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.state().proto.rtt()
    }

    /// What the connection did so far.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.state().proto.stats()
    }

    /// A copy of what decides how fast it sends.
    #[must_use]
    pub fn congestion_state(&self) -> Box<dyn Controller> {
        self.state().proto.congestion_state().clone_box()
    }
}

/// A connection that is being established.
pub struct Connecting(Connection);

impl Connecting {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(Connection(Arc::new(Handle(inner))))
    }

    /// Waits until the other side has answered: what it agreed to.
    ///
    /// # Errors
    /// When the connection has ended instead.
    pub async fn handshake_data(&mut self) -> Result<Box<dyn Any>, ConnectionError> {
        let look = |state: &mut State| match state.has_handshake_data {
            true => state.proto.crypto_session().handshake_data().map(Ok).or_else(|| state.error.clone().map(Err)),
            false => state.error.clone().map(Err),
        };
        self.0.inner().changed(look).await
    }

    /// Where the other side is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }
}

impl IntoFuture for Connecting {
    type Output = Result<Connection, ConnectionError>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let look = |state: &mut State| if state.is_connected { Some(Ok(())) } else { state.error.clone().map(Err) };
            self.0.inner().changed(look).await?;
            Ok(self.0)
        })
    }
}
