//! One connection, from its handshake to its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Carrier, LinkId, ProvenUser, RelayInput};
use lanparty_node::{ControlReader, ControlWriter, Draining, Incoming, Link, LinkEnded, PathWatch, RECV_BATCH, StreamIncoming};
use lanparty_proto::{Control, DatagramBudget, IdentityId, Refusal};
use tokio::sync::mpsc;
use tracing::debug;

mod bond;

use crate::hub::{Command, Hub};
use crate::outbox::Outbox;

/// Time for a handshake, and again for the first message.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Datagrams taken from a connection at once that says little: it is doubled as often as it was not enough, up to [`RECV_BATCH`].
const RECV_BATCH_FIRST: usize = 4;
/// Longest wait, before answering a hello, for our own search to find what the member's search found.
const SETTLE_MAX: Duration = Duration::from_millis(800);
/// Time for a refusal to reach the member before the connection closes.
const REFUSAL_LINGER: Duration = Duration::from_millis(500);

/// How often it is looked where a member's packets come from: an address that changes with every packet is nobody's.
const ADDRESS_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Serves one connection attempt over QUIC. A task keeps room for the largest of what it does until it ends, so what is short is boxed.
pub(crate) async fn serve(incoming: Incoming, hub: Arc<Hub>) {
    if let Some(member) = Box::pin(greet(incoming, hub)).await {
        member.carry().await;
    }
}

/// Serves one connection attempt over TLS.
pub(crate) async fn serve_stream(incoming: StreamIncoming, hub: Arc<Hub>) {
    if let Some(member) = Box::pin(greet_stream(incoming, hub)).await {
        member.carry().await;
    }
}

async fn greet(incoming: Incoming, hub: Arc<Hub>) -> Option<Greeted> {
    let (from, remote) = (incoming.remote_address().ip(), incoming.remote_address().to_string());
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming.establish()).await {
        Ok(Ok((link, identity))) => return listen(link, identity, (from, remote), hub).await,
        Ok(Err(e)) => debug!(%remote, "handshake failed: {e}"),
        Err(_) => debug!(%remote, "handshake took too long"),
    }
    None
}

async fn greet_stream(incoming: StreamIncoming, hub: Arc<Hub>) -> Option<Greeted> {
    let (from, remote) = (incoming.remote_address().ip(), format!("{} (TLS)", incoming.remote_address()));
    match incoming.handshake().await {
        Ok((stream, identity)) => return listen(Link::over(stream), identity, (from, remote), hub).await,
        Err(e) => debug!(%remote, "handshake failed: {e}"),
    }
    None
}

/// Takes the first message. Nobody is there to be carried when there was none, or when it made the connection another's path.
async fn listen(link: Link, identity: IdentityId, (from, remote): (IpAddr, String), hub: Arc<Hub>) -> Option<Greeted> {
    let control = tokio::time::timeout(HANDSHAKE_TIMEOUT, link.accept_control()).await;
    let Ok(Ok((mut control_in, control_out))) = control else {
        link.close("no control stream was opened");
        debug!(%remote, "no control stream was opened");
        return None;
    };
    let first = match tokio::time::timeout(HANDSHAKE_TIMEOUT, control_in.next()).await {
        Ok(Ok(Control::Attach(wanted))) => {
            bond::attach(wanted, link, identity, (control_in, control_out), &hub).await;
            return None;
        }
        Ok(Ok(message)) => message,
        Ok(Err(ended)) => {
            debug!(%remote, "ended before its hello: {ended}");
            return None;
        }
        Err(_) => {
            link.close("no hello came in time");
            debug!(%remote, "no hello came in time");
            return None;
        }
    };
    let (link, control_in, control_out) = bond::over(&first, link, (control_in, control_out), &hub);
    let outbox = Outbox::new(link.clone());
    let (id, commands) = hub.register(Arc::clone(&outbox));
    let mut peer = Peer { id, link, identity, remote, hub, control_out, outbox, address_looked_at: Instant::now() };
    if let Err(message) = peer.first(first, from).await {
        let ended = peer.refuse(&Control::Refused { code: Refusal::TooManyJoins, message }).await;
        peer.leave(&ended);
        return None;
    }
    Some(Greeted { peer, control_in, commands })
}

/// A connection whose first message was dealt with.
struct Greeted {
    peer: Peer,
    control_in: ControlReader,
    commands: mpsc::Receiver<Command>,
}

impl Greeted {
    /// Until the connection ends.
    async fn carry(mut self) {
        let ended = self.peer.run(&mut self.control_in, &mut self.commands).await;
        self.peer.leave(&ended);
    }
}

struct Peer {
    id: LinkId,
    link: Link,
    identity: IdentityId,
    remote: String,
    hub: Arc<Hub>,
    control_out: ControlWriter,
    outbox: Arc<Outbox>,
    address_looked_at: Instant,
}

impl Peer {
    async fn run(&mut self, control_in: &mut ControlReader, commands: &mut mpsc::Receiver<Command>) -> LinkEnded {
        let mut received = vec![Bytes::new(); RECV_BATCH_FIRST];
        let (mut budget, mut packets) = (DatagramBudget(0), 0);
        let mut watch = PathWatch::new(&self.link);
        let mut before: Option<Draining> = None;
        loop {
            let step = tokio::select! {
                () = drained(&before), if before.is_some() => { before = None; Ok(()) }
                count = self.link.recv(&mut received), if before.is_none() => count.map(|n| self.take(&mut received, n)),
                (dropped, sent) = self.outbox.flush() => {
                    if dropped.total() > 0 {
                        self.hub.count_dropped(self.id, &dropped);
                    }
                    sent
                }
                message = control_in.next() => match message {
                    Ok(message) => { Box::pin(self.message(message)).await; Ok(()) }
                    Err(e) => Err(e),
                },
                command = commands.recv() => match command {
                    Some(Command::After(link)) => { before = Some(Draining::new(*link)); Ok(()) }
                    Some(Command::Send(message)) => Box::pin(self.say(&message)).await,
                    Some(Command::Refuse(message)) => return Box::pin(self.refuse(&message)).await,
                    None => Ok(()),
                },
                () = watch.due() => {
                    self.look_for_packets(&mut packets);
                    self.look_at_address();
                    self.look_at_path(&mut watch, &mut budget)
                }
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn say(&mut self, message: &Control) -> Result<(), LinkEnded> {
        self.control_out.send(message).await?;
        // Not before: what comes first on a connection is the answer.
        if let (Control::Welcome(_), Some(bond)) = (message, self.link.bond()) {
            bond.tell_where_seen();
        }
        Ok(())
    }

    fn take(&self, received: &mut Vec<Bytes>, count: usize) {
        self.outbox.hear();
        self.hub.forward(self.id, received.iter_mut().take(count).map(std::mem::take));
        if count == received.len() && count < RECV_BATCH {
            received.resize(2 * count, Bytes::new());
        }
    }

    /// Whether the member is there, even when it has nothing to say. A stream does not count its packets.
    fn look_for_packets(&self, known: &mut u64) {
        let packets = self.link.received_packets();
        if packets != *known || self.link.carrier() != Carrier::Quic {
            *known = packets;
            self.outbox.hear();
        }
    }

    /// A member that roams on its connection, or whose NAT forgot it, is told of to others by its new address; one with several paths is
    /// told itself, and names its addresses to them.
    fn look_at_address(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.address_looked_at) < ADDRESS_LOOK_INTERVAL {
            return;
        }
        self.address_looked_at = now;
        if let Some(bond) = self.link.bond() {
            return bond.tell_where_seen();
        }
        if self.link.carrier() != Carrier::Quic {
            return;
        }
        if let Some(remote) = self.link.remote_address().map(|address| address.to_string()).filter(|remote| *remote != self.remote) {
            self.remote.clone_from(&remote);
            self.hub.input(RelayInput::SeenAt { link: self.id, remote });
        }
    }

    /// Only the first message can join, and so only there a password is looked at. The words of a refusal when it was not.
    async fn first(&mut self, mut message: Control, from: IpAddr) -> Result<(), String> {
        let proven = match &mut message {
            Control::Hello(hello) => self.hub.prove(hello, self.identity, from).await?,
            _ => None,
        };
        self.heard(message, proven).await;
        Ok(())
    }

    async fn message(&mut self, message: Control) {
        self.heard(message, None).await;
    }

    async fn heard(&mut self, message: Control, proven: Option<ProvenUser>) {
        if matches!(message, Control::GatewaySilent) {
            return self.hub.gateway_silent(self.id);
        }
        match &message {
            Control::Hello(hello) => settle(&self.link, hello.budget).await,
            Control::Move(wanted) => settle(&self.link, wanted.budget).await,
            Control::Candidates { .. } => self.look_at_address(),
            _ => {}
        }
        let (link, identity, remote, budget) = (self.id, self.identity, self.remote.clone(), self.link.budget());
        self.hub.input(RelayInput::Message { link, identity, remote, budget, message: Box::new(message), proven });
    }

    fn look_at_path(&self, watch: &mut PathWatch, known: &mut DatagramBudget) -> Result<(), LinkEnded> {
        let discarded = self.link.take_discarded();
        if discarded.total() > 0 {
            self.hub.count_dropped(self.id, &discarded);
        }
        let budget = watch.look(&self.link)?;
        if budget != *known {
            *known = budget;
            self.hub.input(RelayInput::Budget { link: self.id, budget, rtt: self.link.rtt().unwrap_or_default() });
        }
        Ok(())
    }

    fn leave(&self, ended: &LinkEnded) {
        self.link.read_no_more();
        self.hub.unregister(self.id, &ended.reason);
    }

    async fn refuse(&mut self, message: &Control) -> LinkEnded {
        let reason = match message {
            Control::Refused { message, .. } => message.clone(),
            _ => String::new(),
        };
        if self.control_out.send(message).await.is_ok() {
            self.control_out.finish();
            // The member closes when it has read the refusal.
            let _ = tokio::time::timeout(REFUSAL_LINGER, self.link.ended()).await;
        }
        self.link.close(&reason);
        LinkEnded { reason, by_peer: false }
    }
}

/// Our search for the path's size runs beside the member's; a moment later it has the same answer.
async fn settle(link: &Link, wanted: DatagramBudget) {
    let reached = async {
        while link.budget() < wanted {
            link.help_search().await;
        }
    };
    let _ = tokio::time::timeout(SETTLE_MAX, reached).await;
}

async fn drained(before: &Option<Draining>) {
    if let Some(draining) = before {
        draining.done().await;
    }
}
