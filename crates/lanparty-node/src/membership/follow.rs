//! A member's socket follows this host: to another address on its uplink, and to another uplink when its own leads nowhere any more.
//!
//! QUIC goes on sending from the address that it began with, and by the interface that its socket is bound to. Without this a laptop
//! that changes its network would be silent until the connection is taken for dead.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::endpoint::bound_socket;
use crate::uplink::Place;

/// How often this host's place is looked at: a question to the routing table.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Keeps an endpoint where this host is, as long as it lives.
pub(super) struct Following {
    uplink: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Following {
    /// Follows the way to `remote`, which began by `uplink` and is never by `own_interface`.
    pub(super) fn start(
        endpoint: lanparty_quic::Endpoint,
        remote: SocketAddr,
        uplink: Option<String>,
        own_interface: Option<String>,
    ) -> Self {
        let place = Place::toward(remote, uplink.as_deref()).filter(|place| Some(&place.interface) == uplink.as_ref());
        let uplink = Arc::new(Mutex::new(uplink));
        let mut way = Way { endpoint, remote, uplink: Arc::clone(&uplink), place, own_interface };
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                way.look();
            }
        });
        Self { uplink, task }
    }

    /// The interface that the socket is bound to now.
    pub(super) fn uplink(&self) -> Option<String> {
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Way {
    endpoint: lanparty_quic::Endpoint,
    remote: SocketAddr,
    uplink: Arc<Mutex<Option<String>>>,
    /// Where this host was when it was last seen on the way.
    place: Option<Place>,
    own_interface: Option<String>,
}

impl Way {
    /// That there is no way at all is no news before there is one.
    fn look(&mut self) {
        let Some(place) = self.here().filter(|here| Some(here) != self.place.as_ref()) else { return };
        let Place { interface, address, .. } = &place;
        if self.place.as_ref().is_some_and(|before| before.is_same_interface(&place)) {
            info!("this host's address is {address} now; the relay will follow");
            self.endpoint.network_changed();
        } else if let Err(e) = self.bind_to(interface) {
            warn!("cannot open a UDP socket on {interface}: {e}");
            return;
        } else {
            info!("the way to the relay is by {interface} now, from {address}; the relay will follow");
        }
        self.place = Some(place);
    }

    /// An uplink that leads to the relay is kept, though another one may be preferred meanwhile: nobody knows what that is worth.
    fn here(&self) -> Option<Place> {
        let bound = self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let by_bound = Place::toward(self.remote, bound.as_deref()).filter(|place| Some(&place.interface) == bound.as_ref());
        // Where a socket cannot be bound, the routing table may point into the tunnel.
        by_bound.or_else(|| Place::toward(self.remote, None)).filter(|place| Some(&place.interface) != self.own_interface.as_ref())
    }

    fn bind_to(&self, interface: &str) -> io::Result<()> {
        self.endpoint.rebind(bound_socket(self.remote, Some(interface))?)?;
        *self.uplink.lock().unwrap_or_else(PoisonError::into_inner) = Some(interface.to_owned());
        Ok(())
    }
}
