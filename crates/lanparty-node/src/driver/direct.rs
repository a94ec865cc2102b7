//! Direct links at the driver: which frames take them, and what comes from them.

use std::time::Instant;

use bytes::Bytes;
use lanparty_core::Roster;
use lanparty_nic::Device;
use lanparty_proto::{DATAGRAM_HEADER_LEN, DropReason, Frame, MacAddr, MemberFrame};

use super::{DriverEvent, MemberDriver, room_and_path, take_back};
use crate::peers::{PeerEvent, PeerReport, Peers};
use crate::{BondLink, LinkEnded, OpenedPort};

impl<D: Device> MemberDriver<D> {
    /// Lets other members reach this one by these sockets.
    pub(crate) const fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }

    /// The router's port by which others come in.
    pub(crate) fn opened_port(&self) -> Option<OpenedPort> {
        self.peers.opened_port()
    }

    /// How every other member is reached, for `lanparty status`.
    #[must_use]
    pub fn peer_reports(&self) -> Vec<PeerReport> {
        let roster = room_and_path(self.connected.as_ref(), self.island.as_ref()).0;
        roster.map(|roster| self.peers.report(roster)).unwrap_or_default()
    }

    /// Station 4 for those of the frames whose member is reached directly. Without a relay the rest goes to everybody who is, or nowhere.
    pub(super) fn send_directly(&mut self) {
        let Some(roster) = room_and_path(self.connected.as_ref(), self.island.as_ref()).0 else { return };
        let reached = self.peers.reached();
        if reached.is_empty() && self.island.is_none() {
            return;
        }
        let (now, mut run, mut to) = (Instant::now(), vec![], None);
        for datagram in std::mem::take(&mut self.work.datagrams) {
            if !self.awaited.is_empty() && destination(&datagram).is_some_and(MacAddr::is_group) {
                // The relay cannot give it to them, and to it they are not there.
                for member in self.awaited.members() {
                    self.peers.take(member, std::slice::from_ref(&datagram), now);
                }
            }
            let target = destination(&datagram).and_then(|dst| Peers::target(roster, dst));
            if let Some(member) = target.filter(|member| self.peers.carries(*member)) {
                // What goes to one member is handed over together.
                if let Some(before) = to.replace(member).filter(|before| *before != member) {
                    self.peers.take(before, &run, now);
                    run.clear();
                }
                run.push(datagram);
            } else if self.island.is_none() {
                self.work.datagrams.push(datagram);
            } else {
                let all = if target.is_none() { &reached[..] } else { &[] };
                // One frame is one frame to the counters, however many get it.
                let taken = all.iter().filter(|member| self.peers.take(**member, std::slice::from_ref(&datagram), now)).count();
                if taken == 0 {
                    self.outbound.take_back(&datagram, DropReason::LinkDown);
                }
            }
        }
        if let Some(member) = to {
            self.peers.take(member, &run, now);
        }
    }

    /// A frame of our own making goes directly, when its member is reached so.
    pub(super) fn takes_directly(&self, roster: &Roster, datagram: &Bytes) -> bool {
        let target = destination(datagram).and_then(|dst| Peers::target(roster, dst));
        target.is_some_and(|member| self.peers.take(member, std::slice::from_ref(datagram), Instant::now()))
    }

    pub(super) fn handle_peer(&mut self, event: PeerEvent) -> Result<Option<DriverEvent>, LinkEnded> {
        let arrived = self.peers.handle(event, Instant::now());
        if self.island.is_some() && !self.peers.has_links() {
            self.island = None;
        }
        self.take_in(arrived)
    }

    /// Stations 10 and 11 for datagrams of direct links.
    pub(super) fn take_in(&mut self, arrived: Vec<Bytes>) -> Result<Option<DriverEvent>, LinkEnded> {
        let (mut event, mut arrived) = (None, arrived.into_iter().peekable());
        while arrived.peek().is_some() {
            let count = self.received.iter_mut().zip(&mut arrived).map(|(into, datagram)| *into = datagram).count();
            event = self.handle_inbound(count)?.or(event);
        }
        Ok(event)
    }

    /// What direct links took is in the books as sent, until it is known to have come to nothing.
    pub(super) fn count_directly_dropped(&mut self) {
        let discarded = self.peers.take_discarded();
        self.outbound.count_discarded(&discarded);
    }

    /// Looks at every direct link; where frames go directly from now on, the way by the relay is ended first.
    pub(super) fn look_at_peers(&mut self) {
        let Some(roster) = room_and_path(self.connected.as_ref(), self.island.as_ref()).0.cloned() else { return };
        let own = roster.own().mac;
        self.count_directly_dropped();
        let lines = self.link().map_or(0, |link| link.bond().map_or(1, BondLink::lines));
        for mac in self.peers.look(&roster, lines, |id| self.awaited.has(id), Instant::now()) {
            self.end_relay_way(&MemberFrame::DirectBegins.encode(mac, own, MemberFrame::LEN_MIN));
        }
    }

    /// Behind everything that waits for the relay.
    fn end_relay_way(&mut self, frame: &[u8]) {
        let (Some(c), mut records) = (&self.connected, vec![]) else { return };
        let path = c.path_size();
        if let Ok(datagram) = self.outbound.originate(frame, Some(&c.roster), path, Instant::now(), &mut records) {
            let refused = self.pending.push_last(datagram);
            take_back(&mut self.outbound, &refused);
        }
    }
}

fn destination(datagram: &[u8]) -> Option<MacAddr> {
    Frame::parse(datagram.get(DATAGRAM_HEADER_LEN..)?).ok().map(|frame| frame.dst())
}
