//! A UDP socket and its connections: dialled, and let in.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn_proto::{ClientConfig, ConnectError, ConnectionError, ConnectionHandle, EndpointConfig, ServerConfig, VarInt};
use tokio::sync::Notify;

use crate::connection::{Connecting, Inner, now};
use crate::driver::Driver;
use crate::queue::Queue;
use crate::send::send;
use crate::socket::Socket;

/// What the handles of an endpoint, its connections and the task that drives them share.
pub(crate) struct Core {
    pub(crate) queue: Queue,
    state: Mutex<State>,
    /// Something came that wants to be let in, or nothing will any more.
    incoming: Notify,
    /// The last connection is gone.
    idle: Notify,
}

/// What is behind its lock, which is taken before a connection's.
pub(crate) struct State {
    pub(crate) proto: quinn_proto::Endpoint,
    pub(crate) socket: Arc<Socket>,
    /// What was used before, until something comes by the new one.
    pub(crate) previous: Option<Arc<Socket>>,
    pub(crate) connections: HashMap<ConnectionHandle, Arc<Inner>>,
    incoming: VecDeque<quinn_proto::Incoming>,
    client: Option<ClientConfig>,
    /// Why nobody is let in any more, and nobody dialled.
    closing: Option<(VarInt, Bytes)>,
    /// Nobody holds it.
    is_dropped: bool,
    /// Its task has ended.
    is_over: bool,
}

impl State {
    /// Whether there is nothing to do, for ever.
    pub(crate) fn is_done(&self) -> bool {
        self.connections.is_empty() && (self.is_dropped || self.closing.is_some())
    }

    /// Sends an answer that belongs to no connection. Lost when the kernel has no room: who asked asks again.
    pub(crate) fn respond(&self, transmit: &quinn_proto::Transmit, bytes: &[u8]) {
        send(&self.socket, transmit, bytes);
    }

    /// Keeps an attempt for [`Endpoint::accept`].
    pub(crate) fn announce(&mut self, incoming: quinn_proto::Incoming) {
        if self.closing.is_none() {
            self.incoming.push_back(incoming);
            return;
        }
        let mut bytes = vec![];
        let refusal = self.proto.refuse(incoming, &mut bytes);
        self.respond(&refusal, &bytes);
    }
}

impl Core {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // As whole as the state machine is when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has those look who let others in.
    pub(crate) fn announce(&self) {
        self.incoming.notify_waiters();
    }

    /// A connection has told its last.
    pub(crate) fn forget(&self, state: &mut State, connection: ConnectionHandle) {
        state.connections.remove(&connection);
        if state.connections.is_empty() {
            self.idle.notify_waiters();
        }
    }

    /// The task ends, and with it whatever is still there.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.is_over = true;
        let State { proto, incoming, .. } = &mut *state;
        incoming.drain(..).for_each(|incoming| proto.ignore(incoming));
        let left = std::mem::take(&mut state.connections);
        drop(state);
        left.values().for_each(|connection| connection.abandon());
        self.queue.clear();
        self.incoming.notify_waiters();
        self.idle.notify_waiters();
    }

    fn add(self: &Arc<Self>, state: &mut State, handle: ConnectionHandle, proto: quinn_proto::Connection) -> Connecting {
        let connection = Inner::new(handle, Arc::clone(self), proto, Arc::clone(&state.socket));
        state.connections.insert(handle, Arc::clone(&connection));
        if let Some((code, reason)) = state.closing.clone() {
            connection.close(code, reason);
        }
        connection.touch();
        Connecting::new(connection)
    }
}

/// A UDP socket with QUIC. When the last handle is gone, it lives on as long as its connections do.
#[derive(Clone)]
pub struct Endpoint(Arc<Handle>);

struct Handle(Arc<Core>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state().is_dropped = true;
        self.0.queue.wake();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.core().state().socket).finish()
    }
}

impl Endpoint {
    /// Uses `socket`, as a task of the current runtime. `came` is called whenever something came.
    ///
    /// # Errors
    /// When the system does not let the socket be watched.
    pub fn new(config: EndpointConfig, server: Option<ServerConfig>, socket: UdpSocket, came: fn()) -> io::Result<Self> {
        let socket = Arc::new(Socket::new(socket)?);
        let proto = quinn_proto::Endpoint::new(Arc::new(config), server.map(Arc::new), !socket.may_fragment(), None);
        let state = State {
            proto,
            socket,
            previous: None,
            connections: HashMap::new(),
            incoming: VecDeque::new(),
            client: None,
            closing: None,
            is_dropped: false,
            is_over: false,
        };
        let core = Arc::new(Core { queue: Queue::default(), state: Mutex::new(state), incoming: Notify::new(), idle: Notify::new() });
        tokio::spawn(Driver::new(Arc::clone(&core), came));
        Ok(Self(Arc::new(Handle(core))))
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.0
    }

    /// How [`Self::connect`] dials.
    pub fn set_default_client_config(&self, config: ClientConfig) {
        self.core().state().client = Some(config);
    }

    /// Lets others in by `config`, or nobody.
    pub fn set_server_config(&self, config: Option<ServerConfig>) {
        self.core().state().proto.set_server_config(config.map(Arc::new));
    }

    /// Dials `remote`, which must prove to be `name`.
    ///
    /// # Errors
    /// When that cannot be tried from here.
    pub fn connect(&self, remote: SocketAddr, name: &str) -> Result<Connecting, ConnectError> {
        let config = self.core().state().client.clone().ok_or(ConnectError::NoDefaultClientConfig)?;
        self.connect_with(config, remote, name)
    }

    /// As [`Self::connect`], by another configuration.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_with(&self, config: ClientConfig, remote: SocketAddr, name: &str) -> Result<Connecting, ConnectError> {
        let mut state = self.core().state();
        if state.is_over || state.closing.is_some() {
            return Err(ConnectError::EndpointStopping);
        }
        let is_ipv6 = state.socket.local_addr().is_ok_and(|local| local.is_ipv6());
        let remote = match remote {
            SocketAddr::V6(_) if !is_ipv6 => return Err(ConnectError::InvalidRemoteAddress(remote)),
            // As a socket for both families calls it (RFC 4291 §2.5.5.2).
            SocketAddr::V4(v4) if is_ipv6 => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            remote => remote,
        };
        let (handle, proto) = state.proto.connect(now(), config, remote, name)?;
        Ok(self.core().add(&mut state, handle, proto))
    }

    /// The next attempt of somebody else; `None` when there are no more.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            // Before the look, so that nothing that happens after it is missed.
            let announced = self.core().incoming.notified();
            {
                let mut state = self.core().state();
                if let Some(incoming) = state.incoming.pop_front() {
                    return Some(Incoming { attempt: Some(incoming), endpoint: self.clone() });
                }
                if state.is_over || state.closing.is_some() {
                    return None;
                }
            }
            announced.await;
        }
    }

    /// Uses another socket from now on: all connections move there.
    ///
    /// # Errors
    /// When the system does not let it be watched; then nothing has changed.
    pub fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        let socket = Arc::new(Socket::new(socket)?);
        let mut state = self.core().state();
        state.previous = Some(std::mem::replace(&mut state.socket, Arc::clone(&socket)));
        state.connections.values().for_each(|connection| connection.move_to(&socket));
        drop(state);
        self.core().queue.wake();
        Ok(())
    }

    /// This host may have another address now.
    pub fn network_changed(&self) {
        self.core().state().connections.values().for_each(Inner::network_changed);
    }

    /// The socket's address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.core().state().socket.local_addr()
    }

    /// Connections that are there or being established.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.core().state().proto.open_connections()
    }

    /// Ends all connections, and lets nobody in any more.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        let reason = Bytes::copy_from_slice(reason);
        let mut state = self.core().state();
        state.closing = Some((code, reason.clone()));
        state.connections.values().for_each(|connection| connection.close(code, reason.clone()));
        drop(state);
        self.core().announce();
        self.core().queue.wake();
    }

    /// Waits until no connection is left.
    pub async fn wait_idle(&self) {
        loop {
            let idle = self.core().idle.notified();
            if self.core().state().connections.is_empty() {
                return;
            }
            idle.await;
        }
    }
}

/// Somebody who wants to be let in. Turned away when it is dropped.
pub struct Incoming {
    attempt: Option<quinn_proto::Incoming>,
    endpoint: Endpoint,
}

/// It has proven its address already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is proven already")]
pub struct RetryError;

impl Incoming {
    fn attempt(&self) -> &quinn_proto::Incoming {
        self.attempt.as_ref().expect("INVARIANT: only what consumes it takes it")
    }

    /// Where it seems to come from.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.attempt().remote_address()
    }

    /// Whether the address is proven (RFC 9000 §8.1).
    #[must_use]
    pub fn remote_address_validated(&self) -> bool {
        self.attempt().remote_address_validated()
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// When its first packet is no good.
    pub fn accept(self) -> Result<Connecting, ConnectionError> {
        self.go_on(None)
    }

    /// As [`Self::accept`], by another configuration.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn accept_with(self, config: Arc<ServerConfig>) -> Result<Connecting, ConnectionError> {
        self.go_on(Some(config))
    }

    fn go_on(mut self, config: Option<Arc<ServerConfig>>) -> Result<Connecting, ConnectionError> {
        let (core, attempt) = (Arc::clone(self.endpoint.core()), self.attempt.take().expect("INVARIANT: taken once"));
        let (mut state, mut bytes) = (core.state(), vec![]);
        match state.proto.accept(attempt, now(), &mut bytes, config) {
            Ok((handle, proto)) => Ok(core.add(&mut state, handle, proto)),
            Err(refused) => {
                if let Some(answer) = &refused.response {
                    state.respond(answer, &bytes);
                }
                Err(refused.cause)
            }
        }
    }

    /// Asks for a proof of the address (RFC 9000 §8.1.2).
    ///
    /// # Errors
    /// When it is proven already.
    pub fn retry(mut self) -> Result<(), RetryError> {
        let core = Arc::clone(self.endpoint.core());
        let (mut state, mut bytes) = (core.state(), vec![]);
        let attempt = self.attempt.take().expect("INVARIANT: taken once");
        match state.proto.retry(attempt, &mut bytes) {
            Ok(answer) => {
                state.respond(&answer, &bytes);
                Ok(())
            }
            Err(e) => {
                drop(state);
                self.attempt = Some(e.into_incoming());
                Err(RetryError)
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let (mut state, mut bytes) = (self.endpoint.core().state(), vec![]);
        let refusal = state.proto.refuse(attempt, &mut bytes);
        state.respond(&refusal, &bytes);
    }
}
