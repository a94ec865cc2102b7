//! What two members say to each other on a connection between them, before it carries anything: who has a bond, by which uplinks this
//! connection goes, and which link it is a path of (docs/wire-format.md §10).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lanparty_core::Pair;
use lanparty_proto::{BondPath, BondRole, Control, IdentityId, PROTOCOL_VERSION, PeerHello, PeerPath, Refusal};
use lanparty_quic::Connection;
use lanparty_quic::crypto::rustls::HandshakeData;
use tokio::sync::OwnedSemaphorePermit;

use super::sockets::PeerSocket;
use crate::membership::settled_budget;
use crate::{BondPathUp, ControlReader, ControlWriter, Identity, Link, LinkEnded};

/// Application protocol names (RFC 7301) between members: with a hello, and without, as older ones speak it.
pub(super) const ALPN: &[&[u8]] = &[HELLO_ALPN, b"lanparty-peer/1"];
const HELLO_ALPN: &[u8] = b"lanparty-peer/2";
/// Time for the other member to say what comes next.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A member that leads may wait for a better pair of uplinks as long.
const PATH_MAX: Duration = Duration::from_secs(10);

/// What this member says of itself.
pub(super) struct Own {
    pub(super) identity: Arc<Identity>,
    /// So many lines carry its frames to the relay.
    pub(super) lines: AtomicU8,
}

impl Own {
    /// Of two members the one with the smaller key decides.
    pub(super) fn leads(&self, other: IdentityId) -> bool {
        self.identity.id() < other
    }
}

/// A connection to a member, after both have said hello.
pub(crate) enum Reached {
    /// It is all of the link: neither has a bond, or the other one is older.
    Alone(Link),
    /// It may become a path of a numbered link.
    Met(Box<Met>),
    /// Somebody dialled us, and nothing was said yet.
    Guest(Box<Guest>),
}

/// A connection of somebody who dialled us and will say hello. Whoever was not introduced waits at the door.
pub(crate) struct Guest {
    link: Link,
    socket: PeerSocket,
    identity: IdentityId,
}

impl Guest {
    /// A connection that came in by this socket.
    /// Lets somebody in who has shown a key.
    pub(super) fn let_in(connection: Connection, socket: PeerSocket) -> Result<(IdentityId, Reached), LinkEnded> {
        let says_hello = says_hello(&connection);
        let (link, identity) = Link::accepted(connection)?;
        let guest = |link| Reached::Guest(Box::new(Self { link, socket, identity }));
        Ok((identity, if says_hello { guest(link) } else { Reached::Alone(link) }))
    }

    /// Lets it say hello. The seat is taken until it is a path, or all of the link, or nothing.
    pub(super) async fn greet(self, own: &Own, seat: OwnedSemaphorePermit) -> Result<Reached, LinkEnded> {
        let reached = greet(self.link, self.identity, false, &self.socket, own).await?;
        if let Reached::Met(mut met) = reached {
            met.seat = Some(seat);
            return Ok(Reached::Met(met));
        }
        Ok(reached)
    }
}

/// By which uplinks a path goes, and what they are for.
#[derive(Clone)]
pub(super) struct Terms {
    /// The uplinks.
    pub(super) pair: Pair,
    /// So many lines has the other member.
    pub(super) lines: u8,
    /// Our uplink's interface, when we bond several.
    pub(super) interface: Option<String>,
    pub(super) own_role: BondRole,
    pub(super) their_role: BondRole,
}

/// A connection that may become a path.
pub(crate) struct Met {
    pub(super) identity: IdentityId,
    pub(super) link: Link,
    pub(super) by_us: bool,
    pub(super) terms: Terms,
    path: BondPath,
    name: String,
    control: (ControlReader, ControlWriter),
    seat: Option<OwnedSemaphorePermit>,
}

/// Whether the other member says hello.
pub(super) fn says_hello(connection: &Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(HELLO_ALPN))
}

/// Exchanges hellos.
pub(super) async fn greet(link: Link, identity: IdentityId, by_us: bool, socket: &PeerSocket, own: &Own) -> Result<Reached, LinkEnded> {
    let uplink = socket.uplink.as_ref().map(|uplink| uplink.path);
    let hello = PeerHello { version: PROTOCOL_VERSION, uplink, lines: own.lines.load(Ordering::Relaxed) };
    let (theirs, control) = in_time(ANSWER_MAX, exchange(&link, by_us, hello)).await?;
    if uplink.is_none() && theirs.uplink.is_none() {
        return Ok(Reached::Alone(link));
    }
    let (ours, other) = (uplink.unwrap_or_default(), theirs.uplink.unwrap_or_default());
    let pair = Pair::new(ours.path, other.path).ok_or_else(|| unexpected("no uplink has such a number"))?;
    // A newcomer among the paths is not to shrink the link for its first second.
    settled_budget(&link).await;
    let rate = [other.rate, socket.uplink.as_ref().and_then(|uplink| uplink.limit)].into_iter().flatten().min();
    let path = BondPath { path: pair.path(own.leads(identity)), role: ours.role.max(other.role), rate };
    let interface = socket.uplink.as_ref().map(|uplink| uplink.interface.clone());
    let terms = Terms { pair, lines: theirs.lines, interface: interface.clone(), own_role: ours.role, their_role: other.role };
    let remote = || link.remote_address().map_or_else(|| "?".to_owned(), |address| address.to_string());
    let name = interface.unwrap_or_else(remote);
    Ok(Reached::Met(Box::new(Met { identity, link, by_us, terms, path, name, control, seat: None })))
}

async fn exchange(link: &Link, by_us: bool, hello: PeerHello) -> Result<(PeerHello, (ControlReader, ControlWriter)), LinkEnded> {
    let (mut control_in, mut control_out) = if by_us { link.open_control().await? } else { link.accept_control().await? };
    let hello = Control::PeerHello(hello);
    if by_us {
        control_out.send(&hello).await?;
    }
    let Control::PeerHello(theirs) = control_in.next().await? else { return Err(unexpected("it says no hello")) };
    if !by_us {
        control_out.send(&hello).await?;
    }
    Ok((theirs, (control_in, control_out)))
}

impl Met {
    /// Asks the other member to take it as a path, as the one does that leads.
    pub(super) async fn offer(mut self, path: PeerPath) -> Result<BondPathUp, LinkEnded> {
        let answer = async {
            self.control.1.send(&Control::PeerPath(path)).await?;
            self.control.0.next().await
        };
        match in_time(ANSWER_MAX, answer).await? {
            Control::Attached { heard } => Ok(self.into_path(heard)),
            Control::Refused { message, .. } => Err(unexpected(&message)),
            _ => Err(unexpected("it takes no path")),
        }
    }

    /// What the other member wants of it, which leads.
    pub(super) async fn hear_out(mut self: Box<Self>) -> Result<(Box<Self>, PeerPath), LinkEnded> {
        match in_time(PATH_MAX, self.control.0.next()).await? {
            Control::PeerPath(path) => Ok((self, path)),
            _ => Err(unexpected("it wants something else than a path")),
        }
    }

    /// Takes it as a path; so many numbered messages were heard.
    pub(super) async fn accept(mut self, path: PeerPath, heard: u32) -> Result<BondPathUp, LinkEnded> {
        self.control.1.send(&Control::Attached { heard }).await?;
        Ok(self.into_path(path.heard))
    }

    /// Says that there is no such link.
    pub(super) async fn refuse(mut self) {
        let message = "there is no such direct link here".to_owned();
        if self.control.1.send(&Control::Refused { code: Refusal::NotMoved, message: message.clone() }).await.is_ok() {
            self.control.1.finish();
            // Whoever leads closes it when that has arrived.
            let _ = tokio::time::timeout(ANSWER_MAX, self.link.ended()).await;
        }
        self.link.close(&message);
    }

    fn into_path(self, heard: u32) -> BondPathUp {
        BondPathUp { bond: self.path, name: self.name, link: self.link, control: self.control, heard, pair: Some(self.terms.pair) }
    }
}

fn unexpected(why: &str) -> LinkEnded {
    LinkEnded { reason: why.to_owned(), by_peer: true }
}

async fn in_time<T>(time: Duration, what: impl Future<Output = Result<T, LinkEnded>>) -> Result<T, LinkEnded> {
    let late = |_| Err(LinkEnded { reason: "the other member says nothing".into(), by_peer: false });
    tokio::time::timeout(time, what).await.unwrap_or_else(late)
}
