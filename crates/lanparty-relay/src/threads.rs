//! The threads of a relay. Each has a runtime, a socket and the connections that were opened at it; what they do meets in the [`Hub`].
//!
//! The first is the program's own thread, which has everything else to do besides.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use futures_util::future::join_all;
use lanparty_node::{BusyPoll, ExitCode, Fault, Incoming, RelayEndpoint, RelaySocket};
use schemars::JsonSchema;
use serde::Serialize;

use crate::hub::Hub;
use crate::serve::serve;

/// Above this many half-open handshakes a newcomer must prove its address first (THREATS C1).
const HALF_OPEN_UNPROVEN_MAX: usize = 64;
/// Above this many half-open handshakes nobody else is let in.
pub(crate) const HALF_OPEN_MAX: usize = 1024;

/// One thread, for who asks.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ThreadReport {
    /// QUIC connections that it carries, those in their handshake among them.
    connections: usize,
}

/// All threads.
pub(crate) struct Threads {
    own: RelayEndpoint,
    door: Arc<Door>,
    others: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Listens by each of `sockets`, of which there is one at least; the first as tasks of the current runtime.
    pub(crate) fn start(sockets: Vec<RelaySocket>, busy_poll: BusyPoll, hub: &Arc<Hub>) -> Result<Self, Fault> {
        let door = Arc::new(Door { endpoints: Mutex::default(), hub: Arc::clone(hub) });
        let mut sockets = sockets.into_iter();
        let first = sockets.next().ok_or_else(|| Fault::new(ExitCode::Unexpected, "there is no socket to listen by", ""))?;
        let own = first.listen()?;
        door.endpoints().push(own.clone());
        let mut threads = Self { own, door, others: vec![] };
        for socket in sockets {
            threads.others.push(begin(socket, busy_poll, &threads.door)?);
        }
        Ok(threads)
    }

    /// The next connection attempt at the program's own thread; `None` after [`Self::close`]. Cancel-safe.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        self.own.accept().await
    }

    /// Lets it in, or not.
    pub(crate) fn admit(&self, incoming: Incoming) {
        self.door.admit(incoming);
    }

    /// For `lanparty status`.
    pub(crate) fn report(&self) -> Vec<ThreadReport> {
        self.door.endpoints().iter().map(|endpoint| ThreadReport { connections: endpoint.open_connections() }).collect()
    }

    /// Ends every connection, and all threads but the program's own.
    pub(crate) async fn close(&mut self, reason: &str) {
        let endpoints = self.door.close(reason);
        join_all(endpoints.iter().map(RelayEndpoint::closed)).await;
        // Each of them waits for the same, no longer.
        self.others.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // What was not closed by then was given up, and so are threads of its own.
        if !self.others.is_empty() {
            drop(self.door.close("the relay has ended"));
        }
    }
}

/// Where connections come in.
struct Door {
    endpoints: Mutex<Vec<RelayEndpoint>>,
    hub: Arc<Hub>,
}

impl Door {
    fn endpoints(&self) -> MutexGuard<'_, Vec<RelayEndpoint>> {
        // Whole after every call.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, incoming: Incoming) {
        let open: usize = self.endpoints().iter().map(RelayEndpoint::open_connections).sum();
        let half_open = open.saturating_sub(self.hub.quic_connections());
        if half_open >= HALF_OPEN_MAX {
            return drop(incoming);
        }
        if half_open >= HALF_OPEN_UNPROVEN_MAX && !incoming.is_validated() {
            return incoming.retry();
        }
        tokio::spawn(serve(incoming, Arc::clone(&self.hub)));
    }

    fn close(&self, reason: &str) -> Vec<RelayEndpoint> {
        let endpoints = std::mem::take(&mut *self.endpoints());
        endpoints.iter().for_each(|endpoint| endpoint.close(reason));
        endpoints
    }
}

/// Begins one more thread, and returns when it listens.
fn begin(socket: RelaySocket, busy_poll: BusyPoll, door: &Arc<Door>) -> Result<JoinHandle<()>, Fault> {
    let failed = |e: std::io::Error| Fault::new(ExitCode::Unexpected, format!("a thread cannot start: {e}"), "fewer --threads need less");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (tell, told) = sync_channel(1);
    let door = Arc::clone(door);
    let run = move || {
        // A task, as in `lanparty_node::serve`.
        let task = runtime.spawn(async move {
            busy_poll.start();
            match socket.listen() {
                Ok(endpoint) => {
                    door.endpoints().push(endpoint.clone());
                    let _ = tell.send(Ok(()));
                    carry(&endpoint, &door).await;
                }
                Err(fault) => drop(tell.send(Err(fault))),
            }
        });
        let _ = runtime.block_on(task);
    };
    let thread = Builder::new().name("relay".to_owned()).spawn(run).map_err(failed)?;
    listens(&told).map(|()| thread)
}

fn listens(told: &Receiver<Result<(), Fault>>) -> Result<(), Fault> {
    told.recv().unwrap_or_else(|_| Err(Fault::new(ExitCode::Unexpected, "a thread ended before it listened", "")))
}

async fn carry(endpoint: &RelayEndpoint, door: &Door) {
    while let Some(incoming) = endpoint.accept().await {
        door.admit(incoming);
    }
    endpoint.closed().await;
}
