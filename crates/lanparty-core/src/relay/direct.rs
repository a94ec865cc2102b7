//! Members that shall reach each other directly: the relay tells both of them where the other one may be, at the same time, so that
//! their first packets open the way through both their routers (RFC 8445 §2).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use lanparty_proto::{CANDIDATES_MAX, Control};

use super::room::Member;
use super::{LinkId, Relay, RelayEvent, RelayOutput};
use crate::limiter::Rate;

/// How often a member may name its addresses: when it joins, and when its uplink changes.
pub(super) const CANDIDATES_RATE: Rate = Rate { per_second: 1, burst: 5 };

/// Members to whom one is introduced at once: the rest of a large room is reached by the relay.
pub const INTRODUCTIONS_MAX: usize = 64;

impl Relay {
    /// A member named its addresses: it and all who have named theirs hear of each other.
    pub(super) fn introduce(&mut self, link: LinkId, addresses: &[SocketAddr], now: Instant) {
        let Some((room, id)) = self.room_of(link) else { return };
        let Some(member) = room.member_mut(id) else { return };
        if !member.candidate_rate.take(1, now) {
            return;
        }
        member.named = Some(worth_trying(addresses.iter().copied()));
        let Some(own) = room.members().find(|member| member.id == id).and_then(peer_at) else { return };
        let mut outputs = vec![];
        let others = room.members().filter(|member| member.id != id).filter_map(|member| Some((member.link, peer_at(member)?)));
        for (to, theirs) in others.take(INTRODUCTIONS_MAX) {
            outputs.push(RelayOutput::Send { link: to, message: own.clone() });
            outputs.push(RelayOutput::Send { link, message: theirs });
        }
        self.outputs.extend(outputs);
    }

    /// A member is seen at another address, on the connection that it has: those who were told of the old one hear of this one.
    pub(super) fn seen_at(&mut self, link: LinkId, remote: String, now: Instant) {
        let Some((room, member)) = self.room_of(link) else { return };
        let room_code = room.code().clone();
        let Some(seen) = room.member_mut(member).filter(|seen| seen.remote != remote) else { return };
        let (previous, named) = (std::mem::replace(&mut seen.remote, remote.clone()), seen.named.clone());
        self.outputs.push_back(RelayOutput::Event(RelayEvent::Moved { room: room_code, member, remote, previous }));
        if let Some(addresses) = named {
            self.introduce(link, &addresses, now);
        }
    }
}

fn peer_at(member: &Member) -> Option<Control> {
    let named = member.named.iter().flatten().copied();
    let addresses = worth_trying(member.remote.parse().ok().into_iter().chain(named));
    (member.named.is_some() && !addresses.is_empty()).then_some(Control::PeerAt { id: member.id, identity: member.identity, addresses })
}

/// The first of `addresses` to which a stranger may be asked to send something, each once.
pub fn worth_trying(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut kept: Vec<SocketAddr> = vec![];
    for address in addresses {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if is_a_hosts(address) && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept.truncate(CANDIDATES_MAX);
    kept
}

/// Neither a group's nor this host's own nor nobody's; a link-local address of IPv6 says nothing without its interface.
fn is_a_hosts(address: SocketAddr) -> bool {
    let is_of_host = match address.ip() {
        IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.is_loopback() || ip.is_unspecified() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local()),
    };
    is_of_host && address.port() != 0
}
