//! Rounds of tries: which members are dialled, from which sockets, at which addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lanparty_core::{PairUse, tries_of_round};
use lanparty_proto::CANDIDATES_MAX;

use super::peer::Peer;
use super::sockets::{Listening, PeerSocket};
use super::{Dialling, Known, Peers, dial};
use crate::bond::place_toward;
use crate::uplink;

impl Peers {
    /// Dials everybody whose time has come.
    pub(crate) fn dial_due(&mut self, now: Instant) {
        let Some(own) = &self.own else { return };
        for (member, known) in &mut self.known {
            let peer = self.live.get(member);
            let is_complete = |peer: &Peer| peer.is_complete(self.own_lines, &self.listening);
            if peer.is_some_and(is_complete) || known.dialling.is_some() || known.next.is_none_or(|at| at > now) {
                continue;
            }
            let tries = tries(known, peer, &self.listening, self.own_interface.as_deref());
            if tries.is_empty() {
                known.next = Some(now + known.pause);
                continue;
            }
            if !self.probes.allow(&mut known.tries, tries.len(), now) {
                known.next = Some(now + known.pause);
                continue;
            }
            known.round += 1;
            self.serial += 1;
            let whom = (*member, self.serial, known.identity);
            let task = tokio::spawn(dial::dial(Arc::clone(own), whom, tries, self.sender.clone()));
            known.dialling = Some(Dialling { serial: self.serial, task });
        }
    }
}

/// The tries of the next round. However many uplinks there are, nobody is sent more than with one (THREATS A18).
fn tries(known: &Known, peer: Option<&Peer>, listening: &[Listening], own_interface: Option<&str>) -> Vec<(PeerSocket, SocketAddr)> {
    // What only the tunnel leads to would be a tunnel in the tunnel.
    let inside = |address: &SocketAddr| own_interface.is_some() && uplink::toward(*address).as_deref() == own_interface;
    let addresses: Vec<SocketAddr> = known.addresses.iter().copied().filter(|address| !inside(address)).collect();
    let fits = |at: usize, address: SocketAddr| {
        let Some(socket) = listening.get(at).map(|listening| &listening.socket) else { return false };
        // Nobody is introduced by a loopback address (`worth_trying`); only tests meet there.
        let is_near = || address.ip().is_loopback();
        let leads_there = socket.uplink.as_ref().is_none_or(|uplink| is_near() || place_toward(address, &uplink.interface).is_some());
        let is_same_family = socket.local().is_some_and(|local| local.is_ipv6() == address.is_ipv6());
        is_same_family && leads_there && !peer.is_some_and(|peer| peer.goes_by(socket, address))
    };
    let tries = tries_of_round(listening.len(), &addresses, known.round, CANDIDATES_MAX, fits);
    tries.into_iter().filter_map(|(at, address)| Some((listening.get(at)?.socket.clone(), address))).collect()
}

impl Peer {
    /// Whether there is no other path to be found.
    fn is_complete(&self, own_lines: u8, listening: &[Listening]) -> bool {
        if self.bond.is_none() {
            return true;
        }
        let uplinks = listening.iter().map(|listening| listening.socket.uplink.as_ref().map_or(0, |uplink| uplink.path.path));
        PairUse { alive: &self.alive(), own_lines, their_lines: self.their_lines() }.is_complete(uplinks)
    }

    /// Whether a path leads from this uplink to this address already.
    fn goes_by(&self, socket: &PeerSocket, address: SocketAddr) -> bool {
        let name = socket.uplink.as_ref().map(|uplink| uplink.interface.as_str());
        self.link.bond().is_some_and(|bond| bond.leads_by(name, address))
    }
}
