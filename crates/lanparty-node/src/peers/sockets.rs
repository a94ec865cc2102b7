//! The sockets by which others may come in, and the addresses at which they find them.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Instant;

use lanparty_core::Redundancy;
use lanparty_proto::BondPath;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use super::met::Own;
use super::offer::Offer;
use super::{PeerEvent, Peers, dial};
use crate::bond::{Captures, has_lost_carrier};
use crate::membership::bond::{CARRIER_LOOK_INTERVAL, lost_carrier};
use crate::port_mapping::{OpenedPort, PortMapping};
use crate::{Identity, PlannedUplinks, UseBook};

/// A socket by which others may come in.
#[derive(Clone)]
pub(crate) struct PeerSocket {
    pub(crate) endpoint: lanparty_quic::Endpoint,
    /// The uplink that it is bound to, when several are bonded.
    pub(crate) uplink: Option<SocketUplink>,
    /// Where the relay sees it, when it says so.
    pub(crate) seen: Option<SocketAddr>,
}

/// The uplink of a socket.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SocketUplink {
    pub(crate) path: BondPath,
    pub(crate) interface: String,
    /// The most that is sent by it, in bits per second.
    pub(crate) limit: Option<u64>,
}

/// Everything by which others may come in.
pub(crate) struct PeerSockets {
    pub(crate) sockets: Vec<PeerSocket>,
    /// The tunnel's own interface, which leads to nobody.
    pub(crate) own_interface: Option<String>,
    pub(crate) redundancy: Redundancy,
    /// The uplinks that the owner names, when they are named.
    pub(crate) planned: Option<PlannedUplinks>,
    /// Where what uplinks carry is counted.
    pub(crate) book: Option<Arc<UseBook>>,
    /// Where what the paths of direct links carry is written down.
    pub(crate) captures: Captures,
}

/// A socket in use.
pub(super) struct Listening {
    pub(super) socket: PeerSocket,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl PeerSocket {
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// Whether it is the same socket of the same uplink.
    fn is_same(&self, other: &Self) -> bool {
        let interface = |socket: &Self| socket.uplink.as_ref().map(|uplink| (uplink.path.path, uplink.interface.clone()));
        self.local() == other.local() && interface(self) == interface(other)
    }
}

impl Peers {
    /// Uses these sockets from now on, and no others for what comes new. Links that are there stay, but for paths by uplinks that the
    /// owner does not want any more ([`Self::leave_unwanted`]).
    pub(crate) fn listen_on(&mut self, ways: PeerSockets, own: &Arc<Identity>) {
        let PeerSockets { sockets, own_interface, redundancy, planned, book, captures } = ways;
        (self.own_interface, self.redundancy, self.planned) = (own_interface, redundancy, planned);
        (self.book, self.captures) = (book, captures);
        let own = self.own.get_or_insert_with(|| Arc::new(Own { identity: Arc::clone(own), lines: AtomicU8::new(1) }));
        let before = std::mem::take(&mut self.listening);
        let mut is_new = before.len() != sockets.len();
        let (mut kept, mut wanted) = (before, vec![]);
        for socket in sockets {
            match kept.iter().position(|known| known.socket.is_same(&socket)) {
                Some(at) => {
                    let mut known = kept.swap_remove(at);
                    is_new |= known.socket.seen != socket.seen;
                    known.socket = socket;
                    wanted.push(known);
                }
                None => {
                    is_new = true;
                    if let Err(error) = dial::listen(&socket.endpoint, &own.identity) {
                        warn!("a socket lets no members in: {error}");
                        continue;
                    }
                    let mut tasks = vec![tokio::spawn(dial::accept(socket.clone(), self.sender.clone()))];
                    tasks.extend(socket.uplink.clone().map(|uplink| tokio::spawn(watch_carrier(uplink, self.sender.clone()))));
                    wanted.push(Listening { socket, tasks });
                }
            }
        }
        self.listening = wanted;
        if is_new {
            self.offer = Offer::default();
        }
    }

    /// Another relay, or the same one anew, has to hear the addresses.
    pub(crate) fn offer_anew(&mut self) {
        self.offer = Offer::default();
    }

    /// The addresses at which others may try us, when they are others than those that were given last.
    pub(crate) fn new_addresses(&mut self, now: Instant) -> Option<Vec<SocketAddr>> {
        self.follow_socket();
        let opened = self.opened_port().map(|opened| opened.address);
        let sockets: Vec<_> = self.listening.iter().map(|listening| &listening.socket).collect();
        self.offer.renew(opened, &sockets, self.own_interface.as_deref(), now)
    }

    /// Asks the router to let others in, from now on.
    pub(crate) const fn map_ports(&mut self) {
        self.maps_ports = true;
    }

    /// The router's port leads to the socket for IPv4, also when that is another one than before.
    fn follow_socket(&mut self) {
        if !self.maps_ports {
            return;
        }
        let ports = self.listening.iter().filter_map(|listening| listening.socket.local().filter(SocketAddr::is_ipv4));
        let port = ports.map(|local| local.port()).find_map(NonZeroU16::new);
        if self.port_mapping.as_ref().map(PortMapping::local_port) != port {
            self.port_mapping.take().map(|mapping| tokio::spawn(mapping.end()));
            self.port_mapping = port.map(|port| PortMapping::start(port, self.own_interface.clone()));
        }
    }

    /// Gives the router's port back.
    pub(crate) async fn end_port_mapping(&mut self) {
        if let Some(mapping) = self.port_mapping.take() {
            mapping.end().await;
        }
    }

    /// The port that the router has opened.
    pub(crate) fn opened_port(&self) -> Option<OpenedPort> {
        self.port_mapping.as_ref().and_then(PortMapping::opened)
    }
}

/// Says when an uplink's interface loses its carrier: paths by it that are silent anyway would be left a second later.
async fn watch_carrier(uplink: SocketUplink, events: mpsc::Sender<PeerEvent>) {
    loop {
        lost_carrier(&uplink.interface).await;
        if events.send(PeerEvent::CarrierLost { uplink: uplink.path.path }).await.is_err() {
            return;
        }
        while has_lost_carrier(&uplink.interface) {
            tokio::time::sleep(CARRIER_LOOK_INTERVAL).await;
        }
    }
}
